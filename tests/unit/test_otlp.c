/* Traces on their way to a collector, which here is our own HTTP server: what it is told, and what
 * becomes of spans when it answers no, later, or never. The e2e test decodes them by the official
 * protobuf definitions. */
#include "testing.h"

#include "base/clock.h"
#include "base/condition.h"
#include "http/server.h"
#include "ops/otlp.h"
#include "ops/otlp_json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LONG_NS     (60 * NX_NS_PER_SEC)
#define MOST_POSTS  16
#define ANSWER_HANG 1 /* no status: never */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    nx_http_server *server;
    int answers[MOST_POSTS]; /* the last one for ever */
    size_t answer_count;
    const char *retry_after;
    const char *reply;
    size_t posts;
    int64_t at_ns[MOST_POSTS];
    char *body; /* of the last */
    char key[64], type[64];
} there = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Who hung is answered when nobody waits any more. */
static void answer_late(nx_http_request *request, void *user)
{
    (void)user;
    nx_http_reply_static(request, 200, NULL, "", 0);
}

static void collect(nx_http_request *request, void *user)
{
    (void)user;
    nx_http_on_gone(request, answer_late, NULL);
    size_t size = 0;
    const void *body = nx_http_body(request, &size);
    const char *key = nx_http_header(request, "X-Key");
    pthread_mutex_lock(&there.lock);
    size_t at = there.posts < there.answer_count ? there.posts : there.answer_count - 1;
    int status = there.answers[at];
    there.at_ns[there.posts % MOST_POSTS] = nx_clock_now_ns();
    there.posts++;
    free(there.body);
    there.body = calloc(1, size + 1); /* what came does not end with a NUL */
    if (there.body != NULL && size > 0) {
        memcpy(there.body, body, size);
    }
    snprintf(there.key, sizeof there.key, "%s", key != NULL ? key : "");
    snprintf(there.type, sizeof there.type, "%s", nx_http_header(request, "Content-Type"));
    pthread_cond_broadcast(&there.changed);
    pthread_mutex_unlock(&there.lock);
    if (status == ANSWER_HANG) {
        return;
    }
    if (there.retry_after != NULL && status != 200) {
        nx_http_add_header(request, "Retry-After", there.retry_after);
    }
    nx_http_reply_static(request, status, "application/json", there.reply, strlen(there.reply));
}

static const nx_http_route routes[] = {
    {.method = "POST", .pattern = "/v1/traces", .handle = collect, .max_body = 1 << 22},
};

static int begin(void **state)
{
    (void)state;
    static const nx_http_server_options options = {
        .host = "127.0.0.1",
        .threads = 1,
        .backlog = 16,
        .max_connections = 64,
        .keepalive_s = 60,
        .request_timeout_s = 600,
        .limit_concurrency = 64,
        .max_inflight_body = 1 << 24,
        .routes = routes,
        .route_count = NX_COUNT(routes),
    };
    nx_error err = {0};
    nx_condition_init(&there.changed);
    nx_assert_ok(nx_http_server_start(&options, &there.server, &err), err);
    there.answers[0] = 200;
    there.answer_count = 1;
    there.posts = 0;
    there.retry_after = NULL;
    there.reply = "{}";
    return 0;
}

static int end(void **state)
{
    (void)state;
    nx_http_server_stop(there.server, nx_clock_now_ns());
    pthread_cond_destroy(&there.changed);
    free(there.body);
    there.body = NULL;
    return 0;
}

static void wait_for_posts(size_t count)
{
    const int64_t until = nx_clock_now_ns() + LONG_NS;
    int late = 0;
    pthread_mutex_lock(&there.lock);
    while (there.posts < count && late == 0) {
        late = nx_condition_wait(&there.changed, &there.lock, until);
    }
    pthread_mutex_unlock(&there.lock);
    assert_int_equal(late, 0);
}

static nx_otlp_options options_for(char space[64])
{
    snprintf(space, 64, "http://127.0.0.1:%d", nx_http_server_port(there.server));
    return (nx_otlp_options){
        .endpoint = space,
        .traces_endpoint = "",
        .headers = "x-key = a%20b ,",
        .ca_file = "",
        .service = "shop",
        .attributes = "deployment.environment.name=test",
        .sampler = NX_SAMPLER_ALWAYS_ON,
        .delay_ms = 1,
        .first_retry_ms = 1,
    };
}

static nx_otlp *start(const nx_otlp_options *options)
{
    nx_otlp *otlp = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_otlp_start(options, &otlp, &err), err);
    assert_non_null(otlp);
    return otlp;
}

static void make_spans(nx_otlp *otlp, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const nx_trace trace = nx_trace_begin();
        nx_span span;
        nx_span_begin(&span, &trace, NX_SPAN_SERVER, "GET /", nx_clock_now_ns());
        nx_span_set_number(&span, "http.response.status_code", 200);
        nx_span_set_text(&span, "url.path", "/\xff\"");
        span.failed = i == 0;
        nx_tracer_end(nx_otlp_tracer(otlp), &span, nx_clock_now_ns());
    }
}

