/*
 * The database: SQLite in the data folder, or PostgreSQL for several hosts. The rest of the program
 * sees subjects (store/videos.h, store/jobs.h, ...) and not which of the two it is.
 *
 * Thread-safe; any number of processes may have the same database open. A store does not outlive a
 * fork: parent and child each open their own.
 *
 * Errors of every function of the module, beside its own: NX_ERR_UNAVAILABLE when the database
 * can't be reached or was lost on the way, NX_ERR_BUSY when all connections stayed in use (or
 * another process held SQLite's lock) for the whole wait, NX_ERR_IO for a full disk,
 * NX_ERR_CORRUPT, NX_ERR_NO_MEMORY. What failed has changed nothing; but a connection lost while it
 * commits may have committed, so what must not happen twice carries a key (jobs) or a fence
 * (leases).
 *
 * Times are milliseconds since 1970-01-01 UTC by the database's clock.
 */
#ifndef NX_STORE_STORE_H
#define NX_STORE_STORE_H

#include "base/config.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct nx_store nx_store;

/* Strings are borrowed while a call lasts. */
typedef struct nx_store_options {
    /* "": SQLite at DATA_DIR/nexus.db; sqlite:PATH; postgres://USER:PASSWORD@HOST:PORT/NAME or any
     * other URI that libpq takes (postgresql.org/docs/15/libpq-connect.html, 34.1.1.2) */
    const char *url;
    const char *data_dir;
    /* the pool of PostgreSQL connections */
    int pool_size;    /* kept open */
    int max_overflow; /* more at a time, closed after use */
    int timeout_ms;   /* longest wait for a connection, and for SQLite's lock */
    int recycle_s;    /* connections older than this are replaced */
    bool pre_ping;    /* ask a connection that has been idle whether it still works */
    bool echo;        /* log statements, without the values in them */
} nx_store_options;

/* What the configuration says; data_dir is borrowed. */
nx_store_options nx_store_options_of(const nx_config *config, const char *data_dir);

/*
 * Opens the database, makes SQLite's file if it is not there, and brings the schema up to date
 * under a lock: of several processes that start at once one does it. Errors: NX_ERR_INVALID (the
 * URL), NX_ERR_UNSUPPORTED (the schema is newer than this program), NX_ERR_CORRUPT (no database, or
 * migrations that are not the ones of this program).
 */
nx_status nx_store_open(const nx_store_options *options, nx_store **out, nx_error *err);

/* No call may be in progress. NULL is fine. */
void nx_store_close(nx_store *store);

/* Readings for metrics; SQLite has no overflow. */
typedef struct nx_store_stats {
    int64_t in_use;
    int64_t idle;
    int64_t overflow; /* of those in use or idle, beyond the pool's size */
    int64_t waiting;  /* callers that wait for a connection */
    int64_t timeouts; /* callers that waited in vain, since the start */
    int64_t connects; /* connections made, since the start */
    int64_t lost;     /* connections found broken, since the start */
} nx_store_stats;
nx_store_stats nx_store_get_stats(nx_store *store);

/* Is told of every transaction when it has ended: how long it took, its wait for a connection
 * included. Called on the thread that asked; it must be quick, and call no store. */
typedef struct nx_store_observer {
    void (*ended)(void *user, bool writes, int64_t ns, nx_status status);
    void *user;
} nx_store_observer;

/* observer is borrowed as long as the store lives, or until another takes its place (NULL: none)
 * and all calls that had begun have ended. Thread-safe. */
void nx_store_observe(nx_store *store, const nx_store_observer *observer);

/* "sqlite" or "postgresql". */
const char *nx_store_kind(const nx_store *store);

/* One cheap read, for readiness. */
nx_status nx_store_ping(nx_store *store, nx_error *err);

/* What `nexus check` tells of a database. */
typedef struct nx_store_report {
    const char *kind;         /* "SQLite" or "PostgreSQL"; "" when the URL is not understood */
    char version[64];         /* of the library or the server */
    char place[512];          /* path, or user, host and name, never a password */
    bool exists;              /* false: SQLite's file is not there yet; the first start makes it */
    int schema;               /* number of the last migration that was applied */
    int newest;               /* number of the last one that this program has */
    int64_t most_connections; /* that PostgreSQL has for others than its superusers; 0: not told */
} nx_store_report;

/* Looks without changing or making anything. out tells what was found until then when it fails. */
nx_status nx_store_check(const nx_store_options *options, nx_store_report *out, nx_error *err);

#endif
