/* The bounds of the cache in memory: bytes, order, time. */
#include "testing.h"

#include "base/clock.h"
#include "cache/cache.h"

#include <pthread.h>

/* A clock that the test sets; each look at it takes a nanosecond, so that no two are at once. */
static int64_t clock_ns;

static int64_t read_clock(void *user)
{
    return ++*(int64_t *)user;
}

static nx_cache *cache_of(size_t bytes)
{
    nx_error err = {0};
    nx_cache *cache = NULL;
    const nx_cache_options options = {
        .max_bytes = bytes,
        .ttl_ms = {1000, 2000, 3000, 4000},
        .now_ns = read_clock,
        .user = &clock_ns,
    };
    nx_assert_ok(nx_cache_new(&options, &cache, &err), err);
    return cache;
}

static void put_sized(nx_cache *cache, uint32_t name, size_t size, uint32_t ttl_ms)
{
    char *value = malloc(size);
    assert_non_null(value);
    memset(value, (int)(name % 251), size);
    const nx_cache_key key = {.kind = NX_CACHE_VIDEOS, .bytes = &name, .size = sizeof name};
    nx_cache_put(cache, &key, value, size, ttl_ms);
    free(value);
}

static bool holds(nx_cache *cache, uint32_t name)
{
    nx_cache_key key = {.kind = NX_CACHE_VIDEOS, .bytes = &name, .size = sizeof name};
    nx_buffer out = NX_BUFFER_INIT;
    bool found = nx_cache_peek(cache, &key, &out) == NX_CACHE_HIT;
    for (size_t i = 0; found && i < out.size; i++) {
        assert_int_equal((unsigned char)out.data[i], name % 251);
    }
    nx_buffer_free(&out);
    return found;
}

static void bytes_are_bounded(void **state)
{
    (void)state;
    const size_t bound = (size_t)1 << 20;
    nx_cache *cache = cache_of(bound);
    for (uint32_t i = 0; i < 5000; i++) {
        put_sized(cache, i, 1 + (i * 37) % 4000, 0);
        assert_true(nx_cache_get_stats(cache).bytes <= bound);
    }
    nx_cache_stats stats = nx_cache_get_stats(cache);
    assert_int_equal(stats.max_bytes, bound);
    assert_int_equal(stats.kinds[NX_CACHE_VIDEOS].puts, 5000);
    assert_int_equal(stats.entries + stats.evictions, 5000);
    assert_true(stats.bytes > bound * 9 / 10); /* and used */
    nx_cache_free(cache);
}

static void small_values_are_counted_with_what_they_cost(void **state)
{
    (void)state;
    const size_t bound = NX_CACHE_MIN_BYTES;
    nx_cache *cache = cache_of(bound);
    for (uint32_t i = 0; i < 2000; i++) {
        put_sized(cache, i, 1, 0);
    }
    nx_cache_stats stats = nx_cache_get_stats(cache);
    /* an entry has two hashes, three links, two times, two stamps: never less than this */
    assert_true(stats.entries < bound / 100);
    assert_true(stats.entries > 0);
    nx_cache_free(cache);
}

static void the_least_recently_used_goes_first(void **state)
{
    (void)state;
    nx_cache *cache = cache_of((size_t)1 << 20);
    for (uint32_t i = 0; i < 8; i++) { /* the eighth doesn't fit beside seven of them */
        put_sized(cache, i, ((size_t)1 << 17) - 100, 0);
        assert_true(i != 6 || holds(cache, 0)); /* used again before there is no room */
    }
    put_sized(cache, 8, ((size_t)1 << 17) - 100, 0);
    assert_true(holds(cache, 0));
    assert_false(holds(cache, 1));
    for (uint32_t i = 3; i < 9; i++) {
        assert_true(holds(cache, i));
    }
    nx_cache_free(cache);
}

