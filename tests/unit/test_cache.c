/* What every cache does, wherever it keeps its entries. */
#include "redis_fixture.h"

#include "cache/cache.h"

#include <pthread.h>
#include <stdatomic.h>

static bool on_redis; /* which the tests run on */
static redis_fixture *server;
static nx_redis *redis;

static int make(void **state)
{
    nx_error err = {0};
    nx_cache *cache = NULL;
    if (on_redis && server->server > 0) {
        const nx_redis_options client = redis_patient(server);
        REDIS_TELL(server, "FLUSHALL");
        redis = redis_open(&client);
    }
    const nx_cache_options options = {
        .redis = redis,
        .max_bytes = (size_t)4 << 20,
        .ttl_ms = {600000, 600000, 600000, 0},
    };
    nx_assert_ok(nx_cache_new(&options, &cache, &err), err);
    *state = cache;
    return 0;
}

static int end(void **state)
{
    nx_cache_free(*state);
    nx_redis_free(redis);
    redis = NULL;
    return 0;
}

static int begin_redis(void **state)
{
    void *fixture = NULL;
    (void)state;
    on_redis = true;
    int failure = redis_begin(&fixture);
    server = fixture;
    return failure;
}

static int end_redis(void **state)
{
    void *fixture = server;
    (void)state;
    return redis_end(&fixture);
}

#define NEED_BACKEND()                                                                             \
    do {                                                                                           \
        if (on_redis) {                                                                            \
            REDIS_NEED_SERVER();                                                                   \
        }                                                                                          \
    } while (0)

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

/* Whether the value is found; "" stands for a miss. */
static void expect(nx_cache *cache, nx_cache_kind kind, const char *name, const char *value)
{
    nx_cache_key key = key_of(kind, name);
    nx_buffer out = NX_BUFFER_INIT;
    nx_cache_answer answer = nx_cache_get(cache, &key, &out);
    assert_int_equal(answer, value[0] != '\0' ? NX_CACHE_HIT : NX_CACHE_MISS);
    assert_string_equal(nx_buffer_cstr(&out), value);
    nx_buffer_free(&out);
}

static void a_value_comes_back(void **state)
{
    NEED_BACKEND();
    nx_cache *cache = *state;
    expect(cache, NX_CACHE_VIDEOS, "a", "");
    put(cache, NX_CACHE_VIDEOS, "a", "one");
    put(cache, NX_CACHE_VIDEOS, "b", "two");
    expect(cache, NX_CACHE_VIDEOS, "a", "one");
    expect(cache, NX_CACHE_VIDEOS, "b", "two");
    put(cache, NX_CACHE_VIDEOS, "a", "three");
    expect(cache, NX_CACHE_VIDEOS, "a", "three");
    expect(cache, NX_CACHE_VIDEOS, "", "");

    const nx_cache_kind_stats s = nx_cache_get_stats(cache).kinds[NX_CACHE_VIDEOS];
    assert_int_equal(s.hits, 3);
    assert_int_equal(s.misses, 2);
    assert_int_equal(s.puts, 3);
    assert_int_equal(s.refused, 0);
    assert_int_equal(s.errors, 0);
}

static void bytes_are_bytes(void **state)
{
    static const unsigned char name[] = {0, '\r', '\n', 255, 0, '*', ' '};
    static const unsigned char value[] = {0, 1, '\n', '\r', 0, 200};
    NEED_BACKEND();
    nx_cache *cache = *state;
    nx_cache_key key = {.kind = NX_CACHE_PREDICTIONS, .bytes = name, .size = sizeof name};
    nx_cache_key shorter = {.kind = NX_CACHE_PREDICTIONS, .bytes = name, .size = sizeof name - 1};
    nx_buffer out = NX_BUFFER_INIT;
    nx_cache_put(cache, &key, value, sizeof value, 0);
    nx_cache_settle(cache);
    nx_buffer_append_str(&out, ">");
    assert_int_equal(nx_cache_get(cache, &shorter, &out), NX_CACHE_MISS);
    assert_int_equal(out.size, 1);
    assert_int_equal(nx_cache_get(cache, &key, &out), NX_CACHE_HIT);
    assert_int_equal(out.size, 1 + sizeof value); /* behind what was there */
    assert_memory_equal(out.data + 1, value, sizeof value);

    nx_buffer_clear(&out);
    nx_cache_put(cache, &key, NULL, 0, 0); /* nothing is a value as well */
    nx_cache_settle(cache);
    assert_int_equal(nx_cache_get(cache, &key, &out), NX_CACHE_HIT);
    assert_int_equal(out.size, 0);
    nx_buffer_free(&out);
}

