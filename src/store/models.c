#include "store/models.h"

#include "store/models_rows.h"
#include "store/object_rows.h"
#include "store/rows.h"

#include <stdio.h>
#include <stdlib.h>

/* What is beyond is not seen; the disk has its own limit, NX_MODEL_MAX_STORED. */
#define MOST_NAMES    ((size_t)1000)
#define MOST_VERSIONS ((size_t)10000)

/* --- generations --- */

/* The row stays locked until the transaction ends: generations are committed in their order. */
static const nx_sql next_generation =
    NX_SQL("UPDATE model_state SET generation = generation + 1 WHERE id = 1 RETURNING generation");
static const nx_sql read_generation =
    NX_SQL("SELECT service, generation FROM model_state WHERE id = 1");

nx_status nx_models_next_generation(nx_db *db, int64_t *generation, nx_error *err)
{
    int64_t next = 0;
    const nx_call call = {.sql = &next_generation, .each = nx_rows_number, .user = &next};
    nx_status status = nx_db_run(db, &call, NULL, err);
    *generation = next;
    return status;
}

typedef struct place {
    char service[NX_MODEL_SERVICE_SIZE];
    int64_t generation;
} place;

static nx_status take_place(const nx_row *row, void *user, nx_error *err)
{
    place *out = user;
    (void)err;
    snprintf(out->service, sizeof out->service, "%s", nx_row_text(row, 0));
    out->generation = nx_row_int(row, 1);
    return NX_OK;
}

nx_status nx_store_models_generation(nx_store *store, char service[NX_MODEL_SERVICE_SIZE],
                                     int64_t *generation, nx_error *err)
{
    place out = {.generation = 0};
    const nx_call call = {.sql = &read_generation, .each = take_place, .user = &out};
    nx_status status = nx_store_run(store, NX_TX_READ, &call, NULL, err);
    memcpy(service, out.service, sizeof out.service);
    *generation = out.generation;
    return status;
}

/* --- looking --- */

static const nx_sql select_names =
    NX_SQL("SELECT name, active, changed, active_changed FROM models ORDER BY name LIMIT $1");
static const nx_sql select_versions =
    NX_SQL("SELECT name, version, kind, stored, added_by, added_at, removed_at"
           " FROM model_versions ORDER BY name, version LIMIT $1");
static const nx_sql select_files =
    NX_SQL("SELECT name, version, file, sha256, size FROM model_files"
           " ORDER BY name, version, file DESC LIMIT $1");
static const nx_sql select_unloads =
    NX_SQL("SELECT name, version, generation FROM model_unloads WHERE generation > $1"
           " ORDER BY generation LIMIT $2");

static void read_name(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_model_name *)item = (nx_model_name){
        .name = nx_row_copy(row, 0, arena),
        .active = nx_row_int(row, 1),
        .changed = nx_row_int(row, 2),
        .active_changed = nx_row_int(row, 3),
    };
}

static void read_version(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_model_version *)item = (nx_model_version){
        .name = nx_row_copy(row, 0, arena),
        .version = nx_row_int(row, 1),
        .kind = nx_row_copy(row, 2, arena),
        .stored = nx_row_int(row, 3) != 0,
        .added_by = nx_row_copy(row, 4, arena),
        .added_at = nx_row_int(row, 5),
        .removed = !nx_row_is_null(row, 6),
    };
}

static void read_unload(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_model_unload *)item = (nx_model_unload){
        .name = nx_row_copy(row, 0, arena),
        .version = nx_row_int(row, 1),
        .generation = nx_row_int(row, 2),
    };
}

typedef struct loading {
    nx_arena *arena;
    int64_t unloads_after;
    nx_models_known *out;
    size_t at; /* the version that the last file was of */
} loading;

/* Rows of a call into an array of the arena. */
static nx_status fetch(nx_db *db, nx_call call, nx_rows *rows, void **items, size_t *count,
                       nx_error *err)
{
    rows->items = nx_arena_calloc(rows->arena, rows->limit, rows->size);
    if (rows->items == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the models");
    }
    call.each = nx_rows_collect;
    call.user = rows;
    nx_status status = nx_db_run(db, &call, NULL, err);
    *items = rows->items;
    *count = rows->count;
    return status;
}

