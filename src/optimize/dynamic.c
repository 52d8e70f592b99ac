#include "optimize/dynamic.h"

#include "optimize/graph_index.h"

#include <string.h>

/* Each value of the output comes from the same place of the inputs. */
static const char *const elementwise[] = {
    "Add", "Clip", "HardSigmoid", "HardSwish", "LeakyRelu",
    "Mul", "Relu", "Sigmoid",     "Sub",       "BatchNormalization"};

static const Onnx__TensorProto *constant_input(const Onnx__GraphProto *body,
                                               const nx_graph_index *index, size_t node, size_t i)
{
    nx_value value = nx_graph_index_input(index, node, i);
    int32_t at = value != NX_NO_VALUE ? index->initializers[value] : -1;
    return at >= 0 ? body->initializer[at] : NULL;
}

/* Constants that are as many as channels fit every size; those with rows or columns do not. */
static bool constants_have_no_size(const Onnx__GraphProto *body, const nx_graph_index *index,
                                   size_t node)
{
    for (size_t i = 0; i < body->node[node]->n_input; i++) {
        const Onnx__TensorProto *constant = constant_input(body, index, node, i);
        for (size_t d = 0; constant != NULL && d < constant->n_dims && d < 2; d++) {
            bool batch_norm = nx_node_is(body->node[node], "BatchNormalization");
            if (constant->dims[constant->n_dims - 1 - d] != 1 && !batch_norm) {
                return false;
            }
        }
    }
    return true;
}

static bool is_elementwise(const Onnx__GraphProto *body, const nx_graph_index *index, size_t node)
{
    for (size_t i = 0; i < sizeof elementwise / sizeof elementwise[0]; i++) {
        if (nx_node_is(body->node[node], elementwise[i])) {
            return constants_have_no_size(body, index, node);
        }
    }
    return false;
}

static bool is_channel_axis(int64_t axis)
{
    return axis == 1 || axis == -3;
}

/* Slices of channels with constant ends. */
static bool slices_channels(const Onnx__GraphProto *body, const nx_graph_index *index, size_t node)
{
    int64_t axis = 0;
    const Onnx__TensorProto *axes = constant_input(body, index, node, 3);
    return constant_input(body, index, node, 1) != NULL &&
           constant_input(body, index, node, 2) != NULL && axes != NULL &&
           nx_initializer_ints(axes, &axis, 1) == 1 && is_channel_axis(axis);
}

static bool resizes_by_scales(const Onnx__GraphProto *body, const nx_graph_index *index,
                              size_t node)
{
    const Onnx__TensorProto *scales = constant_input(body, index, node, 2);
    return scales != NULL && nx_initializer_count(scales) == 4;
}

static bool fits_every_size(const Onnx__GraphProto *body, const nx_graph_index *index, size_t n)
{
    const Onnx__NodeProto *node = body->node[n];
    if (nx_node_is(node, "Conv") || nx_node_is(node, "MaxPool")) {
        return nx_node_text_is(node, "auto_pad", "NOTSET", true);
    }
    if (nx_node_is(node, "Concat") || nx_node_is(node, "Split")) {
        return is_channel_axis(nx_node_int(node, "axis", 0));
    }
    if (nx_node_is(node, "Slice")) {
        return slices_channels(body, index, n);
    }
    if (nx_node_is(node, "Resize")) {
        return resizes_by_scales(body, index, n);
    }
    return is_elementwise(body, index, n);
}

nx_status nx_make_dynamic(nx_graph *graph, const nx_split_head *head, nx_error *err)
{
    const Onnx__GraphProto *body = nx_graph_model(graph)->graph;
    nx_graph_index index = {0};
    nx_status status = nx_graph_index_build(graph, &index, err);
    for (size_t n = 0; n < body->n_node && status == NX_OK; n++) {
        if (!fits_every_size(body, &index, n)) {
            status = nx_error_set(
                err, NX_ERR_UNSUPPORTED, "%s keeps its size: its node %.60s (%.40s) may hold it",
                nx_graph_name(graph), body->node[n]->name != NULL ? body->node[n]->name : "",
                body->node[n]->op_type);
        }
    }
    nx_graph_index_free(&index);
    if (status == NX_OK) {
        static const char *const dims[] = {"batch", "3", "height", "width"};
        nx_graph_set_input(graph, body->input[0]->name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, dims,
                           4);
        nx_head_declare_outputs(graph, head, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, false, "batch",
                                "height", "width");
    }
    return status;
}
