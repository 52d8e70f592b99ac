/* Jobs as workers see them: leases and their fences. Each change names the fence of the lease that
 * it is made under, so that it meets the job that the worker believes in, or nothing. */
#include "store/job_rows.h"
#include "store/object_rows.h"

#include <stdlib.h>
#include <sys/random.h>

#define MAX_RECLAIM "256"

/* --- taking --- */

#define TAKE                                                                                       \
    "UPDATE jobs SET state = 'running', lease_owner = $1, lease_until = nx_now() + $2,"            \
    " heartbeat_at = nx_now(), fence = $4, attempts = attempts + 1, strikes = strikes + 1,"        \
    " started_at = coalesce(started_at, nx_now()), error = NULL, updated_at = nx_now(),"           \
    " event_seq = event_seq + 1"
/* What was put into the queue before the clock was set back has waited. */
#define READY                                                                                      \
    "SELECT id FROM jobs WHERE state = 'queued'"                                                   \
    " AND (not_before <= nx_now() OR " NX_AHEAD("updated_at") ") ORDER BY "
/* SKIP LOCKED: what somebody else is just taking is passed over, not waited for. */
#define TAKE_BY(order)                                                                             \
    {                                                                                              \
        .sqlite = TAKE " WHERE id IN (" READY order " LIMIT $3) RETURNING " NX_JOB_COLUMNS,        \
        .postgres =                                                                                \
            "WITH ready AS MATERIALIZED (" READY order " LIMIT $3 FOR UPDATE SKIP LOCKED) " TAKE   \
            " FROM ready WHERE jobs.id = ready.id RETURNING " NX_JOB_COLUMNS,                      \
    }

static const nx_sql take_fair = TAKE_BY("priority DESC, turn, id");
static const nx_sql take_oldest = TAKE_BY("id");

static int by_urgency(const void *a, const void *b)
{
    const nx_job *one = a;
    const nx_job *two = b;
    if (one->priority != two->priority) {
        return one->priority > two->priority ? -1 : 1;
    }
    if (one->turn != two->turn) {
        return one->turn < two->turn ? -1 : 1;
    }
    return strcmp(one->id, two->id);
}

/*
 * By chance and not by counting: a lease is not waited for until it is on the disk (NX_TX_SOFT),
 * and when PostgreSQL crashes and forgets one, the next one of that job must not look like it to a
 * worker that lives on.
 */
static nx_status make_fence(int64_t *out, nx_error *err)
{
    uint64_t noise = 0;
    if (getrandom(&noise, sizeof noise, 0) != (ssize_t)sizeof noise) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "the system has no random bytes for a lease");
    }
    *out = (int64_t)(noise >> 2); /* room for the one that is added when it ends */
    return NX_OK;
}

