/* ONNX Runtime behind nx_runtime: what session.c needs of it. Not for other modules. */
#ifndef NX_ENGINE_ORT_H
#define NX_ENGINE_ORT_H

#include "engine/allocator.h"
#include "engine/custom_ops.h"
#include "engine/runtime.h"

#include <onnxruntime_c_api.h>
#include <stdatomic.h>
#include <stdbool.h>

struct nx_runtime {
    void *library;
    const OrtApi *api;
    OrtEnv *env;
    nx_allocator *allocator;
    OrtMemoryInfo *memory; /* of ordinary memory */
    nx_custom_ops *custom_ops;
    char *path;
    char *version;
    atomic_bool told_fallback; /* that there is no GPU */
};

/* Turns an OrtStatus into an nx_error, with the message cut to its meaning, and releases it.
 * NULL is NX_OK. prefix: what was being done. */
nx_status nx_runtime_check(const nx_runtime *runtime, OrtStatus *status, nx_status code,
                           const char *prefix, nx_error *err);

#endif
