#include "models.h"
#include "open_files.h"
#include "process_memory.h"

#include "base/file.h"
#include "engine/session.h"

#include <pthread.h>

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

/* --- a graph of several types -------------------------------------------------------------------
 *
 * sum = left + right (float32[n,2]), flipped = not flag (bool[2]), count = shape of left
 * (int64[2]).
 */

static const char *write_graph(void **state)
{
    nx_buffer graph = NX_BUFFER_INIT;
    nx_buffer file = NX_BUFFER_INIT;
    tiny_node(&graph, "Add", "left right", "sum", NULL);
    tiny_node(&graph, "Not", "flag", "flipped", NULL);
    tiny_node(&graph, "Shape", "left", "count", NULL);
    pb_text(&graph, 2, "several");
    const int64_t rows[] = {-1, 2};
    const int64_t two[] = {2};
    tiny_value_info(&graph, 11, "left", TINY_FLOAT, rows, 2);
    tiny_value_info(&graph, 11, "right", TINY_FLOAT, rows, 2);
    tiny_value_info(&graph, 11, "flag", 9, two, 1);
    tiny_value_info(&graph, 12, "sum", TINY_FLOAT, rows, 2);
    tiny_value_info(&graph, 12, "flipped", 9, two, 1);
    tiny_value_info(&graph, 12, "count", TINY_INT64, two, 1);
    pb_int(&file, 1, 8);
    pb_message(&file, 7, &graph);
    pb_opset(&file, NULL, 17);
    const char *path = scratch_write(state, "several.onnx", file.data, file.size);
    nx_buffer_free(&file);
    return path;
}

static nx_session *open_with(const char *path, const nx_session_options *options)
{
    nx_session *session = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_session_open(runtime, path, options, &session, &err), err);
    return session;
}

static nx_session *open_session(const char *path)
{
    return open_with(path, &(nx_session_options){0});
}

static float left_data[] = {1, 2, 3, 4};
static float right_data[] = {10, 20, 30, 40};
static uint8_t flag_data[] = {1, 0};

#define LEFT                                                                                       \
    {                                                                                              \
        .name = "left", .type = NX_TYPE_FLOAT32, .rank = 2, .dims = {2, 2}, .data = left_data,     \
        .bytes = sizeof left_data                                                                  \
    }
#define RIGHT                                                                                      \
    {                                                                                              \
        .name = "right", .type = NX_TYPE_FLOAT32, .rank = 2, .dims = {2, 2}, .data = right_data,   \
        .bytes = sizeof right_data                                                                 \
    }
#define FLAG                                                                                       \
    {                                                                                              \
        .name = "flag", .type = NX_TYPE_BOOL, .rank = 1, .dims = {2}, .data = flag_data,           \
        .bytes = sizeof flag_data                                                                  \
    }

static void a_graph_says_what_goes_in_and_comes_out(void **state)
{
    NX_NEED_RUNTIME();
    nx_session *session = open_session(write_graph(state));
    size_t count = 0;
    const nx_tensor *inputs = nx_session_inputs(session, &count);
    assert_int_equal(count, 3);
    assert_string_equal(inputs[0].name, "left");
    assert_int_equal(inputs[0].type, NX_TYPE_FLOAT32);
    assert_int_equal(inputs[0].rank, 2);
    assert_int_equal(inputs[0].dims[0], -1);
    assert_int_equal(inputs[0].dims[1], 2);
    assert_null(inputs[0].data);
    assert_string_equal(inputs[2].name, "flag");
    assert_int_equal(inputs[2].type, NX_TYPE_BOOL);
    const nx_tensor *outputs = nx_session_outputs(session, &count);
    assert_int_equal(count, 3);
    assert_string_equal(outputs[2].name, "count");
    assert_int_equal(outputs[2].type, NX_TYPE_INT64);
    assert_ptr_equal(nx_session_find_input(session, "flag"), &inputs[2]);
    assert_ptr_equal(nx_session_find_output(session, "sum"), &outputs[0]);
    assert_null(nx_session_find_input(session, "sum"));
    assert_null(nx_session_find_output(session, "left"));
    assert_string_equal(nx_session_provider(session), "CPUExecutionProvider");
    nx_session_free(session);
    nx_session_free(NULL);
}

static nx_status check_all(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    (void)err;
    assert_int_equal(count, 3);
    assert_string_equal(outputs[0].name, "sum");
    assert_int_equal(outputs[0].type, NX_TYPE_FLOAT32);
    assert_int_equal(outputs[0].rank, 2);
    assert_int_equal(outputs[0].dims[0], 2);
    assert_int_equal(outputs[0].bytes, 16);
    assert_memory_equal(outputs[0].data, ((float[]){11, 22, 33, 44}), 16);
    assert_int_equal(outputs[1].bytes, 2);
    assert_memory_equal(outputs[1].data, ((uint8_t[]){0, 1}), 2);
    assert_int_equal(outputs[2].type, NX_TYPE_INT64);
    assert_memory_equal(outputs[2].data, ((int64_t[]){2, 2}), 16);
    *(int *)user += 1;
    return NX_OK;
}

