/*
 * Everything that the database holds, out of it and into another one: for backups. The same rows
 * whether it is SQLite or PostgreSQL, so that either goes into either.
 *
 * Some tables stay behind, for what they say ends with the database that they are in: sessions
 * (everybody signs in again), uploads under way (their bytes are on a disk, and not among the
 * objects), what was held or answered just then.
 */
#ifndef NX_STORE_DUMP_H
#define NX_STORE_DUMP_H

#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_DUMP_MOST_TABLES  64
#define NX_DUMP_MOST_COLUMNS 64
#define NX_DUMP_NAME_SIZE    64

typedef enum nx_cell_kind { NX_CELL_NULL, NX_CELL_INT, NX_CELL_TEXT, NX_CELL_BLOB } nx_cell_kind;

/* A value of a row; bytes are borrowed, and a text ends with a NUL that size does not count. */
typedef struct nx_cell {
    nx_cell_kind kind;
    int64_t number;
    const void *bytes;
    size_t size;
} nx_cell;

typedef struct nx_dump_column {
    char name[NX_DUMP_NAME_SIZE];
    nx_cell_kind kind; /* of its values, which may be NULL besides */
} nx_dump_column;

typedef struct nx_dump_table {
    char name[NX_DUMP_NAME_SIZE];
    nx_dump_column columns[NX_DUMP_MOST_COLUMNS];
    size_t count;
} nx_dump_table;

/* Takes what nx_store_dump reads: begin, then each table followed by its rows, then the names of
 * the objects that rows name. When the database asks for it all comes again, from begin on. */
typedef struct nx_dump_sink {
    nx_status (*begin)(void *user, int schema, nx_error *err);
    nx_status (*table)(void *user, const nx_dump_table *table, nx_error *err);
    nx_status (*row)(void *user, const nx_cell *cells, size_t count, nx_error *err);
    nx_status (*object)(void *user, const char *name, nx_error *err);
    void *user;
} nx_dump_sink;

/* Reads one state of the database while others go on changing it. Tables come after those that they
 * refer to. Errors: those of the sink. */
nx_status nx_store_dump(nx_store *store, const nx_dump_sink *sink, nx_error *err);

typedef struct nx_loader nx_loader;

/* Puts tables and rows into the loader, in the order of a dump. */
typedef nx_status (*nx_load_feed)(void *user, nx_loader *loader, nx_error *err);

/* A table; rows that follow belong to it. Errors: NX_ERR_CORRUPT (the schema has no such table or
 * column, or has one more). */
nx_status nx_loader_table(nx_loader *loader, const nx_dump_table *table, nx_error *err);
nx_status nx_loader_row(nx_loader *loader, const nx_cell *cells, size_t count, nx_error *err);

/*
 * Puts what feed gives in the place of everything in the database, in one transaction: a schema of
 * that number is made, filled, and brought up to date. feed may be called again. The store has just
 * been opened, and nobody else has the database open. Names of objects that were there are kept,
 * so that nx_sweep takes away those that nothing needs. Errors: NX_ERR_BUSY (somebody else has the
 * database open), NX_ERR_UNSUPPORTED (a schema newer than this program), those of feed.
 */
nx_status nx_store_load(nx_store *store, int schema, nx_load_feed feed, void *user, nx_error *err);

/* Whether a load of that schema may begin, as nx_store_load says. */
nx_status nx_store_can_load(nx_store *store, int schema, nx_error *err);

/* What a load would take away, as "2 users, 14 videos"; "" when the database is empty. */
nx_status nx_store_contents(nx_store *store, char *out, size_t size, nx_error *err);

#endif
