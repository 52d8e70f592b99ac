/* The client of Redis, on a real server that is killed, stopped and filled. */
#include "redis_fixture.h"

#include <pthread.h>

static nx_status run_words(nx_redis *redis, const char *const *words, nx_redis_reply *out,
                           nx_error *err)
{
    nx_redis_arg args[NX_REDIS_MAX_ARGS];
    size_t count = 0;
    for (; words[count] != NULL; count++) {
        args[count] = (nx_redis_arg){words[count], strlen(words[count])};
    }
    return nx_redis_run(redis, args, count, out, err);
}

#define RUN(redis, out, err, ...)                                                                  \
    run_words(redis, (const char *const[]){__VA_ARGS__, NULL}, out, err)

static nx_status ping(nx_redis *redis)
{
    nx_redis_reply reply;
    nx_error err = {0};
    nx_status status = RUN(redis, &reply, &err, "PING");
    nx_redis_reply_free(&reply);
    return status;
}

static void replies_are_copied(void **state)
{
    REDIS_NEED_SERVER();
    static const char binary[] = {'a', 0, '\r', '\n', (char)200, 0};
    const nx_redis_options options = redis_patient(*state);
    nx_redis *redis = redis_open(&options);
    nx_redis_reply reply;
    nx_error err = {0};
    const nx_redis_arg set[] = {NX_REDIS_WORD("SET"), {binary, sizeof binary}, {NULL, 0}};
    const nx_redis_arg append[] = {
        NX_REDIS_WORD("APPEND"), {binary, sizeof binary}, {binary, sizeof binary}};
    const nx_redis_arg get[] = {NX_REDIS_WORD("GET"), {binary, sizeof binary}};
    nx_assert_ok(nx_redis_run(redis, set, 3, &reply, &err), err);
    assert_int_equal(reply.type, NX_REDIS_TEXT);
    assert_string_equal(reply.bytes, "OK");
    nx_redis_reply_free(&reply);
    nx_assert_ok(nx_redis_run(redis, append, 3, &reply, &err), err);
    assert_int_equal(reply.type, NX_REDIS_INTEGER);
    assert_int_equal(reply.integer, sizeof binary);
    nx_redis_reply_free(&reply);
    nx_assert_ok(nx_redis_run(redis, get, 2, &reply, &err), err);
    assert_int_equal(reply.size, sizeof binary);
    assert_memory_equal(reply.bytes, binary, sizeof binary);
    nx_redis_reply_free(&reply);
    assert_int_equal(reply.type, NX_REDIS_NIL);
    nx_assert_ok(RUN(redis, &reply, &err, "GET", "nothing"), err);
    assert_int_equal(reply.type, NX_REDIS_NIL);
    nx_assert_ok(RUN(redis, &reply, &err, "EVAL", "return {1, {2, 'x'}, {err = 'E y'}, {}}", "0"),
                 err);
    assert_int_equal(reply.type, NX_REDIS_ARRAY);
    assert_int_equal(reply.count, 4);
    assert_int_equal(reply.items[0].integer, 1);
    assert_int_equal(reply.items[1].count, 2);
    assert_string_equal(reply.items[1].items[1].bytes, "x");
    assert_int_equal(reply.items[2].type, NX_REDIS_ERROR);
    assert_int_equal(reply.items[3].count, 0);
    nx_redis_reply_free(&reply);
    nx_redis_free(redis);
    nx_redis_free(NULL);
}

static void the_callers_mistakes_are_answers(void **state)
{
    REDIS_NEED_SERVER();
    const nx_redis_options options = redis_patient(*state);
    nx_redis *redis = redis_open(&options);
    nx_redis_reply reply;
    nx_error err = {0};
    for (int i = 0; i < 10; i++) {
        assert_int_equal(RUN(redis, &reply, &err, "NOSUCHTHING"), NX_ERR_INVALID);
        nx_assert_contains(err.message, "unknown command");
        assert_int_equal(reply.type, NX_REDIS_NIL);
    }
    assert_int_equal(nx_redis_run(redis, NULL, 0, &reply, &err), NX_ERR_INVALID);
    const nx_redis_stats stats = nx_redis_get_stats(redis);
    assert_int_equal(stats.state, NX_REDIS_CLOSED);
    assert_int_equal(stats.failures, 0);
    assert_int_equal(stats.openings, 0);
    assert_int_equal(stats.in_use, 0);
    assert_int_equal(ping(redis), NX_OK);
    nx_redis_free(redis);
}

