#include "testing.h"

#include "base/trace.h"

#define ID   "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static void a_traceparent_is_read(void **state)
{
    (void)state;
    nx_trace trace;
    assert_true(nx_trace_parse("00-" ID "-" SPAN "-01", &trace));
    assert_string_equal(trace.id, ID);
    assert_string_equal(trace.parent, SPAN);
    assert_string_equal(trace.span, "");
    assert_true(trace.sampled);
    assert_true(nx_trace_parse("00-" ID "-" SPAN "-00", &trace));
    assert_false(trace.sampled);
    /* flags that are not known yet are passed over */
    assert_true(nx_trace_parse("00-" ID "-" SPAN "-ff", &trace));
    assert_true(trace.sampled);
    assert_true(nx_trace_parse("00-" ID "-" SPAN "-fe", &trace));
    assert_false(trace.sampled);
    /* a version to come may say more */
    assert_true(nx_trace_parse("cc-" ID "-" SPAN "-01", &trace));
    assert_true(nx_trace_parse("cc-" ID "-" SPAN "-01-what-ever", &trace));
}

static void what_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const none[] = {
        "",
        "00",
        "00-",
        "00-" ID,
        "00-" ID "-",
        "00-" ID "-" SPAN,
        "00-" ID "-" SPAN "-",
        "00-" ID "-" SPAN "-0",
        "00-" ID "-" SPAN "-01-",
        "00-" ID "-" SPAN "-01-more",
        "00-" ID "-" SPAN "-01 ",
        " 00-" ID "-" SPAN "-01",
        "00-" ID "-" SPAN "-0g",
        "00-" ID "-" SPAN "-0A",
        "ff-" ID "-" SPAN "-01",
        "0-" ID "-" SPAN "-01",
        "000-" ID "-" SPAN "-01",
        "cc-" ID "-" SPAN "-01more",
        "00_" ID "-" SPAN "-01",
        "00-" ID "_" SPAN "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-" SPAN "-01",
        "00-4bf92f3577b34da6a3ce929d0e0e47360-" SPAN "-01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" ID "-0000000000000000-01",
        "00-" ID "-00f067aa0ba902b-01",
        "00-" ID "-00F067AA0BA902B7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473\xff-" SPAN "-01",
    };
    for (size_t i = 0; i < NX_COUNT(none); i++) {
        nx_trace trace = {.id = "x"};
        assert_false(nx_trace_parse(none[i], &trace));
        assert_string_equal(trace.id, "");
        assert_string_equal(trace.parent, "");
    }
    nx_trace trace;
    assert_false(nx_trace_parse(NULL, &trace));
}

static void a_trace_goes_on(void **state)
{
    (void)state;
    char text[NX_TRACE_SIZE];
    nx_trace first = nx_trace_continue("00-" ID "-" SPAN "-01");
    assert_string_equal(first.id, ID);
    assert_string_equal(first.parent, SPAN);
    assert_int_equal(strlen(first.span), 16);
    assert_string_not_equal(first.span, SPAN);
    nx_trace_write(&first, text);
    nx_trace second = nx_trace_continue(text);
    assert_string_equal(second.id, ID);
    assert_string_equal(second.parent, first.span);
    assert_true(second.sampled);
}

static void what_is_none_begins_another(void **state)
{
    (void)state;
    char text[NX_TRACE_SIZE];
    nx_trace read;
    nx_trace one = nx_trace_continue("00-" ID "-" SPAN "-0");
    nx_trace two = nx_trace_begin();
    assert_string_not_equal(one.id, ID);
    assert_string_not_equal(one.id, two.id);
    assert_string_not_equal(one.span, two.span);
    assert_string_equal(one.parent, "");
    nx_trace_write(&one, text);
    assert_true(nx_trace_parse(text, &read));
    assert_string_equal(read.id, one.id);
    assert_string_equal(read.parent, one.span);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_traceparent_is_read),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(a_trace_goes_on),
        cmocka_unit_test(what_is_none_begins_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
