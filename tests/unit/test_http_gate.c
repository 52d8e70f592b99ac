/* Requests at the gate of a real server: let through, refused, and left to wait for either. */
#include "base/clock.h"
#include "http/server.h"
#include "http_client.h"
#include "testing.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

typedef struct fixture {
    nx_http_server *server;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    nx_http_request *waiting; /* at the gate, until somebody decides */
    int asked;
    int handled;
    int finished; /* requests */
    int last_status;
} fixture;

/* What the gate has found, as a handler sees it. */
typedef struct visitor {
    char name[32];
    int64_t number;
} visitor;

static void lock(fixture *f)
{
    pthread_mutex_lock(&f->lock);
}

static void unlock(fixture *f)
{
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void on_access(const nx_http_access *access, void *user)
{
    fixture *f = user;
    lock(f);
    f->finished++;
    f->last_status = access->status;
    unlock(f);
}

static void echo(nx_http_request *request, void *user)
{
    fixture *f = user;
    lock(f);
    f->handled++;
    unlock(f);
    const visitor *who = nx_http_identity(request);
    size_t size = 0;
    const char *body = nx_http_body(request, &size);
    nx_buffer out = NX_BUFFER_INIT;
    nx_buffer_printf(&out, "%s|", who != NULL ? who->name : "nobody");
    nx_buffer_append(&out, body, size);
    nx_http_reply(request, 200, "text/plain", &out);
}

static void refuse_red(nx_http_request *request, void *user)
{
    (void)user;
    const char *color = nx_http_header(request, "X-Color");
    if (color != NULL && strcmp(color, "red") == 0) {
        nx_problem problem = nx_problem_make(422, "Take blue.", "red is refused");
        nx_http_reply_problem(request, &problem);
    }
}

/* --- the gate -----------------------------------------------------------------------------------
 */

static void refuse(nx_http_request *request)
{
    nx_problem problem = nx_problem_make(401, "Say who you are.", "nobody may do that");
    nx_http_add_header(request, "WWW-Authenticate", "Bearer realm=\"test\"");
    nx_http_reply_problem(request, &problem);
}

static void name(nx_http_request *request)
{
    const visitor who = {.name = "ann", .number = 7};
    nx_http_set_identity(request, &who, sizeof who);
}

static void *pass_now(void *request)
{
    name(request);
    nx_http_gate_done(request);
    return NULL;
}

static void *refuse_now(void *request)
{
    refuse(request);
    return NULL;
}

/* Decides on another thread while the connection is being put to sleep: the tight race. */
static nx_http_gate_result decide_elsewhere(nx_http_request *request, void *(*decide)(void *))
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, decide, request) != 0) {
        abort();
    }
    pthread_detach(thread);
    return NX_HTTP_GATE_WAIT;
}

static nx_http_gate_result gate(nx_http_request *request, void *user)
{
    fixture *f = user;
    const char *way = nx_http_header(request, "X-Gate");
    way = way != NULL ? way : "pass";
    lock(f);
    f->asked++;
    bool wait = strcmp(way, "wait") == 0;
    f->waiting = wait ? request : f->waiting;
    unlock(f);
    if (wait) {
        return NX_HTTP_GATE_WAIT;
    }
    if (strcmp(way, "pass-race") == 0) {
        return decide_elsewhere(request, pass_now);
    }
    if (strcmp(way, "refuse-race") == 0) {
        return decide_elsewhere(request, refuse_now);
    }
    if (strcmp(way, "refuse") == 0) {
        refuse(request);
        return NX_HTTP_GATE_ANSWERED;
    }
    assert_int_equal(nx_http_request_route(request)->access, 5);
    assert_string_equal(nx_http_request_route(request)->rate_class, "read");
    name(request);
    return NX_HTTP_GATE_PASS;
}

/* --- the server ---------------------------------------------------------------------------------
 */

#define GATED .access = 5, .rate_class = "read"

