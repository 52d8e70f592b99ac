/* Rows of a dump into a database. */
#include "base/buffer.h"
#include "store/catalog.h"
#include "store/migrate.h"
#include "store/migrations.h"
#include "store/rows.h"

#include <stdio.h>
#include <stdlib.h>

struct nx_loader {
    nx_db *db;
    nx_catalog *catalog;        /* of the schema that is filled */
    const nx_dump_table *table; /* whose rows come now; NULL: none */
    nx_buffer triggers;         /* of SQLite: how they are made again */
};

typedef struct loading {
    int schema;
    nx_load_feed feed;
    void *user;
} loading;

static nx_status script(nx_db *db, nx_buffer *sql, nx_error *err)
{
    return sql->failed ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a statement")
                       : nx_db_script(db, nx_buffer_cstr(sql), err);
}

/* --- triggers: what they would do for a row, the rows of other tables bring --- */

static nx_status add_trigger(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    nx_buffer_printf(user, "%s;\n", nx_row_text(row, 1));
    return NX_OK;
}

static nx_status add_drop(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    nx_buffer_printf(user, "DROP TRIGGER \"%s\";", nx_row_text(row, 0));
    return NX_OK;
}

static void alter_tables(const nx_catalog *catalog, const char *what, nx_buffer *sql)
{
    for (size_t i = 0; i < catalog->count; i++) {
        nx_buffer_printf(sql, "ALTER TABLE \"%s\" %s TRIGGER USER;", catalog->tables[i].name, what);
    }
}

/* SQLite's; made (may be NULL): how they are made again. */
static nx_status drop_triggers(nx_db *db, nx_buffer *made, nx_error *err)
{
    static const char all[] = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'";
    nx_buffer sql = NX_BUFFER_INIT;
    nx_status status = made != NULL ? nx_db_each(db, all, add_trigger, made, err) : NX_OK;
    if (status == NX_OK) {
        status = nx_db_each(db, all, add_drop, &sql, err);
    }
    if (status == NX_OK) {
        status = script(db, &sql, err);
    }
    nx_buffer_free(&sql);
    return status;
}

static nx_status triggers_off(nx_loader *loader, nx_error *err)
{
    nx_buffer sql = NX_BUFFER_INIT;
    if (!loader->db->postgres) {
        return drop_triggers(loader->db, &loader->triggers, err);
    }
    alter_tables(loader->catalog, "DISABLE", &sql);
    nx_status status = script(loader->db, &sql, err);
    nx_buffer_free(&sql);
    return status;
}

static nx_status triggers_on(nx_loader *loader, nx_error *err)
{
    if (loader->db->postgres) {
        alter_tables(loader->catalog, "ENABLE", &loader->triggers);
    }
    return script(loader->db, &loader->triggers, err);
}

/* --- emptying --- */

static nx_status add_function(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    nx_buffer_printf(user, "DROP FUNCTION %s CASCADE;", nx_row_text(row, 0));
    return NX_OK;
}

/* What the names of the objects were, so that none is forgotten whose bytes are still there; then
 * everything of ours goes. Children go before their parents. */
static nx_status empty(nx_db *db, nx_error *err)
{
    nx_buffer sql = NX_BUFFER_INIT;
    nx_catalog *there = NULL;
    nx_status status = nx_catalog_read(db, &there, err);
    if (status == NX_OK && !db->postgres) { /* else what refers to a row makes them act */
        status = drop_triggers(db, NULL, err);
    }
    if (status == NX_OK) {
        nx_buffer_append_str(&sql, "CREATE TEMP TABLE nx_former_objects AS"
                                   " SELECT name, created_at FROM objects;");
        for (size_t i = there->count; i > 0; i--) {
            nx_buffer_printf(&sql, "DROP TABLE \"%s\"%s;", there->tables[i - 1].name,
                             db->postgres ? " CASCADE" : "");
        }
        status = script(db, &sql, err);
    }
    nx_buffer_clear(&sql);
    if (status == NX_OK && db->postgres) {
        status = nx_db_each(db,
                            "SELECT oid::regprocedure::text FROM pg_proc"
                            " WHERE pronamespace = current_schema()::regnamespace"
                            " AND proname LIKE 'nx\\_%'",
                            add_function, &sql, err);
        if (status == NX_OK && sql.size > 0) {
            status = script(db, &sql, err);
        }
    }
    nx_buffer_free(&sql);
    free(there);
    return status;
}

