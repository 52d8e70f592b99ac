#include "testing.h"

#include "base/buffer.h"

static void grows_with_what_is_appended(void **state)
{
    (void)state;
    nx_buffer buffer = NX_BUFFER_INIT;
    assert_string_equal(nx_buffer_cstr(&buffer), "");
    nx_buffer_append(&buffer, "ab", 2);
    nx_buffer_append_str(&buffer, "cd");
    nx_buffer_append_char(&buffer, 'e');
    nx_buffer_printf(&buffer, "-%03d-%s", 7, "f");
    assert_string_equal(nx_buffer_cstr(&buffer), "abcde-007-f");
    assert_int_equal(buffer.size, 11);
    nx_buffer_append(&buffer, NULL, 0);
    assert_int_equal(buffer.size, 11);
    for (int i = 0; i < 100000; i++) {
        nx_buffer_append_char(&buffer, (char)('0' + i % 10));
    }
    assert_int_equal(buffer.size, 100011);
    assert_memory_equal(buffer.data + 100001, "0123456789", 10);
    nx_buffer_free(&buffer);
    assert_null(buffer.data);
    nx_buffer_free(&buffer);
    nx_buffer_free(NULL);
}

static void cstr_adds_nothing_to_the_size(void **state)
{
    (void)state;
    nx_buffer buffer = NX_BUFFER_INIT;
    char bytes[128]; /* the first capacity to the byte */
    memset(bytes, 'x', sizeof bytes);
    nx_buffer_append(&buffer, bytes, sizeof bytes);
    assert_int_equal(strlen(nx_buffer_cstr(&buffer)), 128);
    assert_int_equal(buffer.size, 128);
    nx_buffer_append_char(&buffer, 'y');
    assert_int_equal(nx_buffer_cstr(&buffer)[128], 'y');
    nx_buffer_free(&buffer);
}

static void printf_fills_a_line_of_any_length(void **state)
{
    (void)state;
    for (int length = 120; length < 140; length++) {
        nx_buffer buffer = NX_BUFFER_INIT;
        nx_buffer_printf(&buffer, "%*d", length, 5);
        assert_int_equal(buffer.size, length);
        assert_int_equal(nx_buffer_cstr(&buffer)[length - 1], '5');
        nx_buffer_free(&buffer);
    }
}

static void printable_text_has_no_controls(void **state)
{
    (void)state;
    nx_buffer buffer = NX_BUFFER_INIT;
    nx_buffer_append_printable(&buffer, "a\nb\x1b[31m\x7f \t~caf\xC3\xA9");
    assert_string_equal(nx_buffer_cstr(&buffer), "a?b?[31m? ?~caf\xC3\xA9");
    nx_buffer_free(&buffer);
}

static void failure_sticks_until_cleared(void **state)
{
    (void)state;
    nx_buffer buffer = NX_BUFFER_INIT;
    nx_buffer_append_str(&buffer, "abc");
    assert_false(nx_buffer_reserve(&buffer, SIZE_MAX)); /* the sum does not fit */
    assert_true(buffer.failed);
    nx_buffer_append_str(&buffer, "def");
    nx_buffer_printf(&buffer, "%d", 1);
    assert_int_equal(buffer.size, 3);
    assert_string_equal(nx_buffer_cstr(&buffer), "");
    nx_buffer_clear(&buffer);
    nx_buffer_append_str(&buffer, "def");
    assert_false(buffer.failed);
    assert_string_equal(nx_buffer_cstr(&buffer), "def");
    nx_buffer_free(&buffer);
}

static void refuses_more_memory_than_there_is(void **state)
{
    (void)state;
    nx_buffer buffer = NX_BUFFER_INIT;
    nx_buffer_append_str(&buffer, "abc");
    assert_false(nx_buffer_reserve(&buffer, SIZE_MAX / 2)); /* no machine has it */
    assert_true(buffer.failed);
    nx_buffer_clear(&buffer);
    nx_buffer_append_str(&buffer, "still usable");
    assert_string_equal(nx_buffer_cstr(&buffer), "still usable");
    nx_buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_with_what_is_appended),
        cmocka_unit_test(cstr_adds_nothing_to_the_size),
        cmocka_unit_test(printf_fills_a_line_of_any_length),
        cmocka_unit_test(printable_text_has_no_controls),
        cmocka_unit_test(failure_sticks_until_cleared),
        cmocka_unit_test(refuses_more_memory_than_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
