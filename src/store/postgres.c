/* The store on PostgreSQL: a transaction is a connection of the pool, BEGIN, the work, COMMIT. */
#include "store/db.h"
#include "store/migrate.h"
#include "store/pool.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Of a transaction that met a deadlock. */
#define MAX_TRIES 5

/* The advisory lock of whoever migrates, which has the time that it needs, as have those who wait
 * for it. The number is "nexus" in ASCII. */
#define BEGIN_MIGRATION                                                                            \
    "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"                          \
    "SET LOCAL idle_in_transaction_session_timeout = 0;"                                           \
    "SELECT pg_advisory_xact_lock(474349203827)"

typedef struct nx_postgres {
    nx_db_backend base;
    nx_pool *pool;
} nx_postgres;

static const char *const begins[] = {
    [NX_TX_READ] = "BEGIN READ ONLY",
    [NX_TX_SNAPSHOT] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                       "SET LOCAL statement_timeout = 0;"
                       "SET LOCAL idle_in_transaction_session_timeout = 0",
    [NX_TX_WRITE] = "BEGIN",
    [NX_TX_SOFT] = "BEGIN",
    [NX_TX_MIGRATE] = BEGIN_MIGRATION,
};

/* Begins a transaction, or with single only makes ready for a statement. */
static nx_status prepare(nx_pg *pg, nx_tx how, bool single, nx_error *err)
{
    bool reads = how == NX_TX_READ || how == NX_TX_SNAPSHOT;
    nx_status status = reads ? NX_OK : nx_pg_set_durable(pg, how != NX_TX_SOFT, err);
    return status != NX_OK || single ? status : nx_pg_simple(pg, begins[how], err);
}

/* Takes a connection and makes it ready. One that turns out to be lost at that is replaced once:
 * nothing has been done on it. */
static nx_status begin(nx_postgres *self, nx_tx how, bool single, nx_pg **out, nx_error *err)
{
    nx_status status = NX_OK;
    for (int tries = 0; tries < 2; tries++) {
        status = nx_pool_take(self->pool, out, err);
        if (status != NX_OK) {
            return status;
        }
        status = prepare(*out, how, single, err);
        if (status == NX_OK) {
            return NX_OK;
        }
        nx_pg_rollback(*out);
        nx_pool_give(self->pool, *out);
        *out = NULL;
        if (status != NX_ERR_UNAVAILABLE) {
            return status;
        }
    }
    return status;
}

static nx_status commit(nx_pg *pg, nx_error *err)
{
    nx_status status = nx_pg_simple(pg, "COMMIT", err);
    if (status == NX_ERR_UNAVAILABLE) {
        return nx_error_prefix(err, "whether a change was kept is not known");
    }
    return status;
}

static nx_status transact(nx_db_backend *backend, nx_tx how, nx_db_work work, void *user,
                          nx_error *err)
{
    nx_postgres *self = (nx_postgres *)backend;
    for (int tries = 1;; tries++) {
        nx_pg *pg = NULL;
        nx_status status = begin(self, how, false, &pg, err);
        if (status != NX_OK) {
            return status;
        }
        status = work(nx_pg_db(pg), user, err);
        if (status == NX_OK) {
            status = commit(pg, err);
        }
        bool again = status != NX_OK && nx_pg_wants_retry(pg) && tries < MAX_TRIES;
        nx_pg_rollback(pg);
        nx_pool_give(self->pool, pg);
        if (!again) {
            return status;
        }
    }
}

/* One statement is a transaction by itself. What only reads is asked again on another connection
 * when the first is lost. */
static nx_status run(nx_db_backend *backend, nx_tx how, const nx_call *call, int64_t *rows,
                     nx_error *err)
{
    nx_postgres *self = (nx_postgres *)backend;
    for (int tries = 1;; tries++) {
        nx_pg *pg = NULL;
        nx_status status = begin(self, how, true, &pg, err);
        if (status != NX_OK) {
            return status;
        }
        status = nx_db_run(nx_pg_db(pg), call, rows, err);
        bool again = status != NX_OK && nx_pg_wants_retry(pg) && tries < MAX_TRIES;
        again |= status == NX_ERR_UNAVAILABLE && how == NX_TX_READ && tries == 1;
        nx_pool_give(self->pool, pg);
        if (!again) {
            return status;
        }
    }
}

static nx_status take_number(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    *(int64_t *)user = nx_row_int(row, 0);
    return NX_OK;
}

/* Of connections that were just closed, for the server to notice. */
#define CLOSING_NS (2 * NX_NS_PER_SEC)

/* Nexus gives its connections a name (postgres_connection.c). */
static nx_status alone(nx_db_backend *backend, nx_error *err)
{
    static const nx_sql others =
        NX_SQL("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
               " AND application_name = 'nexus' AND pid <> pg_backend_pid()");
    const struct timespec pause = {.tv_nsec = 20 * NX_NS_PER_MS};
    const int64_t end = nx_clock_now_ns() + CLOSING_NS;
    int64_t count = 0;
    const nx_call call = {.sql = &others, .each = take_number, .user = &count};
    nx_status status = run(backend, NX_TX_READ, &call, NULL, err);
    while (status == NX_OK && count > 0 && nx_clock_now_ns() < end) {
        (void)nanosleep(&pause, NULL);
        status = run(backend, NX_TX_READ, &call, NULL, err);
    }
    return status != NX_OK || count == 0
               ? status
               : nx_error_set(err, NX_ERR_BUSY,
                              "%lld other connections of Nexus to the database are open; stop the "
                              "servers and workers that use it",
                              (long long)count);
}

static nx_store_stats stats(nx_db_backend *backend)
{
    return nx_pool_get_stats(((nx_postgres *)backend)->pool);
}

static void close_backend(nx_db_backend *backend)
{
    nx_postgres *self = (nx_postgres *)backend;
    nx_pool_free(self->pool);
    free(self);
}

static const nx_backend_ops ops = {
    .kind = "postgresql",
    .transact = transact,
    .run = run,
    .alone = alone,
    .stats = stats,
    .close = close_backend,
};

nx_status nx_postgres_open(const nx_store_options *options, nx_db_backend **out, nx_error *err)
{
    *out = NULL;
    nx_postgres *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the database");
    }
    self->base.ops = &ops;
    nx_status status = nx_pool_new(options, &self->pool, err);
    if (status != NX_OK) {
        free(self);
        return status;
    }
    *out = &self->base;
    return NX_OK;
}

/* What its configuration allows; one that does not tell (a pooler in between) is no failure. */
static void look_at_bound(nx_pg *pg, int64_t *out)
{
    static const nx_sql bound =
        NX_SQL("SELECT current_setting('max_connections')::bigint"
               " - current_setting('superuser_reserved_connections')::bigint");
    nx_error ignored = {0};
    nx_call call = {.sql = &bound, .each = take_number, .user = out};
    if (nx_db_run(nx_pg_db(pg), &call, NULL, &ignored) != NX_OK) {
        *out = 0;
    }
}

nx_status nx_postgres_check(const nx_store_options *options, nx_store_report *out, nx_error *err)
{
    nx_pg *pg = NULL;
    nx_pg_describe_url(options->url, out->place, sizeof out->place);
    nx_status status = nx_pg_connect(options->url, false, &pg, err);
    if (status != NX_OK) {
        return status;
    }
    out->exists = true;
    nx_pg_describe(pg, out->place, sizeof out->place, out->version, sizeof out->version);
    status = nx_migrate_look(nx_pg_db(pg), &out->schema, err);
    look_at_bound(pg, &out->most_connections);
    nx_pg_close(pg);
    return status;
}
