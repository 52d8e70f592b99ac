#include "optimize/graph.h"

#include "base/file.h"
#include "engine/onnx_file.h"
#include "optimize/graph_index.h"
#include "optimize/graph_internal.h"
#include "optimize/wire.h"

#include <stdlib.h>
#include <string.h>

/* protobuf's own limit for a message */
#define MAX_FILE_BYTES ((size_t)INT32_MAX)
/* What unpacked messages may take: their bytes once more, and structs around the small ones. */
#define ARENA_BASE  ((size_t)256 << 20)
#define ARENA_TIMES 6

static nx_status no_memory(const char *name, nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for %s", name);
}

/* --- protobuf-c on the arena --------------------------------------------------------------------
 */

static void *arena_alloc(void *arena, size_t size)
{
    return nx_arena_alloc(arena, size);
}

static void arena_free(void *arena, void *piece)
{
    (void)arena; /* everything ends with the arena */
    (void)piece;
}

/* --- what a loaded graph promises ---------------------------------------------------------------
 */

/* Absent strings are NULL in protobuf-c, and none of the rest wants to ask each time. */
static void fill_texts(Onnx__GraphProto *graph)
{
    static char empty[] = "";
    for (size_t i = 0; i < graph->n_node; i++) {
        Onnx__NodeProto *node = graph->node[i];
        node->op_type = node->op_type != NULL ? node->op_type : empty;
        node->domain = node->domain != NULL ? node->domain : empty;
        for (size_t a = 0; a < node->n_attribute; a++) {
            Onnx__AttributeProto *attribute = node->attribute[a];
            attribute->name = attribute->name != NULL ? attribute->name : empty;
        }
    }
    for (size_t i = 0; i < graph->n_initializer; i++) {
        Onnx__TensorProto *tensor = graph->initializer[i];
        tensor->name = tensor->name != NULL ? tensor->name : empty;
    }
    for (size_t i = 0; i < graph->n_input; i++) {
        graph->input[i]->name = graph->input[i]->name != NULL ? graph->input[i]->name : empty;
    }
    for (size_t i = 0; i < graph->n_output; i++) {
        graph->output[i]->name = graph->output[i]->name != NULL ? graph->output[i]->name : empty;
    }
}

static nx_status check_nodes(const nx_graph *self, nx_error *err)
{
    const Onnx__GraphProto *graph = self->model->graph;
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        for (size_t a = 0; a < node->n_attribute; a++) {
            const Onnx__AttributeProto *attribute = node->attribute[a];
            if (attribute->g != NULL || attribute->n_graphs > 0) {
                return nx_error_set(err, NX_ERR_UNSUPPORTED,
                                    "%s has a graph inside its %.60s node, which 'optimize' does "
                                    "not look into",
                                    self->name, node->op_type);
            }
        }
    }
    return NX_OK;
}

/* Bytes of one element in raw_data; 0 for what has none. */
static size_t element_bytes(int32_t type)
{
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
    case ONNX__TENSOR_PROTO__DATA_TYPE__BOOL:
        return 1;
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
        return 2;
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
        return 4;
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64:
        return 8;
    default:
        return 0;
    }
}

/* How many values the typed fields hold, for the type that the tensor says it has. */
static size_t typed_values(const Onnx__TensorProto *tensor)
{
    switch (tensor->data_type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
        return tensor->n_float_data;
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
        return tensor->n_double_data;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
        return tensor->n_int64_data;
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64:
        return tensor->n_uint64_data;
    default:
        return tensor->n_int32_data;
    }
}

nx_status nx_graph_check_tensor(const nx_graph *self, const Onnx__TensorProto *tensor,
                                nx_error *err)
{
    size_t element = element_bytes(tensor->data_type);
    if (tensor->n_external_data > 0 || tensor->data_location != 0) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "%s keeps the weights of %.80s in another file; store them in the "
                            "model first",
                            self->name, tensor->name);
    }
    if (element == 0) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "%s has the tensor %.80s of a type (%d) that 'optimize' does not know",
                            self->name, tensor->name, tensor->data_type);
    }
    size_t count = 1;
    bool fits = tensor->n_dims <= NX_GRAPH_MAX_RANK;
    for (size_t i = 0; fits && i < tensor->n_dims; i++) {
        fits = tensor->dims[i] >= 0 &&
               !__builtin_mul_overflow(count, (size_t)tensor->dims[i], &count) &&
               count <= MAX_FILE_BYTES;
    }
    bool raw = tensor->has_raw_data && tensor->raw_data.len > 0;
    if (!fits || (raw ? count * element != tensor->raw_data.len : count != typed_values(tensor))) {
        return nx_error_set(err, NX_ERR_CORRUPT,
                            "%s is damaged: the tensor %.80s has not as much data as its shape "
                            "says",
                            self->name, tensor->name);
    }
    return NX_OK;
}

