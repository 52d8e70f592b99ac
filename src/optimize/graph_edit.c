#include "optimize/graph_index.h"
#include "optimize/graph_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *copy_text(nx_graph *graph, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = nx_arena_alloc(&graph->arena, size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

const char *nx_graph_text(nx_graph *graph, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) {
        graph->arena.failed = true;
        return "";
    }
    const char *copy = copy_text(graph, text);
    free(text);
    return copy != NULL ? copy : "";
}

void *nx_graph_alloc(nx_graph *graph, size_t count, size_t size)
{
    return nx_arena_calloc(&graph->arena, count, size);
}

/*
 * Room for one more entry of an array of pointers. room: how many it has room for if this function
 * made it, 0 if protobuf-c did or it is small and short-lived. False when memory is short.
 */
static bool make_room(nx_graph *graph, void *array, size_t count, size_t *room)
{
    void **old = NULL;
    if (count < *room) {
        return true;
    }
    size_t capacity = *room > 0 ? count * 2 : count + 1;
    void **grown = nx_arena_calloc(&graph->arena, capacity, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    memcpy(&old, array, sizeof old); /* the array is char **, or one of struct pointers */
    if (count > 0) {
        memcpy(grown, old, count * sizeof *grown);
    }
    memcpy(array, &grown, sizeof grown);
    *room = capacity;
    return true;
}

/* One entry more in an array whose room nobody keeps: a few at most. */
static bool make_one_room(nx_graph *graph, void *array, size_t count)
{
    size_t room = 0;
    return make_room(graph, array, count, &room);
}

/* --- nodes --------------------------------------------------------------------------------------
 */

void nx_graph_clear_nodes(nx_graph *graph)
{
    graph->model->graph->node = NULL;
    graph->model->graph->n_node = 0;
    graph->node_room = 0;
}

void nx_graph_clear_initializers(nx_graph *graph)
{
    graph->model->graph->initializer = NULL;
    graph->model->graph->n_initializer = 0;
    graph->initializer_room = 0;
}

static void add_node_output(nx_graph *graph, Onnx__NodeProto *node, const char *output)
{
    char *copy = copy_text(graph, output);
    if (copy != NULL && make_one_room(graph, &node->output, node->n_output)) {
        node->output[node->n_output++] = copy;
    }
}

Onnx__NodeProto *nx_graph_add_node(nx_graph *graph, const char *domain, const char *op,
                                   const char *const *inputs, const char *output)
{
    Onnx__GraphProto *body = graph->model->graph;
    Onnx__NodeProto *node = nx_graph_alloc(graph, 1, sizeof *node);
    if (node == NULL) {
        return NULL;
    }
    onnx__node_proto__init(node);
    node->op_type = copy_text(graph, op);
    node->domain = copy_text(graph, domain);
    node->name = copy_text(graph, nx_graph_text(graph, "%s_%zu", op, body->n_node));
    size_t count = 0;
    while (inputs[count] != NULL) {
        count++;
    }
    node->input = nx_graph_alloc(graph, count, sizeof *node->input);
    for (size_t i = 0; node->input != NULL && i < count; i++) {
        node->input[node->n_input++] = copy_text(graph, inputs[i]);
    }
    add_node_output(graph, node, output);
    if (graph->arena.failed) {
        return NULL;
    }
    nx_graph_append_node(graph, node);
    return node;
}

void nx_graph_append_node(nx_graph *graph, Onnx__NodeProto *node)
{
    Onnx__GraphProto *body = graph->model->graph;
    if (make_room(graph, &body->node, body->n_node, &graph->node_room)) {
        body->node[body->n_node++] = node;
    }
}

static Onnx__AttributeProto *add_attribute(nx_graph *graph, Onnx__NodeProto *node, const char *name,
                                           Onnx__AttributeProto__AttributeType type)
{
    Onnx__AttributeProto *attribute = nx_graph_alloc(graph, 1, sizeof *attribute);
    if (node == NULL || attribute == NULL) {
        return NULL;
    }
    onnx__attribute_proto__init(attribute);
    attribute->name = copy_text(graph, name);
    attribute->has_type = true;
    attribute->type = type;
    if (attribute->name == NULL || !make_one_room(graph, &node->attribute, node->n_attribute)) {
        return NULL;
    }
    node->attribute[node->n_attribute++] = attribute;
    return attribute;
}

void nx_node_set_int(nx_graph *graph, Onnx__NodeProto *node, const char *name, int64_t value)
{
    Onnx__AttributeProto *attribute =
        add_attribute(graph, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    if (attribute != NULL) {
        attribute->has_i = true;
        attribute->i = value;
    }
}

void nx_node_set_ints(nx_graph *graph, Onnx__NodeProto *node, const char *name,
                      const int64_t *values, size_t count)
{
    Onnx__AttributeProto *attribute =
        add_attribute(graph, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    int64_t *copy = nx_graph_alloc(graph, count, sizeof *copy);
    if (attribute != NULL && copy != NULL) {
        memcpy(copy, values, count * sizeof *copy);
        attribute->ints = copy;
        attribute->n_ints = count;
    }
}

/* --- tensors, inputs and outputs ----------------------------------------------------------------
 */

void nx_graph_add_initializer(nx_graph *graph, const char *name, int32_t type, const int64_t *dims,
                              size_t rank, const void *data, size_t size)
{
    Onnx__GraphProto *body = graph->model->graph;
    Onnx__TensorProto *tensor = nx_graph_alloc(graph, 1, sizeof *tensor);
    int64_t *shape = nx_graph_alloc(graph, rank, sizeof *shape);
    uint8_t *bytes = nx_arena_alloc(&graph->arena, size);
    if (tensor == NULL || shape == NULL || bytes == NULL) {
        return;
    }
    onnx__tensor_proto__init(tensor);
    if (rank > 0) {
        memcpy(shape, dims, rank * sizeof *shape);
    }
    memcpy(bytes, data, size);
    tensor->name = copy_text(graph, name);
    tensor->dims = shape;
    tensor->n_dims = rank;
    tensor->has_data_type = true;
    tensor->data_type = type;
    tensor->has_raw_data = true;
    tensor->raw_data = (ProtobufCBinaryData){.len = size, .data = bytes};
    if (tensor->name != NULL &&
        make_room(graph, &body->initializer, body->n_initializer, &graph->initializer_room)) {
        body->initializer[body->n_initializer++] = tensor;
    }
}

static bool set_dim(nx_graph *graph, Onnx__TensorShapeProto__Dimension *dim, const char *text)
{
    char *end = NULL;
    onnx__tensor_shape_proto__dimension__init(dim);
    long long value = strtoll(text, &end, 10);
    if (end != text && *end == '\0') {
        dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        dim->dim_value = value;
        return true;
    }
    dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    dim->dim_param = copy_text(graph, text);
    return dim->dim_param != NULL;
}

static Onnx__ValueInfoProto *make_value(nx_graph *graph, const char *name, int32_t type,
                                        const char *const *dims, size_t rank)
{
    Onnx__ValueInfoProto *value = nx_graph_alloc(graph, 1, sizeof *value);
    Onnx__TypeProto *whole = nx_graph_alloc(graph, 1, sizeof *whole);
    Onnx__TypeProto__Tensor *tensor = nx_graph_alloc(graph, 1, sizeof *tensor);
    Onnx__TensorShapeProto *shape = nx_graph_alloc(graph, 1, sizeof *shape);
    Onnx__TensorShapeProto__Dimension *all = nx_graph_alloc(graph, rank, sizeof *all);
    rank = dims != NULL ? rank : 0;
    if (value == NULL || whole == NULL || tensor == NULL || shape == NULL || all == NULL) {
        return NULL;
    }
    onnx__value_info_proto__init(value);
    onnx__type_proto__init(whole);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    shape->dim = nx_graph_alloc(graph, rank, sizeof(Onnx__TensorShapeProto__Dimension *));
    for (size_t i = 0; shape->dim != NULL && i < rank; i++) {
        if (!set_dim(graph, &all[i], dims[i])) {
            return NULL;
        }
        shape->dim[shape->n_dim++] = &all[i];
    }
    tensor->has_elem_type = true;
    tensor->elem_type = type;
    tensor->shape = dims != NULL ? shape : NULL;
    whole->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    whole->tensor_type = tensor;
    value->type = whole;
    value->name = copy_text(graph, name);
    return value->name != NULL ? value : NULL;
}

void nx_graph_add_output(nx_graph *graph, const char *name, int32_t type, const char *const *dims,
                         size_t rank)
{
    Onnx__GraphProto *body = graph->model->graph;
    Onnx__ValueInfoProto *value = make_value(graph, name, type, dims, rank);
    if (value != NULL && make_one_room(graph, &body->output, body->n_output)) {
        body->output[body->n_output++] = value;
    }
}

void nx_graph_set_input(nx_graph *graph, const char *name, int32_t type, const char *const *dims,
                        size_t rank)
{
    Onnx__GraphProto *body = graph->model->graph;
    Onnx__ValueInfoProto *value = make_value(graph, name, type, dims, rank);
    if (value != NULL && make_one_room(graph, &body->input, 0)) {
        body->input[0] = value;
        body->n_input = 1;
    }
}

void nx_graph_clear_outputs(nx_graph *graph)
{
    graph->model->graph->output = NULL;
    graph->model->graph->n_output = 0;
}

/* --- the model's own fields ---------------------------------------------------------------------
 */

const char *nx_graph_metadata(const nx_graph *graph, const char *key)
{
    for (size_t i = 0; i < graph->model->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *entry = graph->model->metadata_props[i];
        if (entry->key != NULL && strcmp(entry->key, key) == 0) {
            return entry->value != NULL ? entry->value : "";
        }
    }
    return NULL;
}

void nx_graph_set_metadata(nx_graph *graph, const char *key, const char *value)
{
    Onnx__ModelProto *model = graph->model;
    for (size_t i = 0; i < model->n_metadata_props; i++) {
        if (model->metadata_props[i]->key != NULL &&
            strcmp(model->metadata_props[i]->key, key) == 0) {
            model->metadata_props[i]->value = copy_text(graph, value);
            return;
        }
    }
    Onnx__StringStringEntryProto *entry = nx_graph_alloc(graph, 1, sizeof *entry);
    if (entry != NULL && make_one_room(graph, &model->metadata_props, model->n_metadata_props)) {
        onnx__string_string_entry_proto__init(entry);
        entry->key = copy_text(graph, key);
        entry->value = copy_text(graph, value);
        model->metadata_props[model->n_metadata_props++] = entry;
    }
}

/* "ai.onnx" is another name of the default domain. */
static bool same_domain(const char *a, const char *b)
{
    const char *left = a == NULL || strcmp(a, "ai.onnx") == 0 ? "" : a;
    const char *right = strcmp(b, "ai.onnx") == 0 ? "" : b;
    return strcmp(left, right) == 0;
}

void nx_graph_set_opset(nx_graph *graph, const char *domain, int64_t version)
{
    Onnx__ModelProto *model = graph->model;
    for (size_t i = 0; i < model->n_opset_import; i++) {
        if (same_domain(model->opset_import[i]->domain, domain)) {
            model->opset_import[i]->has_version = true;
            model->opset_import[i]->version = version;
            return;
        }
    }
    Onnx__OperatorSetIdProto *opset = nx_graph_alloc(graph, 1, sizeof *opset);
    if (opset != NULL && make_one_room(graph, &model->opset_import, model->n_opset_import)) {
        onnx__operator_set_id_proto__init(opset);
        opset->domain = copy_text(graph, domain);
        opset->has_version = true;
        opset->version = version;
        model->opset_import[model->n_opset_import++] = opset;
    }
}

/* --- whole-graph edits --------------------------------------------------------------------------
 */

static void rename_in(nx_graph *graph, char **names, size_t count, const char *from, const char *to)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], from) == 0) {
            char *copy = copy_text(graph, to);
            names[i] = copy != NULL ? copy : names[i];
        }
    }
}

