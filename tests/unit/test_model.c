#include "models.h"
#include "process_memory.h"

#include "base/file.h"
#include "media/codec.h"

#include <pthread.h>
#include <stdbool.h>

/* One for all tests: ONNX Runtime's environment belongs to the process. */
static nx_runtime *runtime;

static int setup(void **state)
{
    nx_error err = {0};
    if (access(models_data_path("lib/libonnxruntime.so.1"), R_OK) == 0 &&
        nx_runtime_open(NULL, models_data_dir(), &runtime, &err) != NX_OK) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    return scratch_make(state);
}

static int teardown(void **state)
{
    nx_runtime_free(runtime);
    return scratch_remove(state);
}

/* --- running ------------------------------------------------------------------------------------
 */

/* A copy of an output. */
typedef struct output {
    nx_head_output head;
    float *data;
    size_t count;
} output;

static nx_status keep_output(const nx_head_output *head, void *user, nx_error *err)
{
    output *out = user;
    *out = (output){.head = *head, .count = (size_t)head->rows * (size_t)head->columns};
    out->data = malloc(out->count * sizeof *out->data);
    if (out->data == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a copy");
    }
    memcpy(out->data, head->data, out->count * sizeof *out->data);
    return NX_OK;
}

static output run(nx_model *model, float *tensor, uint32_t width, uint32_t height)
{
    output out = {0};
    nx_error err = {0};
    nx_assert_ok(nx_model_run(model, tensor, width, height, keep_output, &out, &err), err);
    assert_int_equal(out.head.kind, nx_model_get_spec(model)->head);
    assert_int_equal(out.head.classes, nx_model_get_spec(model)->names.count);
    assert_int_equal(out.head.input_width, width);
    assert_int_equal(out.head.input_height, height);
    return out;
}

/* Something with edges in it: a blocky pattern. */
static float *pattern(uint32_t width, uint32_t height)
{
    float *tensor = malloc((size_t)3 * width * height * sizeof *tensor);
    assert_non_null(tensor);
    for (size_t i = 0; i < (size_t)3 * width * height; i++) {
        size_t x = i % width;
        size_t y = i / width;
        tensor[i] = (float)((x / 40 * 7 + y / 60 * 13) % 32) / 31;
    }
    return tensor;
}

/* --- the runtime --------------------------------------------------------------------------------
 */

static void the_runtime_says_what_it_is(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    assert_int_equal(nx_runtime_version(runtime)[0], '1');
    nx_assert_contains(nx_runtime_path(runtime), "libonnxruntime");
    assert_int_equal(access(nx_runtime_path(runtime), R_OK), 0);
    nx_runtime_trim(runtime);
}

static void other_libraries_are_refused(void **state)
{
    nx_runtime *other = (nx_runtime *)1;
    nx_error err = {0};
    assert_int_equal(nx_runtime_open("/no/such/libonnxruntime.so", NULL, &other, &err),
                     NX_ERR_UNAVAILABLE);
    assert_null(other);
    nx_assert_contains(err.message, "/no/such/libonnxruntime.so");
    nx_assert_contains(err.message, "make run");
    nx_assert_contains(err.message, "NEXUS_ORT_LIBRARY");
    assert_int_equal(nx_runtime_open("libm.so.6", NULL, &other, &err), NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, "not ONNX Runtime");
    assert_null(other);
    const char *text = scratch_write(state, "text.so", "no library", 10);
    assert_int_equal(nx_runtime_open(text, NULL, &other, &err), NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, text);
    nx_runtime_free(NULL);
}

/* --- models made by hand ------------------------------------------------------------------------
 */

static void refuses(const char *path, nx_status expected, const char *const *parts, size_t count)
{
    nx_model *model = (nx_model *)1;
    nx_error err = {0};
    nx_status status = nx_model_open(runtime, path, &(nx_model_options){0}, &model, &err);
    if (status != expected) {
        fail_msg("%s: %s instead of %s: %s", path, nx_status_name(status), nx_status_name(expected),
                 err.message);
    }
    assert_null(model);
    nx_assert_contains(err.message, path);
    for (size_t i = 0; i < count; i++) {
        nx_assert_contains(err.message, parts[i]);
    }
}

