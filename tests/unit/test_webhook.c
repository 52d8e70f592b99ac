/*
 * Webhooks sent to a real receiver, this tree's own HTTP server on a free port, from either
 * database.
 */
#include "store_jobs.h"

#include "base/clock.h"
#include "base/uuid.h"
#include "http/server.h"
#include "jobs/webhook.h"
#include "jobs/webhook_post.h"
#include "store/event_deliveries.h"
#include "store/events.h"

#include <jansson.h>
#include <pthread.h>
#include <sodium.h>
#include <time.h>

#define SECRET    "whsec_test"
#define LONG_MS   600000 /* never reached unless something is broken */
#define MOST_HITS 8

/* --- the receiver -------------------------------------------------------------------------------
 */

typedef struct receiver {
    nx_http_server *server;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    int answers[MOST_HITS]; /* the statuses, in turn; the last one goes on */
    size_t answer_count;
    size_t hits;
    char *body; /* of the last one */
    char signature[200];
    char event[64];
    char delivery[128];
    size_t gone; /* clients that went away before the end of an answer */
    nx_http_stream *stream;
    /* what the sender has said */
    size_t noted;
    nx_webhook_state became;
    nx_delivery_target target;  /* of the attempt that was noted last */
    nx_webhook_failure failure; /* NX_WEBHOOK_FAILURES: none */
} receiver;

static receiver there = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void lock(void)
{
    pthread_mutex_lock(&there.lock);
}

static void unlock(void)
{
    pthread_cond_broadcast(&there.changed);
    pthread_mutex_unlock(&there.lock);
}

/* Waits until a count of the receiver's has got there. */
static void wait_for(const size_t *counter, size_t least)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 120; /* only a broken sender lets it pass */
    pthread_mutex_lock(&there.lock);
    while (*counter < least) {
        if (pthread_cond_timedwait(&there.changed, &there.lock, &end) != 0) {
            pthread_mutex_unlock(&there.lock);
            fail_msg("nothing came");
        }
    }
    pthread_mutex_unlock(&there.lock);
}

static void keep_header(const nx_http_request *request, const char *name, char *out, size_t size)
{
    const char *value = nx_http_header(request, name);
    snprintf(out, size, "%s", value != NULL ? value : "");
}

/* Notes a request and returns the status that it is to be answered with. */
static int note_hit(nx_http_request *request)
{
    size_t size = 0;
    const void *body = nx_http_body(request, &size);
    lock();
    free(there.body);
    there.body = calloc(1, size + 1);
    assert_non_null(there.body);
    memcpy(there.body, body, size);
    keep_header(request, "X-Nexus-Signature", there.signature, sizeof there.signature);
    keep_header(request, "X-Nexus-Event", there.event, sizeof there.event);
    keep_header(request, "X-Nexus-Delivery", there.delivery, sizeof there.delivery);
    size_t turn = there.hits < there.answer_count ? there.hits : there.answer_count - 1;
    int status = there.answers[turn];
    there.hits++;
    unlock();
    return status;
}

static void hook(nx_http_request *request, void *user)
{
    (void)user;
    nx_http_reply_static(request, note_hit(request), NULL, "", 0);
}

static void elsewhere(nx_http_request *request, void *user)
{
    (void)user;
    (void)note_hit(request);
    nx_http_add_header(request, "Location", "/hook");
    nx_http_reply_static(request, 307, NULL, "", 0);
}

static void answer_late(nx_http_request *request, void *user)
{
    (void)user;
    lock();
    there.gone++;
    unlock();
    nx_http_reply_static(request, 200, NULL, "", 0);
}

/* Answers only those who are gone, unless the status says otherwise. */
static void slow(nx_http_request *request, void *user)
{
    (void)user;
    nx_http_on_gone(request, answer_late, NULL);
    int status = note_hit(request);
    if (status == 200) {
        nx_http_reply_static(request, status, NULL, "", 0);
    }
}

static void end_stream(void *user)
{
    (void)user;
    lock();
    nx_http_stream *stream = there.stream;
    there.stream = NULL;
    there.gone++;
    unlock();
    nx_http_stream_end(stream);
}

/* More than anybody needs to read, and no end. */
static void endless(nx_http_request *request, void *user)
{
    (void)user;
    static const char bytes[NX_HTTP_STREAM_MAX / 2];
    (void)note_hit(request);
    lock(); /* the end may come before this has returned */
    nx_http_set_context(request, &there, NULL);
    there.stream = nx_http_reply_stream(request, "text/plain", end_stream, NULL);
    assert_non_null(there.stream);
    assert_true(nx_http_stream_write(there.stream, bytes, sizeof bytes));
    unlock();
}

