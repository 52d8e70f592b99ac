#include "optimize/to_half.h"

#include "optimize/graph_index.h"
#include "optimize/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HALF_MAX 65504.0F

/* Their attributes or inputs hold a type, which would contradict the values around them. */
static const char *const typed[] = {
    "Cast",           "CastLike",         "ConstantOfShape",       "EyeLike",
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv",
    "ConvInteger"};

static nx_status check_nodes(nx_graph *graph, nx_error *err)
{
    const Onnx__GraphProto *body = nx_graph_model(graph)->graph;
    for (size_t n = 0; n < body->n_node; n++) {
        for (size_t i = 0; i < sizeof typed / sizeof typed[0]; i++) {
            if (nx_node_is(body->node[n], typed[i])) {
                return nx_error_set(err, NX_ERR_UNSUPPORTED,
                                    "%s cannot become float16: its node %.40s fixes a type",
                                    nx_graph_name(graph), typed[i]);
            }
        }
    }
    return NX_OK;
}

/* Whether a constant is read as a number that Resize wants in float32 whatever it resizes. */
static bool is_scale(const Onnx__GraphProto *body, const nx_graph_index *index, nx_value value)
{
    for (size_t i = index->consumer_at[value]; i < index->consumer_at[value + 1]; i++) {
        size_t n = (size_t)index->consumers[i];
        if (nx_node_is(body->node[n], "Resize") && nx_graph_index_input(index, n, 0) != value) {
            return true;
        }
    }
    return false;
}

static nx_status halve_tensor(nx_graph *graph, Onnx__TensorProto *tensor, nx_error *err)
{
    size_t count = nx_initializer_count(tensor);
    const float *values = nx_initializer_floats(graph, tensor);
    uint16_t *halves = nx_graph_alloc(graph, count, sizeof *halves);
    if (values == NULL || halves == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for %s",
                            nx_graph_name(graph));
    }
    for (size_t i = 0; i < count; i++) {
        if (fabsf(values[i]) > HALF_MAX) {
            return nx_error_set(err, NX_ERR_UNSUPPORTED,
                                "%s cannot become float16: %.80s holds %g, which is too large",
                                nx_graph_name(graph), tensor->name, (double)values[i]);
        }
        halves[i] = nx_half_from_float(values[i]);
    }
    tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16;
    tensor->n_float_data = 0;
    tensor->has_raw_data = true;
    tensor->raw_data =
        (ProtobufCBinaryData){.len = count * sizeof *halves, .data = (uint8_t *)halves};
    return NX_OK;
}

static nx_status halve_weights(nx_graph *graph, nx_error *err)
{
    Onnx__GraphProto *body = nx_graph_model(graph)->graph;
    nx_graph_index index = {0};
    nx_status status = nx_graph_index_build(graph, &index, err);
    for (size_t i = 0; i < body->n_initializer && status == NX_OK; i++) {
        nx_value value = nx_graph_index_find(&index, body->initializer[i]->name);
        if (body->initializer[i]->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT &&
            !is_scale(body, &index, value)) {
            status = halve_tensor(graph, body->initializer[i], err);
        }
    }
    nx_graph_index_free(&index);
    return status;
}

/* Copies the nodes, with Casts around what stays float32. */
static void copy_nodes(nx_graph *graph)
{
    Onnx__GraphProto *body = nx_graph_model(graph)->graph;
    Onnx__NodeProto **nodes = body->node;
    size_t count = body->n_node;
    nx_graph_clear_nodes(graph);
    for (size_t n = 0; n < count; n++) {
        Onnx__NodeProto *node = nodes[n];
        if (!nx_node_is(node, "Softmax") || node->n_input != 1 || node->n_output != 1) {
            nx_graph_append_node(graph, node);
            continue;
        }
        const char *before = nx_graph_text(graph, "%s_softmax_input", node->output[0]);
        const char *after = nx_graph_text(graph, "%s_softmax_output", node->output[0]);
        const char *const inputs[] = {node->input[0], NULL};
        Onnx__NodeProto *widen = nx_graph_add_node(graph, "", "Cast", inputs, before);
        nx_node_set_int(graph, widen, "to", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
        const char *const result[] = {after, NULL};
        const char *output = node->output[0];
        node->input[0] = (char *)nx_graph_text(graph, "%s", before);
        node->output[0] = (char *)nx_graph_text(graph, "%s", after);
        nx_graph_append_node(graph, node);
        Onnx__NodeProto *narrow = nx_graph_add_node(graph, "", "Cast", result, output);
        nx_node_set_int(graph, narrow, "to", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16);
    }
}

/* The graph's outputs keep their names and type; what made them makes <name>_half. */
static void cast_outputs(nx_graph *graph)
{
    Onnx__GraphProto *body = nx_graph_model(graph)->graph;
    for (size_t i = 0; i < body->n_output; i++) {
        Onnx__ValueInfoProto *output = body->output[i];
        const char *name = nx_graph_text(graph, "%s", output->name);
        const char *half = nx_graph_text(graph, "%s_half", name);
        nx_graph_rename(graph, name, half);
        output->name = (char *)nx_graph_text(graph, "%s", name);
        Onnx__NodeProto *cast =
            nx_graph_add_node(graph, "", "Cast", (const char *const[]){half, NULL}, name);
        nx_node_set_int(graph, cast, "to", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    }
}

nx_status nx_graph_to_half(nx_graph *graph, nx_error *err)
{
    nx_status status = check_nodes(graph, err);
    if (status == NX_OK) {
        status = halve_weights(graph, err);
    }
    if (status != NX_OK) {
        return status;
    }
    copy_nodes(graph);
    cast_outputs(graph);
    Onnx__TypeProto *type = nx_graph_model(graph)->graph->input[0]->type;
    type->tensor_type->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16;
    return nx_graph_sweep(graph, err);
}