nx_status nx_store_jobs_take(nx_store *store, const char *worker, size_t limit, int64_t lease_ms,
                             nx_arena *arena, nx_job *out, size_t *count, nx_error *err)
{
    int64_t fence = 0;
    bool by_age = nx_store_tick(store) % 8 == 0;
    *count = 0;
    nx_status status = make_fence(&fence, err);
    if (status != NX_OK) {
        return status;
    }
    nx_rows rows = nx_job_rows(out, limit, arena);
    const nx_call call = NX_CALL(by_age ? &take_oldest : &take_fair, nx_db_text(worker),
                                 nx_db_int(lease_ms), nx_db_int((int64_t)limit), nx_db_int(fence));
    status = nx_rows_fetch(store, NX_TX_SOFT, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    qsort(out, *count, sizeof *out, by_urgency); /* rows come in no order */
    return status;
}

/* --- holding --- */

/* Progress that is told is an event. */
#define HOLD                                                                                       \
    "UPDATE jobs SET lease_until = nx_now() + $3, heartbeat_at = nx_now(), updated_at = nx_now()," \
    " progress = coalesce($4, progress),"                                                          \
    " event_seq = event_seq + CASE WHEN $4 IS NULL THEN 0 ELSE 1 END"
#define MINE " WHERE id = $1 AND fence = $2 AND state = 'running'"

static const nx_sql heartbeat = NX_SQL(HOLD MINE " RETURNING cancel_requested");
static const nx_sql get_on =
    NX_SQL(HOLD ", strikes = CASE WHEN $5 > position THEN 0 ELSE strikes END, position = $5" MINE
                " RETURNING cancel_requested");
static const nx_sql save_checkpoint =
    NX_SQL("INSERT INTO job_checkpoints (job_id, position, result_offset, state, created_at)"
           " VALUES ($1, $2, $3, $4, nx_now()) ON CONFLICT (job_id) DO UPDATE SET"
           " position = excluded.position, result_offset = excluded.result_offset,"
           " state = excluded.state, created_at = excluded.created_at");
static const nx_sql load_checkpoint =
    NX_SQL("SELECT position, result_offset, state FROM job_checkpoints WHERE job_id = $1");

static const char lost[] = "this lease is not the one that counts";

static nx_status explain(nx_db *db, void *user, nx_error *err)
{
    const nx_job_lease *lease = user;
    return nx_job_refused(db, lease->id, lost, err);
}

nx_status nx_store_job_heartbeat(nx_store *store, const nx_job_lease *lease, int64_t lease_ms,
                                 const char *progress, bool *cancel, nx_error *err)
{
    int64_t wanted = 0;
    int64_t rows = 0;
    nx_job_lease copy = *lease;
    nx_call call = NX_CALL(&heartbeat, nx_db_text(lease->id), nx_db_int(lease->fence),
                           nx_db_int(lease_ms), nx_db_text(progress));
    call.each = nx_rows_number;
    call.user = &wanted;
    nx_status status = nx_store_run(store, NX_TX_SOFT, &call, &rows, err);
    if (status == NX_OK && rows == 0) {
        status = nx_store_transact(store, NX_TX_READ, explain, &copy, err);
    }
    *cancel = wanted != 0;
    return status;
}

typedef struct saving {
    const nx_job_lease *lease;
    const nx_job_checkpoint *checkpoint;
    int64_t lease_ms;
    const char *progress;
    int64_t cancel;
} saving;

static nx_status save(nx_db *db, void *user, nx_error *err)
{
    saving *what = user;
    int64_t rows = 0;
    nx_call hold = NX_CALL(&get_on, nx_db_text(what->lease->id), nx_db_int(what->lease->fence),
                           nx_db_int(what->lease_ms), nx_db_text(what->progress),
                           nx_db_int(what->checkpoint->position));
    hold.each = nx_rows_number;
    hold.user = &what->cancel;
    nx_status status = nx_db_run(db, &hold, &rows, err);
    if (status == NX_OK && rows == 0) {
        status = nx_job_refused(db, what->lease->id, lost, err);
    }
    if (status != NX_OK) {
        return status;
    }
    const nx_call keep =
        NX_CALL(&save_checkpoint, nx_db_text(what->lease->id),
                nx_db_int(what->checkpoint->position), nx_db_int(what->checkpoint->result_offset),
                nx_db_blob(what->checkpoint->state, what->checkpoint->state_size));
    status = nx_db_run(db, &keep, NULL, err);
    if (status == NX_OK && what->checkpoint->replaces) {
        status = nx_object_forget_parts(db, what->lease->id, err);
    }
    if (status == NX_OK) {
        status = nx_object_use_for_job(db, what->lease->id, what->checkpoint->objects,
                                       what->checkpoint->object_count, true, err);
    }
    return status;
}

nx_status nx_store_job_save(nx_store *store, const nx_job_lease *lease,
                            const nx_job_checkpoint *checkpoint, int64_t lease_ms,
                            const char *progress, bool *cancel, nx_error *err)
{
    saving what = {
        .lease = lease, .checkpoint = checkpoint, .lease_ms = lease_ms, .progress = progress};
    nx_status status = nx_store_transact(store, NX_TX_WRITE, save, &what, err);
    *cancel = what.cancel != 0;
    return status;
}

static void read_checkpoint(const nx_row *row, void *item, nx_arena *arena)
{
    size_t size = 0;
    const void *bytes = nx_row_blob(row, 2, &size);
    void *copy = nx_arena_alloc(arena, size);
    if (copy != NULL && size > 0) {
        memcpy(copy, bytes, size);
    }
    *(nx_job_checkpoint *)item = (nx_job_checkpoint){
        .position = nx_row_int(row, 0),
        .result_offset = nx_row_int(row, 1),
        .state = copy,
        .state_size = size,
    };
}

nx_status nx_store_job_load(nx_store *store, const char *id, nx_arena *arena,
                            nx_job_checkpoint *out, nx_error *err)
{
    nx_rows rows = {
        .read = read_checkpoint, .items = out, .size = sizeof *out, .limit = 1, .arena = arena};
    const nx_call call = NX_CALL(&load_checkpoint, nx_db_text(id));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    if (status == NX_OK && rows.count == 0) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "job %.60s has no checkpoint", id);
    }
    return status;
}