static const nx_http_route routes[] = {
    {.method = "POST", .pattern = "/hook", .handle = hook, .max_body = 65536},
    {.method = "POST", .pattern = "/elsewhere", .handle = elsewhere, .max_body = 65536},
    {.method = "POST", .pattern = "/slow", .handle = slow, .max_body = 65536},
    {.method = "POST", .pattern = "/endless", .handle = endless, .max_body = 65536},
};

static int begin(void **state)
{
    static const nx_http_server_options options = {
        .host = "127.0.0.1",
        .threads = 1,
        .backlog = 16,
        .max_connections = 64,
        .keepalive_s = 60,
        .request_timeout_s = 600,
        .limit_concurrency = 64,
        .max_inflight_body = 1 << 20,
        .routes = routes,
        .route_count = NX_COUNT(routes),
    };
    nx_error err = {0};
    nx_assert_ok(nx_http_server_start(&options, &there.server, &err), err);
    there.answers[0] = 200;
    there.answer_count = 1;
    there.hits = there.gone = there.noted = 0;
    return store_begin(state);
}

static int end(void **state)
{
    nx_http_server_stop(there.server, nx_clock_now_ns());
    there.server = NULL;
    free(there.body);
    there.body = NULL;
    return store_end(state);
}

#define hook_test(function) cmocka_unit_test_setup_teardown(function, begin, end)

/* --- the sender ---------------------------------------------------------------------------------
 */

static void count_noted(nx_delivery_target target, const nx_webhook_outcome *outcome,
                        nx_webhook_state became, void *user)
{
    (void)user;
    lock();
    there.target = target;
    there.failure = outcome->error != NULL ? outcome->failure : NX_WEBHOOK_FAILURES;
    there.became = became;
    there.noted++;
    unlock();
}

static nx_webhooks_options sender_options(store_fixture *fixture)
{
    return (nx_webhooks_options){
        .store = fixture->store,
        .secret = SECRET,
        .allow_private = true,
        .timeout_ms = LONG_MS,
        .poll_ms = 5,
        .retry = {.first_ms = 1, .most_ms = 1},
        .max_attempts = 3,
        .noted = count_noted,
    };
}

static nx_webhooks *start(const nx_webhooks_options *options)
{
    nx_webhooks *webhooks = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_webhooks_start(options, &webhooks, &err), err);
    return webhooks;
}

/* A job that has ended and wants that told at a path of the receiver. */
static nx_job ended_job(store_fixture *fixture, const char *path, nx_job_state how)
{
    char url[100];
    nx_job_request request = job_request();
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", nx_http_server_port(there.server), path);
    request.webhook_url = url;
    (void)enqueue(fixture, &request);
    nx_job job = take_one(fixture, LONG_LEASE);
    assert_int_equal(finish_as(fixture, &job, how), NX_OK);
    return job;
}

/* Sends until so many attempts were noted. */
static void send_until_noted(const nx_webhooks_options *options, size_t attempts)
{
    nx_webhooks *webhooks = start(options);
    wait_for(&there.noted, attempts);
    nx_webhooks_stop(webhooks);
    assert_int_equal(there.noted, attempts);
}

static nx_webhook find_hook(store_fixture *fixture, const char *job_id)
{
    nx_webhook out = {0};
    nx_error err = {0};
    size_t count = 0;
    nx_assert_ok(
        nx_store_webhooks_list(fixture->store, job_id, 1, &fixture->arena, &out, &count, &err),
        err);
    assert_int_equal(count, 1);
    return out;
}

static size_t read_log(store_fixture *fixture, const char *id, nx_webhook_attempt *out)
{
    nx_error err = {0};
    size_t count = 0;
    nx_assert_ok(nx_store_webhook_attempts(fixture->store, id, MOST_HITS, &fixture->arena, out,
                                           &count, &err),
                 err);
    return count;
}

/* --- tests --------------------------------------------------------------------------------------
 */

/* As a receiver does it that knows nothing but the header, the body and the secret. */
static void verify_signature(void)
{
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    char hex[2 * sizeof mac + 1];
    char signed_text[8192];
    long long seconds = 0;
    char given[sizeof hex] = "";
    crypto_auth_hmacsha256_state state;
    assert_int_equal(sscanf(there.signature, "t=%lld,v1=%64[0-9a-f]", &seconds, given), 2);
    assert_true(llabs(seconds - (long long)time(NULL)) < 600);
    snprintf(signed_text, sizeof signed_text, "%lld.%s", seconds, there.body);
    crypto_auth_hmacsha256_init(&state, (const unsigned char *)SECRET, strlen(SECRET));
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)signed_text, strlen(signed_text));
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_bin2hex(hex, sizeof hex, mac, sizeof mac);
    assert_string_equal(given, hex);
}