#define REFUSES(path, expected, ...)                                                               \
    refuses(path, expected, (const char *const[]){__VA_ARGS__},                                    \
            NX_COUNT(((const char *const[]){__VA_ARGS__})))

static void a_tiny_detector_runs(void **state)
{
    NX_NEED_RUNTIME();
    const tiny_model tiny = TINY_YOLOV8;
    nx_model *model = models_open(runtime, tiny_model_write(state, "tiny.onnx", &tiny));
    const nx_model_spec *spec = nx_model_get_spec(model);
    assert_string_equal(spec->name, "tiny");
    assert_string_equal(spec->path, scratch_path(state, "tiny.onnx"));
    assert_int_equal(spec->head, NX_HEAD_YOLOV8);
    assert_int_equal(spec->pixels, NX_PIXELS_RGB_UNIT);
    assert_true(spec->centered);
    assert_false(spec->dynamic_size);
    assert_false(spec->dynamic_batch);
    assert_int_equal(spec->input_width, 64);
    assert_int_equal(spec->input_height, 64);
    assert_int_equal(spec->names.count, 3);
    assert_string_equal(spec->names.names[2], "c");
    assert_string_equal(spec->description, "");
    assert_string_equal(spec->license, "");

    float *tensor = pattern(64, 64);
    output out = run(model, tensor, 64, 64);
    assert_int_equal(out.head.rows, 7);
    assert_int_equal(out.head.columns, 84);
    for (size_t r = 0; r < 7; r++) { /* the model returns a piece of its input */
        assert_memory_equal(out.data + r * 84, tensor + r * 1024, 84 * sizeof *tensor);
    }
    free(out.data);
    free(tensor);
    nx_model_free(model);
    nx_model_free(NULL);
}

static void names_stand_in_where_there_are_none(void **state)
{
    NX_NEED_RUNTIME();
    tiny_model tiny = TINY_YOLOV8;
    tiny.names = NULL;
    nx_model *model = models_open(runtime, tiny_model_write(state, "nameless", &tiny));
    const nx_model_spec *spec = nx_model_get_spec(model);
    assert_string_equal(spec->name, "nameless");
    assert_false(spec->names_from_file);
    assert_int_equal(spec->names.count, 3);
    assert_string_equal(spec->names.names[0], "class_0");
    nx_model_free(model);
}

/* Width and height are told apart. */
static void inputs_need_not_be_square(void **state)
{
    NX_NEED_RUNTIME();
    const tiny_model tiny = {.input = {-1, 3, 32, 96}, .output = {1, 6, 63}};
    nx_model *model = models_open(runtime, tiny_model_write(state, "flat.onnx", &tiny));
    const nx_model_spec *spec = nx_model_get_spec(model);
    assert_int_equal(spec->input_width, 96);
    assert_int_equal(spec->input_height, 32);
    assert_false(spec->dynamic_batch); /* declared so, but one picture comes out of two */
    assert_int_equal(spec->names.count, 2);
    uint32_t width = 0;
    uint32_t height = 0;
    nx_model_input_size(model, 1000, 1000, &width, &height);
    assert_int_equal(width, 96);
    assert_int_equal(height, 32);
    nx_model_free(model);
}

static void a_size_that_is_free_is_taken_from_the_metadata(void **state)
{
    NX_NEED_RUNTIME();
    const struct {
        const char *imgsz;
        int64_t cells;
        uint32_t size;
    } cases[] = {
        {NULL, 8400, 640},      {"[128, 128]", 336, 128}, {"[96, 128]", 336, 128},
        {"128", 336, 128},      {"[120, 100]", 336, 128}, {"0", 8400, 640},
        {"[99999]", 8400, 640}, {"large", 8400, 640},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        const tiny_model tiny = {
            .input = {1, 3, -1, -1}, .output = {1, 7, cases[i].cells}, .imgsz = cases[i].imgsz};
        nx_model *model = models_open(runtime, tiny_model_write(state, "free.onnx", &tiny));
        assert_true(nx_model_get_spec(model)->dynamic_size);
        assert_int_equal(nx_model_get_spec(model)->input_width, cases[i].size);
        assert_int_equal(nx_model_get_spec(model)->input_height, cases[i].size);
        uint32_t width = 0;
        uint32_t height = 0;
        nx_model_input_size(model, 100, 1000, &width, &height);
        assert_int_equal(height, cases[i].size);
        assert_int_equal(width, cases[i].size == 640 ? 64 : 32);
        nx_model_free(model);
    }
}