static const nx_http_route routes[] = {
    {.method = "GET", .pattern = "/echo", .handle = echo, .admit = refuse_red, GATED},
    {.method = "POST",
     .pattern = "/echo",
     .handle = echo,
     .admit = refuse_red,
     .max_body = 1000,
     GATED},
    {.method = "PUT", .pattern = "/echo", .handle = echo, .max_body = 5000000, GATED},
};

static fixture *start_with(bool gated, uint32_t concurrency)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    const nx_http_server_options options = {
        .host = "127.0.0.1",
        .threads = 2,
        .backlog = 64,
        .max_connections = 64,
        .keepalive_s = 30,
        .request_timeout_s = 30,
        .limit_concurrency = concurrency,
        .max_inflight_body = 1 << 20,
        .gate = gated ? gate : NULL,
        .routes = routes,
        .route_count = NX_COUNT(routes),
        .on_access = on_access,
        .user = f,
    };
    nx_error err = {0};
    nx_assert_ok(nx_http_server_start(&options, &f->server, &err), err);
    return f;
}

static fixture *start(void)
{
    return start_with(true, 100);
}

static void release(fixture *f)
{
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void stop(fixture *f)
{
    nx_http_server_stop(f->server, nx_clock_now_ns() + 5 * NX_NS_PER_SEC);
    release(f);
}

static nx_http_request *take_waiting(fixture *f)
{
    lock(f);
    while (f->waiting == NULL) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    nx_http_request *request = f->waiting;
    f->waiting = NULL;
    unlock(f);
    return request;
}

/* Waits until *number, which the lock guards, is at least `least`. */
static void wait_until(fixture *f, const int *number, int least)
{
    lock(f);
    while (*number < least) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    unlock(f);
}

static int ask(const fixture *f, const char *text)
{
    int fd = nx_dial(nx_http_server_port(f->server));
    say(fd, text);
    return fd;
}

/* The answer on a connection, which is closed then. */
static void expect_last(int fd, int status, const char *part)
{
    char *answer = hear_one(fd);
    assert_status(answer, status);
    nx_assert_contains(answer, part);
    free(answer);
    close(fd);
}

static void expect(const fixture *f, const char *text, int status, const char *part)
{
    expect_last(ask(f, text), status, part);
}

#define GET(way)   "GET /echo HTTP/1.1\r\n" HOST "X-Gate: " way "\r\n"
#define HEAD(way)  "HEAD /echo HTTP/1.1\r\n" HOST "X-Gate: " way "\r\n"
#define POST(way)  "POST /echo HTTP/1.1\r\n" HOST "X-Gate: " way "\r\n"
#define FIVE       "Content-Length: 5\r\n\r\n12345"
#define ASKS       "Expect: 100-continue\r\n"
#define CHUNKED    "Transfer-Encoding: chunked\r\n\r\n"
#define NEXT       "GET /echo HTTP/1.1\r\n" HOST "\r\n"
#define CLOSE_NEXT "GET /echo HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"

/* --- at once ------------------------------------------------------------------------------------
 */

static void a_gate_decides_at_once(void **state)
{
    (void)state;
    fixture *f = start();
    expect(f, GET("pass") "\r\n", 200, "\r\n\r\nann|");
    expect(f, POST("pass") FIVE, 200, "\r\n\r\nann|12345");
    expect(f, GET("refuse") "\r\n", 401, "WWW-Authenticate: Bearer realm=\"test\"\r\n");
    expect(f, POST("refuse") FIVE, 401, "Connection: close\r\n");
    assert_int_equal(f->handled, 2);
    stop(f);
}

/* Who may not go on learns nothing of what else is wrong, and costs nobody else his place. */
static void the_gate_is_asked_before_limits(void **state)
{
    (void)state;
    fixture *f = start_with(true, 0);
    expect(f, POST("refuse") "Content-Length: 5000\r\n\r\n", 401, "nobody may do that");
    expect(f, POST("refuse") "X-Color: red\r\n" FIVE, 401, "nobody may do that");
    expect(f, POST("pass") FIVE, 503, "requests in flight already");
    expect(f, POST("pass-race") FIVE, 503, "requests in flight already");
    expect(f, GET("pass-race") "\r\n", 503, "requests in flight already");
    assert_int_equal(f->asked, 5);
    /* what fits no route is nobody's secret */
    expect(f, "GET /nothing HTTP/1.1\r\n" HOST "X-Gate: refuse\r\n\r\n", 404, "nothing at");
    expect(f, "DELETE /echo HTTP/1.1\r\n" HOST "X-Gate: refuse\r\n\r\n", 405, "Allow: ");
    expect(f, POST("pass") "Content-Length: x\r\n\r\n", 400, "400");
    assert_int_equal(f->asked, 5);
    stop(f);
}

static void without_a_gate_all_may(void **state)
{
    (void)state;
    fixture *f = start_with(false, 100);
    expect(f, POST("refuse") FIVE, 200, "\r\n\r\nnobody|12345");
    stop(f);
}

/* --- later --------------------------------------------------------------------------------------
 */

static void pass(nx_http_request *request)
{
    name(request);
    nx_http_gate_done(request);
}

static void a_request_waits_and_passes(void **state)
{
    (void)state;
    fixture *f = start();
    int fd = ask(f, GET("wait") "\r\n");
    pass(take_waiting(f));
    char *answer = hear_one(fd);
    nx_assert_contains(answer, "\r\n\r\nann|");
    free(answer);
    say(fd, POST("wait") FIVE); /* on the same connection */
    pass(take_waiting(f));
    answer = hear_one(fd);
    nx_assert_contains(answer, "\r\n\r\nann|12345");
    free(answer);
    say(fd, POST("wait") CHUNKED);
    nx_http_request *request = take_waiting(f);
    say(fd, "3\r\nabc\r\n"); /* while it waits */
    pass(request);
    say(fd, "2\r\nde\r\n0\r\n\r\n");
    answer = hear_one(fd);
    nx_assert_contains(answer, "\r\n\r\nann|abcde");
    free(answer);
    say(fd, POST("wait") CHUNKED "0\r\n\r\n"); /* a body without a byte */
    pass(take_waiting(f));
    answer = hear_one(fd);
    nx_assert_contains(answer, "\r\n\r\nann|");
    free(answer);
    say(fd, HEAD("wait") "Connection: close\r\n\r\n");
    pass(take_waiting(f));
    answer = hear_all(fd);
    assert_status(answer, 200);
    nx_assert_contains(answer, "Content-Length: 4\r\n");
    assert_null(strstr(answer, "ann|"));
    free(answer);
    close(fd);
    stop(f);
}

static void a_body_is_not_read_meanwhile(void **state)
{
    (void)state;
    fixture *f = start();
    char *body = malloc(1 << 20);
    assert_non_null(body);
    memset(body, 'b', 1 << 20);
    int fd = ask(f, "PUT /echo HTTP/1.1\r\n" HOST
                    "X-Gate: wait\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n");
    say_n(fd, body, 500000);
    nx_http_request *request = take_waiting(f);
    assert_int_equal(nx_http_server_get_stats(f->server).body_bytes, 0);
    pass(request);
    say_n(fd, body, 500000);
    char *answer = hear_all(fd);
    assert_status(answer, 200);
    assert_int_equal(strspn(strchr(answer, '|') + 1, "b"), 1000000);
    free(answer);
    free(body);
    close(fd);
    stop(f);
}

static void a_request_waits_and_is_refused(void **state)
{
    (void)state;
    fixture *f = start();
    int fd = ask(f, GET("wait") "\r\n");
    refuse(take_waiting(f));
    char *answer = hear_one(fd);
    assert_status(answer, 401);
    nx_assert_contains(answer, "WWW-Authenticate: Bearer realm=\"test\"\r\n");
    assert_null(strstr(answer, "Connection: close"));
    free(answer);
    say(fd, HEAD("wait") "\r\n" CLOSE_NEXT); /* the connection lives */
    refuse(take_waiting(f));
    answer = hear_all(fd);
    assert_status(answer, 401);
    assert_null(strstr(answer, "nobody may do that"));
    nx_assert_contains(answer, "\r\n\r\nann|");
    free(answer);
    close(fd);
    stop(f);
}

/* Refused with a body to come: told so now, whether or not a byte of it follows, and nothing behind
 * it is served. */
static void a_refusal_does_not_wait_for_the_body(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "Content-Length: 5\r\n\r\n",
        FIVE,
        FIVE NEXT,
        ASKS "Content-Length: 5\r\n\r\n",
        ASKS FIVE NEXT,
        CHUNKED,
        CHUNKED "0\r\n\r\n" NEXT,
        CHUNKED "3\r\nabc\r\n",
        ASKS CHUNKED,
        "Content-Length: 900000\r\n\r\nx",
    };
    fixture *f = start();
    for (size_t i = 0; i < NX_COUNT(bodies); i++) {
        int fd = ask(f, POST("wait"));
        say(fd, bodies[i]);
        refuse(take_waiting(f));
        char *answer = hear_all(fd); /* which ends, because the server closes */
        assert_status(answer, 401);
        nx_assert_contains(answer, "Connection: close\r\n");
        nx_assert_contains(answer, "WWW-Authenticate: Bearer realm=\"test\"\r\n");
        nx_assert_contains(answer, "\"detail\":\"nobody may do that\"");
        assert_null(strstr(answer, "HTTP/1.1 100"));
        assert_null(strstr(answer, "HTTP/1.1 200"));
        free(answer);
        close(fd);
        wait_until(f, &f->finished, (int)i + 1);
        assert_int_equal(f->last_status, 401);
    }
    assert_int_equal(f->handled, 0);
    stop(f);
}

