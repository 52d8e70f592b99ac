#include "optimize/wire.h"

#include <stdint.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

typedef struct level {
    const ProtobufCMessageDescriptor *descriptor;
    const uint8_t *end;
} level;

static const uint8_t *read_varint(const uint8_t *at, const uint8_t *end, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
        uint8_t byte = *at++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            *out = value;
            return at;
        }
    }
    return NULL;
}

/* Behind a field's value (NULL when it is broken). For bytes: at their first one, with their
 * number in length. */
static const uint8_t *read_field(const uint8_t *at, const uint8_t *end, uint32_t *number,
                                 uint32_t *wire, uint64_t *length)
{
    uint64_t tag = 0;
    uint64_t ignored = 0;
    at = read_varint(at, end, &tag);
    if (at == NULL || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) {
        return NULL;
    }
    *number = (uint32_t)(tag >> 3);
    *wire = (uint32_t)(tag & 7);
    *length = 0;
    switch (*wire) {
    case WIRE_VARINT:
        return read_varint(at, end, &ignored);
    case WIRE_64:
        return end - at >= 8 ? at + 8 : NULL;
    case WIRE_32:
        return end - at >= 4 ? at + 4 : NULL;
    case WIRE_BYTES:
        at = read_varint(at, end, length);
        return at != NULL && *length <= (uint64_t)(end - at) ? at : NULL;
    default: /* groups, which proto3 has not, and what is not defined */
        return NULL;
    }
}

nx_status nx_wire_check(const ProtobufCMessageDescriptor *descriptor, const void *bytes,
                        size_t size, const char *name, nx_error *err)
{
    const uint8_t *start = bytes;
    const uint8_t *at = start;
    level levels[NX_WIRE_MAX_DEPTH];
    size_t depth = 0;
    levels[0] = (level){.descriptor = descriptor, .end = start + size};
    for (;;) {
        while (at == levels[depth].end) {
            if (depth == 0) {
                return NX_OK;
            }
            depth--;
        }
        uint32_t number = 0;
        uint32_t wire = 0;
        uint64_t length = 0;
        const uint8_t *next = read_field(at, levels[depth].end, &number, &wire, &length);
        if (next == NULL) {
            return nx_error_set(err, NX_ERR_CORRUPT,
                                "%s is damaged: what stands at byte %zu belongs into no ONNX file; "
                                "copy or download it again",
                                name, (size_t)(at - start));
        }
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(levels[depth].descriptor, number);
        if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE && wire == WIRE_BYTES) {
            if (depth + 1 == NX_WIRE_MAX_DEPTH) {
                return nx_error_set(err, NX_ERR_CORRUPT,
                                    "%s nests messages deeper than %d levels at byte %zu", name,
                                    NX_WIRE_MAX_DEPTH, (size_t)(at - start));
            }
            depth++;
            levels[depth] = (level){.descriptor = field->descriptor, .end = next + length};
            at = next;
        } else {
            at = next + length;
        }
    }
}
