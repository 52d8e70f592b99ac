#include "models.h"

#include "engine/head.h"

/* One for all tests: ONNX Runtime's environment belongs to the process. */
static nx_runtime *runtime;

static int setup(void **state)
{
    if (access(models_data_path("lib/libonnxruntime.so.1"), R_OK) == 0) {
        runtime = models_runtime();
    }
    return scratch_make(state);
}

static int teardown(void **state)
{
    nx_runtime_free(runtime);
    return scratch_remove(state);
}

/* --- graphs whose outputs are pieces of their input ---------------------------------------------
 *
 * The input has 64x64 pixels, 12288 numbers a picture. Each output of a picture is a run of them
 * from `from`, in the shape `dims`, so that every number that must come out is known.
 */

enum { SIDE = 64, NUMBERS = 3 * SIDE * SIDE };

typedef struct piece {
    const char *name;
    int64_t dims[3]; /* without the batch; up to the first 0 */
    int64_t from;
} piece;

typedef struct graph {
    int input_type; /* 0: float32 */
    bool fixed_batch;
    piece pieces[8];
    const char *metadata[8][2];
} graph;

static void add_piece(nx_buffer *out, const piece *p)
{
    char names[4][40];
    static const char *const parts[] = {"from", "to", "shape", "run"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(names[i], sizeof names[i], "%.20s_%s", p->name, parts[i]);
    }
    int64_t shape[4] = {0}; /* 0: the batch, as it is */
    size_t rank = 1;
    int64_t count = 1;
    for (; rank < 4 && p->dims[rank - 1] != 0; rank++) {
        shape[rank] = p->dims[rank - 1];
        count *= shape[rank];
    }
    assert_true(p->from + count <= NUMBERS);
    tiny_initializer(out, names[0], (const int64_t[]){0, 0, p->from}, 3);
    tiny_initializer(out, names[1], (const int64_t[]){INT64_MAX, 1, p->from + count}, 3);
    tiny_initializer(out, names[2], shape, rank);
    char inputs[160];
    snprintf(inputs, sizeof inputs, "flat %s %s", names[0], names[1]);
    tiny_node(out, "Slice", inputs, names[3], NULL);
    snprintf(inputs, sizeof inputs, "%s %s", names[3], names[2]);
    tiny_node(out, "Reshape", inputs, p->name, NULL);
}

static const char *write_graph(void **state, const char *name, const graph *g)
{
    nx_buffer body = NX_BUFFER_INIT;
    nx_buffer file = NX_BUFFER_INIT;
    int64_t batch = g->fixed_batch ? 1 : -1;
    const int64_t planes[] = {batch, 3, SIDE, SIDE};
    const int64_t pixels[] = {batch, SIDE, SIDE, 3};
    const char *source = "images";
    if (g->input_type != 0) {
        nx_buffer to = NX_BUFFER_INIT; /* the attribute of Cast */
        pb_text(&to, 1, "to");
        pb_int(&to, 3, TINY_FLOAT);
        pb_int(&to, 20, 2);
        tiny_node(&body, "Cast", "images", "floats", &to);
        source = "floats";
    }
    char inputs[40];
    snprintf(inputs, sizeof inputs, "%s all", source);
    tiny_initializer(&body, "all", (const int64_t[]){0, 1, NUMBERS}, 3);
    tiny_node(&body, "Reshape", inputs, "flat", NULL);
    tiny_value_info(&body, 11, "images", g->input_type,
                    g->input_type == TINY_UINT8 ? pixels : planes, 4);
    for (size_t i = 0; i < NX_COUNT(g->pieces) && g->pieces[i].name != NULL; i++) {
        add_piece(&body, &g->pieces[i]);
        tiny_value_info(&body, 12, g->pieces[i].name, 0, NULL, 0);
    }
    pb_text(&body, 2, "pieces");
    pb_int(&file, 1, 8);
    pb_message(&file, 7, &body);
    pb_opset(&file, NULL, 17);
    for (size_t i = 0; i < NX_COUNT(g->metadata) && g->metadata[i][0] != NULL; i++) {
        pb_metadata(&file, g->metadata[i][0], g->metadata[i][1]);
    }
    const char *path = scratch_write(state, name, file.data, file.size);
    nx_buffer_free(&file);
    return path;
}

#define THREE_NAMES                                                                                \
    {                                                                                              \
        "names", "{0: 'a', 1: 'b', 2: 'c'}"                                                        \
    }

