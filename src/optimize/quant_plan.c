#include "optimize/quant_plan.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PARTS    16
#define MAX_CHANNELS (1 << 20)

typedef struct planner {
    nx_quant_plan *plan;
    Onnx__GraphProto *body;
    bool *done; /* by node: part of a layer already */
    size_t capacity;
} planner;

static const Onnx__TensorProto *constant(const planner *p, nx_value value)
{
    int32_t at = value != NX_NO_VALUE ? p->plan->index.initializers[value] : -1;
    return at >= 0 ? p->body->initializer[at] : NULL;
}

static nx_value input_of(const planner *p, size_t node, size_t i)
{
    return nx_graph_index_input(&p->plan->index, node, i);
}

static nx_status refuse(const planner *p, size_t node, const char *why, nx_error *err)
{
    const Onnx__NodeProto *n = p->body->node[node];
    return nx_error_set(
        err, NX_ERR_UNSUPPORTED, "%s cannot be quantised: its node %.80s (%.40s) %s",
        nx_graph_name(p->plan->graph), n->name != NULL ? n->name : "", n->op_type, why);
}

/* --- groups -------------------------------------------------------------------------------------
 */

nx_value nx_quant_plan_group(const nx_quant_plan *plan, nx_value value)
{
    while (plan->groups[value] != value) {
        value = plan->groups[value];
    }
    return value;
}

static void share(nx_quant_plan *plan, nx_value a, nx_value b)
{
    plan->groups[nx_quant_plan_group(plan, a)] = nx_quant_plan_group(plan, b);
}

/* --- layers -------------------------------------------------------------------------------------
 */

/* There are at most NX_GRAPH_MAX_NODES times MAX_PARTS. NULL without memory. */
static nx_quant_layer *add_layer(planner *p, nx_quant_kind kind, size_t node, nx_value output)
{
    nx_quant_plan *plan = p->plan;
    if (plan->layer_count == p->capacity) {
        size_t capacity = p->capacity > 0 ? p->capacity * 2 : 64;
        nx_quant_layer *grown = reallocarray(plan->layers, capacity, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        plan->layers = grown;
        p->capacity = capacity;
    }
    nx_quant_layer *layer = &plan->layers[plan->layer_count++];
    *layer = (nx_quant_layer){
        .kind = kind,
        .node = node,
        .inputs = {input_of(p, node, 0), NX_NO_VALUE},
        .output = output,
        .before = NX_NO_VALUE,
    };
    return layer;
}

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory to quantise");
}

/* Whether value is read by a Sigmoid and, with its output, by a Mul, and by nothing else. */
static bool match_silu(planner *p, nx_value value, nx_value *product)
{
    const nx_graph_index *index = &p->plan->index;
    if (nx_graph_index_readers(index, value) != 2 || index->outputs[value]) {
        return false;
    }
    size_t sigmoid = (size_t)index->consumers[index->consumer_at[value]];
    size_t mul = (size_t)index->consumers[index->consumer_at[value] + 1];
    if (!nx_node_is(p->body->node[sigmoid], "Sigmoid") || !nx_node_is(p->body->node[mul], "Mul")) {
        return false;
    }
    nx_value gate = nx_graph_index_output(index, sigmoid, 0);
    bool either = (input_of(p, mul, 0) == value && input_of(p, mul, 1) == gate) ||
                  (input_of(p, mul, 1) == value && input_of(p, mul, 0) == gate);
    *product = nx_graph_index_output(index, mul, 0);
    if (!either || gate == NX_NO_VALUE || nx_graph_index_readers(index, gate) != 1 ||
        index->outputs[gate] || *product == NX_NO_VALUE) {
        return false;
    }
    p->done[sigmoid] = true;
    p->done[mul] = true;
    return true;
}