/* --- filling --- */

/* Rows that migrations put in, where the dump brings its own. */
static nx_status clear_tables(const nx_loader *loader, nx_error *err)
{
    nx_buffer sql = NX_BUFFER_INIT;
    for (size_t i = loader->catalog->count; i > 0; i--) {
        const char *name = loader->catalog->tables[i - 1].name;
        if (!nx_catalog_stays(name)) {
            nx_buffer_printf(&sql, "DELETE FROM \"%s\";", name);
        }
    }
    nx_status status = script(loader->db, &sql, err);
    nx_buffer_free(&sql);
    return status;
}

static nx_status end_table(nx_loader *loader, nx_error *err)
{
    nx_status status = loader->table != NULL ? nx_db_load_end(loader->db, err) : NX_OK;
    if (status != NX_OK) {
        return nx_error_prefix(err, "table %s", loader->table->name);
    }
    loader->table = NULL;
    return NX_OK;
}

/* Columns may stand in another order, for databases add them at the end. */
static bool same_columns(const nx_dump_table *a, const nx_dump_table *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; i < a->count && same; i++) {
        same = false;
        for (size_t j = 0; j < b->count; j++) {
            same = same || (strcmp(a->columns[i].name, b->columns[j].name) == 0 &&
                            a->columns[i].kind == b->columns[j].kind);
        }
    }
    return same;
}

nx_status nx_loader_table(nx_loader *loader, const nx_dump_table *table, nx_error *err)
{
    nx_buffer columns = NX_BUFFER_INIT;
    nx_status status = end_table(loader, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_dump_table *ours = nx_catalog_find(loader->catalog, table->name);
    if (ours == NULL || nx_catalog_stays(table->name) || !same_columns(ours, table)) {
        return nx_error_set(err, NX_ERR_CORRUPT,
                            "the schema of the backup has no table %s with these columns",
                            table->name);
    }
    nx_catalog_columns(table, &columns);
    status = columns.failed ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a statement")
                            : nx_db_load_begin(loader->db, table->name, nx_buffer_cstr(&columns),
                                               table->count, err);
    nx_buffer_free(&columns);
    if (status == NX_OK) {
        loader->table = ours;
    }
    return status;
}

nx_status nx_loader_row(nx_loader *loader, const nx_cell *cells, size_t count, nx_error *err)
{
    static const nx_db_type types[] = {[NX_CELL_NULL] = NX_DB_TEXT,
                                       [NX_CELL_INT] = NX_DB_INT,
                                       [NX_CELL_TEXT] = NX_DB_TEXT,
                                       [NX_CELL_BLOB] = NX_DB_BLOB};
    nx_db_value values[NX_DUMP_MOST_COLUMNS];
    if (loader->table == NULL || count != loader->table->count) {
        return nx_error_set(err, NX_ERR_CORRUPT, "a row has another number of values than columns");
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = (nx_db_value){
            .type = types[cells[i].kind],
            .null = cells[i].kind == NX_CELL_NULL,
            .number = cells[i].number,
            .bytes = cells[i].bytes != NULL ? cells[i].bytes : "",
            .size = cells[i].size,
        };
    }
    nx_status status = nx_db_load_row(loader->db, values, count, err);
    return status == NX_OK ? NX_OK : nx_error_prefix(err, "table %s", loader->table->name);
}

static nx_status fill(nx_db *db, const loading *what, nx_error *err)
{
    nx_loader loader = {.db = db, .triggers = NX_BUFFER_INIT};
    nx_status status = nx_catalog_read(db, &loader.catalog, err);
    if (status == NX_OK) {
        status = triggers_off(&loader, err);
    }
    if (status == NX_OK) {
        status = clear_tables(&loader, err);
    }
    if (status == NX_OK) {
        status = what->feed(what->user, &loader, err);
    }
    if (status == NX_OK) {
        status = end_table(&loader, err);
    }
    if (status == NX_OK) {
        status = triggers_on(&loader, err);
    }
    nx_buffer_free(&loader.triggers);
    free(loader.catalog);
    return status;
}

/* Nobody runs the streams any more. Whoever follows the models by their generation has seen later
 * ones than these, and looks at all of them again. */
static const char finish[] =
    "INSERT INTO objects (name, created_at) SELECT f.name, f.created_at FROM nx_former_objects AS f"
    " WHERE NOT EXISTS (SELECT 1 FROM objects AS o WHERE o.name = f.name);"
    "DROP TABLE nx_former_objects;"
    "UPDATE objects SET removal = NULL, removal_at = NULL WHERE removal IS NOT NULL;"
    "UPDATE streams SET lease_owner = NULL, lease_until = NULL, relay_path = NULL,"
    " relay_address = NULL, relay_token = NULL, state = 'stopped';"
    "UPDATE model_state SET generation = generation + 1000000;"
    "UPDATE models SET changed = (SELECT generation FROM model_state);"
    "UPDATE models SET active_changed = (SELECT generation FROM model_state) WHERE active > 0;";

static nx_status load(nx_db *db, void *user, nx_error *err)
{
    const loading *what = user;
    nx_status status = NX_OK;
    if (!db->postgres) {
        status = nx_db_script(db, "PRAGMA defer_foreign_keys = ON", err);
    }
    if (status == NX_OK) {
        status = empty(db, err);
    }
    if (status == NX_OK) {
        status = nx_migrate_to(db, what->schema, err);
    }
    if (status == NX_OK) {
        status = fill(db, what, err);
    }
    if (status == NX_OK) {
        status = nx_migrate(db, err);
    }
    return status == NX_OK ? nx_db_script(db, finish, err) : status;
}

nx_status nx_store_can_load(nx_store *store, int schema, nx_error *err)
{
    if (schema < 1 || schema > (int)nx_migration_count) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "the backup has schema %d and this program knows up to %zu: a newer "
                            "Nexus has made it; restore it with that one",
                            schema, nx_migration_count);
    }
    return nx_store_alone(store, err);
}