static void large_values_pass_and_too_large_ones_do_not(void **state)
{
    REDIS_NEED_SERVER();
    const nx_redis_options options = redis_patient(*state);
    nx_redis *redis = redis_open(&options);
    nx_redis_reply reply;
    nx_error err = {0};
    nx_assert_ok(RUN(redis, &reply, &err, "EVAL",
                     "redis.call('SETRANGE', 'big', 4194303, 'x') "
                     "redis.call('SETRANGE', 'huge', 17825792, 'x') return 1",
                     "0"),
                 err);
    nx_assert_ok(RUN(redis, &reply, &err, "GET", "big"), err);
    assert_int_equal(reply.size, 4194304);
    assert_int_equal(reply.bytes[4194303], 'x');
    nx_redis_reply_free(&reply);
    assert_int_equal(RUN(redis, &reply, &err, "GET", "huge"), NX_ERR_CORRUPT);
    assert_int_equal(RUN(redis, &reply, &err, "EVAL",
                         "local t = {} for i = 1, 1025 do t[i] = i end return t", "0"),
                     NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "too large");
    assert_int_equal(ping(redis), NX_OK); /* on a connection of its own */
    nx_redis_free(redis);
}

static void scripts_run_by_hash_and_are_sent_again_when_lost(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    const nx_redis_options options = redis_patient(fixture);
    nx_redis *redis = redis_open(&options);
    nx_redis_script script = {
        .text = "return redis.call('INCRBY', KEYS[1], ARGV[1]) + tonumber(ARGV[2])"};
    const nx_redis_arg keys[] = {NX_REDIS_WORD("counter")};
    const nx_redis_arg args[] = {NX_REDIS_WORD("5"), NX_REDIS_WORD("100")};
    nx_redis_reply reply;
    nx_error err = {0};
    for (int i = 1; i <= 4; i++) {
        if (i == 3) {
            REDIS_TELL(fixture, "SCRIPT", "FLUSH");
        }
        nx_assert_ok(nx_redis_eval(redis, &script, keys, 1, args, 2, &reply, &err), err);
        assert_int_equal(reply.integer, 100 + 5 * i);
        nx_redis_reply_free(&reply);
    }
    assert_int_equal(strlen(script.sha1), 40);
    redis_do(fixture, (const char *const[]){"SCRIPT", "EXISTS", script.sha1, NULL}, &reply);
    assert_int_equal(reply.items[0].integer, 1);
    nx_redis_reply_free(&reply);

    nx_redis_script broken = {.text = "this is no Lua"};
    assert_int_equal(nx_redis_eval(redis, &broken, NULL, 0, NULL, 0, &reply, &err), NX_ERR_INVALID);
    assert_int_equal(nx_redis_eval(redis, &script, keys, 62, args, 2, &reply, &err),
                     NX_ERR_INVALID);

    redis_kill(fixture); /* it knows no script when it comes back */
    redis_start(fixture, NULL);
    redis_eventually(nx_redis_eval(redis, &script, keys, 1, args, 2, &reply, &err) == NX_OK);
    assert_int_equal(reply.integer, 105);
    nx_redis_reply_free(&reply);
    nx_redis_free(redis);
}

#define CALLS 200

static void *increment(void *user)
{
    intptr_t wrong = 0;
    for (int i = 0; i < CALLS; i++) {
        nx_redis_reply reply;
        nx_error err = {0};
        wrong += RUN(user, &reply, &err, "INCR", "n") != NX_OK;
        nx_redis_reply_free(&reply);
    }
    return (void *)wrong;
}

