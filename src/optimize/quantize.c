#include "optimize/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MICROSOFT "com.microsoft"
#define NEXUS     "ai.nexus"

/* Only operators that this version has, in the form that it has them, are written. */
#define OPSET      17
#define IR_VERSION 8

#define INT8_TYPE  ONNX__TENSOR_PROTO__DATA_TYPE__INT8
#define UINT8_TYPE ONNX__TENSOR_PROTO__DATA_TYPE__UINT8
#define INT32_TYPE ONNX__TENSOR_PROTO__DATA_TYPE__INT32
#define INT64_TYPE ONNX__TENSOR_PROTO__DATA_TYPE__INT64
#define FLOAT_TYPE ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT

/* --- ranges -------------------------------------------------------------------------------------
 */

static bool measured(const nx_quant_layer *layer)
{
    return layer->kind == NX_QUANT_CONV || layer->kind == NX_QUANT_ADD;
}

static void choose_group(const nx_quant_plan *plan, const nx_histogram *histograms, nx_value group,
                         nx_weighted *points, nx_quant_range *out)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->layer_count; i++) {
        const nx_quant_layer *layer = &plan->layers[i];
        if (measured(layer) && nx_quant_plan_group(plan, layer->output) == group) {
            count = nx_points_add(&histograms[i], layer->silu, points, count);
        }
    }
    *out = nx_range_choose(points, count);
}

nx_status nx_quant_ranges_choose(const nx_quant_plan *plan, const nx_histogram *histograms,
                                 nx_quant_ranges *out, nx_error *err)
{
    size_t values = plan->index.value_count + 1;
    nx_weighted *points = calloc((plan->layer_count + 1) * 2 * NX_HISTOGRAM_HALF, sizeof *points);
    bool *chosen = calloc(values, sizeof *chosen);
    *out = (nx_quant_ranges){
        .groups = calloc(values, sizeof *out->groups),
        .before = calloc(plan->layer_count + 1, sizeof *out->before),
    };
    if (points == NULL || chosen == NULL || out->groups == NULL || out->before == NULL) {
        free(points);
        free(chosen);
        nx_quant_ranges_free(out);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory to choose ranges");
    }
    /* bytes of the picture are the numbers 0..1 that the model was made for */
    out->groups[plan->input] = (nx_quant_range){.scale = 1 / 255.0F, .zero = 0};
    for (size_t i = 0; i < plan->layer_count; i++) {
        const nx_quant_layer *layer = &plan->layers[i];
        if (!measured(layer)) {
            continue;
        }
        nx_value group = nx_quant_plan_group(plan, layer->output);
        if (!chosen[group]) {
            choose_group(plan, histograms, group, points, &out->groups[group]);
            chosen[group] = true;
        }
        if (layer->silu) {
            out->before[i] = nx_range_choose_for_silu(&histograms[i], out->groups[group]);
        }
    }
    free(points);
    free(chosen);
    return NX_OK;
}

void nx_quant_ranges_free(nx_quant_ranges *ranges)
{
    free(ranges->groups);
    free(ranges->before);
    *ranges = (nx_quant_ranges){0};
}

/* --- writing the graph --------------------------------------------------------------------------
 */

typedef struct emitter {
    const nx_quant_plan *plan;
    const nx_quant_ranges *ranges;
    nx_weight_form form;
    nx_graph *out;
} emitter;

static const char *name_of(const emitter *e, nx_value value)
{
    return e->plan->index.names[value];
}

static nx_quant_range range_of(const emitter *e, nx_value value)
{
    return e->ranges->groups[nx_quant_plan_group(e->plan, value)];
}

/* Initializers for a range; their names. */
typedef struct range_names {
    const char *scale;
    const char *zero;
} range_names;

static range_names add_range(emitter *e, const char *name, nx_quant_range range)
{
    range_names names = {
        .scale = nx_graph_text(e->out, "%s_scale", name),
        .zero = nx_graph_text(e->out, "%s_zero", name),
    };
    nx_graph_add_initializer(e->out, names.scale, FLOAT_TYPE, NULL, 0, &range.scale,
                             sizeof range.scale);
    nx_graph_add_initializer(e->out, names.zero, UINT8_TYPE, NULL, 0, &range.zero,
                             sizeof range.zero);
    return names;
}

/* Each group's initializers are named after the value that stands for it. */
static range_names names_of(const emitter *e, nx_value value)
{
    const char *group = name_of(e, nx_quant_plan_group(e->plan, value));
    return (range_names){
        .scale = nx_graph_text(e->out, "%s_scale", group),
        .zero = nx_graph_text(e->out, "%s_zero", group),
    };
}