static nx_status check_messages(const nx_graph *self, nx_error *err)
{
    const Onnx__ModelProto *model = self->model;
    const Onnx__GraphProto *graph = model->graph;
    if (graph == NULL || graph->n_input == 0 || graph->n_output == 0) {
        return nx_error_set(err, NX_ERR_CORRUPT, "%s has no graph with inputs and outputs",
                            self->name);
    }
    if (graph->n_node > NX_GRAPH_MAX_NODES || graph->n_initializer > NX_GRAPH_MAX_INITIALIZERS) {
        return nx_error_set(err, NX_ERR_TOO_LARGE,
                            "%s has %zu nodes and %zu tensors; %d and %d are the limits",
                            self->name, graph->n_node, graph->n_initializer, NX_GRAPH_MAX_NODES,
                            NX_GRAPH_MAX_INITIALIZERS);
    }
    if (model->n_functions > 0 || graph->n_sparse_initializer > 0) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "%s has functions or sparse tensors, which 'optimize' does not know",
                            self->name);
    }
    fill_texts(self->model->graph);
    nx_status status = check_nodes(self, err);
    for (size_t i = 0; i < graph->n_initializer && status == NX_OK; i++) {
        status = nx_graph_check_tensor(self, graph->initializer[i], err);
    }
    return status;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static nx_status unpack(nx_graph *self, const void *bytes, size_t size, nx_error *err)
{
    ProtobufCAllocator allocator = {
        .alloc = arena_alloc,
        .free = arena_free,
        .allocator_data = &self->arena,
    };
    self->model = onnx__model_proto__unpack(&allocator, size, bytes);
    if (self->model == NULL) {
        return self->arena.failed ? no_memory(self->name, err)
                                  : nx_error_set(err, NX_ERR_CORRUPT,
                                                 "%s is damaged: it is not the protobuf of an ONNX "
                                                 "model; copy or download it again",
                                                 self->name);
    }
    return check_messages(self, err);
}

nx_status nx_graph_parse(const void *bytes, size_t size, const char *name, nx_graph **out,
                         nx_error *err)
{
    *out = NULL;
    nx_onnx_info info;
    if (size > MAX_FILE_BYTES) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "%s is over protobuf's limit of 2 GiB", name);
    }
    nx_status status = nx_onnx_inspect(bytes, size, name, &info, err);
    if (status == NX_OK) {
        status = nx_wire_check(&onnx__model_proto__descriptor, bytes, size, name, err);
    }
    if (status != NX_OK) {
        return status;
    }
    nx_graph *graph = calloc(1, sizeof *graph);
    if (graph == NULL) {
        return no_memory(name, err);
    }
    graph->arena = nx_arena_make(ARENA_BASE + size * ARENA_TIMES);
    graph->name = nx_graph_text(graph, "%s", name);
    status = unpack(graph, bytes, size, err);
    nx_graph_index index = {0};
    if (status == NX_OK) {
        status = nx_graph_index_build(graph, &index, err); /* for what it checks */
    }
    nx_graph_index_free(&index);
    if (status == NX_OK) {
        status = nx_graph_normalise(graph, err);
    }
    if (status != NX_OK) {
        nx_graph_free(graph);
        return status;
    }
    *out = graph;
    return NX_OK;
}

nx_status nx_graph_load(const char *path, nx_graph **out, nx_error *err)
{
    nx_file_map map;
    *out = NULL;
    nx_status status = nx_file_map_open(path, &map, err);
    if (status == NX_OK) {
        status = nx_graph_parse(map.data, map.size, path, out, err);
        nx_file_unmap(&map);
    }
    return status;
}

nx_status nx_graph_copy(const nx_graph *graph, nx_graph **out, nx_error *err)
{
    nx_buffer bytes = NX_BUFFER_INIT;
    *out = NULL;
    nx_status status = nx_graph_pack(graph, &bytes, err);
    if (status == NX_OK) {
        status = nx_graph_parse(bytes.data, bytes.size, graph->name, out, err);
    }
    nx_buffer_free(&bytes);
    return status;
}

void nx_graph_free(nx_graph *graph)
{
    if (graph != NULL) {
        nx_arena_free(&graph->arena);
        free(graph);
    }
}

nx_status nx_graph_pack(const nx_graph *graph, nx_buffer *out, nx_error *err)
{
    nx_buffer_clear(out);
    if (graph->arena.failed) {
        return no_memory(graph->name, err);
    }
    size_t size = onnx__model_proto__get_packed_size(graph->model);
    if (size > MAX_FILE_BYTES) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "the optimised %s is over 2 GiB", graph->name);
    }
    if (!nx_buffer_reserve(out, size)) {
        return no_memory(graph->name, err);
    }
    out->size = onnx__model_proto__pack(graph->model, (uint8_t *)out->data);
    return NX_OK;
}

nx_status nx_graph_save(const nx_graph *graph, const char *path, nx_error *err)
{
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_status status = nx_graph_pack(graph, &bytes, err);
    if (status == NX_OK) {
        status = nx_file_write(path, bytes.data, bytes.size, err);
    }
    nx_buffer_free(&bytes);
    return status;
}

Onnx__ModelProto *nx_graph_model(nx_graph *graph)
{
    return graph->model;
}

const char *nx_graph_name(const nx_graph *graph)
{
    return graph->name;
}