static uint64_t lost(const nx_otlp_stats *stats)
{
    uint64_t sum = 0;
    for (int i = 0; i < NX_OTLP_LOSSES; i++) {
        sum += stats->dropped[i];
    }
    return sum;
}

/* Until all that were made are taken or lost. */
static nx_otlp_stats settle(nx_otlp *otlp, uint64_t made)
{
    const int64_t until = nx_clock_now_ns() + LONG_NS;
    nx_otlp_stats stats = nx_otlp_get_stats(otlp);
    while (stats.exported + lost(&stats) < made && nx_clock_now_ns() < until) {
        (void)nanosleep(&(struct timespec){.tv_nsec = NX_NS_PER_MS}, NULL);
        stats = nx_otlp_get_stats(otlp);
    }
    assert_int_equal(stats.exported + lost(&stats), made);
    return stats;
}

static void a_collector_is_told_what_otlp_says(void **state)
{
    (void)state;
    char space[64];
    const nx_otlp_options options = options_for(space);
    nx_otlp *otlp = start(&options);
    make_spans(otlp, 1);
    assert_int_equal(settle(otlp, 1).exported, 1);
    nx_otlp_stop(otlp, nx_clock_now_ns() + LONG_NS);
    assert_string_equal(there.key, "a b");
    assert_string_equal(there.type, "application/json");
    json_t *root = json_loads(there.body, 0, NULL);
    const json_t *of = json_array_get(json_object_get(root, "resourceSpans"), 0);
    const json_t *scope = json_array_get(json_object_get(of, "scopeSpans"), 0);
    const json_t *span = json_array_get(json_object_get(scope, "spans"), 0);
    const char *trace = NULL, *id = NULL, *name = NULL, *began = NULL, *ended = NULL;
    int kind = 0, code = 0, flags = 0;
    assert_int_equal(json_unpack((json_t *)span, "{s:s,s:s,s:s,s:i,s:i,s:s,s:s,s:{s:i}}", "traceId",
                                 &trace, "spanId", &id, "name", &name, "kind", &kind, "flags",
                                 &flags, "startTimeUnixNano", &began, "endTimeUnixNano", &ended,
                                 "status", "code", &code),
                     0);
    assert_true(strlen(trace) == 32 && strlen(id) == 16 && kind == 2 && code == 2 && flags == 1);
    assert_string_equal(name, "GET /");
    assert_true(strtoll(began, NULL, 10) <= strtoll(ended, NULL, 10));
    assert_null(json_object_get(span, "parentSpanId"));
    nx_assert_contains(there.body, "{\"key\":\"http.response.status_code\",\"value\":"
                                   "{\"intValue\":\"200\"}}");
    nx_assert_contains(there.body,
                       "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"shop\"}}");
    nx_assert_contains(there.body, "{\"key\":\"deployment.environment.name\",\"value\":"
                                   "{\"stringValue\":\"test\"}}");
    json_decref(root);
}

static void what_is_answered_with_later_comes_again(void **state)
{
    (void)state;
    static const int answers[] = {503, 429, 502, 504, 200};
    char space[64];
    const nx_otlp_options options = options_for(space);
    memcpy(there.answers, answers, sizeof answers);
    there.answer_count = NX_COUNT(answers);
    nx_otlp *otlp = start(&options);
    make_spans(otlp, 3);
    const nx_otlp_stats stats = settle(otlp, 3);
    assert_int_equal(stats.exported, 3);
    assert_true(there.posts >= 5); /* the spans may have come in two batches */
    nx_otlp_stop(otlp, nx_clock_now_ns() + LONG_NS);
}

static void retry_after_is_waited_for(void **state)
{
    (void)state;
    char space[64];
    const nx_otlp_options options = options_for(space);
    there.answers[0] = 429;
    there.answers[1] = 200;
    there.answer_count = 2;
    there.retry_after = "1";
    nx_otlp *otlp = start(&options);
    make_spans(otlp, 1);
    assert_int_equal(settle(otlp, 1).exported, 1);
    assert_int_equal(there.posts, 2);
    assert_true(there.at_ns[1] - there.at_ns[0] >= NX_NS_PER_SEC);
    nx_otlp_stop(otlp, nx_clock_now_ns() + LONG_NS);
}

static void what_is_refused_is_not_sent_again(void **state)
{
    (void)state;
    char space[64];
    const nx_otlp_options options = options_for(space);
    there.answers[0] = 400;
    nx_otlp *otlp = start(&options);
    make_spans(otlp, 1);
    assert_int_equal(settle(otlp, 1).dropped[NX_OTLP_REFUSED], 1);
    assert_int_equal(there.posts, 1);
    there.answers[0] = 200;
    there.reply = "{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"too old\"}}";
    make_spans(otlp, 1);
    nx_otlp_stats stats = settle(otlp, 2); /* never more than there were */
    assert_true(stats.exported == 0 && stats.dropped[NX_OTLP_REFUSED] == 2);
    there.reply = "no JSON at all";
    make_spans(otlp, 1);
    assert_int_equal(settle(otlp, 3).exported, 1);
    nx_otlp_stop(otlp, nx_clock_now_ns() + LONG_NS);
}

