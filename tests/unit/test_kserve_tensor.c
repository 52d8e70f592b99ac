#include "api/kserve_tensor.h"
#include "testing.h"

#include <float.h>
#include <math.h>

static nx_tensor tensor_of(nx_type type, uint32_t rank, const int64_t *dims)
{
    nx_tensor tensor = {.name = "x", .type = type, .rank = rank};
    for (uint32_t i = 0; i < rank; i++) { /* a scalar comes without dims */
        tensor.dims[i] = dims[i];
    }
    return tensor;
}

static nx_status read_into(const char *text, nx_type type, uint32_t rank, const int64_t *dims,
                           void *out, nx_error *err)
{
    nx_tensor tensor = tensor_of(type, rank, dims);
    return nx_kserve_read_json((nx_json_span){text, strlen(text)}, &tensor, out, err);
}

static void data_types_have_names(void **state)
{
    (void)state;
    for (nx_type type = NX_TYPE_FLOAT32; type <= NX_TYPE_BOOL; type++) {
        const nx_kserve_datatype *datatype = nx_kserve_datatype_of(type);
        assert_non_null(datatype);
        assert_ptr_equal(nx_kserve_datatype_named(datatype->name), datatype);
        assert_int_equal(datatype->type, type);
    }
    assert_string_equal(nx_kserve_datatype_of(NX_TYPE_FLOAT16)->name, "FP16");
    assert_string_equal(nx_kserve_datatype_bytes()->name, "BYTES");
    assert_null(nx_kserve_datatype_of(NX_TYPE_OTHER));
    assert_null(nx_kserve_datatype_named("UINT64"));
    assert_null(nx_kserve_datatype_named(""));
}

static void elements_are_counted_with_care(void **state)
{
    (void)state;
    size_t count = 0;
    assert_true(nx_kserve_elements(NULL, 0, &count));
    assert_int_equal(count, 1);
    assert_true(nx_kserve_elements((int64_t[]){2, 3, 4}, 3, &count));
    assert_int_equal(count, 24);
    assert_true(nx_kserve_elements((int64_t[]){5, 0}, 2, &count));
    assert_int_equal(count, 0);
    assert_false(nx_kserve_elements((int64_t[]){5, -1}, 2, &count));
    assert_false(nx_kserve_elements((int64_t[]){INT64_MAX, 4}, 2, &count));
    assert_false(nx_kserve_elements((int64_t[]){1LL << 32, 1LL << 32}, 2, &count));
    assert_int_equal(nx_kserve_least_json(0), 2);
    assert_int_equal(nx_kserve_least_json(1), 3);
    assert_int_equal(nx_kserve_least_json(3), 7);
    assert_true(nx_kserve_least_json(SIZE_MAX / 2 + 1) == SIZE_MAX);
}

static void arrays_may_be_flat_or_nested(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[1,2,3,4,5,6]",
        "[[1,2,3],[4,5,6]]",
        " [ [ 1 , 2.0 , 3e0 ] , [ 4 , 0.5e1 , 6 ] ] ",
    };
    const float expected[] = {1, 2, 3, 4, 5, 6};
    for (size_t i = 0; i < NX_COUNT(texts); i++) {
        float out[6] = {0};
        nx_error err = {0};
        nx_assert_ok(read_into(texts[i], NX_TYPE_FLOAT32, 2, (int64_t[]){2, 3}, out, &err), err);
        assert_memory_equal(out, expected, sizeof expected);
    }
    float out[6];
    nx_error err = {0};
    nx_assert_ok(read_into("[[[1],[2]],[[3],[4]],[[5],[6]]]", NX_TYPE_FLOAT32, 3,
                           (int64_t[]){3, 2, 1}, out, &err),
                 err);
    assert_memory_equal(out, expected, sizeof expected);
    nx_assert_ok(read_into("[7]", NX_TYPE_FLOAT32, 0, (int64_t[]){0}, out, &err), err);
    assert_true(out[0] == 7);
    nx_assert_ok(read_into("[]", NX_TYPE_FLOAT32, 1, (int64_t[]){0}, out, &err), err);
    nx_assert_ok(read_into("[[],[]]", NX_TYPE_FLOAT32, 2, (int64_t[]){2, 0}, out, &err), err);
    nx_assert_ok(read_into("[]", NX_TYPE_FLOAT32, 2, (int64_t[]){0, 4}, out, &err), err);
}

