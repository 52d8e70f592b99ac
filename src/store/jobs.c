/* Jobs as those see them who want something done. The worker's side is job_queue.c. */
#include "store/jobs.h"

#include "base/uuid.h"
#include "store/job_rows.h"
#include "store/models_rows.h"
#include "store/object_rows.h"

/*
 * Owners take turns as in start-time fair queueing (Goyal, Vin, Cheng, 1996): a job's turn is one
 * after its owner's last in the queue, and not before the turn that the queue is at, which is the
 * least of those that wait for the first time and may be taken. Two who enqueue at once may share a
 * turn; it is fairness, not identity.
 */
#define OWN_TURN                                                                                   \
    "coalesce((SELECT turn + 1 FROM jobs WHERE state = 'queued' AND owner = $2 AND priority = $5"  \
    " ORDER BY turn DESC LIMIT 1), 0)"
#define QUEUE_TURN                                                                                 \
    "coalesce((SELECT turn FROM jobs WHERE state = 'queued' AND priority = $5 AND attempts = 0"    \
    " AND not_before <= nx_now() ORDER BY turn LIMIT 1), 0)"
#define ENQUEUE(later)                                                                             \
    "INSERT INTO jobs (id, owner, kind, video_id, priority, turn, options, webhook_url,"           \
    " max_attempts, not_before, idempotency_key, request_hash, traceparent, created_at,"           \
    " updated_at)"                                                                                 \
    " VALUES ($1, $2, $3, $4, $5, " later "(" OWN_TURN ", " QUEUE_TURN "), $6, $7, $8,"            \
    " nx_now() + $9, $10, $11, $12, nx_now(), nx_now())"                                           \
    " ON CONFLICT (owner, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING"           \
    " RETURNING " NX_JOB_COLUMNS

static const nx_sql enqueue_job = {.sqlite = ENQUEUE("max"), .postgres = ENQUEUE("greatest")};
static const nx_sql job_of_key =
    NX_SQL("SELECT " NX_JOB_COLUMNS " FROM jobs WHERE owner = $1 AND idempotency_key = $2");
static const nx_sql get_job = NX_SQL("SELECT " NX_JOB_COLUMNS " FROM jobs WHERE id = $1");
/* One statement for each kind of filter, so that each finds its index. */
#define NEWEST_FIRST " ORDER BY id DESC LIMIT $4"
#define LIST(filter) NX_SQL("SELECT " NX_JOB_COLUMNS " FROM jobs WHERE id < $3" filter NEWEST_FIRST)
static const nx_sql list_jobs[2][2] = {
    {LIST(""), LIST(" AND state = $2")},
    {LIST(" AND owner = $1"), LIST(" AND owner = $1 AND state = $2")},
};
static const char after_all_ids[] = "~"; /* in ASCII, behind every digit and letter */
static const nx_sql cancel_job =
    NX_SQL("UPDATE jobs SET cancel_requested = 1, event_seq = event_seq + 1, updated_at = nx_now(),"
           " finished_at = CASE WHEN state = 'queued' THEN nx_now() END,"
           " state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END"
           " WHERE id = $1 AND state IN ('queued', 'running') AND cancel_requested = 0"
           " RETURNING state");
static const nx_sql retry_job =
    NX_SQL("UPDATE jobs SET state = 'queued', strikes = 0, cancel_requested = 0, error = NULL,"
           " result = NULL, finished_at = NULL, not_before = nx_now(), turn = 0,"
           " fence = fence + 1, event_seq = event_seq + 1, updated_at = nx_now()"
           " WHERE id = $1 AND state IN ('failed', 'dead', 'cancelled')");
static const nx_sql list_events =
    NX_SQL("SELECT seq, kind, state, progress, error, created_at FROM job_events"
           " WHERE job_id = $1 AND seq > $2 ORDER BY seq LIMIT $3");
static const nx_sql count_jobs = NX_SQL("SELECT state, count(*) FROM jobs GROUP BY state");
/* whoever wants to know of its end knows, or can't be told */
#define TOLD                                                                                       \
    " AND NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.job_id = jobs.id AND w.state = 'pending')"