static void an_end_is_told_once_and_signed(void **state)
{
    STORE_FIXTURE(state);
    const nx_webhooks_options options = sender_options(fixture);
    nx_job job = ended_job(fixture, "/hook", NX_JOB_SUCCEEDED);
    send_until_noted(&options, 1);
    assert_int_equal(there.hits, 1);
    verify_signature();
    assert_string_equal(there.event, "job.succeeded");

    nx_webhook hook_row = find_hook(fixture, job.id);
    assert_int_equal(hook_row.state, NX_WEBHOOK_DELIVERED);
    assert_string_equal(there.delivery, hook_row.id);
    json_t *body = json_loads(there.body, 0, NULL);
    const char *event = NULL, *delivery = NULL, *id = NULL, *kind = NULL, *state_name = NULL;
    const char *created = NULL, *finished = NULL;
    json_t *error = NULL;
    int attempt = 0;
    int tracks = 0;
    assert_int_equal(json_unpack(body, "{s:s, s:s, s:i, s:{s:s, s:s, s:s, s:s, s:s, s:o, s:{s:i}}}",
                                 "event", &event, "delivery_id", &delivery, "attempt", &attempt,
                                 "job", "id", &id, "kind", &kind, "state", &state_name,
                                 "created_at", &created, "finished_at", &finished, "error", &error,
                                 "result", "tracks", &tracks),
                     0);
    assert_string_equal(event, "job.succeeded");
    assert_string_equal(delivery, hook_row.id);
    assert_int_equal(attempt, 1);
    assert_string_equal(id, job.id);
    assert_string_equal(kind, "video");
    assert_string_equal(state_name, "succeeded");
    assert_int_equal(strlen(created), strlen("2026-01-31T12:00:00.000Z"));
    assert_true(strcmp(finished, created) >= 0 && finished[23] == 'Z');
    assert_true(json_is_null(error));
    assert_int_equal(tracks, 3);
    json_decref(body);
}

static void each_end_tells_its_own_state(void **state)
{
    STORE_FIXTURE(state);
    const nx_webhooks_options options = sender_options(fixture);
    nx_job job = ended_job(fixture, "/hook", NX_JOB_FAILED);
    nx_assert_ok(nx_store_job_retry(fixture->store, job.id, &err), err); /* it is queued again */
    send_until_noted(&options, 1);
    assert_string_equal(there.event, "job.failed");
    nx_assert_contains(there.body, "\"state\":\"failed\"");
    nx_assert_contains(there.body, "\"result\":null");

    job = take_one(fixture, LONG_LEASE);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_CANCELLED), NX_OK);
    there.noted = 0;
    send_until_noted(&options, 1);
    assert_string_equal(there.event, "job.cancelled");
    assert_int_equal(there.hits, 2);
}

static void without_a_secret_it_is_unsigned(void **state)
{
    STORE_FIXTURE(state);
    nx_webhooks_options options = sender_options(fixture);
    options.secret = "";
    (void)ended_job(fixture, "/hook", NX_JOB_SUCCEEDED);
    send_until_noted(&options, 1);
    assert_int_equal(there.became, NX_WEBHOOK_DELIVERED);
    assert_int_equal(there.target, NX_DELIVERY_JOB_WEBHOOK);
    assert_int_equal(there.failure, NX_WEBHOOK_FAILURES);
    assert_string_equal(there.signature, "");
    assert_string_equal(there.event, "job.succeeded");
}

static void a_failure_is_tried_again(void **state)
{
    STORE_FIXTURE(state);
    nx_webhook_attempt log[MOST_HITS];
    const nx_webhooks_options options = sender_options(fixture);
    there.answers[0] = 500;
    there.answers[1] = 200;
    there.answer_count = 2;
    nx_job job = ended_job(fixture, "/hook", NX_JOB_SUCCEEDED);
    send_until_noted(&options, 2);
    nx_webhook hook_row = find_hook(fixture, job.id);
    assert_int_equal(hook_row.state, NX_WEBHOOK_DELIVERED);
    assert_int_equal(there.hits, 2);
    assert_string_equal(there.delivery, hook_row.id);
    nx_assert_contains(there.body, "\"attempt\":2");
    assert_int_equal(read_log(fixture, hook_row.id, log), 2);
    assert_int_equal(log[0].status, 500);
    assert_string_equal(log[0].error, "the receiver answers 500");
    assert_int_equal(log[1].status, 200);
    assert_null(log[1].error);
}

