/* Inside src/store: rows collected into an array, and small values. */
#ifndef NX_STORE_ROWS_H
#define NX_STORE_ROWS_H

#include "store/db.h"

/* Where nx_rows_collect puts rows. */
typedef struct nx_rows {
    void (*read)(const nx_row *row, void *item, nx_arena *arena);
    void *items; /* room for `limit` of `size` bytes */
    size_t size;
    size_t limit;
    size_t count;
    nx_arena *arena;
} nx_rows;

/* nx_row_fn with an nx_rows as user. Errors: NX_ERR_NO_MEMORY. */
static inline nx_status nx_rows_collect(const nx_row *row, void *user, nx_error *err)
{
    nx_rows *rows = user;
    if (rows->count == rows->limit) {
        return nx_error_set(err, NX_ERR_INTERNAL, "the database gave more rows than asked for");
    }
    rows->read(row, (char *)rows->items + rows->count * rows->size, rows->arena);
    if (rows->arena != NULL && rows->arena->failed) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for rows of the database");
    }
    rows->count++;
    return NX_OK;
}

/* Runs a call by itself and collects its rows. */
static inline nx_status nx_rows_fetch(nx_store *store, nx_tx how, nx_call call, nx_rows *rows,
                                      nx_error *err)
{
    call.each = nx_rows_collect;
    call.user = rows;
    return nx_store_run(store, how, &call, NULL, err);
}

/* nx_row_fn: the first column of the last row, into an int64_t. */
static inline nx_status nx_rows_number(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    *(int64_t *)user = nx_row_int(row, 0);
    return NX_OK;
}

#endif