static void wrong_shapes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"[1,2,3,4,5]", "has 5 elements; its shape has 6"},
        {"[1,2,3,4,5,6,7]", "more elements than the shape has"},
        {"[[1,2],[3,4],[5,6]]", "an array of another length"},
        {"[[1,2,3],[4,5]]", "an array of another length"},
        {"[[1,2,3],[4,5,6,7]]", "more elements"},
        {"[[1,2,3]]", "an array of another length"},
        {"[[1,2,3],4,5,6]", "an array is missing"},
        {"[[[1,2,3]],[[4,5,6]]]", "a number is missing"},
        {"[1,2,3,[4,5,6]]", "a number is missing"},
        {"[1,2,3,4,5,\"6\"]", "a number is missing"},
        {"[1,2,3,4,5,null]", "a number is missing"},
        {"[1,2,3,4,5,1e39]", "beyond the data type's range"},
        {"[1,2,3,4,5,6", "a comma or ] is missing"},
        {"[1,2,3,4,5,6] 7", "something behind the end"},
        {"7", "an array is missing"},
        {"", "an array is missing"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        float out[6];
        nx_error err = {0};
        assert_int_equal(read_into(cases[i].text, NX_TYPE_FLOAT32, 2, (int64_t[]){2, 3}, out, &err),
                         NX_ERR_INVALID);
        nx_assert_contains(err.message, cases[i].why);
        nx_assert_contains(err.message, "the data of 'x'");
    }
}

