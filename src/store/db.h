/*
 * Inside src/store: one connection in a transaction, prepared statements and their values, the same
 * for both databases. The subjects' files write SQL against this and know no library.
 *
 * Statements name their values $1, $2, ... and call nx_now() for the time. Where the databases
 * differ a statement has two texts.
 */
#ifndef NX_STORE_DB_H
#define NX_STORE_DB_H

#include "base/arena.h"
#include "base/error.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A statement. Connections remember it prepared by its address, so it is static and constant. */
typedef struct nx_sql {
    const char *sqlite;
    const char *postgres;
} nx_sql;

#define NX_SQL(text)                                                                               \
    {                                                                                              \
        .sqlite = (text), .postgres = (text)                                                       \
    }

typedef enum nx_db_type { NX_DB_INT, NX_DB_TEXT, NX_DB_BLOB } nx_db_type;

/* A value of a statement; bytes are borrowed until it has run. */
typedef struct nx_db_value {
    nx_db_type type;
    bool null;
    int64_t number;
    const void *bytes; /* a text ends with a NUL, which size does not count */
    size_t size;
} nx_db_value;

#define NX_DB_MAX_VALUES 20

static inline nx_db_value nx_db_int(int64_t number)
{
    return (nx_db_value){.type = NX_DB_INT, .number = number};
}

static inline nx_db_value nx_db_no_int(void)
{
    return (nx_db_value){.type = NX_DB_INT, .null = true};
}

/* NULL is SQL's NULL. */
static inline nx_db_value nx_db_text(const char *text)
{
    return (nx_db_value){.type = NX_DB_TEXT,
                         .null = text == NULL,
                         .bytes = text,
                         .size = text != NULL ? strlen(text) : 0};
}

static inline nx_db_value nx_db_blob(const void *bytes, size_t size)
{
    return (nx_db_value){.type = NX_DB_BLOB, .bytes = size > 0 ? bytes : "", .size = size};
}

typedef struct nx_db nx_db;

/* A row of a result, valid while nx_row_fn looks at it. */
typedef struct nx_row {
    nx_db *db;
    void *result; /* the library's */
    int index;
} nx_row;

typedef nx_status (*nx_row_fn)(const nx_row *row, void *user, nx_error *err);

bool nx_row_is_null(const nx_row *row, int column);
int64_t nx_row_int(const nx_row *row, int column);      /* NULL: 0 */
const char *nx_row_text(const nx_row *row, int column); /* NULL: NULL */
const void *nx_row_blob(const nx_row *row, int column, size_t *size);
/* A copy of the text in the arena; NULL: NULL, and without memory, which the arena remembers. */
const char *nx_row_copy(const nx_row *row, int column, nx_arena *arena);

/* A statement and the values of one call of it. */
typedef struct nx_call {
    const nx_sql *sql;
    nx_db_value values[NX_DB_MAX_VALUES];
    size_t count;
    nx_row_fn each; /* for each row; NULL: none is looked at */
    void *user;
} nx_call;

/* NX_CALL(&sql, nx_db_text(id), nx_db_int(5)): a call without looking at rows. */
#define NX_CALL(statement, ...)                                                                    \
    (nx_call)                                                                                      \
    {                                                                                              \
        .sql = (statement), .values = {__VA_ARGS__},                                               \
        .count = sizeof((nx_db_value[]){__VA_ARGS__}) / sizeof(nx_db_value)                        \
    }

/* Runs it. rows (may be NULL): how many rows came back, or for a statement that gives none, how
 * many it changed. Errors: NX_ERR_CONFLICT for a constraint, and see store.h. */
nx_status nx_db_run(nx_db *db, const nx_call *call, int64_t *rows, nx_error *err);

/* Several statements without values: migrations. */
nx_status nx_db_script(nx_db *db, const char *text, nx_error *err);

/* What a transaction is for. */
typedef enum nx_tx {
    NX_TX_READ,
    NX_TX_SNAPSHOT, /* reads, all statements the same state; may take hours */
    NX_TX_WRITE,    /* NX_OK means: on the disk */
    /* The last ones before a power cut may be gone, together and in order; a crash of a process but
     * PostgreSQL's loses none. For what is known again without it: leases, heartbeats. */
    NX_TX_SOFT,
    NX_TX_MIGRATE, /* nobody else migrates meanwhile */
} nx_tx;

/* A transaction's contents: NX_OK commits, anything else undoes it. It may be called again when the
 * database asks for that (a deadlock), on another thread, and must not call the store. */