static void it_is_given_up_in_the_end(void **state)
{
    STORE_FIXTURE(state);
    nx_webhook_attempt log[MOST_HITS];
    const nx_webhooks_options options = sender_options(fixture);
    there.answers[0] = 503;
    nx_job job = ended_job(fixture, "/hook", NX_JOB_SUCCEEDED);
    send_until_noted(&options, 3);
    nx_webhook hook_row = find_hook(fixture, job.id);
    assert_int_equal(hook_row.state, NX_WEBHOOK_FAILED);
    assert_int_equal(there.failure, NX_WEBHOOK_REFUSED);
    assert_int_equal(there.hits, 3);
    assert_int_equal(read_log(fixture, hook_row.id, log), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(log[i].attempt, i + 1);
        assert_int_equal(log[i].status, 503);
    }
}

static void a_slow_receiver_times_out(void **state)
{
    STORE_FIXTURE(state);
    nx_webhook_attempt log[MOST_HITS];
    nx_webhooks_options options = sender_options(fixture);
    options.timeout_ms = 300;
    options.max_attempts = 1;
    there.answers[0] = 0;
    nx_job job = ended_job(fixture, "/slow", NX_JOB_SUCCEEDED);
    send_until_noted(&options, 1);
    wait_for(&there.gone, 1);
    nx_webhook hook_row = find_hook(fixture, job.id);
    assert_int_equal(hook_row.state, NX_WEBHOOK_FAILED);
    assert_int_equal(read_log(fixture, hook_row.id, log), 1);
    assert_int_equal(log[0].status, 0);
    nx_assert_contains(log[0].error, "no answer: Timeout");
    assert_int_equal(there.failure, NX_WEBHOOK_NO_ANSWER);
    assert_true(log[0].duration_ms >= 290);
}

static void a_redirect_is_a_failure(void **state)
{
    STORE_FIXTURE(state);
    nx_webhook_attempt log[MOST_HITS];
    nx_webhooks_options options = sender_options(fixture);
    options.max_attempts = 1;
    nx_job job = ended_job(fixture, "/elsewhere", NX_JOB_SUCCEEDED);
    send_until_noted(&options, 1);
    nx_webhook hook_row = find_hook(fixture, job.id);
    assert_int_equal(hook_row.state, NX_WEBHOOK_FAILED);
    assert_int_equal(there.hits, 1); /* nobody came to /hook */
    assert_int_equal(read_log(fixture, hook_row.id, log), 1);
    assert_int_equal(log[0].status, 307);
    nx_assert_contains(log[0].error, "redirects are not followed");
}

static void events_of_streams_are_told_beside_ends_of_jobs(void **state)
{
    STORE_FIXTURE(state);
    const nx_webhooks_options options = sender_options(fixture);
    char id[NX_UUID_SIZE];
    char url[100];
    nx_webhook row;
    size_t count = 0;
    there.answers[0] = 500; /* the first one of both is told again */
    there.answers[1] = 200;
    there.answer_count = 2;
    (void)ended_job(fixture, "/hook", NX_JOB_FAILED);
    nx_assert_ok(nx_uuid_make(id, &err), err);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/hook", nx_http_server_port(there.server));
    const nx_event_row event = {.id = id,
                                .stream_id = "s1",
                                .stream_name = "yard",
                                .kind = "line_crossed",
                                .rule = "visitors",
                                .class_name = "person",
                                .zone = "gate",
                                .at = 1700000000123,
                                .details = "{\"direction\":\"in\"}"};
    const nx_event_targets targets = {.webhook = url};
    nx_assert_ok(nx_store_event_add(fixture->store, &event, &targets, NULL, &err), err);
    send_until_noted(&options, 3);
    assert_int_equal(there.became, NX_WEBHOOK_DELIVERED);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM webhooks"
                                                  " WHERE state = 'delivered'"),
                     1);
    nx_assert_ok(
        nx_store_event_deliveries_list(fixture->store, id, 1, &fixture->arena, &row, &count, &err),
        err);
    assert_true(count == 1 && row.state == NX_WEBHOOK_DELIVERED);
}

