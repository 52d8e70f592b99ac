/* Which traces are kept, what a span holds, and a queue that never waits for its reader. */
#include "testing.h"

#include "base/clock.h"
#include "base/tracer.h"

#include <pthread.h>
#include <string.h>

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN  "00f067aa0ba902b7"

static nx_tracer *make(nx_sampler sampler, double ratio, size_t capacity, size_t batch)
{
    nx_tracer *tracer = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_tracer_new(sampler, ratio, capacity, batch, &tracer, &err), err);
    return tracer;
}

static bool decides(nx_sampler sampler, double ratio, const char *traceparent)
{
    nx_tracer *tracer = make(sampler, ratio, 1, 1);
    nx_trace trace = nx_trace_continue(traceparent);
    nx_tracer_decide(tracer, &trace);
    assert_int_equal(nx_tracer_keeps(tracer, &trace), trace.sampled);
    nx_tracer_free(tracer);
    return trace.sampled;
}

static void samplers_have_their_names(void **state)
{
    (void)state;
    nx_sampler sampler = NX_SAMPLER_ALWAYS_OFF;
    assert_true(nx_sampler_parse("parentbased_traceidratio", &sampler));
    assert_int_equal(sampler, NX_SAMPLER_PARENT_RATIO);
    assert_true(nx_sampler_parse("always_on", &sampler));
    assert_int_equal(sampler, NX_SAMPLER_ALWAYS_ON);
    assert_false(nx_sampler_parse("jaeger_remote", &sampler));
    assert_int_equal(sampler, NX_SAMPLER_ALWAYS_ON);
}

static void a_parent_decides_where_the_sampler_asks_it(void **state)
{
    (void)state;
    static const char kept[] = "00-" TRACE "-" SPAN "-01";
    static const char not_kept[] = "00-" TRACE "-" SPAN "-00";
    const struct {
        nx_sampler sampler;
        bool kept, not_kept, none;
    } cases[] = {
        {NX_SAMPLER_ALWAYS_ON, true, true, true},      {NX_SAMPLER_ALWAYS_OFF, false, false, false},
        {NX_SAMPLER_PARENT_ON, true, false, true},     {NX_SAMPLER_PARENT_OFF, true, false, false},
        {NX_SAMPLER_PARENT_RATIO, true, false, false}, /* with a ratio of 0 */
        {NX_SAMPLER_RATIO, false, false, false},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        assert_int_equal(decides(cases[i].sampler, 0, kept), cases[i].kept);
        assert_int_equal(decides(cases[i].sampler, 0, not_kept), cases[i].not_kept);
        assert_int_equal(decides(cases[i].sampler, 0, NULL), cases[i].none);
    }
    /* without a tracer what came goes on as it is, and nothing is made of it */
    nx_trace trace = nx_trace_continue(kept);
    nx_tracer_decide(NULL, &trace);
    assert_true(trace.sampled && !nx_tracer_keeps(NULL, &trace));
}

static void a_ratio_is_of_the_ids(void **state)
{
    (void)state;
    /* a quarter: those whose last 8 bytes are below a quarter of all */
    assert_true(decides(NX_SAMPLER_RATIO, 0.25, "00-4bf92f3577b34da63fffffffffffffff-" SPAN "-00"));
    assert_false(
        decides(NX_SAMPLER_RATIO, 0.25, "00-4bf92f3577b34da64000000000000000-" SPAN "-00"));
    assert_true(decides(NX_SAMPLER_RATIO, 1, "00-4bf92f3577b34da6ffffffffffffffff-" SPAN "-00"));
    assert_false(decides(NX_SAMPLER_RATIO, 0, "00-4bf92f3577b34da60000000000000001-" SPAN "-00"));
    int kept = 0;
    for (int i = 0; i < 4000; i++) {
        kept += decides(NX_SAMPLER_PARENT_RATIO, 0.25, NULL);
    }
    assert_in_range(kept, 800, 1200); /* seven deviations either way */
}

