#include "store/db.h"

#include "base/log.h"

#include <ctype.h>

/* The statement on one line; values are not in it, and so not in the log. */
static void echo(const char *text)
{
    char line[400];
    size_t used = 0;
    bool space = false;
    for (const char *c = text; *c != '\0' && used < sizeof line - 2; c++) {
        if (isspace((unsigned char)*c)) {
            space = used > 0;
            continue;
        }
        if (space) {
            line[used++] = ' ';
        }
        space = false;
        line[used++] = *c;
    }
    line[used] = '\0';
    nx_log_info("store", "%s", line);
}

nx_status nx_db_run(nx_db *db, const nx_call *call, int64_t *rows, nx_error *err)
{
    if (db->echo) {
        echo(db->postgres ? call->sql->postgres : call->sql->sqlite);
    }
    int64_t ignored = 0;
    return db->ops->run(db, call, rows != NULL ? rows : &ignored, err);
}

nx_status nx_db_script(nx_db *db, const char *text, nx_error *err)
{
    if (db->echo) {
        echo(text);
    }
    return db->ops->script(db, text, err);
}

nx_status nx_db_each(nx_db *db, const char *sql, nx_row_fn each, void *user, nx_error *err)
{
    if (db->echo) {
        echo(sql);
    }
    return db->ops->each(db, sql, each, user, err);
}

nx_status nx_db_load_begin(nx_db *db, const char *table, const char *columns, size_t count,
                           nx_error *err)
{
    return db->ops->load_begin(db, table, columns, count, err);
}

nx_status nx_db_load_row(nx_db *db, const nx_db_value *values, size_t count, nx_error *err)
{
    return db->ops->load_row(db, values, count, err);
}

nx_status nx_db_load_end(nx_db *db, nx_error *err)
{
    return db->ops->load_end(db, err);
}

bool nx_row_is_null(const nx_row *row, int column)
{
    return row->db->ops->is_null(row, column);
}

int64_t nx_row_int(const nx_row *row, int column)
{
    return nx_row_is_null(row, column) ? 0 : row->db->ops->read_int(row, column);
}

const char *nx_row_text(const nx_row *row, int column)
{
    return nx_row_is_null(row, column) ? NULL : row->db->ops->read_text(row, column);
}

const void *nx_row_blob(const nx_row *row, int column, size_t *size)
{
    *size = 0;
    return nx_row_is_null(row, column) ? NULL : row->db->ops->read_blob(row, column, size);
}

const char *nx_row_copy(const nx_row *row, int column, nx_arena *arena)
{
    const char *text = nx_row_text(row, column);
    if (text == NULL) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    char *copy = nx_arena_alloc(arena, size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}