/* --- letting go --- */

#define LET_GO                                                                                     \
    " lease_owner = NULL, lease_until = NULL, updated_at = nx_now(), event_seq = event_seq + 1"

/* The fence stays: who asks again whether it has ended finds the one of its lease. */
static const nx_sql finish_job =
    NX_SQL("UPDATE jobs SET state = $3, result = coalesce($4, result),"
           " progress = coalesce($5, progress), error = $6, finished_at = nx_now()," LET_GO MINE);
static const nx_sql ended_so =
    NX_SQL("SELECT 1 FROM jobs WHERE id = $1 AND fence = $2 AND state = $3");

/* What goes back into the queue goes to its head: it has waited already. $3 is the error. */
#define GIVE_UP "cancel_requested = 1 OR strikes >= max_attempts"
#define GO_BACK                                                                                    \
    "UPDATE jobs SET state = CASE WHEN cancel_requested = 1 THEN 'cancelled'"                      \
    " WHEN strikes >= max_attempts THEN 'dead' ELSE 'queued' END,"                                 \
    " finished_at = CASE WHEN " GIVE_UP " THEN nx_now() END,"                                      \
    " fence = fence + 1, turn = 0, " LET_GO
#define FAIL(least, greatest)                                                                      \
    GO_BACK ", error = $3, not_before = nx_now() + " least "($5, $4 << CAST(" least "(" greatest   \
            "(strikes - 1, 0), 20) AS int)) * (1000 - $6) / 1000" MINE " RETURNING state"

static const nx_sql fail_job = {.sqlite = FAIL("min", "max"),
                                .postgres = FAIL("least", "greatest")};
static const nx_sql release_job =
    NX_SQL("UPDATE jobs SET state = CASE WHEN cancel_requested = 1 THEN 'cancelled' ELSE 'queued'"
           " END, finished_at = CASE WHEN cancel_requested = 1 THEN nx_now() END,"
           " fence = fence + 1, turn = 0, not_before = nx_now(),"
           " strikes = CASE WHEN strikes > 0 THEN strikes - 1 ELSE 0 END," LET_GO MINE);

#define EXPIRED                                                                                    \
    "SELECT id FROM jobs WHERE state = 'running' AND lease_until <= nx_now()"                      \
    " ORDER BY lease_until LIMIT " MAX_RECLAIM
#define RECLAIM                                                                                    \
    GO_BACK ", not_before = nx_now(), error = CASE WHEN cancel_requested = 1 THEN NULL ELSE"       \
            " 'its worker was lost (' || coalesce(lease_owner, '?') || ')' END"
static const nx_sql reclaim_jobs = {
    .sqlite = RECLAIM " WHERE id IN (" EXPIRED ") RETURNING state",
    .postgres = "WITH expired AS MATERIALIZED (" EXPIRED " FOR UPDATE SKIP LOCKED) " RECLAIM
                " FROM expired WHERE jobs.id = expired.id RETURNING state",
};

/* After the clock was set back a lease has as long to go as when it was renewed last. */
static const nx_sql settle_leases = NX_SQL(
    "UPDATE jobs SET lease_until = nx_now() + (lease_until - heartbeat_at), heartbeat_at = nx_now()"
    " WHERE state = 'running' AND " NX_AHEAD("heartbeat_at"));

typedef struct finishing {
    const nx_job_outcome *outcomes;
    size_t count;
    nx_status *statuses;
} finishing;

static nx_status finish_one(nx_db *db, const nx_job_outcome *outcome, nx_status *result,
                            nx_error *err)
{
    int64_t rows = 0;
    const char *state = nx_job_state_name(outcome->state);
    const nx_call end =
        NX_CALL(&finish_job, nx_db_text(outcome->lease.id), nx_db_int(outcome->lease.fence),
                nx_db_text(state), nx_db_text(outcome->result), nx_db_text(outcome->progress),
                nx_db_text(outcome->error));
    nx_status status = nx_db_run(db, &end, &rows, err);
    if (status == NX_OK && rows > 0) {
        status = nx_object_use_for_job(db, outcome->lease.id, outcome->objects,
                                       outcome->object_count, false, err);
    } else if (status == NX_OK) {
        const nx_call look = NX_CALL(&ended_so, nx_db_text(outcome->lease.id),
                                     nx_db_int(outcome->lease.fence), nx_db_text(state));
        status = nx_db_run(db, &look, &rows, err);
    }
    *result = rows > 0 ? NX_OK : NX_ERR_CONFLICT;
    return status;
}

