/* Cutting heads, freeing sizes, INT8 and float16 (src/optimize) on hand-made and real models. */
#include "onnx_graph.h"

#include "engine/session.h"
#include "optimize/calibrate.h"
#include "optimize/dynamic.h"
#include "optimize/half.h"
#include "optimize/quantize.h"
#include "optimize/to_half.h"

#include <math.h>

enum { SIDE = 64, REG_MAX = 2, CLASSES = 3, CHANNELS = 8 };

static void silu(nx_buffer *graph, const char *name)
{
    char gate[64];
    char inputs[160];
    char output[64];
    snprintf(gate, sizeof gate, "%s.gate", name);
    snprintf(output, sizeof output, "%s.silu", name);
    tiny_node(graph, "Sigmoid", name, gate, NULL);
    snprintf(inputs, sizeof inputs, "%s %s", name, gate);
    tiny_node(graph, "Mul", inputs, output, NULL);
}

/* The end that all strides share: [1, 4 * REG_MAX + CLASSES, cells] to boxes and scores. */
static void decoder(nx_buffer *graph)
{
    tiny_initializer(graph, "zero", (const int64_t[]){0}, 1);
    tiny_initializer(graph, "one", (const int64_t[]){1}, 1);
    tiny_initializer(graph, "eight", (const int64_t[]){4 * REG_MAX}, 1);
    tiny_initializer(graph, "all", (const int64_t[]){4 * REG_MAX + CLASSES}, 1);
    tiny_initializer(graph, "sides", (const int64_t[]){1, 4, REG_MAX, -1}, 4);
    tiny_initializer(graph, "flat", (const int64_t[]){1, 4, -1}, 3);
    og_node_int(graph, "Concat", "flat8 flat16", "join", "axis", 2);
    tiny_node(graph, "Slice", "join zero eight one", "box", NULL);
    tiny_node(graph, "Slice", "join eight all one", "logits", NULL);
    tiny_node(graph, "Reshape", "box sides", "box4", NULL);
    nx_buffer perm = NX_BUFFER_INIT;
    pb_text(&perm, 1, "perm");
    pb_int(&perm, 8, 0);
    pb_int(&perm, 8, 2);
    pb_int(&perm, 8, 1);
    pb_int(&perm, 8, 3);
    pb_int(&perm, 20, 7);
    tiny_node(graph, "Transpose", "box4", "boxT", &perm);
    og_node_int(graph, "Softmax", "boxT", "soft", "axis", 1);
    og_floats(graph, "bins", (const int64_t[]){1, REG_MAX, 1, 1}, 4, (const float[]){0, 1}, 2);
    tiny_node(graph, "Conv", "soft bins", "mean", NULL);
    tiny_node(graph, "Reshape", "mean flat", "boxes", NULL);
    tiny_node(graph, "Sigmoid", "logits", "scores", NULL);
}

static void head(nx_buffer *graph, const char *input, int stride)
{
    char names[4][32];
    char inputs[80];
    snprintf(names[0], sizeof names[0], "d%d", stride);
    snprintf(names[1], sizeof names[1], "s%d", stride);
    snprintf(names[2], sizeof names[2], "pair%d", stride);
    snprintf(names[3], sizeof names[3], "flat%d", stride);
    og_conv(graph, input, names[0], CHANNELS, 4 * REG_MAX, 1, 1, 0.02F);
    og_conv(graph, input, names[1], CHANNELS, CLASSES, 1, 1, -0.03F);
    snprintf(inputs, sizeof inputs, "%s %s", names[0], names[1]);
    og_node_int(graph, "Concat", inputs, names[2], "axis", 1);
    snprintf(inputs, sizeof inputs, "%s cells", names[2]);
    tiny_node(graph, "Reshape", inputs, names[3], NULL);
}