/* Number i of picture p. */
static float number(size_t p, size_t i)
{
    return (float)p + (float)(i % 4096) / 8192;
}

typedef struct expectation {
    const nx_model *model;
    void (*check)(const nx_head_output *head, size_t picture);
    size_t pictures;
} expectation;

static nx_status check_pictures(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    const expectation *self = user;
    for (uint32_t p = 0; p < self->pictures; p++) {
        nx_head_output head;
        nx_assert_ok(nx_model_head(self->model, outputs, count, p, SIDE, SIDE, &head, err), *err);
        assert_int_equal(head.kind, nx_model_get_spec(self->model)->head);
        assert_int_equal(head.input_width, SIDE);
        self->check(&head, p);
    }
    nx_head_output head;
    assert_int_equal(nx_model_head(self->model, outputs, count, (uint32_t)self->pictures, SIDE,
                                   SIDE, &head, err),
                     NX_ERR_INTERNAL);
    return NX_OK;
}

static void run_pictures(nx_model *model, uint32_t count,
                         void (*check)(const nx_head_output *head, size_t picture))
{
    const nx_backend *backend = nx_model_backend(model);
    float *data = malloc(count * NUMBERS * sizeof *data);
    assert_non_null(data);
    assert_int_equal(backend->slot_bytes(backend->self, SIDE, SIDE), NUMBERS * sizeof *data);
    for (size_t i = 0; i < (size_t)count * NUMBERS; i++) {
        data[i] = number(i / NUMBERS, i % NUMBERS);
    }
    const nx_batch batch = {.data = data, .count = count, .width = SIDE, .height = SIDE};
    expectation expected = {.model = model, .check = check, .pictures = count};
    nx_error err = {0};
    nx_assert_ok(backend->run(backend->self, &batch, check_pictures, &expected, &err), err);
    free(data);
}

static void same(float got, size_t picture, size_t index)
{
    float expected = number(picture, index);
    if (got < expected || got > expected) {
        fail_msg("%f instead of %f: number %zu of picture %zu", (double)got, (double)expected,
                 index, picture);
    }
}

/* --- split heads --------------------------------------------------------------------------------
 */

#define SPLIT(layout)                                                                              \
    {                                                                                              \
        THREE_NAMES, {"nexus_head", "split"}, {"nexus_layout", layout}, {"nexus_reg_max", "16"},   \
        {                                                                                          \
            "nexus_optimized", "head cut"                                                          \
        }                                                                                          \
    }

/* In an order that is not the one of their strides. */
static const graph split_planes = {
    .pieces = {{"scores_16", {3, 4, 4}, 16},
               {"distances_16", {64, 4, 4}, 1000},
               {"distances_8", {64, 8, 8}, 8},
               {"scores_8", {3, 8, 8}, 5000},
               {"distances_32", {64, 2, 2}, 32},
               {"scores_32", {3, 2, 2}, 3200}},
    .metadata = SPLIT("nchw"),
};

static void check_levels(const nx_head_output *head, size_t picture)
{
    static const size_t from[3][2] = {{8, 5000}, {1000, 16}, {32, 3200}};
    assert_int_equal(head->level_count, 3);
    assert_int_equal(head->reg_max, 16);
    assert_int_equal(head->classes, 3);
    for (int i = 0; i < 3; i++) {
        int side = 8 >> i;
        size_t cells = (size_t)(side * side);
        assert_int_equal(head->levels[i].width, side);
        assert_int_equal(head->levels[i].height, side);
        same(head->levels[i].distances[0], picture, from[i][0]);
        same(head->levels[i].distances[64 * cells - 1], picture, from[i][0] + 64 * cells - 1);
        same(head->levels[i].scores[0], picture, from[i][1]);
        same(head->levels[i].scores[3 * cells - 1], picture, from[i][1] + 3 * cells - 1);
    }
}

