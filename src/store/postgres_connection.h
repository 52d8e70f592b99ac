/* Inside src/store: one connection to PostgreSQL. Not thread-safe; one user at a time. */
#ifndef NX_STORE_POSTGRES_CONNECTION_H
#define NX_STORE_POSTGRES_CONNECTION_H

#include "store/db.h"

typedef struct nx_pg nx_pg;

/* Errors: NX_ERR_UNAVAILABLE with the server's or the network's reason, NX_ERR_INVALID (the URL).
 */
nx_status nx_pg_connect(const char *url, bool echo, nx_pg **out, nx_error *err);
void nx_pg_close(nx_pg *pg); /* NULL is fine */

nx_db *nx_pg_db(nx_pg *pg);
int64_t nx_pg_made_ns(const nx_pg *pg); /* monotonic */

/* Looks whether the server has hung up; asks it only when it has said something. */
bool nx_pg_seems_alive(nx_pg *pg);
/* Asks it. */
bool nx_pg_ping(nx_pg *pg);
/* Not usable any more: lost, or left in the middle of something. */
bool nx_pg_is_broken(const nx_pg *pg);

/* A statement of those without values: BEGIN and so on. */
nx_status nx_pg_simple(nx_pg *pg, const char *sql, nx_error *err);
void nx_pg_rollback(nx_pg *pg);
/* Outside a transaction: whether commits wait for the disk (asynchronous ones are kept in order,
 * and the last may be lost by a crash of the server: postgresql.org/docs/15/wal-async-commit.html).
 * Costs a round trip when it changes. */
nx_status nx_pg_set_durable(nx_pg *pg, bool durable, nx_error *err);
/* Whether the last failure asks for the whole transaction again (SQLSTATE 40001, 40P01). */
bool nx_pg_wants_retry(const nx_pg *pg);

/* "nexus@db.example:5432/nexus", and the server's version. */
void nx_pg_describe(const nx_pg *pg, char *place, size_t place_size, char *version,
                    size_t version_size);

/* The same as far as the URL tells it, never a password. */
void nx_pg_describe_url(const char *url, char *place, size_t size);

#endif