static void connections_are_bounded_and_shared(void **state)
{
    REDIS_NEED_SERVER();
    nx_redis_options options = redis_patient(*state);
    options.connections = 3;
    nx_redis *redis = redis_open(&options);
    pthread_t threads[8];
    nx_redis_reply reply;
    nx_error err = {0};
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, increment, redis), 0);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    nx_assert_ok(RUN(redis, &reply, &err, "GET", "n"), err);
    assert_int_equal(strtol(reply.bytes, NULL, 10), CALLS * NX_COUNT(threads));
    nx_redis_reply_free(&reply);
    nx_redis_stats stats = nx_redis_get_stats(redis);
    assert_true(stats.connects >= 1 && stats.connects <= 3);
    assert_int_equal(stats.calls, CALLS * NX_COUNT(threads) + 1);
    assert_int_equal(stats.in_use, 0);
    nx_redis_free(redis);
}

static void users_passwords_and_databases(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    REDIS_TELL(fixture, "ACL", "SETUSER", "nexus", "on", ">p@ss:word", "~*", "+@all");
    REDIS_TELL(fixture, "CONFIG", "SET", "requirepass", "other");
    char url[200];
    nx_redis_reply reply;
    nx_error err = {0};
    static const char *const users[] = {"nexus:p%40ss%3Aword", ":other"};
    for (size_t i = 0; i < NX_COUNT(users); i++) {
        nx_redis_options options = redis_patient(fixture);
        snprintf(url, sizeof url, "unix://%s@%s?db=%zu", users[i], fixture->socket, i + 1);
        options.url = url;
        nx_redis *redis = redis_open(&options);
        nx_assert_ok(RUN(redis, &reply, &err, "SET", "only", "here"), err);
        nx_redis_reply_free(&reply);
        nx_assert_ok(RUN(redis, &reply, &err, "DBSIZE"), err);
        assert_int_equal(reply.integer, 1);
        nx_redis_reply_free(&reply);
        nx_redis_free(redis);
    }
    static const char *const wrong[] = {"nexus:hunter2@", ":hunter2@", "hunter2:hunter2@", ""};
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        nx_redis_options options = redis_patient(fixture);
        snprintf(url, sizeof url, "unix://%s%s", wrong[i], fixture->socket);
        options.url = url;
        nx_redis *redis = redis_open(&options);
        assert_int_equal(RUN(redis, &reply, &err, "PING"), NX_ERR_UNAVAILABLE);
        assert_null(strstr(err.message, "hunter2"));
        nx_redis_stats stats = nx_redis_get_stats(redis);
        assert_int_not_equal(stats.state, NX_REDIS_CLOSED);
        assert_int_equal(stats.openings, 1);
        nx_redis_free(redis);
    }
    /* a password that becomes right is taken */
    nx_redis_options options = redis_patient(fixture);
    snprintf(url, sizeof url, "unix://:late@%s", fixture->socket);
    options.url = url;
    nx_redis *redis = redis_open(&options);
    assert_int_equal(ping(redis), NX_ERR_UNAVAILABLE);
    snprintf(fixture->url, sizeof fixture->url, "unix://:other@%s", fixture->socket);
    REDIS_TELL(fixture, "CONFIG", "SET", "requirepass", "late");
    redis_eventually(ping(redis) == NX_OK);
    nx_redis_free(redis);
}

/* Asks until the breaker has opened; each call comes back with an error or an answer. */
static void ask_until_open(nx_redis *redis)
{
    redis_eventually((ping(redis), nx_redis_get_stats(redis).openings > 0));
}

static void a_killed_server_opens_the_breaker_and_a_new_one_closes_it(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    const nx_redis_options options = redis_patient(fixture);
    nx_redis *redis = redis_open(&options);
    nx_redis_reply reply;
    nx_error err = {0};
    assert_int_equal(ping(redis), NX_OK);
    redis_kill(fixture);
    ask_until_open(redis);
    assert_int_equal(RUN(redis, &reply, &err, "PING"), NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, "not asked");
    nx_redis_stats stats = nx_redis_get_stats(redis);
    assert_int_not_equal(stats.state, NX_REDIS_CLOSED);
    assert_true(stats.reason[0] != '\0');
    assert_true(stats.refused > 0);
    assert_int_equal(stats.idle, 0);
    redis_start(fixture, NULL);
    redis_eventually(redis_state(redis) == NX_REDIS_CLOSED); /* without anybody asking */
    assert_int_equal(ping(redis), NX_OK);
    stats = nx_redis_get_stats(redis);
    assert_int_equal(stats.openings, 1);
    assert_string_equal(stats.reason, "");
    nx_redis_free(redis);
}

