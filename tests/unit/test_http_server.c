/* A real server on a free loopback port, spoken to byte by byte. */
#include "base/clock.h"
#include "http/server.h"
#include "http_client.h"
#include "testing.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

/* --- the server under test ----------------------------------------------------------------------
 */

typedef struct fixture {
    nx_http_server *server;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    nx_http_request *kept; /* by /wait, until somebody answers */
    int cancelled;
    int freed;    /* contexts */
    int finished; /* requests */
    int last_status;
    atomic_int handled;
} fixture;

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

static void hello(nx_http_request *request, void *user)
{
    fixture *f = user;
    f->handled++;
    nx_http_reply_static(request, 200, "text/plain", "hello\n", 6);
}

static bool append_pair(const char *name, const char *value, void *user)
{
    nx_buffer_printf(user, "%s=%s;", name, value != NULL ? value : "(none)");
    return true;
}

static void query(nx_http_request *request, void *user)
{
    (void)user;
    nx_buffer out = NX_BUFFER_INIT;
    nx_buffer_printf(&out, "%s|", nx_http_path(request));
    nx_http_each_query(request, append_pair, &out);
    nx_http_add_header(request, "X-Test", "yes");
    nx_http_reply(request, 200, "text/plain", &out);
}

static void params(nx_http_request *request, void *user)
{
    (void)user;
    nx_buffer out = NX_BUFFER_INIT;
    nx_buffer_printf(&out, "%s name=%s version=%s nam=%s;", nx_http_method(request),
                     nx_http_path_param(request, "name"), nx_http_path_param(request, "version"),
                     nx_http_path_param(request, "nam"));
    nx_http_reply(request, 200, "text/plain", &out);
}

static void echo(nx_http_request *request, void *user)
{
    fixture *f = user;
    f->handled++;
    size_t size = 0;
    const char *body = nx_http_body(request, &size);
    nx_buffer out = NX_BUFFER_INIT;
    nx_buffer_append(&out, body, size);
    nx_http_reply(request, 200, "application/octet-stream", &out);
}

static void form(nx_http_request *request, void *user)
{
    (void)user;
    size_t count = 0;
    const nx_http_part *parts = nx_http_parts(request, &count);
    nx_buffer out = NX_BUFFER_INIT;
    for (size_t i = 0; i < count; i++) {
        nx_buffer_printf(&out, "[%s|%s|%zu|%.8s]", parts[i].name,
                         parts[i].filename != NULL ? parts[i].filename : "-", parts[i].size,
                         parts[i].data);
    }
    nx_http_reply(request, 200, "text/plain", &out);
}

static void count_free(void *context)
{
    fixture *f = context;
    lock(f);
    f->freed++;
    unlock(f);
}

static void cancel(nx_http_request *request, void *user)
{
    fixture *f = user;
    lock(f);
    bool mine = f->kept == request;
    f->cancelled++;
    f->kept = mine ? NULL : f->kept;
    unlock(f);
    if (mine) {
        nx_http_reply_static(request, 499, NULL, NULL, 0);
    }
}

static void keep(nx_http_request *request, void *user)
{
    fixture *f = user;
    nx_http_set_context(request, f, count_free);
    nx_http_on_gone(request, cancel, f);
    lock(f);
    f->kept = request;
    unlock(f);
}

/* Answers from another thread while the connection is being put to sleep: the tight race. */
static void *answer_now(void *request)
{
    nx_http_reply_static(request, 200, "text/plain", "raced\n", 6);
    return NULL;
}

static void race(nx_http_request *request, void *user)
{
    (void)user;
    pthread_t thread;
    if (pthread_create(&thread, NULL, answer_now, request) != 0) {
        abort();
    }
    pthread_detach(thread);
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

static const char *const picture_types[] = {"image/", "application/octet-stream", NULL};
static const char *const form_types[] = {"multipart/form-data", NULL};

static const nx_http_route routes[] = {
    {.method = "GET", .pattern = "/hello", .handle = hello, .always = true},
    {.method = "GET", .pattern = "/limited", .handle = hello},
    {.method = "GET", .pattern = "/query/*", .handle = query},
    {.method = "GET", .pattern = "/models/special", .handle = hello},
    {.method = "GET", .pattern = "/models/{name}", .handle = params},
    {.method = "DELETE", .pattern = "/models/{name}", .handle = params},
    {.method = "PATCH", .pattern = "/models/{name}", .handle = params, .max_body = 10},
    {.method = "PUT",
     .pattern = "/models/{name}/versions/{version}",
     .handle = params,
     .max_body = 10,
     .body_optional = true},
    {.method = "POST", .pattern = "/plain/{name}", .handle = echo, .max_body = 10},
    {.method = "POST", .pattern = "/echo", .handle = echo, .max_body = 100000},
    {.method = "POST",
     .pattern = "/picture",
     .handle = echo,
     .admit = refuse_red,
     .max_body = 1000,
     .types = picture_types,
     .types_text = "Send a picture."},
    {.method = "POST",
     .pattern = "/form",
     .handle = form,
     .max_body = 1000000,
     .types = form_types,
     .types_text = "Send a form.",
     .max_files = 3,
     .too_many_files_status = 413,
     .too_many_files_advice = "Send three."},
    {.method = "POST", .pattern = "/wait", .handle = keep, .max_body = 1000, .per_client = true},
    {.method = "GET", .pattern = "/race", .handle = race},
};

static nx_http_server_options default_options(fixture *f)
{
    return (nx_http_server_options){
        .host = "127.0.0.1",
        .threads = 2,
        .backlog = 64,
        .max_connections = 64,
        .keepalive_s = 30,
        .request_timeout_s = 30,
        .limit_concurrency = 100,
        .limit_per_client = 50,
        .max_inflight_body = 1 << 20,
        .plain_errors = "/plain",
        .routes = routes,
        .route_count = NX_COUNT(routes),
        .on_access = on_access,
        .user = f,
    };
}

static fixture *start_with(nx_http_server_options options, fixture *f)
{
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    options.user = f;
    nx_error err = {0};
    nx_assert_ok(nx_http_server_start(&options, &f->server, &err), err);
    return f;
}

static fixture *start(void)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    return start_with(default_options(f), f);
}

