#include "store/db.h"
#include "store/migrate.h"
#include "store/migrations.h"
#include "store/rows.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/url.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define JUMP_MS 1000
/* A look that took longer says nothing of the clock. */
#define LOOK_NS (NX_NS_PER_SEC / 2)
/* Within this after a jump whoever lives has renewed all that he holds: they do so each second. */
#define QUIET_NS (3 * NX_NS_PER_SEC)

struct nx_store {
    nx_db_backend *backend;
    atomic_uint ticks;
    atomic_int_fast64_t offsets[NX_LEASES_COUNT];  /* of the database's clock to ours, in ms; 0: not
                                                      looked at yet */
    atomic_int_fast64_t quiet_ns[NX_LEASES_COUNT]; /* until when a jump matters; 0: none was */
    const nx_store_observer *_Atomic observer;
};

typedef enum url_kind { URL_SQLITE, URL_POSTGRES } url_kind;

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Which database a URL means; path (PATH_MAX bytes) is where SQLite's file is. */
static nx_status read_url(const nx_store_options *options, url_kind *kind, char *path,
                          nx_error *err)
{
    const char *url = options->url != NULL ? options->url : "";
    int length = 0;
    *kind = URL_SQLITE;
    if (begins_with(url, "postgres://") || begins_with(url, "postgresql://")) {
        *kind = URL_POSTGRES;
        return NX_OK;
    }
    if (url[0] == '\0') {
        length = snprintf(path, PATH_MAX, "%s/nexus.db", options->data_dir);
    } else if (begins_with(url, "sqlite:")) {
        const char *name = url + strlen("sqlite:");
        name += begins_with(name, "//") ? 2 : 0;
        if (name[0] == '\0' || begins_with(name, ":memory:")) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "DATABASE_URL names no file; write sqlite:/path/to/nexus.db");
        }
        length = snprintf(path, PATH_MAX, "%s", name);
    } else {
        char shown[200];
        nx_url_shown(url, shown, sizeof shown);
        return nx_error_set(err, NX_ERR_INVALID,
                            "DATABASE_URL is '%s'; use sqlite:PATH, "
                            "postgres://USER:PASSWORD@HOST:PORT/NAME, or leave it empty for SQLite "
                            "in the data folder",
                            shown);
    }
    return length > 0 && length < PATH_MAX
               ? NX_OK
               : nx_error_set(err, NX_ERR_INVALID, "the path of the database is too long");
}

nx_store_options nx_store_options_of(const nx_config *config, const char *data_dir)
{
    return (nx_store_options){
        .url = nx_config_string(config, NX_CONFIG_DATABASE_URL),
        .data_dir = data_dir,
        .pool_size = (int)nx_config_int(config, NX_CONFIG_DB_POOL_SIZE),
        .max_overflow = (int)nx_config_int(config, NX_CONFIG_DB_MAX_OVERFLOW),
        .timeout_ms = (int)(nx_config_number(config, NX_CONFIG_DB_POOL_TIMEOUT) * 1000),
        .recycle_s = (int)nx_config_int(config, NX_CONFIG_DB_POOL_RECYCLE),
        .pre_ping = nx_config_bool(config, NX_CONFIG_DB_POOL_PRE_PING),
        .echo = nx_config_bool(config, NX_CONFIG_DB_ECHO),
    };
}

static nx_status look(nx_db *db, void *user, nx_error *err)
{
    return nx_migrate_look(db, user, err);
}

static nx_status migrate(nx_db *db, void *user, nx_error *err)
{
    (void)user;
    return nx_migrate(db, err);
}

/* Most starts find all there, and need no lock to see it. */
static nx_status bring_up_to_date(nx_store *store, nx_error *err)
{
    int schema = 0;
    nx_status status = nx_store_transact(store, NX_TX_READ, look, &schema, err);
    if (status == NX_OK && schema < (int)nx_migration_count) {
        status = nx_store_transact(store, NX_TX_MIGRATE, migrate, NULL, err);
    }
    return status;
}

static nx_status make_parent(const char *path, nx_error *err)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL || slash == folder) {
        return NX_OK;
    }
    *slash = '\0';
    return nx_file_make_dirs(folder, err);
}

