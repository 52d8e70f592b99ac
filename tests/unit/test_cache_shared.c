/* The cache in a Redis that several processes share, and what is left of it while Redis is not
 * there. */
#include "redis_fixture.h"

#include "cache/cache.h"
#include "cache/shared.h"

/* What one process has. */
typedef struct host {
    nx_redis *redis;
    nx_cache *cache;
} host;

static host begin(const nx_redis_options *options)
{
    host h = {.redis = redis_open(options)};
    nx_error err = {0};
    const nx_cache_options cache = {
        .redis = h.redis,
        .max_bytes = (size_t)32 << 20,
        .ttl_ms = {600000, 600000, 600000, 600000},
    };
    nx_assert_ok(nx_cache_new(&cache, &h.cache, &err), err);
    return h;
}

static void end(host *h)
{
    nx_cache_free(h->cache);
    nx_redis_free(h->redis);
}

static nx_cache_key key_of(nx_cache_kind kind, const char *name)
{
    return (nx_cache_key){.kind = kind, .bytes = name, .size = strlen(name)};
}

static void put(nx_cache *cache, nx_cache_kind kind, const char *name, const char *value)
{
    const nx_cache_key key = key_of(kind, name);
    nx_cache_put(cache, &key, value, strlen(value), 0);
    nx_cache_settle(cache);
}

/* What is found; "" for a miss. In a static buffer. */
static const char *look(nx_cache *cache, nx_cache_kind kind, const char *name)
{
    static char found[64];
    nx_cache_key key = key_of(kind, name);
    nx_buffer out = NX_BUFFER_INIT;
    nx_cache_answer answer = nx_cache_get(cache, &key, &out);
    assert_true(answer == NX_CACHE_HIT || (answer == NX_CACHE_MISS && out.size == 0));
    snprintf(found, sizeof found, "%s", nx_buffer_cstr(&out));
    nx_buffer_free(&out);
    return found;
}

static nx_cache_answer peek(nx_cache *cache, nx_cache_kind kind, const char *name)
{
    nx_cache_key key = key_of(kind, name);
    nx_buffer out = NX_BUFFER_INIT;
    nx_cache_answer answer = nx_cache_peek(cache, &key, &out);
    nx_buffer_free(&out);
    return answer;
}

static void hosts_share_and_remove(void **state)
{
    REDIS_NEED_SERVER();
    const nx_redis_options options = redis_patient(*state);
    host a = begin(&options);
    host b = begin(&options);
    assert_true(nx_cache_waits(a.cache));
    assert_string_equal(nx_cache_place(a.cache), "redis");
    put(a.cache, NX_CACHE_SESSIONS, "v", "one");
    assert_string_equal(look(b.cache, NX_CACHE_SESSIONS, "v"), "one");
    assert_int_equal(peek(b.cache, NX_CACHE_SESSIONS, "v"), NX_CACHE_ASK);

    nx_cache_key late = key_of(NX_CACHE_SESSIONS, "w");
    nx_buffer out = NX_BUFFER_INIT;
    assert_int_equal(nx_cache_get(b.cache, &late, &out), NX_CACHE_MISS);
    const nx_cache_key keys[] = {key_of(NX_CACHE_SESSIONS, "v"), key_of(NX_CACHE_SESSIONS, "w")};
    nx_cache_remove(a.cache, &keys[0]);
    nx_cache_remove(a.cache, &keys[1]);
    assert_string_equal(look(b.cache, NX_CACHE_SESSIONS, "v"), "");
    nx_cache_put(b.cache, &late, "old", 3, 0); /* overtaken by the other host's removal */
    nx_cache_settle(b.cache);
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "w"), "");
    assert_string_equal(look(b.cache, NX_CACHE_SESSIONS, "w"), "");

    put(b.cache, NX_CACHE_SESSIONS, "v", "two");
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "v"), "two");
    nx_cache_remove_kind(b.cache, NX_CACHE_SESSIONS);
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "v"), "");
    nx_buffer_free(&out);
    end(&a);
    end(&b);
}

static void predictions_are_copied_into_memory(void **state)
{
    REDIS_NEED_SERVER();
    const nx_redis_options options = redis_patient(*state);
    host a = begin(&options);
    host b = begin(&options);
    put(a.cache, NX_CACHE_PREDICTIONS, "p", "boxes");
    assert_int_equal(peek(a.cache, NX_CACHE_PREDICTIONS, "p"), NX_CACHE_HIT);
    assert_int_equal(peek(b.cache, NX_CACHE_PREDICTIONS, "p"), NX_CACHE_ASK);
    assert_string_equal(look(b.cache, NX_CACHE_PREDICTIONS, "p"), "boxes");
    assert_int_equal(peek(b.cache, NX_CACHE_PREDICTIONS, "p"), NX_CACHE_HIT);
    nx_cache_stats stats = nx_cache_get_stats(b.cache);
    assert_int_equal(stats.kinds[NX_CACHE_PREDICTIONS].hits, 2);
    assert_int_equal(stats.kinds[NX_CACHE_PREDICTIONS].misses, 0);
    assert_int_equal(stats.entries, 1);
    nx_cache_remove_kind(b.cache, NX_CACHE_PREDICTIONS);
    assert_string_equal(look(b.cache, NX_CACHE_PREDICTIONS, "p"), "");
    end(&a);
    end(&b);
}

