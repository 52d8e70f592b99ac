#include "engine/sam_graph.h"

#include <stdint.h>
#include <string.h>

/* Field numbers of onnx.proto: ModelProto, GraphProto, NodeProto, ValueInfoProto, TypeProto. */
enum {
    MODEL_GRAPH = 7,
    GRAPH_NODE = 1,
    GRAPH_OUTPUT = 12,
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_OP_TYPE = 4,
    VALUE_NAME = 1,
    VALUE_TYPE = 2,
    TYPE_TENSOR = 1,
    TENSOR_ELEMENT = 1,
    ELEMENT_FLOAT = 1,
};

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* From an output back to what the choice was made from; no export has a longer chain. */
#define MAX_STEPS 8

typedef struct bytes {
    const uint8_t *at, *end;
} bytes;

typedef struct field {
    uint64_t number;
    const uint8_t *start; /* of its tag */
    bytes content;        /* empty but for WIRE_BYTES */
} field;

typedef struct node {
    bytes op, input, output; /* the first input and the first output */
} node;

/* --- reading ------------------------------------------------------------------------------------
 */

static bool read_varint(bytes *from, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && from->at < from->end; shift += 7) {
        uint8_t byte = *from->at++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            return true;
        }
    }
    return false;
}

/* False at the end, and where the bytes are no protobuf. */
static bool next_field(bytes *from, field *out)
{
    uint64_t tag = 0;
    uint64_t size = 0;
    *out = (field){.start = from->at};
    if (!read_varint(from, &tag)) {
        return false;
    }
    out->number = tag >> 3;
    switch (tag & 7) {
    case WIRE_VARINT:
        return read_varint(from, &size);
    case WIRE_64:
    case WIRE_32:
        size = (tag & 7) == WIRE_64 ? 8 : 4;
        break;
    case WIRE_BYTES:
        if (!read_varint(from, &size)) {
            return false;
        }
        break;
    default:
        return false;
    }
    if (size > (uint64_t)(from->end - from->at)) {
        return false;
    }
    out->content = (bytes){from->at, from->at + size};
    from->at += size;
    return true;
}

static bool same(bytes a, bytes b)
{
    size_t size = (size_t)(a.end - a.at);
    return size > 0 && size == (size_t)(b.end - b.at) && memcmp(a.at, b.at, size) == 0;
}

static bytes text(const char *string)
{
    return (bytes){(const uint8_t *)string, (const uint8_t *)string + strlen(string)};
}

static node read_node(bytes content)
{
    node n = {0};
    field f;
    while (next_field(&content, &f)) {
        if (f.number == NODE_INPUT && n.input.at == NULL) {
            n.input = f.content;
        } else if (f.number == NODE_OUTPUT && n.output.at == NULL) {
            n.output = f.content;
        } else if (f.number == NODE_OP_TYPE) {
            n.op = f.content;
        }
    }
    return n;
}

/* The node whose first output has that name. */
static bool producer(bytes graph, bytes name, node *out)
{
    field f;
    while (next_field(&graph, &f)) {
        if (f.number == GRAPH_NODE) {
            *out = read_node(f.content);
            if (same(out->output, name)) {
                return true;
            }
        }
    }
    return false;
}

static bool is(const node *n, const char *op)
{
    return same(n->op, text(op));
}

/* What an output was gathered from, with all four in it. */
static bool gathered_from(bytes graph, const char *output, bytes *out)
{
    bytes name = text(output);
    bool gathered = false;
    for (int step = 0; step < MAX_STEPS; step++) {
        node n;
        bool found = producer(graph, name, &n);
        if (gathered) { /* exporters flatten [1,4,...] to gather by one index */
            *out = found && (is(&n, "Flatten")) ? n.input : name;
            return out->at != out->end;
        }
        if (!found) {
            return false;
        }
        gathered = is(&n, "Gather") || is(&n, "GatherND");
        if (!gathered && !is(&n, "Unsqueeze") && !is(&n, "Reshape") && !is(&n, "Squeeze") &&
            !is(&n, "Identity")) {
            return false;
        }
        name = n.input;
    }
    return false;
}

/* --- writing ------------------------------------------------------------------------------------
 */

static void write_varint(nx_buffer *out, uint64_t value)
{
    while (value >= 0x80) {
        nx_buffer_append_char(out, (char)(value | 0x80));
        value >>= 7;
    }
    nx_buffer_append_char(out, (char)value);
}

static void write_bytes(nx_buffer *out, uint64_t number, const void *content, size_t size)
{
    write_varint(out, number << 3 | WIRE_BYTES);
    write_varint(out, size);
    nx_buffer_append(out, content, size);
}

/* A float tensor of any shape as an output of the graph. */
static void write_output(nx_buffer *out, bytes name)
{
    static const uint8_t type[] = {TYPE_TENSOR << 3 | WIRE_BYTES, 2,
                                   TENSOR_ELEMENT << 3 | WIRE_VARINT, ELEMENT_FLOAT};
    nx_buffer value = NX_BUFFER_INIT;
    write_bytes(&value, VALUE_NAME, name.at, (size_t)(name.end - name.at));
    write_bytes(&value, VALUE_TYPE, type, sizeof type);
    write_bytes(out, GRAPH_OUTPUT, value.data, value.size);
    out->failed = out->failed || value.failed;
    nx_buffer_free(&value);
}

static bool copy_name(bytes name, char out[NX_SAM_GRAPH_NAME])
{
    size_t size = (size_t)(name.end - name.at);
    if (size >= NX_SAM_GRAPH_NAME || memchr(name.at, '\0', size) != NULL) {
        return false;
    }
    memcpy(out, name.at, size);
    out[size] = '\0';
    return true;
}

/* The file with two more outputs at the end of its graph. */
static void write_file(bytes file, const field *graph, bytes masks, bytes scores, nx_buffer *out)
{
    nx_buffer outputs = NX_BUFFER_INIT;
    write_output(&outputs, masks);
    write_output(&outputs, scores);
    size_t size = (size_t)(graph->content.end - graph->content.at);
    nx_buffer_append(out, file.at, (size_t)(graph->start - file.at));
    write_varint(out, MODEL_GRAPH << 3 | WIRE_BYTES);
    write_varint(out, size + outputs.size);
    nx_buffer_append(out, graph->content.at, size);
    nx_buffer_append(out, outputs.data, outputs.size);
    nx_buffer_append(out, graph->content.end, (size_t)(file.end - graph->content.end));
    out->failed = out->failed || outputs.failed;
    nx_buffer_free(&outputs);
}

bool nx_sam_graph_show_all(const void *content, size_t size, nx_buffer *out, nx_sam_graph *added)
{
    const bytes file = {content, (const uint8_t *)content + size};
    bytes rest = file;
    field graph;
    bytes masks;
    bytes scores;
    nx_buffer_clear(out);
    do {
        if (!next_field(&rest, &graph)) {
            return false;
        }
    } while (graph.number != MODEL_GRAPH);
    if (!gathered_from(graph.content, "low_res_masks", &masks) ||
        !gathered_from(graph.content, "iou_predictions", &scores) ||
        !copy_name(masks, added->masks) || !copy_name(scores, added->scores)) {
        return false;
    }
    write_file(file, &graph, masks, scores, out);
    if (out->failed) {
        nx_buffer_free(out);
        return false;
    }
    return true;
}