nx_status nx_store_open(const nx_store_options *options, nx_store **out, nx_error *err)
{
    char path[PATH_MAX];
    url_kind kind = URL_SQLITE;
    *out = NULL;
    nx_status status = read_url(options, &kind, path, err);
    if (status != NX_OK) {
        return status;
    }
    nx_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the database");
    }
    if (kind == URL_POSTGRES) {
        status = nx_postgres_open(options, &store->backend, err);
    } else {
        status = make_parent(path, err);
        if (status == NX_OK) {
            status = nx_sqlite_open(path, options, &store->backend, err);
        }
    }
    if (status == NX_OK) {
        status = bring_up_to_date(store, err);
    }
    if (status != NX_OK) {
        nx_store_close(store);
        return status;
    }
    *out = store;
    return NX_OK;
}

void nx_store_close(nx_store *store)
{
    if (store != NULL) {
        if (store->backend != NULL) {
            store->backend->ops->close(store->backend);
        }
        free(store);
    }
}

nx_store_stats nx_store_get_stats(nx_store *store)
{
    return store->backend->ops->stats(store->backend);
}

const char *nx_store_kind(const nx_store *store)
{
    return store->backend->ops->kind;
}

void nx_store_observe(nx_store *store, const nx_store_observer *observer)
{
    atomic_store(&store->observer, observer);
}

static void tell(nx_store *store, nx_tx how, int64_t begun_ns, nx_status status)
{
    const nx_store_observer *observer = atomic_load(&store->observer);
    if (observer != NULL) {
        observer->ended(observer->user, how != NX_TX_READ && how != NX_TX_SNAPSHOT,
                        nx_clock_now_ns() - begun_ns, status);
    }
}

nx_status nx_store_transact(nx_store *store, nx_tx how, nx_db_work work, void *user, nx_error *err)
{
    int64_t begun = nx_clock_now_ns();
    nx_status status = store->backend->ops->transact(store->backend, how, work, user, err);
    tell(store, how, begun, status);
    return status;
}

nx_status nx_store_run(nx_store *store, nx_tx how, const nx_call *call, int64_t *rows,
                       nx_error *err)
{
    int64_t begun = nx_clock_now_ns();
    nx_status status = store->backend->ops->run(store->backend, how, call, rows, err);
    tell(store, how, begun, status);
    return status;
}

nx_status nx_store_alone(nx_store *store, nx_error *err)
{
    return store->backend->ops->alone(store->backend, err);
}

unsigned nx_store_tick(nx_store *store)
{
    return atomic_fetch_add(&store->ticks, 1) + 1;
}

nx_status nx_store_clock_jumped(nx_store *store, nx_db *db, nx_leases which, bool *jumped,
                                nx_error *err)
{
    static const nx_sql sql = NX_SQL("SELECT nx_now()");
    int64_t now = 0;
    nx_call call = {.sql = &sql, .each = nx_rows_number, .user = &now};
    int64_t began_ns = nx_clock_now_ns();
    nx_status status = nx_db_run(db, &call, NULL, err);
    int64_t ended_ns = nx_clock_now_ns();
    if (status == NX_OK) {
        /* Of a look that took long it is not known when the clock was read: the offset is at least
         * this. */
        bool exact = ended_ns - began_ns < LOOK_NS;
        int64_t offset = now - ended_ns / NX_NS_PER_MS;
        int64_t before = exact ? atomic_exchange(&store->offsets[which], offset)
                               : atomic_load(&store->offsets[which]);
        if (before != 0 && offset - before > JUMP_MS) {
            nx_log_warn("store", "the database's clock has jumped ahead by %lld s",
                        (long long)(offset - before) / 1000);
            atomic_store(&store->quiet_ns[which], ended_ns + QUIET_NS);
        }
    }
    *jumped = ended_ns < atomic_load(&store->quiet_ns[which]);
    return status;
}

nx_status nx_store_ping(nx_store *store, nx_error *err)
{
    static const nx_sql sql = NX_SQL("SELECT max(number) FROM nx_migrations");
    const nx_call call = {.sql = &sql};
    return nx_store_run(store, NX_TX_READ, &call, NULL, err);
}

nx_status nx_store_check(const nx_store_options *options, nx_store_report *out, nx_error *err)
{
    char path[PATH_MAX];
    url_kind kind = URL_SQLITE;
    *out = (nx_store_report){.kind = "", .newest = (int)nx_migration_count};
    nx_status status = read_url(options, &kind, path, err);
    if (status != NX_OK) {
        return status;
    }
    out->kind = kind == URL_POSTGRES ? "PostgreSQL" : "SQLite";
    return kind == URL_POSTGRES ? nx_postgres_check(options, out, err)
                                : nx_sqlite_check(path, out, err);
}