/* What is declared free and is not: the graph has the size in it, as exporters leave it there. */
static void a_free_size_may_be_a_promise_only(void **state)
{
    NX_NEED_RUNTIME();
    const tiny_model promise = {.input = {1, 3, -1, -1},
                                .output = {1, 7, 336},
                                .rows = 12,
                                .columns = 4096,
                                .imgsz = "[128, 128]"};
    const tiny_model half = {.input = {1, 3, 96, -1}, .output = {1, 7, 252}, .imgsz = "128"};
    nx_model *model = models_open(runtime, tiny_model_write(state, "promise.onnx", &promise));
    uint32_t width = 0;
    uint32_t height = 0;
    assert_false(nx_model_get_spec(model)->dynamic_size);
    nx_model_input_size(model, 1920, 1080, &width, &height);
    assert_int_equal(width, 128);
    assert_int_equal(height, 128);
    nx_model_free(model);

    model = models_open(runtime, tiny_model_write(state, "half.onnx", &half));
    assert_false(nx_model_get_spec(model)->dynamic_size);
    nx_model_input_size(model, 1000, 100, &width, &height);
    assert_int_equal(width, 128);
    assert_int_equal(height, 96);
    nx_model_free(model);
}

static void each_kind_of_stranger_is_told_what_it_is(void **state)
{
    NX_NEED_RUNTIME();
    static const char supported[] = "Nexus runs detectors with one input float32[1,3,height,width]";
    static const struct {
        tiny_model model;
        const char *found, *hint;
    } cases[] = {
        {{.input = {1, 3, 64, 64}, .output = {1, 252, 85}},
         "output float32[1,252,85]",
         "YOLOv5 or YOLOv7"},
        {{.input = {1, 3, 64, 64}, .output = {1, 39, 84}, .names = "['a', 'b', 'c']"},
         "output float32[1,39,84] for 3 class names",
         "segmentation or pose"},
        {{.input = {1, 3, 64, 64}, .output = {1, 6, 84}, .names = "['a', 'b', 'c']"},
         "output float32[1,6,84] for 3 class names",
         ""},
        {{.input = {1, 3, 64, 64}, .output = {1, 300, 6}},
         "output float32[1,300,6]",
         "an end-to-end head without class names in the file"},
        {{.input = {1, 3, 64, 64}, .output = {1, 1029, 84}},
         "output float32[1,1029,84]",
         "over 1024 classes"},
        {{.input = {1, 3, 64, 64}, .output = {1, 4, 84}}, "output float32[1,4,84]", ""},
        {{.input = {1, 3, 64, 64}, .output = {2, 7, 84}}, "output float32[2,7,84]", ""},
        {{.input = {1, 3, 64, 64}, .output = {1, 1000}}, "output float32[1,1000]", ""},
        {{.input = {1, 3, 64, 64}, .output = {1, 7, 84, 1}}, "output float32[1,7,84,1]", ""},
        {{.input = {1, 3, 64, 64}, .output = {1, 7, 84}, .output_type = TINY_INT64},
         "output int64[",
         ""},
        {{.input = {1, 3, 64, 64}, .output = {1, 7, 84}, .outputs = 2},
         "again float32[",
         "a segmentation model has two: [1,4+C+M,N] and [1,M,H/4,W/4]"},
        {{.input = {1, 1, 64, 64}, .output = {1, 7, 84}},
         "it has 1 input: images float32[1,1,64,64]",
         ""},
        {{.input = {4, 3, 64, 64}, .output = {4, 7, 84}},
         "it has 1 input: images float32[4,3,64,64]",
         ""},
        {{.input = {1, 3, 64, 64}, .output = {1, 7, 84}, .input_type = TINY_UINT8},
         "it has 1 input: images uint8[1,3,64,64]",
         ""},
        {{.input = {1, 3, 64, 64}, .output = {1, 7, 84}, .input_type = TINY_INT64},
         "it has 1 input: images int64[1,3,64,64]",
         ""},
        {{.input = {1, 64, 64, 3}, .output = {1, 7, 84}},
         "it has 1 input: images float32[1,64,64,3]",
         ""},
        {{.input = {1, 64, 64, 3}, .output = {1, 84, 8}, .input_type = TINY_UINT8},
         "it has 1 input: images uint8[1,64,64,3]", /* YOLOX, which takes floats */
         ""},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        const char *path = tiny_model_write(state, "stranger.onnx", &cases[i].model);
        REFUSES(path, NX_ERR_UNSUPPORTED, cases[i].found, cases[i].hint, supported);
    }
    tiny_model tiny = TINY_YOLOV8;
    tiny.task = "obb";
    REFUSES(tiny_model_write(state, "obb.onnx", &tiny), NX_ERR_UNSUPPORTED,
            "is a model for the task 'obb'", supported);
    tiny = (tiny_model){.input = {1, 3, 64, 9000}, .output = {1, 7, 84}};
    REFUSES(tiny_model_write(state, "huge.onnx", &tiny), NX_ERR_UNSUPPORTED,
            "an input of unusable size: images float32[1,3,64,9000]");
}

