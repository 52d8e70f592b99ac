#include "base/json_reader.h"
#include "testing.h"

#include <float.h>
#include <math.h>

static nx_json_reader begin(const char *text)
{
    return nx_json_reader_begin(text, strlen(text));
}

static void walks_a_document(void **state)
{
    (void)state;
    nx_json_reader r =
        begin(" {\"a\" : [1, -2.5e1 ,[ ]], \"b\":{\"c\":true},\"d\":null,\n\"e\":\"x\"} ");
    nx_json_span key;
    nx_json_num number;
    int64_t whole = 0;
    assert_int_equal(nx_json_peek(&r), NX_JSON_OBJECT);
    assert_true(nx_json_enter_object(&r));
    assert_true(nx_json_next_member(&r, &key));
    assert_true(nx_json_key_is(key, "a"));
    assert_false(nx_json_key_is(key, "ab"));
    assert_true(nx_json_enter_array(&r));
    assert_true(nx_json_next_element(&r));
    assert_true(nx_json_read_int(&r, &whole));
    assert_int_equal(whole, 1);
    assert_true(nx_json_next_element(&r));
    assert_true(nx_json_read_number(&r, &number));
    assert_true(nx_json_num_double(&number) == -25);
    assert_true(nx_json_next_element(&r));
    assert_true(nx_json_enter_array(&r));
    assert_false(nx_json_next_element(&r));
    assert_false(nx_json_next_element(&r));
    assert_true(nx_json_next_member(&r, &key));
    nx_json_span skipped;
    assert_true(nx_json_skip(&r, &skipped));
    assert_int_equal(skipped.size, strlen("{\"c\":true}"));
    assert_true(nx_json_next_member(&r, &key));
    assert_int_equal(nx_json_peek(&r), NX_JSON_NULL);
    assert_true(nx_json_skip(&r, NULL));
    assert_true(nx_json_next_member(&r, &key));
    nx_buffer text = NX_BUFFER_INIT;
    assert_true(nx_json_read_string(&r, &text));
    assert_string_equal(nx_buffer_cstr(&text), "x");
    assert_false(nx_json_next_member(&r, &key));
    assert_true(nx_json_at_end(&r));
    nx_buffer_free(&text);
}

