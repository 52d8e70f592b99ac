/* What the files of a model share: model.c and trial.c. */
#ifndef NX_ENGINE_MODEL_INTERNAL_H
#define NX_ENGINE_MODEL_INTERNAL_H

#include "engine/head.h"
#include "engine/metadata.h"
#include "engine/model.h"
#include "engine/session.h"

/* Pictures in one Run, where nobody says how many. */
#define NX_MODEL_MAX_BATCH 16

struct nx_model {
    nx_runtime *runtime; /* borrowed */
    nx_weights *weights; /* that both sessions share */
    nx_session *session;
    nx_session *alone;      /* with threads of its own, for a Run that is alone; or NULL */
    const char *input_name; /* borrowed from the session */
    nx_type input_type;
    nx_head head;
    uint32_t max_batch; /* pictures in one Run */
    nx_metadata metadata;
    nx_model_spec spec;
    nx_backend backend;
    char *name, *path; /* owned, behind spec's pointers */
};

/* Runs `count` pictures of one size on this session of the model. Errors: NX_ERR_INTERNAL with ONNX
 * Runtime's words; what `read` returns. */
nx_status nx_model_run_on(nx_model *model, nx_session *session, void *pictures, uint32_t count,
                          uint32_t width, uint32_t height, nx_session_read read, void *user,
                          nx_error *err);

/*
 * Proves that the graph works at the size it declares and tells its head; finds out whether what it
 * declares free is free; warms what will be used and measures what pays. Fills the spec.
 * Errors: NX_ERR_UNSUPPORTED, NX_ERR_INVALID, NX_ERR_NO_MEMORY.
 */
nx_status nx_model_try(nx_model *model, const nx_model_options *options, nx_error *err);

#endif