static void a_span_takes_what_has_room(void **state)
{
    (void)state;
    char longer[NX_SPAN_TEXT + 10];
    nx_span span;
    const nx_trace trace = nx_trace_continue("00-" TRACE "-" SPAN "-01");
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    nx_span_begin(&span, &trace, NX_SPAN_SERVER, "GET /", 5);
    assert_string_equal(span.trace, TRACE);
    assert_string_equal(span.parent, SPAN);
    assert_string_equal(span.id, trace.span);
    nx_span_set_text(&span, "none", NULL);
    nx_span_set_text(&span, "a", "b");
    nx_span_set_number(&span, "n", -3);
    nx_span_set_text(&span, "long", longer);
    nx_span_set_text(&span, "late", "no room");
    assert_int_equal(span.attribute_count, 3);
    assert_string_equal(span.text, "GET /");
    assert_string_equal(span.text + span.attributes[0].text, "b");
    assert_true(span.attributes[1].number == -3 && span.attributes[1].text == NX_SPAN_TEXT);
    assert_int_equal(strlen(span.text + span.attributes[2].text), NX_SPAN_TEXT - 6 - 2 - 1);
    for (int i = 0; i < NX_SPAN_MAX_ATTRIBUTES; i++) {
        nx_span_set_number(&span, "more", i);
    }
    assert_int_equal(span.attribute_count, NX_SPAN_MAX_ATTRIBUTES);
    nx_span_begin_child(&span, &trace, NX_SPAN_INTERNAL, "queue", 5);
    assert_string_equal(span.parent, trace.span);
    assert_string_not_equal(span.id, trace.span);
    assert_int_equal(span.attribute_count, 0);
}

static void end_one(nx_tracer *tracer, const char *name)
{
    nx_span span;
    const nx_trace trace = nx_trace_begin();
    nx_span_begin(&span, &trace, NX_SPAN_INTERNAL, name, nx_clock_now_ns());
    nx_tracer_end(tracer, &span, nx_clock_now_ns());
}

static void what_finds_no_room_is_counted(void **state)
{
    (void)state;
    nx_span out[8];
    nx_tracer *tracer = make(NX_SAMPLER_ALWAYS_ON, 1, 3, 8);
    const int64_t before = nx_clock_unix_ns();
    end_one(tracer, "1");
    end_one(tracer, "2");
    assert_int_equal(nx_tracer_take(tracer, out, 1, 0), 1); /* that time is over */
    assert_string_equal(out[0].text, "1");
    assert_true(out[0].began_ns >= before - NX_NS_PER_SEC && out[0].ended_ns >= out[0].began_ns);
    for (int i = 0; i < 5; i++) {
        end_one(tracer, "more");
    }
    assert_int_equal(nx_tracer_dropped(tracer), 3);
    assert_int_equal(nx_tracer_take(tracer, out, 8, 0), 3);
    assert_string_equal(out[0].text, "2");
    nx_tracer_wake(tracer);
    assert_int_equal(nx_tracer_take(tracer, out, 8, INT64_MAX), 0);
    nx_tracer_free(tracer);
    nx_tracer_free(NULL);
    nx_tracer_wake(NULL);
    nx_tracer_end(NULL, out, 0);
    assert_int_equal(nx_tracer_dropped(NULL) + nx_tracer_take(NULL, out, 8, INT64_MAX), 0);
}

#define MAKERS 4
#define EACH   2000

static void *make_many(void *user)
{
    for (int i = 0; i < EACH; i++) {
        end_one(user, "many");
    }
    return NULL;
}

static void many_threads_lose_and_double_nothing(void **state)
{
    (void)state;
    nx_tracer *tracer = make(NX_SAMPLER_ALWAYS_ON, 1, 64, 16);
    pthread_t threads[MAKERS];
    nx_span out[16];
    uint64_t taken = 0;
    for (int i = 0; i < MAKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, make_many, tracer), 0);
    }
    while (taken + nx_tracer_dropped(tracer) < MAKERS * EACH) {
        taken += nx_tracer_take(tracer, out, NX_COUNT(out), nx_clock_now_ns() + NX_NS_PER_MS);
    }
    for (int i = 0; i < MAKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(taken + nx_tracer_dropped(tracer), MAKERS * EACH);
    nx_tracer_free(tracer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samplers_have_their_names),
        cmocka_unit_test(a_parent_decides_where_the_sampler_asks_it),
        cmocka_unit_test(a_ratio_is_of_the_ids),
        cmocka_unit_test(a_span_takes_what_has_room),
        cmocka_unit_test(what_finds_no_room_is_counted),
        cmocka_unit_test(many_threads_lose_and_double_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
