/* ONNX Runtime, loaded at run time. */
#ifndef NX_ENGINE_RUNTIME_H
#define NX_ENGINE_RUNTIME_H

#include "base/error.h"

typedef struct nx_runtime nx_runtime;

/*
 * Loads ONNX Runtime. library: a path, or NULL to look in the usual places (see nx_runtime_open's
 * error message, which lists them). Thread-safe after opening; free it after every session.
 * Switches its telemetry off through the environment, so open it while no other thread reads that.
 * One at a time in a process: ONNX Runtime keeps one environment, to which the memory of this one
 * belongs. Errors: NX_ERR_UNAVAILABLE with the places that were tried and what to do.
 */
nx_status nx_runtime_open(const char *library, const char *data_dir, nx_runtime **out,
                          nx_error *err);
void nx_runtime_free(nx_runtime *runtime);
const char *nx_runtime_version(const nx_runtime *runtime); /* "1.30.0" */
const char *nx_runtime_path(const nx_runtime *runtime);    /* file that was loaded */

/* Gives memory that ONNX Runtime no longer uses back to the system. Any thread. */
void nx_runtime_trim(nx_runtime *runtime);

#endif