void nx_graph_rename(nx_graph *graph, const char *from, const char *to)
{
    Onnx__GraphProto *body = graph->model->graph;
    const char *old = copy_text(graph, from); /* it may be one of the names that change */
    if (old == NULL) {
        return;
    }
    for (size_t i = 0; i < body->n_node; i++) {
        rename_in(graph, body->node[i]->input, body->node[i]->n_input, old, to);
        rename_in(graph, body->node[i]->output, body->node[i]->n_output, old, to);
    }
    for (size_t i = 0; i < body->n_initializer; i++) {
        rename_in(graph, &body->initializer[i]->name, 1, old, to);
    }
    for (size_t i = 0; i < body->n_input; i++) {
        rename_in(graph, &body->input[i]->name, 1, old, to);
    }
    for (size_t i = 0; i < body->n_output; i++) {
        rename_in(graph, &body->output[i]->name, 1, old, to);
    }
}

/* Marks every value that an output depends on. The nodes are in order, so one way back is enough.
 */
static void mark_needed(const nx_graph_index *index, bool *needed, bool *kept)
{
    for (size_t v = 0; v < index->value_count; v++) {
        needed[v] = index->outputs[v];
    }
    for (size_t n = index->node_count; n-- > 0;) {
        for (size_t i = index->output_at[n]; i < index->output_at[n + 1]; i++) {
            kept[n] = kept[n] || (index->made[i] != NX_NO_VALUE && needed[index->made[i]]);
        }
        for (size_t i = index->input_at[n]; kept[n] && i < index->input_at[n + 1]; i++) {
            if (index->inputs[i] != NX_NO_VALUE) {
                needed[index->inputs[i]] = true;
            }
        }
    }
}

