/* Between model_store.c, which looks, and model_store_change.c. Included by nobody else. */
#ifndef NX_ENGINE_MODEL_STORE_INTERNAL_H
#define NX_ENGINE_MODEL_STORE_INTERNAL_H

#include "engine/model_store.h"

#define NX_MODEL_STORE_MODEL   "model.onnx"
#define NX_MODEL_STORE_ENCODER "encoder.onnx"
#define NX_MODEL_STORE_DECODER "decoder.onnx"
#define NX_MODEL_STORE_ACTIVE  "active"
#define NX_MODEL_STORE_SHARED  "shared"
#define NX_MODEL_STORE_ENDING  ".onnx"

#define NX_MODEL_STORE_MAX_LISTED       20 /* in messages */
#define NX_MODEL_STORE_MAX_ACTIVE_BYTES ((size_t)64)

struct nx_model_store {
    char *folder;
};

/* A path, which the caller frees; NULL: no memory. */
char *nx_model_store_join(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline nx_status nx_model_store_no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the models");
}

/* Tells by its files what a version's folder holds. */
bool nx_model_store_recognise(const char *folder, nx_stored_version *out);

/* All of a model; count stays 0 when there is nothing. Errors: NX_ERR_IO, NX_ERR_NO_MEMORY. */
nx_status nx_model_store_scan(const nx_model_store *store, const char *name, nx_stored_model *out,
                              nx_error *err);

#endif