static void every_type_has_its_range(void **state)
{
    (void)state;
    static const struct {
        nx_type type;
        const char *good, *bad, *bad2, *written;
    } cases[] = {
        {NX_TYPE_UINT8, "[0,255]", "[0,256]", "[-1,0]", "[0,255]"},
        {NX_TYPE_INT8, "[-128,127]", "[0,128]", "[-129,0]", "[-128,127]"},
        {NX_TYPE_UINT16, "[0,65535]", "[0,65536]", "[-1,0]", "[0,65535]"},
        {NX_TYPE_INT16, "[-32768,32767]", "[0,32768]", "[-32769,0]", "[-32768,32767]"},
        {NX_TYPE_INT32, "[-2147483648,2147483647]", "[0,2147483648]", "[1.5,0]",
         "[-2147483648,2147483647]"},
        {NX_TYPE_INT64, "[-9223372036854775808,9223372036854775807]", "[0,9223372036854775808]",
         "[1e3,0]", "[-9223372036854775808,9223372036854775807]"},
        {NX_TYPE_BOOL, "[true,false]", "[1,0]", "[true,null]", "[true,false]"},
        {NX_TYPE_FLOAT32, "[0.1,-3.4028235e38]", "[0,1e39]", "[true,0]",
         "[0.100000001,-3.40282347e+38]"},
        {NX_TYPE_FLOAT64, "[0.1,-0.0]", "[0,1e400]", "[\"0\",0]", "[0.10000000000000001,-0]"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        uint64_t out[2];
        nx_error err = {0};
        const int64_t dims[] = {2};
        nx_assert_ok(read_into(cases[i].good, cases[i].type, 1, dims, out, &err), err);
        nx_tensor tensor = tensor_of(cases[i].type, 1, dims);
        tensor.data = out;
        tensor.bytes = 2 * nx_type_size(cases[i].type);
        nx_buffer text = NX_BUFFER_INIT;
        nx_json json = nx_json_begin(&text);
        nx_kserve_write_json(&tensor, &json);
        assert_string_equal(nx_buffer_cstr(&text), cases[i].written);
        nx_buffer_free(&text);
        assert_int_equal(read_into(cases[i].bad, cases[i].type, 1, dims, out, &err),
                         NX_ERR_INVALID);
        assert_int_equal(read_into(cases[i].bad2, cases[i].type, 1, dims, out, &err),
                         NX_ERR_INVALID);
    }
    nx_error err = {0};
    uint64_t out = 0;
    assert_int_equal(read_into("[1]", NX_TYPE_FLOAT16, 1, (int64_t[]){1}, &out, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "FP16 has no form in JSON");
}

/* What is written reads back as the very same bits. */
static void floats_survive_the_round_trip(void **state)
{
    (void)state;
    enum { N = 20000 };
    float *values = calloc(N, sizeof *values);
    float *back = calloc(N, sizeof *back);
    uint32_t seed = 1;
    for (int i = 0; i < N; i++) {
        seed = seed * 1664525U + 1013904223U;
        memcpy(&values[i], &seed, sizeof seed);
        if (!isfinite(values[i])) {
            values[i] = (float)i;
        }
    }
    for (int i = 4; i < N / 2; i++) { /* and of the size that networks give */
        seed = seed * 1664525U + 1013904223U;
        float scale[] = {1, 640, 1e-5F, 3e-12F, 99999};
        values[i] = ((float)seed / 4294967296.0F - 0.5F) * scale[i % 5];
    }
    values[0] = FLT_MIN;
    values[1] = FLT_TRUE_MIN;
    values[2] = -0.0F;
    values[3] = FLT_MAX;
    const int64_t dims[] = {N};
    nx_tensor tensor = tensor_of(NX_TYPE_FLOAT32, 1, dims);
    tensor.data = values;
    tensor.bytes = N * sizeof *values;
    nx_buffer text = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&text);
    nx_kserve_write_json(&tensor, &json);
    nx_error err = {0};
    nx_assert_ok(read_into(nx_buffer_cstr(&text), NX_TYPE_FLOAT32, 1, dims, back, &err), err);
    assert_memory_equal(values, back, N * sizeof *values);
    nx_buffer_free(&text);
    free(values);
    free(back);
}

static void what_json_cannot_say_is_null(void **state)
{
    (void)state;
    float values[] = {NAN, INFINITY, -INFINITY, 1.5F};
    nx_tensor tensor = tensor_of(NX_TYPE_FLOAT32, 1, (int64_t[]){4});
    tensor.data = values;
    tensor.bytes = sizeof values;
    nx_buffer text = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&text);
    nx_kserve_write_json(&tensor, &json);
    assert_string_equal(nx_buffer_cstr(&text), "[null,null,null,1.5]");
    nx_buffer_free(&text);
}

static void bytes_have_lengths(void **state)
{
    (void)state;
    static const char data[] = "\3\0\0\0abc\0\0\0\0\1\0\0\0z";
    const char *at = data;
    const char *end = data + sizeof data - 1;
    nx_json_span out;
    assert_true(nx_kserve_next_bytes(&at, end, &out));
    assert_int_equal(out.size, 3);
    assert_memory_equal(out.text, "abc", 3);
    assert_true(nx_kserve_next_bytes(&at, end, &out));
    assert_int_equal(out.size, 0);
    assert_true(nx_kserve_next_bytes(&at, end, &out));
    assert_memory_equal(out.text, "z", 1);
    assert_ptr_equal(at, end);
    assert_false(nx_kserve_next_bytes(&at, end, &out));
    static const char *const cut[] = {"\4\0\0\0abc", "\4\0\0", "\377\377\377\377abcdefgh"};
    static const size_t sizes[] = {7, 3, 12};
    for (size_t i = 0; i < NX_COUNT(cut); i++) {
        at = cut[i];
        assert_false(nx_kserve_next_bytes(&at, cut[i] + sizes[i], &out));
        assert_ptr_equal(at, cut[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_types_have_names),
        cmocka_unit_test(elements_are_counted_with_care),
        cmocka_unit_test(arrays_may_be_flat_or_nested),
        cmocka_unit_test(wrong_shapes_are_refused),
        cmocka_unit_test(every_type_has_its_range),
        cmocka_unit_test(floats_survive_the_round_trip),
        cmocka_unit_test(what_json_cannot_say_is_null),
        cmocka_unit_test(bytes_have_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