static void a_collector_that_is_not_there_costs_spans_and_nothing_else(void **state)
{
    (void)state;
    char space[64];
    nx_otlp_options options = options_for(space);
    options.endpoint = "http://127.0.0.1:1/"; /* nobody listens there */
    nx_otlp *otlp = start(&options);
    make_spans(otlp, 3000);
    const nx_otlp_stats stats = settle(otlp, 3000);
    assert_true(stats.exported == 0 && stats.dropped[NX_OTLP_UNREACHABLE] > 0);
    nx_otlp_stop(otlp, nx_clock_now_ns() + LONG_NS);
}

static void a_collector_that_hangs_is_given_up(void **state)
{
    (void)state;
    char space[64];
    nx_otlp_options options = options_for(space);
    options.timeout_ms = 100;
    there.answers[0] = ANSWER_HANG;
    there.answers[1] = 200;
    there.answer_count = 2;
    nx_otlp *otlp = start(&options);
    make_spans(otlp, 1);
    assert_int_equal(settle(otlp, 1).exported, 1);
    assert_int_equal(there.posts, 2);
    nx_otlp_stop(otlp, nx_clock_now_ns() + LONG_NS);
}

static void what_is_queued_at_the_end_is_sent(void **state)
{
    (void)state;
    char space[64];
    nx_otlp_options options = options_for(space);
    options.delay_ms = 3600 * 1000;
    nx_otlp *otlp = start(&options);
    make_spans(otlp, 5);
    assert_int_equal(there.posts, 0);
    nx_otlp_stop(otlp, nx_clock_now_ns() + LONG_NS);
    assert_int_equal(there.posts, 1);
    nx_assert_contains(there.body, "GET /");
}

static void the_end_does_not_wait_for_one_that_hangs(void **state)
{
    (void)state;
    char space[64];
    nx_otlp_options options = options_for(space);
    options.timeout_ms = 3600 * 1000;
    there.answers[0] = ANSWER_HANG;
    nx_otlp *otlp = start(&options);
    make_spans(otlp, 5);
    wait_for_posts(1);
    const int64_t before = nx_clock_now_ns();
    nx_otlp_stop(otlp, before + 50 * NX_NS_PER_MS);
    assert_true(nx_clock_now_ns() - before < LONG_NS / 2); /* libcurl looks once a second */
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    char space[64];
    const nx_otlp_options good = options_for(space);
    nx_otlp *otlp = NULL;
    nx_error err = {0};
    nx_otlp_options bad = good;
    bad.endpoint = "collector:4317";
    assert_int_equal(nx_otlp_start(&bad, &otlp, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "otlp_endpoint begins with neither http:// nor https://");
    assert_int_equal(nx_otlp_check(&bad, &err), NX_ERR_INVALID);
    static const char *const headers[] = {"geheim", "a=%2", "a=%0d%0aHost: x", "a b=geheim",
                                          "=geheim"};
    for (size_t i = 0; i < NX_COUNT(headers); i++) {
        bad = good;
        bad.headers = headers[i];
        assert_int_equal(nx_otlp_check(&bad, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, "otlp_headers: ");
        assert_null(strstr(err.message, "geheim"));
    }
    char text[NX_OTLP_MAX_PAIR + 3] = "a=";
    memset(text + 2, 'x', NX_OTLP_MAX_PAIR);
    text[NX_OTLP_MAX_PAIR + 2] = '\0';
    bad = good;
    bad.headers = text;
    assert_int_equal(nx_otlp_check(&bad, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "otlp_headers: a pair has more than");
    memcpy(text, "http://", 7);
    bad = good;
    bad.endpoint = text;
    assert_int_equal(nx_otlp_check(&bad, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "otlp_endpoint is too long");
    bad = good;
    bad.attributes = "nonsense";
    assert_int_equal(nx_otlp_check(&bad, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "otel_resource_attributes");
    nx_assert_ok(nx_otlp_check(&good, &err), err);
    bad.endpoint = ""; /* nothing is sent */
    nx_assert_ok(nx_otlp_start(&bad, &otlp, &err), err);
    assert_null(otlp);
    assert_null(nx_otlp_tracer(NULL));
    assert_int_equal(nx_otlp_get_stats(NULL).exported, 0);
    nx_otlp_stop(NULL, 0);
}

#define otlp_test(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        otlp_test(a_collector_is_told_what_otlp_says),
        otlp_test(what_is_answered_with_later_comes_again),
        otlp_test(retry_after_is_waited_for),
        otlp_test(what_is_refused_is_not_sent_again),
        otlp_test(a_collector_that_is_not_there_costs_spans_and_nothing_else),
        otlp_test(a_collector_that_hangs_is_given_up),
        otlp_test(what_is_queued_at_the_end_is_sent),
        otlp_test(the_end_does_not_wait_for_one_that_hangs),
        otlp_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
