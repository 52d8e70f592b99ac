/*
 * A Redis server of the test's own, which listens on a socket in its scratch folder alone, with the
 * deployment's configuration where the tests run in the source folder. It ends with the test,
 * however that ends.
 */
#ifndef NX_TESTS_REDIS_FIXTURE_H
#define NX_TESTS_REDIS_FIXTURE_H

#include "scratch.h"

#include "base/clock.h"
#include "cache/redis_client.h"
#include "cache/redis_connection.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define REDIS_SERVER "/usr/bin/redis-server"

typedef struct redis_fixture {
    char folder[64];
    char url[128];   /* how the tests come in */
    char socket[96]; /* where the server listens */
    pid_t server;
} redis_fixture;

/* Skips the running test, loudly, without a server to run it on. */
#define REDIS_NEED_SERVER()                                                                        \
    do {                                                                                           \
        if (access(REDIS_SERVER, X_OK) != 0) {                                                     \
            fprintf(stderr, "SKIPPED %s: no redis-server (scripts/bootstrap test)\n", __func__);   \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

/* Waits for what another thread or process does; a test that waits in vain fails. */
#define redis_eventually(condition)                                                                \
    do {                                                                                           \
        int64_t redis_until = nx_clock_now_ns() + 60 * NX_NS_PER_SEC;                              \
        while (!(condition)) {                                                                     \
            if (nx_clock_now_ns() > redis_until) {                                                 \
                fail_msg("never came: %s", #condition);                                            \
            }                                                                                      \
            usleep(2000);                                                                          \
        }                                                                                          \
    } while (0)

static inline void redis_spawn(redis_fixture *fixture, const char *const *extra)
{
    const char *arguments[40] = {"redis-server"};
    size_t count = 1;
    if (access("deploy/redis/redis.conf", R_OK) == 0) {
        arguments[count++] = "deploy/redis/redis.conf";
    }
    const char *const own[] = {
        "--port",       "0", "--unixsocket", fixture->socket, "--dir",  fixture->folder,
        "--io-threads", "1", "--maxmemory",  "64mb",          "--save", "",
        "--daemonize",  "no"};
    for (size_t i = 0; i < NX_COUNT(own); i++) {
        arguments[count++] = own[i];
    }
    for (size_t i = 0; extra != NULL && extra[i] != NULL && count < 39; i++) {
        arguments[count++] = extra[i];
    }
    char log[128];
    snprintf(log, sizeof log, "%s/log", fixture->folder);
    pid_t parent = getpid();
    fixture->server = fork();
    assert_true(fixture->server >= 0);
    if (fixture->server == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fd < 0 || getppid() != parent || dup2(fd, 1) != 1 || dup2(fd, 2) != 2) {
            _exit(126);
        }
        execv(REDIS_SERVER, (char *const *)arguments);
        _exit(127);
    }
}

/* Starts the server and waits until it answers. extra: further arguments, ended by NULL. */
static inline void redis_start(redis_fixture *fixture, const char *const *extra)
{
    nx_redis_url url;
    nx_redis_connection *connection = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_redis_url_parse(fixture->url, &url, &err), err);
    redis_spawn(fixture, extra);
    while (nx_redis_connect(&url, nx_clock_now_ns() + 10 * NX_NS_PER_SEC, &connection, &err) !=
           NX_OK) {
        if (waitpid(fixture->server, NULL, WNOHANG) != 0) {
            fail_msg("redis-server did not start: %s", err.message);
        }
        usleep(5000);
    }
    nx_redis_disconnect(connection);
}

/* As in a crash: what it knew is gone. */
static inline void redis_kill(redis_fixture *fixture)
{
    if (fixture->server > 0) {
        kill(fixture->server, SIGKILL);
        waitpid(fixture->server, NULL, 0);
        fixture->server = 0;
    }
}

/* Stops the server in the middle of what it does, until redis_continue. */
static inline void redis_pause(const redis_fixture *fixture)
{
    int status = 0;
    kill(fixture->server, SIGSTOP);
    assert_int_equal(waitpid(fixture->server, &status, WUNTRACED), fixture->server);
    assert_true(WIFSTOPPED(status));
}

static inline void redis_continue(const redis_fixture *fixture)
{
    kill(fixture->server, SIGCONT);
}

/* Setup of a test: without a server to run there is a folder alone, and the test skips. */
static inline int redis_begin(void **state)
{
    redis_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    signal(SIGPIPE, SIG_IGN);
    snprintf(fixture->folder, sizeof fixture->folder, "/tmp/nexus-redis-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->socket, sizeof fixture->socket, "%s/socket", fixture->folder);
    snprintf(fixture->url, sizeof fixture->url, "unix://%s", fixture->socket);
    *state = fixture;
    if (access(REDIS_SERVER, X_OK) == 0) {
        redis_start(fixture, NULL);
    }
    return 0;
}

static inline int redis_end(void **state)
{
    redis_fixture *fixture = *state;
    redis_kill(fixture);
    int failure = nftw(fixture->folder, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return failure;
}

#define redis_test(function) cmocka_unit_test_setup_teardown(function, redis_begin, redis_end)

/* Patient, so that a busy machine is not taken for a broken Redis. */
static inline nx_redis_options redis_patient(const redis_fixture *fixture)
{
    return (nx_redis_options){.url = fixture->url,
                              .connect_ms = 30000,
                              .timeout_ms = 30000,
                              .retry_ms = 5,
                              .max_retry_ms = 40};
}

/* Gives up soon, for tests of a Redis that does not answer. */
static inline nx_redis_options redis_hasty(const redis_fixture *fixture)
{
    return (nx_redis_options){.url = fixture->url,
                              .connect_ms = 300,
                              .timeout_ms = 100,
                              .retry_ms = 5,
                              .max_retry_ms = 40};
}

static inline nx_redis *redis_open(const nx_redis_options *options)
{
    nx_redis *redis = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_redis_new(options, &redis, &err), err);
    return redis;
}

/* One command of text arguments on a connection of its own: behind the client's back. */
static inline void redis_do(const redis_fixture *fixture, const char *const *words,
                            nx_redis_reply *out)
{
    nx_redis_arg args[NX_REDIS_MAX_ARGS];
    nx_redis_url url;
    nx_redis_connection *connection = NULL;
    nx_error err = {0};
    size_t count = 0;
    bool usable = false;
    int64_t deadline_ns = nx_clock_now_ns() + 60 * NX_NS_PER_SEC;
    for (; words[count] != NULL; count++) {
        args[count] = (nx_redis_arg){words[count], strlen(words[count])};
    }
    nx_assert_ok(nx_redis_url_parse(fixture->url, &url, &err), err);
    nx_assert_ok(nx_redis_connect(&url, deadline_ns, &connection, &err), err);
    nx_assert_ok(nx_redis_call(connection, args, count, deadline_ns, out, &usable, &err), err);
    nx_redis_disconnect(connection);
}

static inline void redis_tell(const redis_fixture *fixture, const char *const *words)
{
    nx_redis_reply reply;
    redis_do(fixture, words, &reply);
    nx_redis_reply_free(&reply);
}

#define REDIS_TELL(fixture, ...) redis_tell(fixture, (const char *const[]){__VA_ARGS__, NULL})

static inline nx_redis_state redis_state(nx_redis *redis)
{
    return nx_redis_get_stats(redis).state;
}

#endif