typedef nx_status (*nx_db_work)(nx_db *db, void *user, nx_error *err);

nx_status nx_store_transact(nx_store *store, nx_tx how, nx_db_work work, void *user, nx_error *err);

/* A transaction of one statement; cheaper. */
nx_status nx_store_run(nx_store *store, nx_tx how, const nx_call *call, int64_t *rows,
                       nx_error *err);

/* --- any table, by name (store/dump.c) ---
 *
 * Inside a transaction; one at a time on a connection. The texts come from this program and the
 * database's own catalogue, never from outside. */

/* A statement that is not remembered, whose rows come a few at a time, however many they are. */
nx_status nx_db_each(nx_db *db, const char *sql, nx_row_fn each, void *user, nx_error *err);

/* Rows into a table; columns: their names, as an INSERT lists them. */
nx_status nx_db_load_begin(nx_db *db, const char *table, const char *columns, size_t count,
                           nx_error *err);
nx_status nx_db_load_row(nx_db *db, const nx_db_value *values, size_t count, nx_error *err);
nx_status nx_db_load_end(nx_db *db, nx_error *err);

/* Whether nobody else has the database open; called before the store does anything else. Errors:
 * NX_ERR_BUSY (somebody has). */
nx_status nx_store_alone(nx_store *store, nx_error *err);

/* 1, 2, 3, ... at each call. */
unsigned nx_store_tick(nx_store *store);

/* A condition: what was written at such a time was written before the clock was set back, and what
 * it waits for is as much further ahead. (Transactions at once differ by less than a second.) */
#define NX_AHEAD(column) column " > nx_now() + 1000"

/* Leases that somebody looks for who may have died. */
typedef enum nx_leases { NX_LEASES_JOBS, NX_LEASES_STREAMS, NX_LEASES_COUNT } nx_leases;

/* Whether the database's clock has jumped ahead a moment ago, as this process's looks at such
 * leases show: those of the living seem to have run out, too, and are to be left alone until they
 * were renewed. Says so in the log. */
nx_status nx_store_clock_jumped(nx_store *store, nx_db *db, nx_leases which, bool *jumped,
                                nx_error *err);

/* --- between this and the two databases --- */

typedef struct nx_db_ops {
    nx_status (*run)(nx_db *db, const nx_call *call, int64_t *rows, nx_error *err);
    nx_status (*script)(nx_db *db, const char *text, nx_error *err);
    bool (*is_null)(const nx_row *row, int column);
    int64_t (*read_int)(const nx_row *row, int column);
    const char *(*read_text)(const nx_row *row, int column);
    const void *(*read_blob)(const nx_row *row, int column, size_t *size);
    nx_status (*each)(nx_db *db, const char *sql, nx_row_fn each, void *user, nx_error *err);
    nx_status (*load_begin)(nx_db *db, const char *table, const char *columns, size_t count,
                            nx_error *err);
    nx_status (*load_row)(nx_db *db, const nx_db_value *values, size_t count, nx_error *err);
    nx_status (*load_end)(nx_db *db, nx_error *err);
} nx_db_ops;

/* Begins the structs of both kinds of connection. */
struct nx_db {
    const nx_db_ops *ops;
    bool postgres;
    bool echo;
};

typedef struct nx_db_backend nx_db_backend;
typedef struct nx_backend_ops {
    const char *kind;
    nx_status (*transact)(nx_db_backend *backend, nx_tx how, nx_db_work work, void *user,
                          nx_error *err);
    nx_status (*run)(nx_db_backend *backend, nx_tx how, const nx_call *call, int64_t *rows,
                     nx_error *err);
    nx_status (*alone)(nx_db_backend *backend, nx_error *err);
    nx_store_stats (*stats)(nx_db_backend *backend);
    void (*close)(nx_db_backend *backend);
} nx_backend_ops;

struct nx_db_backend {
    const nx_backend_ops *ops;
};

nx_status nx_sqlite_open(const char *path, const nx_store_options *options, nx_db_backend **out,
                         nx_error *err);
nx_status nx_postgres_open(const nx_store_options *options, nx_db_backend **out, nx_error *err);

/* Fill version, place, schema of the report. */
nx_status nx_sqlite_check(const char *path, nx_store_report *out, nx_error *err);
nx_status nx_postgres_check(const nx_store_options *options, nx_store_report *out, nx_error *err);

#endif