static void kinds_are_apart(void **state)
{
    NEED_BACKEND();
    nx_cache *cache = *state;
    put(cache, NX_CACHE_VIDEOS, "a", "video");
    expect(cache, NX_CACHE_SESSIONS, "a", "");
    put(cache, NX_CACHE_SESSIONS, "a", "session");
    expect(cache, NX_CACHE_VIDEOS, "a", "video");
    nx_cache_remove_kind(cache, NX_CACHE_VIDEOS);
    expect(cache, NX_CACHE_VIDEOS, "a", "");
    expect(cache, NX_CACHE_SESSIONS, "a", "session");
    for (int kind = 0; kind < NX_CACHE_KINDS; kind++) {
        assert_true(strlen(nx_cache_kind_name((nx_cache_kind)kind)) > 0);
    }
}

static void what_is_removed_is_gone(void **state)
{
    NEED_BACKEND();
    nx_cache *cache = *state;
    put(cache, NX_CACHE_VIDEOS, "a", "one");
    put(cache, NX_CACHE_VIDEOS, "b", "two");
    const nx_cache_key key = key_of(NX_CACHE_VIDEOS, "a");
    nx_cache_remove(cache, &key);
    expect(cache, NX_CACHE_VIDEOS, "a", "");
    expect(cache, NX_CACHE_VIDEOS, "b", "two");
    put(cache, NX_CACHE_VIDEOS, "a", "new");
    expect(cache, NX_CACHE_VIDEOS, "a", "new");
}

/* Who missed, and was overtaken by a removal, brings an old value. */
static void a_late_put_is_not_found(void **state)
{
    NEED_BACKEND();
    nx_cache *cache = *state;
    nx_buffer out = NX_BUFFER_INIT;
    nx_cache_key key = key_of(NX_CACHE_SESSIONS, "token");
    for (int way = 0; way < 2; way++) {
        assert_int_equal(nx_cache_get(cache, &key, &out), NX_CACHE_MISS);
        const nx_cache_key other = key_of(NX_CACHE_SESSIONS, "token");
        if (way == 0) {
            nx_cache_remove(cache, &other);
        } else {
            nx_cache_remove_kind(cache, NX_CACHE_SESSIONS);
        }
        nx_cache_put(cache, &key, "old", 3, 0);
        nx_cache_settle(cache);
        assert_int_equal(nx_cache_get(cache, &key, &out), NX_CACHE_MISS);
        nx_cache_put(cache, &key, "new", 3, 0); /* stamped anew by the miss */
        nx_cache_settle(cache);
        assert_int_equal(nx_cache_get(cache, &key, &out), NX_CACHE_HIT);
        assert_string_equal(nx_buffer_cstr(&out), "new");
        nx_buffer_clear(&out);
        nx_cache_remove_kind(cache, NX_CACHE_SESSIONS);
    }
    nx_buffer_free(&out);
}

static void a_kind_is_switched_off(void **state)
{
    NEED_BACKEND();
    nx_cache *cache = *state;
    nx_cache_key key = key_of(NX_CACHE_RESPONSES, "a");
    nx_buffer out = NX_BUFFER_INIT;
    nx_cache *caches[] = {cache, NULL};
    for (size_t i = 0; i < NX_COUNT(caches); i++) {
        nx_cache_put(caches[i], &key, "x", 1, 0);
        assert_int_equal(nx_cache_get(caches[i], &key, &out), NX_CACHE_OFF);
        assert_int_equal(nx_cache_peek(caches[i], &key, &out), NX_CACHE_OFF);
        nx_cache_remove(caches[i], &key);
        nx_cache_remove_kind(caches[i], NX_CACHE_RESPONSES);
        const nx_cache_kind_stats s = nx_cache_get_stats(caches[i]).kinds[NX_CACHE_RESPONSES];
        assert_int_equal(s.hits + s.misses + s.errors + s.puts + s.refused, 0);
    }
    assert_false(nx_cache_waits(NULL));
    nx_cache_free(NULL);
    nx_buffer_free(&out);
}

static void keys_have_a_largest_size(void **state)
{
    NEED_BACKEND();
    nx_cache *cache = *state;
    char name[NX_CACHE_MAX_KEY + 2];
    memset(name, 'k', sizeof name);
    name[NX_CACHE_MAX_KEY] = '\0';
    put(cache, NX_CACHE_VIDEOS, name, "fits");
    expect(cache, NX_CACHE_VIDEOS, name, "fits");
    name[NX_CACHE_MAX_KEY] = 'k';
    name[NX_CACHE_MAX_KEY + 1] = '\0';
    put(cache, NX_CACHE_VIDEOS, name, "does not");
    expect(cache, NX_CACHE_VIDEOS, name, "");
    assert_int_equal(nx_cache_get_stats(cache).kinds[NX_CACHE_VIDEOS].refused, 1);
}

/* Threads that write, read and remove the same few keys: a value is whole and its own key's. */
#define ROUNDS 3000
#define NAMES  24

typedef struct crowd {
    nx_cache *cache;
    atomic_int wrong;
    unsigned seed;
} crowd;