/* As if there had been no wait: a client that asks first is told to go on, or why not. */
static void limits_and_admission_follow_the_gate(void **state)
{
    (void)state;
    fixture *f = start();
    int fd = ask(f, POST("wait") ASKS "Content-Length: 5\r\n\r\n");
    pass(take_waiting(f));
    char *go = hear_one(fd);
    assert_int_equal(status_of(go), 100);
    free(go);
    say(fd, "12345");
    expect_last(fd, 200, "ann|12345");

    static const struct {
        const char *text;
        int status;
        const char *part;
    } cases[] = {
        {POST("wait") ASKS "Content-Length: 5000\r\n\r\n", 413, "larger than the 1000 bytes"},
        {POST("wait") ASKS "X-Color: red\r\nContent-Length: 5\r\n\r\n", 422, "red is refused"},
        {POST("wait") "X-Color: red\r\n" FIVE, 422, "red is refused"},
        {POST("wait") "\r\n", 400, "the request has no body"},
        {GET("wait") FIVE, 400, "takes no body"},
        {GET("wait") "X-Color: red\r\n\r\n", 422, "red is refused"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        fd = ask(f, cases[i].text);
        pass(take_waiting(f));
        expect_last(fd, cases[i].status, cases[i].part);
    }
    assert_int_equal(f->handled, 1);
    stop(f);
}

static void a_refusal_reaches_a_busy_sender(void **state)
{
    (void)state;
    fixture *f = start();
    char *piece = calloc(1, 1 << 20);
    assert_non_null(piece);
    for (int round = 0; round < 10; round++) {
        int fd = ask(f, "PUT /echo HTTP/1.1\r\n" HOST
                        "X-Gate: refuse-race\r\nContent-Length: 5000000\r\n\r\n");
        for (int i = 0; i < 4; i++) {
            say_n(fd, piece, 1 << 20);
        }
        char *answer = hear_all(fd);
        assert_status(answer, 401);
        free(answer);
        close(fd);
    }
    free(piece);
    stop(f);
}

static void decisions_race_with_falling_asleep(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
        bool closes;
    } kinds[] = {
        {GET("pass-race") "\r\n", 200, false},
        {GET("refuse-race") "\r\n", 401, false},
        {POST("pass-race") FIVE, 200, false},
        {POST("refuse-race") FIVE, 401, true},
    };
    fixture *f = start();
    int fds[NX_COUNT(kinds)];
    for (size_t i = 0; i < NX_COUNT(kinds); i++) {
        fds[i] = nx_dial(nx_http_server_port(f->server));
    }
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < NX_COUNT(kinds); i++) {
            say(fds[i], kinds[i].text);
        }
        for (size_t i = 0; i < NX_COUNT(kinds); i++) {
            char *answer = hear_one(fds[i]);
            assert_status(answer, kinds[i].status);
            free(answer);
            if (kinds[i].closes) {
                close(fds[i]);
                fds[i] = nx_dial(nx_http_server_port(f->server));
            }
        }
    }
    for (size_t i = 0; i < NX_COUNT(kinds); i++) {
        close(fds[i]);
    }
    stop(f);
}

