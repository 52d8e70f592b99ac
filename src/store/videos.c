#include "store/videos.h"

#include "base/uuid.h"
#include "store/object_rows.h"
#include "store/rows.h"

#define VIDEO_COLUMNS  "id, owner, hash, size, name, probe, created_at"
#define UPLOAD_COLUMNS "id, owner, length, received, metadata, video_id, created_at, expires_at"

static void read_video(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_video *)item = (nx_video){
        .id = nx_row_copy(row, 0, arena),
        .owner = nx_row_copy(row, 1, arena),
        .hash = nx_row_copy(row, 2, arena),
        .size = nx_row_int(row, 3),
        .name = nx_row_copy(row, 4, arena),
        .probe = nx_row_copy(row, 5, arena),
        .created_at = nx_row_int(row, 6),
    };
}

static void read_upload(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_upload *)item = (nx_upload){
        .id = nx_row_copy(row, 0, arena),
        .owner = nx_row_copy(row, 1, arena),
        .length = nx_row_int(row, 2),
        .received = nx_row_int(row, 3),
        .metadata = nx_row_copy(row, 4, arena),
        .video_id = nx_row_copy(row, 5, arena),
        .created_at = nx_row_int(row, 6),
        .expires_at = nx_row_int(row, 7),
    };
}

static void read_id(const nx_row *row, void *item, nx_arena *arena)
{
    *(const char **)item = nx_row_copy(row, 0, arena);
}

/* --- videos --- */

/* The update that changes nothing makes the row that is there come back. */
static const nx_sql add_video =
    NX_SQL("INSERT INTO videos (" VIDEO_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, nx_now())"
           " ON CONFLICT (owner, hash) DO UPDATE SET owner = excluded.owner"
           " RETURNING " VIDEO_COLUMNS);
static const nx_sql get_video = NX_SQL("SELECT " VIDEO_COLUMNS " FROM videos WHERE id = $1");
static const nx_sql list_videos =
    NX_SQL("SELECT " VIDEO_COLUMNS " FROM videos WHERE ($1 IS NULL OR owner = $1)"
           " AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3");

typedef struct entry {
    const nx_video *video;
    const char *id;
    nx_rows rows;
} entry;

static nx_status enter_video(nx_db *db, void *user, nx_error *err)
{
    entry *what = user;
    const nx_video *video = what->video;
    nx_call call =
        NX_CALL(&add_video, nx_db_text(what->id), nx_db_text(video->owner), nx_db_text(video->hash),
                nx_db_int(video->size), nx_db_text(video->name), nx_db_text(video->probe));
    what->rows.count = 0; /* of an attempt that the database undid */
    call.each = nx_rows_collect;
    call.user = &what->rows;
    nx_status status = nx_object_use(db, video->hash, err);
    return status == NX_OK ? nx_db_run(db, &call, NULL, err) : status;
}

nx_status nx_store_video_add(nx_store *store, const nx_video *video, nx_arena *arena, nx_video *out,
                             bool *made, nx_error *err)
{
    char id[NX_UUID_SIZE];
    if (strlen(video->hash) != 64 || video->size < 0) {
        return nx_error_set(err, NX_ERR_INVALID, "a video needs its SHA-256 and its size");
    }
    nx_status status = nx_uuid_make(id, err);
    if (status != NX_OK) {
        return status;
    }
    entry what = {
        .video = video,
        .id = id,
        .rows = {
            .read = read_video, .items = out, .size = sizeof *out, .limit = 1, .arena = arena}};
    status = nx_store_transact(store, NX_TX_WRITE, enter_video, &what, err);
    *made = status == NX_OK && strcmp(out->id, id) == 0;
    return status;
}

nx_status nx_store_video_get(nx_store *store, const char *id, nx_arena *arena, nx_video *out,
                             nx_error *err)
{
    nx_rows rows = {
        .read = read_video, .items = out, .size = sizeof *out, .limit = 1, .arena = arena};
    const nx_call call = NX_CALL(&get_video, nx_db_text(id));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    if (status == NX_OK && rows.count == 0) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "there is no video %.60s", id);
    }
    return status;
}

nx_status nx_store_videos_list(nx_store *store, const char *owner, const char *before, size_t limit,
                               nx_arena *arena, nx_video *out, size_t *count, nx_error *err)
{
    nx_rows rows = {
        .read = read_video, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    const nx_call call =
        NX_CALL(&list_videos, nx_db_text(owner), nx_db_text(before), nx_db_int((int64_t)limit));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

/* --- removing a video --- */

/* The lock keeps a job from naming the video meanwhile: its foreign key waits for it. */
static const nx_sql lock_video = {
    .sqlite = "SELECT 1 FROM videos WHERE id = $1",
    .postgres = "SELECT 1 FROM videos WHERE id = $1 FOR UPDATE",
};
static const nx_sql jobs_of_video =
    NX_SQL("SELECT count(*) FROM jobs WHERE video_id = $1 AND state IN ('queued', 'running')");
static const nx_sql delete_video = NX_SQL("DELETE FROM videos WHERE id = $1");

static nx_status remove_video(nx_db *db, void *user, nx_error *err)
{
    const char *id = *(const char **)user;
    int64_t rows = 0;
    int64_t jobs = 0;
    const nx_call lock = NX_CALL(&lock_video, nx_db_text(id));
    nx_call count = NX_CALL(&jobs_of_video, nx_db_text(id));
    const nx_call drop = NX_CALL(&delete_video, nx_db_text(id));
    count.each = nx_rows_number;
    count.user = &jobs;
    nx_status status = nx_db_run(db, &lock, &rows, err);
    if (status == NX_OK && rows == 0) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "there is no video %.60s", id);
    }
    if (status == NX_OK) {
        status = nx_db_run(db, &count, NULL, err);
    }
    if (status == NX_OK && jobs > 0) {
        status = nx_error_set(err, NX_ERR_CONFLICT,
                              "video %.60s is needed by %lld jobs; cancel them first, or wait", id,
                              (long long)jobs);
    }
    return status == NX_OK ? nx_db_run(db, &drop, NULL, err) : status;
}