nx_status nx_store_load(nx_store *store, int schema, nx_load_feed feed, void *user, nx_error *err)
{
    loading what = {.schema = schema, .feed = feed, .user = user};
    nx_status status = nx_store_can_load(store, schema, err);
    return status == NX_OK ? nx_store_transact(store, NX_TX_MIGRATE, load, &what, err) : status;
}

/* --- what is there --- */

typedef struct counting {
    char *out;
    size_t size;
} counting;

static nx_status count(nx_db *db, void *user, nx_error *err)
{
    static const struct {
        nx_sql sql;
        const char *name;
    } tables[] = {
        {NX_SQL("SELECT count(*) FROM users"), "users"},
        {NX_SQL("SELECT count(*) FROM api_keys"), "API keys"},
        {NX_SQL("SELECT count(*) FROM videos"), "videos"},
        {NX_SQL("SELECT count(*) FROM jobs"), "jobs"},
        {NX_SQL("SELECT count(*) FROM models"), "models"},
        {NX_SQL("SELECT count(*) FROM streams"), "streams"},
        {NX_SQL("SELECT count(*) FROM events"), "events"},
        {NX_SQL("SELECT count(*) FROM audit_log"), "rows of the audit log"},
    };
    const counting *to = user;
    size_t used = 0;
    nx_status status = NX_OK;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0] && status == NX_OK; i++) {
        int64_t rows = 0;
        const nx_call call = {.sql = &tables[i].sql, .each = nx_rows_number, .user = &rows};
        status = nx_db_run(db, &call, NULL, err);
        if (status == NX_OK && rows > 0 && used < to->size) {
            used += (size_t)snprintf(to->out + used, to->size - used, "%s%lld %s",
                                     used > 0 ? ", " : "", (long long)rows, tables[i].name);
        }
    }
    return status;
}

nx_status nx_store_contents(nx_store *store, char *out, size_t size, nx_error *err)
{
    counting to = {out, size};
    out[0] = '\0';
    return nx_store_transact(store, NX_TX_READ, count, &to, err);
}