static void drop_unneeded(Onnx__GraphProto *body, const nx_graph_index *index, const bool *needed,
                          const bool *kept)
{
    size_t count = 0;
    for (size_t i = 0; i < body->n_node; i++) {
        if (kept[i]) {
            body->node[count++] = body->node[i];
        }
    }
    body->n_node = count;
    count = 0;
    for (size_t i = 0; i < body->n_initializer; i++) {
        nx_value v = nx_graph_index_find(index, body->initializer[i]->name);
        if (v != NX_NO_VALUE && needed[v]) {
            body->initializer[count++] = body->initializer[i];
        }
    }
    body->n_initializer = count;
    count = 0;
    for (size_t i = 0; i < body->n_input; i++) {
        /* old exports list the weights as inputs with a default */
        nx_value v = nx_graph_index_find(index, body->input[i]->name);
        if (v != NX_NO_VALUE && needed[v] && index->initializers[v] < 0) {
            body->input[count++] = body->input[i];
        }
    }
    body->n_input = count;
}

nx_status nx_graph_sweep(nx_graph *graph, nx_error *err)
{
    Onnx__GraphProto *body = graph->model->graph;
    nx_graph_index index = {0};
    nx_status status = nx_graph_index_build(graph, &index, err);
    if (status != NX_OK) {
        return status;
    }
    bool *needed = calloc(index.value_count + 1, sizeof *needed);
    bool *kept = calloc(index.node_count + 1, sizeof *kept);
    if (needed == NULL || kept == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for %s", graph->name);
    } else {
        mark_needed(&index, needed, kept);
        drop_unneeded(body, &index, needed, kept);
        body->n_value_info = 0;
        body->n_quantization_annotation = 0;
        if (graph->model->ir_version < 4) { /* from there on weights need not be inputs */
            graph->model->ir_version = 4;
        }
    }
    free(needed);
    free(kept);
    nx_graph_index_free(&index);
    return status;
}

