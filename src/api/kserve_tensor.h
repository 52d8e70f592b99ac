/*
 * Tensors of the Open Inference Protocol v2 (github.com/kserve/open-inference-protocol) and of its
 * binary data extension: data types by name, elements in JSON, BYTES elements with their lengths.
 *
 * Pure functions on memory; thread-safe.
 */
#ifndef NX_API_KSERVE_TENSOR_H
#define NX_API_KSERVE_TENSOR_H

#include "base/error.h"
#include "base/json_reader.h"
#include "base/json_writer.h"
#include "engine/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_kserve_datatype {
    const char *name;   /* "FP32", in requests and answers */
    const char *config; /* "TYPE_FP32", in a model's configuration */
    nx_type type;       /* NX_TYPE_OTHER: BYTES */
} nx_kserve_datatype;

/* The data type of that name, or NULL. */
const nx_kserve_datatype *nx_kserve_datatype_named(const char *name);
/* The data type of a model's tensor; of NX_TYPE_OTHER NULL. */
const nx_kserve_datatype *nx_kserve_datatype_of(nx_type type);
/* Of strings of bytes: encoded pictures. */
const nx_kserve_datatype *nx_kserve_datatype_bytes(void);

/* The product of the dimensions. False: one is negative, or it does not fit. */
bool nx_kserve_elements(const int64_t *dims, uint32_t rank, size_t *out);

/*
 * Reads a tensor's "data", an array of its elements in row-major order, flat or nested as its shape
 * is, into out, which has room for them (tensor.bytes). data is one whole JSON value.
 * Errors: NX_ERR_INVALID: too few or too many, of another type or out of its range, or a type that
 * has no form in JSON (FP16, as in Triton).
 */
nx_status nx_kserve_read_json(nx_json_span data, const nx_tensor *tensor, void *out, nx_error *err);

/* The least bytes that an array of so many elements has in JSON; SIZE_MAX when that overflows. */
size_t nx_kserve_least_json(size_t elements);

/* Writes the elements as a flat array. Floats have as many digits as give the same float when they
 * are read; NaN and infinity are null. */
void nx_kserve_write_json(const nx_tensor *tensor, nx_json *json);

/*
 * The next element of binary BYTES data: 4 bytes of length, little endian, then so many bytes.
 * at moves behind it. False: end is reached, or (at != end) the element is cut short.
 */
bool nx_kserve_next_bytes(const char **at, const char *end, nx_json_span *out);

#endif
