#include "testing.h"

#include "base/error.h"

#include <errno.h>

static void set_fills_and_returns(void **state)
{
    (void)state;
    nx_error err = {0};
    assert_int_equal(nx_error_set(&err, NX_ERR_CORRUPT, "byte %d of %s", 7, "x.onnx"),
                     NX_ERR_CORRUPT);
    assert_int_equal(err.status, NX_ERR_CORRUPT);
    assert_string_equal(err.message, "byte 7 of x.onnx");
    assert_int_equal(nx_error_set(NULL, NX_ERR_IO, "nobody listens"), NX_ERR_IO);
}

static void errno_text_follows_a_colon(void **state)
{
    (void)state;
    nx_error err = {0};
    assert_int_equal(nx_error_set_errno(&err, NX_ERR_IO, ENOSPC, "cannot write %s", "/a/b"),
                     NX_ERR_IO);
    assert_string_equal(err.message, "cannot write /a/b: No space left on device");
    assert_int_equal(nx_error_set_errno(NULL, NX_ERR_IO, ENOSPC, "x"), NX_ERR_IO);
}

static void long_messages_are_cut_and_stay_strings(void **state)
{
    (void)state;
    char path[2000];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    nx_error err = {0};
    nx_error_set(&err, NX_ERR_IO, "%s", path);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    nx_error_set_errno(&err, NX_ERR_IO, ENOENT, "%s", path);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    nx_error_prefix(&err, "%s", path);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void prefix_keeps_status_and_message(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_error_set(&err, NX_ERR_NOT_FOUND, "no such class");
    assert_int_equal(nx_error_prefix(&err, "%s:%d", "file", 3), NX_ERR_NOT_FOUND);
    assert_string_equal(err.message, "file:3: no such class");
}

/* The room for the old message at each length of the prefix, up to one that leaves none. */
static void prefix_fits_at_every_length(void **state)
{
    (void)state;
    char prefix[sizeof(((nx_error *)0)->message) + 10];
    for (size_t length = 0; length < sizeof prefix; length++) {
        nx_error err = {0};
        memset(prefix, 'p', length);
        prefix[length] = '\0';
        nx_error_set(&err, NX_ERR_IO, "%s", "abc");
        nx_error_prefix(&err, "%s", prefix);
        char expected[2 * sizeof prefix];
        snprintf(expected, sizeof expected, "%s: abc", prefix);
        size_t shown = strlen(err.message);
        assert_true(shown < sizeof err.message);
        assert_memory_equal(err.message, expected, shown);
        /* all of it whenever it fits */
        assert_true(shown == strlen(expected) || shown + 3 >= sizeof err.message);
    }
}

static void every_status_has_its_own_name(void **state)
{
    (void)state;
    for (int i = 0; i <= NX_ERR_INTERNAL; i++) {
        const char *name = nx_status_name((nx_status)i);
        assert_true(strlen(name) > 0);
        assert_string_not_equal(name, "unknown");
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(name, nx_status_name((nx_status)j));
        }
    }
    assert_string_equal(nx_status_name(NX_ERR_TOO_LARGE), "too_large");
    assert_string_equal(nx_status_name((nx_status)(NX_ERR_INTERNAL + 1)), "unknown");
    assert_string_equal(nx_status_name((nx_status)-1), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_and_returns),
        cmocka_unit_test(errno_text_follows_a_colon),
        cmocka_unit_test(long_messages_are_cut_and_stay_strings),
        cmocka_unit_test(prefix_keeps_status_and_message),
        cmocka_unit_test(prefix_fits_at_every_length),
        cmocka_unit_test(every_status_has_its_own_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