/* A detector of two strides with every kind of layer that the INT8 recipe knows. */
static nx_buffer detector(const char *extra_output)
{
    nx_buffer graph = NX_BUFFER_INIT;
    tiny_initializer(&graph, "cells", (const int64_t[]){1, 4 * REG_MAX + CLASSES, -1}, 3);
    tiny_initializer(&graph, "half", (const int64_t[]){CHANNELS / 2}, 1);
    tiny_initializer(&graph, "end", (const int64_t[]){INT64_MAX}, 1);
    tiny_initializer(&graph, "first", (const int64_t[]){0}, 1);
    tiny_initializer(&graph, "axis1", (const int64_t[]){1}, 1);
    og_conv(&graph, "images", "a", 3, CHANNELS, 3, 4, 0.05F);
    silu(&graph, "a");
    og_conv(&graph, "a.silu", "b", CHANNELS, CHANNELS, 3, 2, 0.03F);
    silu(&graph, "b");
    tiny_node(&graph, "Slice", "b.silu first half axis1", "left", NULL);
    tiny_node(&graph, "Slice", "b.silu half end axis1", "right", NULL);
    og_conv(&graph, "right", "c", CHANNELS / 2, CHANNELS / 2, 3, 1, -0.06F);
    silu(&graph, "c");
    tiny_node(&graph, "Add", "right c.silu", "sum", NULL);
    og_node_int(&graph, "Concat", "left right sum", "wide", "axis", 1);
    og_conv(&graph, "wide", "p8", CHANNELS / 2 * 3, CHANNELS, 1, 1, 0.04F);
    silu(&graph, "p8");
    og_conv(&graph, "p8.silu", "p16", CHANNELS, CHANNELS, 3, 2, 0.02F);
    silu(&graph, "p16");
    head(&graph, "p8.silu", 8);
    head(&graph, "p16.silu", 16);
    decoder(&graph);
    og_node_int(&graph, "Concat", extra_output != NULL ? extra_output : "boxes scores", "output0",
                "axis", 1);
    tiny_value_info(&graph, 11, "images", TINY_FLOAT, (const int64_t[]){1, 3, SIDE, SIDE}, 4);
    tiny_value_info(&graph, 12, "output0", TINY_FLOAT, NULL, 0);
    return graph;
}

static nx_graph *parsed_detector(void)
{
    nx_buffer graph = detector(NULL);
    nx_buffer file = og_file(&graph);
    return og_parse(&file);
}

static void cuts_behind_the_last_convolutions(void **state)
{
    (void)state;
    nx_graph *graph = parsed_detector();
    nx_split_head head = {0};
    nx_error err = {0};
    nx_assert_ok(nx_head_cut(graph, &head, &err), err);
    assert_int_equal(head.level_count, 2);
    assert_int_equal(head.strides[0], 8);
    assert_int_equal(head.strides[1], 16);
    assert_int_equal(head.reg_max, REG_MAX);
    assert_int_equal(head.classes, CLASSES);
    const Onnx__GraphProto *body = nx_graph_model(graph)->graph;
    static const char *const names[] = {"distances_8", "scores_8", "distances_16", "scores_16"};
    assert_int_equal(body->n_output, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(body->output[i]->name, names[i]);
    }
    for (size_t i = 0; i < body->n_node; i++) {
        assert_string_not_equal(body->node[i]->op_type, "Reshape");
        assert_string_not_equal(body->node[i]->op_type, "Softmax");
    }
    assert_string_equal(nx_graph_metadata(graph, "nexus_head"), "split");
    assert_string_equal(nx_graph_metadata(graph, "nexus_reg_max"), "2");
    assert_int_equal(body->output[3]->type->tensor_type->shape->dim[2]->dim_value, SIDE / 16);

    nx_split_head again = {0}; /* what is cut stays as it is */
    nx_assert_ok(nx_head_cut(graph, &again, &err), err);
    assert_memory_equal(&again, &head, sizeof head);
    nx_graph_free(graph);
}

static void refuses_to_cut(nx_buffer *graph, const char *why)
{
    nx_buffer file = og_file(graph);
    nx_graph *g = og_parse(&file);
    nx_split_head head;
    nx_error err = {0};
    assert_int_equal(nx_head_cut(g, &head, &err), NX_ERR_UNSUPPORTED);
    nx_assert_contains(err.message, why);
    nx_graph_free(g);
}

static void refuses_other_heads(void **state)
{
    (void)state;
    /* more than boxes and scores: a branch from the backbone, as masks have */
    nx_buffer graph = detector("boxes scores images");
    refuses_to_cut(&graph, "more parts than boxes and class scores");

    graph = detector(NULL);
    tiny_value_info(&graph, 12, "boxes", TINY_FLOAT, NULL, 0);
    refuses_to_cut(&graph, "2 outputs");

    tiny_node(&graph, "Relu", "images", "output0", NULL);
    tiny_value_info(&graph, 11, "images", TINY_FLOAT, (const int64_t[]){1, 3, SIDE, SIDE}, 4);
    tiny_value_info(&graph, 12, "output0", TINY_FLOAT, NULL, 0);
    refuses_to_cut(&graph, "no place was found");
}

