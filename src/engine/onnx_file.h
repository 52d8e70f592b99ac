/*
 * What an ONNX file says about itself, read from the protobuf wire format without loading the
 * weights (onnx.proto3: ModelProto; protobuf.dev/programming-guides/encoding). ONNX Runtime would
 * say "protobuf parsing failed" for an empty file, a text and a broken download alike; this tells
 * them apart, and reads the metadata before anything is built.
 */
#ifndef NX_ENGINE_ONNX_FILE_H
#define NX_ENGINE_ONNX_FILE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define NX_ONNX_MAX_METADATA 64

/* Bytes inside the caller's buffer; not NUL-terminated. */
typedef struct nx_onnx_text {
    const char *text;
    size_t size;
} nx_onnx_text;

/* Borrows from the bytes given to nx_onnx_inspect. */
typedef struct nx_onnx_info {
    int64_t ir_version;
    int64_t opset; /* of the default domain; 0 when it is not stated */
    nx_onnx_text producer;
    size_t metadata_count;
    struct {
        nx_onnx_text key;
        nx_onnx_text value;
    } metadata[NX_ONNX_MAX_METADATA];
} nx_onnx_info;

/* name is for messages. Thread-safe; allocates nothing. Errors: NX_ERR_CORRUPT. */
nx_status nx_onnx_inspect(const void *bytes, size_t size, const char *name, nx_onnx_info *out,
                          nx_error *err);

/* The value of a metadata key; text is NULL when it is absent. */
nx_onnx_text nx_onnx_metadata(const nx_onnx_info *info, const char *key);

#endif