static void skips_what_is_well_formed(void **state)
{
    (void)state;
    static const char *const good[] = {
        "0",
        "-0",
        "1.5E+3",
        "[]",
        "{}",
        "[[],{}]",
        "\"\"",
        "true",
        "false",
        "null",
        "[1,[2,[3,{\"a\":[4]}]],5]",
        "{\"a\":{\"b\":{}},\"a\":1}",
        "\"\\u00e9\\n\\/\"",
        "\"\xc3\xa9\"",
    };
    static const char *const bad[] = {
        "",          " ",        "01",         "1.",    ".5",   "-",        "+1",
        "1e",        "[1,]",     "[,1]",       "[1 2]", "[1",   "]",        "{\"a\"}",
        "{\"a\":}",  "{a:1}",    "{\"a\":1,}", "{1:2}", "\"",   "\"\\x\"",  "\"\\u12g4\"",
        "\"\n\"",    "\"\xff\"", "tru",        "nulls", "NaN",  "Infinity", "[1}",
        "{\"a\":1]", "1 1",      "[] []",      "'a'",   "\"\\", "\"\\u1",
    };
    for (size_t i = 0; i < NX_COUNT(good); i++) {
        nx_json_reader r = begin(good[i]);
        nx_json_span span;
        if (!nx_json_skip(&r, &span) || !nx_json_at_end(&r) || span.size != strlen(good[i])) {
            fail_msg("refused: %s", good[i]);
        }
    }
    for (size_t i = 0; i < NX_COUNT(bad); i++) {
        nx_json_reader r = begin(bad[i]);
        if (nx_json_skip(&r, NULL) && nx_json_at_end(&r)) {
            fail_msg("taken: %s", bad[i]);
        }
        nx_error err = {0};
        assert_int_equal(nx_json_reader_error(&r, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, " at byte ");
    }
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    char text[200];
    for (size_t depth = NX_JSON_MAX_DEPTH; depth <= NX_JSON_MAX_DEPTH + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        nx_json_reader r = nx_json_reader_begin(text, 2 * depth);
        assert_int_equal(nx_json_skip(&r, NULL), depth <= NX_JSON_MAX_DEPTH);
    }
}

static void strings_are_unescaped(void **state)
{
    (void)state;
    static const struct {
        const char *text, *value;
    } cases[] = {
        {"\"a\\\"b\\\\c\\/\\b\\f\\n\\r\\t\"", "a\"b\\c/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac"},
        {"\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!"},
        {"\"\\ud83d x\"", "\xef\xbf\xbd x"},
        {"\"\\ude00\\ud83d\"", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                               "A"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_json_reader r = begin(cases[i].text);
        nx_buffer out = NX_BUFFER_INIT;
        assert_true(nx_json_read_string(&r, &out));
        assert_true(nx_json_at_end(&r));
        assert_string_equal(nx_buffer_cstr(&out), cases[i].value);
        nx_buffer_free(&out);
    }
}

static void numbers_are_the_nearest_double(void **state)
{
    (void)state;
    static const char *const numbers[] = {
        "0",
        "1",
        "123456789012345678",
        "0.1",
        "3.4028235e38",
        "1e22",
        "1e23",
        "4.9e-324",
        "1e-400",
        "2.2250738585072011e-308",
        "9007199254740993",
        "0.30000000000000004",
        "123456789.123456789123456789",
        "1.7976931348623157e308",
        "8.5e-05",
        "-7.25E-1",
        "179769313486231580793728971405301199e273",
    };
    for (size_t i = 0; i < NX_COUNT(numbers); i++) {
        nx_json_reader r = begin(numbers[i]);
        nx_json_num number;
        assert_true(nx_json_read_number(&r, &number));
        double value = nx_json_num_double(&number);
        if (value != strtod(numbers[i], NULL)) {
            fail_msg("%s is read as %.17g", numbers[i], value);
        }
    }
    nx_json_reader r = begin("1e999");
    nx_json_num number;
    assert_true(nx_json_read_number(&r, &number));
    assert_true(isinf(nx_json_num_double(&number)));

    char digits[600];
    memset(digits, '7', sizeof digits);
    r = nx_json_reader_begin(digits, sizeof digits);
    assert_false(nx_json_read_number(&r, &number));
}

static void floats_are_rounded_once(void **state)
{
    (void)state;
    uint32_t bits = 1;
    char text[64];
    for (int i = 0; i < 200000; i++) {
        bits = bits * 1664525U + 1013904223U;
        float value = 0;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) {
            continue;
        }
        static const int digits[] = {17, 9, 19};
        snprintf(text, sizeof text, "%.*g", digits[i % 3], (double)value);
        nx_json_reader r = begin(text);
        nx_json_num number;
        assert_true(nx_json_read_number(&r, &number));
        if (nx_json_num_float(&number) != value) {
            fail_msg("%s is read as %.9g", text, (double)nx_json_num_float(&number));
        }
    }
    /* halfway between two floats, and a little beside it */
    static const char *const near[] = {"1.000000059604644775", "1.0000000596046447754",
                                       "1.0000000596046447755", "16777217", "16777217.000000001"};
    for (size_t i = 0; i < NX_COUNT(near); i++) {
        nx_json_reader r = begin(near[i]);
        nx_json_num number;
        assert_true(nx_json_read_number(&r, &number));
        assert_true(nx_json_num_float(&number) == (float)strtod(near[i], NULL));
    }
}

static void integers_have_64_bits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool taken;
        int64_t value;
    } cases[] = {
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"1.0", false, 0},
        {"1e2", false, 0},
        {"-0", true, 0},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_json_reader r = begin(cases[i].text);
        int64_t value = 0;
        assert_int_equal(nx_json_read_int(&r, &value), cases[i].taken);
        if (cases[i].taken) {
            assert_int_equal(value, cases[i].value);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_a_document),
        cmocka_unit_test(skips_what_is_well_formed),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(numbers_are_the_nearest_double),
        cmocka_unit_test(floats_are_rounded_once),
        cmocka_unit_test(integers_have_64_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
