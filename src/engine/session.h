/*
 * An ONNX graph in ONNX Runtime: any inputs, any outputs. Detectors (model.h), SAM and the raw
 * tensors of the KServe protocol are all built on this.
 */
#ifndef NX_ENGINE_SESSION_H
#define NX_ENGINE_SESSION_H

#include "base/error.h"
#include "engine/device.h"
#include "engine/runtime.h"
#include "engine/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_session nx_session;

/* Packed weights that several sessions on one file share. */
typedef struct nx_weights nx_weights;

/* How far ONNX Runtime rewrites the graph before it runs it. */
typedef enum nx_graph_optimization {
    NX_GRAPH_ALL, /* everything, layouts for this very CPU included */
    NX_GRAPH_EXTENDED,
    NX_GRAPH_BASIC,
    NX_GRAPH_AS_IS,
} nx_graph_optimization;

/* Zeros are the usual session. Strings are read while opening only. */
typedef struct nx_session_options {
    uint32_t intra_op_threads; /* 0 and 1: a Run stays on its caller's thread; no pool */
    nx_graph_optimization optimization;
    const char
        *optimized_model_path; /* where ONNX Runtime writes the graph that it runs; or NULL */
    /* Each Run is recorded into "<prefix>_<date>.json", which is complete once the session is
     * freed; or NULL. */
    const char *profile_prefix;
    nx_weights *weights;     /* borrowed: outlives the session; or NULL */
    const nx_device *device; /* NULL: the CPU */
    /* On TensorRT: the shapes to come, of each input with free dimensions. */
    const nx_input_range *ranges;
    size_t range_count;
} nx_session_options;

/*
 * Opens a graph; runtime is borrowed and must outlive it. Thread-safe: any number of Runs at once.
 * Errors: NX_ERR_NOT_FOUND, NX_ERR_CORRUPT with ONNX Runtime's words, NX_ERR_UNAVAILABLE (the
 * device is not there: what was found and what to do), NX_ERR_INVALID (a device that contradicts
 * itself), NX_ERR_IO (no more files may be open), NX_ERR_NO_MEMORY: the file is not to blame for
 * these two.
 */
nx_status nx_session_open(nx_runtime *runtime, const char *path, const nx_session_options *options,
                          nx_session **out, nx_error *err);

/* As nx_session_open from a file's bytes, which are needed no more afterwards; name is for
 * messages. Weights in files of their own cannot be found from here. */
nx_status nx_session_open_bytes(nx_runtime *runtime, const void *bytes, size_t size,
                                const char *name, const nx_session_options *options,
                                nx_session **out, nx_error *err);

/* No Run may be under way. NULL is fine. */
void nx_session_free(nx_session *session);

/* What goes in and what comes out, in the file's order; free dimensions are -1, data is NULL. What
 * is no tensor (a sequence, a map), or of more than NX_TENSOR_MAX_RANK dimensions, is described as
 * NX_TYPE_OTHER of rank 0. Lives as long as the session. */
const nx_tensor *nx_session_inputs(const nx_session *session, size_t *count);
const nx_tensor *nx_session_outputs(const nx_session *session, size_t *count);

/* The input or output of that name, or NULL. */
const nx_tensor *nx_session_find_input(const nx_session *session, const char *name);
const nx_tensor *nx_session_find_output(const nx_session *session, const char *name);

/* The execution provider that runs it: "CPUExecutionProvider". */
const char *nx_session_provider(const nx_session *session);

/* The same for people: "cpu", "cuda" or "tensorrt". */
const char *nx_session_device(const nx_session *session);

/* The same of what will be tried first for a device, before anything is opened. */
const char *nx_session_likely_device(const nx_device *device);

/* Whether this session does not compute in half precision although the device is to. */
bool nx_session_leaves_fp16(const nx_session *session, const nx_device *device);

/* Reads the outputs in place; the view ends when it returns. */
typedef nx_status (*nx_session_read)(const nx_tensor *outputs, size_t count, void *user,
                                     nx_error *err);

/*
 * Runs the graph. inputs: one for each input of the graph, in any order, by name; type, dims, data
 * and bytes are given by the caller and borrowed for the call (ONNX Runtime writes to none of
 * them). outputs: the names wanted, in the order in which `read` gets them; NULL and 0: all.
 * Elements of NX_TYPE_OTHER come with data NULL.
 * Errors: NX_ERR_INVALID (inputs that do not fit: which, and why), NX_ERR_INTERNAL with ONNX
 * Runtime's words (the graph failed), NX_ERR_NO_MEMORY; what `read` returns.
 */
nx_status nx_session_run(nx_session *session, const nx_tensor *inputs, size_t count,
                         const char *const *outputs, size_t output_count, nx_session_read read,
                         void *user, nx_error *err);

/*
 * Memory for inputs that the session's device reads fastest, 64-byte aligned; any other memory
 * works too. It may outlive the session, not the runtime. NULL without memory. Any thread.
 */
void *nx_session_allocate(nx_session *session, size_t bytes);
void nx_session_release(void *memory); /* NULL is fine */

/* Thread-safe. Errors: NX_ERR_NO_MEMORY. Free it after the sessions that were opened with it. */
nx_status nx_weights_new(nx_runtime *runtime, nx_weights **out, nx_error *err);
void nx_weights_free(nx_weights *weights);

#endif
