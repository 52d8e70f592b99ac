#include "cache/cache.h"

#include "base/clock.h"
#include "cache/memory.h"
#include "cache/sender.h"
#include "cache/shared.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>

/* How long what came from Redis stays in memory, at most: it has lived there already. */
#define COPY_MS 60000

typedef struct counters {
    _Atomic uint64_t hits, misses, errors, puts, refused;
} counters;

struct nx_cache {
    nx_cache_options options; /* its lifetimes are those at the start */
    _Atomic uint32_t ttl_ms[NX_CACHE_KINDS];
    nx_cache_memory *memory;
    nx_cache_sender *sender; /* NULL without Redis */
    /* Removals that Redis did not hear, and how many of them a later one of the whole kind made
     * good: until all are, nothing that Redis has of the kind is believed. */
    _Atomic uint64_t unheard[NX_CACHE_KINDS];
    _Atomic uint64_t made_good[NX_CACHE_KINDS];
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

static bool is_off(const nx_cache *cache, nx_cache_kind kind)
{
    return cache == NULL || cache->ttl_ms[kind] == 0;
}

static bool has_size(const nx_cache_key *key)
{
    return key->size >= 1 && key->size <= NX_CACHE_MAX_KEY;
}

/* Where entries of a kind are. */
static bool is_shared(const nx_cache *cache)
{
    return cache->options.redis != NULL;
}

static bool is_local(const nx_cache *cache, nx_cache_kind kind)
{
    return !is_shared(cache) || kind != NX_CACHE_SESSIONS;
}

/* --- the cache ----------------------------------------------------------------------------------
 */

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

static void count_sent(nx_cache_kind kind, bool kept, void *user)
{
    nx_cache *cache = user;
    if (!is_local(cache, kind)) { /* else it was counted when it was put */
        count(kept ? &cache->counters[kind].puts : &cache->counters[kind].refused);
    }
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
    nx_cache_set_lifetimes(cache, options->ttl_ms);
    nx_status status = nx_cache_memory_new(options->max_bytes, &cache->memory, err);
    if (status == NX_OK && options->redis != NULL) {
        status = nx_cache_sender_new(options->redis, count_sent, cache, &cache->sender, err);
    }
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
        nx_cache_sender_free(cache->sender);
        nx_cache_memory_free(cache->memory);
        free(cache);
    }
}

const char *nx_cache_place(const nx_cache *cache)
{
    return is_shared(cache) ? "redis" : "memory";
}

void nx_cache_set_lifetimes(nx_cache *cache, const uint32_t ttl_ms[NX_CACHE_KINDS])
{
    for (int kind = 0; kind < NX_CACHE_KINDS; kind++) {
        atomic_store(&cache->ttl_ms[kind], ttl_ms[kind]);
    }
}

bool nx_cache_keeps(const nx_cache *cache, nx_cache_kind kind)
{
    return !is_off(cache, kind);
}

bool nx_cache_waits(const nx_cache *cache)
{
    return cache != NULL && is_shared(cache);
}

/* --- looking ------------------------------------------------------------------------------------
 */

static nx_cache_answer hit(counters *c)
{
    count(&c->hits);
    return NX_CACHE_HIT;
}

static bool get_local(nx_cache *cache, nx_cache_key *key, nx_buffer *out)
{
    /* before the look: a removal between the two must not be missed */
    nx_cache_memory_stamp(cache->memory, key, key->stamp);
    key->stamped = true;
    return is_local(cache, key->kind) && nx_cache_memory_get(cache->memory, key, now(cache), out);
}

/* Keeps what another process made where the next look is short. */
static void keep_copy(nx_cache *cache, const nx_cache_key *key, const char *bytes, size_t size)
{
    uint32_t longest = cache->ttl_ms[key->kind];
    int64_t now_ns = now(cache);
    int64_t lifetime = longest < COPY_MS ? longest : COPY_MS;
    (void)nx_cache_memory_put(cache->memory, key, key->stamp, bytes, size, now_ns,
                              now_ns + lifetime * NX_NS_PER_MS);
}

static bool is_believed(const nx_cache *cache, nx_cache_kind kind)
{
    return atomic_load(&cache->unheard[kind]) == atomic_load(&cache->made_good[kind]);
}

static nx_shared_answer get_shared(nx_cache *cache, nx_cache_key *key, nx_buffer *out)
{
    size_t before = out->size;
    if (!is_believed(cache, key->kind)) {
        nx_cache_remove_kind(cache, key->kind);
        if (!is_believed(cache, key->kind)) {
            return NX_SHARED_FAILED;
        }
        nx_cache_memory_stamp(cache->memory, key, key->stamp);
    }
    nx_shared_answer answer = nx_shared_get(cache->options.redis, key, key->stamp + 2, out);
    if (answer == NX_SHARED_HIT && is_local(cache, key->kind)) {
        keep_copy(cache, key, out->data + before, out->size - before);
    }
    return answer;
}

