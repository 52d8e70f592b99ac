/* An engine of two workers on the real ONNX Runtime, for the tests of jobs. */
#ifndef NX_TESTS_JOBS_H
#define NX_TESTS_JOBS_H

#include "models.h"

#include "engine/engine.h"

static nx_runtime *runtime; /* both are NULL without ONNX Runtime in the data folder */
static nx_engine *engine;

static inline int jobs_setup(void **state)
{
    nx_error err = {0};
    if (access(models_data_path("lib/libonnxruntime.so.1"), R_OK) == 0) {
        runtime = models_runtime();
        const nx_engine_options options = {.workers = 2, .runtime = runtime};
        if (nx_engine_new(&options, &engine, &err) != NX_OK) {
            fprintf(stderr, "%s\n", err.message);
            return -1;
        }
    }
    return scratch_make(state);
}

static inline int jobs_teardown(void **state)
{
    nx_engine_free(engine);
    nx_runtime_free(runtime);
    return scratch_remove(state);
}

#endif