static nx_graph *cut_detector(nx_split_head *head)
{
    nx_graph *graph = parsed_detector();
    nx_error err = {0};
    nx_assert_ok(nx_head_cut(graph, head, &err), err);
    nx_assert_ok(nx_make_dynamic(graph, head, &err), err);
    return graph;
}

static void frees_the_sizes(void **state)
{
    (void)state;
    nx_split_head head;
    nx_graph *graph = cut_detector(&head);
    const Onnx__GraphProto *body = nx_graph_model(graph)->graph;
    const Onnx__TensorShapeProto *shape = body->input[0]->type->tensor_type->shape;
    assert_string_equal(shape->dim[0]->dim_param, "batch");
    assert_int_equal(shape->dim[1]->dim_value, 3);
    assert_string_equal(shape->dim[3]->dim_param, "width");
    shape = body->output[0]->type->tensor_type->shape;
    assert_string_equal(shape->dim[2]->dim_param, "height_8");
    nx_graph_free(graph);
}

static void keeps_a_size_that_a_node_holds(void **state)
{
    (void)state;
    nx_split_head head = {0};
    nx_error err = {0};
    nx_graph *graph = parsed_detector(); /* not cut: its Reshape may hold a size */
    assert_int_equal(nx_make_dynamic(graph, &head, &err), NX_ERR_UNSUPPORTED);
    nx_assert_contains(err.message, "Reshape");
    nx_graph_free(graph);
}

/* --- in ONNX Runtime ----------------------------------------------------------------------------
 */

typedef struct outputs {
    float *values[8];
    size_t counts[8];
    size_t count;
} outputs;

static nx_status keep(const nx_tensor *tensors, size_t count, void *user, nx_error *err)
{
    outputs *out = user;
    (void)err;
    out->count = count;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tensors[i].type, NX_TYPE_FLOAT32);
        out->counts[i] = tensors[i].bytes / sizeof(float);
        out->values[i] = malloc(tensors[i].bytes);
        memcpy(out->values[i], tensors[i].data, tensors[i].bytes);
    }
    return NX_OK;
}

static void free_outputs(outputs *out)
{
    for (size_t i = 0; i < out->count; i++) {
        free(out->values[i]);
    }
}

static outputs run_graph(nx_runtime *runtime, nx_graph *graph, nx_tensor input)
{
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_session *session = NULL;
    nx_error err = {0};
    outputs out = {0};
    nx_assert_ok(nx_graph_pack(graph, &bytes, &err), err);
    nx_assert_ok(nx_session_open_bytes(runtime, bytes.data, bytes.size, "test",
                                       &(nx_session_options){0}, &session, &err),
                 err);
    input.name = nx_session_inputs(session, &(size_t){0})[0].name;
    nx_assert_ok(nx_session_run(session, &input, 1, NULL, 0, keep, &out, &err), err);
    nx_session_free(session);
    nx_buffer_free(&bytes);
    return out;
}

/* Two pictures of 32x64 of smooth noise: bytes with channels last, and floats with channels first.
 */
enum { BATCH = 2, HEIGHT = 32, WIDTH = 64, PIXELS = HEIGHT * WIDTH };

static void make_pictures(uint8_t *bytes, float *planes)
{
    uint32_t random = 7;
    for (size_t n = 0; n < BATCH; n++) {
        for (size_t p = 0; p < PIXELS; p++) {
            for (size_t c = 0; c < 3; c++) {
                random = random * 1664525 + 1013904223;
                uint8_t value = (uint8_t)((p * (c + 1) / 8 + (random >> 27)) % 256);
                bytes[(n * PIXELS + p) * 3 + c] = value;
                planes[(n * 3 + c) * PIXELS + p] = (float)value / 255;
            }
        }
    }
}

static nx_tensor bytes_tensor(uint8_t *bytes)
{
    return (nx_tensor){.type = NX_TYPE_UINT8,
                       .rank = 4,
                       .dims = {BATCH, HEIGHT, WIDTH, 3},
                       .data = bytes,
                       .bytes = (size_t)BATCH * PIXELS * 3};
}

static nx_tensor planes_tensor(float *planes)
{
    return (nx_tensor){.type = NX_TYPE_FLOAT32,
                       .rank = 4,
                       .dims = {BATCH, 3, HEIGHT, WIDTH},
                       .data = planes,
                       .bytes = (size_t)BATCH * PIXELS * 3 * sizeof(float)};
}