nx_cache_answer nx_cache_get(nx_cache *cache, nx_cache_key *key, nx_buffer *out)
{
    if (is_off(cache, key->kind)) {
        return NX_CACHE_OFF;
    }
    counters *c = &cache->counters[key->kind];
    nx_shared_answer answer = NX_SHARED_MISS;
    if (has_size(key)) {
        if (get_local(cache, key, out)) {
            return hit(c);
        }
        key->stamp[2] = key->stamp[3] = 0;
        answer = is_shared(cache) ? get_shared(cache, key, out) : NX_SHARED_MISS;
        if (answer == NX_SHARED_HIT) {
            return hit(c);
        }
    }
    count(answer == NX_SHARED_FAILED ? &c->errors : &c->misses);
    return NX_CACHE_MISS;
}

nx_cache_answer nx_cache_peek(nx_cache *cache, nx_cache_key *key, nx_buffer *out)
{
    if (is_off(cache, key->kind) || !is_shared(cache) || !has_size(key)) {
        return nx_cache_get(cache, key, out);
    }
    counters *c = &cache->counters[key->kind];
    if (get_local(cache, key, out)) {
        return hit(c);
    }
    key->stamp[2] = key->stamp[3] = 0;
    if (nx_redis_get_stats(cache->options.redis).state == NX_REDIS_CLOSED) {
        return NX_CACHE_ASK;
    }
    count(&c->errors);
    return NX_CACHE_MISS;
}

/* --- keeping ------------------------------------------------------------------------------------
 */

static bool put_local(nx_cache *cache, const nx_cache_key *key, const void *bytes, size_t size,
                      uint32_t lifetime_ms)
{
    uint64_t stamp[2] = {key->stamp[0], key->stamp[1]};
    int64_t now_ns = now(cache);
    if (!key->stamped) {
        nx_cache_memory_stamp(cache->memory, key, stamp);
    }
    return nx_cache_memory_put(cache->memory, key, stamp, bytes, size, now_ns,
                               now_ns + lifetime_ms * NX_NS_PER_MS);
}

/* Whether it waits to be sent. What Redis has not stamped, though it was asked, it does not get:
 * nobody knows whether there was a removal since. */
static bool put_shared(nx_cache *cache, const nx_cache_key *key, const void *bytes, size_t size,
                       uint32_t lifetime_ms)
{
    bool unknown = key->stamped && key->stamp[2] == 0;
    return !unknown &&
           nx_cache_sender_add(cache->sender, key, key->stamp + 2, bytes, size, lifetime_ms);
}

void nx_cache_put(nx_cache *cache, const nx_cache_key *key, const void *bytes, size_t size,
                  uint32_t ttl_ms)
{
    if (is_off(cache, key->kind)) {
        return;
    }
    counters *c = &cache->counters[key->kind];
    uint32_t longest = cache->ttl_ms[key->kind];
    uint32_t lifetime_ms = ttl_ms > 0 && ttl_ms < longest ? ttl_ms : longest;
    if (!has_size(key)) {
        count(&c->refused);
        return;
    }
    bool local = is_local(cache, key->kind);
    bool kept = local && put_local(cache, key, bytes, size, lifetime_ms);
    bool sent = is_shared(cache) && put_shared(cache, key, bytes, size, lifetime_ms);
    if (local || !sent) { /* else the sender counts */
        count(kept ? &c->puts : &c->refused);
    }
}

void nx_cache_settle(nx_cache *cache)
{
    if (cache != NULL && is_shared(cache)) {
        nx_cache_sender_settle(cache->sender);
    }
}

/* --- removing -----------------------------------------------------------------------------------
 */

/* In memory last: what another thread copies from Redis before that has an old stamp there. */
static void remove_slot(nx_cache *cache, nx_cache_kind kind, uint32_t slot)
{
    if (is_shared(cache) && !nx_shared_remove(cache->options.redis, kind, slot)) {
        atomic_fetch_add(&cache->unheard[kind], 1);
    }
    nx_cache_memory_remove(cache->memory, kind, slot);
}

void nx_cache_remove(nx_cache *cache, const nx_cache_key *key)
{
    if (!is_off(cache, key->kind)) {
        remove_slot(cache, key->kind, nx_cache_slot(key));
    }
}

void nx_cache_remove_kind(nx_cache *cache, nx_cache_kind kind)
{
    if (is_off(cache, kind)) {
        return;
    }
    uint64_t unheard = atomic_load(&cache->unheard[kind]);
    if (is_shared(cache) && nx_shared_remove_kind(cache->options.redis, kind)) {
        atomic_store(&cache->made_good[kind], unheard);
    } else if (is_shared(cache)) {
        atomic_fetch_add(&cache->unheard[kind], 1);
    }
    nx_cache_memory_remove_kind(cache->memory, kind);
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