static void stop(fixture *f)
{
    nx_http_server_stop(f->server, nx_clock_now_ns() + 5 * NX_NS_PER_SEC);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* Waits until *number, which the lock guards, is at least `least`. */
static void wait_until(fixture *f, const int *number, int least)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ANSWER_MS / 1000;
    lock(f);
    int result = 0;
    while (*number < least && result == 0) {
        result = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    }
    int reached = *number;
    unlock(f);
    assert_true(reached >= least);
}

static nx_http_request *take_kept(fixture *f)
{
    lock(f);
    while (f->kept == NULL) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    nx_http_request *request = f->kept;
    f->kept = NULL;
    unlock(f);
    return request;
}

/* --- the client ---------------------------------------------------------------------------------
 */

static int dial(const fixture *f)
{
    return nx_dial(nx_http_server_port(f->server));
}

/* Sends one request on a connection of its own and returns the whole answer. */
static char *ask(const fixture *f, const char *text)
{
    int fd = dial(f);
    say(fd, text);
    char *answer = hear_one(fd);
    close(fd);
    return answer;
}

static void expect(const fixture *f, const char *text, int status, const char *part)
{
    char *answer = ask(f, text);
    assert_status(answer, status);
    nx_assert_contains(answer, part);
    free(answer);
}

/* --- routing and answers ------------------------------------------------------------------------
 */

static void routes_answer(void **state)
{
    (void)state;
    fixture *f = start();
    expect(f, "GET /hello HTTP/1.1\r\n" HOST "\r\n", 200, "\r\n\r\nhello\n");
    expect(f, "GET http://localhost/hello HTTP/1.1\r\n" HOST "\r\n", 200, "\r\n\r\nhello\n");
    expect(f, "GET /query/a/b?x=1&y=%41+b&z HTTP/1.1\r\n" HOST "\r\n", 200,
           "\r\n\r\n/query/a/b|x=1;y=A b;z=(none);");
    expect(f, "GET /query/ HTTP/1.1\r\n" HOST "\r\n", 200, "X-Test: yes\r\n");
    expect(f, "GET /nothing HTTP/1.1\r\n" HOST "\r\n", 404, "there is nothing at /nothing");
    expect(f, "GET /x%20y/%7B%c3%a4%22 HTTP/1.1\r\n" HOST "\r\n", 404,
           "\"instance\":\"/x%20y/%7B%C3%A4%22\"");
    expect(f, "GET /hello/ HTTP/1.1\r\n" HOST "\r\n", 404, "\"instance\":\"/hello/\"");
    expect(f, "DELETE /hello HTTP/1.1\r\n" HOST "\r\n", 405, "Allow: GET, HEAD\r\n");
    expect(f, "GET /echo HTTP/1.1\r\n" HOST "\r\n", 405, "Allow: POST\r\n");
    expect(f, "GET /hello HTTP/1.0\r\n\r\n", 200, "Connection: close\r\n");
    stop(f);
}

static void patterns_have_parameters(void **state)
{
    (void)state;
    fixture *f = start();
    expect(f, "GET /models/yolov8n HTTP/1.1\r\n" HOST "\r\n", 200,
           "GET name=yolov8n version= nam=;");
    expect(f, "GET /models/a%20b%C3%A9 HTTP/1.1\r\n" HOST "\r\n", 200, "name=a b\xc3\xa9 ");
    expect(f, "GET /models/special HTTP/1.1\r\n" HOST "\r\n", 200, "hello");
    expect(f, "DELETE /models/special HTTP/1.1\r\n" HOST "\r\n", 200, "DELETE name=special ");
    expect(f, "PATCH /models/x HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi", 200,
           "PATCH name=x ");
    expect(f, "PUT /models/x/versions/12 HTTP/1.1\r\n" HOST "\r\n", 200, "PUT name=x version=12 ");
    expect(f, "PUT /models/x/versions/1 HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi", 200,
           "version=1 ");
    expect(f, "PATCH /models/x HTTP/1.1\r\n" HOST "\r\n", 400, "the request has no body");
    static const char *const nowhere[] = {
        "/models/",
        "/models",
        "/models/x/",
        "/models//versions/1",
        "/models/a%2Fb",
        "/models/x/versions",
        "/models/x/versions/1/",
        "/models/x/version/1",
    };
    for (size_t i = 0; i < NX_COUNT(nowhere); i++) {
        char text[200];
        snprintf(text, sizeof text, "PUT %s HTTP/1.1\r\n" HOST "\r\n", nowhere[i]);
        expect(f, text, 404, "there is nothing at ");
    }
    expect(f, "POST /models/x HTTP/1.1\r\n" HOST "\r\n", 405,
           "Allow: GET, HEAD, PATCH, DELETE\r\n");
    expect(f, "POST /models/special HTTP/1.1\r\n" HOST "\r\n", 405,
           "Use GET, HEAD, PATCH, DELETE.");
    expect(f, "GET /models/x/versions/1 HTTP/1.1\r\n" HOST "\r\n", 405, "Allow: PUT\r\n");
    stop(f);
}