/* --- clients that leave, servers that stop ------------------------------------------------------
 */

static void a_client_may_leave_while_it_waits(void **state)
{
    (void)state;
    static void (*const ways[])(int) = {nx_leave_by_close, nx_leave_by_half_close,
                                        nx_leave_by_reset};
    static const char *const texts[] = {
        GET("wait") "\r\n",
        POST("wait") "Content-Length: 5\r\n\r\n12",
        POST("wait") ASKS "Content-Length: 5\r\n\r\n",
    };
    fixture *f = start();
    int ended = 0;
    for (size_t i = 0; i < NX_COUNT(ways) * NX_COUNT(texts) * 2; i++) {
        int fd = ask(f, texts[i % NX_COUNT(texts)]);
        nx_http_request *request = take_waiting(f);
        ways[i / 2 % NX_COUNT(ways)](fd);
        if (i % 2 == 0) {
            pass(request);
        } else {
            refuse(request);
        }
        wait_until(f, &f->finished, ++ended); /* it ends, whoever is there to see it */
        if (ways[i / 2 % NX_COUNT(ways)] == nx_leave_by_half_close) {
            close(fd);
        }
    }
    while (nx_http_server_get_stats(f->server).connections > 0) {
        sched_yield();
    }
    stop(f);
}

static void *stop_now(void *argument)
{
    fixture *f = argument;
    nx_http_server_stop(f->server, nx_clock_now_ns());
    return NULL;
}