static const nx_sql purge_jobs = {
    .sqlite =
        "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE finished_at < nx_now() - $1" TOLD
        " ORDER BY finished_at LIMIT $2)",
    .postgres =
        "WITH old AS MATERIALIZED (SELECT id FROM jobs WHERE finished_at < nx_now() - $1" TOLD
        " ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED)"
        " DELETE FROM jobs USING old WHERE jobs.id = old.id",
};

/* --- enqueueing --- */

/* The job that a key already stands for, if it stands for the same request. */
static nx_status find_by_key(nx_store *store, const nx_job_request *request, nx_arena *arena,
                             nx_job *out, bool *found, nx_error *err)
{
    nx_rows rows = nx_job_rows(out, 1, arena);
    const nx_call call =
        NX_CALL(&job_of_key, nx_db_text(request->owner), nx_db_text(request->idempotency_key));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *found = status == NX_OK && rows.count > 0;
    if (*found && strcmp(out->request_hash, request->request_hash) != 0) {
        return nx_error_set(err, NX_ERR_CONFLICT,
                            "the idempotency key '%.60s' was used for another request (job %s)",
                            request->idempotency_key, out->id);
    }
    return status;
}

typedef struct entering {
    const nx_job_request *request;
    const char *id;
    nx_rows rows;
} entering;

static nx_status enter(nx_db *db, void *user, nx_error *err)
{
    entering *what = user;
    const nx_job_request *request = what->request;
    nx_call call = NX_CALL(
        &enqueue_job, nx_db_text(what->id), nx_db_text(request->owner), nx_db_text(request->kind),
        nx_db_text(request->video_id), nx_db_int(request->priority), nx_db_text(request->options),
        nx_db_text(request->webhook_url), nx_db_int(request->max_attempts),
        nx_db_int(request->delay_ms), nx_db_text(request->idempotency_key),
        nx_db_text(request->idempotency_key != NULL ? request->request_hash : NULL),
        nx_db_text(request->traceparent));
    call.each = nx_rows_collect;
    call.user = &what->rows;
    what->rows.count = 0;
    nx_status status = nx_db_run(db, &call, NULL, err);
    return status == NX_OK && what->rows.count > 0 && request->user != NULL
               ? nx_model_subject_enter(db, what->id, request->user, request->key, err)
               : status;
}

nx_status nx_store_job_enqueue(nx_store *store, const nx_job_request *request, nx_arena *arena,
                               nx_job *out, bool *made, nx_error *err)
{
    char id[NX_UUID_SIZE];
    *made = false;
    if (request->max_attempts < 1 ||
        (request->idempotency_key != NULL && request->request_hash == NULL)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "a job needs an attempt, and an idempotency key its request");
    }
    nx_status status = nx_uuid_make(id, err);
    /* who had the key may be purged between a refused insertion and the look for it */
    for (int tries = 0; status == NX_OK && tries < 3; tries++) {
        entering what = {.request = request, .id = id, .rows = nx_job_rows(out, 1, arena)};
        status = nx_store_transact(store, NX_TX_WRITE, enter, &what, err);
        *made = status == NX_OK && what.rows.count > 0;
        if (status != NX_OK || *made) {
            return status;
        }
        bool found = false;
        status = find_by_key(store, request, arena, out, &found, err);
        if (found || status != NX_OK) {
            return status;
        }
    }
    return status != NX_OK ? status
                           : nx_error_set(err, NX_ERR_CONFLICT,
                                          "the idempotency key comes and goes; try again");
}

/* --- looking --- */

nx_status nx_store_job_get(nx_store *store, const char *id, nx_arena *arena, nx_job *out,
                           nx_error *err)
{
    nx_rows rows = nx_job_rows(out, 1, arena);
    const nx_call call = NX_CALL(&get_job, nx_db_text(id));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    if (status == NX_OK && rows.count == 0) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "there is no job %.60s", id);
    }
    return status;
}