nx_status nx_store_video_remove(nx_store *store, const char *id, nx_error *err)
{
    return nx_store_transact(store, NX_TX_WRITE, remove_video, &id, err);
}

/* --- uploads --- */

static const nx_sql add_upload =
    NX_SQL("INSERT INTO uploads (id, owner, length, metadata, created_at, expires_at)"
           " VALUES ($1, $2, $3, $4, nx_now(), nx_now() + $5) RETURNING " UPLOAD_COLUMNS);
static const nx_sql get_upload = NX_SQL("SELECT " UPLOAD_COLUMNS " FROM uploads WHERE id = $1");
static const nx_sql advance_upload =
    NX_SQL("UPDATE uploads SET received = $3, expires_at = nx_now() + $4 WHERE id = $1"
           " AND received = $2 AND video_id IS NULL AND length >= $3");
static const nx_sql finish_upload =
    NX_SQL("UPDATE uploads SET video_id = $2 WHERE id = $1 AND received = length"
           " AND (video_id IS NULL OR video_id = $2)");
static const nx_sql remove_upload = NX_SQL("DELETE FROM uploads WHERE id = $1");
static const nx_sql expire_uploads = {
    .sqlite = "DELETE FROM uploads WHERE id IN (SELECT id FROM uploads WHERE expires_at <= nx_now()"
              " ORDER BY expires_at LIMIT $1) RETURNING id",
    .postgres = "WITH old AS MATERIALIZED (SELECT id FROM uploads WHERE expires_at <= nx_now()"
                " ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)"
                " DELETE FROM uploads USING old WHERE uploads.id = old.id RETURNING uploads.id",
};

nx_status nx_store_upload_add(nx_store *store, const nx_upload *upload, int64_t lifetime_ms,
                              nx_arena *arena, nx_upload *out, nx_error *err)
{
    char id[NX_UUID_SIZE];
    nx_status status = nx_uuid_make(id, err);
    if (status != NX_OK) {
        return status;
    }
    nx_rows rows = {
        .read = read_upload, .items = out, .size = sizeof *out, .limit = 1, .arena = arena};
    const nx_call call =
        NX_CALL(&add_upload, nx_db_text(id), nx_db_text(upload->owner), nx_db_int(upload->length),
                nx_db_text(upload->metadata), nx_db_int(lifetime_ms));
    return nx_rows_fetch(store, NX_TX_WRITE, call, &rows, err);
}

nx_status nx_store_upload_get(nx_store *store, const char *id, nx_arena *arena, nx_upload *out,
                              nx_error *err)
{
    nx_rows rows = {
        .read = read_upload, .items = out, .size = sizeof *out, .limit = 1, .arena = arena};
    const nx_call call = NX_CALL(&get_upload, nx_db_text(id));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    if (status == NX_OK && rows.count == 0) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "there is no upload %.60s", id);
    }
    return status;
}

/* Runs a change that either meets an upload in the right state or does nothing. */
static nx_status change_upload(nx_store *store, const nx_call *call, const char *id,
                               const char *refused, nx_error *err)
{
    int64_t rows = 0;
    nx_status status = nx_store_run(store, NX_TX_WRITE, call, &rows, err);
    if (status != NX_OK || rows > 0) {
        return status;
    }
    nx_arena arena = nx_arena_make(0);
    nx_upload there;
    status = nx_store_upload_get(store, id, &arena, &there, err);
    if (status == NX_OK) {
        status = nx_error_set(err, NX_ERR_CONFLICT, "upload %.60s has %lld of %lld bytes: %s", id,
                              (long long)there.received, (long long)there.length, refused);
    }
    nx_arena_free(&arena);
    return status;
}

nx_status nx_store_upload_advance(nx_store *store, const char *id, int64_t from, int64_t to,
                                  int64_t lifetime_ms, nx_error *err)
{
    const nx_call call = NX_CALL(&advance_upload, nx_db_text(id), nx_db_int(from), nx_db_int(to),
                                 nx_db_int(lifetime_ms));
    return change_upload(store, &call, id, "it can't go on from another offset or past its length",
                         err);
}

nx_status nx_store_upload_finish(nx_store *store, const char *id, const char *video_id,
                                 nx_error *err)
{
    const nx_call call = NX_CALL(&finish_upload, nx_db_text(id), nx_db_text(video_id));
    return change_upload(store, &call, id, "it is not complete, or it is another video already",
                         err);
}

nx_status nx_store_upload_remove(nx_store *store, const char *id, nx_error *err)
{
    int64_t rows = 0;
    const nx_call call = NX_CALL(&remove_upload, nx_db_text(id));
    nx_status status = nx_store_run(store, NX_TX_WRITE, &call, &rows, err);
    if (status == NX_OK && rows == 0) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "there is no upload %.60s", id);
    }
    return status;
}

nx_status nx_store_uploads_expire(nx_store *store, size_t limit, nx_arena *arena, const char **ids,
                                  size_t *count, nx_error *err)
{
    nx_rows rows = {
        .read = read_id, .items = ids, .size = sizeof *ids, .limit = limit, .arena = arena};
    const nx_call call = NX_CALL(&expire_uploads, nx_db_int((int64_t)limit));
    nx_status status = nx_rows_fetch(store, NX_TX_WRITE, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}