/* Largest difference, relative to the largest number, with one side's channels last. */
static double difference(const outputs *first, const outputs *last, size_t i, size_t channels)
{
    double most = 0;
    double magnitude = 1e-9;
    size_t cells = first->counts[i] / channels / BATCH;
    assert_int_equal(first->counts[i], last->counts[i]);
    for (size_t n = 0; n < BATCH; n++) {
        for (size_t c = 0; c < channels; c++) {
            for (size_t p = 0; p < cells; p++) {
                double a = (double)first->values[i][(n * channels + c) * cells + p];
                double b = (double)last->values[i][(n * cells + p) * channels + c];
                most = fabs(a - b) > most ? fabs(a - b) : most;
                magnitude = fabs(a) > magnitude ? fabs(a) : magnitude;
            }
        }
    }
    return most / magnitude;
}

static void quantised_gives_nearly_the_same(nx_weight_form form, double limit)
{
    static uint8_t bytes[BATCH * PIXELS * 3];
    static float planes[BATCH * PIXELS * 3];
    nx_runtime *runtime = models_runtime();
    nx_split_head head;
    nx_graph *graph = cut_detector(&head);
    nx_graph *quantized = NULL;
    nx_quant_plan plan;
    nx_quant_ranges ranges;
    nx_calibration *calibration = NULL;
    nx_error err = {0};
    make_pictures(bytes, planes);
    nx_assert_ok(nx_quant_plan_make(graph, &plan, &err), err);
    nx_assert_ok(nx_calibration_new(runtime, &plan, 1, &calibration, &err), err);
    nx_assert_ok(nx_calibration_add(calibration, planes, WIDTH, HEIGHT, &err), err);
    nx_assert_ok(
        nx_quant_ranges_choose(&plan, nx_calibration_histograms(calibration), &ranges, &err), err);
    /* the inputs of a Concat share one scale, and what a Concat gives has it, too */
    nx_value sum = nx_graph_index_find(&plan.index, "sum");
    nx_value whole = nx_graph_index_find(&plan.index, "b.silu");
    nx_value wide = nx_graph_index_find(&plan.index, "wide");
    nx_value other = nx_graph_index_find(&plan.index, "c.silu");
    assert_int_equal(nx_quant_plan_group(&plan, sum), nx_quant_plan_group(&plan, whole));
    assert_int_equal(nx_quant_plan_group(&plan, sum), nx_quant_plan_group(&plan, wide));
    assert_int_not_equal(nx_quant_plan_group(&plan, sum), nx_quant_plan_group(&plan, other));
    nx_assert_ok(nx_quantize_graph(&plan, &head, &ranges, form, &quantized, &err), err);
    outputs exact = run_graph(runtime, graph, planes_tensor(planes));
    outputs rough = run_graph(runtime, quantized, bytes_tensor(bytes));
    assert_int_equal(exact.count, 4);
    assert_int_equal(rough.count, 4);
    for (size_t i = 0; i < 4; i++) {
        double off = difference(&exact, &rough, i, i % 2 == 0 ? 4 * REG_MAX : CLASSES);
        if (off > limit) {
            fail_msg("output %zu is off by %.4f", i, off);
        }
    }
    free_outputs(&exact);
    free_outputs(&rough);
    nx_calibration_free(calibration);
    nx_quant_ranges_free(&ranges);
    nx_quant_plan_free(&plan);
    nx_graph_free(quantized);
    nx_graph_free(graph);
    nx_runtime_free(runtime);
}

static void quantises_every_kind_of_layer(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    quantised_gives_nearly_the_same(NX_WEIGHTS_PAIRS, 0.04);
    quantised_gives_nearly_the_same(NX_WEIGHTS_7BIT, 0.05);
}

static void refuses_to_quantise_what_it_does_not_know(void **state)
{
    (void)state;
    nx_split_head head = {0};
    nx_error err = {0};
    nx_graph *graph = parsed_detector(); /* not cut */
    nx_quant_plan plan;
    assert_int_equal(nx_quant_plan_make(graph, &plan, &err), NX_ERR_UNSUPPORTED);
    nx_assert_contains(err.message, "Reshape");
    nx_quant_plan_free(&plan);
    nx_graph_free(graph);
    (void)head;
}

