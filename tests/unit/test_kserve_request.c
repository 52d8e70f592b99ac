#include "api/kserve_request.h"
#include "testing.h"

static nx_status parse(const char *text, nx_kserve_request *out, nx_error *err)
{
    return nx_kserve_request_parse(text, strlen(text), SIZE_MAX, out, err);
}

static void reads_tensors_in_json(void **state)
{
    (void)state;
    static const char text[] =
        "{\"id\":\"42\",\"inputs\":[{\"name\":\"a\",\"shape\":[2,2],\"datatype\":\"FP32\","
        "\"data\":[1,2,3,4]},{\"data\":[[true]],\"datatype\":\"BOOL\",\"shape\":[1,1],"
        "\"name\":\"b\",\"parameters\":{\"x\":1}}],\"outputs\":[{\"name\":\"o\"},"
        "{\"parameters\":{\"binary_data\":false,\"classification\":0},\"name\":\"p\"}],"
        "\"parameters\":{\"binary_data_output\":true,\"timeout\":5000,\"priority\":1,"
        "\"confidence\":0.5,\"classes\":\"person\",\"sequence_id\":\"s\"},\"more\":{\"x\":[1]}}";
    nx_kserve_request request;
    nx_error err = {0};
    nx_assert_ok(parse(text, &request, &err), err);
    assert_string_equal(request.id, "42");
    assert_int_equal(request.input_count, 2);
    assert_string_equal(request.inputs[0].name, "a");
    assert_int_equal(request.inputs[0].datatype->type, NX_TYPE_FLOAT32);
    assert_int_equal(request.inputs[0].rank, 2);
    assert_int_equal(request.inputs[0].dims[1], 2);
    assert_int_equal(request.inputs[0].elements, 4);
    assert_false(request.inputs[0].binary);
    assert_int_equal(request.inputs[0].data.size, strlen("[1,2,3,4]"));
    assert_memory_equal(request.inputs[1].data.text, "[[true]]", 8);
    assert_int_equal(request.output_count, 2);
    assert_true(request.outputs[0].binary);
    assert_false(request.outputs[1].binary);
    assert_true(request.binary_output);
    assert_int_equal(request.timeout_us, 5000);
    assert_int_equal(request.parameter_count, 2);
    assert_string_equal(request.parameters[0].name, "confidence");
    assert_string_equal(request.parameters[0].value, "0.5");
    assert_string_equal(request.parameters[1].value, "person");
    nx_kserve_request_free(&request);
}

#define BINARY(name, size)                                                                         \
    "{\"name\":\"" name "\",\"shape\":[2],\"datatype\":\"UINT8\",\"parameters\":{"                 \
    "\"binary_data_size\":" size "}}"