static void add_group_ranges(emitter *e)
{
    for (size_t v = 0; v < e->plan->index.value_count; v++) {
        nx_value value = (nx_value)v;
        if (e->plan->channels[v] > 0 && nx_quant_plan_group(e->plan, value) == value) {
            (void)add_range(e, name_of(e, value), e->ranges->groups[v]);
        }
    }
}

static void copy_window(emitter *e, const nx_quant_layer *layer, Onnx__NodeProto *node)
{
    static const struct {
        const char *name;
        size_t count;
    } lists[] = {{"kernel_shape", 2}, {"strides", 2}, {"pads", 4}, {"dilations", 2}};
    const Onnx__NodeProto *from = nx_graph_model(e->plan->graph)->graph->node[layer->node];
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        int64_t values[4];
        if (nx_node_ints(from, lists[i].name, values, lists[i].count)) {
            nx_node_set_ints(e->out, node, lists[i].name, values, lists[i].count);
        }
    }
}

/* The weights, scales, zeros and bias of a convolution under names that begin with its output's. */
static void add_conv_tensors(emitter *e, const nx_quant_layer *layer, const char *name,
                             float input_scale)
{
    const int64_t *dims = layer->weights->dims;
    size_t channels = (size_t)dims[0];
    size_t in = (size_t)dims[1];
    size_t kernel = (size_t)dims[2] * (size_t)dims[3];
    const float *weights = nx_initializer_floats(e->out, layer->weights);
    const float *bias = layer->bias != NULL ? nx_initializer_floats(e->out, layer->bias) : NULL;
    int8_t *levels = nx_graph_alloc(e->out, channels * in * kernel, sizeof *levels);
    float *scales = nx_graph_alloc(e->out, channels, sizeof *scales);
    int8_t *zeros = nx_graph_alloc(e->out, channels, sizeof *zeros);
    int32_t *sums = nx_graph_alloc(e->out, channels, sizeof *sums);
    if (weights == NULL || levels == NULL || scales == NULL || zeros == NULL || sums == NULL) {
        return; /* the graph remembers it */
    }
    for (size_t c = 0; c < channels; c++) {
        size_t at = c * in * kernel;
        scales[c] = nx_quantize_channel(weights + at, in, kernel, e->form, levels + at);
        double level =
            bias != NULL ? (double)bias[c] / ((double)scales[c] * (double)input_scale) : 0;
        sums[c] = level > 2e9     ? 2000000000
                  : level >= -2e9 ? (int32_t)nearbyint(level)
                                  : -2000000000;
    }
    const int64_t by_channel[] = {dims[0]};
    nx_graph_add_initializer(e->out, nx_graph_text(e->out, "%s_weight", name), INT8_TYPE, dims, 4,
                             levels, channels * in * kernel);
    nx_graph_add_initializer(e->out, nx_graph_text(e->out, "%s_weight_scale", name), FLOAT_TYPE,
                             by_channel, 1, scales, channels * sizeof *scales);
    nx_graph_add_initializer(e->out, nx_graph_text(e->out, "%s_weight_zero", name), INT8_TYPE,
                             by_channel, 1, zeros, channels);
    nx_graph_add_initializer(e->out, nx_graph_text(e->out, "%s_bias", name), INT32_TYPE, by_channel,
                             1, sums, channels * sizeof *sums);
}

static void emit_conv(emitter *e, size_t at)
{
    const nx_quant_layer *layer = &e->plan->layers[at];
    const char *name = name_of(e, layer->before);
    nx_quant_range input = range_of(e, layer->inputs[0]);
    range_names x = names_of(e, layer->inputs[0]);
    range_names y =
        layer->silu ? add_range(e, name, e->ranges->before[at]) : names_of(e, layer->output);
    add_conv_tensors(e, layer, name, input.scale);
    const char *const inputs[] = {
        name_of(e, layer->inputs[0]),
        x.scale,
        x.zero,
        nx_graph_text(e->out, "%s_weight", name),
        nx_graph_text(e->out, "%s_weight_scale", name),
        nx_graph_text(e->out, "%s_weight_zero", name),
        y.scale,
        y.zero,
        nx_graph_text(e->out, "%s_bias", name),
        NULL,
    };
    Onnx__NodeProto *node = nx_graph_add_node(e->out, MICROSOFT, "QLinearConv", inputs, name);
    const Onnx__NodeProto *from = nx_graph_model(e->plan->graph)->graph->node[layer->node];
    copy_window(e, layer, node);
    nx_node_set_int(e->out, node, "group", nx_node_int(from, "group", 1));
    nx_node_set_int(e->out, node, "channels_last", 1);
    if (layer->silu) {
        uint8_t table[256];
        const int64_t size[] = {256};
        const char *table_name = nx_graph_text(e->out, "%s_silu", name);
        nx_silu_table(e->ranges->before[at], range_of(e, layer->output), table);
        nx_graph_add_initializer(e->out, table_name, UINT8_TYPE, size, 1, table, sizeof table);
        (void)nx_graph_add_node(e->out, NEXUS, "TableU8",
                                (const char *const[]){name, table_name, NULL},
                                name_of(e, layer->output));
    }
}