/* A 1x1 kernel that reads each pixel once. */
static bool is_pointwise(const Onnx__NodeProto *node, const Onnx__TensorProto *weights)
{
    int64_t strides[2] = {1, 1};
    int64_t pads[4] = {0, 0, 0, 0};
    (void)nx_node_ints(node, "strides", strides, 2);
    (void)nx_node_ints(node, "pads", pads, 4);
    return weights->dims[2] == 1 && weights->dims[3] == 1 && strides[0] == 1 && strides[1] == 1 &&
           pads[0] == 0 && pads[1] == 0 && pads[2] == 0 && pads[3] == 0 &&
           nx_node_int(node, "group", 1) == 1;
}

static nx_status plan_conv(planner *p, size_t n, nx_value output, nx_error *err)
{
    const Onnx__NodeProto *node = p->body->node[n];
    const Onnx__TensorProto *weights = constant(p, input_of(p, n, 1));
    const Onnx__TensorProto *bias = constant(p, input_of(p, n, 2));
    int64_t group = nx_node_int(node, "group", 1);
    int64_t in = p->plan->channels[input_of(p, n, 0)];
    if (weights == NULL || weights->n_dims != 4 || nx_initializer_count(weights) == 0 ||
        weights->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ||
        !nx_node_text_is(node, "auto_pad", "NOTSET", true)) {
        return refuse(p, n, "has no constant float weights of 4 dimensions", err);
    }
    bool has_bias = input_of(p, n, 2) != NX_NO_VALUE;
    if (has_bias && (bias == NULL || bias->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ||
                     nx_initializer_count(bias) != (size_t)weights->dims[0])) {
        return refuse(p, n, "has no constant float bias for each channel", err);
    }
    if (weights->dims[0] > MAX_CHANNELS || group < 1 || weights->dims[1] > INT32_MAX ||
        group > INT32_MAX || weights->dims[1] * group != in || weights->dims[0] % group != 0) {
        return refuse(p, n, "has weights that do not fit its input", err);
    }
    nx_quant_layer *layer = add_layer(p, NX_QUANT_CONV, n, output);
    if (layer == NULL) {
        return no_memory(err);
    }
    layer->weights = weights;
    layer->bias = bias;
    layer->before = output;
    if (p->plan->index.outputs[output]) {
        layer->kind = NX_QUANT_FINAL;
        if (!is_pointwise(node, weights) || layer->inputs[0] == p->plan->input) {
            return refuse(p, n, "makes an output and is no 1x1 convolution", err);
        }
    } else {
        layer->silu = match_silu(p, output, &layer->output);
    }
    p->plan->channels[layer->output] = weights->dims[0];
    return NX_OK;
}

static nx_status plan_concat(planner *p, size_t n, nx_value output, nx_error *err)
{
    nx_quant_plan *plan = p->plan;
    int64_t axis = nx_node_int(p->body->node[n], "axis", 0);
    if (axis != 1 && axis != -3) {
        return refuse(p, n, "joins something else than channels", err);
    }
    for (size_t i = 0; i < p->body->node[n]->n_input; i++) {
        nx_value part = input_of(p, n, i);
        if (part == NX_NO_VALUE || plan->channels[part] == 0) {
            return refuse(p, n, "joins a constant", err);
        }
        plan->channels[output] += plan->channels[part];
        if (plan->channels[output] > MAX_CHANNELS) {
            return refuse(p, n, "joins too many channels", err);
        }
        share(plan, part, output);
    }
    return add_layer(p, NX_QUANT_CONCAT, n, output) != NULL ? NX_OK : no_memory(err);
}

static nx_status add_part(planner *p, size_t n, nx_value output, int64_t start, int64_t end,
                          nx_error *err)
{
    nx_quant_plan *plan = p->plan;
    int64_t whole = plan->channels[input_of(p, n, 0)];
    end = end > whole ? whole : end;
    if (start < 0 || start >= end) {
        return refuse(p, n, "takes channels that are not there", err);
    }
    if (output == NX_NO_VALUE) {
        return NX_OK;
    }
    nx_quant_layer *layer = add_layer(p, NX_QUANT_PART, n, output);
    if (layer == NULL) {
        return no_memory(err);
    }
    layer->start = start;
    layer->end = end;
    plan->channels[output] = end - start;
    share(plan, layer->inputs[0], output);
    return NX_OK;
}

