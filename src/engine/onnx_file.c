#include "engine/onnx_file.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Field numbers of ModelProto, OperatorSetIdProto and StringStringEntryProto. */
enum {
    MODEL_IR_VERSION = 1,
    MODEL_PRODUCER_NAME = 2,
    MODEL_GRAPH = 7,
    MODEL_OPSET_IMPORT = 8,
    MODEL_METADATA = 14,
    OPSET_DOMAIN = 1,
    OPSET_VERSION = 2,
    ENTRY_KEY = 1,
    ENTRY_VALUE = 2,
};

/* onnx.proto3: opset_import is required from here on. */
#define IR_VERSION_WITH_OPSET 3

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

typedef struct reader {
    const uint8_t *at;
    const uint8_t *end;
} reader;

typedef struct field {
    uint32_t number;
    uint32_t wire;
    uint64_t varint;      /* WIRE_VARINT */
    const uint8_t *bytes; /* WIRE_BYTES */
    uint64_t size;        /* as declared */
} field;

typedef enum outcome { FIELD_OK, FIELD_END, FIELD_CUT, FIELD_BAD } outcome;

static outcome read_varint(reader *r, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end) {
            return FIELD_CUT;
        }
        uint8_t byte = *r->at++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            *out = value;
            return FIELD_OK;
        }
    }
    return FIELD_BAD;
}

/* On FIELD_CUT of a bytes field, out->size tells how many it declared. */
static outcome next_field(reader *r, field *out)
{
    uint64_t tag = 0;
    *out = (field){0};
    if (r->at == r->end) {
        return FIELD_END;
    }
    outcome result = read_varint(r, &tag);
    if (result != FIELD_OK) {
        return result;
    }
    out->number = (uint32_t)(tag >> 3);
    out->wire = (uint32_t)(tag & 7);
    if (out->number == 0 || tag >> 3 > 0x1FFFFFFF) {
        return FIELD_BAD;
    }
    switch (out->wire) {
    case WIRE_VARINT:
        return read_varint(r, &out->varint);
    case WIRE_64:
    case WIRE_32:
        out->size = out->wire == WIRE_64 ? 8 : 4;
        break;
    case WIRE_BYTES:
        result = read_varint(r, &out->size);
        if (result != FIELD_OK) {
            return result;
        }
        break;
    default:
        return FIELD_BAD;
    }
    out->bytes = r->at;
    if (out->size > (uint64_t)(r->end - r->at)) {
        return FIELD_CUT;
    }
    r->at += out->size;
    return FIELD_OK;
}

static nx_onnx_text text_of(const field *f)
{
    return (nx_onnx_text){.text = (const char *)f->bytes, .size = (size_t)f->size};
}

static reader reader_of(const field *f)
{
    return (reader){.at = f->bytes, .end = f->bytes + f->size};
}

static void read_metadata_entry(const field *entry, nx_onnx_info *info)
{
    nx_onnx_text key = {0};
    nx_onnx_text value = {0};
    reader r = reader_of(entry);
    field f;
    while (next_field(&r, &f) == FIELD_OK) {
        if (f.wire == WIRE_BYTES && f.number == ENTRY_KEY) {
            key = text_of(&f);
        } else if (f.wire == WIRE_BYTES && f.number == ENTRY_VALUE) {
            value = text_of(&f);
        }
    }
    if (key.size > 0 && info->metadata_count < NX_ONNX_MAX_METADATA) {
        info->metadata[info->metadata_count].key = key;
        info->metadata[info->metadata_count].value = value;
        info->metadata_count++;
    }
}

static void read_opset(const field *entry, nx_onnx_info *info)
{
    bool default_domain = true;
    int64_t version = 0;
    reader r = reader_of(entry);
    field f;
    while (next_field(&r, &f) == FIELD_OK) {
        if (f.wire == WIRE_BYTES && f.number == OPSET_DOMAIN) {
            default_domain = f.size == 0 || (f.size == 7 && memcmp(f.bytes, "ai.onnx", 7) == 0);
        } else if (f.wire == WIRE_VARINT && f.number == OPSET_VERSION) {
            version = (int64_t)f.varint;
        }
    }
    if (default_domain) {
        info->opset = version;
    }
}

/* Whether the first bytes are readable text, and a quotable copy of them. */
static bool starts_with_text(const uint8_t *bytes, size_t size, char *quote, size_t quote_size)
{
    size_t length = size < quote_size - 1 ? size : quote_size - 1;
    for (size_t i = 0; i < length; i++) {
        bool line_end = bytes[i] == '\n' || bytes[i] == '\r' || bytes[i] == '\t';
        if (!isprint(bytes[i]) && !line_end) {
            return false;
        }
        quote[i] = (char)(line_end ? ' ' : bytes[i]);
    }
    quote[length] = '\0';
    return true;
}

