/* Inside src/store: jobs as rows. */
#ifndef NX_STORE_JOB_ROWS_H
#define NX_STORE_JOB_ROWS_H

#include "store/jobs.h"
#include "store/rows.h"

/* What nx_job_read reads, in its order; all of the table jobs, with its name before them where a
 * statement knows more than one. */
#define NX_JOB_COLUMNS                                                                             \
    "jobs.id, jobs.owner, jobs.kind, jobs.video_id, jobs.state, jobs.priority, jobs.options,"      \
    " jobs.webhook_url, jobs.attempts, jobs.strikes, jobs.max_attempts, jobs.not_before,"          \
    " jobs.lease_owner, jobs.lease_until, jobs.fence, jobs.heartbeat_at, jobs.position,"           \
    " jobs.cancel_requested, jobs.progress, jobs.result, jobs.error, jobs.idempotency_key,"        \
    " jobs.request_hash, jobs.event_seq, jobs.created_at, jobs.updated_at, jobs.started_at,"       \
    " jobs.finished_at, jobs.turn, jobs.traceparent"

void nx_job_read(const nx_row *row, void *job, nx_arena *arena);

static inline nx_rows nx_job_rows(nx_job *out, size_t limit, nx_arena *arena)
{
    return (nx_rows){
        .read = nx_job_read, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
}

/* The state in a column. */
nx_job_state nx_job_read_state(const nx_row *row, int column);
/* nx_row_fn: that of the first column, into an nx_job_state. */
nx_status nx_job_keep_state(const nx_row *row, void *user, nx_error *err);

/* A job inside a transaction. Errors: NX_ERR_NOT_FOUND. */
nx_status nx_job_find(nx_db *db, const char *id, nx_arena *arena, nx_job *out, nx_error *err);

/* Why a change has met no job: NX_ERR_NOT_FOUND, or NX_ERR_CONFLICT with its state. */
nx_status nx_job_refused(nx_db *db, const char *id, const char *wanted, nx_error *err);

#endif