static void cuts_binary_data(void **state)
{
    (void)state;
    static const char head[] = "{\"inputs\":[" BINARY(
        "a", "2") ",{\"name\":\"j\",\"shape\":[1],"
                  "\"datatype\":\"INT8\",\"data\":[1]}," BINARY("b", "3") "]}";
    char body[sizeof head + 5];
    memcpy(body, head, sizeof head - 1);
    memcpy(body + sizeof head - 1, "ABCDE", 5);
    nx_kserve_request request;
    nx_error err = {0};
    size_t header = sizeof head - 1;
    nx_assert_ok(nx_kserve_request_parse(body, header + 5, header, &request, &err), err);
    assert_true(request.inputs[0].binary);
    assert_memory_equal(request.inputs[0].data.text, "AB", 2);
    assert_int_equal(request.inputs[0].data.size, 2);
    assert_false(request.inputs[1].binary);
    assert_memory_equal(request.inputs[2].data.text, "CDE", 3);
    nx_kserve_request_free(&request);

    assert_int_equal(nx_kserve_request_parse(body, header + 4, header, &request, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "input 'b' has a binary_data_size of 3, but only 2 bytes");
    nx_kserve_request_free(&request);
    assert_int_equal(nx_kserve_request_parse(body, header, header + 1, &request, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "Inference-Header-Content-Length is");
    nx_kserve_request_free(&request);
    memcpy(body + header, "ABCDEF", 6);
    assert_int_equal(nx_kserve_request_parse(body, header + 6, header, &request, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "1 of the 6 bytes behind the JSON belong to no input");
    nx_kserve_request_free(&request);
}

#define TENSOR(more) "{\"name\":\"a\",\"shape\":[2],\"datatype\":\"FP32\"" more "}"

static void refuses_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "an object is missing"},
        {"[]", "an object is missing"},
        {"{}", "the request has no 'inputs'"},
        {"{\"inputs\":[]}", "the request has no 'inputs'"},
        {"{\"inputs\":{}}", "an array is missing"},
        {"{\"inputs\":[1]}", "an object is missing"},
        {"{\"inputs\":[{}]}", "an input has no 'name'"},
        {"{\"inputs\":[{\"name\":\"a\",\"shape\":[1],\"data\":[1]}]}",
         "there is no 'datatype' for input 'a'"},
        {"{\"inputs\":[{\"name\":\"a\",\"datatype\":\"FP32\",\"data\":[1]}]}",
         "there is no 'shape' for input 'a'"},
        {"{\"inputs\":[{\"name\":\"a\",\"datatype\":\"FP99\"}]}",
         "there is no support for the datatype 'FP99'"},
        {"{\"inputs\":[" TENSOR("") "]}", "neither 'data' nor 'binary_data_size' for input 'a'"},
        {"{\"inputs\":[" TENSOR(",\"data\":[1,2],\"parameters\":{\"binary_data_size\":8}") "]}",
         "'data' beside binary data for input 'a'"},
        {"{\"inputs\":[" TENSOR(",\"parameters\":{\"binary_data_size\":-8}") "]}",
         "a negative binary_data_size"},
        {"{\"inputs\":[" TENSOR(",\"parameters\":{\"binary_data_size\":8}") "]}",
         "only 0 bytes are left"},
        {"{\"inputs\":[" TENSOR(",\"parameters\":{\"shared_memory_region\":\"r\"}") "]}",
         "shared memory is not supported"},
        {"{\"inputs\":[" TENSOR(",\"data\":[1,2]") "," TENSOR(",\"data\":[1,2]") "]}",
         "there are two inputs 'a'"},
        {"{\"inputs\":[{\"name\":\"a\",\"shape\":[-1],\"datatype\":\"FP32\",\"data\":[]}]}",
         "a negative dimension"},
        {"{\"inputs\":[{\"name\":\"a\",\"shape\":[1.5],\"datatype\":\"FP32\",\"data\":[]}]}",
         "not whole"},
        {"{\"inputs\":[{\"name\":\"a\",\"shape\":[4294967296,4294967296],\"datatype\":\"FP32\","
         "\"data\":[]}]}",
         "a shape with too many elements"},
        {"{\"inputs\":[{\"name\":\"a\",\"shape\":[1000000000,1000000000],\"datatype\":\"FP32\","
         "\"data\":[1]}]}",
         "the data has fewer elements than the shape of input 'a'"},
        {"{\"inputs\":[{\"name\":\"a\",\"shape\":[1,1,1,1,1,1,1,1,1],\"datatype\":\"FP32\","
         "\"data\":[1]}]}",
         "more than 8 dimensions"},
        {"{\"inputs\":[{\"name\":\"a\\u0000b\"}]}", "a NUL"},
        {"{\"inputs\":[" TENSOR(",\"data\":[1,2]") "],\"inputs\":[]}", "'inputs' stands twice"},
        {"{\"inputs\":[" TENSOR(",\"data\":[1,2]") "],\"outputs\":[{}]}",
         "an output has no 'name'"},
        {"{\"inputs\":[" TENSOR(",\"data\":[1,2]") "],\"outputs\":[{\"name\":\"o\"},"
                                                   "{\"name\":\"o\"}]}",
         "there are two outputs 'o'"},
        {"{\"inputs\":[" TENSOR(",\"data\":[1,2]") "],\"outputs\":[{\"name\":\"o\","
                                                   "\"parameters\":{\"classification\":3}}]}",
         "classification is not supported"},
        {"{\"inputs\":[" TENSOR(",\"data\":[1,2]") "],\"id\":7}", "a string is missing"},
        {"{\"inputs\":[" TENSOR(",\"data\":[1,2]") "],\"parameters\":{\"timeout\":-1}}",
         "the timeout is negative"},
        {"{\"inputs\":[" TENSOR(",\"data\":[1,2]") "]} x", "something behind the end"},
        {"{\"inputs\":[" TENSOR(",\"data\":[1,2]") "]", "a comma or } is missing"},
        {"{\"inputs\":[" TENSOR(",\"data\":[1,2") "]}", "a comma or ] is missing"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_kserve_request request;
        nx_error err = {0};
        assert_int_equal(parse(cases[i].text, &request, &err), NX_ERR_INVALID);
        assert_int_equal(err.status, NX_ERR_INVALID);
        nx_assert_contains(err.message, cases[i].why);
        nx_kserve_request_free(&request);
    }
}

static void counts_are_bounded(void **state)
{
    (void)state;
    static const char *const kinds[] = {"inputs", "outputs"};
    for (size_t k = 0; k < NX_COUNT(kinds); k++) {
        nx_buffer text = NX_BUFFER_INIT;
        nx_buffer_printf(&text, "{\"%s\":[", kinds[k]);
        for (int i = 0; i <= NX_KSERVE_MAX_TENSORS; i++) {
            nx_buffer_printf(&text,
                             "%s{\"name\":\"%d\",\"shape\":[1],\"datatype\":\"INT8\",\"data\":[1]}",
                             i > 0 ? "," : "", i);
        }
        nx_buffer_append_str(&text, "]}");
        nx_kserve_request request;
        nx_error err = {0};
        assert_int_equal(parse(nx_buffer_cstr(&text), &request, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, "more than 64");
        nx_kserve_request_free(&request);
        nx_buffer_free(&text);
    }
    nx_buffer text = NX_BUFFER_INIT;
    nx_buffer_append_str(&text, "{\"parameters\":{");
    for (int i = 0; i <= NX_KSERVE_MAX_PARAMETERS; i++) {
        nx_buffer_printf(&text, "%s\"p%d\":1", i > 0 ? "," : "", i);
    }
    nx_buffer_append_str(&text, "}}");
    nx_kserve_request request;
    nx_error err = {0};
    assert_int_equal(parse(nx_buffer_cstr(&text), &request, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "too many parameters");
    nx_kserve_request_free(&request);
    nx_buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_tensors_in_json),
        cmocka_unit_test(cuts_binary_data),
        cmocka_unit_test(refuses_what_is_wrong),
        cmocka_unit_test(counts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