static void a_server_that_is_stopped_costs_three_waits(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    const nx_redis_options options = redis_hasty(fixture);
    nx_redis *redis = redis_open(&options);
    redis_eventually(ping(redis) == NX_OK);
    uint64_t before = nx_redis_get_stats(redis).openings;
    redis_pause(fixture);
    int calls = 0;
    while (nx_redis_get_stats(redis).openings == before) {
        assert_int_not_equal(ping(redis), NX_OK);
        assert_true(++calls <= 3);
    }
    redis_continue(fixture);
    redis_eventually(ping(redis) == NX_OK);
    nx_redis_free(redis);
}

static void a_full_server_opens_the_breaker_for_writers(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    const nx_redis_options options = redis_patient(fixture);
    nx_redis *redis = redis_open(&options);
    nx_redis_reply reply;
    nx_error err = {0};
    REDIS_TELL(fixture, "CONFIG", "SET", "maxmemory-policy", "noeviction");
    REDIS_TELL(fixture, "CONFIG", "SET", "maxmemory", "1");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(RUN(redis, &reply, &err, "SET", "k", "v"), NX_ERR_UNAVAILABLE);
        nx_assert_contains(err.message, "OOM");
    }
    assert_int_equal(nx_redis_get_stats(redis).openings, 1);
    REDIS_TELL(fixture, "CONFIG", "SET", "maxmemory", "0");
    redis_eventually(RUN(redis, &reply, &err, "SET", "k", "v") == NX_OK);
    nx_redis_reply_free(&reply);
    nx_redis_free(redis);
}

static void nobody_listens(void **state)
{
    (void)state;
    static const char *const urls[] = {"unix:///nonexistent/socket", "redis://127.0.0.1:1"};
    for (size_t i = 0; i < NX_COUNT(urls); i++) {
        const nx_redis_options options = {.url = urls[i], .timeout_ms = 30000};
        nx_redis_report report;
        nx_error err = {0};
        nx_redis *redis = redis_open(&options);
        assert_int_equal(ping(redis), NX_ERR_UNAVAILABLE);
        assert_int_equal(nx_redis_get_stats(redis).openings, 1);
        nx_redis_free(redis);
        assert_int_equal(nx_redis_check(&options, &report, &err), NX_ERR_UNAVAILABLE);
        assert_string_equal(report.version, "");
    }
    nx_redis *redis = NULL;
    nx_error err = {0};
    const nx_redis_options wrong = {.url = "redis://:hunter2@h:x"};
    assert_int_equal(nx_redis_new(&wrong, &redis, &err), NX_ERR_INVALID);
    assert_null(redis);
}

static void it_tells_of_itself(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    const nx_redis_options options = redis_patient(fixture);
    nx_redis_report report;
    nx_error err = {0};
    nx_assert_ok(nx_redis_check(&options, &report, &err), err);
    assert_true(report.version[0] >= '1' && report.version[0] <= '9');
    assert_int_equal(report.maxmemory, 64 << 20);
    assert_true(report.used > 0);
    REDIS_TELL(fixture, "CONFIG", "SET", "maxmemory-policy", "volatile-ttl");
    nx_assert_ok(nx_redis_check(&options, &report, &err), err);
    assert_string_equal(report.policy, "volatile-ttl");
    for (int i = 0; i < 3; i++) {
        assert_true(strlen(nx_redis_state_name((nx_redis_state)i)) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        redis_test(replies_are_copied),
        redis_test(the_callers_mistakes_are_answers),
        redis_test(large_values_pass_and_too_large_ones_do_not),
        redis_test(scripts_run_by_hash_and_are_sent_again_when_lost),
        redis_test(connections_are_bounded_and_shared),
        redis_test(users_passwords_and_databases),
        redis_test(a_killed_server_opens_the_breaker_and_a_new_one_closes_it),
        redis_test(a_server_that_is_stopped_costs_three_waits),
        redis_test(a_full_server_opens_the_breaker_for_writers),
        redis_test(it_tells_of_itself),
        cmocka_unit_test(nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
