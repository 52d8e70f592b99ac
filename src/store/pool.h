/*
 * Inside src/store: PostgreSQL connections, shared. At most size + overflow exist at a time; those
 * beyond size are closed after use. Whoever finds none free waits for one until the timeout.
 *
 * When the server can't be reached, attempts are made one at a time and ever less often (100 ms to
 * 5 s, with jitter so that hosts do not come all at once), and those who want a connection wait for
 * their outcome, no longer than the timeout. Thread-safe behind one lock, never held while the
 * network is.
 */
#ifndef NX_STORE_POOL_H
#define NX_STORE_POOL_H

#include "store/postgres_connection.h"

typedef struct nx_pool nx_pool;

/* Connects at once when it is first asked for a connection, not before. The URL is copied. */
nx_status nx_pool_new(const nx_store_options *options, nx_pool **out, nx_error *err);
/* Nobody may hold a connection. NULL is fine. */
void nx_pool_free(nx_pool *pool);

/* Errors: NX_ERR_BUSY (all in use until the timeout), NX_ERR_UNAVAILABLE (no server). */
nx_status nx_pool_take(nx_pool *pool, nx_pg **out, nx_error *err);
/* Gives a connection back; one that is broken, too old, or beyond the size is closed. */
void nx_pool_give(nx_pool *pool, nx_pg *pg);

nx_store_stats nx_pool_get_stats(nx_pool *pool);

#endif