static nx_status plan_slice(planner *p, size_t n, nx_value output, nx_error *err)
{
    int64_t values[4] = {0, 0, 0, 1}; /* starts, ends, axes, steps */
    for (size_t i = 0; i < 4; i++) {
        nx_value value = input_of(p, n, i + 1);
        const Onnx__TensorProto *tensor = constant(p, value);
        bool left_out = i == 3 && value == NX_NO_VALUE;
        if (!left_out && (tensor == NULL || nx_initializer_ints(tensor, &values[i], 1) != 1)) {
            return refuse(p, n, "is not a constant range of one dimension", err);
        }
    }
    if ((values[2] != 1 && values[2] != -3) || values[3] != 1) {
        return refuse(p, n, "takes something else than a range of channels", err);
    }
    return add_part(p, n, output, values[0], values[1], err);
}

static nx_status plan_split(planner *p, size_t n, nx_error *err)
{
    const Onnx__NodeProto *node = p->body->node[n];
    int64_t axis = nx_node_int(node, "axis", 0);
    int64_t sizes[MAX_PARTS];
    size_t count = node->n_output;
    if ((axis != 1 && axis != -3) || count == 0 || count > MAX_PARTS) {
        return refuse(p, n, "splits something else than channels, or into too many", err);
    }
    nx_value list = input_of(p, n, 1); /* since operator set 13; an attribute before */
    const Onnx__TensorProto *given = constant(p, list);
    if (list != NX_NO_VALUE ? given == NULL || nx_initializer_ints(given, sizes, count) != count
                            : !nx_node_ints(node, "split", sizes, count)) {
        if (list != NX_NO_VALUE || nx_node_attribute(node, "split") != NULL) {
            return refuse(p, n, "has no constant sizes", err);
        }
        for (size_t i = 0; i < count; i++) {
            sizes[i] = p->plan->channels[input_of(p, n, 0)] / (int64_t)count;
        }
    }
    nx_status status = NX_OK;
    int64_t start = 0;
    for (size_t i = 0; i < count && status == NX_OK; i++) {
        if (sizes[i] < 1 || sizes[i] > INT32_MAX) {
            return refuse(p, n, "has impossible sizes", err);
        }
        status = add_part(p, n, nx_graph_index_output(&p->plan->index, n, i), start,
                          start + sizes[i], err);
        start += sizes[i];
    }
    return status;
}

static nx_status plan_add(planner *p, size_t n, nx_value output, nx_error *err)
{
    nx_value right = input_of(p, n, 1);
    int64_t channels = p->plan->channels[input_of(p, n, 0)];
    if (right == NX_NO_VALUE || p->plan->channels[right] != channels) {
        return refuse(p, n, "adds a constant, or different channels", err);
    }
    nx_quant_layer *layer = add_layer(p, NX_QUANT_ADD, n, output);
    if (layer == NULL) {
        return no_memory(err);
    }
    layer->inputs[1] = right;
    p->plan->channels[output] = channels;
    return NX_OK;
}

/* A layer with the values of its input: pooling, upsampling. */
static nx_status plan_same(planner *p, nx_quant_kind kind, size_t n, nx_value output, nx_error *err)
{
    nx_quant_layer *layer = add_layer(p, kind, n, output);
    if (layer == NULL) {
        return no_memory(err);
    }
    p->plan->channels[output] = p->plan->channels[layer->inputs[0]];
    share(p->plan, layer->inputs[0], output);
    return NX_OK;
}

/* Nearest, by 2, each pixel becoming four. */
static bool doubles(planner *p, size_t n)
{
    const Onnx__NodeProto *node = p->body->node[n];
    const Onnx__TensorProto *scales = constant(p, input_of(p, n, 2));
    const float *s = scales != NULL && nx_initializer_count(scales) == 4
                         ? nx_initializer_floats(p->plan->graph, scales)
                         : NULL;
    return s != NULL && s[0] == 1 && s[1] == 1 && s[2] == 2 && s[3] == 2 &&
           nx_node_text_is(node, "mode", "nearest", true) &&
           nx_node_text_is(node, "coordinate_transformation_mode", "asymmetric", false) &&
           nx_node_text_is(node, "nearest_mode", "floor", false);
}

