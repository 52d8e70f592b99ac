#include "store/migrate.h"

#include "base/log.h"
#include "store/migrations.h"

static const nx_sql has_table = {
    .sqlite = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'nx_migrations'",
    .postgres = "SELECT count(*) FROM pg_catalog.pg_class"
                " WHERE oid = to_regclass('nx_migrations')",
};

static const char make_table[] = "CREATE TABLE nx_migrations ("
                                 "number bigint PRIMARY KEY, name text NOT NULL,"
                                 " checksum text NOT NULL, applied_at bigint NOT NULL)";

static const nx_sql select_applied =
    NX_SQL("SELECT number, name, checksum FROM nx_migrations ORDER BY number");

/* The clock of nx_now() is itself a thing of PostgreSQL's first migration, and there by then. */
static const nx_sql insert_applied =
    NX_SQL("INSERT INTO nx_migrations (number, name, checksum, applied_at)"
           " VALUES ($1, $2, $3, nx_now())");

static const nx_migration *all_of(const nx_db *db)
{
    return db->postgres ? nx_migrations_postgres : nx_migrations_sqlite;
}

static nx_status take_count(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    *(int64_t *)user = nx_row_int(row, 0);
    return NX_OK;
}

static nx_status check_applied(const nx_row *row, void *user, nx_error *err)
{
    int *schema = user;
    const nx_migration *known = all_of(row->db);
    int64_t number = nx_row_int(row, 0);
    if (number > (int64_t)nx_migration_count) {
        *schema = (int)number; /* the last one is the greatest, which the caller speaks of */
        return NX_OK;
    }
    const nx_migration *ours = number >= 1 ? &known[number - 1] : NULL;
    if (number != *schema + 1 || ours == NULL || strcmp(ours->checksum, nx_row_text(row, 2)) != 0) {
        return nx_error_set(err, NX_ERR_CORRUPT,
                            "migration %04lld_%s in the database is not the one of this program; "
                            "use the Nexus that made the database, or restore a backup",
                            (long long)number, nx_row_text(row, 1));
    }
    *schema = (int)number;
    return NX_OK;
}

nx_status nx_migrate_look(nx_db *db, int *schema, nx_error *err)
{
    int64_t there = 0;
    *schema = 0;
    const nx_call look = {.sql = &has_table, .each = take_count, .user = &there};
    nx_status status = nx_db_run(db, &look, NULL, err);
    if (status != NX_OK || there == 0) {
        return status;
    }
    const nx_call check = {.sql = &select_applied, .each = check_applied, .user = schema};
    status = nx_db_run(db, &check, NULL, err);
    if (status == NX_OK && *schema > (int)nx_migration_count) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "the database has schema %d and this program knows up to %zu: a newer "
                            "Nexus has used it; run that one, or restore a backup from before",
                            *schema, nx_migration_count);
    }
    return status;
}

static nx_status apply(nx_db *db, const nx_migration *migration, nx_error *err)
{
    nx_status status = nx_db_script(db, migration->sql, err);
    if (status == NX_OK) {
        const nx_call note = NX_CALL(&insert_applied, nx_db_int(migration->number),
                                     nx_db_text(migration->name), nx_db_text(migration->checksum));
        status = nx_db_run(db, &note, NULL, err);
    }
    if (status != NX_OK) {
        return nx_error_prefix(err, "migration %04d_%s", migration->number, migration->name);
    }
    nx_log_info("store", "applied migration %04d_%s", migration->number, migration->name);
    return NX_OK;
}

nx_status nx_migrate(nx_db *db, nx_error *err)
{
    return nx_migrate_to(db, (int)nx_migration_count, err);
}

nx_status nx_migrate_to(nx_db *db, int number, nx_error *err)
{
    int schema = 0;
    int64_t there = 0;
    const nx_call look = {.sql = &has_table, .each = take_count, .user = &there};
    nx_status status = nx_db_run(db, &look, NULL, err);
    if (status == NX_OK && there == 0) {
        status = nx_db_script(db, make_table, err);
    }
    if (status == NX_OK) {
        status = nx_migrate_look(db, &schema, err);
    }
    for (size_t i = (size_t)schema; i < (size_t)number && status == NX_OK; i++) {
        status = apply(db, &all_of(db)[i], err);
    }
    return status;
}
