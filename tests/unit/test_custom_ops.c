#include "models.h"

#include "engine/custom_ops.h"
#include "engine/session.h"

#include <stdbool.h>

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

/* --- graphs of one operator ---------------------------------------------------------------------
 */

static void nexus_node(nx_buffer *graph, const char *type, const char *first, const char *second,
                       const char *output)
{
    nx_buffer node = NX_BUFFER_INIT;
    pb_text(&node, 1, first);
    if (second != NULL) {
        pb_text(&node, 1, second);
    }
    pb_text(&node, 2, output);
    pb_text(&node, 4, type);
    pb_text(&node, 7, NX_CUSTOM_OPS_DOMAIN);
    pb_message(graph, 1, &node);
}

static void bytes_initializer(nx_buffer *graph, const char *name, const uint8_t *values,
                              size_t count)
{
    nx_buffer tensor = NX_BUFFER_INIT;
    pb_int(&tensor, 1, count);
    pb_int(&tensor, 2, TINY_UINT8);
    pb_text(&tensor, 8, name);
    pb_bytes(&tensor, 9, values, count);
    pb_message(graph, 5, &tensor);
}

static const char *finish_graph(void **state, const char *name, nx_buffer *graph)
{
    nx_buffer file = NX_BUFFER_INIT;
    pb_text(graph, 2, "one");
    pb_int(&file, 1, 8);
    pb_message(&file, 7, graph);
    pb_opset(&file, NULL, 17);
    pb_opset(&file, NX_CUSTOM_OPS_DOMAIN, 1);
    const char *path = scratch_write(state, name, file.data, file.size);
    nx_buffer_free(&file);
    return path;
}

/* Y = 255 - (255 - X), by two look-ups with a table in the file: the second may be done in place.
 */
static const char *write_tables(void **state, const uint8_t *table, size_t size)
{
    static const int64_t free_dims[] = {-1, -1, -1};
    nx_buffer graph = NX_BUFFER_INIT;
    nexus_node(&graph, "TableU8", "x", "t", "once");
    nexus_node(&graph, "TableU8", "once", "t", "twice");
    nexus_node(&graph, "TableU8", "twice", "t", "y");
    bytes_initializer(&graph, "t", table, size);
    tiny_value_info(&graph, 11, "x", TINY_UINT8, free_dims, 3);
    tiny_value_info(&graph, 12, "y", TINY_UINT8, NULL, 0);
    return finish_graph(state, "tables.onnx", &graph);
}

/* The same with the table as an input of the graph, and types at will. */
static const char *write_table_input(void **state, int x_type, int table_type)
{
    static const int64_t free_dims[] = {-1};
    nx_buffer graph = NX_BUFFER_INIT;
    nexus_node(&graph, "TableU8", "x", "t", "y");
    tiny_value_info(&graph, 11, "x", x_type, free_dims, 1);
    tiny_value_info(&graph, 11, "t", table_type, free_dims, 1);
    tiny_value_info(&graph, 12, "y", TINY_UINT8, NULL, 0);
    return finish_graph(state, "table_input.onnx", &graph);
}

/* dims: of X, -1 free. The result goes through a second one when twice is set. */
static const char *write_upsample(void **state, const int64_t *dims, size_t rank, bool twice)
{
    nx_buffer graph = NX_BUFFER_INIT;
    nexus_node(&graph, "UpsampleNearest2xU8", "x", NULL, twice ? "middle" : "y");
    if (twice) {
        nexus_node(&graph, "UpsampleNearest2xU8", "middle", NULL, "y");
    }
    tiny_value_info(&graph, 11, "x", TINY_UINT8, dims, rank);
    tiny_value_info(&graph, 12, "y", TINY_UINT8, NULL, 0);
    return finish_graph(state, "upsample.onnx", &graph);
}

static nx_session *open_session(const char *path, uint32_t threads)
{
    nx_session *session = NULL;
    nx_error err = {0};
    const nx_session_options options = {.intra_op_threads = threads};
    nx_assert_ok(nx_session_open(runtime, path, &options, &session, &err), err);
    return session;
}

/* What came out, copied. */
typedef struct outcome {
    nx_tensor tensor;
    uint8_t *bytes;
} outcome;

static nx_status copy_output(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    outcome *out = user;
    (void)err;
    assert_int_equal(count, 1);
    assert_int_equal(outputs[0].type, NX_TYPE_UINT8);
    out->tensor = outputs[0];
    out->bytes = malloc(outputs[0].bytes + 1);
    assert_non_null(out->bytes);
    if (outputs[0].bytes > 0) {
        memcpy(out->bytes, outputs[0].data, outputs[0].bytes);
    }
    return NX_OK;
}

static outcome run(nx_session *session, const nx_tensor *inputs, size_t count)
{
    outcome out = {0};
    nx_error err = {0};
    nx_assert_ok(nx_session_run(session, inputs, count, NULL, 0, copy_output, &out, &err), err);
    return out;
}

/* --- TableU8 ------------------------------------------------------------------------------------
 */