static nx_status plan_node(planner *p, size_t n, nx_error *err)
{
    const Onnx__NodeProto *node = p->body->node[n];
    nx_value input = input_of(p, n, 0);
    nx_value output = nx_graph_index_output(&p->plan->index, n, 0);
    if (input == NX_NO_VALUE || p->plan->channels[input] == 0 || output == NX_NO_VALUE) {
        return refuse(p, n, "does not read the picture", err);
    }
    if (nx_node_is(node, "Conv")) {
        return plan_conv(p, n, output, err);
    }
    if (nx_node_is(node, "Concat")) {
        return plan_concat(p, n, output, err);
    }
    if (nx_node_is(node, "Slice")) {
        return plan_slice(p, n, output, err);
    }
    if (nx_node_is(node, "Split")) {
        return plan_split(p, n, err);
    }
    if (nx_node_is(node, "Add")) {
        return plan_add(p, n, output, err);
    }
    if (nx_node_is(node, "MaxPool") && node->n_output == 1 &&
        nx_node_text_is(node, "auto_pad", "NOTSET", true)) {
        return plan_same(p, NX_QUANT_POOL, n, output, err);
    }
    if (nx_node_is(node, "Resize") && doubles(p, n)) {
        return plan_same(p, NX_QUANT_UPSAMPLE, n, output, err);
    }
    return refuse(p, n, "is of a kind that the INT8 recipe does not know", err);
}

/* Every output comes from a convolution, and the picture shares its scale with nothing. */
static nx_status check_ends(const planner *p, nx_error *err)
{
    const nx_quant_plan *plan = p->plan;
    size_t finals = 0;
    for (size_t i = 0; i < plan->layer_count; i++) {
        const nx_quant_layer *layer = &plan->layers[i];
        finals += layer->kind == NX_QUANT_FINAL;
        if (layer->kind != NX_QUANT_CONV && layer->inputs[0] == plan->input) {
            return refuse(p, layer->node, "reads the picture and is no convolution", err);
        }
        if (layer->kind != NX_QUANT_FINAL && plan->index.outputs[layer->output]) {
            return refuse(p, layer->node, "makes an output and is no 1x1 convolution", err);
        }
    }
    if (finals != p->body->n_output) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "%s cannot be quantised: not every output comes from a convolution",
                            nx_graph_name(plan->graph));
    }
    return NX_OK;
}

nx_status nx_quant_plan_make(nx_graph *graph, nx_quant_plan *out, nx_error *err)
{
    *out = (nx_quant_plan){.graph = graph};
    planner p = {.plan = out, .body = nx_graph_model(graph)->graph};
    nx_status status = nx_graph_index_build(graph, &out->index, err);
    if (status != NX_OK) {
        return status;
    }
    size_t values = out->index.value_count + 1;
    out->groups = calloc(values, sizeof *out->groups);
    out->channels = calloc(values, sizeof *out->channels);
    p.done = calloc(out->index.node_count + 1, sizeof *p.done);
    if (out->groups == NULL || out->channels == NULL || p.done == NULL) {
        status = no_memory(err);
    } else {
        for (size_t v = 0; v < values; v++) {
            out->groups[v] = (nx_value)v;
        }
        out->input = nx_graph_index_find(&out->index, p.body->input[0]->name);
        out->channels[out->input] = 3;
    }
    for (size_t n = 0; n < out->index.node_count && status == NX_OK; n++) {
        status = p.done[n] ? NX_OK : plan_node(&p, n, err);
    }
    if (status == NX_OK) {
        status = check_ends(&p, err);
    }
    free(p.done);
    return status;
}

void nx_quant_plan_free(nx_quant_plan *plan)
{
    nx_graph_index_free(&plan->index);
    free(plan->layers);
    free(plan->groups);
    free(plan->channels);
    *plan = (nx_quant_plan){0};
}
