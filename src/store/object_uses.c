#include "store/object_uses.h"

#include "base/clock.h"
#include "base/uuid.h"
#include "store/jobs.h"
#include "store/object_rows.h"
#include "store/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Who takes an object away and is not done after so long is dead. */
#define REMOVAL_MS "600000"
#define NOBODY     "(removal IS NULL OR removal_at <= nx_now() - " REMOVAL_MS ")"
/* Objects that are taken away at once. */
#define BATCH ((size_t)64)

#define WAIT_NS  (10 * NX_NS_PER_SEC)
#define PAUSE_NS (20 * NX_NS_PER_MS)

/* --- becoming used --- */

/* The row is locked, and so whoever wants to take the object away waits, and sees then who needs
 * it. */
static const nx_sql touch_object =
    NX_SQL("INSERT INTO objects (name, created_at) VALUES ($1, nx_now()) ON CONFLICT (name)"
           " DO UPDATE SET removal = NULL, removal_at = NULL"
           " WHERE objects.removal IS NULL OR objects.removal_at <= nx_now() - " REMOVAL_MS);
static const nx_sql add_job_object =
    NX_SQL("INSERT INTO job_objects (job_id, object, part) VALUES ($1, $2, $3)"
           " ON CONFLICT (job_id, object, part) DO NOTHING");
static const nx_sql forget_objects =
    NX_SQL("DELETE FROM job_objects WHERE job_id = $1 AND part = $2");