static void problems_can_be_plain(void **state)
{
    (void)state;
    fixture *f = start();
    static const char *const requests[] = {
        "GET /plain/a/b HTTP/1.1\r\n" HOST "\r\n",
        "GET /plain/a HTTP/1.1\r\n" HOST "\r\n",
        "POST /plain/a HTTP/1.1\r\n" HOST "\r\n",
        "POST /plain/a HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n",
        "POST /plain/a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n",
    };
    static const char *const answers[] = {
        "HTTP/1.1 404 ", "HTTP/1.1 405 ", "HTTP/1.1 400 ", "HTTP/1.1 413 ", "HTTP/1.1 413 ",
    };
    for (size_t i = 0; i < NX_COUNT(requests); i++) {
        char *answer = ask(f, requests[i]);
        nx_assert_contains(answer, answers[i]);
        nx_assert_contains(answer, "Content-Type: application/json\r\n");
        nx_assert_contains(answer, "\r\n\r\n{\"error\":\"");
        free(answer);
    }
    expect(f, "GET /plainer HTTP/1.1\r\n" HOST "\r\n", 404, "application/problem+json");
    stop(f);
}

static void head_has_the_header_of_get(void **state)
{
    (void)state;
    fixture *f = start();
    int fd = dial(f);
    say(fd, "HEAD /hello HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    char *answer = hear_all(fd);
    assert_status(answer, 200);
    nx_assert_contains(answer, "Content-Length: 6\r\n");
    assert_null(strstr(answer, "hello"));
    free(answer);
    close(fd);
    stop(f);
}

static void every_answer_carries_the_standing_headers(void **state)
{
    (void)state;
    fixture *f = start();
    static const char *const requests[] = {
        "GET /hello HTTP/1.1\r\n" HOST "\r\n", "GET /nothing HTTP/1.1\r\n" HOST "\r\n",
        "GET /hello HTTP/1.1\r\n\r\n", /* no Host: 400 */
        "POST /picture HTTP/1.1\r\n" HOST
        "Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
        "fff\r\n", /* 413 in the middle of the body once 1,001 bytes are there */
    };
    char padding[2000];
    memset(padding, 'x', sizeof padding);
    for (size_t i = 0; i < NX_COUNT(requests); i++) {
        int fd = dial(f);
        say(fd, requests[i]);
        if (i == 3) {
            say_n(fd, padding, sizeof padding);
        }
        char *answer = hear_one(fd);
        assert_int_equal(status_of(answer), i == 0 ? 200 : i == 1 ? 404 : i == 2 ? 400 : 413);
        nx_assert_contains(answer, "X-Request-Id: ");
        nx_assert_contains(answer, "X-Content-Type-Options: nosniff\r\n");
        nx_assert_contains(answer, "Referrer-Policy: no-referrer\r\n");
        nx_assert_contains(answer, "Content-Security-Policy: default-src 'none'");
        nx_assert_contains(answer, "Date: ");
        if (i > 0) {
            nx_assert_contains(answer, "Content-Type: application/problem+json\r\n");
            nx_assert_contains(answer, "\"type\":\"about:blank\",\"title\":");
            nx_assert_contains(answer, "\"advice\":");
            nx_assert_contains(answer, "\"request_id\":");
        }
        free(answer);
        close(fd);
    }
    stop(f);
}

static void request_ids(void **state)
{
    (void)state;
    fixture *f = start();
    expect(f, "GET /hello HTTP/1.1\r\n" HOST "X-Request-Id: my-id_1.2\r\n\r\n", 200,
           "X-Request-Id: my-id_1.2\r\n");
    char *first = ask(f, "GET /hello HTTP/1.1\r\n" HOST "X-Request-Id: a\"b\r\n\r\n");
    char *second = ask(f, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    const char *a = strstr(first, "X-Request-Id: ");
    const char *b = strstr(second, "X-Request-Id: ");
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(strcspn(a + 14, "\r"), 16);
    assert_int_equal(strspn(a + 14, "0123456789abcdef"), 16);
    assert_memory_not_equal(a + 14, b + 14, 16);
    free(first);
    free(second);
    stop(f);
}

static void a_connection_serves_many_requests(void **state)
{
    (void)state;
    fixture *f = start();
    int fd = dial(f);
    for (int i = 0; i < 5; i++) {
        say(fd, i % 2 == 0 ? "GET /hello HTTP/1.1\r\n" HOST "\r\n"
                           : "GET /nothing HTTP/1.1\r\n" HOST "\r\n");
        char *answer = hear_one(fd);
        assert_status(answer, i % 2 == 0 ? 200 : 404);
        free(answer);
    }
    /* pipelined */
    say(fd, "GET /race HTTP/1.1\r\n" HOST "\r\nGET /query/2 HTTP/1.1\r\n" HOST
            "Connection: close\r\n\r\n");
    char *answers = hear_all(fd);
    const char *first = strstr(answers, "raced\n");
    assert_non_null(first);
    nx_assert_contains(first, "\r\n\r\n/query/2|");
    free(answers);
    close(fd);
    stop(f);
}

/* --- bodies -------------------------------------------------------------------------------------
 */

static void bodies_come_whole(void **state)
{
    (void)state;
    fixture *f = start();
    expect(f, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n12345", 200,
           "\r\n\r\n12345");
    expect(f,
           "POST /echo HTTP/1.1\r\n" HOST
           "Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
           200, "\r\n\r\nabcde");

    char *body = malloc(100000);
    assert_non_null(body);
    for (size_t i = 0; i < 100000; i++) {
        body[i] = (char)('a' + i % 23);
    }
    int fd = dial(f);
    say(fd, "POST /echo HTTP/1.1\r\n" HOST "Connection: close\r\nContent-Length: 100000\r\n\r\n");
    say_n(fd, body, 100000);
    char *answer = hear_all(fd);
    assert_status(answer, 200);
    assert_memory_equal(strstr(answer, "\r\n\r\n") + 4, body, 100000);
    free(answer);
    free(body);
    close(fd);
    nx_http_stats stats = nx_http_server_get_stats(f->server);
    assert_true(stats.body_bytes <= 100000); /* the last request may not have been put away yet */
    stop(f);
}

static void bodies_are_refused_early(void **state)
{
    (void)state;
    fixture *f = start();
    /* declared: refused although not one byte follows */
    expect(f, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100001\r\n\r\n", 413,
           "larger than the 100000 bytes");
    expect(f, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10000000000\r\n\r\n", 413,
           "Connection: close\r\n");
    expect(f,
           "POST /echo HTTP/1.1\r\n" HOST
           "Expect: 100-continue\r\nContent-Length: 10000000000\r\n\r\n",
           413, "HTTP/1.1 413");
    expect(f, "POST /picture HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", 415,
           "the request has no Content-Type");
    expect(f,
           "POST /picture HTTP/1.1\r\n" HOST "Content-Type: text/html\r\nContent-Length: 5\r\n\r\n",
           415, "'text/html' are not read here\",\"advice\":\"Send a picture.\"");
    expect(f,
           "POST /picture HTTP/1.1\r\n" HOST
           "Content-Type: image/png\r\nX-Color: red\r\nContent-Length: 5\r\n\r\n",
           422, "red is refused");
    expect(f, "POST /picture HTTP/1.1\r\n" HOST "Content-Type: image/png\r\n\r\n", 400,
           "the request has no body");
    expect(f, "GET /hello HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n12345", 400,
           "takes no body");
    assert_int_equal(f->handled, 0);
    expect(f,
           "POST /picture HTTP/1.1\r\n" HOST
           "Content-Type: Image/PNG; a=b\r\nContent-Length: 5\r\n\r\n12345",
           200, "12345");
    stop(f);
}

static void a_client_that_asks_first_is_told(void **state)
{
    (void)state;
    fixture *f = start();
    int fd = dial(f);
    say(fd, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    char *go = hear_one(fd);
    assert_int_equal(status_of(go), 100);
    free(go);
    say(fd, "12345");
    char *answer = hear_one(fd);
    assert_status(answer, 200);
    free(answer);
    close(fd);
    stop(f);
}

/* A refusal must reach a client that is still sending: closing at once would reset the connection
 * and throw the answer away. */
static void a_refusal_reaches_a_busy_sender(void **state)
{
    (void)state;
    fixture *f = start();
    char *piece = calloc(1, 1 << 20);
    assert_non_null(piece);
    for (int round = 0; round < 20; round++) {
        int fd = dial(f);
        say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5000000\r\n\r\n");
        for (int i = 0; i < 4; i++) {
            say_n(fd, piece, 1 << 20);
        }
        char *answer = hear_all(fd);
        assert_status(answer, 413);
        free(answer);
        close(fd);
    }
    free(piece);
    stop(f);
}

static void all_bodies_together_are_bounded(void **state)
{
    (void)state;
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    nx_http_server_options options = default_options(f);
    options.max_inflight_body = 1500;
    start_with(options, f);
    int first = dial(f);
    say(first, "POST /wait HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
    char body[1000] = {0};
    say_n(first, body, sizeof body);
    nx_http_request *kept = take_kept(f);
    int second = dial(f);
    say(second, "POST /wait HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
    say_n(second, body, sizeof body);
    char *answer = hear_all(second);
    assert_status(answer, 503);
    nx_assert_contains(answer, "Retry-After: 1\r\n");
    nx_assert_contains(answer, "no room for more request bodies");
    free(answer);
    nx_http_reply_static(kept, 200, "text/plain", "ok", 2);
    answer = hear_one(first);
    assert_status(answer, 200);
    free(answer);
    close(first);
    close(second);
    stop(f);
}

/* --- forms --------------------------------------------------------------------------------------
 */

#define PART(disposition, data)                                                                    \
    "--BB\r\nContent-Disposition: form-data; " disposition "\r\n\r\n" data "\r\n"

static char *post_form(const fixture *f, const char *body, size_t piece)
{
    int fd = dial(f);
    char header[256];
    snprintf(header, sizeof header,
             "POST /form HTTP/1.1\r\n" HOST
             "Content-Type: multipart/form-data; boundary=BB\r\nContent-Length: %zu\r\n\r\n",
             strlen(body));
    say(fd, header);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    for (size_t at = 0; at < strlen(body); at += piece) {
        size_t left = strlen(body) - at;
        say_n(fd, body + at, left < piece ? left : piece);
    }
    char *answer = hear_one(fd);
    close(fd);
    return answer;
}

static void expect_form(const fixture *f, const char *body, int status, const char *part)
{
    for (size_t piece = 1; piece <= 4096; piece *= 64) { /* 1, 64 and 4,096 bytes at a time */
        char *answer = post_form(f, body, piece);
        assert_status(answer, status);
        nx_assert_contains(answer, part);
        free(answer);
    }
}

static void forms_are_taken_apart(void **state)
{
    (void)state;
    fixture *f = start();
    expect_form(f,
                PART("name=\"image\"; filename=\"a b.jpg\"", "12345") PART("name=\"conf\"", "0.5")
                    PART("name=\"empty\"", "") "--BB--\r\n",
                200, "\r\n\r\n[image|a b.jpg|5|12345][conf|-|3|0.5][empty|-|0|]");
    /* data that looks nearly like a boundary */
    expect_form(f, PART("name=\"a\"", "\r\n--A\r\n-") "--BB--\r\n", 200, "[a|-|8|");
    /* an empty file before one of the same name is a file of its own */
    expect_form(f,
                PART("name=\"f\"; filename=\"blob\"", "")
                    PART("name=\"f\"; filename=\"blob\"", "xy")
                        PART("name=\"f\"; filename=\"blob\"", "") "--BB--\r\n",
                200, "\r\n\r\n[f|blob|0|][f|blob|2|xy][f|blob|0|]");
    stop(f);
}

static void bad_forms_are_refused(void **state)
{
    (void)state;
    fixture *f = start();
    expect_form(f, PART("name=\"image\"; filename=\"a\"", "12345"), 400,
                "ends before its closing boundary");
    expect_form(f, "--BB\r\nContent-Disposition: form-data; name=\"image\"", 400,
                "ends before its closing boundary");
    expect_form(f, "no boundary at all", 400, "has no parts");
    expect_form(f, "--BB--\r\n", 400, "has no parts");
    expect_form(f, PART("filename=\"a\"", "12345") "--BB--\r\n", 400, "has no name");
    expect_form(f, "--BB\r\nX: y\r\n\r\n1\r\n--BB--\r\n", 400, "has no name");
    expect_form(f, PART("name=\"\"", "12345") "--BB--\r\n", 400, "has no name");
    /* \1 is what a part that goes on is known by */
    expect_form(f, PART("name=\"\1x\"", "1") "--BB--\r\n", 400, "control character");
    expect_form(f, PART("name=\"ax\"", "") PART("name=\"\1y\"", "1") "--BB--\r\n", 400,
                "control character");
    expect_form(f,
                PART("name=\"f\"; filename=\"1\"", "1") PART("name=\"f\"; filename=\"2\"", "2")
                    PART("name=\"f\"; filename=\"3\"", "3")
                        PART("name=\"f\"; filename=\"4\"", "4") "--BB--\r\n",
                413, "more than 3 files");
    expect(f,
           "POST /form HTTP/1.1\r\n" HOST
           "Content-Type: multipart/form-data\r\nContent-Length: 5\r\n\r\n12345",
           400, "no usable boundary");

    nx_buffer many = NX_BUFFER_INIT;
    for (int i = 0; i < 65; i++) {
        nx_buffer_append_str(&many, PART("name=\"x\"", "1"));
    }
    nx_buffer_append_str(&many, "--BB--\r\n");
    char *answer = post_form(f, nx_buffer_cstr(&many), 4096);
    assert_status(answer, 400);
    nx_assert_contains(answer, "more than 64 fields");
    free(answer);

    nx_buffer_clear(&many);
    nx_buffer_append_str(&many, "--BB\r\nContent-Disposition: form-data; name=\"long\"\r\n\r\n");
    for (int i = 0; i < 70000; i++) {
        nx_buffer_append_char(&many, 'x');
    }
    answer = post_form(f, nx_buffer_cstr(&many), 4096);
    assert_status(answer, 413);
    nx_assert_contains(answer, "field 'long' has more than 65536 bytes");
    free(answer);
    nx_buffer_free(&many);
    stop(f);
}

/* --- framing ------------------------------------------------------------------------------------
 */

/* Each is followed by a request that must not be served. */
static const char *const bad_framing[] = {
    HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n12345",
    HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
    HOST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    HOST "Content-Length: +5\r\n\r\n12345",
    HOST "Content-Length: 5 \r\n\r\n12345",
    HOST "Content-Length: 0x5\r\n\r\n12345",
    HOST "Content-Length: 5,5\r\n\r\n12345",
    HOST "Content-Length: -1\r\n\r\n",
    HOST "Content-Length:\r\n\r\n",
    HOST "Content-Length: abc\r\n\r\n",
    HOST "Content-Length: 9223372036854775808\r\n\r\n",
    HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    HOST "Transfer-Encoding: chunked\r\nContent-Length: abc\r\n\r\n0\r\n\r\n",
    HOST "Transfer-Encoding: gzip\r\n\r\n",
    HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HOST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    HOST "Content-Length : 5\r\n\r\n12345",
    HOST "\tContent-Length: 5\r\n\r\n12345",
    HOST "Content-Length: 5\r\n 6\r\n\r\n12345",
    HOST "Content-Length: 5\r\n \r\n\r\n12345",
    HOST "Content-Leng: 5\r\n th\r\n\r\n12345",
    HOST "X-A: b\r\n Content-Length: 5\r\n\r\n12345",
    HOST "X-A: b\rContent-Length: 5\r\n\r\n12345",
    HOST "Content-Length\r\n\r\n",
    HOST "Host: other\r\n\r\n",
    "X-A: b\r\n\r\n",
    "Host: a b\r\n\r\n",
};

static void doubtful_framing_is_refused_and_closed(void **state)
{
    (void)state;
    fixture *f = start();
    for (size_t i = 0; i < NX_COUNT(bad_framing); i++) {
        int fd = dial(f);
        say(fd, "POST /echo HTTP/1.1\r\n");
        say(fd, bad_framing[i]);
        say(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        char *answer = hear_all(fd); /* which ends, because the server closes */
        if (status_of(answer) != 400) {
            fail_msg("framing %zu (%s): %s", i, bad_framing[i], answer);
        }
        nx_assert_contains(answer, "Connection: close\r\n");
        assert_null(strstr(answer, "hello"));
        assert_null(strstr(answer, "HTTP/1.1 200"));
        free(answer);
        close(fd);
    }
    assert_int_equal(f->handled, 0);
    expect(f, "GET /hello HTTP/1.1\r\n" HOST "\r\n", 200, "hello");
    stop(f);
}

/* libmicrohttpd answers these itself; what counts is that it refuses and closes. */
static void other_malformed_requests_are_refused_and_closed(void **state)
{
    (void)state;
    fixture *f = start();
    static const struct {
        const char *text;
        int low, high;
    } cases[] = {
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n", 400,
         413},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400, 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x5\r\n12345\r\n", 400,
         400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\n123456\r\n", 400,
         400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
         400, 413},
        {"GET /hello HTTP/2.0\r\n\r\n", 400, 505},
        {"GET /hello\r\n\r\n", 400, 505},
        {"\x16\x03\x01\x02\r\n\r\n", 0, 400},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        int fd = dial(f);
        say(fd, cases[i].text);
        say(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        char *answer = hear_all(fd);
        int status = status_of(answer);
        if (status < cases[i].low || status > cases[i].high) {
            fail_msg("case %zu: %s", i, answer);
        }
        assert_null(strstr(answer, "hello\n"));
        free(answer);
        close(fd);
    }
    stop(f);
}

static void headers_are_bounded(void **state)
{
    (void)state;
    fixture *f = start();
    nx_buffer text = NX_BUFFER_INIT;
    nx_buffer_append_str(&text, "GET /hello HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 150; i++) {
        nx_buffer_printf(&text, "X-%d: y\r\n", i);
    }
    nx_buffer_append_str(&text, "\r\n");
    expect(f, nx_buffer_cstr(&text), 431, "more than 100 headers");

    nx_buffer_clear(&text);
    nx_buffer_append_str(&text, "GET /hello HTTP/1.1\r\n" HOST "X-Long: ");
    for (int i = 0; i < 100000; i++) {
        nx_buffer_append_char(&text, 'x');
    }
    expect(f, nx_buffer_cstr(&text), 431, "HTTP/1.1 431");
    nx_buffer_free(&text);
    stop(f);
}

/* Long honest headers make libmicrohttpd's buffer grow; they must not look folded. */
static void long_headers_are_served(void **state)
{
    (void)state;
    fixture *f = start();
    for (int size = 1000; size <= 16000; size += 3000) {
        nx_buffer text = NX_BUFFER_INIT;
        nx_buffer_append_str(&text, "GET /hello HTTP/1.1\r\nX-Empty:\r\n" HOST "X-Long: \t ");
        for (int i = 0; i < size; i++) {
            nx_buffer_append_char(&text, 'x');
        }
        nx_buffer_append_str(&text, "\r\nCookie: a=b; c=d\r\nX-Last: z\r\n");
        int fd = dial(f);
        say(fd, nx_buffer_cstr(&text));
        say(fd, "\r\n");
        char *answer = hear_one(fd);
        assert_status(answer, 200);
        free(answer);
        close(fd);
        nx_buffer_free(&text);
    }
    stop(f);
}

/* --- answers that come later --------------------------------------------------------------------
 */

#define WAIT_REQUEST "POST /wait HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"

static void an_answer_may_come_later(void **state)
{
    (void)state;
    fixture *f = start();
    int fd = dial(f);
    for (int i = 0; i < 3; i++) {
        say(fd, WAIT_REQUEST);
        nx_http_request *request = take_kept(f);
        nx_http_reply_static(request, 200, "text/plain", "later\n", 6);
        char *answer = hear_one(fd);
        nx_assert_contains(answer, "later\n");
        free(answer);
        wait_until(f, &f->freed, i + 1);
    }
    assert_int_equal(f->cancelled, 0);
    close(fd);
    stop(f);
}

static void answers_race_with_falling_asleep(void **state)
{
    (void)state;
    fixture *f = start();
    int fds[4];
    for (size_t i = 0; i < NX_COUNT(fds); i++) {
        fds[i] = dial(f);
    }
    for (int round = 0; round < 250; round++) {
        for (size_t i = 0; i < NX_COUNT(fds); i++) {
            say(fds[i], "GET /race HTTP/1.1\r\n" HOST "\r\n");
        }
        for (size_t i = 0; i < NX_COUNT(fds); i++) {
            char *answer = hear_one(fds[i]);
            assert_status(answer, 200);
            free(answer);
        }
    }
    for (size_t i = 0; i < NX_COUNT(fds); i++) {
        close(fds[i]);
    }
    stop(f);
}

static void a_client_that_leaves_is_noticed(void **state)
{
    (void)state;
    static void (*const ways[])(int) = {nx_leave_by_close, nx_leave_by_half_close,
                                        nx_leave_by_reset};
    fixture *f = start();
    for (size_t i = 0; i < NX_COUNT(ways); i++) {
        int fd = dial(f);
        say(fd, WAIT_REQUEST);
        lock(f);
        while (f->kept == NULL) {
            pthread_cond_wait(&f->changed, &f->lock);
        }
        unlock(f);
        ways[i](fd);
        wait_until(f, &f->cancelled, (int)i + 1);
        wait_until(f, &f->freed, (int)i + 1);
        wait_until(f, &f->finished, (int)i + 1);
        if (ways[i] == nx_leave_by_half_close) {
            close(fd);
        }
    }
    assert_int_equal(f->last_status, 499);
    int64_t give_up = nx_clock_now_ns() + 10 * NX_NS_PER_SEC;
    while (nx_http_server_get_stats(f->server).requests > 0) { /* falls just after on_access */
        assert_true(nx_clock_now_ns() < give_up);
        sched_yield();
    }
    stop(f);
}

/* Bytes of a next request behind the waiting one must not hide that the client has gone. */
static void pipelined_bytes_do_not_hide_a_departure(void **state)
{
    (void)state;
    fixture *f = start();
    int fd = dial(f);
    say(fd, WAIT_REQUEST "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    lock(f);
    while (f->kept == NULL) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    unlock(f);
    close(fd);
    wait_until(f, &f->cancelled, 1);
    stop(f);
}

/* libmicrohttpd 0.9.75 misses the end of a connection that came together with its last bytes. */
static void a_client_that_sends_and_closes_at_once_is_forgotten(void **state)
{
    (void)state;
    fixture *f = start();
    for (int i = 0; i < 200; i++) {
        int fd = dial(f);
        say(fd, i % 2 == 0 ? "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\nx"
                           : "GET /hello HTTP/1.1\r\n" HOST);
        close(fd);
    }
    int64_t give_up = nx_clock_now_ns() + 10 * NX_NS_PER_SEC; /* keepalive_s is 30 */
    while (nx_http_server_get_stats(f->server).connections > 0) {
        assert_true(nx_clock_now_ns() < give_up);
        sched_yield();
    }
    stop(f);
}

static void *stop_server(void *argument)
{
    fixture *f = argument;
    nx_http_server_stop(f->server, nx_clock_now_ns() + NX_NS_PER_SEC / 10);
    return NULL;
}

static void stopping_cancels_what_does_not_end(void **state)
{
    (void)state;
    fixture *f = start();
    int fd = dial(f);
    say(fd, WAIT_REQUEST);
    lock(f);
    while (f->kept == NULL) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    unlock(f);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_server, f), 0);
    pthread_join(thread, NULL); /* it ends: that is the test */
    assert_int_equal(f->cancelled, 1);
    assert_int_equal(f->freed, 1);
    close(fd);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void stopping_waits_for_answers(void **state)
{
    (void)state;
    fixture *f = start();
    int fd = dial(f);
    say(fd, WAIT_REQUEST);
    nx_http_request *request = take_kept(f);
    nx_http_server_announce_stop(f->server);
    nx_http_reply_static(request, 200, "text/plain", "last\n", 5);
    nx_http_server_stop(f->server, nx_clock_now_ns() + 5 * NX_NS_PER_SEC);
    char *answer = hear_all(fd);
    nx_assert_contains(answer, "last\n");
    nx_assert_contains(answer, "Connection: close\r\n");
    free(answer);
    close(fd);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* --- limits and time ----------------------------------------------------------------------------
 */

static void requests_in_flight_are_limited(void **state)
{
    (void)state;
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    nx_http_server_options options = default_options(f);
    options.limit_concurrency = 2;
    options.limit_per_client = 1;
    start_with(options, f);
    int fd = dial(f);
    say(fd, WAIT_REQUEST);
    nx_http_request *first = take_kept(f);
    expect(f, WAIT_REQUEST, 429, "this client has 1 requests in flight");
    expect(f, "GET /limited HTTP/1.1\r\n" HOST "\r\n", 200, "hello"); /* counts, but not for 429 */

    int slow = dial(f); /* a body on its way is in flight */
    say(slow, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    char *go = hear_one(slow);
    assert_int_equal(status_of(go), 100);
    free(go);
    expect(f, "GET /limited HTTP/1.1\r\n" HOST "\r\n", 503, "Retry-After: 1\r\n");
    expect(f, "GET /hello HTTP/1.1\r\n" HOST "\r\n", 200, "hello"); /* always */
    close(slow);

    nx_http_reply_static(first, 200, "text/plain", "x", 1);
    char *answer = hear_one(fd);
    assert_status(answer, 200);
    free(answer);
    wait_until(f, &f->freed, 1);
    say(fd, WAIT_REQUEST); /* the slot is free again */
    nx_http_reply_static(take_kept(f), 200, "text/plain", "x", 1);
    answer = hear_one(fd);
    assert_status(answer, 200);
    free(answer);
    close(fd);
    stop(f);
}

static fixture *start_impatient(void)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    nx_http_server_options options = default_options(f);
    options.keepalive_s = 1;
    options.request_timeout_s = 1;
    return start_with(options, f);
}

static bool is_closed_within(int fd, int milliseconds)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};
    char c;
    return poll(&p, 1, milliseconds) == 1 && recv(fd, &c, 1, MSG_DONTWAIT) <= 0;
}

static void a_slow_body_is_told_408(void **state)
{
    (void)state;
    fixture *f = start_impatient();
    int fd = dial(f);
    int64_t start_ns = nx_clock_now_ns();
    say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
    bool heard = false;
    while (!heard) { /* a byte now and then, so that no inactivity timeout would fire */
        say(fd, "x");
        struct pollfd p = {.fd = fd, .events = POLLIN};
        heard = poll(&p, 1, 100) == 1;
        assert_true(nx_clock_now_ns() - start_ns < 5 * NX_NS_PER_SEC);
    }
    assert_true(nx_clock_now_ns() - start_ns >= NX_NS_PER_SEC);
    char *answer = hear_all(fd);
    assert_status(answer, 408);
    nx_assert_contains(answer, "did not arrive within 1 s");
    free(answer);
    close(fd);
    wait_until(f, &f->finished, 1);
    assert_int_equal(f->last_status, 408);
    assert_int_equal(f->handled, 0);
    stop(f);
}

static void a_late_client_that_stays_is_closed(void **state)
{
    (void)state;
    fixture *f = start_impatient();
    int fd = dial(f);
    say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
    char *answer = hear_one(fd);
    assert_status(answer, 408);
    free(answer);
    wait_until(f, &f->finished, 1); /* although the client neither sends nor closes */
    close(fd);
    stop(f);
}

static void a_slow_header_is_closed(void **state)
{
    (void)state;
    fixture *f = start_impatient();
    int idle = dial(f);
    int slow = dial(f);
    int64_t start_ns = nx_clock_now_ns();
    say(slow, "GET /hello HTTP/1.1\r\nX-Slow: ");
    while (!is_closed_within(slow, 100)) {
        say(slow, "x");
        assert_true(nx_clock_now_ns() - start_ns < 5 * NX_NS_PER_SEC);
    }
    assert_true(is_closed_within(idle, 3000));
    close(slow);
    close(idle);
    assert_int_equal(f->finished, 0);
    stop(f);
}

static void waiting_for_an_answer_has_no_limit_here(void **state)
{
    (void)state;
    fixture *f = start_impatient();
    int fd = dial(f);
    say(fd, WAIT_REQUEST);
    nx_http_request *request = take_kept(f);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 1500), 0); /* longer than both timeouts: nothing happens */
    nx_http_reply_static(request, 200, "text/plain", "patience\n", 9);
    char *answer = hear_one(fd);
    nx_assert_contains(answer, "patience\n");
    free(answer);
    close(fd);
    stop(f);
}

static void a_newcomer_costs_the_longest_idle_its_place(void **state)
{
    (void)state;
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    nx_http_server_options options = default_options(f);
    options.max_connections = 16; /* 14 are kept */
    start_with(options, f);
    int idle[40];
    for (size_t i = 0; i < NX_COUNT(idle); i++) {
        idle[i] = dial(f);
        say(idle[i], "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        char *answer = hear_one(idle[i]);
        assert_status(answer, 200); /* each is served, however many idle */
        free(answer);
    }
    assert_true(is_closed_within(idle[0], ANSWER_MS));
    assert_true(is_closed_within(idle[20], ANSWER_MS));
    assert_false(is_closed_within(idle[39], 0));
    for (size_t i = 0; i < NX_COUNT(idle); i++) {
        close(idle[i]);
    }
    stop(f);
}

/* libmicrohttpd's threads must not look at the listening socket while it is taken from them. */
static void stopping_races_with_newcomers(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        fixture *f = calloc(1, sizeof *f);
        assert_non_null(f);
        nx_http_server_options options = default_options(f);
        options.threads = 4;
        start_with(options, f);
        int fds[8];
        for (size_t i = 0; i < NX_COUNT(fds); i++) {
            fds[i] = dial(f);
            say(fds[i], "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        }
        stop(f);
        for (size_t i = 0; i < NX_COUNT(fds); i++) {
            char bytes[4096];
            while (hear(fds[i], bytes, sizeof bytes) > 0) { /* an answer or none, and the end */
            }
            close(fds[i]);
        }
    }
}

/* --- listening ----------------------------------------------------------------------------------
 */

static void a_taken_port_is_named(void **state)
{
    (void)state;
    fixture *f = start();
    nx_http_server_options options = default_options(f);
    options.port = nx_http_server_port(f->server);
    nx_http_server *second = NULL;
    nx_error err = {0};
    assert_int_equal(nx_http_server_start(&options, &second, &err), NX_ERR_UNAVAILABLE);
    char expected[200];
    snprintf(expected, sizeof expected,
             "port %u on 127.0.0.1 is in use by another program; choose another with --port or "
             "NEXUS_PORT",
             options.port);
    assert_string_equal(err.message, expected);

    options.port = 0;
    options.host = "192.0.2.1"; /* TEST-NET-1: nobody's */
    assert_int_equal(nx_http_server_start(&options, &second, &err), NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, "this machine has no address 192.0.2.1");
    options.host = "no such host";
    assert_int_equal(nx_http_server_start(&options, &second, &err), NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, "cannot listen on 'no such host'");
    stop(f);
}

static void one_thread_and_every_address_work(void **state)
{
    (void)state;
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    nx_http_server_options options = default_options(f);
    options.threads = 1;
    options.host = "";
    start_with(options, f);
    expect(f, "GET /hello HTTP/1.1\r\n" HOST "\r\n", 200, "hello");
    stop(f);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_answer),
        cmocka_unit_test(patterns_have_parameters),
        cmocka_unit_test(problems_can_be_plain),
        cmocka_unit_test(head_has_the_header_of_get),
        cmocka_unit_test(every_answer_carries_the_standing_headers),
        cmocka_unit_test(request_ids),
        cmocka_unit_test(a_connection_serves_many_requests),
        cmocka_unit_test(bodies_come_whole),
        cmocka_unit_test(bodies_are_refused_early),
        cmocka_unit_test(a_client_that_asks_first_is_told),
        cmocka_unit_test(a_refusal_reaches_a_busy_sender),
        cmocka_unit_test(all_bodies_together_are_bounded),
        cmocka_unit_test(forms_are_taken_apart),
        cmocka_unit_test(bad_forms_are_refused),
        cmocka_unit_test(doubtful_framing_is_refused_and_closed),
        cmocka_unit_test(other_malformed_requests_are_refused_and_closed),
        cmocka_unit_test(headers_are_bounded),
        cmocka_unit_test(long_headers_are_served),
        cmocka_unit_test(an_answer_may_come_later),
        cmocka_unit_test(answers_race_with_falling_asleep),
        cmocka_unit_test(a_client_that_leaves_is_noticed),
        cmocka_unit_test(pipelined_bytes_do_not_hide_a_departure),
        cmocka_unit_test(a_client_that_sends_and_closes_at_once_is_forgotten),
        cmocka_unit_test(stopping_cancels_what_does_not_end),
        cmocka_unit_test(stopping_waits_for_answers),
        cmocka_unit_test(requests_in_flight_are_limited),
        cmocka_unit_test(a_slow_body_is_told_408),
        cmocka_unit_test(a_late_client_that_stays_is_closed),
        cmocka_unit_test(a_slow_header_is_closed),
        cmocka_unit_test(waiting_for_an_answer_has_no_limit_here),
        cmocka_unit_test(a_newcomer_costs_the_longest_idle_its_place),
        cmocka_unit_test(stopping_races_with_newcomers),
        cmocka_unit_test(a_taken_port_is_named),
        cmocka_unit_test(one_thread_and_every_address_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