static void damaged_models_are_told_so(void **state)
{
    NX_NEED_RUNTIME();
    tiny_model tiny = TINY_YOLOV8;
    tiny.names = "{0: 'a', 1: }";
    REFUSES(tiny_model_write(state, "names.onnx", &tiny), NX_ERR_CORRUPT,
            ": the class names are damaged at byte 12");
    tiny = (tiny_model)TINY_YOLOV8;
    tiny.rows = 11; /* not what the input has */
    REFUSES(tiny_model_write(state, "reshape.onnx", &tiny), NX_ERR_INVALID,
            "declares an input of 64x64 pixels (width x height), but its graph fails on it");

    nx_buffer file = NX_BUFFER_INIT; /* right on the outside */
    pb_int(&file, 1, 8);
    pb_text(&file, 7, "\x0a\x7f no graph");
    pb_opset(&file, NULL, 17);
    const char *path = scratch_write(state, "graph.onnx", file.data, file.size);
    nx_buffer_free(&file);
    REFUSES(path, NX_ERR_CORRUPT, "ONNX Runtime cannot build");
}

static void missing_files_and_folders_are_told_so(void **state)
{
    NX_NEED_RUNTIME();
    REFUSES(scratch_path(state, "missing.onnx"), NX_ERR_NOT_FOUND, "No such file or directory");
    REFUSES((const char *)*state, NX_ERR_INVALID, "is a folder, not a file");
    REFUSES("/dev/null", NX_ERR_INVALID, "is not a regular file");
}

/* Opening has run the model at its declared size; another one fails in Run. */
static void a_run_at_another_size_fails_with_words(void **state)
{
    NX_NEED_RUNTIME();
    const tiny_model tiny = TINY_YOLOV8;
    nx_model *model = models_open(runtime, tiny_model_write(state, "tiny.onnx", &tiny));
    float *tensor = pattern(96, 96);
    output out = {0};
    nx_error err = {0};
    assert_int_equal(nx_model_run(model, tensor, 96, 96, keep_output, &out, &err), NX_ERR_INTERNAL);
    assert_null(out.data);
    nx_assert_contains(err.message, "tiny: ");
    nx_assert_contains(err.message, "96");
    free(tensor);
    nx_model_free(model);
}

static nx_status refuse_output(const nx_head_output *head, void *user, nx_error *err)
{
    (void)head;
    *(int *)user += 1;
    return nx_error_set(err, NX_ERR_BUSY, "not now");
}

static void what_the_reader_returns_comes_back(void **state)
{
    NX_NEED_RUNTIME();
    const tiny_model tiny = TINY_YOLOV8;
    nx_model *model = models_open(runtime, tiny_model_write(state, "tiny.onnx", &tiny));
    float *tensor = pattern(64, 64);
    int calls = 0;
    nx_error err = {0};
    assert_int_equal(nx_model_run(model, tensor, 64, 64, refuse_output, &calls, &err), NX_ERR_BUSY);
    assert_string_equal(err.message, "not now");
    assert_int_equal(calls, 1);
    free(tensor);
    nx_model_free(model);
}

