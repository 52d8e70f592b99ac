/* Answers that are files or that go on, and bodies that are taken as they come, over a socket. */
#include "base/clock.h"
#include "http/server.h"
#include "http_client.h"
#include "scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

typedef struct fixture {
    nx_http_server *server;
    char path[PATH_MAX];
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    nx_http_stream *stream;
    int gone;
    int freed;
    uint64_t received; /* bytes of bodies */
    uint64_t kept;     /* of them, as the body's end found them */
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

/* --- handlers -----------------------------------------------------------------------------------
 */

#define FILE_SIZE 300000
#define ETAG      "\"v1\""

static void file(nx_http_request *request, void *user)
{
    const fixture *f = user;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    nx_http_reply_file(request, "application/octet-stream", ETAG, fd, FILE_SIZE);
}

/* The same bytes from memory. */
static void content(nx_http_request *request, void *user)
{
    const fixture *f = user;
    nx_buffer body = NX_BUFFER_INIT;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && nx_buffer_reserve(&body, FILE_SIZE));
    assert_int_equal(read(fd, body.data, FILE_SIZE), FILE_SIZE);
    close(fd);
    body.size = FILE_SIZE;
    nx_http_reply_content(request, "application/octet-stream", ETAG, &body);
    assert_null(body.data);
}

/* Says that there is more than the file holds. */
static void shrunk(nx_http_request *request, void *user)
{
    const fixture *f = user;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    nx_http_reply_file(request, "application/octet-stream", NULL, fd, FILE_SIZE + 10);
}

static void count_gone(void *user)
{
    fixture *f = user;
    lock(f);
    f->gone++;
    unlock(f);
}

static void count_free(void *context)
{
    fixture *f = context;
    lock(f);
    f->freed++;
    unlock(f);
}

static void events(nx_http_request *request, void *user)
{
    fixture *f = user;
    nx_http_set_context(request, f, count_free);
    nx_http_stream *stream = nx_http_reply_stream(request, "text/event-stream", count_gone, f);
    assert_non_null(stream);
    lock(f);
    f->stream = stream;
    unlock(f);
}

/* Ends the stream as soon as it hears that nobody listens, as a server's handlers do. */
static void end_when_gone(void *user)
{
    fixture *f = user;
    lock(f);
    nx_http_stream *stream = f->stream;
    f->stream = NULL;
    f->gone++;
    unlock(f);
    nx_http_stream_end(stream);
}

static void careful(nx_http_request *request, void *user)
{
    fixture *f = user;
    lock(f); /* end_when_gone may come before this has returned */
    nx_http_set_context(request, f, NULL);
    f->stream = nx_http_reply_stream(request, "text/event-stream", end_when_gone, f);
    unlock(f);
}

static bool receive(nx_http_request *request, const char *bytes, size_t size, nx_problem *problem,
                    void *user)
{
    (void)request;
    fixture *f = user;
    if (memchr(bytes, '!', size) != NULL) {
        *problem = nx_problem_make(422, "Calm down.", "no exclamation marks here");
        return false;
    }
    lock(f);
    f->received += size;
    unlock(f);
    return true;
}

static void received(nx_http_request *request, void *user)
{
    fixture *f = user;
    size_t size = 0;
    assert_null(nx_http_body(request, &size));
    lock(f);
    f->kept = f->received;
    unlock(f);
    nx_http_reply_static(request, 204, NULL, NULL, 0);
}

static void options(nx_http_request *request, void *user)
{
    (void)user;
    nx_http_add_header(request, "Tus-Version", "1.0.0");
    nx_http_reply_static(request, 204, NULL, NULL, 0);
}

static void head(nx_http_request *request, void *user)
{
    (void)user;
    nx_http_add_header(request, "Upload-Offset", "70");
    nx_http_reply_static(request, 200, NULL, NULL, 0);
}