nx_status nx_object_use(nx_db *db, const char *name, nx_error *err)
{
    int64_t rows = 0;
    const nx_call call = NX_CALL(&touch_object, nx_db_text(name));
    nx_status status = nx_db_run(db, &call, &rows, err);
    return status != NX_OK || rows > 0
               ? status
               : nx_error_set(err, NX_ERR_BUSY, "the object %.64s is just being removed; try again",
                              name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

nx_status nx_object_use_for_job(nx_db *db, const char *job, const char *const *names, size_t count,
                                bool part, nx_error *err)
{
    const char *sorted[NX_JOB_MOST_OBJECTS];
    nx_status status = NX_OK;
    if (count == 0) {
        return NX_OK;
    }
    if (count > NX_JOB_MOST_OBJECTS) {
        return nx_error_set(err, NX_ERR_INVALID, "a job has at most %d objects at a time",
                            NX_JOB_MOST_OBJECTS);
    }
    memcpy(sorted, names, count * sizeof names[0]);
    qsort(sorted, count, sizeof sorted[0], by_name);
    for (size_t i = 0; i < count && status == NX_OK; i++) {
        const nx_call add = NX_CALL(&add_job_object, nx_db_text(job), nx_db_text(sorted[i]),
                                    nx_db_int(part ? 1 : 0));
        status = nx_object_use(db, sorted[i], err);
        if (status == NX_OK) {
            status = nx_db_run(db, &add, NULL, err);
        }
    }
    return status;
}

nx_status nx_object_forget_parts(nx_db *db, const char *job, nx_error *err)
{
    const nx_call call = NX_CALL(&forget_objects, nx_db_text(job), nx_db_int(1));
    return nx_db_run(db, &call, NULL, err);
}

nx_status nx_object_forget_results(nx_db *db, const char *job, nx_error *err)
{
    const nx_call call = NX_CALL(&forget_objects, nx_db_text(job), nx_db_int(0));
    return nx_db_run(db, &call, NULL, err);
}

/* --- holding --- */

static const nx_sql add_hold =
    NX_SQL("INSERT INTO object_holds (object, holder, held_until) VALUES ($1, $2, nx_now() + $3)"
           " ON CONFLICT (object, holder) DO UPDATE SET held_until = excluded.held_until");
static const nx_sql release_holds = NX_SQL("DELETE FROM object_holds WHERE holder = $1");

typedef struct holding {
    const char *name, *holder;
    int64_t hold_ms;
} holding;

static nx_status hold(nx_db *db, void *user, nx_error *err)
{
    const holding *what = user;
    nx_status status = nx_object_use(db, what->name, err);
    if (status == NX_OK) {
        const nx_call add = NX_CALL(&add_hold, nx_db_text(what->name), nx_db_text(what->holder),
                                    nx_db_int(what->hold_ms));
        status = nx_db_run(db, &add, NULL, err);
    }
    return status;
}

nx_status nx_store_object_hold(nx_store *store, const char *name, const char *holder,
                               int64_t hold_ms, nx_error *err)
{
    holding what = {.name = name, .holder = holder, .hold_ms = hold_ms};
    if (strlen(name) != NX_OBJECT_NAME_SIZE - 1 || strlen(holder) > NX_OBJECT_HOLDER_MAX) {
        return nx_error_set(err, NX_ERR_INVALID, "'%.80s' is no name of an object", name);
    }
    return nx_store_transact(store, NX_TX_WRITE, hold, &what, err);
}

nx_status nx_store_object_release(nx_store *store, const char *holder, nx_error *err)
{
    const nx_call call = NX_CALL(&release_holds, nx_db_text(holder));
    return nx_store_run(store, NX_TX_SOFT, &call, NULL, err);
}

/* A removal takes as long as one request to S3. */
static nx_status hold_patiently(nx_store *store, const char *name, const char *holder,
                                nx_error *err)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    const int64_t end = nx_clock_now_ns() + WAIT_NS;
    nx_status status = nx_store_object_hold(store, name, holder, NX_OBJECT_HOLD_MS, err);
    while (status == NX_ERR_BUSY && nx_clock_now_ns() < end) {
        (void)nanosleep(&pause, NULL);
        status = nx_store_object_hold(store, name, holder, NX_OBJECT_HOLD_MS, err);
    }
    return status;
}

nx_status nx_store_keep_upload(nx_store *store, nx_objects *objects, const char *upload,
                               const char *holder, char name[NX_OBJECT_NAME_SIZE], int64_t *size,
                               nx_error *err)
{
    nx_status status = nx_objects_name(objects, upload, name, size, err);
    if (status == NX_OK) {
        status = hold_patiently(store, name, holder, err);
    }
    if (status != NX_OK) {
        return status;
    }
    status = nx_objects_put(objects, upload, name, *size, err);
    if (status != NX_OK) {
        const char *const left[] = {name};
        (void)nx_store_object_release(store, holder, NULL); /* its time ends as well */
        (void)nx_store_objects_collect(store, objects, left, 1, NULL, NULL);
    }
    return status;
}

static nx_status write_upload(nx_objects *objects, const char *id, const nx_buffer *bytes,
                              nx_error *err)
{
    nx_object_writer *writer = NULL;
    int64_t size = 0;
    nx_status status = nx_objects_write(objects, id, 0, &writer, err);
    if (status == NX_OK) {
        status = nx_object_writer_put(writer, bytes->data, bytes->size, err);
    }
    if (status == NX_OK) {
        status = nx_object_writer_sync(writer, &size, err);
    }
    nx_object_writer_close(writer);
    return status;
}

nx_status nx_store_keep_bytes(nx_store *store, nx_objects *objects, const nx_buffer *bytes,
                              char holder[NX_UUID_SIZE], char name[NX_OBJECT_NAME_SIZE],
                              int64_t *size, nx_error *err)
{
    nx_status status = nx_uuid_make(holder, err);
    if (status != NX_OK) {
        return status;
    }
    status = write_upload(objects, holder, bytes, err);
    if (status == NX_OK) {
        status = nx_store_keep_upload(store, objects, holder, holder, name, size, err);
    }
    (void)nx_objects_discard(objects, holder, NULL); /* else it is swept */
    return status;
}

/* --- taking away --- */

static const nx_sql lock_object = {
    .sqlite = "SELECT 1 FROM objects WHERE name = $1 AND " NOBODY,
    /* whoever has it locked is about to use it */
    .postgres = "SELECT 1 FROM objects WHERE name = $1 AND " NOBODY " FOR UPDATE SKIP LOCKED",
};
#define UNNAMED(object)                                                                            \
    "NOT EXISTS (SELECT 1 FROM videos WHERE hash = " object ")"                                    \
    " AND NOT EXISTS (SELECT 1 FROM job_objects WHERE object = " object ")"                        \
    " AND NOT EXISTS (SELECT 1 FROM model_files WHERE sha256 = " object " AND stored = 1)"         \
    " AND NOT EXISTS (SELECT 1 FROM events WHERE snapshot = " object ")"                           \
    " AND NOT EXISTS (SELECT 1 FROM events WHERE clip = " object ")"
#define UNUSED(object)                                                                             \
    UNNAMED(object)                                                                                \
    " AND NOT EXISTS (SELECT 1 FROM object_holds WHERE object = " object                           \
    " AND held_until > nx_now())"
static const nx_sql is_unused = NX_SQL("SELECT 1 WHERE " UNUSED("$1"));
static const nx_sql begin_removal =
    NX_SQL("UPDATE objects SET removal = $2, removal_at = nx_now() WHERE name = $1");
static const nx_sql renew_removal =
    NX_SQL("UPDATE objects SET removal_at = nx_now() WHERE name = $1 AND removal = $2");
static const nx_sql end_removal = NX_SQL("DELETE FROM objects WHERE name = $1 AND removal = $2");
static const nx_sql give_removal_up =
    NX_SQL("UPDATE objects SET removal = NULL, removal_at = NULL WHERE name = $1 AND removal = $2");

typedef struct removal {
    const char *const *names;
    size_t count;
    char id[NX_UUID_SIZE];
    bool mine[BATCH]; /* to be taken away; later: was taken away */
    bool given_up[BATCH];
} removal;

/* The lock first and the look second: a statement sees what was entered before it began. */
static nx_status begin_one(nx_db *db, const removal *what, size_t i, bool *mine, nx_error *err)
{
    int64_t rows = 0;
    const nx_call lock = NX_CALL(&lock_object, nx_db_text(what->names[i]));
    const nx_call look = NX_CALL(&is_unused, nx_db_text(what->names[i]));
    const nx_call mark = NX_CALL(&begin_removal, nx_db_text(what->names[i]), nx_db_text(what->id));
    *mine = false;
    nx_status status = nx_db_run(db, &lock, &rows, err);
    if (status != NX_OK || rows == 0) {
        return status;
    }
    status = nx_db_run(db, &look, &rows, err);
    if (status != NX_OK || rows == 0) {
        return status;
    }
    *mine = true;
    return nx_db_run(db, &mark, NULL, err);
}

static nx_status begin(nx_db *db, void *user, nx_error *err)
{
    removal *what = user;
    nx_status status = NX_OK;
    for (size_t i = 0; i < what->count && status == NX_OK; i++) {
        status = begin_one(db, what, i, &what->mine[i], err);
    }
    return status;
}

static nx_status end(nx_db *db, void *user, nx_error *err)
{
    const removal *what = user;
    nx_status status = NX_OK;
    for (size_t i = 0; i < what->count && status == NX_OK; i++) {
        const nx_call call = NX_CALL(what->given_up[i] ? &give_removal_up : &end_removal,
                                     nx_db_text(what->names[i]), nx_db_text(what->id));
        if (what->mine[i]) {
            status = nx_db_run(db, &call, NULL, err);
        }
    }
    return status;
}

/* Those before it may have taken longer than REMOVAL_MS, as with an S3 that answers slowly: whoever
 * uses the object has it by now, and it stays. */
static nx_status remove_one(nx_store *store, nx_objects *objects, removal *what, size_t i,
                            bool *reachable, nx_error *err)
{
    int64_t rows = 0;
    const nx_call renew = NX_CALL(&renew_removal, nx_db_text(what->names[i]), nx_db_text(what->id));
    nx_status status = nx_store_run(store, NX_TX_SOFT, &renew, &rows, err);
    *reachable = status == NX_OK;
    what->mine[i] = status != NX_OK || rows > 0;
    return status == NX_OK && rows > 0 ? nx_objects_remove(objects, what->names[i], err) : status;
}

static nx_status collect_some(nx_store *store, nx_objects *objects, removal *what, size_t *removed,
                              nx_error *err)
{
    nx_error first = {0};
    nx_status failed = NX_OK;
    bool reachable = true; /* the database, without which nothing goes */
    nx_status status = nx_uuid_make(what->id, err);
    if (status == NX_OK) {
        status = nx_store_transact(store, NX_TX_WRITE, begin, what, err);
    }
    if (status != NX_OK) {
        return status;
    }
    for (size_t i = 0; i < what->count; i++) {
        nx_error why = {0};
        nx_status gone = what->mine[i] && reachable
                             ? remove_one(store, objects, what, i, &reachable, &why)
                             : NX_OK;
        what->given_up[i] = gone != NX_OK || !reachable;
        *removed += what->mine[i] && !what->given_up[i];
        if (gone != NX_OK && failed == NX_OK) {
            failed = gone;
            first = why;
        }
    }
    status = nx_store_transact(store, NX_TX_SOFT, end, what, err);
    if (failed != NX_OK && err != NULL) {
        *err = first;
    }
    return failed != NX_OK ? failed : status;
}

nx_status nx_store_objects_collect(nx_store *store, nx_objects *objects, const char *const *names,
                                   size_t count, size_t *removed, nx_error *err)
{
    size_t done = 0;
    nx_status status = NX_OK;
    for (size_t from = 0; from < count && status == NX_OK; from += BATCH) {
        removal what = {.names = names + from,
                        .count = count - from < BATCH ? count - from : BATCH};
        status = collect_some(store, objects, &what, &done, err);
    }
    if (removed != NULL) {
        *removed = done;
    }
    return status;
}

/* --- finding --- */

nx_status nx_object_each_named(nx_db *db, nx_row_fn each, void *user, nx_error *err)
{
    return nx_db_each(
        db, "SELECT name FROM objects WHERE NOT (" UNNAMED("objects.name") ") ORDER BY name", each,
        user, err);
}

static const nx_sql unused_objects =
    NX_SQL("SELECT name FROM objects WHERE name > $1 AND " NOBODY
           " AND " UNUSED("objects.name") " ORDER BY name LIMIT $2");
/* The lock keeps the job from being tried again meanwhile. */
static const nx_sql lock_ended_job = {
    .sqlite = "SELECT 1 FROM jobs WHERE id = $1 AND finished_at IS NOT NULL",
    .postgres = "SELECT 1 FROM jobs WHERE id = $1 AND finished_at IS NOT NULL FOR UPDATE",
};
static const nx_sql parts_of_job =
    NX_SQL("SELECT object FROM job_objects WHERE job_id = $1 AND part = 1 LIMIT $2");
static const nx_sql forget_holds = NX_SQL("DELETE FROM object_holds WHERE held_until <= nx_now()");
static const nx_sql forget_old_parts =
    NX_SQL("DELETE FROM job_objects WHERE part = 1 AND EXISTS (SELECT 1 FROM jobs"
           " WHERE jobs.id = job_objects.job_id AND jobs.finished_at <= nx_now() - $1)");

/* After the clock was set back. */
static const nx_sql settle_removals =
    NX_SQL("UPDATE objects SET removal_at = nx_now()"
           " WHERE removal IS NOT NULL AND " NX_AHEAD("removal_at"));

static void read_name(const nx_row *row, void *item, nx_arena *arena)
{
    *(const char **)item = nx_row_copy(row, 0, arena);
}

nx_status nx_store_objects_unused(nx_store *store, const char *after, size_t limit, nx_arena *arena,
                                  const char **names, size_t *count, nx_error *err)
{
    nx_rows rows = {
        .read = read_name, .items = names, .size = sizeof *names, .limit = limit, .arena = arena};
    const nx_call call = NX_CALL(&unused_objects, nx_db_text(after), nx_db_int((int64_t)limit));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

static nx_status drop_parts(nx_db *db, void *user, nx_error *err)
{
    int64_t rows = 0;
    const nx_call lock = NX_CALL(&lock_ended_job, nx_db_text(user));
    nx_status status = nx_db_run(db, &lock, &rows, err);
    return status == NX_OK && rows > 0 ? nx_object_forget_parts(db, user, err) : status;
}

nx_status nx_store_job_drop_parts(nx_store *store, nx_objects *objects, const char *job,
                                  nx_error *err)
{
    char id[NX_UUID_SIZE];
    const char *names[NX_JOB_MOST_PARTS];
    nx_arena arena = nx_arena_make(0);
    nx_rows rows = {.read = read_name,
                    .items = names,
                    .size = sizeof names[0],
                    .limit = NX_JOB_MOST_PARTS,
                    .arena = &arena};
    const nx_call call =
        NX_CALL(&parts_of_job, nx_db_text(job), nx_db_int((int64_t)NX_JOB_MOST_PARTS));
    snprintf(id, sizeof id, "%s", job);
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    if (status == NX_OK && rows.count > 0) {
        status = nx_store_transact(store, NX_TX_SOFT, drop_parts, id, err);
    }
    if (status == NX_OK) {
        status = nx_store_objects_collect(store, objects, names, rows.count, NULL, err);
    }
    nx_arena_free(&arena);
    return status;
}

nx_status nx_store_objects_tidy(nx_store *store, int64_t safe_ms, nx_error *err)
{
    const nx_call holds = {.sql = &forget_holds};
    const nx_call parts = NX_CALL(&forget_old_parts, nx_db_int(safe_ms));
    const nx_call removals = {.sql = &settle_removals};
    nx_status status = nx_store_run(store, NX_TX_SOFT, &holds, NULL, err);
    if (status == NX_OK) {
        status = nx_store_run(store, NX_TX_SOFT, &removals, NULL, err);
    }
    return status == NX_OK ? nx_store_run(store, NX_TX_SOFT, &parts, NULL, err) : status;
}