static void an_event_tells_what_it_is(void **state)
{
    STORE_FIXTURE(state);
    const nx_webhooks_options options = sender_options(fixture);
    char id[NX_UUID_SIZE];
    char url[100];
    nx_assert_ok(nx_uuid_make(id, &err), err);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/hook", nx_http_server_port(there.server));
    const nx_event_row event = {.id = id,
                                .stream_id = "s1",
                                .stream_name = "yard",
                                .kind = "object_appeared",
                                .rule = "visitors",
                                .class_name = "person",
                                .track = 7,
                                .at = 1700000000123,
                                .details = "{\"confidence\":0.5}"};
    const nx_event_targets targets = {.webhook = url};
    nx_assert_ok(nx_store_event_add(fixture->store, &event, &targets, NULL, &err), err);
    send_until_noted(&options, 1);
    verify_signature();
    assert_string_equal(there.event, "stream.object_appeared");
    json_t *body = json_loads(there.body, 0, NULL);
    const char *name = NULL, *given = NULL, *stream = NULL, *rule = NULL, *at = NULL;
    int track = 0;
    double confidence = 0;
    assert_int_equal(json_unpack(body, "{s:s, s:{s:s, s:{s:s}, s:s, s:i, s:s, s:{s:f}, s:n}}",
                                 "event", &name, "stream_event", "id", &given, "stream", "name",
                                 &stream, "rule", &rule, "track_id", &track, "at", &at, "details",
                                 "confidence", &confidence, "snapshot"),
                     0);
    assert_string_equal(name, "stream.object_appeared");
    assert_string_equal(given, id);
    assert_string_equal(stream, "yard");
    assert_string_equal(at, "2023-11-14T22:13:20.123Z");
    assert_true(track == 7 && confidence == 0.5);
    json_decref(body);
}

/* The timeout is far away: only the limit of the answer's length ends this. */
static void an_answer_without_end_is_cut_off(void **state)
{
    STORE_FIXTURE(state);
    const nx_webhooks_options options = sender_options(fixture);
    (void)ended_job(fixture, "/endless", NX_JOB_SUCCEEDED);
    send_until_noted(&options, 1);
    wait_for(&there.gone, 1);
    assert_int_equal(there.became, NX_WEBHOOK_DELIVERED); /* the 200 came first */
}

static void stopping_while_it_sends_loses_nothing(void **state)
{
    STORE_FIXTURE(state);
    nx_webhook_attempt log[MOST_HITS];
    const nx_webhooks_options options = sender_options(fixture);
    there.answers[0] = 0;
    there.answers[1] = 200;
    there.answer_count = 2;
    nx_job job = ended_job(fixture, "/slow", NX_JOB_SUCCEEDED);
    nx_webhooks *webhooks = start(&options);
    wait_for(&there.hits, 1);
    nx_webhooks_stop(webhooks);
    assert_int_equal(there.noted, 0);
    nx_webhook hook_row = find_hook(fixture, job.id);
    assert_int_equal(hook_row.state, NX_WEBHOOK_PENDING);
    assert_int_equal(read_log(fixture, hook_row.id, log), 0);

    (void)STORE_NUMBER(fixture->store, "UPDATE webhooks SET next_at = 0"); /* its time is over */
    send_until_noted(&options, 1);
    assert_int_equal(there.became, NX_WEBHOOK_DELIVERED);
    assert_int_equal(read_log(fixture, hook_row.id, log), 1);
    assert_int_equal(log[0].attempt, 2);
}

static void many_are_sent_while_one_is_slow(void **state)
{
    STORE_FIXTURE(state);
    const nx_webhooks_options options = sender_options(fixture);
    nx_webhook_attempt log[MOST_HITS];
    there.answers[0] = 0;
    there.answers[1] = 200;
    there.answer_count = 2;
    nx_job stuck = ended_job(fixture, "/slow", NX_JOB_SUCCEEDED);
    nx_webhooks *webhooks = start(&options);
    wait_for(&there.hits, 1);
    for (int i = 0; i < 40; i++) {
        (void)ended_job(fixture, "/hook", NX_JOB_SUCCEEDED);
    }
    wait_for(&there.noted, 40);
    nx_webhooks_stop(webhooks);
    assert_int_equal(there.hits, 41);
    assert_int_equal(read_log(fixture, find_hook(fixture, stuck.id).id, log), 0);
}

