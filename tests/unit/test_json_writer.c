#include "testing.h"

#include "base/json_writer.h"

#include <jansson.h>
#include <math.h>

static void nesting_and_commas(void **state)
{
    (void)state;
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "name", "bus.jpg");
    nx_json_key_int(&json, "count", -3);
    nx_json_key_bool(&json, "ok", true);
    nx_json_key_number(&json, "score", 0.875, 4);
    nx_json_key(&json, "list");
    nx_json_array_begin(&json);
    nx_json_int(&json, 1);
    nx_json_array_begin(&json);
    nx_json_array_end(&json);
    nx_json_object_begin(&json);
    nx_json_object_end(&json);
    nx_json_bool(&json, false);
    nx_json_raw(&json, "{\"a\":1}", 7);
    nx_json_null(&json);
    nx_json_array_end(&json);
    nx_json_key_string(&json, "none", NULL);
    nx_json_object_end(&json);
    assert_string_equal(nx_buffer_cstr(&out),
                        "{\"name\":\"bus.jpg\",\"count\":-3,\"ok\":true,\"score\":0.875,"
                        "\"list\":[1,[],{},false,{\"a\":1},null],\"none\":null}");
    nx_buffer_free(&out);
}

static const char *as_string(nx_buffer *out, const char *text, size_t size)
{
    nx_buffer_clear(out);
    nx_json json = nx_json_begin(out);
    nx_json_string_n(&json, text, size);
    return nx_buffer_cstr(out);
}

static void strings_are_escaped(void **state)
{
    (void)state;
    nx_buffer out = NX_BUFFER_INIT;
    assert_string_equal(as_string(&out, "", 0), "\"\"");
    assert_string_equal(as_string(&out, "a\"b\\c/d", 7), "\"a\\\"b\\\\c/d\"");
    assert_string_equal(as_string(&out, "\n\r\t\x01\x1f", 5), "\"\\n\\r\\t\\u0001\\u001f\"");
    assert_string_equal(as_string(&out, "a\0b", 3), "\"a\\u0000b\"");
    assert_string_equal(as_string(&out, "caf\xC3\xA9", 5), "\"caf\xC3\xA9\"");
    nx_buffer_free(&out);
}

#define REPLACED "\xEF\xBF\xBD"

static void invalid_utf8_is_replaced(void **state)
{
    (void)state;
    nx_buffer out = NX_BUFFER_INIT;
    assert_string_equal(as_string(&out,
                                  "a\xFF"
                                  "b",
                                  3),
                        "\"a" REPLACED "b\"");
    assert_string_equal(as_string(&out, "\xE2\x82", 2), "\"" REPLACED REPLACED "\""); /* cut */
    assert_string_equal(as_string(&out, "\xED\xA0\x80", 3),
                        "\"" REPLACED REPLACED REPLACED "\""); /* a surrogate */
    nx_buffer_free(&out);
}

/* Whatever the bytes: jansson, which is strict, reads it back. */
static void any_bytes_give_valid_json(void **state)
{
    (void)state;
    nx_buffer out = NX_BUFFER_INIT;
    uint32_t random = 1;
    for (int round = 0; round < 2000; round++) {
        char bytes[24];
        for (size_t i = 0; i < sizeof bytes; i++) {
            random = random * 1664525 + 1013904223;
            bytes[i] = (char)(random >> 24 != 0 ? random >> 24 : 1);
        }
        (void)as_string(&out, bytes, sizeof bytes);
        json_error_t problem;
        json_t *value = json_loadb(out.data, out.size, JSON_DECODE_ANY, &problem);
        if (value == NULL) {
            fail_msg("%s in %s", problem.text, nx_buffer_cstr(&out));
        }
        json_decref(value);
    }
    nx_buffer_free(&out);
}

static const char *as_number(nx_buffer *out, double value, int decimals)
{
    nx_buffer_clear(out);
    nx_json json = nx_json_begin(out);
    nx_json_number(&json, value, decimals);
    return nx_buffer_cstr(out);
}

static void numbers_are_rounded_and_short(void **state)
{
    (void)state;
    static const struct {
        double value;
        int decimals;
        const char *text;
    } cases[] = {
        {0, 0, "0"},
        {-0.0, 3, "0"},
        {1.5, 0, "2"},
        {-1.5, 0, "-2"},
        {0.1, 1, "0.1"},
        {0.05, 1, "0.1"},
        {-0.04, 1, "0"},
        {12.3456, 2, "12.35"},
        {12.30, 2, "12.3"},
        {100, 4, "100"},
        {0.0001, 4, "0.0001"},
        {999.99996, 4, "1000"},
        {123456789.125, 3, "123456789.125"},
        {1e-9, 9, "0.000000001"},
        {8.9e18, 0, "8900000000000000000"},
        {1e300, 2, "1.0000000000000001e+300"},
        {-1e19, 0, "-1e+19"},
        {(double)NAN, 2, "null"},
        {(double)INFINITY, 2, "null"},
        {-(double)INFINITY, 0, "null"},
    };
    nx_buffer out = NX_BUFFER_INIT;
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        assert_string_equal(as_number(&out, cases[i].value, cases[i].decimals), cases[i].text);
    }
    nx_buffer_free(&out);
}

/* Against printf: never further from the value than half of the last digit. */
static void numbers_agree_with_printf(void **state)
{
    (void)state;
    nx_buffer out = NX_BUFFER_INIT;
    uint32_t random = 7;
    for (int round = 0; round < 20000; round++) {
        random = random * 1664525 + 1013904223;
        int decimals = round % 10;
        double value = ((double)random - 2147483648.0) / pow(10, round % 8);
        double read = strtod(as_number(&out, value, decimals), NULL);
        assert_true(fabs(read - value) <= 0.5000001 * pow(10, -decimals) + fabs(value) * 1e-15);
    }
    nx_buffer_free(&out);
}

static void integers_reach_both_ends(void **state)
{
    (void)state;
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_array_begin(&json);
    nx_json_int(&json, INT64_MIN);
    nx_json_int(&json, INT64_MAX);
    nx_json_int(&json, 0);
    nx_json_array_end(&json);
    assert_string_equal(nx_buffer_cstr(&out), "[-9223372036854775808,9223372036854775807,0]");
    nx_buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesting_and_commas),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(invalid_utf8_is_replaced),
        cmocka_unit_test(any_bytes_give_valid_json),
        cmocka_unit_test(numbers_are_rounded_and_short),
        cmocka_unit_test(numbers_agree_with_printf),
        cmocka_unit_test(integers_reach_both_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
