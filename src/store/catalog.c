#include "store/catalog.h"

#include "store/migrations.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define CREATE "CREATE TABLE "

static const char *const staying[] = {
    "nx_migrations",            /* made anew with the schema */
    "sessions",                 /* whoever has a copy of a backup must not have them */
    "setup_tokens",  "uploads", /* their bytes are on a disk of their own */
    "object_holds",  "states",  /* values by chance, never one that has been before */
};

bool nx_catalog_stays(const char *table)
{
    bool stays = false;
    for (size_t i = 0; i < sizeof staying / sizeof staying[0]; i++) {
        stays = stays || strcmp(staying[i], table) == 0;
    }
    return stays;
}

/* Whether a migration makes a table of that name. */
static bool is_ours(bool postgres, const char *name)
{
    const nx_migration *all = postgres ? nx_migrations_postgres : nx_migrations_sqlite;
    size_t length = strlen(name);
    for (size_t i = 0; i < nx_migration_count; i++) {
        for (const char *at = all[i].sql; (at = strstr(at, CREATE)) != NULL; at++) {
            const char *found = at + strlen(CREATE);
            bool begins = at == all[i].sql || at[-1] == '\n';
            if (begins && strncmp(found, name, length) == 0 &&
                isspace((unsigned char)found[length])) {
                return true;
            }
        }
    }
    return strcmp(name, "nx_migrations") == 0;
}

static const char columns_sqlite[] =
    "SELECT m.name, c.name, lower(c.type) FROM sqlite_schema AS m, pragma_table_xinfo(m.name) AS c"
    " WHERE m.type = 'table' AND c.hidden = 0 ORDER BY m.rowid, c.cid";
static const char columns_postgres[] =
    "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL)::text"
    " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
    " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')"
    " AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.oid, a.attnum";

static const char parents_sqlite[] =
    "SELECT m.name, f.\"table\" FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f"
    " WHERE m.type = 'table'";
static const char parents_postgres[] =
    "SELECT c.relname::text, p.relname::text FROM pg_constraint AS k"
    " JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_class AS p ON p.oid = k.confrelid"
    " WHERE k.contype = 'f' AND c.relnamespace = current_schema()::regnamespace";

static nx_cell_kind kind_of(const char *type)
{
    static const struct {
        const char *type;
        nx_cell_kind kind;
    } kinds[] = {
        {"integer", NX_CELL_INT}, {"bigint", NX_CELL_INT}, {"text", NX_CELL_TEXT},
        {"blob", NX_CELL_BLOB},   {"bytea", NX_CELL_BLOB},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(type, kinds[i].type) == 0) {
            return kinds[i].kind;
        }
    }
    return NX_CELL_NULL;
}

typedef struct reading {
    nx_catalog *catalog;
    bool needs[NX_DUMP_MOST_TABLES][NX_DUMP_MOST_TABLES]; /* [i][j]: i refers to j */
} reading;

static nx_status take_column(const nx_row *row, void *user, nx_error *err)
{
    nx_catalog *catalog = ((reading *)user)->catalog;
    const char *name = nx_row_text(row, 0);
    const char *column = nx_row_text(row, 1);
    nx_cell_kind kind = kind_of(nx_row_text(row, 2));
    nx_dump_table *last = catalog->count > 0 ? &catalog->tables[catalog->count - 1] : NULL;
    if (last == NULL || strcmp(last->name, name) != 0) {
        if (!is_ours(row->db->postgres, name)) {
            return NX_OK;
        }
        if (catalog->count == NX_DUMP_MOST_TABLES) {
            return nx_error_set(err, NX_ERR_INTERNAL, "more tables than %d", NX_DUMP_MOST_TABLES);
        }
        last = &catalog->tables[catalog->count++];
        snprintf(last->name, sizeof last->name, "%s", name);
    }
    if (kind == NX_CELL_NULL || last->count == NX_DUMP_MOST_COLUMNS ||
        strlen(column) >= NX_DUMP_NAME_SIZE) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "column %.60s.%.60s is of a kind (%.30s) that no backup has", name,
                            column, nx_row_text(row, 2));
    }
    snprintf(last->columns[last->count].name, NX_DUMP_NAME_SIZE, "%s", column);
    last->columns[last->count++].kind = kind;
    return NX_OK;
}

static nx_status take_parent(const nx_row *row, void *user, nx_error *err)
{
    reading *all = user;
    (void)err;
    const nx_dump_table *child = nx_catalog_find(all->catalog, nx_row_text(row, 0));
    const nx_dump_table *parent = nx_catalog_find(all->catalog, nx_row_text(row, 1));
    if (child != NULL && parent != NULL && child != parent) {
        all->needs[child - all->catalog->tables][parent - all->catalog->tables] = true;
    }
    return NX_OK;
}

/* Whether all that table i refers to is placed. */
static bool is_ready(const reading *all, const bool *placed, size_t i)
{
    bool ready = !placed[i];
    for (size_t j = 0; j < all->catalog->count && ready; j++) {
        ready = !all->needs[i][j] || placed[j];
    }
    return ready;
}

static nx_status sort(const reading *all, nx_catalog *out, nx_error *err)
{
    bool placed[NX_DUMP_MOST_TABLES] = {false};
    size_t before = SIZE_MAX;
    while (out->count < all->catalog->count && before != out->count) {
        before = out->count;
        for (size_t i = 0; i < all->catalog->count; i++) {
            if (is_ready(all, placed, i)) {
                placed[i] = true;
                out->tables[out->count++] = all->catalog->tables[i];
            }
        }
    }
    return out->count == all->catalog->count
               ? NX_OK
               : nx_error_set(err, NX_ERR_INTERNAL, "tables refer to each other in a circle");
}

nx_status nx_catalog_read(nx_db *db, nx_catalog **out, nx_error *err)
{
    *out = calloc(1, sizeof **out);
    reading *all = calloc(1, sizeof *all);
    nx_catalog *found = calloc(1, sizeof *found);
    nx_status status = NX_OK;
    if (*out == NULL || all == NULL || found == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the tables' names");
        goto done;
    }
    all->catalog = found;
    status =
        nx_db_each(db, db->postgres ? columns_postgres : columns_sqlite, take_column, all, err);
    if (status == NX_OK) {
        status =
            nx_db_each(db, db->postgres ? parents_postgres : parents_sqlite, take_parent, all, err);
    }
    if (status == NX_OK) {
        status = sort(all, *out, err);
    }
done:
    free(found);
    free(all);
    if (status != NX_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

const nx_dump_table *nx_catalog_find(const nx_catalog *catalog, const char *name)
{
    for (size_t i = 0; i < catalog->count; i++) {
        if (strcmp(catalog->tables[i].name, name) == 0) {
            return &catalog->tables[i];
        }
    }
    return NULL;
}

void nx_catalog_columns(const nx_dump_table *table, nx_buffer *out)
{
    for (size_t i = 0; i < table->count; i++) {
        nx_buffer_printf(out, "%s\"%s\"", i > 0 ? ", " : "", table->columns[i].name);
    }
}
