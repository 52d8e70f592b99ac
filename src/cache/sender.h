/* Inside src/cache: what is put goes to Redis on a thread of its own, from a bounded queue, so that
 * who puts it does not wait. Thread-safe. */
#ifndef NX_CACHE_SENDER_H
#define NX_CACHE_SENDER_H

#include "cache/cache.h"
#include "cache/redis_client.h"

/* What waits at most. */
#define NX_SENDER_ITEMS 512
#define NX_SENDER_BYTES ((size_t)16 << 20)

typedef struct nx_cache_sender nx_cache_sender;

/* sent: on the sender's thread, for each value that was added. Errors: NX_ERR_NO_MEMORY,
 * NX_ERR_INTERNAL (no thread). */
nx_status nx_cache_sender_new(nx_redis *redis,
                              void (*sent)(nx_cache_kind kind, bool kept, void *user), void *user,
                              nx_cache_sender **out, nx_error *err);
/* What still waits is not sent. NULL is fine. */
void nx_cache_sender_free(nx_cache_sender *sender);

/* Copies all it is given; false when there is no room. stamp: as nx_shared_put has it. */
bool nx_cache_sender_add(nx_cache_sender *sender, const nx_cache_key *key, const uint64_t stamp[2],
                         const void *bytes, size_t size, uint32_t ttl_ms);

/* Waits until nothing waits and nothing is being sent. */
void nx_cache_sender_settle(nx_cache_sender *sender);

#endif
