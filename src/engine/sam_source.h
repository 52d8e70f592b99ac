/*
 * The SAM model of the data folder, looked up when somebody needs it: a model that is added while
 * the server runs is found by the next request.
 */
#ifndef NX_ENGINE_SAM_SOURCE_H
#define NX_ENGINE_SAM_SOURCE_H

#include "base/error.h"
#include "engine/sam.h"

typedef struct nx_sam_source nx_sam_source;

/* reference: "NAME" or "NAME:VERSION" in data_dir (model_store.h). runtime is borrowed and must
 * outlive it. Opens nothing. Errors: NX_ERR_INVALID (no usable name), NX_ERR_NO_MEMORY. */
nx_status nx_sam_source_new(nx_runtime *runtime, const char *data_dir, const char *reference,
                            const nx_sam_options *options, nx_sam_source **out, nx_error *err);
/* None of its work may be under way. NULL is fine. */
void nx_sam_source_free(nx_sam_source *source);

/* The model, which lives as long as the source; the same one from the first success on. Opens no
 * session. Thread-safe. Errors: NX_ERR_NOT_FOUND (not installed; the message says what to do),
 * NX_ERR_UNSUPPORTED (a model of another kind), NX_ERR_NO_MEMORY. */
nx_status nx_sam_source_get(nx_sam_source *source, nx_sam **out, nx_error *err);

/* What its cache has seen; all 0 before there is a model. Thread-safe. */
nx_embedding_stats nx_sam_source_stats(nx_sam_source *source);

#endif