/* Both come in the order of versions. */
static nx_status take_file(const nx_row *row, void *user, nx_error *err)
{
    loading *what = user;
    const nx_models_known *out = what->out;
    const char *name = nx_row_text(row, 0);
    int64_t version = nx_row_int(row, 1);
    (void)err;
    while (what->at < out->version_count && (strcmp(out->versions[what->at].name, name) != 0 ||
                                             out->versions[what->at].version != version)) {
        what->at++;
    }
    if (what->at < out->version_count && out->versions[what->at].file_count < NX_MODEL_MOST_FILES) {
        nx_model_version *owner = &out->versions[what->at];
        owner->files[owner->file_count++] = (nx_model_file){
            .file = nx_row_copy(row, 2, what->arena),
            .sha256 = nx_row_copy(row, 3, what->arena),
            .size = nx_row_int(row, 4),
        };
    }
    return what->arena->failed ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the models")
                               : NX_OK;
}

/* The generation first: the rows are of it or later, never before. */
static nx_status load(nx_db *db, void *user, nx_error *err)
{
    loading *what = user;
    nx_models_known *out = what->out;
    place at = {.generation = 0};
    void *items = NULL;
    what->at = 0;
    const nx_call state = {.sql = &read_generation, .each = take_place, .user = &at};
    nx_rows names = {.read = read_name,
                     .size = sizeof(nx_model_name),
                     .limit = MOST_NAMES,
                     .arena = what->arena};
    nx_rows versions = {.read = read_version,
                        .size = sizeof(nx_model_version),
                        .limit = MOST_VERSIONS,
                        .arena = what->arena};
    nx_rows unloads = {.read = read_unload,
                       .size = sizeof(nx_model_unload),
                       .limit = MOST_NAMES,
                       .arena = what->arena};
    nx_status status = nx_db_run(db, &state, NULL, err);
    out->generation = at.generation;
    if (status == NX_OK) {
        status = fetch(db, NX_CALL(&select_names, nx_db_int(MOST_NAMES)), &names, &items,
                       &out->name_count, err);
        out->names = items;
    }
    if (status == NX_OK) {
        status = fetch(db, NX_CALL(&select_versions, nx_db_int(MOST_VERSIONS)), &versions, &items,
                       &out->version_count, err);
        out->versions = items;
    }
    if (status == NX_OK) {
        nx_call files = NX_CALL(&select_files, nx_db_int(NX_MODEL_MOST_FILES * MOST_VERSIONS));
        files.each = take_file;
        files.user = what;
        status = nx_db_run(db, &files, NULL, err);
    }
    if (status == NX_OK) {
        status = fetch(
            db, NX_CALL(&select_unloads, nx_db_int(what->unloads_after), nx_db_int(MOST_NAMES)),
            &unloads, &items, &out->unload_count, err);
        out->unloads = items;
    }
    return status;
}

nx_status nx_store_models_load(nx_store *store, int64_t unloads_after, nx_arena *arena,
                               nx_models_known *out, nx_error *err)
{
    loading what = {.arena = arena, .unloads_after = unloads_after, .out = out};
    *out = (nx_models_known){0};
    return nx_store_transact(store, NX_TX_READ, load, &what, err);
}

/* --- changing --- */

/* No generation: nothing that anybody follows. */
static const nx_sql take_number = {
    .sqlite = "INSERT INTO models (name, last_version) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE"
              " SET last_version = max(models.last_version + 1, excluded.last_version)"
              " RETURNING last_version",
    .postgres = "INSERT INTO models (name, last_version) VALUES ($1, $2) ON CONFLICT (name) DO"
                " UPDATE SET last_version = greatest(models.last_version + 1,"
                " excluded.last_version) RETURNING last_version",
};
static const nx_sql touch_name =
    NX_SQL("INSERT INTO models (name, changed) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE"
           " SET changed = excluded.changed");
