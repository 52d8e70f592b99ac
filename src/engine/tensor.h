/* A tensor as it goes into a model or comes out of it: type, shape and borrowed bytes. */
#ifndef NX_ENGINE_TENSOR_H
#define NX_ENGINE_TENSOR_H

#include "base/buffer.h"

#include <stddef.h>
#include <stdint.h>

/* Element types that Nexus carries; the others of ONNX are NX_TYPE_OTHER. */
typedef enum nx_type {
    NX_TYPE_OTHER,
    NX_TYPE_FLOAT32,
    NX_TYPE_FLOAT16, /* IEEE 754 binary16 */
    NX_TYPE_FLOAT64,
    NX_TYPE_UINT8,
    NX_TYPE_INT8,
    NX_TYPE_UINT16,
    NX_TYPE_INT16,
    NX_TYPE_INT32,
    NX_TYPE_INT64,
    NX_TYPE_BOOL,
} nx_type;

#define NX_TENSOR_MAX_RANK 8

typedef struct nx_tensor {
    const char *name; /* of the model's input or output; borrowed */
    nx_type type;
    uint32_t rank;
    int64_t dims[NX_TENSOR_MAX_RANK]; /* -1 where a model leaves one free (descriptions only) */
    void *data; /* borrowed, row-major, densely packed; NULL in descriptions */
    size_t bytes;
} nx_tensor;

/* Bytes of one element; 0 for NX_TYPE_OTHER. */
size_t nx_type_size(nx_type type);

/* Appends "float32[1,3,?,?]", the way that messages name shapes. */
void nx_tensor_describe(const nx_tensor *tensor, nx_buffer *out);

#endif