static void split_heads_are_read_by_name(void **state)
{
    NX_NEED_RUNTIME();
    nx_model *model = models_open(runtime, write_graph(state, "split.onnx", &split_planes));
    const nx_model_spec *spec = nx_model_get_spec(model);
    assert_int_equal(spec->head, NX_HEAD_SPLIT);
    assert_int_equal(spec->task, NX_TASK_DETECT);
    assert_int_equal(spec->names.count, 3);
    assert_true(spec->centered);
    assert_true(spec->dynamic_batch);
    assert_false(spec->quantized);
    assert_string_equal(spec->optimized, "head cut");
    run_pictures(model, 1, check_levels);
    run_pictures(model, 3, check_levels);
    nx_model_free(model);

    graph last = split_planes; /* the channels last, and no names */
    static const piece pieces[] = {
        {"distances_8", {8, 8, 64}, 8},     {"scores_8", {8, 8, 3}, 5000},
        {"distances_16", {4, 4, 64}, 1000}, {"scores_16", {4, 4, 3}, 16},
        {"distances_32", {2, 2, 64}, 32},   {"scores_32", {2, 2, 3}, 3200}};
    memcpy(last.pieces, pieces, sizeof pieces);
    last.metadata[0][0] = "author";
    last.metadata[2][1] = "nhwc";
    model = models_open(runtime, write_graph(state, "last.onnx", &last));
    assert_string_equal(nx_model_get_spec(model)->names.names[2], "class_2");
    run_pictures(model, 2, check_levels);
    nx_model_free(model);
}

static void refuses(const char *path, nx_status expected, const char *found, const char *hint)
{
    nx_model *model = (nx_model *)1;
    nx_error err = {0};
    nx_status status = nx_model_open(runtime, path, &(nx_model_options){0}, &model, &err);
    if (status != expected) {
        fail_msg("%s instead of %s: %s", nx_status_name(status), nx_status_name(expected),
                 err.message);
    }
    assert_null(model);
    nx_assert_contains(err.message, path);
    nx_assert_contains(err.message, found);
    nx_assert_contains(err.message, hint);
}

static void damaged_split_heads_are_refused(void **state)
{
    NX_NEED_RUNTIME();
    graph g = split_planes;
    g.pieces[5].name = NULL; /* scores_32 */
    refuses(write_graph(state, "half.onnx", &g), NX_ERR_UNSUPPORTED, "it puts out scores_16 ",
            "it says that its head is split");
    g = split_planes;
    g.pieces[0].dims[0] = 4; /* a class more than the others have */
    refuses(write_graph(state, "classes.onnx", &g), NX_ERR_UNSUPPORTED, "it puts out ",
            "a split head has [1,4*reg_max,H/s,W/s]");
    g = split_planes;
    g.metadata[0][1] = "['a', 'b']";
    refuses(write_graph(state, "names.onnx", &g), NX_ERR_UNSUPPORTED, "it puts out ",
            "a split head has");
    g = split_planes;
    g.metadata[3][1] = "8"; /* 64 channels are 16 for each side */
    refuses(write_graph(state, "reg.onnx", &g), NX_ERR_UNSUPPORTED, "it puts out ",
            "a split head has");
    g = split_planes;
    g.metadata[1][1] = "dense";
    refuses(write_graph(state, "dense.onnx", &g), NX_ERR_UNSUPPORTED, "by a version of Nexus",
            "optimise the original again");
    g = split_planes;
    g.metadata[2][1] = "chw";
    refuses(write_graph(state, "layout.onnx", &g), NX_ERR_UNSUPPORTED, "by a version of Nexus", "");
}

/* --- masks and keypoints ------------------------------------------------------------------------
 */

static const graph masks = {
    .pieces = {{"output0", {4 + 3 + 5, 84}, 100}, {"output1", {5, 16, 16}, 2000}},
    .metadata = {THREE_NAMES, {"task", "segment"}},
};

static void check_masks(const nx_head_output *head, size_t picture)
{
    assert_int_equal(head->classes, 3);
    assert_int_equal(head->rows, 12);
    assert_int_equal(head->columns, 84);
    assert_int_equal(head->proto_channels, 5);
    assert_int_equal(head->proto_width, 16);
    assert_int_equal(head->proto_height, 16);
    same(head->data[0], picture, 100);
    same(head->data[12 * 84 - 1], picture, 100 + 12 * 84 - 1);
    same(head->protos[0], picture, 2000);
    same(head->protos[5 * 256 - 1], picture, 2000 + 5 * 256 - 1);
}