/* --- real models --------------------------------------------------------------------------------
 */

static void the_default_model_opens(void **state)
{
    (void)state;
    NX_NEED_YOLOV8N();
    nx_model *model = models_open(runtime, models_data_path("models/yolov8n.onnx"));
    const nx_model_spec *spec = nx_model_get_spec(model);
    assert_string_equal(spec->name, "yolov8n");
    assert_int_equal(spec->head, NX_HEAD_YOLOV8);
    assert_int_equal(spec->input_width, 640);
    assert_int_equal(spec->names.count, 80);
    assert_string_equal(spec->names.names[5], "bus");
    assert_true(spec->names_from_file);
    nx_model_free(model);
}

typedef struct runner {
    nx_model *model;
    float *tensor;
    output out;
    nx_status status;
    nx_error err;
} runner;

static void *run_on_thread(void *argument)
{
    runner *self = argument;
    self->status =
        nx_model_run(self->model, self->tensor, 640, 640, keep_output, &self->out, &self->err);
    return NULL;
}

static void threads_share_a_model(void **state)
{
    (void)state;
    NX_NEED_YOLOV8N();
    nx_model *model = models_open(runtime, models_data_path("models/yolov8n.onnx"));
    float *tensor = pattern(640, 640);
    output alone = run(model, tensor, 640, 640);
    pthread_t threads[4];
    runner runners[NX_COUNT(threads)];
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        runners[i] = (runner){.model = model, .tensor = tensor};
        assert_int_equal(pthread_create(&threads[i], NULL, run_on_thread, &runners[i]), 0);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
        nx_assert_ok(runners[i].status, runners[i].err);
        assert_int_equal(runners[i].out.count, alone.count);
        assert_memory_equal(runners[i].out.data, alone.data, alone.count * sizeof *alone.data);
        free(runners[i].out.data);
    }
    free(alone.data);
    free(tensor);
    nx_model_free(model);
}

typedef struct lone_run {
    const nx_model *model;
    output out;
} lone_run;

static nx_status keep_batch(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    lone_run *self = user;
    nx_head_output head;
    nx_status status = nx_model_head(self->model, outputs, count, 0, 640, 640, &head, err);
    return status == NX_OK ? keep_output(&head, &self->out, err) : status;
}

/* The session with threads gives what the other one gives, but for the order of its sums. */
static void a_lone_run_agrees_with_any_other(void **state)
{
    (void)state;
    NX_NEED_YOLOV8N();
    nx_model *model = NULL;
    nx_error err = {0};
    const nx_model_options options = {.alone_threads = 2};
    nx_assert_ok(
        nx_model_open(runtime, models_data_path("models/yolov8n.onnx"), &options, &model, &err),
        err);
    float *tensor = pattern(640, 640);
    const nx_backend *backend = nx_model_backend(model);
    assert_int_equal(backend->max_batch, 1);
    assert_int_equal(backend->best_batch, 1);
    lone_run runs[2] = {{.model = model}, {.model = model}};
    for (int alone = 0; alone < 2; alone++) {
        const nx_batch batch = {
            .data = tensor, .count = 1, .width = 640, .height = 640, .alone = alone == 1};
        nx_assert_ok(backend->run(backend->self, &batch, keep_batch, &runs[alone], &err), err);
    }
    assert_int_equal(runs[0].out.count, runs[1].out.count);
    for (size_t i = 0; i < runs[0].out.count; i++) {
        assert_float_equal(runs[0].out.data[i], runs[1].out.data[i], 0.01);
    }
    free(runs[0].out.data);
    free(runs[1].out.data);
    free(tensor);
    nx_model_free(model);
}

static void open_run_free(float *tensor)
{
    nx_model *model = models_open(runtime, models_data_path("models/yolov8n.onnx"));
    output out = run(model, tensor, 640, 640);
    free(out.data);
    nx_model_free(model);
    nx_runtime_trim(runtime);
}