static void value_of(unsigned name, char out[200])
{
    size_t size = 20 + (size_t)name * 7;
    memset(out, 'a' + (int)name, size);
    out[size] = '\0';
}

static void *use(void *user)
{
    crowd *self = user;
    unsigned random = self->seed;
    nx_buffer out = NX_BUFFER_INIT;
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 1664525u + 1013904223u;
        unsigned name = (random >> 8) % NAMES;
        char text[16];
        char expected[200];
        snprintf(text, sizeof text, "%u", name);
        value_of(name, expected);
        nx_cache_key key = key_of(NX_CACHE_PREDICTIONS, text);
        nx_buffer_clear(&out);
        if ((random >> 20) % 16 == 0) {
            nx_cache_remove(self->cache, &key);
        } else if (nx_cache_get(self->cache, &key, &out) != NX_CACHE_HIT) {
            nx_cache_put(self->cache, &key, expected, strlen(expected), 0);
        } else if (strcmp(nx_buffer_cstr(&out), expected) != 0) {
            atomic_fetch_add(&self->wrong, 1);
        }
    }
    nx_buffer_free(&out);
    return NULL;
}

static void threads_share_it(void **state)
{
    NEED_BACKEND();
    crowd crowds[4] = {0};
    pthread_t threads[NX_COUNT(crowds)];
    for (size_t i = 0; i < NX_COUNT(crowds); i++) {
        crowds[i] = (crowd){.cache = *state, .seed = (unsigned)i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &crowds[i]), 0);
    }
    for (size_t i = 0; i < NX_COUNT(crowds); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(crowds[i].wrong, 0);
    }
    const nx_cache_kind_stats s = nx_cache_get_stats(*state).kinds[NX_CACHE_PREDICTIONS];
    assert_true(s.hits > 0 && s.misses > 0);
    assert_int_equal(s.puts + s.refused, s.misses);
}

static const char *no_environment(const char *name, void *user)
{
    (void)name;
    (void)user;
    return NULL;
}

static void settings_become_options(void **state)
{
    (void)state;
    static const char text[] = "cache_bytes: 8m\ncache_ttl_videos: 0\ncache_ttl_responses: 7\n";
    nx_config *config = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_config_load_text(text, sizeof text - 1, "nexus.yaml", no_environment, NULL,
                                     &config, &err),
                 err);
    const nx_cache_options options = nx_cache_options_of(config);
    assert_int_equal(options.max_bytes, 8 << 20);
    assert_int_equal(options.ttl_ms[NX_CACHE_PREDICTIONS], 300000);
    assert_int_equal(options.ttl_ms[NX_CACHE_VIDEOS], 0);
    assert_int_equal(options.ttl_ms[NX_CACHE_SESSIONS], 3600000);
    assert_int_equal(options.ttl_ms[NX_CACHE_RESPONSES], 7000);
    nx_config_free(config);
}

#define cache_test(function) cmocka_unit_test_setup_teardown(function, make, end)

static void lifetimes_change(void **state)
{
    NEED_BACKEND();
    nx_cache *cache = *state;
    const uint32_t off[NX_CACHE_KINDS] = {0, 0, 0, 600000};
    const uint32_t on[NX_CACHE_KINDS] = {600000, 600000, 600000, 0};
    nx_cache_key key = {.kind = NX_CACHE_PREDICTIONS, .bytes = "k", .size = 1};
    nx_buffer out = NX_BUFFER_INIT;
    nx_cache_put(cache, &key, "old", 3, 0);
    nx_cache_settle(cache);
    assert_true(nx_cache_keeps(cache, NX_CACHE_PREDICTIONS));
    nx_cache_set_lifetimes(cache, off);
    assert_false(nx_cache_keeps(cache, NX_CACHE_PREDICTIONS));
    assert_true(nx_cache_keeps(cache, NX_CACHE_RESPONSES));
    assert_int_equal(nx_cache_get(cache, &key, &out), NX_CACHE_OFF);
    nx_cache_put(cache, &key, "new", 3, 0);
    nx_cache_settle(cache);
    nx_cache_set_lifetimes(cache, on);
    assert_int_equal(nx_cache_get(cache, &key, &out), NX_CACHE_HIT);
    assert_memory_equal(out.data, "old", 3);
    assert_false(nx_cache_keeps(NULL, NX_CACHE_PREDICTIONS));
    nx_buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cache_test(a_value_comes_back),      cache_test(bytes_are_bytes),
        cache_test(kinds_are_apart),         cache_test(what_is_removed_is_gone),
        cache_test(a_late_put_is_not_found), cache_test(a_kind_is_switched_off),
        cache_test(lifetimes_change),        cache_test(keys_have_a_largest_size),
        cache_test(threads_share_it),        cmocka_unit_test(settings_become_options),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL) +
           cmocka_run_group_tests_name("redis", tests, begin_redis, end_redis);
}