static void masks_are_recognised(void **state)
{
    NX_NEED_RUNTIME();
    graph g = masks;
    for (int i = 0; i < 3; i++) {
        nx_model *model = models_open(runtime, write_graph(state, "seg.onnx", &g));
        const nx_model_spec *spec = nx_model_get_spec(model);
        assert_int_equal(spec->head, NX_HEAD_SEGMENT);
        assert_int_equal(spec->task, NX_TASK_SEGMENT);
        assert_int_equal(spec->mask_channels, 5);
        assert_int_equal(spec->names.count, 3);
        run_pictures(model, 2, check_masks);
        nx_model_free(model);
        if (i == 0) {
            g.metadata[1][0] = "author"; /* two outputs say as much as the task does */
        } else {
            g = masks; /* without names the masks' rows are told from the prototypes */
            g.metadata[0][0] = "author";
        }
    }
}

static void what_has_no_masks_is_refused(void **state)
{
    NX_NEED_RUNTIME();
    graph g = masks;
    g.pieces[1].dims[0] = 6;
    refuses(write_graph(state, "seg.onnx", &g), NX_ERR_UNSUPPORTED, "output1 float32[1,6,16,16]",
            "a segmentation model has [1,4+C+M,N] and [1,M,H/4,W/4]");
    g = masks;
    g.pieces[1].dims[1] = 8;
    refuses(write_graph(state, "seg.onnx", &g), NX_ERR_UNSUPPORTED, "output1 float32[1,5,8,16]",
            "a segmentation model has [1,4+C+M,N] and [1,M,H/4,W/4]");
    g = masks;
    g.pieces[1].name = NULL;
    refuses(write_graph(state, "seg.onnx", &g), NX_ERR_UNSUPPORTED, "it puts out output0 ",
            "a segmentation model has two");
    g = masks;
    g.metadata[1][1] = "detect";
    refuses(write_graph(state, "seg.onnx", &g), NX_ERR_UNSUPPORTED, "it puts out output0 ",
            "a segmentation model has two");
}

static const graph keypoints = {
    .pieces = {{"output0", {4 + 1 + 2 * 3, 84}, 100}},
    .metadata = {{"names", "{0: 'person'}"}, {"task", "pose"}, {"kpt_shape", "[2, 3]"}},
};

static void check_keypoints(const nx_head_output *head, size_t picture)
{
    assert_int_equal(head->classes, 1);
    assert_int_equal(head->rows, 11);
    assert_int_equal(head->keypoints, 2);
    assert_int_equal(head->keypoint_values, 3);
    same(head->data[11 * 84 - 1], picture, 100 + 11 * 84 - 1);
}

static void keypoints_are_recognised(void **state)
{
    NX_NEED_RUNTIME();
    nx_model *model = models_open(runtime, write_graph(state, "pose.onnx", &keypoints));
    const nx_model_spec *spec = nx_model_get_spec(model);
    assert_int_equal(spec->head, NX_HEAD_POSE);
    assert_int_equal(spec->task, NX_TASK_POSE);
    assert_int_equal(spec->keypoints, 2);
    assert_int_equal(spec->keypoint_values, 3);
    assert_int_equal(spec->names.count, 1);
    run_pictures(model, 2, check_keypoints);
    nx_model_free(model);

    static const char *const shapes[] = {"[2]",       "[2, 1]",   "[2, 4]", "[0, 3]",
                                         "[2, 3, 4]", "[300, 3]", "none"};
    graph g = keypoints;
    for (size_t i = 0; i < NX_COUNT(shapes); i++) {
        g.metadata[2][1] = shapes[i];
        refuses(write_graph(state, "pose.onnx", &g), NX_ERR_UNSUPPORTED, "an unusable 'kpt_shape'",
                shapes[i]);
    }
    g.metadata[2][0] = "author";
    refuses(write_graph(state, "pose.onnx", &g), NX_ERR_UNSUPPORTED, "has no 'kpt_shape'", "");
    g = keypoints;
    g.metadata[2][1] = "[3, 3]";
    refuses(write_graph(state, "pose.onnx", &g), NX_ERR_UNSUPPORTED,
            "output0 float32[1,11,84] for 1 class names", "4 + classes + keypoints x values");
}

/* --- other inputs -------------------------------------------------------------------------------
 */

static nx_status check_bytes(const nx_head_output *head, void *user, nx_error *err)
{
    (void)err;
    for (size_t i = 0; i < (size_t)7 * 84; i++) {
        float expected = (float)(i * 7 % 251);
        assert_true(head->data[i] >= expected && head->data[i] <= expected);
    }
    *(int *)user += 1;
    return NX_OK;
}