static void a_large_value_has_room_and_a_larger_one_has_not(void **state)
{
    (void)state;
    const size_t bound = (size_t)1 << 20;
    nx_cache *cache = cache_of(bound);
    for (uint32_t i = 0; i < 1000; i++) {
        put_sized(cache, i, 900, 0);
    }
    put_sized(cache, 1000, bound / 8, 0); /* twice what a shard's share would be */
    assert_true(holds(cache, 1000));
    put_sized(cache, 1001, bound / 8 + 1, 0);
    assert_false(holds(cache, 1001));
    assert_int_equal(nx_cache_get_stats(cache).kinds[NX_CACHE_VIDEOS].refused, 1);
    nx_cache_free(cache);

    cache = cache_of((size_t)256 << 20);
    put_sized(cache, 1, NX_CACHE_MAX_VALUE, 0);
    put_sized(cache, 2, NX_CACHE_MAX_VALUE + 1, 0);
    assert_true(holds(cache, 1));
    assert_false(holds(cache, 2));
    nx_cache_free(cache);
}

static void a_refused_value_leaves_the_old_one(void **state)
{
    (void)state;
    nx_cache *cache = cache_of(NX_CACHE_MIN_BYTES);
    put_sized(cache, 1, 100, 0);
    put_sized(cache, 1, NX_CACHE_MIN_BYTES, 0);
    assert_true(holds(cache, 1));
    nx_cache_free(cache);
}

static void entries_end_with_their_time(void **state)
{
    (void)state;
    nx_cache *cache = cache_of((size_t)1 << 20);
    put_sized(cache, 1, 10, 0);
    put_sized(cache, 2, 10, 500);
    put_sized(cache, 3, 10, 999999); /* no longer than the kind's */
    clock_ns += 400 * NX_NS_PER_MS;
    assert_true(holds(cache, 1) && holds(cache, 2) && holds(cache, 3));
    clock_ns += 100 * NX_NS_PER_MS;
    assert_false(holds(cache, 2));
    clock_ns += 1499 * NX_NS_PER_MS;
    assert_true(holds(cache, 1) && holds(cache, 3));
    clock_ns += NX_NS_PER_MS;
    assert_false(holds(cache, 1));
    assert_false(holds(cache, 3));
    assert_int_equal(nx_cache_get_stats(cache).entries, 0);
    assert_int_equal(nx_cache_get_stats(cache).bytes, 0);
    nx_cache_free(cache);
}

static void too_small_a_cache_is_refused(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_cache *cache = NULL;
    const nx_cache_options options = {.max_bytes = NX_CACHE_MIN_BYTES - 1};
    assert_int_equal(nx_cache_new(&options, &cache, &err), NX_ERR_INVALID);
    assert_null(cache);
    nx_assert_contains(err.message, "65536");
}

/* Threads that fill a small cache with large values: the bound holds at every moment. */
static void *fill(void *user)
{
    nx_cache *cache = user;
    static _Atomic uint32_t next;
    char value[6000] = {0};
    for (int i = 0; i < 2000; i++) {
        uint32_t name = next++ % 300;
        const nx_cache_key key = {
            .kind = NX_CACHE_PREDICTIONS, .bytes = &name, .size = sizeof name};
        nx_cache_put(cache, &key, value, 1000 + (name * 17) % 5000, 0);
        nx_cache_stats stats = nx_cache_get_stats(cache);
        if (stats.bytes > stats.max_bytes) {
            return cache;
        }
    }
    return NULL;
}

static void the_bound_holds_for_threads_together(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_cache *cache = NULL;
    const nx_cache_options options = {.max_bytes = NX_CACHE_MIN_BYTES, .ttl_ms = {60000}};
    nx_assert_ok(nx_cache_new(&options, &cache, &err), err);
    pthread_t threads[4];
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, fill, cache), 0);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    nx_cache_stats stats = nx_cache_get_stats(cache);
    assert_true(stats.evictions > 0 && stats.entries > 0);
    nx_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(small_values_are_counted_with_what_they_cost),
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(a_large_value_has_room_and_a_larger_one_has_not),
        cmocka_unit_test(a_refused_value_leaves_the_old_one),
        cmocka_unit_test(entries_end_with_their_time),
        cmocka_unit_test(too_small_a_cache_is_refused),
        cmocka_unit_test(the_bound_holds_for_threads_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