/* A 1x1 convolution over channels that lie last is a product of matrices. */
static void emit_final(emitter *e, const nx_quant_layer *layer)
{
    const char *name = name_of(e, layer->output);
    size_t out = (size_t)layer->weights->dims[0];
    size_t in = (size_t)layer->weights->dims[1];
    const float *weights = nx_initializer_floats(e->out, layer->weights);
    const float *bias = layer->bias != NULL ? nx_initializer_floats(e->out, layer->bias) : NULL;
    float *matrix = nx_graph_alloc(e->out, in * out, sizeof *matrix);
    if (weights == NULL || matrix == NULL) {
        return;
    }
    for (size_t o = 0; o < out; o++) {
        for (size_t i = 0; i < in; i++) {
            matrix[i * out + o] = weights[o * in + i];
        }
    }
    const int64_t dims[] = {(int64_t)in, (int64_t)out};
    const char *float_name = nx_graph_text(e->out, "%s_input", name);
    const char *weight_name = nx_graph_text(e->out, "%s_weight", name);
    const char *product = bias != NULL ? nx_graph_text(e->out, "%s_product", name) : name;
    range_names x = names_of(e, layer->inputs[0]);
    nx_graph_add_initializer(e->out, weight_name, FLOAT_TYPE, dims, 2, matrix,
                             in * out * sizeof *matrix);
    (void)nx_graph_add_node(
        e->out, "", "DequantizeLinear",
        (const char *const[]){name_of(e, layer->inputs[0]), x.scale, x.zero, NULL}, float_name);
    (void)nx_graph_add_node(e->out, "", "MatMul",
                            (const char *const[]){float_name, weight_name, NULL}, product);
    if (bias != NULL) {
        const char *bias_name = nx_graph_text(e->out, "%s_bias", name);
        nx_graph_add_initializer(e->out, bias_name, FLOAT_TYPE, &dims[1], 1, bias,
                                 out * sizeof *bias);
        (void)nx_graph_add_node(e->out, "", "Add", (const char *const[]){product, bias_name, NULL},
                                name);
    }
}

static void emit_add(emitter *e, const nx_quant_layer *layer)
{
    range_names a = names_of(e, layer->inputs[0]);
    range_names b = names_of(e, layer->inputs[1]);
    range_names c = names_of(e, layer->output);
    const char *const inputs[] = {
        name_of(e, layer->inputs[0]),
        a.scale,
        a.zero,
        name_of(e, layer->inputs[1]),
        b.scale,
        b.zero,
        c.scale,
        c.zero,
        NULL,
    };
    (void)nx_graph_add_node(e->out, MICROSOFT, "QLinearAdd", inputs, name_of(e, layer->output));
}

/* The layer that takes a part of channels to make this value, or NULL. */
static const nx_quant_layer *part_of(const emitter *e, nx_value value)
{
    for (size_t i = 0; i < e->plan->layer_count; i++) {
        if (e->plan->layers[i].output == value && e->plan->layers[i].kind == NX_QUANT_PART) {
            return &e->plan->layers[i];
        }
    }
    return NULL;
}

/* How many inputs of a Concat from `at` on are all the parts of one value in their order; 0 for
 * none. That value itself is then joined, and its parts need not be copied out. */
static size_t whole_value(const emitter *e, const nx_value *values, size_t count, size_t at,
                          nx_value *whole)
{
    int64_t reached = 0;
    for (size_t i = at; i < count; i++) {
        const nx_quant_layer *part = part_of(e, values[i]);
        if (part == NULL || part->start != reached || (i > at && part->inputs[0] != *whole)) {
            return 0;
        }
        *whole = part->inputs[0];
        reached = part->end;
        if (reached == e->plan->channels[*whole]) {
            return i + 1 - at;
        }
    }
    return 0;
}