/* IEEE 754 binary16 of a whole number below 2048. */
static uint16_t half_of(unsigned value)
{
    unsigned exponent = 0;
    while (value >> (exponent + 1) != 0) {
        exponent++;
    }
    return value == 0 ? 0 : (uint16_t)((exponent + 15) << 10 | (value << (10 - exponent) & 0x3FFU));
}

static void bytes_and_halves_go_in(void **state)
{
    NX_NEED_RUNTIME();
    graph g = {
        .input_type = TINY_UINT8, .pieces = {{"output0", {7, 84}, 0}}, .metadata = {THREE_NAMES}};
    nx_model *model = models_open(runtime, write_graph(state, "bytes.onnx", &g));
    assert_int_equal(nx_model_get_spec(model)->pixels, NX_PIXELS_RGB_BYTE_NHWC);
    assert_int_equal(nx_model_slot_bytes(model, SIDE, SIDE), NUMBERS);
    uint8_t bytes[NUMBERS];
    for (size_t i = 0; i < NUMBERS; i++) {
        bytes[i] = (uint8_t)(i * 7 % 251);
    }
    nx_error err = {0};
    int reads = 0;
    nx_assert_ok(nx_model_run(model, bytes, SIDE, SIDE, check_bytes, &reads, &err), err);
    nx_model_fill_gray(model, bytes, 1, SIDE, SIDE);
    assert_int_equal(bytes[0], 114);
    assert_int_equal(bytes[NUMBERS - 1], 114);
    nx_model_free(model);

    g.input_type = TINY_FLOAT16;
    model = models_open(runtime, write_graph(state, "halves.onnx", &g));
    assert_int_equal(nx_model_get_spec(model)->pixels, NX_PIXELS_RGB_UNIT_F16);
    assert_int_equal(nx_model_slot_bytes(model, SIDE, SIDE), 2 * NUMBERS);
    uint16_t halves[NUMBERS];
    nx_model_fill_gray(model, halves, 1, SIDE, SIDE);
    /* 2^(exponent - 15) * (1 + fraction / 1024) */
    assert_int_equal(halves[NUMBERS - 1] >> 10, 15 - 2);
    assert_float_equal((1 + (float)(halves[NUMBERS - 1] & 0x3FF) / 1024) / 4, 114.0F / 255, 0.0003);
    for (size_t i = 0; i < NUMBERS; i++) {
        halves[i] = half_of((unsigned)(i * 7 % 251));
    }
    nx_assert_ok(nx_model_run(model, halves, SIDE, SIDE, check_bytes, &reads, &err), err);
    assert_int_equal(reads, 2);
    nx_model_free(model);
}

/* --- shapes that change under way ---------------------------------------------------------------
 */

static void outputs_of_another_kind_are_told(void **state)
{
    (void)state;
    static float numbers[4 * 64];
    const nx_head head = {
        .kind = NX_HEAD_SEGMENT, .output_count = 2, .classes = 1, .mask_channels = 2};
    nx_tensor outputs[] = {
        {.name = "a", .type = NX_TYPE_FLOAT32, .rank = 3, .dims = {1, 7, 21}, .data = numbers},
        {.name = "b", .type = NX_TYPE_FLOAT32, .rank = 4, .dims = {1, 2, 8, 8}, .data = numbers},
    };
    nx_head_output out;
    assert_true(nx_head_view(&head, outputs, 2, 0, 32, 32, &out));
    assert_false(nx_head_view(&head, outputs, 1, 0, 32, 32, &out));
    assert_false(nx_head_view(&head, outputs, 2, 1, 32, 32, &out));
    assert_false(nx_head_view(&head, outputs, 2, 0, 64, 32, &out)); /* other prototypes */
    outputs[1].dims[0] = 2;
    assert_false(nx_head_view(&head, outputs, 2, 0, 32, 32, &out));
    outputs[1].dims[0] = 1;
    outputs[0].rank = 2;
    assert_false(nx_head_view(&head, outputs, 2, 0, 32, 32, &out));
    outputs[0].rank = 3;
    outputs[0].type = NX_TYPE_INT64;
    assert_false(nx_head_view(&head, outputs, 2, 0, 32, 32, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_heads_are_read_by_name),
        cmocka_unit_test(damaged_split_heads_are_refused),
        cmocka_unit_test(masks_are_recognised),
        cmocka_unit_test(what_has_no_masks_is_refused),
        cmocka_unit_test(keypoints_are_recognised),
        cmocka_unit_test(bytes_and_halves_go_in),
        cmocka_unit_test(outputs_of_another_kind_are_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