static void entries_have_their_lifetime(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    const nx_redis_options options = redis_patient(fixture);
    host a = begin(&options);
    nx_redis_reply reply;
    const nx_cache_key short_key = key_of(NX_CACHE_SESSIONS, "short");
    put(a.cache, NX_CACHE_SESSIONS, "long", "x");
    nx_cache_put(a.cache, &short_key, "x", 1, 300000);
    nx_cache_settle(a.cache);
    redis_do(fixture, (const char *const[]){"PTTL", "nexus:sessions:long", NULL}, &reply);
    assert_true(reply.integer > 300000 && reply.integer <= 600000);
    redis_do(fixture, (const char *const[]){"PTTL", "nexus:sessions:short", NULL}, &reply);
    assert_true(reply.integer > 0 && reply.integer <= 300000);
    REDIS_TELL(fixture, "PEXPIRE", "nexus:sessions:long", "1");
    redis_eventually(look(a.cache, NX_CACHE_SESSIONS, "long")[0] == '\0');
    end(&a);
}

static void large_values_stay_in_memory(void **state)
{
    REDIS_NEED_SERVER();
    const nx_redis_options options = redis_patient(*state);
    host a = begin(&options);
    host b = begin(&options);
    char *large = calloc(1, NX_CACHE_MAX_SHARED + 1);
    assert_non_null(large);
    nx_buffer out = NX_BUFFER_INIT;
    static const nx_cache_kind kinds[] = {NX_CACHE_PREDICTIONS, NX_CACHE_SESSIONS};
    for (size_t i = 0; i < 2; i++) {
        const nx_cache_kind kind = kinds[i];
        nx_cache_key key = key_of(kind, "fits");
        nx_cache_put(a.cache, &key, large, NX_CACHE_MAX_SHARED, 0);
        nx_cache_settle(a.cache);
        assert_int_equal(nx_cache_get(b.cache, &key, &out), NX_CACHE_HIT);
        assert_int_equal(out.size, NX_CACHE_MAX_SHARED);
        key = key_of(kind, "larger");
        nx_buffer_clear(&out);
        nx_cache_put(a.cache, &key, large, NX_CACHE_MAX_SHARED + 1, 0);
        nx_cache_settle(a.cache);
        assert_int_equal(nx_cache_get(b.cache, &key, &out), NX_CACHE_MISS);
        assert_int_equal(nx_cache_get(a.cache, &key, &out),
                         kind != NX_CACHE_SESSIONS ? NX_CACHE_HIT : NX_CACHE_MISS);
        nx_buffer_clear(&out);
    }
    free(large);
    nx_buffer_free(&out);
    end(&a);
    end(&b);
}

/* Redis gives up what it likes, states among it. */
static void what_redis_gives_up_is_a_miss(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    const nx_redis_options options = redis_patient(fixture);
    host a = begin(&options);
    nx_buffer out = NX_BUFFER_INIT;
    nx_cache_key late = key_of(NX_CACHE_SESSIONS, "w");
    put(a.cache, NX_CACHE_SESSIONS, "v", "one");
    assert_int_equal(nx_cache_get(a.cache, &late, &out), NX_CACHE_MISS);
    REDIS_TELL(fixture, "DEL", "nexus:sessions:"); /* the state of the kind */
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "v"), "");
    nx_cache_put(a.cache, &late, "old", 3, 0);
    nx_cache_settle(a.cache);
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "w"), "");
    put(a.cache, NX_CACHE_SESSIONS, "v", "two");
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "v"), "two");
    REDIS_TELL(fixture, "FLUSHALL");
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "v"), "");

    REDIS_TELL(fixture, "SET", "nexus:sessions:v", "x"); /* written by nobody of us */
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "v"), "");
    REDIS_TELL(fixture, "DEL", "nexus:sessions:");
    REDIS_TELL(fixture, "RPUSH", "nexus:sessions:", "a", "list");
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "v"), "");
    nx_buffer_free(&out);
    end(&a);
}

static void without_redis_predictions_go_on(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    const nx_redis_options options = redis_patient(fixture);
    host a = begin(&options);
    put(a.cache, NX_CACHE_PREDICTIONS, "p", "boxes");
    put(a.cache, NX_CACHE_SESSIONS, "v", "one");
    redis_kill(fixture);
    redis_eventually(
        (look(a.cache, NX_CACHE_SESSIONS, "v"), redis_state(a.redis) != NX_REDIS_CLOSED));
    uint64_t errors = nx_cache_get_stats(a.cache).kinds[NX_CACHE_SESSIONS].errors;
    assert_true(errors > 0);
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "v"), "");
    assert_int_equal(peek(a.cache, NX_CACHE_SESSIONS, "v"),
                     NX_CACHE_MISS); /* nothing to wait for */
    assert_int_equal(nx_cache_get_stats(a.cache).kinds[NX_CACHE_SESSIONS].errors, errors + 2);
    assert_string_equal(look(a.cache, NX_CACHE_PREDICTIONS, "p"), "boxes");
    put(a.cache, NX_CACHE_PREDICTIONS, "q", "more");
    assert_string_equal(look(a.cache, NX_CACHE_PREDICTIONS, "q"), "more");
    put(a.cache, NX_CACHE_SESSIONS, "v", "lost");
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "v"), "");

    redis_start(fixture, NULL);
    redis_eventually(redis_state(a.redis) == NX_REDIS_CLOSED);
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "v"), "");
    put(a.cache, NX_CACHE_SESSIONS, "v", "new");
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "v"), "new");
    end(&a);
}