/* A model of 13 MB whose Run takes 25 MB: one that stayed would show at once. */
static void a_freed_model_leaves_its_memory(void **state)
{
    (void)state;
    NX_NEED_YOLOV8N();
    float *tensor = pattern(640, 640);
    open_run_free(tensor);
    long before = process_kb("VmRSS:");
    for (int i = 0; i < 5; i++) {
        open_run_free(tensor);
    }
    long grown = process_kb("VmRSS:") - before;
    if (!sanitized() && grown > 10 * 1024) { /* sanitizers keep freed memory on purpose */
        fail_msg("%ld KB are still there", grown);
    }
    free(tensor);
}

/* --- the shared models --------------------------------------------------------------------------
 */

static void each_shared_model_is_recognised(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    NX_NEED_SHARED();
    static const struct {
        const char *name;
        nx_head_kind head;
        uint32_t size;
        bool dynamic, named;
    } cases[] = {
        {"yolov8n", NX_HEAD_YOLOV8, 640, false, true},
        {"yolov8s", NX_HEAD_YOLOV8, 640, false, true},
        {"yolov8n-dynamic", NX_HEAD_YOLOV8, 640, true, true},
        {"yolov8n-int8-qdq", NX_HEAD_YOLOV8, 640, false, true},
        {"yolov8n-int8-dynamic", NX_HEAD_YOLOV8, 640, false, true},
        {"yolov10n-int8-dynamic", NX_HEAD_END_TO_END, 640, false, true},
        {"yolox_nano", NX_HEAD_YOLOX, 416, false, false},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        char relative[100];
        snprintf(relative, sizeof relative, "models/%s.onnx", cases[i].name);
        nx_model *model = models_open(runtime, nx_shared_path(relative));
        const nx_model_spec *spec = nx_model_get_spec(model);
        assert_string_equal(spec->name, cases[i].name);
        assert_int_equal(spec->head, cases[i].head);
        assert_int_equal(spec->input_width, cases[i].size);
        assert_int_equal(spec->input_height, cases[i].size);
        assert_int_equal(spec->stride, 32);
        assert_int_equal(spec->dynamic_size, cases[i].dynamic);
        assert_int_equal(spec->dynamic_batch, cases[i].dynamic);
        bool yolox = cases[i].head == NX_HEAD_YOLOX;
        assert_int_equal(spec->pixels, yolox ? NX_PIXELS_BGR_BYTE : NX_PIXELS_RGB_UNIT);
        assert_int_equal(spec->centered, !yolox);
        assert_int_equal(spec->names.count, 80);
        assert_int_equal(spec->names_from_file, cases[i].named);
        assert_string_equal(spec->names.names[79], cases[i].named ? "toothbrush" : "class_79");
        nx_model_free(model);
    }
}

static float *letterboxed_bus(void)
{
    nx_error err = {0};
    nx_file_map map = {0};
    nx_image image = {0};
    nx_assert_ok(nx_file_map_open(nx_shared_path("images/bus.jpg"), &map, &err), err);
    nx_assert_ok(nx_image_decode(map.data, map.size, &(nx_decode_options){0}, &image, NULL, &err),
                 err);
    nx_letterbox box = nx_letterbox_fit(image.width, image.height, 640, 640, true);
    float *tensor = malloc((size_t)3 * 640 * 640 * sizeof *tensor);
    assert_non_null(tensor);
    nx_assert_ok(nx_letterbox_apply(&box, &image, NX_PIXELS_RGB_UNIT, tensor, &err), err);
    nx_image_free(&image);
    nx_file_unmap(&map);
    return tensor;
}

static void dynamic_and_static_agree_to_the_bit(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    NX_NEED_SHARED();
    float *tensor = letterboxed_bus();
    nx_model *fixed = models_open(runtime, nx_shared_path("models/yolov8n.onnx"));
    nx_model *dynamic = models_open(runtime, nx_shared_path("models/yolov8n-dynamic.onnx"));
    output a = run(fixed, tensor, 640, 640);
    output b = run(dynamic, tensor, 640, 640);
    assert_int_equal(a.head.rows, 84);
    assert_int_equal(a.head.columns, 8400);
    assert_int_equal(b.count, a.count);
    assert_memory_equal(a.data, b.data, a.count * sizeof *a.data);
    free(a.data);
    free(b.data);
    free(tensor);
    nx_model_free(fixed);
    nx_model_free(dynamic);
}

