/*
 * The body of POST /v2/models/{name}/infer: the Open Inference Protocol v2's inference request with
 * the binary data extension
 * (github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md).
 *
 * Reads the frame only: tensors stay where they are in the body until somebody wants their
 * elements. Everything is bounded, and nothing is allocated in proportion to what a shape says.
 * Pure functions on memory; thread-safe.
 */
#ifndef NX_API_KSERVE_REQUEST_H
#define NX_API_KSERVE_REQUEST_H

#include "api/kserve_tensor.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_KSERVE_MAX_TENSORS    64 /* inputs, and outputs, of one request */
#define NX_KSERVE_MAX_PARAMETERS 16 /* of the request, that the protocol does not know */

typedef struct nx_kserve_input {
    char *name; /* owned */
    const nx_kserve_datatype *datatype;
    uint32_t rank;
    int64_t dims[NX_TENSOR_MAX_RANK]; /* none negative */
    size_t elements;                  /* their product */
    bool binary;
    nx_json_span data; /* in the body: the bytes, or the JSON array */
} nx_kserve_input;

typedef struct nx_kserve_output {
    char *name; /* owned */
    bool binary;
} nx_kserve_output;

/* A parameter of the request's own, as text: a string's characters, or the JSON of what else it is.
 */
typedef struct nx_kserve_parameter {
    char *name;  /* owned */
    char *value; /* owned */
} nx_kserve_parameter;

typedef struct nx_kserve_request {
    char *id; /* owned; NULL: none was given */
    nx_kserve_input *inputs;
    size_t input_count;
    nx_kserve_output *outputs; /* as asked for; none: all */
    size_t output_count;
    bool binary_output; /* of outputs that are not asked for one by one */
    int64_t timeout_us; /* 0: none was given */
    nx_kserve_parameter parameters[NX_KSERVE_MAX_PARAMETERS];
    size_t parameter_count;
} nx_kserve_request;

/*
 * Reads a body, which is borrowed for the request's life; header_size is the length of the JSON in
 * front of the binary data (Inference-Header-Content-Length), or SIZE_MAX: all of it is JSON.
 * out is to be freed in any case.
 * Errors: NX_ERR_INVALID: malformed, or against the protocol, or asking for what is not supported
 * here (shared memory, classification); NX_ERR_NO_MEMORY.
 */
nx_status nx_kserve_request_parse(const char *body, size_t size, size_t header_size,
                                  nx_kserve_request *out, nx_error *err);
void nx_kserve_request_free(nx_kserve_request *request);

#endif
