#include "testing.h"

#include "base/buffer.h"
#include "engine/class_names.h"
#include "vision/postprocess.h"

/* Parses a copy that ends where its allocation ends, so that ASan sees every read beyond. */
static nx_status parse_bytes(const char *text, size_t size, nx_name_table *out, nx_error *err)
{
    char *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy + 1, text, size);
    nx_status status =
        nx_class_names_parse((nx_onnx_text){.text = copy + 1, .size = size}, out, err);
    free(copy);
    return status;
}

static nx_name_table parsed(const char *text)
{
    nx_name_table table;
    nx_error err = {0};
    nx_assert_ok(parse_bytes(text, strlen(text), &table, &err), err);
    return table;
}

static void refuses(const char *text, const char *message)
{
    nx_name_table table = {.count = 1};
    nx_error err = {0};
    assert_int_equal(parse_bytes(text, strlen(text), &table, &err), NX_ERR_CORRUPT);
    assert_null(table.names);
    assert_int_equal(table.count, 0);
    assert_string_equal(err.message, message);
}

static void python_and_json_say_the_same(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{0: 'person', 1: 'sports ball', 2: 'bus'}",
        "{0:'person',1:\"sports ball\",2:'bus',}",
        "{\"0\": \"person\", \"1\": \"sports ball\", \"2\": \"bus\"}",
        "{'2': 'bus', '0': 'person', '1': 'sports ball'}",
        "['person', 'sports ball', 'bus']",
        "[\"person\",\"sports ball\",\"bus\",]",
        " \n{ 0 : 'person' ,\t1 : 'sports ball' , 2:'bus' } \n",
        "{000: 'person', 01: 'sports ball', 2: 'bus'}",
    };
    for (size_t i = 0; i < NX_COUNT(texts); i++) {
        nx_name_table table = parsed(texts[i]);
        assert_int_equal(table.count, 3);
        assert_string_equal(table.names[0], "person");
        assert_string_equal(table.names[1], "sports ball");
        assert_string_equal(table.names[2], "bus");
        nx_name_table_free(&table);
        assert_null(table.names);
    }
    nx_name_table_free(NULL);
}

static void escapes_stand_for_characters(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name;
    } cases[] = {
        {"['it\\'s']", "it's"},
        {"[\"it's\"]", "it's"},
        {"['say \\\"x\\\"']", "say \"x\""},
        {"['a\\\\b\\/c']", "a\\b/c"},
        {"['a\\nb\\tc']", "a\nb\tc"},
        {"['caf\\xe9']", "caf\xC3\xA9"},
        {"['caf\\u00E9']", "caf\xC3\xA9"},
        {"['\\u0041\\u20ac']", "A\xE2\x82\xAC"},
        {"['\\ud83d\\ude8c!']", "\xF0\x9F\x9A\x8C!"},
        {"['\\U0001f68c']", "\xF0\x9F\x9A\x8C"},
        {"['caf\xC3\xA9']", "caf\xC3\xA9"},
        {"['{0: x}, [']", "{0: x}, ["},
        {"['']", ""},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_name_table table = parsed(cases[i].text);
        assert_int_equal(table.count, 1);
        assert_string_equal(table.names[0], cases[i].name);
        nx_name_table_free(&table);
    }
}

static void bad_escapes_are_located(void **state)
{
    (void)state;
    refuses("['\\xg0']", "the class names are damaged at byte 4: an escape without its hexadecimal "
                         "digits");
    refuses("['\\u12']", "the class names are damaged at byte 6: an escape without its hexadecimal "
                         "digits");
    refuses("['\\u", "the class names are damaged at byte 4: an escape without its hexadecimal "
                     "digits");
    refuses("['\\ud83d']", "the class names are damaged at byte 8: an escape that is no character");
    refuses("['\\ude8c\\ud83d']",
            "the class names are damaged at byte 8: an escape that is no character");
    refuses("['\\ud83d\\u0041']", "the class names are damaged at byte 14: half a surrogate pair");
    refuses("['\\ud83d\\uzzzz']", "the class names are damaged at byte 10: half a surrogate pair");
    refuses("['\\U00110000']",
            "the class names are damaged at byte 12: an escape that is no character");
    refuses("['\\x00']", "the class names are damaged at byte 6: a name with a NUL byte");
    refuses("['\\", "the class names are damaged at byte 3: a name without a closing quote");
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    refuses("", "the class names are damaged at byte 0: '{' or '[' was expected");
    refuses("person", "the class names are damaged at byte 0: '{' or '[' was expected");
    refuses("{}", "the list of class names is empty");
    refuses("[]", "the list of class names is empty");
    refuses("{0: 'a', 0: 'b'}",
            "the class names are damaged at byte 15: a class number that occurs twice");
    refuses("{0: 'a', 2: 'b'}", "the class names have 2 entries but none for class 1");
    refuses("{1: 'a', 2: 'b'}", "the class names have 2 entries but none for class 0");
    refuses("{0: 'a'", "the class names are damaged at byte 7: ',' or the end of the list was "
                       "expected");
    refuses("{0: 'a',", "the class names are damaged at byte 8: a class number below 1024 was "
                        "expected");
    refuses("{0: 'a' 1: 'b'}", "the class names are damaged at byte 8: ',' or the end of the list "
                               "was expected");
    refuses("{0: 'a']", "the class names are damaged at byte 7: ',' or the end of the list was "
                        "expected");
    refuses("{0 'a'}", "the class names are damaged at byte 3: ':' was expected");
    refuses("{'0: 'a'}", "the class names are damaged at byte 3: a class number without a closing "
                         "quote");
    refuses("{0: a}", "the class names are damaged at byte 4: a quoted name was expected");
    refuses("{0: 'a}", "the class names are damaged at byte 7: a name without a closing quote");
    refuses("{-1: 'a'}", "the class names are damaged at byte 1: a class number below 1024 was "
                         "expected");
    refuses("{a: 'a'}", "the class names are damaged at byte 1: a class number below 1024 was "
                        "expected");
    refuses("['a'] x", "the class names are damaged at byte 6: something follows the list");
    refuses("[,]", "the class names are damaged at byte 1: a quoted name was expected");
    refuses("['a',,'b']", "the class names are damaged at byte 5: a quoted name was expected");
}