static nx_status not_onnx(const uint8_t *bytes, size_t size, const char *name, nx_error *err)
{
    char quote[25];
    if (starts_with_text(bytes, size, quote, sizeof quote)) {
        return nx_error_set(err, NX_ERR_CORRUPT,
                            "%s is not an ONNX model: it is text that starts with '%s'", name,
                            quote);
    }
    return nx_error_set(
        err, NX_ERR_CORRUPT, "%s is not an ONNX model: its first bytes are %02x %02x %02x %02x",
        name, bytes[0], size > 1 ? bytes[1] : 0, size > 2 ? bytes[2] : 0, size > 3 ? bytes[3] : 0);
}

static nx_status cut_short(const reader *r, const field *f, const uint8_t *start, size_t size,
                           const char *name, nx_error *err)
{
    uint64_t here = (uint64_t)(r->at - start);
    const char *what = f->number == MODEL_GRAPH ? "the graph" : "a field";
    if (f->size > 0) {
        return nx_error_set(err, NX_ERR_CORRUPT,
                            "%s is cut short: %s at byte %llu needs %llu bytes, but the file ends "
                            "after %zu; copy or download it again",
                            name, what, (unsigned long long)here, (unsigned long long)f->size,
                            size);
    }
    return nx_error_set(err, NX_ERR_CORRUPT,
                        "%s is cut short at byte %zu; copy or download it again", name, size);
}

/* A file that made sense up to `at`. */
static nx_status damaged(const uint8_t *at, const uint8_t *start, const char *name, nx_error *err)
{
    return nx_error_set(err, NX_ERR_CORRUPT,
                        "%s is damaged: what stands at byte %zu belongs into no ONNX file; copy or "
                        "download it again",
                        name, (size_t)(at - start));
}

/* The opset comes behind the graph: a file without one lost its end exactly between two fields. */
static nx_status check_complete(const nx_onnx_info *info, bool has_graph, bool has_opset,
                                const uint8_t *start, size_t size, const char *name, nx_error *err)
{
    if (info->ir_version < 1) {
        return not_onnx(start, size, name, err);
    }
    if (has_graph && (has_opset || info->ir_version < IR_VERSION_WITH_OPSET)) {
        return NX_OK;
    }
    return nx_error_set(err, NX_ERR_CORRUPT,
                        "%s is cut short at byte %zu: it has no %s; copy or download it again",
                        name, size, has_graph ? "operator set" : "graph");
}

nx_status nx_onnx_inspect(const void *bytes, size_t size, const char *name, nx_onnx_info *out,
                          nx_error *err)
{
    *out = (nx_onnx_info){0};
    if (size == 0) {
        return nx_error_set(err, NX_ERR_CORRUPT, "%s is empty (0 bytes)", name);
    }
    const uint8_t *start = bytes;
    reader r = {.at = start, .end = start + size};
    bool has_graph = false;
    bool has_version = false;
    bool has_opset = false;
    for (;;) {
        field f;
        const uint8_t *at = r.at;
        outcome result = next_field(&r, &f);
        if (result == FIELD_END) {
            break;
        }
        bool known = f.number <= MODEL_METADATA || f.number == 20 || f.number == 25;
        /* a file that made sense so far was an ONNX model that lost its end */
        if (result == FIELD_CUT && has_version && known) {
            return cut_short(&r, &f, start, size, name, err);
        }
        if (result != FIELD_OK && has_version && has_graph) {
            return damaged(at, start, name, err);
        }
        if (result != FIELD_OK || (!has_version && !has_graph && !known)) {
            return not_onnx(start, size, name, err);
        }
        if (f.wire == WIRE_VARINT && f.number == MODEL_IR_VERSION) {
            out->ir_version = (int64_t)f.varint;
            has_version = true;
        } else if (f.wire == WIRE_BYTES) {
            switch (f.number) {
            case MODEL_PRODUCER_NAME:
                out->producer = text_of(&f);
                break;
            case MODEL_GRAPH:
                has_graph = true;
                break;
            case MODEL_OPSET_IMPORT:
                has_opset = true;
                read_opset(&f, out);
                break;
            case MODEL_METADATA:
                read_metadata_entry(&f, out);
                break;
            default:
                break;
            }
        }
    }
    return check_complete(out, has_graph, has_opset, start, size, name, err);
}

nx_onnx_text nx_onnx_metadata(const nx_onnx_info *info, const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < info->metadata_count; i++) {
        if (info->metadata[i].key.size == length &&
            memcmp(info->metadata[i].key.text, key, length) == 0) {
            return info->metadata[i].value;
        }
    }
    return (nx_onnx_text){0};
}