static const nx_http_route routes[] = {
    {.method = "GET", .pattern = "/file", .handle = file},
    {.method = "GET", .pattern = "/content", .handle = content},
    {.method = "GET", .pattern = "/shrunk", .handle = shrunk},
    {.method = "GET", .pattern = "/events", .handle = events},
    {.method = "GET", .pattern = "/careful", .handle = careful},
    {.method = "OPTIONS", .pattern = "/upload", .handle = options},
    {.method = "HEAD", .pattern = "/upload", .handle = head},
    {.method = "PATCH",
     .pattern = "/upload",
     .handle = received,
     .receive = receive,
     .max_body = UINT64_C(1) << 30},
};

static fixture *start(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->path, sizeof f->path, "%s", scratch_path(state, "file"));
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    const nx_http_server_options server = {
        .host = "127.0.0.1",
        .threads = 2,
        .backlog = 64,
        .max_connections = 64,
        .keepalive_s = 30,
        .request_timeout_s = 30,
        .limit_concurrency = 100,
        .max_inflight_body = 1 << 16, /* bodies that are taken do not count */
        .routes = routes,
        .route_count = NX_COUNT(routes),
        .user = f,
    };
    nx_error err = {0};
    nx_assert_ok(nx_http_server_start(&server, &f->server, &err), err);
    return f;
}

static void stop(fixture *f)
{
    nx_http_server_stop(f->server, nx_clock_now_ns() + 5 * NX_NS_PER_SEC);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

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

static nx_http_stream *take_stream(fixture *f)
{
    lock(f);
    while (f->stream == NULL) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    nx_http_stream *stream = f->stream;
    f->stream = NULL;
    unlock(f);
    return stream;
}

static void write_text(nx_http_stream *stream, const char *text)
{
    assert_true(nx_http_stream_write(stream, text, strlen(text)));
}

/* Reads until what came holds `part`; to be freed. */
static char *hear_until(int fd, const char *part)
{
    nx_buffer out = NX_BUFFER_INIT;
    char piece[4096];
    while (strstr(nx_buffer_cstr(&out), part) == NULL) {
        size_t got = hear(fd, piece, sizeof piece);
        if (got == 0) {
            fail_msg("the connection ended without '%s': %s", part, nx_buffer_cstr(&out));
        }
        nx_buffer_append(&out, piece, got);
    }
    return out.data;
}

/* --- files --------------------------------------------------------------------------------------
 */

static char byte_at(size_t i)
{
    return (char)(i * 31 + i / 251);
}

static int make_file(void **state)
{
    if (scratch_make(state) != 0) {
        return -1;
    }
    char *bytes = malloc(FILE_SIZE);
    assert_non_null(bytes);
    for (size_t i = 0; i < FILE_SIZE; i++) {
        bytes[i] = byte_at(i);
    }
    scratch_write(state, "file", bytes, FILE_SIZE);
    free(bytes);
    return 0;
}

/* Asks with these headers; checks the status, one header and that the body is first..first+count.
 */
static void expect_part_of(const fixture *f, const char *path, const char *headers, int status,
                           const char *part, size_t first, size_t count)
{
    nx_buffer request = NX_BUFFER_INIT;
    nx_buffer_printf(&request, "GET %s HTTP/1.1\r\n" HOST "Connection: close\r\n%s\r\n", path,
                     headers);
    int fd = nx_dial(nx_http_server_port(f->server));
    say(fd, nx_buffer_cstr(&request));
    nx_buffer answer = NX_BUFFER_INIT;
    char piece[4096];
    for (size_t got = hear(fd, piece, sizeof piece); got > 0; got = hear(fd, piece, sizeof piece)) {
        nx_buffer_append(&answer, piece, got);
    }
    close(fd);
    char *body = memmem(answer.data, answer.size, "\r\n\r\n", 4);
    assert_non_null(body);
    *body = '\0';
    body += 4;
    assert_status(answer.data, status);
    nx_assert_contains(answer.data, part);
    if (status < 400) {
        assert_int_equal(answer.size - (size_t)(body - answer.data), count);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(body[i], byte_at(first + i));
        }
    }
    nx_buffer_free(&answer);
    nx_buffer_free(&request);
}

