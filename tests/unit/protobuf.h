/* Writing protobuf by hand, to make ONNX files (onnx.proto3) that are right, odd or broken. */
#ifndef NX_TESTS_PROTOBUF_H
#define NX_TESTS_PROTOBUF_H

#include "testing.h"

#include "base/buffer.h"

static inline void pb_varint(nx_buffer *out, uint64_t value)
{
    while (value >= 0x80) {
        nx_buffer_append_char(out, (char)(value | 0x80));
        value >>= 7;
    }
    nx_buffer_append_char(out, (char)value);
}

static inline void pb_int(nx_buffer *out, uint32_t field, uint64_t value)
{
    pb_varint(out, (uint64_t)field << 3);
    pb_varint(out, value);
}

static inline void pb_bytes(nx_buffer *out, uint32_t field, const void *bytes, size_t size)
{
    pb_varint(out, (uint64_t)field << 3 | 2);
    pb_varint(out, size);
    nx_buffer_append(out, bytes, size);
}

static inline void pb_text(nx_buffer *out, uint32_t field, const char *text)
{
    pb_bytes(out, field, text, strlen(text));
}

/* A message as a field; inner is freed. */
static inline void pb_message(nx_buffer *out, uint32_t field, nx_buffer *inner)
{
    pb_bytes(out, field, inner->data, inner->size);
    nx_buffer_free(inner);
}

/* An entry of metadata_props. */
static inline void pb_metadata(nx_buffer *out, const char *key, const char *value)
{
    nx_buffer entry = NX_BUFFER_INIT;
    pb_text(&entry, 1, key);
    pb_text(&entry, 2, value);
    pb_message(out, 14, &entry);
}

static inline void pb_opset(nx_buffer *out, const char *domain, uint64_t version)
{
    nx_buffer opset = NX_BUFFER_INIT;
    if (domain != NULL) {
        pb_text(&opset, 1, domain);
    }
    pb_int(&opset, 2, version);
    pb_message(out, 8, &opset);
}

#endif