static void fill_table(uint8_t table[256])
{
    for (int i = 0; i < 256; i++) {
        table[i] = (uint8_t)(i * 77 + 13); /* odd factor: a permutation */
    }
}

/* Small inputs, one of no elements, and one large enough for several pieces and threads. */
static void a_table_is_looked_up_at_any_size(void **state)
{
    NX_NEED_RUNTIME();
    static const int64_t shapes[][3] = {
        {1, 1, 1}, {1, 2, 128}, {3, 5, 7}, {2, 0, 4}, {3, 401, 211}};
    uint8_t table[256];
    fill_table(table);
    for (uint32_t threads = 1; threads <= 2; threads++) {
        nx_session *session = open_session(write_tables(state, table, sizeof table), threads);
        for (size_t i = 0; i < NX_COUNT(shapes); i++) {
            size_t count = (size_t)(shapes[i][0] * shapes[i][1] * shapes[i][2]);
            uint8_t *bytes = malloc(count + 1);
            assert_non_null(bytes);
            for (size_t k = 0; k < count; k++) {
                bytes[k] = (uint8_t)(k + k / 251);
            }
            nx_tensor x = {.name = "x", .type = NX_TYPE_UINT8, .rank = 3, .data = bytes};
            memcpy(x.dims, shapes[i], sizeof shapes[i]);
            x.bytes = count;
            outcome out = run(session, &x, 1);
            assert_int_equal(out.tensor.rank, 3);
            assert_memory_equal(out.tensor.dims, shapes[i], sizeof shapes[i]);
            for (size_t k = 0; k < count; k++) {
                assert_int_equal(bytes[k],
                                 (uint8_t)(k + k / 251)); /* the input is not written to */
                assert_int_equal(out.bytes[k], table[table[table[bytes[k]]]]);
            }
            free(out.bytes);
            free(bytes);
        }
        nx_session_free(session);
    }
}

static void a_table_may_be_computed(void **state)
{
    NX_NEED_RUNTIME();
    uint8_t table[256];
    uint8_t bytes[100];
    fill_table(table);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 3);
    }
    nx_session *session = open_session(write_table_input(state, TINY_UINT8, TINY_UINT8), 1);
    const nx_tensor inputs[] = {
        {.name = "x", .type = NX_TYPE_UINT8, .rank = 1, .dims = {100}, .data = bytes, .bytes = 100},
        {.name = "t", .type = NX_TYPE_UINT8, .rank = 1, .dims = {256}, .data = table, .bytes = 256},
    };
    outcome out = run(session, inputs, 2);
    assert_int_equal(out.tensor.bytes, 100);
    for (size_t i = 0; i < sizeof bytes; i++) {
        assert_int_equal(out.bytes[i], table[bytes[i]]);
    }
    free(out.bytes);
    nx_session_free(session);
}

static void assert_run_fails(nx_session *session, const nx_tensor *inputs, size_t count,
                             const char *words)
{
    outcome out = {0};
    nx_error err = {0};
    assert_int_not_equal(nx_session_run(session, inputs, count, NULL, 0, copy_output, &out, &err),
                         NX_OK);
    assert_null(out.bytes);
    nx_assert_contains(err.message, words);
}

static void a_table_of_another_size_is_refused(void **state)
{
    NX_NEED_RUNTIME();
    uint8_t table[512] = {0};
    uint8_t bytes[4] = {255, 0, 255, 0};
    nx_session *session = open_session(write_table_input(state, TINY_UINT8, TINY_UINT8), 1);
    static const int64_t sizes[] = {0, 1, 255, 257, 512};
    for (size_t i = 0; i < NX_COUNT(sizes); i++) {
        const nx_tensor inputs[] = {
            {.name = "x", .type = NX_TYPE_UINT8, .rank = 1, .dims = {4}, .data = bytes, .bytes = 4},
            {.name = "t",
             .type = NX_TYPE_UINT8,
             .rank = 1,
             .dims = {sizes[i]},
             .data = table,
             .bytes = (size_t)sizes[i]},
        };
        assert_run_fails(session, inputs, 2, "TableU8: T has not the shape [256]");
    }
    nx_session_free(session);
}

static void other_types_are_no_graph(void **state)
{
    NX_NEED_RUNTIME();
    static const int types[][2] = {{TINY_FLOAT, TINY_UINT8}, {TINY_UINT8, TINY_FLOAT}};
    for (size_t i = 0; i < NX_COUNT(types); i++) {
        nx_session *session = NULL;
        nx_error err = {0};
        const char *path = write_table_input(state, types[i][0], types[i][1]);
        assert_int_equal(nx_session_open(runtime, path, &(nx_session_options){0}, &session, &err),
                         NX_ERR_CORRUPT);
        assert_null(session);
        nx_assert_contains(err.message, "TableU8");
    }
}

/* --- UpsampleNearest2xU8 ------------------------------------------------------------------------
 */

