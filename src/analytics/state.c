#include "analytics/state.h"

#include <math.h>
#include <string.h>

void nx_state_put_u64(nx_buffer *out, uint64_t value)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
    nx_buffer_append(out, bytes, sizeof bytes);
}

void nx_state_put_u32(nx_buffer *out, uint32_t value)
{
    uint8_t bytes[4];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
    nx_buffer_append(out, bytes, sizeof bytes);
}

void nx_state_put_i64(nx_buffer *out, int64_t value)
{
    nx_state_put_u64(out, (uint64_t)value);
}

void nx_state_put_double(nx_buffer *out, double value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    nx_state_put_u64(out, bits);
}

void nx_state_put_part(nx_buffer *out, const nx_buffer *part)
{
    nx_state_put_u32(out, (uint32_t)part->size);
    nx_buffer_append(out, part->data, part->size);
    out->failed = out->failed || part->failed || part->size > UINT32_MAX;
}

void nx_state_begin(nx_buffer *out, const char *kind, uint32_t version)
{
    nx_buffer_append(out, kind, NX_STATE_KIND_BYTES);
    nx_state_put_u32(out, version);
}

static uint64_t read_bytes(nx_state_reader *reader, size_t count)
{
    uint64_t value = 0;
    if (reader->bad || (size_t)(reader->end - reader->at) < count) {
        reader->bad = true;
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        value |= (uint64_t)reader->at[i] << 8 * i;
    }
    reader->at += count;
    return value;
}

uint32_t nx_state_u32(nx_state_reader *reader)
{
    return (uint32_t)read_bytes(reader, 4);
}

uint64_t nx_state_u64(nx_state_reader *reader)
{
    return read_bytes(reader, 8);
}

int64_t nx_state_i64(nx_state_reader *reader)
{
    return (int64_t)read_bytes(reader, 8);
}

double nx_state_double(nx_state_reader *reader)
{
    uint64_t bits = read_bytes(reader, 8);
    double value = 0;
    memcpy(&value, &bits, sizeof value);
    nx_state_expect(reader, isfinite(value));
    return reader->bad ? 0 : value;
}

size_t nx_state_count(nx_state_reader *reader, size_t most, size_t entry_bytes)
{
    uint32_t count = nx_state_u32(reader);
    size_t left = (size_t)(reader->end - reader->at);
    nx_state_expect(reader, count <= most && count <= left / entry_bytes);
    return reader->bad ? 0 : count;
}

const uint8_t *nx_state_part(nx_state_reader *reader, size_t *size)
{
    *size = nx_state_count(reader, UINT32_MAX, 1);
    const uint8_t *bytes = reader->at;
    reader->at += *size;
    return bytes;
}

void nx_state_expect(nx_state_reader *reader, bool ok)
{
    reader->bad = reader->bad || !ok;
}

nx_status nx_state_open(const void *bytes, size_t size, const char *kind, uint32_t version,
                        const char *what, nx_state_reader *out, nx_error *err)
{
    *out = (nx_state_reader){0};
    if (size < NX_STATE_KIND_BYTES + 4 || memcmp(bytes, kind, NX_STATE_KIND_BYTES) != 0) {
        return nx_error_set(err, NX_ERR_CORRUPT, "these %zu bytes are not the state of a %s", size,
                            what);
    }
    out->at = (const uint8_t *)bytes + NX_STATE_KIND_BYTES;
    out->end = (const uint8_t *)bytes + size;
    uint32_t found = nx_state_u32(out);
    if (found != version) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "the state of this %s has version %u; only version %u is known", what,
                            found, version);
    }
    return NX_OK;
}

nx_status nx_state_close(const nx_state_reader *reader, const char *what, nx_error *err)
{
    return !reader->bad && reader->at == reader->end
               ? NX_OK
               : nx_error_set(err, NX_ERR_CORRUPT, "the state of this %s is damaged", what);
}
