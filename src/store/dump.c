#include "store/dump.h"

#include "store/catalog.h"
#include "store/migrate.h"
#include "store/object_rows.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct dumping {
    const nx_dump_sink *sink;
    const nx_dump_table *table;
} dumping;

static nx_cell read_cell(const nx_row *row, int column, nx_cell_kind kind)
{
    nx_cell cell = {.kind = nx_row_is_null(row, column) ? NX_CELL_NULL : kind};
    switch (cell.kind) {
    case NX_CELL_INT:
        cell.number = nx_row_int(row, column);
        break;
    case NX_CELL_TEXT:
        cell.bytes = nx_row_text(row, column);
        cell.size = cell.bytes != NULL ? strlen(cell.bytes) : 0;
        break;
    case NX_CELL_BLOB:
        cell.bytes = nx_row_blob(row, column, &cell.size);
        break;
    case NX_CELL_NULL:
        break;
    }
    return cell;
}

/* A key to what a server shows while it runs. */
static bool is_momentary(const nx_dump_table *table, size_t column)
{
    return strcmp(table->name, "streams") == 0 &&
           strcmp(table->columns[column].name, "relay_token") == 0;
}

static nx_status take_row(const nx_row *row, void *user, nx_error *err)
{
    const dumping *dump = user;
    nx_cell cells[NX_DUMP_MOST_COLUMNS];
    for (size_t i = 0; i < dump->table->count; i++) {
        cells[i] = is_momentary(dump->table, i)
                       ? (nx_cell){.kind = NX_CELL_NULL}
                       : read_cell(row, (int)i, dump->table->columns[i].kind);
        if (cells[i].kind == NX_CELL_TEXT && cells[i].bytes == NULL) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a row of the database");
        }
    }
    return dump->sink->row(dump->sink->user, cells, dump->table->count, err);
}

static nx_status take_object(const nx_row *row, void *user, nx_error *err)
{
    const dumping *dump = user;
    return dump->sink->object(dump->sink->user, nx_row_text(row, 0), err);
}

static nx_status dump_table(nx_db *db, dumping *dump, const nx_dump_table *table, nx_error *err)
{
    nx_buffer sql = NX_BUFFER_INIT;
    nx_buffer_append_str(&sql, "SELECT ");
    nx_catalog_columns(table, &sql);
    nx_buffer_printf(&sql, " FROM \"%s\"", table->name);
    dump->table = table;
    nx_status status = sql.failed ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a statement")
                                  : dump->sink->table(dump->sink->user, table, err);
    if (status == NX_OK) {
        status = nx_db_each(db, nx_buffer_cstr(&sql), take_row, dump, err);
    }
    nx_buffer_free(&sql);
    return status;
}

static nx_status dump(nx_db *db, void *user, nx_error *err)
{
    dumping *what = user;
    nx_catalog *catalog = NULL;
    int schema = 0;
    nx_status status = nx_migrate_look(db, &schema, err);
    if (status == NX_OK) {
        status = nx_catalog_read(db, &catalog, err);
    }
    if (status == NX_OK) {
        status = what->sink->begin(what->sink->user, schema, err);
    }
    for (size_t i = 0; status == NX_OK && i < catalog->count; i++) {
        if (!nx_catalog_stays(catalog->tables[i].name)) {
            status = dump_table(db, what, &catalog->tables[i], err);
        }
    }
    if (status == NX_OK) {
        status = nx_object_each_named(db, take_object, what, err);
    }
    free(catalog);
    return status;
}

nx_status nx_store_dump(nx_store *store, const nx_dump_sink *sink, nx_error *err)
{
    dumping what = {.sink = sink};
    return nx_store_transact(store, NX_TX_SNAPSHOT, dump, &what, err);
}
