/* The client of Redis against a server that lies: whatever it sends, calls come back with an error,
 * the breaker opens, and nothing is read or allocated that it only announces. */
#include "redis_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

typedef struct liar {
    int listener;
    int stop[2];
    pthread_t thread;
    bool greets;       /* answers the first command of each connection as Redis does */
    bool drips;        /* then a byte now and then, for ever */
    bool leaves;       /* closes the connection instead */
    const char *bytes; /* then these */
    size_t size;
    char url[64];
} liar;

/* Waits for bytes, and forgets them; false when the other side is gone or the test has ended. */
static bool hear(const liar *self, int fd)
{
    char heard[4096];
    struct pollfd both[] = {{.fd = fd, .events = POLLIN}, {.fd = self->stop[0], .events = POLLIN}};
    return poll(both, 2, -1) > 0 && both[1].revents == 0 && read(fd, heard, sizeof heard) > 0;
}

static void say(int fd, const char *bytes, size_t size)
{
    if (write(fd, bytes, size) < 0) {
        return; /* nobody listens any more */
    }
}

/* A bulk string that never ends. */
static void drip(const liar *self, int fd)
{
    struct pollfd both[] = {{.fd = fd, .events = 0}, {.fd = self->stop[0], .events = POLLIN}};
    say(fd, "$1000000\r\n", 10);
    while (poll(both, 2, 2) == 0) {
        say(fd, "x", 1);
    }
}

static void serve(const liar *self, int fd)
{
    if (self->greets && hear(self, fd)) {
        say(fd, "+PONG\r\n", 7);
    }
    if (!hear(self, fd)) {
        return;
    }
    if (self->drips) {
        drip(self, fd);
    } else if (!self->leaves) {
        say(fd, self->bytes, self->size);
        while (hear(self, fd)) {
        }
    }
}

static void *lie(void *user)
{
    const liar *self = user;
    struct pollfd both[] = {{.fd = self->listener, .events = POLLIN},
                            {.fd = self->stop[0], .events = POLLIN}};
    while (poll(both, 2, -1) > 0 && both[1].revents == 0) {
        int fd = accept(self->listener, NULL, NULL);
        if (fd >= 0) {
            serve(self, fd);
            close(fd);
        }
    }
    return NULL;
}

static void begin_lying(liar *self)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    signal(SIGPIPE, SIG_IGN);
    self->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(self->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(self->listener, 64), 0);
    assert_int_equal(getsockname(self->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(self->url, sizeof self->url, "redis://:hunter2@127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pipe(self->stop), 0);
    assert_int_equal(pthread_create(&self->thread, NULL, lie, self), 0);
}

static void end_lying(liar *self)
{
    close(self->stop[1]); /* which the thread sees as an event */
    pthread_join(self->thread, NULL);
    close(self->stop[0]);
    close(self->listener);
}

/* Asks until the breaker has opened: no call is answered. */
static void expect_failure(liar *self)
{
    begin_lying(self);
    const nx_redis_options options = {.url = self->url,
                                      .connections = 1,
                                      .connect_ms = 200,
                                      .timeout_ms = 100,
                                      .retry_ms = 5,
                                      .max_retry_ms = 40};
    static const nx_redis_arg args[] = {NX_REDIS_WORD("GET"), NX_REDIS_WORD("key")};
    nx_redis *redis = redis_open(&options);
    nx_redis_reply reply;
    nx_error err = {0};
    while (nx_redis_get_stats(redis).openings == 0) {
        assert_int_not_equal(nx_redis_run(redis, args, 2, &reply, &err), NX_OK);
        assert_int_equal(reply.type, NX_REDIS_NIL);
        assert_null(strstr(err.message, "hunter2"));
    }
    nx_redis_free(redis);
    end_lying(self);
}

static void expect_failures(const char *bytes, size_t size)
{
    for (int greets = 0; greets < 2; greets++) {
        liar self = {.greets = greets > 0, .bytes = bytes, .size = size};
        expect_failure(&self);
    }
}

static void another_protocol(void **state)
{
    (void)state;
    static const char http[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    static const char noise[] = "\x00\xff\xfe\r\n\x80\x81";
    expect_failures(http, sizeof http - 1);
    expect_failures(noise, sizeof noise - 1);
}

static void sizes_that_are_none(void **state)
{
    (void)state;
    static const char *const lies[] = {
        "$99999999999\r\n",
        "$-5\r\n",
        "$x\r\n",
        "*2147483647\r\n",
        "*2000000000\r\n",
        "*-7\r\n",
        "*1025\r\n",
        ":x\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
    };
    for (size_t i = 0; i < NX_COUNT(lies); i++) {
        expect_failures(lies[i], strlen(lies[i]));
    }
}

static void silence_and_farewells(void **state)
{
    (void)state;
    for (int greets = 0; greets < 2; greets++) {
        liar silent = {.greets = greets > 0, .bytes = "", .size = 0};
        liar leaving = {.greets = greets > 0, .leaves = true};
        liar dripping = {.greets = greets > 0, .drips = true};
        expect_failure(&silent);
        expect_failure(&leaving);
        expect_failure(&dripping);
    }
}

/* A password in the error that the server sends does not get into ours. */
static void secrets_sent_back(void **state)
{
    (void)state;
    static const char echo[] =
        "-ERR wrong number of arguments, with args beginning with: hunter2\r\n";
    liar self = {.bytes = echo, .size = sizeof echo - 1};
    expect_failure(&self);
}

static void more_replies_than_commands(void **state)
{
    (void)state;
    static const char twice[] = "+PONG\r\n+PONG\r\n+PONG\r\n";
    liar self = {.bytes = twice, .size = sizeof twice - 1};
    expect_failure(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_protocol),           cmocka_unit_test(sizes_that_are_none),
        cmocka_unit_test(silence_and_farewells),      cmocka_unit_test(secrets_sent_back),
        cmocka_unit_test(more_replies_than_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