/* The tensor that a Constant node stands for, under the name of its output. */
static Onnx__TensorProto *constant_tensor(nx_graph *graph, const Onnx__NodeProto *node)
{
    const Onnx__AttributeProto *value = nx_node_attribute(node, "value");
    if (value == NULL || value->t == NULL || node->n_output != 1) {
        return NULL;
    }
    Onnx__TensorProto *tensor = value->t;
    tensor->name = copy_text(graph, node->output[0]);
    return tensor;
}

/* Whether a node only gives a value another name, and the graph does not show that name outside. */
static bool is_idle(const Onnx__GraphProto *body, const Onnx__NodeProto *node)
{
    bool idle = nx_node_is(node, "Identity") && node->n_input == 1 && node->n_output == 1;
    for (size_t i = 0; idle && i < body->n_output; i++) {
        idle = strcmp(body->output[i]->name, node->output[0]) != 0;
    }
    return idle;
}

nx_status nx_graph_normalise(nx_graph *graph, nx_error *err)
{
    Onnx__GraphProto *body = graph->model->graph;
    size_t count = 0;
    for (size_t i = 0; i < body->n_node; i++) {
        Onnx__NodeProto *node = body->node[i];
        if (!nx_node_is(node, "Constant")) {
            if (is_idle(body, node)) {
                for (size_t n = i + 1; n < body->n_node; n++) {
                    rename_in(graph, body->node[n]->input, body->node[n]->n_input, node->output[0],
                              node->input[0]);
                }
            } else {
                body->node[count++] = node;
            }
            continue;
        }
        Onnx__TensorProto *tensor = constant_tensor(graph, node);
        if (tensor == NULL) {
            return nx_error_set(err, NX_ERR_UNSUPPORTED,
                                "%s has a Constant that is no tensor, which 'optimize' does not "
                                "know",
                                graph->name);
        }
        nx_status status = nx_graph_check_tensor(graph, tensor, err);
        if (status != NX_OK) {
            return status;
        }
        if (make_room(graph, &body->initializer, body->n_initializer, &graph->initializer_room)) {
            body->initializer[body->n_initializer++] = tensor;
        }
    }
    body->n_node = count;
    return graph->arena.failed
               ? nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for %s", graph->name)
               : NX_OK;
}
