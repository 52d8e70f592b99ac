#include "cache/cache.h"

#include "base/clock.h"
#include "cache/memory.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct counters {
    _Atomic uint64_t hits, misses, errors, puts, refused;
} counters;

struct nx_cache {
    nx_cache_options options;
    nx_cache_memory *memory;
    counters counters[NX_CACHE_KINDS];
};

const char *nx_cache_kind_name(nx_cache_kind kind)
{
    static const char *const names[NX_CACHE_KINDS] = {"predictions", "videos", "sessions",
                                                      "responses"};
    return names[kind];
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static int64_t now(const nx_cache *cache)
{
    return cache->options.now_ns != NULL ? cache->options.now_ns(cache->options.user)
                                         : nx_clock_now_ns();
}

nx_cache_options nx_cache_options_of(const nx_config *config)
{
    static const nx_config_key keys[NX_CACHE_KINDS] = {
        [NX_CACHE_PREDICTIONS] = NX_CONFIG_CACHE_TTL_PREDICTIONS,
        [NX_CACHE_VIDEOS] = NX_CONFIG_CACHE_TTL_VIDEOS,
        [NX_CACHE_SESSIONS] = NX_CONFIG_CACHE_TTL_SESSIONS,
        [NX_CACHE_RESPONSES] = NX_CONFIG_CACHE_TTL_RESPONSES,
    };
    nx_cache_options options = {
        .max_bytes = (size_t)nx_config_int(config, NX_CONFIG_CACHE_BYTES),
    };
    for (int kind = 0; kind < NX_CACHE_KINDS; kind++) {
        options.ttl_ms[kind] = (uint32_t)nx_config_int(config, keys[kind]) * 1000;
    }
    return options;
}

nx_status nx_cache_new(const nx_cache_options *options, nx_cache **out, nx_error *err)
{
    *out = NULL;
    nx_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL || sodium_init() < 0) {
        free(cache);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the cache");
    }
    cache->options = *options;
    nx_status status = nx_cache_memory_new(options->max_bytes, &cache->memory, err);
    if (status != NX_OK) {
        nx_cache_free(cache);
        return status;
    }
    *out = cache;
    return NX_OK;
}

void nx_cache_free(nx_cache *cache)
{
    if (cache != NULL) {
        nx_cache_memory_free(cache->memory);
        free(cache);
    }
}

const char *nx_cache_place(const nx_cache *cache)
{
    (void)cache;
    return "memory";
}

bool nx_cache_waits(const nx_cache *cache)
{
    (void)cache;
    return false;
}

static bool is_off(const nx_cache *cache, nx_cache_kind kind)
{
    return cache == NULL || cache->options.ttl_ms[kind] == 0;
}

static bool has_size(const nx_cache_key *key)
{
    return key->size >= 1 && key->size <= NX_CACHE_MAX_KEY;
}

nx_cache_answer nx_cache_get(nx_cache *cache, nx_cache_key *key, nx_buffer *out)
{
    if (is_off(cache, key->kind)) {
        return NX_CACHE_OFF;
    }
    counters *c = &cache->counters[key->kind];
    if (has_size(key)) {
        /* before the look: a removal between the two must not be missed */
        nx_cache_memory_stamp(cache->memory, key, key->stamp);
        key->stamped = true;
        if (nx_cache_memory_get(cache->memory, key, now(cache), out)) {
            count(&c->hits);
            return NX_CACHE_HIT;
        }
    }
    count(&c->misses);
    return NX_CACHE_MISS;
}

nx_cache_answer nx_cache_peek(nx_cache *cache, nx_cache_key *key, nx_buffer *out)
{
    return nx_cache_get(cache, key, out);
}

void nx_cache_put(nx_cache *cache, const nx_cache_key *key, const void *bytes, size_t size,
                  uint32_t ttl_ms)
{
    if (is_off(cache, key->kind)) {
        return;
    }
    counters *c = &cache->counters[key->kind];
    uint32_t longest = cache->options.ttl_ms[key->kind];
    int64_t lifetime = ttl_ms > 0 && ttl_ms < longest ? ttl_ms : longest;
    int64_t now_ns = now(cache);
    uint64_t stamp[2] = {key->stamp[0], key->stamp[1]};
    if (!has_size(key)) {
        count(&c->refused);
        return;
    }
    if (!key->stamped) {
        nx_cache_memory_stamp(cache->memory, key, stamp);
    }
    bool kept = nx_cache_memory_put(cache->memory, key, stamp, bytes, size, now_ns,
                                    now_ns + lifetime * NX_NS_PER_MS);
    count(kept ? &c->puts : &c->refused);
}

void nx_cache_remove(nx_cache *cache, const nx_cache_key *key)
{
    if (!is_off(cache, key->kind)) {
        nx_cache_memory_remove(cache->memory, key->kind, nx_cache_slot(key));
    }
}

void nx_cache_remove_group(nx_cache *cache, nx_cache_kind kind, const char *group)
{
    if (!is_off(cache, kind)) {
        nx_cache_memory_remove(cache->memory, kind, nx_cache_group_slot(group));
    }
}

void nx_cache_remove_kind(nx_cache *cache, nx_cache_kind kind)
{
    if (!is_off(cache, kind)) {
        nx_cache_memory_remove_kind(cache->memory, kind);
    }
}

nx_cache_stats nx_cache_get_stats(const nx_cache *cache)
{
    nx_cache_stats stats = {0};
    for (size_t i = 0; cache != NULL && i < NX_CACHE_KINDS; i++) {
        const counters *c = &cache->counters[i];
        stats.kinds[i] = (nx_cache_kind_stats){
            .hits = atomic_load(&c->hits),
            .misses = atomic_load(&c->misses),
            .errors = atomic_load(&c->errors),
            .puts = atomic_load(&c->puts),
            .refused = atomic_load(&c->refused),
        };
    }
    if (cache != NULL) {
        nx_cache_memory_get_stats(cache->memory, &stats);
    }
    return stats;
}