/* From a file and from memory. */
static void expect_part(const fixture *f, const char *headers, int status, const char *part,
                        size_t first, size_t count)
{
    expect_part_of(f, "/file", headers, status, part, first, count);
    expect_part_of(f, "/content", headers, status, part, first, count);
}

static void files_are_sent_whole_and_in_part(void **state)
{
    fixture *f = start(state);
    expect_part(f, "", 200, "Accept-Ranges: bytes", 0, FILE_SIZE);
    expect_part(f, "", 200, "ETag: " ETAG, 0, FILE_SIZE);
    expect_part(f, "Range: bytes=0-0\r\n", 206, "Content-Range: bytes 0-0/300000", 0, 1);
    expect_part(f, "Range: bytes=100000-199999\r\n", 206, "Content-Length: 100000", 100000, 100000);
    expect_part(f, "Range: bytes=299990-\r\n", 206, "Content-Range: bytes 299990-299999/300000",
                299990, 10);
    expect_part(f, "Range: bytes=-5\r\n", 206, "Content-Range: bytes 299995-299999/300000", 299995,
                5);
    expect_part(f, "Range: bytes=10-19\r\nIf-Range: " ETAG "\r\n", 206, "Content-Length: 10", 10,
                10);
    expect_part(f, "Range: bytes=10-19\r\nIf-Range: \"v0\"\r\n", 200, "Content-Length: 300000", 0,
                FILE_SIZE);
    expect_part(f, "If-None-Match: " ETAG "\r\n", 304, "ETag: " ETAG, 0, 0);
    expect_part(f, "Range: bytes=300000-\r\n", 416, "Content-Range: bytes */300000", 0, 0);
    stop(f);
}