static void emit_concat(emitter *e, const nx_quant_layer *layer)
{
    const nx_graph_index *index = &e->plan->index;
    const nx_value *values = index->inputs + index->input_at[layer->node];
    size_t count = index->input_at[layer->node + 1] - index->input_at[layer->node];
    const char **inputs = nx_graph_alloc(e->out, count + 1, sizeof *inputs);
    size_t used = 0;
    for (size_t i = 0; inputs != NULL && i < count;) {
        nx_value whole = NX_NO_VALUE;
        size_t parts = whole_value(e, values, count, i, &whole);
        inputs[used++] = name_of(e, parts > 0 ? whole : values[i]);
        i += parts > 0 ? parts : 1;
    }
    if (inputs != NULL) {
        Onnx__NodeProto *node =
            nx_graph_add_node(e->out, "", "Concat", inputs, name_of(e, layer->output));
        nx_node_set_int(e->out, node, "axis", 3);
    }
}

static void emit_part(emitter *e, const nx_quant_layer *layer)
{
    const char *name = name_of(e, layer->output);
    const char *texts[] = {"start", "end", "axis"};
    const int64_t values[] = {layer->start, layer->end, 3};
    const int64_t one[] = {1};
    const char *inputs[5] = {name_of(e, layer->inputs[0])};
    for (size_t i = 0; i < 3; i++) {
        inputs[i + 1] = nx_graph_text(e->out, "%s_%s", name, texts[i]);
        nx_graph_add_initializer(e->out, inputs[i + 1], INT64_TYPE, one, 1, &values[i],
                                 sizeof values[i]);
    }
    (void)nx_graph_add_node(e->out, "", "Slice", inputs, name);
}

static void emit_pool(emitter *e, const nx_quant_layer *layer)
{
    const Onnx__NodeProto *from = nx_graph_model(e->plan->graph)->graph->node[layer->node];
    Onnx__NodeProto *node = nx_graph_add_node(
        e->out, MICROSOFT, "NhwcMaxPool", (const char *const[]){name_of(e, layer->inputs[0]), NULL},
        name_of(e, layer->output));
    copy_window(e, layer, node);
    nx_node_set_int(e->out, node, "ceil_mode", nx_node_int(from, "ceil_mode", 0));
}

static void emit_layer(emitter *e, size_t at)
{
    const nx_quant_layer *layer = &e->plan->layers[at];
    switch (layer->kind) {
    case NX_QUANT_CONV:
        emit_conv(e, at);
        break;
    case NX_QUANT_FINAL:
        emit_final(e, layer);
        break;
    case NX_QUANT_ADD:
        emit_add(e, layer);
        break;
    case NX_QUANT_CONCAT:
        emit_concat(e, layer);
        break;
    case NX_QUANT_PART:
        emit_part(e, layer);
        break;
    case NX_QUANT_POOL:
        emit_pool(e, layer);
        break;
    case NX_QUANT_UPSAMPLE:
        (void)nx_graph_add_node(e->out, NEXUS, "UpsampleNearest2xU8",
                                (const char *const[]){name_of(e, layer->inputs[0]), NULL},
                                name_of(e, layer->output));
        break;
    }
}

nx_status nx_quantize_graph(const nx_quant_plan *plan, const nx_split_head *head,
                            const nx_quant_ranges *ranges, nx_weight_form form, nx_graph **out,
                            nx_error *err)
{
    static const char *const input[] = {"batch", "height", "width", "3"};
    emitter e = {.plan = plan, .ranges = ranges, .form = form};
    nx_status status = nx_graph_copy(plan->graph, &e.out, err);
    *out = NULL;
    if (status != NX_OK) {
        return status;
    }
    nx_graph_clear_nodes(e.out);
    nx_graph_clear_initializers(e.out);
    nx_graph_set_input(e.out, name_of(&e, plan->input), UINT8_TYPE, input, 4);
    nx_head_declare_outputs(e.out, head, FLOAT_TYPE, true, "batch", "height", "width");
    nx_graph_set_opset(e.out, "", OPSET);
    nx_graph_set_opset(e.out, MICROSOFT, 1);
    nx_graph_set_opset(e.out, NEXUS, 1);
    nx_graph_model(e.out)->ir_version = IR_VERSION;
    nx_graph_set_metadata(e.out, "nexus_layout", "nhwc");
    add_group_ranges(&e);
    for (size_t i = 0; i < plan->layer_count; i++) {
        emit_layer(&e, i);
    }
    status = nx_graph_sweep(e.out, err);
    if (status != NX_OK) {
        nx_graph_free(e.out);
        return status;
    }
    *out = e.out;
    return NX_OK;
}