/* Stopping waits for the gate: the request is not forgotten, and not freed under it. */
static void a_server_may_stop_meanwhile(void **state)
{
    (void)state;
    static const char *const texts[] = {GET("wait") "\r\n", POST("wait") FIVE,
                                        POST("wait") ASKS "Content-Length: 5\r\n\r\n"};
    for (size_t i = 0; i < NX_COUNT(texts) * 2; i++) {
        fixture *f = start();
        int fd = ask(f, texts[i / 2]);
        nx_http_request *request = take_waiting(f);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, stop_now, f), 0);
        for (int c = 0; c < 20; c++) {
            sched_yield(); /* any order must do */
        }
        assert_string_equal(nx_http_path(request), "/echo"); /* still there */
        if (i % 2 == 0) {
            pass(request);
        } else {
            refuse(request);
        }
        pthread_join(thread, NULL); /* it ends: that is the test */
        close(fd);
        release(f);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gate_decides_at_once),
        cmocka_unit_test(the_gate_is_asked_before_limits),
        cmocka_unit_test(without_a_gate_all_may),
        cmocka_unit_test(a_request_waits_and_passes),
        cmocka_unit_test(a_body_is_not_read_meanwhile),
        cmocka_unit_test(a_request_waits_and_is_refused),
        cmocka_unit_test(a_refusal_does_not_wait_for_the_body),
        cmocka_unit_test(limits_and_admission_follow_the_gate),
        cmocka_unit_test(a_refusal_reaches_a_busy_sender),
        cmocka_unit_test(decisions_race_with_falling_asleep),
        cmocka_unit_test(a_client_may_leave_while_it_waits),
        cmocka_unit_test(a_server_may_stop_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