static const nx_sql set_active =
    NX_SQL("UPDATE models SET active = $2, active_changed = $3 WHERE name = $1");
static const nx_sql add_version =
    NX_SQL("INSERT INTO model_versions (name, version, kind, stored, added_by, added_at)"
           " VALUES ($1, $2, $3, $4, $5, nx_now()) ON CONFLICT (name, version) DO UPDATE"
           " SET kind = excluded.kind, stored = excluded.stored, added_by = excluded.added_by,"
           " added_at = excluded.added_at, removed_at = NULL"
           " WHERE model_versions.removed_at IS NOT NULL");
static const nx_sql add_file =
    NX_SQL("INSERT INTO model_files (name, version, file, sha256, size, stored)"
           " VALUES ($1, $2, $3, $4, $5, $6)");
static const nx_sql same_file =
    NX_SQL("SELECT 1 FROM model_files WHERE name = $1 AND version = $2 AND file = $3"
           " AND sha256 = $4");
static const nx_sql raise_last = {
    .sqlite = "UPDATE models SET last_version = max(last_version, $2) WHERE name = $1",
    .postgres = "UPDATE models SET last_version = greatest(last_version, $2) WHERE name = $1",
};
static const nx_sql end_versions =
    NX_SQL("UPDATE model_versions SET removed_at = nx_now()"
           " WHERE name = $1 AND ($2 = 0 OR version = $2) AND removed_at IS NULL");
static const nx_sql end_files =
    NX_SQL("DELETE FROM model_files WHERE name = $1 AND ($2 = 0 OR version = $2)");
static const nx_sql note_unload =
    NX_SQL("INSERT INTO model_unloads (name, version, generation) VALUES ($1, $2, $3)"
           " ON CONFLICT (name, version) DO UPDATE SET generation = excluded.generation");

nx_status nx_store_model_number(nx_store *store, const char *name, int64_t least, int64_t *version,
                                nx_error *err)
{
    nx_call call = NX_CALL(&take_number, nx_db_text(name), nx_db_int(least));
    call.each = nx_rows_number;
    call.user = version;
    return nx_store_run(store, NX_TX_WRITE, &call, NULL, err);
}

typedef struct change {
    const char *name;
    int64_t version;
    int64_t active; /* of a removal */
    const nx_model_version *entry;
} change;