/* As several processes do, each with connections of its own. */
static void several_senders_send_nothing_twice(void **state)
{
    STORE_FIXTURE(state);
    nx_store *stores[3];
    nx_webhooks *senders[NX_COUNT(stores)];
    for (size_t i = 0; i < NX_COUNT(stores); i++) {
        nx_webhooks_options options = sender_options(fixture);
        stores[i] = store_open_another(fixture);
        options.store = stores[i];
        senders[i] = start(&options);
    }
    for (int i = 0; i < 60; i++) {
        (void)ended_job(fixture, "/hook", NX_JOB_SUCCEEDED);
    }
    wait_for(&there.noted, 60);
    for (size_t i = 0; i < NX_COUNT(stores); i++) {
        nx_webhooks_stop(senders[i]);
        nx_store_close(stores[i]);
    }
    assert_int_equal(there.hits, 60);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM webhooks WHERE attempts = 1"
                                                  " AND state = 'delivered'"),
                     60);
}

static void a_private_address_is_refused(void **state)
{
    STORE_FIXTURE(state);
    nx_webhook_attempt log[MOST_HITS];
    nx_webhooks_options options = sender_options(fixture);
    options.allow_private = false;
    options.max_attempts = 1;
    nx_job job = ended_job(fixture, "/hook", NX_JOB_SUCCEEDED);
    send_until_noted(&options, 1);
    nx_webhook hook_row = find_hook(fixture, job.id);
    assert_int_equal(hook_row.state, NX_WEBHOOK_FAILED);
    assert_int_equal(there.hits, 0);
    assert_int_equal(read_log(fixture, hook_row.id, log), 1);
    nx_assert_contains(log[0].error, "127.0.0.1 is a loopback address");
}

/* As when a name passes the check and stands for a private address afterwards: nothing but the
 * socket's own check is left. */
static void the_socket_itself_is_guarded(void **state)
{
    (void)state;
    char url[100];
    nx_error err = {0};
    for (int allowed = 0; allowed < 2; allowed++) {
        nx_buffer body = NX_BUFFER_INIT;
        nx_webhook_post *post = NULL;
        nx_buffer_append_str(&body, "{}");
        snprintf(url, sizeof url, "http://127.0.0.1:%d/hook", nx_http_server_port(there.server));
        const nx_webhook_message message = {.url = url,
                                            .event = "job.failed",
                                            .delivery_id = "a:1",
                                            .secret = "",
                                            .allow_private = allowed == 1,
                                            .timeout_ms = LONG_MS};
        nx_assert_ok(nx_webhook_post_new(&message, &body, &post, &err), err);
        const nx_webhook_outcome outcome =
            nx_webhook_post_outcome(post, curl_easy_perform(nx_webhook_post_handle(post)));
        if (allowed == 0) {
            assert_int_equal(outcome.status, 0);
            assert_string_equal(outcome.error, "refused: 127.0.0.1 is a loopback address");
        } else {
            assert_int_equal(outcome.status, 200);
            assert_null(outcome.error);
        }
        lock();
        size_t hits = there.hits;
        unlock();
        assert_int_equal(hits, allowed);
        nx_webhook_post_free(post);
    }
}

/* Python: hmac.new(b"whsec_test", b'1700000000.{"a": 1}', "sha256").hexdigest() */
static void the_signature_is_the_known_one(void **state)
{
    (void)state;
    char out[NX_WEBHOOK_SIGNATURE_SIZE];
    nx_webhook_sign(SECRET, 1700000000, "{\"a\": 1}", 8, out);
    assert_string_equal(out, "t=1700000000,v1="
                             "f9086839ba44ac933ad5d79a65f74e64811e534328d3bf3c278acf3329bf7ce5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        hook_test(an_end_is_told_once_and_signed),
        hook_test(each_end_tells_its_own_state),
        hook_test(without_a_secret_it_is_unsigned),
        hook_test(a_failure_is_tried_again),
        hook_test(it_is_given_up_in_the_end),
        hook_test(a_slow_receiver_times_out),
        hook_test(a_redirect_is_a_failure),
        hook_test(events_of_streams_are_told_beside_ends_of_jobs),
        hook_test(an_event_tells_what_it_is),
        hook_test(an_answer_without_end_is_cut_off),
        hook_test(stopping_while_it_sends_loses_nothing),
        hook_test(many_are_sent_while_one_is_slow),
        hook_test(several_senders_send_nothing_twice),
        hook_test(a_private_address_is_refused),
        hook_test(the_socket_itself_is_guarded),
        cmocka_unit_test(the_signature_is_the_known_one),
    };
    /* a sender that asked them would reach nobody */
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    return store_run_on_both(tests);
}