static nx_status finish(nx_db *db, void *user, nx_error *err)
{
    const finishing *what = user;
    nx_status status = NX_OK;
    for (size_t i = 0; i < what->count && status == NX_OK; i++) {
        status = finish_one(db, &what->outcomes[i], &what->statuses[i], err);
    }
    return status;
}

nx_status nx_store_jobs_finish(nx_store *store, const nx_job_outcome *outcomes, size_t count,
                               nx_status *statuses, nx_error *err)
{
    for (size_t i = 0; i < count; i++) {
        nx_job_state state = outcomes[i].state;
        statuses[i] = NX_ERR_UNAVAILABLE; /* until it has ended */
        if (state != NX_JOB_SUCCEEDED && state != NX_JOB_FAILED && state != NX_JOB_CANCELLED) {
            return nx_error_set(err, NX_ERR_INVALID, "a job can't end as %s",
                                nx_job_state_name(state));
        }
    }
    finishing what = {.outcomes = outcomes, .count = count, .statuses = statuses};
    return nx_store_transact(store, NX_TX_WRITE, finish, &what, err);
}

/* Runs a change under a lease; who has it no more learns what the job is now. */
static nx_status under_lease(nx_store *store, nx_tx how, const nx_call *call,
                             const nx_job_lease *lease, nx_error *err)
{
    int64_t rows = 0;
    nx_job_lease copy = *lease;
    nx_status status = nx_store_run(store, how, call, &rows, err);
    return status != NX_OK || rows > 0 ? status
                                       : nx_store_transact(store, NX_TX_READ, explain, &copy, err);
}

nx_status nx_store_job_fail(nx_store *store, const nx_job_lease *lease, const char *error,
                            const nx_job_retry_policy *policy, nx_job_state *became, nx_error *err)
{
    static const nx_job_retry_policy usual = {.first_ms = 1000, .most_ms = 300000};
    policy = policy != NULL ? policy : &usual;
    uint32_t noise = 0;
    (void)!getrandom(&noise, sizeof noise, 0); /* without it the wait is the longest */
    nx_call call =
        NX_CALL(&fail_job, nx_db_text(lease->id), nx_db_int(lease->fence), nx_db_text(error),
                nx_db_int(policy->first_ms), nx_db_int(policy->most_ms), nx_db_int(noise % 501));
    call.each = nx_job_keep_state;
    call.user = became;
    return under_lease(store, NX_TX_WRITE, &call, lease, err);
}

nx_status nx_store_job_release(nx_store *store, const nx_job_lease *lease, nx_error *err)
{
    const nx_call call = NX_CALL(&release_job, nx_db_text(lease->id), nx_db_int(lease->fence));
    return under_lease(store, NX_TX_SOFT, &call, lease, err);
}

static nx_status count_reclaimed(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    nx_job_reclaim *out = user;
    nx_job_state state = nx_job_read_state(row, 0);
    out->requeued += state == NX_JOB_QUEUED;
    out->dead += state == NX_JOB_DEAD;
    out->cancelled += state == NX_JOB_CANCELLED;
    return NX_OK;
}

typedef struct reclaiming {
    nx_store *store;
    nx_job_reclaim *out;
} reclaiming;

static nx_status reclaim(nx_db *db, void *user, nx_error *err)
{
    const reclaiming *what = user;
    const nx_call settle = {.sql = &settle_leases};
    const nx_call take = {.sql = &reclaim_jobs, .each = count_reclaimed, .user = what->out};
    bool jumped = false;
    *what->out = (nx_job_reclaim){0};
    nx_status status = nx_store_clock_jumped(what->store, db, NX_LEASES_JOBS, &jumped, err);
    if (status == NX_OK) {
        status = nx_db_run(db, &settle, NULL, err);
    }
    return status == NX_OK && !jumped ? nx_db_run(db, &take, NULL, err) : status;
}

nx_status nx_store_jobs_reclaim(nx_store *store, nx_job_reclaim *out, nx_error *err)
{
    reclaiming what = {.store = store, .out = out};
    nx_status status = nx_store_transact(store, NX_TX_WRITE, reclaim, &what, err);
    if (status != NX_OK) {
        *out = (nx_job_reclaim){0};
    }
    return status;
}