static nx_status check_two(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    (void)err;
    assert_int_equal(count, 2);
    assert_string_equal(outputs[0].name, "flipped");
    assert_string_equal(outputs[1].name, "sum");
    assert_memory_equal(outputs[1].data, ((float[]){11, 22, 33, 44}), 16);
    *(int *)user += 1;
    return NX_OK;
}

static void inputs_and_outputs_go_by_name(void **state)
{
    NX_NEED_RUNTIME();
    nx_session *session = open_session(write_graph(state));
    const nx_tensor inputs[] = {FLAG, RIGHT, LEFT};
    nx_error err = {0};
    int reads = 0;
    nx_assert_ok(nx_session_run(session, inputs, 3, NULL, 0, check_all, &reads, &err), err);
    const char *const wanted[] = {"flipped", "sum"};
    nx_assert_ok(nx_session_run(session, inputs, 3, wanted, 2, check_two, &reads, &err), err);
    assert_int_equal(reads, 2);
    nx_session_free(session);
}

static nx_status never(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    (void)outputs, (void)count, (void)user;
    return nx_error_set(err, NX_ERR_BUSY, "not now");
}

static void run_is_refused(nx_session *session, const nx_tensor *inputs, size_t count,
                           const char *expected)
{
    nx_error err = {0};
    assert_int_equal(nx_session_run(session, inputs, count, NULL, 0, never, NULL, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, expected);
}

static void inputs_that_do_not_fit_are_refused(void **state)
{
    NX_NEED_RUNTIME();
    nx_session *session = open_session(write_graph(state));
    nx_tensor inputs[] = {LEFT, RIGHT, FLAG};
    run_is_refused(session, inputs, 2, "the input 'flag' of ");
    const nx_tensor four[] = {LEFT, RIGHT, FLAG, FLAG};
    run_is_refused(session, four, 4, "several.onnx is given twice");
    const nx_tensor other[] = {LEFT, RIGHT, FLAG, {.name = "flags"}};
    run_is_refused(session, other, 4, "several.onnx has no input 'flags'");
    inputs[0].bytes = 12;
    run_is_refused(session, inputs, 3, "'left' has 12 bytes; its shape has 16");
    inputs[0] = (nx_tensor)LEFT;
    inputs[0].dims[0] = INT64_MAX;
    run_is_refused(session, inputs, 3, "'left' has no usable type and shape");
    inputs[0].dims[0] = -1;
    run_is_refused(session, inputs, 3, "'left' has no usable type and shape");
    inputs[0] = (nx_tensor)LEFT;
    inputs[0].type = NX_TYPE_OTHER;
    run_is_refused(session, inputs, 3, "'left' has no usable type and shape");
    inputs[0].type = NX_TYPE_INT32; /* as many bytes, another type */
    run_is_refused(session, inputs, 3, "is given as int32[2,2]; it takes float32[?,2]");
    inputs[0] = (nx_tensor)LEFT;
    inputs[0].dims[0] = 1;
    inputs[0].dims[1] = 4; /* as many bytes, another shape */
    run_is_refused(session, inputs, 3, "is given as float32[1,4]; it takes float32[?,2]");
    inputs[0] = (nx_tensor)LEFT;
    const char *const wanted[] = {"sums"};
    nx_error err = {0};
    assert_int_equal(nx_session_run(session, inputs, 3, wanted, 1, never, NULL, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "sums");
    nx_session_free(session);
}

static void what_the_reader_returns_comes_back(void **state)
{
    NX_NEED_RUNTIME();
    nx_session *session = open_session(write_graph(state));
    const nx_tensor inputs[] = {LEFT, RIGHT, FLAG};
    nx_error err = {0};
    assert_int_equal(nx_session_run(session, inputs, 3, NULL, 0, never, NULL, &err), NX_ERR_BUSY);
    assert_string_equal(err.message, "not now");
    nx_session_free(session);
}

static void graphs_that_cannot_be_built_are_told_so(void **state)
{
    NX_NEED_RUNTIME();
    nx_session *session = (nx_session *)1;
    nx_error err = {0};
    const nx_session_options options = {0};
    assert_int_equal(
        nx_session_open(runtime, scratch_path(state, "missing.onnx"), &options, &session, &err),
        NX_ERR_NOT_FOUND);
    assert_null(session);
    nx_assert_contains(err.message, "missing.onnx");
    const char *text = scratch_write(state, "text.onnx", "no graph", 8);
    assert_int_equal(nx_session_open(runtime, text, &options, &session, &err), NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "ONNX Runtime cannot build");
    assert_int_equal(
        nx_session_open_bytes(runtime, "no graph", 8, "bytes", &options, &session, &err),
        NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "bytes");
    assert_null(session);
}

/* The graph that ONNX Runtime would run, written to a file, is a graph again. */
/* What the machine lacks is not the file's fault. */
static void too_many_open_files_are_told_apart(void **state)
{
    NX_NEED_RUNTIME();
    nx_session *session = NULL;
    nx_error err = {0};
    open_files files;
    const char *path = write_graph(state);
    const nx_session_options options = {0};
    open_files_begin(&files);
    open_files_allow(&files, 0);
    nx_status status = nx_session_open(runtime, path, &options, &session, &err);
    open_files_end(&files);
    assert_int_equal(status, NX_ERR_IO);
    nx_assert_contains(err.message, "Too many open files");
    nx_session_free(open_session(path));
}

static void too_little_memory_is_told_apart(void **state)
{
    NX_NEED_YOLOV8N();
    (void)state;
    nx_session *session = NULL;
    nx_error err = {0};
    struct rlimit before;
    const nx_session_options options = {0};
    const char *path = models_data_path("models/yolov8n.onnx");
    if (sanitized()) {
        skip(); /* their shadows need all the addresses */
    }
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    const struct rlimit little = {.rlim_cur = ((rlim_t)process_kb("VmSize:") << 10) + (8 << 20),
                                  .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
    nx_status status = nx_session_open(runtime, path, &options, &session, &err);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(status, NX_ERR_NO_MEMORY);
    nx_session_free(open_session(path));
}

static void the_optimized_graph_can_be_kept(void **state)
{
    NX_NEED_RUNTIME();
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", write_graph(state));
    char kept[PATH_MAX];
    snprintf(kept, sizeof kept, "%s", scratch_path(state, "kept.onnx"));
    const nx_session_options options = {.optimization = NX_GRAPH_EXTENDED,
                                        .optimized_model_path = kept};
    nx_session_free(open_with(path, &options));
    nx_session *session = open_session(kept);
    const nx_tensor inputs[] = {LEFT, RIGHT, FLAG};
    nx_error err = {0};
    int reads = 0;
    nx_assert_ok(nx_session_run(session, inputs, 3, NULL, 0, check_all, &reads, &err), err);
    assert_int_equal(reads, 1);
    nx_session_free(session);
}

static void sessions_open_from_bytes_and_share_weights(void **state)
{
    NX_NEED_RUNTIME();
    const char *path = write_graph(state);
    nx_weights *weights = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_weights_new(runtime, &weights, &err), err);
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_assert_ok(nx_file_read(path, 100000, &bytes, &err), err);
    const nx_session_options options = {.weights = weights, .intra_op_threads = 2};
    nx_session *sessions[2] = {NULL, open_with(path, &options)};
    nx_assert_ok(nx_session_open_bytes(runtime, bytes.data, bytes.size, "bytes", &options,
                                       &sessions[0], &err),
                 err);
    nx_buffer_free(&bytes);
    const nx_tensor inputs[] = {LEFT, RIGHT, FLAG};
    int reads = 0;
    for (size_t i = 0; i < 2; i++) {
        nx_assert_ok(nx_session_run(sessions[i], inputs, 3, NULL, 0, check_all, &reads, &err), err);
        nx_session_free(sessions[i]);
    }
    assert_int_equal(reads, 2);
    nx_weights_free(weights);
    nx_weights_free(NULL);
}

/* Every graph that the product must run, SAM's odd ones among them. */
static void real_graphs_open(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    NX_NEED_SHARED();
    nx_session *session = open_session(nx_shared_path("models/mobile_sam_decoder.onnx"));
    size_t count = 0;
    nx_session_inputs(session, &count);
    assert_int_equal(count, 6);
    const nx_tensor *points = nx_session_find_input(session, "point_coords");
    assert_non_null(points);
    assert_int_equal(points->rank, 3);
    assert_int_equal(points->dims[1], -1);
    nx_session_outputs(session, &count);
    assert_int_equal(count, 3);
    nx_session_free(session);
}

/* --- many at once -------------------------------------------------------------------------------
 */

static void *run_often(void *argument)
{
    const nx_tensor inputs[] = {LEFT, RIGHT, FLAG};
    nx_error err = {0};
    int reads = 0;
    for (int i = 0; i < 200; i++) {
        nx_assert_ok(nx_session_run(argument, inputs, 3, NULL, 0, check_all, &reads, &err), err);
    }
    return reads == 200 ? argument : NULL;
}

static void threads_share_a_session(void **state)
{
    NX_NEED_RUNTIME();
    nx_session *session = open_session(write_graph(state));
    pthread_t threads[4];
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_often, session), 0);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, session);
    }
    nx_session_free(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_graph_says_what_goes_in_and_comes_out),
        cmocka_unit_test(inputs_and_outputs_go_by_name),
        cmocka_unit_test(inputs_that_do_not_fit_are_refused),
        cmocka_unit_test(what_the_reader_returns_comes_back),
        cmocka_unit_test(graphs_that_cannot_be_built_are_told_so),
        cmocka_unit_test(too_many_open_files_are_told_apart),
        cmocka_unit_test(too_little_memory_is_told_apart),
        cmocka_unit_test(the_optimized_graph_can_be_kept),
        cmocka_unit_test(sessions_open_from_bytes_and_share_weights),
        cmocka_unit_test(real_graphs_open),
        cmocka_unit_test(threads_share_a_session),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