static void float16_is_near(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    static uint8_t bytes[BATCH * PIXELS * 3];
    static float planes[BATCH * PIXELS * 3];
    static uint16_t halves[BATCH * PIXELS * 3];
    nx_runtime *runtime = models_runtime();
    nx_split_head head;
    nx_graph *graph = cut_detector(&head);
    nx_error err = {0};
    make_pictures(bytes, planes);
    outputs exact = run_graph(runtime, graph, planes_tensor(planes));
    nx_assert_ok(nx_graph_to_half(graph, &err), err);
    for (size_t i = 0; i < NX_COUNT(halves); i++) {
        halves[i] = nx_half_from_float(planes[i]);
    }
    nx_tensor input = planes_tensor(planes);
    input.type = NX_TYPE_FLOAT16;
    input.data = halves;
    input.bytes = sizeof halves;
    outputs rough = run_graph(runtime, graph, input);
    assert_int_equal(rough.count, 4);
    for (size_t i = 0; i < 4; i++) {
        double most = 0;
        double magnitude = 0;
        for (size_t k = 0; k < exact.counts[i]; k++) {
            double a = (double)exact.values[i][k];
            most = fmax(most, fabs(a - (double)rough.values[i][k]));
            magnitude = fmax(magnitude, fabs(a));
        }
        assert_true(most <= magnitude * 0.01);
    }
    free_outputs(&exact);
    free_outputs(&rough);
    nx_graph_free(graph);
    nx_runtime_free(runtime);
}

/* The published models, from their three exporters, and one that is dynamic already. */
static void cuts_the_real_ones(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    static const char *const files[] = {"models/yolov8n.onnx", "models/yolov8n-dynamic.onnx",
                                        "models/yolov8s.onnx"};
    char own[2 * PATH_MAX];
    snprintf(own, sizeof own, "%s", models_data_path("models/yolov8n.onnx"));
    for (size_t i = 0; i <= NX_COUNT(files); i++) {
        const char *path = i < NX_COUNT(files) ? nx_shared_path(files[i]) : own;
        if (i == NX_COUNT(files) && access(own, R_OK) != 0) {
            break;
        }
        nx_graph *graph = NULL;
        nx_split_head head;
        nx_quant_plan plan;
        nx_error err = {0};
        nx_assert_ok(nx_graph_load(path, &graph, &err), err);
        nx_assert_ok(nx_head_cut(graph, &head, &err), err);
        nx_assert_ok(nx_make_dynamic(graph, &head, &err), err);
        nx_assert_ok(nx_quant_plan_make(graph, &plan, &err), err);
        assert_int_equal(head.level_count, 3);
        assert_int_equal(head.strides[2], 32);
        assert_int_equal(head.reg_max, 16);
        assert_int_equal(head.classes, 80);
        size_t convs = 0;
        for (size_t l = 0; l < plan.layer_count; l++) {
            convs += plan.layers[l].kind == NX_QUANT_CONV;
        }
        assert_int_equal(convs, 57);
        nx_quant_plan_free(&plan);
        nx_graph_free(graph);
    }
}

static void refuses_real_ones_that_are_no_such_detectors(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    static const struct {
        const char *file;
        nx_status status;
    } cases[] = {
        {"models/broken/empty.onnx", NX_ERR_CORRUPT},
        {"models/broken/text.onnx", NX_ERR_CORRUPT},
        {"models/broken/truncated.onnx", NX_ERR_CORRUPT},
        {"models/broken/not-a-detector.onnx", NX_ERR_UNSUPPORTED},
        {"models/yolox_nano.onnx", NX_ERR_UNSUPPORTED},
        {"models/yolov10n-int8-dynamic.onnx", NX_ERR_UNSUPPORTED},
        {"models/mobile_sam_decoder.onnx", NX_ERR_UNSUPPORTED},
        {"models/none.onnx", NX_ERR_NOT_FOUND},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_graph *graph = NULL;
        nx_split_head head;
        nx_error err = {0};
        nx_status status = nx_graph_load(nx_shared_path(cases[i].file), &graph, &err);
        if (status == NX_OK) {
            status = nx_head_cut(graph, &head, &err);
        }
        assert_int_equal(status, cases[i].status);
        assert_true(err.message[0] != '\0');
        nx_graph_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_behind_the_last_convolutions),
        cmocka_unit_test(refuses_other_heads),
        cmocka_unit_test(frees_the_sizes),
        cmocka_unit_test(keeps_a_size_that_a_node_holds),
        cmocka_unit_test(quantises_every_kind_of_layer),
        cmocka_unit_test(refuses_to_quantise_what_it_does_not_know),
        cmocka_unit_test(float16_is_near),
        cmocka_unit_test(cuts_the_real_ones),
        cmocka_unit_test(refuses_real_ones_that_are_no_such_detectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
