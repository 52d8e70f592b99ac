/*
 * What was worked out before and may be asked again: predictions, metadata of videos, sessions,
 * answers of the API. In this process's memory, bounded, the least recently used given up first; or
 * in a Redis that several processes share, on as many hosts.
 *
 * A cache forgets. It is never the only place where something is, and nothing that goes wrong in it
 * is an error of whoever asks: that is a miss.
 *
 *     nx_cache_key key = {.kind = NX_CACHE_SESSIONS, .bytes = hash, .size = 32};
 *     if (nx_cache_get(cache, &key, &text) != NX_CACHE_HIT) {
 *         ... make the value: the same key struct remembers the state of things from before that
 *         nx_cache_put(cache, &key, text.data, text.size, 0);
 *     }
 *     ... where the session changes, after the change is committed:
 *     nx_cache_remove(cache, &key);
 *
 * Old values. Between a miss and its put what the value was made of may change. So a get that
 * misses stamps its key with the state of the slot that its hash falls into, a removal changes that
 * state, and what was put with an old stamp is never found. No removal is lost to a put that comes
 * late.
 *
 * Where. With Redis, predictions, videos and responses are in both: what a key of theirs stands for
 * never changes, for it names all that the value depends on, of the database its states
 * (store/states.h); so a copy in memory can't be wrong. What was put here stays for its lifetime,
 * what came from Redis for a minute at most. Sessions can change, and a removal on one host does
 * not reach the memory of another: so they are in Redis alone, and without Redis nowhere. Values of
 * more than 1 MiB do not go there.
 *
 * Redis that fails. Looks miss and are counted as errors; removals are remembered by this process,
 * which believes nothing that Redis has of the kind until it could tell it to forget the whole
 * kind. Other processes may find what was to be removed until its lifetime ends.
 *
 * Threads. Every function may be called from any thread. A key struct belongs to one caller at a
 * time. Locks (one for each of 16 shards) are held for a few pointers' work, never while bytes are
 * copied and never over a wait.
 *
 * Who waits. nx_cache_peek and nx_cache_put never wait. nx_cache_get and the removals wait where
 * nx_cache_waits says so: not on a connection's thread then.
 */
#ifndef NX_CACHE_CACHE_H
#define NX_CACHE_CACHE_H

#include "base/buffer.h"
#include "base/config.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_cache nx_cache;
struct nx_redis;

/* What is kept. Each kind has its own lifetime and its own counters. */
typedef enum nx_cache_kind {
    NX_CACHE_PREDICTIONS, /* by content, model version and options: a key's value never changes */
    NX_CACHE_VIDEOS,      /* metadata of videos, by the state of the videos: as predictions */
    NX_CACHE_SESSIONS,    /* who is signed in */
    NX_CACHE_RESPONSES,   /* answers of the API, by the states of what they tell: as predictions */
    NX_CACHE_KINDS,
} nx_cache_kind;

/* "predictions", "videos", "sessions", "responses". */
const char *nx_cache_kind_name(nx_cache_kind kind);

typedef enum nx_cache_answer {
    NX_CACHE_HIT,
    NX_CACHE_MISS,
    NX_CACHE_ASK, /* of nx_cache_peek alone: only nx_cache_get can tell, and it may wait */
    NX_CACHE_OFF, /* the kind is switched off, or the cache is NULL: neither hit nor miss */
} nx_cache_answer;

#define NX_CACHE_MAX_KEY 512 /* bytes; a longer key is never found: hash it */

/* What an entry is found by. Zero what is not named: designated initialisers do. */
typedef struct nx_cache_key {
    nx_cache_kind kind;
    const void *bytes; /* borrowed */
    size_t size;       /* 1 to NX_CACHE_MAX_KEY */
    /* the cache's own: when a get missed */
    uint64_t stamp[4];
    bool stamped;
} nx_cache_key;

