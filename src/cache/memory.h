/* Inside src/cache: the entries in this process's memory. Thread-safe; waits for nothing. */
#ifndef NX_CACHE_MEMORY_H
#define NX_CACHE_MEMORY_H

#include "cache/cache.h"

typedef struct nx_cache_memory nx_cache_memory;

/* Errors: NX_ERR_INVALID, NX_ERR_NO_MEMORY. */
nx_status nx_cache_memory_new(size_t max_bytes, nx_cache_memory **out, nx_error *err);
/* NULL is fine. */
void nx_cache_memory_free(nx_cache_memory *memory);

/* The state of a key's slot, for nx_cache_memory_put. */
void nx_cache_memory_stamp(const nx_cache_memory *memory, const nx_cache_key *key,
                           uint64_t stamp[2]);

/* Appends the value; false when there is none that is young enough. now_ns: the cache's clock. */
bool nx_cache_memory_get(nx_cache_memory *memory, const nx_cache_key *key, int64_t now_ns,
                         nx_buffer *out);

/* False when it is not kept: too large, an old stamp, no memory. */
bool nx_cache_memory_put(nx_cache_memory *memory, const nx_cache_key *key, const uint64_t stamp[2],
                         const void *bytes, size_t size, int64_t now_ns, int64_t until_ns);

/* slot: of nx_cache_slot; all that is in it counts as removed. */
void nx_cache_memory_remove(nx_cache_memory *memory, nx_cache_kind kind, uint32_t slot);
void nx_cache_memory_remove_kind(nx_cache_memory *memory, nx_cache_kind kind);

/* Fills bytes, max_bytes, entries and evictions. */
void nx_cache_memory_get_stats(const nx_cache_memory *memory, nx_cache_stats *out);

#define NX_CACHE_SLOTS 1024

/*
 * Keys are told apart by a hash of this many values: what is removed are all entries of a slot. So
 * the states of all keys are a small table. The same in every process.
 */
uint32_t nx_cache_slot(const nx_cache_key *key);

#endif
