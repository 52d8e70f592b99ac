#include "store/sqlite_connection.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_PREPARED 192

/* Of WAL that is not yet copied into the database; beyond it each commit tries to. */
#define WAL_PAGES 1000

typedef struct prepared {
    const nx_sql *sql;
    sqlite3_stmt *statement;
    int places[NX_DB_MAX_VALUES]; /* SQLite's parameter for $1, $2, ...; 0: not used */
} prepared;

struct nx_lite {
    nx_db db;
    sqlite3 *handle;
    char *path;
    int full;              /* what PRAGMA synchronous was set to; -1: not yet */
    size_t used;           /* of the table below */
    size_t next_victim;    /* goes when the table is full */
    sqlite3_stmt *loading; /* between load_begin and load_end */
    prepared table[MAX_PREPARED];
};

static nx_status status_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return NX_ERR_BUSY;
    case SQLITE_NOMEM:
        return NX_ERR_NO_MEMORY;
    case SQLITE_CONSTRAINT:
        return NX_ERR_CONFLICT;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return NX_ERR_CORRUPT;
    case SQLITE_TOOBIG:
        return NX_ERR_TOO_LARGE;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return NX_ERR_IO;
    default:
        return NX_ERR_INTERNAL;
    }
}

static nx_status fail(nx_lite *lite, int code, nx_error *err)
{
    nx_status status = status_of(code);
    int reason = sqlite3_system_errno(lite->handle);
    if ((code & 0xff) == SQLITE_BUSY) {
        return nx_error_set(err, status, "%s is locked by another process; try again", lite->path);
    }
    if (status == NX_ERR_IO && reason != 0) {
        return nx_error_set(err, status, "%s: %s (%s)", lite->path, sqlite3_errmsg(lite->handle),
                            strerror(reason));
    }
    return nx_error_set(err, status, "%s: %s", lite->path, sqlite3_errmsg(lite->handle));
}