typedef struct nx_cache_options {
    struct nx_redis *redis; /* borrowed, and used by others, too; NULL: memory alone */
    /* Of this process's memory: keys, values and what keeping them costs. At least
     * NX_CACHE_MIN_BYTES. */
    size_t max_bytes;
    uint32_t ttl_ms[NX_CACHE_KINDS]; /* lifetime of an entry; 0: the kind is off */
    /* Monotonic nanoseconds; NULL: nx_clock_now_ns. For tests that let time pass. */
    int64_t (*now_ns)(void *user);
    void *user;
} nx_cache_options;

/* What the configuration says, without redis. */
nx_cache_options nx_cache_options_of(const nx_config *config);

#define NX_CACHE_MIN_BYTES ((size_t)64 << 10)

/* The largest value that is kept: an eighth of max_bytes, and never more than this. */
#define NX_CACHE_MAX_VALUE ((size_t)8 << 20)

/* Errors: NX_ERR_INVALID (max_bytes), NX_ERR_NO_MEMORY. */
nx_status nx_cache_new(const nx_cache_options *options, nx_cache **out, nx_error *err);
/* Nobody may use it any more. What still waits to be sent to Redis is not. NULL is fine. */
void nx_cache_free(nx_cache *cache);

/* "memory" or "redis". */
const char *nx_cache_place(const nx_cache *cache);

/* New lifetimes for what is put from now on; 0 switches a kind off, and what is kept of it is not
 * found meanwhile. Thread-safe. */
void nx_cache_set_lifetimes(nx_cache *cache, const uint32_t ttl_ms[NX_CACHE_KINDS]);

/* Is anything of the kind kept? Not of a NULL cache. */
bool nx_cache_keeps(const nx_cache *cache, nx_cache_kind kind);

/* Whether nx_cache_get and the removals may wait for a network. */
bool nx_cache_waits(const nx_cache *cache);

/*
 * Appends the entry's value to out and marks it as just used. On a miss out is as it was, and the
 * key is stamped for nx_cache_put. Memory that is short for the copy is a miss.
 */
nx_cache_answer nx_cache_get(nx_cache *cache, nx_cache_key *key, nx_buffer *out);

/* As nx_cache_get, of what is in this process's memory. ASK is not counted: the nx_cache_get that
 * follows is. A miss is one, and is not to be asked again; so it is while Redis is known to be
 * gone. */
nx_cache_answer nx_cache_peek(nx_cache *cache, nx_cache_key *key, nx_buffer *out);

/*
 * Keeps a copy of the value in the place of what was there. ttl_ms: shorter than the kind's
 * lifetime; 0, or longer: the kind's. A key that no get has stamped is stamped now, which is right
 * only where the value can't have changed since it was made. Too large a value, memory that is
 * short, a stamp from before a removal: nothing is kept, and it is counted.
 */
void nx_cache_put(nx_cache *cache, const nx_cache_key *key, const void *bytes, size_t size,
                  uint32_t ttl_ms);

/* Waits until what was put is in Redis, or given up; does nothing without Redis. For tests: a put
 * is not found before it was sent. */
void nx_cache_settle(nx_cache *cache);

/*
 * Forget an entry; all of a kind. May forget others of the same kind besides. When it returns, no
 * get finds the old values, nor those that are put with a stamp from before.
 */
void nx_cache_remove(nx_cache *cache, const nx_cache_key *key);
void nx_cache_remove_kind(nx_cache *cache, nx_cache_kind kind);

typedef struct nx_cache_kind_stats {
    uint64_t hits;
    uint64_t misses;
    uint64_t errors;  /* looks that nobody could answer: misses for who asked, not counted there */
    uint64_t puts;    /* values that were kept */
    uint64_t refused; /* values that were not */
} nx_cache_kind_stats;

typedef struct nx_cache_stats {
    nx_cache_kind_stats kinds[NX_CACHE_KINDS];
    size_t bytes; /* in memory, never over max_bytes */
    size_t max_bytes;
    size_t entries;
    uint64_t evictions; /* entries given up for others, before their time */
} nx_cache_stats;

/* A picture of the moment; of a NULL cache all zeros. */
nx_cache_stats nx_cache_get_stats(const nx_cache *cache);

#endif