/* A removal that Redis does not hear, and that it still has the old value of when it wakes. */
static void a_removal_that_is_not_heard_is_made_good(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    const nx_redis_options hasty = redis_hasty(fixture);
    const nx_redis_options patient = redis_patient(fixture);
    host a = begin(&hasty);
    host b = begin(&patient);
    const nx_cache_key key = key_of(NX_CACHE_SESSIONS, "token");
    put(b.cache, NX_CACHE_SESSIONS, "token", "valid");
    redis_eventually(strcmp(look(a.cache, NX_CACHE_SESSIONS, "token"), "valid") == 0);
    redis_pause(fixture);
    redis_eventually(
        (look(a.cache, NX_CACHE_SESSIONS, "token"), redis_state(a.redis) != NX_REDIS_CLOSED));
    nx_cache_remove(a.cache, &key); /* not even sent */
    redis_continue(fixture);
    for (int i = 0; i < 200; i++) { /* before, while and after it comes back */
        assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "token"), "");
    }
    redis_eventually(look(b.cache, NX_CACHE_SESSIONS, "token")[0] == '\0' ||
                     (look(a.cache, NX_CACHE_SESSIONS, "token"), false));
    assert_string_equal(look(b.cache, NX_CACHE_SESSIONS, "token"), "");
    nx_cache_key again = key;
    nx_buffer out = NX_BUFFER_INIT;
    redis_eventually((nx_cache_get(a.cache, &again, &out),
                      nx_cache_put(a.cache, &again, "new", 3, 0), nx_cache_settle(a.cache),
                      strcmp(look(b.cache, NX_CACHE_SESSIONS, "token"), "new") == 0));
    nx_buffer_free(&out);
    end(&a);
    end(&b);
}

static void puts_do_not_wait_and_are_bounded(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    nx_redis_options options = redis_patient(fixture);
    host a = begin(&options);
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "r"), "");
    redis_pause(fixture);
    for (int i = 0; i < 1000; i++) { /* the first is being sent, 512 wait, the others are refused */
        const nx_cache_key key = {.kind = NX_CACHE_SESSIONS, .bytes = &i, .size = sizeof i};
        nx_cache_put(a.cache, &key, "x", 1, 0);
    }
    uint64_t refused = nx_cache_get_stats(a.cache).kinds[NX_CACHE_SESSIONS].refused;
    assert_true(refused >= 1000 - 513);
    redis_continue(fixture);
    nx_cache_settle(a.cache);
    const nx_cache_kind_stats s = nx_cache_get_stats(a.cache).kinds[NX_CACHE_SESSIONS];
    assert_int_equal(s.puts + s.refused, 1000);
    assert_true(s.puts > 0);
    end(&a);
}

static void a_full_redis_refuses(void **state)
{
    REDIS_NEED_SERVER();
    redis_fixture *fixture = *state;
    const nx_redis_options options = redis_patient(fixture);
    host a = begin(&options);
    put(a.cache, NX_CACHE_SESSIONS, "r", "old");
    REDIS_TELL(fixture, "CONFIG", "SET", "maxmemory-policy", "noeviction");
    REDIS_TELL(fixture, "CONFIG", "SET", "maxmemory", "1");
    put(a.cache, NX_CACHE_SESSIONS, "s", "new");
    assert_int_equal(nx_cache_get_stats(a.cache).kinds[NX_CACHE_SESSIONS].refused, 1);
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "r"), "old"); /* what is there is there */
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "s"), "");
    const nx_cache_key key = key_of(NX_CACHE_SESSIONS, "r");
    nx_cache_remove(a.cache, &key); /* needs memory, too */
    assert_string_equal(look(a.cache, NX_CACHE_SESSIONS, "r"), "");
    REDIS_TELL(fixture, "CONFIG", "SET", "maxmemory", "0");
    redis_eventually((put(a.cache, NX_CACHE_SESSIONS, "r", "newer"),
                      strcmp(look(a.cache, NX_CACHE_SESSIONS, "r"), "newer") == 0));
    end(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        redis_test(hosts_share_and_remove),
        redis_test(predictions_are_copied_into_memory),
        redis_test(entries_have_their_lifetime),
        redis_test(large_values_stay_in_memory),
        redis_test(what_redis_gives_up_is_a_miss),
        redis_test(without_redis_predictions_go_on),
        redis_test(a_removal_that_is_not_heard_is_made_good),
        redis_test(puts_do_not_wait_and_are_bounded),
        redis_test(a_full_redis_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