nx_status nx_lite_simple(nx_lite *lite, const char *sql, nx_error *err)
{
    int code = sqlite3_exec(lite->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? NX_OK : fail(lite, code, err);
}

/* --- statements --- */

static nx_status map_values(prepared *slot, const char *path, nx_error *err)
{
    for (int i = 1; i <= sqlite3_bind_parameter_count(slot->statement); i++) {
        const char *name = sqlite3_bind_parameter_name(slot->statement, i);
        long value = name != NULL && name[0] == '$' ? strtol(name + 1, NULL, 10) : 0;
        if (value < 1 || value > NX_DB_MAX_VALUES) {
            return nx_error_set(err, NX_ERR_INTERNAL, "%s: a statement names a value %s", path,
                                name != NULL ? name : "?");
        }
        slot->places[value - 1] = i;
    }
    return NX_OK;
}

static nx_status prepare(nx_lite *lite, const nx_sql *sql, prepared **out, nx_error *err)
{
    for (size_t i = 0; i < lite->used; i++) {
        if (lite->table[i].sql == sql) {
            *out = &lite->table[i];
            return NX_OK;
        }
    }
    prepared made = {.sql = sql};
    int code = sqlite3_prepare_v3(lite->handle, sql->sqlite, -1, SQLITE_PREPARE_PERSISTENT,
                                  &made.statement, NULL);
    if (code != SQLITE_OK) {
        return fail(lite, code, err);
    }
    nx_status status = map_values(&made, lite->path, err);
    if (status != NX_OK) {
        sqlite3_finalize(made.statement);
        return status;
    }
    prepared *slot = NULL;
    if (lite->used < MAX_PREPARED) {
        slot = &lite->table[lite->used++];
    } else {
        slot = &lite->table[lite->next_victim++ % MAX_PREPARED];
        sqlite3_finalize(slot->statement);
    }
    *slot = made;
    *out = slot;
    return NX_OK;
}

static int bind(sqlite3_stmt *statement, int place, const nx_db_value *value)
{
    if (value->null) {
        return sqlite3_bind_null(statement, place);
    }
    switch (value->type) {
    case NX_DB_INT:
        return sqlite3_bind_int64(statement, place, value->number);
    case NX_DB_TEXT:
        return sqlite3_bind_text64(statement, place, value->bytes, value->size, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case NX_DB_BLOB:
        return sqlite3_bind_blob64(statement, place, value->bytes, value->size, SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

static nx_status run(nx_db *db, const nx_call *call, int64_t *rows, nx_error *err)
{
    nx_lite *lite = (nx_lite *)db;
    prepared *slot = NULL;
    nx_status status = prepare(lite, call->sql, &slot, err);
    if (slot == NULL) {
        return status;
    }
    int code = SQLITE_OK;
    for (size_t i = 0; i < call->count && code == SQLITE_OK; i++) {
        if (slot->places[i] != 0) {
            code = bind(slot->statement, slot->places[i], &call->values[i]);
        }
    }
    *rows = 0;
    while (code == SQLITE_OK && status == NX_OK) {
        code = sqlite3_step(slot->statement);
        if (code == SQLITE_ROW) {
            const nx_row row = {.db = db, .result = slot->statement};
            (*rows)++;
            code = SQLITE_OK;
            status = call->each != NULL ? call->each(&row, call->user, err) : NX_OK;
        }
    }
    if (code != SQLITE_OK && code != SQLITE_DONE) {
        status = fail(lite, code, err);
    } else if (sqlite3_column_count(slot->statement) == 0) {
        *rows = sqlite3_changes64(lite->handle);
    }
    (void)sqlite3_reset(slot->statement); /* repeats the error that step gave */
    (void)sqlite3_clear_bindings(slot->statement);
    return status;
}

static nx_status script(nx_db *db, const char *text, nx_error *err)
{
    return nx_lite_simple((nx_lite *)db, text, err);
}

/* --- any table --- */

static nx_status each_row(nx_db *db, const char *sql, nx_row_fn each, void *user, nx_error *err)
{
    nx_lite *lite = (nx_lite *)db;
    sqlite3_stmt *statement = NULL;
    nx_status status = NX_OK;
    int code = sqlite3_prepare_v2(lite->handle, sql, -1, &statement, NULL);
    while (code == SQLITE_OK && status == NX_OK) {
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW) {
            const nx_row row = {.db = db, .result = statement};
            code = SQLITE_OK;
            status = each(&row, user, err);
        }
    }
    if (code != SQLITE_OK && code != SQLITE_DONE) {
        status = fail(lite, code, err);
    }
    (void)sqlite3_finalize(statement); /* repeats the error that step gave */
    return status;
}

static nx_status load_end(nx_db *db, nx_error *err)
{
    nx_lite *lite = (nx_lite *)db;
    (void)err;
    (void)sqlite3_finalize(lite->loading);
    lite->loading = NULL;
    return NX_OK;
}

static nx_status load_begin(nx_db *db, const char *table, const char *columns, size_t count,
                            nx_error *err)
{
    nx_lite *lite = (nx_lite *)db;
    char sql[8192];
    (void)load_end(db, err); /* of one that failed in the middle */
    int used = snprintf(sql, sizeof sql, "INSERT INTO \"%s\" (%s) VALUES (", table, columns);
    for (size_t i = 0; i < count && used < (int)sizeof sql; i++) {
        used += snprintf(sql + used, sizeof sql - (size_t)used, i == 0 ? "?" : ",?");
    }
    if (used + 1 >= (int)sizeof sql) {
        return nx_error_set(err, NX_ERR_INTERNAL, "%s: too many columns", table);
    }
    sql[used] = ')';
    sql[used + 1] = '\0';
    int code = sqlite3_prepare_v2(lite->handle, sql, -1, &lite->loading, NULL);
    return code == SQLITE_OK ? NX_OK : fail(lite, code, err);
}

static nx_status load_row(nx_db *db, const nx_db_value *values, size_t count, nx_error *err)
{
    nx_lite *lite = (nx_lite *)db;
    int code = SQLITE_OK;
    for (size_t i = 0; i < count && code == SQLITE_OK; i++) {
        code = bind(lite->loading, (int)i + 1, &values[i]);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_step(lite->loading);
    }
    nx_status status = code == SQLITE_DONE ? NX_OK : fail(lite, code, err);
    (void)sqlite3_reset(lite->loading);
    return status;
}

static bool is_null(const nx_row *row, int column)
{
    return sqlite3_column_type(row->result, column) == SQLITE_NULL;
}

static int64_t read_int(const nx_row *row, int column)
{
    return sqlite3_column_int64(row->result, column);
}

static const char *read_text(const nx_row *row, int column)
{
    return (const char *)sqlite3_column_text(row->result, column);
}

static const void *read_blob(const nx_row *row, int column, size_t *size)
{
    const void *bytes = sqlite3_column_blob(row->result, column);
    *size = (size_t)sqlite3_column_bytes(row->result, column);
    return bytes;
}

static const nx_db_ops ops = {
    .run = run,
    .script = script,
    .is_null = is_null,
    .read_int = read_int,
    .read_text = read_text,
    .read_blob = read_blob,
    .each = each_row,
    .load_begin = load_begin,
    .load_row = load_row,
    .load_end = load_end,
};

/* --- opening --- */

static void now_function(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3_result_int64(context, nx_clock_unix_ms());
}

static int take_mode(void *user, int count, char **values, char **names)
{
    (void)names;
    *(bool *)user = count == 1 && values[0] != NULL && strcmp(values[0], "wal") == 0;
    return 0;
}

/* Two processes that make the file at once wait for each other here without the busy handler's
 * help (sqlite.org/wal.html, "Sometimes Queries Return SQLITE_BUSY In WAL Mode"). */
static nx_status use_wal(nx_lite *lite, int timeout_ms, nx_error *err)
{
    bool wal = false;
    int code = SQLITE_BUSY;
    int64_t deadline = nx_clock_now_ns() + timeout_ms * NX_NS_PER_MS;
    for (;;) {
        code = sqlite3_exec(lite->handle, "PRAGMA journal_mode = WAL", take_mode, &wal, NULL);
        if ((code & 0xff) != SQLITE_BUSY || nx_clock_now_ns() > deadline) {
            break;
        }
        (void)sqlite3_sleep(5);
    }
    if (code != SQLITE_OK) {
        return fail(lite, code, err);
    }
    return wal ? NX_OK
               : nx_error_set(err, NX_ERR_IO,
                              "%s: SQLite's write-ahead log does not work on this file system (a "
                              "network drive?); choose another with NEXUS_DATA_DIR, or PostgreSQL "
                              "with DATABASE_URL",
                              lite->path);
}

static nx_status set_up(nx_lite *lite, nx_lite_mode mode, int timeout_ms, nx_error *err)
{
    (void)sqlite3_extended_result_codes(lite->handle, 1);
    (void)sqlite3_busy_timeout(lite->handle, timeout_ms);
    int code = sqlite3_create_function(lite->handle, "nx_now", 0, SQLITE_UTF8, NULL, now_function,
                                       NULL, NULL);
    if (code != SQLITE_OK) {
        return fail(lite, code, err);
    }
    nx_status status = nx_lite_simple(lite,
                                      "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
                                      "PRAGMA temp_store = MEMORY",
                                      err);
    if (status == NX_OK && mode != NX_LITE_LOOK) {
        status = use_wal(lite, timeout_ms, err);
    }
    if (status == NX_OK) { /* a full log is no reason to wait: the next commit tries again */
        (void)sqlite3_wal_autocheckpoint(lite->handle, mode == NX_LITE_WRITE ? WAL_PAGES : 0);
    }
    return status;
}

/* For its owner alone; SQLite gives the files beside it the same mode. */
static nx_status make_file(const char *path, nx_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot make the database %s", path);
    }
    close(fd);
    return NX_OK;
}

nx_status nx_lite_open(const char *path, nx_lite_mode mode, int timeout_ms, bool echo,
                       nx_lite **out, nx_error *err)
{
    *out = NULL;
    nx_status status = mode == NX_LITE_WRITE ? make_file(path, err) : NX_OK;
    if (status != NX_OK) {
        return status;
    }
    nx_lite *lite = calloc(1, sizeof *lite);
    if (lite == NULL || (lite->path = strdup(path)) == NULL) {
        free(lite);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the database");
    }
    lite->db = (nx_db){.ops = &ops, .postgres = false, .echo = echo};
    lite->full = -1;
    int code =
        sqlite3_open_v2(path, &lite->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK) {
        status = lite->handle != NULL
                     ? fail(lite, code, err)
                     : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the database");
    } else {
        status = set_up(lite, mode, timeout_ms, err);
    }
    if (status != NX_OK) {
        nx_lite_close(lite);
        return status;
    }
    *out = lite;
    return NX_OK;
}

void nx_lite_close(nx_lite *lite)
{
    if (lite == NULL) {
        return;
    }
    for (size_t i = 0; i < lite->used; i++) {
        sqlite3_finalize(lite->table[i].statement);
    }
    sqlite3_finalize(lite->loading);
    sqlite3_close(lite->handle);
    free(lite->path);
    free(lite);
}

nx_db *nx_lite_db(nx_lite *lite)
{
    return &lite->db;
}

nx_status nx_lite_begin(nx_lite *lite, bool immediate, bool full, nx_error *err)
{
    /* In WAL mode NORMAL writes without waiting for the disk, FULL waits at each commit for all
     * that was written until then (sqlite.org/pragma.html#pragma_synchronous). */
    if (immediate && lite->full != (int)full) {
        nx_status status = nx_lite_simple(
            lite, full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", err);
        if (status != NX_OK) {
            return status;
        }
        lite->full = full;
    }
    return nx_lite_simple(lite, immediate ? "BEGIN IMMEDIATE" : "BEGIN", err);
}

nx_status nx_lite_commit(nx_lite *lite, nx_error *err)
{
    nx_status status = nx_lite_simple(lite, "COMMIT", err);
    if (status != NX_OK) {
        nx_lite_rollback(lite);
    }
    return status;
}

void nx_lite_rollback(nx_lite *lite)
{
    if (nx_lite_in_transaction(lite)) {
        (void)sqlite3_exec(lite->handle, "ROLLBACK", NULL, NULL, NULL);
    }
}

bool nx_lite_in_transaction(const nx_lite *lite)
{
    return sqlite3_get_autocommit(lite->handle) == 0;
}

/* Leaving the write-ahead log takes a lock that no other connection may stand against
 * (sqlite.org/pragma.html#pragma_journal_mode). */
nx_status nx_lite_alone(nx_lite *lite, nx_error *err)
{
    bool ignored = false;
    int code = sqlite3_exec(lite->handle, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    if ((code & 0xff) == SQLITE_BUSY) {
        return nx_error_set(err, NX_ERR_BUSY,
                            "another process has %s open; stop the servers and workers that use it",
                            lite->path);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_exec(lite->handle, "PRAGMA journal_mode = WAL", take_mode, &ignored, NULL);
    }
    return code == SQLITE_OK ? NX_OK : fail(lite, code, err);
}
