/*
 * Inside src/cache: one connection to a Redis, through hiredis without its blocking calls: each
 * function ends at its deadline, whatever the other side does, a server that sends a byte now and
 * then included. One thread at a time. SIGPIPE must be ignored.
 */
#ifndef NX_CACHE_REDIS_CONNECTION_H
#define NX_CACHE_REDIS_CONNECTION_H

#include "cache/redis_client.h"
#include "cache/redis_url.h"

/* What one reply may hold: bytes in all, and items in each array. */
#define NX_REDIS_MAX_REPLY ((size_t)16 << 20)
#define NX_REDIS_MAX_ITEMS 1024

typedef struct nx_redis_connection nx_redis_connection;

/*
 * Connects, says who asks, chooses the database, and asks whether the server answers. deadline_ns:
 * nx_clock_now_ns's time; looking a name up may take longer.
 * Errors, without the password: NX_ERR_UNAVAILABLE, NX_ERR_TIMEOUT, NX_ERR_CORRUPT,
 * NX_ERR_NO_MEMORY.
 */
nx_status nx_redis_connect(const nx_redis_url *url, int64_t deadline_ns, nx_redis_connection **out,
                           nx_error *err);
/* NULL is fine. */
void nx_redis_disconnect(nx_redis_connection *connection);

/*
 * One command and its reply, as nx_redis_run has them. After any failure but an error that the
 * server replied the connection is to be closed: *usable tells.
 */
nx_status nx_redis_call(nx_redis_connection *connection, const nx_redis_arg *args, size_t count,
                        int64_t deadline_ns, nx_redis_reply *out, bool *usable, nx_error *err);

#endif