nx_status nx_store_jobs_list(nx_store *store, const nx_job_filter *filter, nx_arena *arena,
                             nx_job *out, size_t *count, nx_error *err)
{
    nx_rows rows = nx_job_rows(out, filter->limit, arena);
    const char *state = filter->state != NULL ? nx_job_state_name(*filter->state) : NULL;
    const char *before = filter->before != NULL ? filter->before : after_all_ids;
    const nx_call call =
        NX_CALL(&list_jobs[filter->owner != NULL][state != NULL], nx_db_text(filter->owner),
                nx_db_text(state), nx_db_text(before), nx_db_int((int64_t)filter->limit));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

static void read_event(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_job_event *)item = (nx_job_event){
        .seq = nx_row_int(row, 0),
        .state_event = strcmp(nx_row_text(row, 1), "state") == 0,
        .state = nx_job_read_state(row, 2),
        .progress = nx_row_copy(row, 3, arena),
        .error = nx_row_copy(row, 4, arena),
        .created_at = nx_row_int(row, 5),
    };
}

nx_status nx_store_job_events(nx_store *store, const char *id, int64_t after, size_t limit,
                              nx_arena *arena, nx_job_event *out, size_t *count, nx_error *err)
{
    nx_rows rows = {
        .read = read_event, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    const nx_call call =
        NX_CALL(&list_events, nx_db_text(id), nx_db_int(after), nx_db_int((int64_t)limit));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

static nx_status keep_count(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    ((int64_t *)user)[nx_job_read_state(row, 0)] = nx_row_int(row, 1);
    return NX_OK;
}

nx_status nx_store_jobs_count(nx_store *store, int64_t counts[NX_JOB_STATE_COUNT], nx_error *err)
{
    memset(counts, 0, NX_JOB_STATE_COUNT * sizeof counts[0]);
    const nx_call call = {.sql = &count_jobs, .each = keep_count, .user = counts};
    return nx_store_run(store, NX_TX_READ, &call, NULL, err);
}

/* --- changing one's mind --- */

typedef struct change {
    const char *id;
    nx_job_state became;
} change;

static nx_status cancel(nx_db *db, void *user, nx_error *err)
{
    change *what = user;
    int64_t rows = 0;
    nx_call call = NX_CALL(&cancel_job, nx_db_text(what->id));
    call.each = nx_job_keep_state;
    call.user = &what->became;
    nx_status status = nx_db_run(db, &call, &rows, err);
    if (status != NX_OK || rows > 0) {
        return status;
    }
    nx_arena arena = nx_arena_make(0);
    nx_job job = {0};
    status = nx_job_find(db, what->id, &arena, &job, err);
    what->became = job.state;
    if (status == NX_OK && job.state != NX_JOB_CANCELLED && job.state != NX_JOB_RUNNING) {
        status = nx_error_set(err, NX_ERR_CONFLICT, "job %.60s is %s: it can't be cancelled",
                              what->id, nx_job_state_name(job.state));
    }
    nx_arena_free(&arena);
    return status;
}

nx_status nx_store_job_cancel(nx_store *store, const char *id, nx_job_state *became, nx_error *err)
{
    change what = {.id = id, .became = NX_JOB_RUNNING};
    nx_status status = nx_store_transact(store, NX_TX_WRITE, cancel, &what, err);
    *became = what.became;
    return status;
}

static nx_status retry(nx_db *db, void *user, nx_error *err)
{
    const change *what = user;
    int64_t rows = 0;
    const nx_call call = NX_CALL(&retry_job, nx_db_text(what->id));
    nx_status status = nx_db_run(db, &call, &rows, err);
    if (status == NX_OK && rows == 0) {
        return nx_job_refused(db, what->id, "only what has failed or was cancelled is retried",
                              err);
    }
    return status == NX_OK ? nx_object_forget_results(db, what->id, err) : status;
}

nx_status nx_store_job_retry(nx_store *store, const char *id, nx_error *err)
{
    change what = {.id = id};
    return nx_store_transact(store, NX_TX_WRITE, retry, &what, err);
}

nx_status nx_store_jobs_purge(nx_store *store, int64_t age_ms, size_t limit, int64_t *removed,
                              nx_error *err)
{
    const nx_call call = NX_CALL(&purge_jobs, nx_db_int(age_ms), nx_db_int((int64_t)limit));
    return nx_store_run(store, NX_TX_SOFT, &call, removed, err);
}