static void assert_upsampled(const outcome *out, const uint8_t *from, const int64_t *dims,
                             int64_t times)
{
    int64_t height = dims[1] * times;
    int64_t width = dims[2] * times;
    assert_int_equal(out->tensor.rank, 4);
    assert_int_equal(out->tensor.dims[0], dims[0]);
    assert_int_equal(out->tensor.dims[1], height);
    assert_int_equal(out->tensor.dims[2], width);
    assert_int_equal(out->tensor.dims[3], dims[3]);
    size_t at = 0;
    for (int64_t n = 0; n < dims[0]; n++) {
        for (int64_t y = 0; y < height; y++) {
            for (int64_t x = 0; x < width; x++) {
                int64_t pixel = (n * dims[1] + y / times) * dims[2] + x / times;
                for (int64_t c = 0; c < dims[3]; c++) {
                    assert_int_equal(out->bytes[at++], from[pixel * dims[3] + c]);
                }
            }
        }
    }
}

static void pixels_are_repeated_at_any_size(void **state)
{
    NX_NEED_RUNTIME();
    static const int64_t free_dims[] = {-1, -1, -1, -1};
    static const int64_t shapes[][4] = {
        {1, 1, 1, 1}, {1, 2, 3, 4}, {2, 3, 2, 65}, {1, 0, 5, 3}, {2, 24, 40, 129}};
    for (uint32_t threads = 1; threads <= 2; threads++) {
        for (int twice = 0; twice < 2; twice++) {
            nx_session *session =
                open_session(write_upsample(state, free_dims, 4, twice != 0), threads);
            for (size_t i = 0; i < NX_COUNT(shapes); i++) {
                const int64_t *dims = shapes[i];
                size_t count = (size_t)(dims[0] * dims[1] * dims[2] * dims[3]);
                uint8_t *bytes = malloc(count + 1);
                assert_non_null(bytes);
                for (size_t k = 0; k < count; k++) {
                    bytes[k] = (uint8_t)(k * 31 + k / 256);
                }
                nx_tensor x = {.name = "x", .type = NX_TYPE_UINT8, .rank = 4, .data = bytes};
                memcpy(x.dims, dims, sizeof shapes[i]);
                x.bytes = count;
                outcome out = run(session, &x, 1);
                assert_upsampled(&out, bytes, dims, twice != 0 ? 4 : 2);
                free(out.bytes);
                free(bytes);
            }
            nx_session_free(session);
        }
    }
}

/* Sizes that are known or named before a Run are passed on; ONNX Runtime shows what it was told. */
static void shapes_are_told_before_a_run(void **state)
{
    NX_NEED_RUNTIME();
    static const int64_t fixed[] = {1, 20, 12, 64};
    static const int64_t partly[] = {-1, 20, -1, 64};
    size_t count = 0;
    nx_session *session = open_session(write_upsample(state, fixed, 4, true), 1);
    const nx_tensor *out = nx_session_outputs(session, &count);
    assert_int_equal(out->rank, 4);
    assert_memory_equal(out->dims, ((const int64_t[]){1, 80, 48, 64}), 4 * sizeof(int64_t));
    nx_session_free(session);
    session = open_session(write_upsample(state, partly, 4, true), 1);
    out = nx_session_outputs(session, &count);
    assert_int_equal(out->rank, 4);
    assert_memory_equal(out->dims, ((const int64_t[]){-1, 80, -1, 64}), 4 * sizeof(int64_t));
    nx_session_free(session);
    uint8_t table[256];
    fill_table(table);
    session = open_session(write_tables(state, table, sizeof table), 1);
    out = nx_session_outputs(session, &count);
    assert_int_equal(out->rank, 3);
    nx_session_free(session);
}

static void what_is_no_picture_is_refused(void **state)
{
    NX_NEED_RUNTIME();
    static const int64_t three[] = {2, 3, 4};
    uint8_t bytes[24] = {0};
    nx_session *session = NULL;
    nx_error err = {0};
    const char *path = write_upsample(state, three, 3, false);
    /* ONNX Runtime may take the graph and let the Run find out */
    if (nx_session_open(runtime, path, &(nx_session_options){0}, &session, &err) == NX_OK) {
        const nx_tensor x = {.name = "x",
                             .type = NX_TYPE_UINT8,
                             .rank = 3,
                             .dims = {2, 3, 4},
                             .data = bytes,
                             .bytes = sizeof bytes};
        assert_run_fails(session, &x, 1, "UpsampleNearest2xU8: X has not the shape [N,H,W,C]");
        nx_session_free(session);
    } else {
        nx_assert_contains(err.message, "UpsampleNearest2xU8: X has not the shape [N,H,W,C]");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_looked_up_at_any_size),
        cmocka_unit_test(a_table_may_be_computed),
        cmocka_unit_test(a_table_of_another_size_is_refused),
        cmocka_unit_test(other_types_are_no_graph),
        cmocka_unit_test(pixels_are_repeated_at_any_size),
        cmocka_unit_test(shapes_are_told_before_a_run),
        cmocka_unit_test(what_is_no_picture_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
