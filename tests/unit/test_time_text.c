#include "testing.h"

#include "base/time_text.h"

static void times_are_written(void **state)
{
    (void)state;
    char text[NX_TIME_TEXT_SIZE];
    nx_time_text(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    nx_time_text(INT64_C(1709210096007), text); /* a leap day */
    assert_string_equal(text, "2024-02-29T12:34:56.007Z");
    nx_time_text_seconds(INT64_C(1709210096), text);
    assert_string_equal(text, "2024-02-29T12:34:56Z");
    nx_time_text_seconds(INT64_C(253402300799), text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
}

static void times_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"2024-02-29", INT64_C(1709164800000)},
        {"2024-02-29T12:34:56Z", INT64_C(1709210096000)},
        {"2024-02-29 12:34:56.0079Z", INT64_C(1709210096007)},
        {"90s", 910000},
        {"15m", 100000},
        {"0h", 1000000},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t ms = -1;
        nx_error err = {0};
        nx_assert_ok(nx_time_parse(good[i].text, 1000000, &ms, &err), err);
        assert_int_equal(ms, good[i].ms);
    }
}

static void others_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",    "yesterday", "2024-13-01", "2024-02-29T12:34:56",
                                        "15x", "h",         "1234567s",   "2024-02-29T12:34:56.Z"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int64_t ms = 0;
        nx_error err = {0};
        assert_int_equal(nx_time_parse(wrong[i], 1000000, &ms, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, "24h");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_written),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