static void long_names_are_refused(void **state)
{
    (void)state;
    char text[300];
    snprintf(text, sizeof text, "['%0*d']", 255, 1);
    nx_name_table table = parsed(text);
    assert_int_equal(strlen(table.names[0]), 255);
    nx_name_table_free(&table);
    snprintf(text, sizeof text, "['%0*d']", 256, 1);
    refuses(text, "the class names are damaged at byte 258: a name of over 255 bytes");
}

static void there_are_at_most_1024(void **state)
{
    (void)state;
    for (int dict = 0; dict < 2; dict++) {
        nx_buffer text = NX_BUFFER_INIT;
        nx_buffer_append_char(&text, dict ? '{' : '[');
        for (int i = 0; i < NX_MAX_CLASSES; i++) {
            if (dict) { /* the last first */
                nx_buffer_printf(&text, "%d: ", NX_MAX_CLASSES - 1 - i);
            }
            nx_buffer_printf(&text, "'n%d',", i);
        }
        size_t full = text.size;
        nx_buffer_append_char(&text, dict ? '}' : ']');
        nx_name_table table = parsed(nx_buffer_cstr(&text));
        assert_int_equal(table.count, 1024);
        assert_string_equal(table.names[dict ? 0 : 1023], "n1023");
        nx_name_table_free(&table);
        text.size = full;
        nx_buffer_append_str(&text, dict ? "1024: 'x'}" : "'x']");
        nx_error err = {0};
        assert_int_equal(parse_bytes(text.data, text.size, &table, &err), NX_ERR_CORRUPT);
        nx_assert_contains(err.message, dict ? "a class number below 1024" : "more than 1024");
        nx_buffer_free(&text);
    }
    refuses("{99999999999999999999999: 'a'}",
            "the class names are damaged at byte 5: a class number below 1024 was expected");
}

static void a_cut_at_any_byte_is_noticed(void **state)
{
    (void)state;
    static const char text[] = "{0: 'person', \"1\": \"it\\u00e9s\\ud83d\\ude8c\", 2: 'bus'}";
    for (size_t size = 0; size < sizeof text - 1; size++) {
        nx_name_table table;
        nx_error err = {0};
        assert_int_equal(parse_bytes(text, size, &table, &err), NX_ERR_CORRUPT);
        assert_true(err.message[0] != '\0');
        assert_null(table.names);
    }
    nx_name_table table = parsed(text);
    assert_int_equal(table.count, 3);
    nx_name_table_free(&table);
}

static void nul_bytes_are_refused(void **state)
{
    (void)state;
    nx_name_table table;
    nx_error err = {0};
    assert_int_equal(parse_bytes("['a\0b']", 7, &table, &err), NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "a name with a NUL byte");
}

static void classes_without_names_are_numbered(void **state)
{
    (void)state;
    nx_name_table table;
    nx_error err = {0};
    nx_assert_ok(nx_class_names_number(80, &table, &err), err);
    assert_int_equal(table.count, 80);
    assert_string_equal(table.names[0], "class_0");
    assert_string_equal(table.names[79], "class_79");
    nx_name_table_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(python_and_json_say_the_same),
        cmocka_unit_test(escapes_stand_for_characters),
        cmocka_unit_test(bad_escapes_are_located),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(long_names_are_refused),
        cmocka_unit_test(there_are_at_most_1024),
        cmocka_unit_test(a_cut_at_any_byte_is_noticed),
        cmocka_unit_test(nul_bytes_are_refused),
        cmocka_unit_test(classes_without_names_are_numbered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
