/* Inside src/cache: the entries in a Redis, which all processes of a deployment share. Thread-safe;
 * the functions wait as nx_redis_run does. */
#ifndef NX_CACHE_SHARED_H
#define NX_CACHE_SHARED_H

#include "cache/cache.h"
#include "cache/redis_client.h"

/* The largest value that goes there: it has to pass within a call's deadline. */
#define NX_CACHE_MAX_SHARED ((size_t)1 << 20)

typedef enum nx_shared_answer { NX_SHARED_HIT, NX_SHARED_MISS, NX_SHARED_FAILED } nx_shared_answer;

/* Appends the value. On a miss stamp is the state of the key's slot, else zeros. */
nx_shared_answer nx_shared_get(nx_redis *redis, const nx_cache_key *key, uint64_t stamp[2],
                               nx_buffer *out);

/* Keeps a value whose key has the stamp; zeros: the state is asked for first. */
bool nx_shared_put(nx_redis *redis, const nx_cache_key *key, const uint64_t stamp[2],
                   const void *bytes, size_t size, uint32_t ttl_ms);

/* slot: of nx_cache_slot. False when Redis may not have heard it: what was to be removed may still
 * be found there. */
bool nx_shared_remove(nx_redis *redis, nx_cache_kind kind, uint32_t slot);
bool nx_shared_remove_kind(nx_redis *redis, nx_cache_kind kind);

#endif