/* The next generation, and the name's row in it. */
static nx_status begin(nx_db *db, const char *name, int64_t *generation, nx_error *err)
{
    nx_status status = nx_models_next_generation(db, generation, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_call touch = NX_CALL(&touch_name, nx_db_text(name), nx_db_int(*generation));
    return nx_db_run(db, &touch, NULL, err);
}

static nx_status activate_in(nx_db *db, const char *name, int64_t version, int64_t generation,
                             nx_error *err)
{
    const nx_call raise = NX_CALL(&raise_last, nx_db_text(name), nx_db_int(version));
    const nx_call set =
        NX_CALL(&set_active, nx_db_text(name), nx_db_int(version), nx_db_int(generation));
    nx_status status = nx_db_run(db, &raise, NULL, err);
    return status == NX_OK ? nx_db_run(db, &set, NULL, err) : status;
}

static nx_status enter_files(nx_db *db, const nx_model_version *entry, nx_error *err)
{
    nx_status status = NX_OK;
    for (size_t i = 0; i < entry->file_count && status == NX_OK; i++) {
        const nx_model_file *file = &entry->files[i];
        const nx_call add = NX_CALL(&add_file, nx_db_text(entry->name), nx_db_int(entry->version),
                                    nx_db_text(file->file), nx_db_text(file->sha256),
                                    nx_db_int(file->size), nx_db_int(entry->stored));
        status = entry->stored ? nx_object_use(db, file->sha256, err) : NX_OK;
        if (status == NX_OK) {
            status = nx_db_run(db, &add, NULL, err);
        }
    }
    return status;
}

static nx_status check_same(nx_db *db, const nx_model_version *entry, nx_error *err)
{
    nx_status status = NX_OK;
    for (size_t i = 0; i < entry->file_count && status == NX_OK; i++) {
        int64_t rows = 0;
        const nx_call look =
            NX_CALL(&same_file, nx_db_text(entry->name), nx_db_int(entry->version),
                    nx_db_text(entry->files[i].file), nx_db_text(entry->files[i].sha256));
        status = nx_db_run(db, &look, &rows, err);
        if (status == NX_OK && rows == 0) {
            status = nx_error_set(err, NX_ERR_CONFLICT,
                                  "model %s has a version %lld already, of other files",
                                  entry->name, (long long)entry->version);
        }
    }
    return status;
}

static nx_status publish(nx_db *db, void *user, nx_error *err)
{
    const change *what = user;
    const nx_model_version *entry = what->entry;
    int64_t generation = 0;
    int64_t rows = 0;
    nx_status status = begin(db, entry->name, &generation, err);
    if (status == NX_OK) {
        const nx_call add =
            NX_CALL(&add_version, nx_db_text(entry->name), nx_db_int(entry->version),
                    nx_db_text(entry->kind), nx_db_int(entry->stored), nx_db_text(entry->added_by));
        status = nx_db_run(db, &add, &rows, err);
    }
    if (status == NX_OK) {
        status = rows > 0 ? enter_files(db, entry, err) : check_same(db, entry, err);
    }
    return status == NX_OK ? activate_in(db, entry->name, entry->version, generation, err) : status;
}

nx_status nx_store_model_publish(nx_store *store, const nx_model_version *version, nx_error *err)
{
    change what = {.entry = version};
    return nx_store_transact(store, NX_TX_WRITE, publish, &what, err);
}

static nx_status activate(nx_db *db, void *user, nx_error *err)
{
    const change *what = user;
    int64_t generation = 0;
    nx_status status = begin(db, what->name, &generation, err);
    return status == NX_OK ? activate_in(db, what->name, what->version, generation, err) : status;
}

nx_status nx_store_model_activate(nx_store *store, const char *name, int64_t version, nx_error *err)
{
    change what = {.name = name, .version = version};
    return nx_store_transact(store, NX_TX_WRITE, activate, &what, err);
}

static nx_status unload(nx_db *db, void *user, nx_error *err)
{
    const change *what = user;
    int64_t generation = 0;
    nx_status status = begin(db, what->name, &generation, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_call note = NX_CALL(&note_unload, nx_db_text(what->name), nx_db_int(what->version),
                                 nx_db_int(generation));
    return nx_db_run(db, &note, NULL, err);
}

nx_status nx_store_model_unload(nx_store *store, const char *name, int64_t version, nx_error *err)
{
    change what = {.name = name, .version = version};
    return nx_store_transact(store, NX_TX_WRITE, unload, &what, err);
}

static nx_status remove_versions(nx_db *db, void *user, nx_error *err)
{
    const change *what = user;
    int64_t generation = 0;
    nx_status status = begin(db, what->name, &generation, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_call calls[] = {
        NX_CALL(&end_files, nx_db_text(what->name), nx_db_int(what->version)),
        NX_CALL(&end_versions, nx_db_text(what->name), nx_db_int(what->version)),
        NX_CALL(&note_unload, nx_db_text(what->name), nx_db_int(what->version),
                nx_db_int(generation)),
        NX_CALL(&set_active, nx_db_text(what->name), nx_db_int(what->active),
                nx_db_int(generation)),
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0] && status == NX_OK; i++) {
        status = nx_db_run(db, &calls[i], NULL, err);
    }
    return status;
}

nx_status nx_store_model_remove(nx_store *store, const char *name, int64_t version, int64_t active,
                                nx_error *err)
{
    change what = {.name = name, .version = version, .active = active};
    return nx_store_transact(store, NX_TX_WRITE, remove_versions, &what, err);
}