static void a_dynamic_model_runs_at_the_shape_of_the_picture(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    NX_NEED_SHARED();
    static const uint32_t sizes[][5] = {
        /* source, input, anchors */
        {1920, 1080, 640, 384, 5040}, {1080, 1920, 384, 640, 5040}, {500, 500, 640, 640, 8400},
        {2000, 8, 640, 32, 420},      {1, 1, 640, 640, 8400},
    };
    nx_model *model = models_open(runtime, nx_shared_path("models/yolov8n-dynamic.onnx"));
    for (size_t i = 0; i < NX_COUNT(sizes); i++) {
        uint32_t width = 0;
        uint32_t height = 0;
        nx_model_input_size(model, sizes[i][0], sizes[i][1], &width, &height);
        assert_int_equal(width, sizes[i][2]);
        assert_int_equal(height, sizes[i][3]);
        float *tensor = pattern(width, height);
        output out = run(model, tensor, width, height);
        assert_int_equal(out.head.columns, sizes[i][4]);
        free(out.data);
        free(tensor);
    }
    nx_model_free(model);

    const nx_model_options small = {.input_size = 300}; /* rounded up to the stride */
    nx_error err = {0};
    nx_assert_ok(
        nx_model_open(runtime, nx_shared_path("models/yolov8n-dynamic.onnx"), &small, &model, &err),
        err);
    assert_int_equal(nx_model_get_spec(model)->input_width, 320);
    nx_model_free(model);
}

static void each_broken_model_has_its_own_message(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    NX_NEED_SHARED();
    REFUSES(nx_shared_path("models/broken/empty.onnx"), NX_ERR_CORRUPT, "is empty (0 bytes)");
    REFUSES(nx_shared_path("models/broken/text.onnx"), NX_ERR_CORRUPT,
            "is not an ONNX model: it is text that starts with '");
    REFUSES(nx_shared_path("models/broken/truncated.onnx"), NX_ERR_CORRUPT,
            "is cut short: the graph", "the file ends after 1000000; copy or download it again");
    REFUSES(nx_shared_path("models/broken/not-a-detector.onnx"), NX_ERR_UNSUPPORTED,
            "it has 2 inputs: ", "detection float32[1,?,?]", "Nexus runs detectors with one input");
    REFUSES(nx_shared_path("models/broken/declared-320-graph-640.onnx"), NX_ERR_INVALID,
            "declares an input of 320x320 pixels (width x height), but its graph fails on it");
    REFUSES(nx_shared_path("models/mobile_sam_encoder.onnx"), NX_ERR_UNSUPPORTED,
            "is not a detector that Nexus knows", "float32[1,256,64,64]",
            "Nexus runs detectors with one input");
    REFUSES(nx_shared_path("models/mobile_sam_decoder.onnx"), NX_ERR_UNSUPPORTED,
            "it has 6 inputs: image_embeddings float32[1,256,64,64]",
            "Nexus runs detectors with one input");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_runtime_says_what_it_is),
        cmocka_unit_test(other_libraries_are_refused),
        cmocka_unit_test(a_tiny_detector_runs),
        cmocka_unit_test(names_stand_in_where_there_are_none),
        cmocka_unit_test(inputs_need_not_be_square),
        cmocka_unit_test(a_size_that_is_free_is_taken_from_the_metadata),
        cmocka_unit_test(a_free_size_may_be_a_promise_only),
        cmocka_unit_test(each_kind_of_stranger_is_told_what_it_is),
        cmocka_unit_test(damaged_models_are_told_so),
        cmocka_unit_test(missing_files_and_folders_are_told_so),
        cmocka_unit_test(a_run_at_another_size_fails_with_words),
        cmocka_unit_test(what_the_reader_returns_comes_back),
        cmocka_unit_test(the_default_model_opens),
        cmocka_unit_test(threads_share_a_model),
        cmocka_unit_test(a_lone_run_agrees_with_any_other),
        cmocka_unit_test(a_freed_model_leaves_its_memory),
        cmocka_unit_test(each_shared_model_is_recognised),
        cmocka_unit_test(dynamic_and_static_agree_to_the_bit),
        cmocka_unit_test(a_dynamic_model_runs_at_the_shape_of_the_picture),
        cmocka_unit_test(each_broken_model_has_its_own_message),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