static void head_of_a_file_has_no_body(void **state)
{
    fixture *f = start(state);
    int fd = nx_dial(nx_http_server_port(f->server));
    say(fd, "HEAD /file HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    char *answer = hear_all(fd);
    assert_status(answer, 200);
    nx_assert_contains(answer, "Content-Length: 300000\r\n");
    nx_assert_contains(answer, "Accept-Ranges: bytes\r\n");
    assert_int_equal(strlen(strstr(answer, "\r\n\r\n")), 4);
    free(answer);
    close(fd);
    stop(f);
}

/* Better a broken connection than an answer that looks whole. */
static void a_file_that_has_shrunk_breaks_the_connection(void **state)
{
    fixture *f = start(state);
    int fd = nx_dial(nx_http_server_port(f->server));
    say(fd, "GET /shrunk HTTP/1.1\r\n" HOST "\r\n");
    nx_buffer answer = NX_BUFFER_INIT;
    char piece[4096];
    for (size_t got = hear(fd, piece, sizeof piece); got > 0; got = hear(fd, piece, sizeof piece)) {
        nx_buffer_append(&answer, piece, got);
    }
    char *body = memmem(answer.data, answer.size, "\r\n\r\n", 4);
    assert_non_null(body);
    assert_int_equal(answer.size - (size_t)(body + 4 - answer.data), FILE_SIZE);
    nx_buffer_free(&answer);
    close(fd);
    stop(f);
}

/* --- streams ------------------------------------------------------------------------------------
 */

#define ASK_EVENTS "GET /events HTTP/1.1\r\n" HOST "\r\n"

static void streams_send_what_is_written_when_it_is(void **state)
{
    fixture *f = start(state);
    int fd = nx_dial(nx_http_server_port(f->server));
    say(fd, ASK_EVENTS);
    nx_http_stream *stream = take_stream(f);
    char *answer = hear_until(fd, "\r\n\r\n"); /* the header comes before there is anything */
    assert_status(answer, 200);
    nx_assert_contains(answer, "Content-Type: text/event-stream\r\n");
    nx_assert_contains(answer, "Transfer-Encoding: chunked\r\n");
    nx_assert_contains(answer, "Cache-Control: no-store\r\n");
    free(answer);
    for (int i = 0; i < 50; i++) {
        char text[32];
        snprintf(text, sizeof text, "data: %d;\n\n", i);
        write_text(stream, text);
        answer = hear_until(fd, ";\n\n");
        nx_assert_contains(answer, text);
        free(answer);
    }
    write_text(stream, "data: last\n\n");
    nx_http_stream_end(stream);
    answer = hear_until(fd, "\r\n0\r\n\r\n");
    nx_assert_contains(answer, "data: last\n\n");
    free(answer);
    wait_until(f, &f->freed, 1);
    say(fd, "GET /file HTTP/1.1\r\n" HOST "Range: bytes=0-0\r\n\r\n"); /* the connection lives */
    answer = hear_one(fd);
    assert_status(answer, 206);
    free(answer);
    assert_int_equal(f->gone, 0);
    close(fd);
    stop(f);
}

static void a_reader_that_leaves_is_noticed(void **state)
{
    fixture *f = start(state);
    for (int i = 0; i < 3; i++) {
        int fd = nx_dial(nx_http_server_port(f->server));
        say(fd, ASK_EVENTS);
        nx_http_stream *stream = take_stream(f);
        if (i > 0) {
            write_text(stream, "data: x\n\n");
        }
        if (i == 2) {
            free(hear_until(fd, "data: x"));
        }
        close(fd);
        wait_until(f, &f->gone, i + 1);
        nx_http_stream_end(stream);
        wait_until(f, &f->freed, i + 1);
    }
    stop(f);
}

/* What waits for a client is bounded. */
static void a_reader_that_does_not_read_is_given_up(void **state)
{
    fixture *f = start(state);
    int fd = nx_dial(nx_http_server_port(f->server));
    say(fd, ASK_EVENTS);
    nx_http_stream *stream = take_stream(f);
    char *piece = calloc(1, NX_HTTP_STREAM_MAX);
    assert_non_null(piece);
    size_t taken = 0;
    while (nx_http_stream_write(stream, piece, 65536)) {
        taken += 65536;
        assert_true(taken < (size_t)1 << 30);
        sched_yield();
    }
    assert_true(taken >= NX_HTTP_STREAM_MAX);
    assert_false(nx_http_stream_write(stream, piece, NX_HTTP_STREAM_MAX + 1));
    nx_http_stream_end(stream);
    free(piece);
    close(fd);
    wait_until(f, &f->freed, 1);
    stop(f);
}

static void *write_many(void *argument)
{
    nx_http_stream *stream = argument;
    for (int i = 0; i < 2000; i++) {
        write_text(stream, "0123456789");
    }
    nx_http_stream_end(stream);
    return NULL;
}

/* Writing races with falling asleep and with waking. */
static void nothing_written_is_lost(void **state)
{
    fixture *f = start(state);
    for (int round = 0; round < 20; round++) {
        int fd = nx_dial(nx_http_server_port(f->server));
        say(fd, "GET /events HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, write_many, take_stream(f)), 0);
        char *answer = hear_all(fd);
        size_t digits = 0;
        for (const char *at = strstr(answer, "\r\n\r\n"); at != NULL; at = strchr(at + 1, '9')) {
            digits += *at == '9';
        }
        assert_true(digits >= 2000); /* lengths of chunks may hold the digit, too */
        nx_assert_contains(answer, "\r\n0\r\n\r\n");
        free(answer);
        pthread_join(thread, NULL);
        close(fd);
    }
    stop(f);
}

/* Stopping does not wait for streams: they would not end by themselves. */
static void stopping_ends_streams(void **state)
{
    fixture *f = start(state);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = nx_dial(nx_http_server_port(f->server));
        say(fds[i], "GET /careful HTTP/1.1\r\n" HOST "\r\n");
        free(hear_until(fds[i], "\r\n\r\n"));
        if (i < 2) { /* the last one goes on */
            nx_http_stream_end(take_stream(f));
        }
    }
    int64_t begun = nx_clock_now_ns();
    nx_http_server_stop(f->server, begun + 600 * NX_NS_PER_SEC);
    assert_true(nx_clock_now_ns() - begun < 300 * NX_NS_PER_SEC);
    assert_int_equal(f->gone, 1);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void head_of_a_stream_ends_at_once(void **state)
{
    fixture *f = start(state);
    int fd = nx_dial(nx_http_server_port(f->server));
    say(fd, "HEAD /events HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    nx_http_stream *stream = take_stream(f);
    char *answer = hear_all(fd);
    assert_status(answer, 200);
    free(answer);
    wait_until(f, &f->freed, 1);
    assert_false(nx_http_stream_write(stream, "x", 1));
    nx_http_stream_end(stream);
    close(fd);
    stop(f);
}

/* --- bodies that are taken as they come ---------------------------------------------------------
 */

#define BIG (20 << 20)

static void bodies_are_taken_as_they_come(void **state)
{
    fixture *f = start(state);
    int fd = nx_dial(nx_http_server_port(f->server));
    char *bytes = calloc(1, BIG);
    assert_non_null(bytes);
    nx_buffer head_text = NX_BUFFER_INIT;
    nx_buffer_printf(&head_text, "PATCH /upload HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n",
                     BIG);
    say(fd, nx_buffer_cstr(&head_text));
    say_n(fd, bytes, BIG);
    char *answer = hear_one(fd);
    assert_status(answer, 204);
    free(answer);
    assert_int_equal(f->kept, BIG);
    close(fd);
    nx_buffer_free(&head_text);
    free(bytes);
    stop(f);
}

static void a_body_can_be_refused_in_its_middle(void **state)
{
    fixture *f = start(state);
    int fd = nx_dial(nx_http_server_port(f->server));
    say(fd, "PATCH /upload HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\nhello!");
    char *answer = hear_all(fd);
    assert_status(answer, 422);
    nx_assert_contains(answer, "no exclamation marks here");
    free(answer);
    close(fd);
    stop(f);
}

static void head_and_options_have_routes(void **state)
{
    fixture *f = start(state);
    int fd = nx_dial(nx_http_server_port(f->server));
    say(fd, "HEAD /upload HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    char *answer = hear_all(fd);
    assert_status(answer, 200);
    nx_assert_contains(answer, "Upload-Offset: 70\r\n");
    free(answer);
    close(fd);
    fd = nx_dial(nx_http_server_port(f->server));
    say(fd, "OPTIONS /upload HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    answer = hear_all(fd);
    assert_status(answer, 204);
    nx_assert_contains(answer, "Tus-Version: 1.0.0\r\n");
    free(answer);
    close(fd);
    fd = nx_dial(nx_http_server_port(f->server));
    say(fd, "GET /upload HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    answer = hear_all(fd);
    assert_status(answer, 405);
    nx_assert_contains(answer, "Allow: HEAD, PATCH, OPTIONS\r\n");
    free(answer);
    close(fd);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_sent_whole_and_in_part),
        cmocka_unit_test(head_of_a_file_has_no_body),
        cmocka_unit_test(a_file_that_has_shrunk_breaks_the_connection),
        cmocka_unit_test(streams_send_what_is_written_when_it_is),
        cmocka_unit_test(a_reader_that_leaves_is_noticed),
        cmocka_unit_test(a_reader_that_does_not_read_is_given_up),
        cmocka_unit_test(nothing_written_is_lost),
        cmocka_unit_test(stopping_ends_streams),
        cmocka_unit_test(head_of_a_stream_ends_at_once),
        cmocka_unit_test(bodies_are_taken_as_they_come),
        cmocka_unit_test(a_body_can_be_refused_in_its_middle),
        cmocka_unit_test(head_and_options_have_routes),
    };
    return cmocka_run_group_tests(tests, make_file, scratch_remove);
}
