#include "store/job_rows.h"

static const char *const names[] = {
    [NX_JOB_QUEUED] = "queued", [NX_JOB_RUNNING] = "running",     [NX_JOB_SUCCEEDED] = "succeeded",
    [NX_JOB_FAILED] = "failed", [NX_JOB_CANCELLED] = "cancelled", [NX_JOB_DEAD] = "dead",
};

const char *nx_job_state_name(nx_job_state state)
{
    return names[state];
}

bool nx_job_state_parse(const char *text, nx_job_state *out)
{
    for (size_t i = 0; i < NX_JOB_STATE_COUNT; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (nx_job_state)i;
            return true;
        }
    }
    return false;
}

nx_job_state nx_job_read_state(const nx_row *row, int column)
{
    nx_job_state state = NX_JOB_DEAD; /* the table's own check allows no other names */
    (void)nx_job_state_parse(nx_row_text(row, column), &state);
    return state;
}

nx_status nx_job_keep_state(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    *(nx_job_state *)user = nx_job_read_state(row, 0);
    return NX_OK;
}

void nx_job_read(const nx_row *row, void *job, nx_arena *arena)
{
    *(nx_job *)job = (nx_job){
        .id = nx_row_copy(row, 0, arena),
        .owner = nx_row_copy(row, 1, arena),
        .kind = nx_row_copy(row, 2, arena),
        .video_id = nx_row_copy(row, 3, arena),
        .state = nx_job_read_state(row, 4),
        .priority = nx_row_int(row, 5),
        .options = nx_row_copy(row, 6, arena),
        .webhook_url = nx_row_copy(row, 7, arena),
        .attempts = nx_row_int(row, 8),
        .strikes = nx_row_int(row, 9),
        .max_attempts = nx_row_int(row, 10),
        .not_before = nx_row_int(row, 11),
        .lease_owner = nx_row_copy(row, 12, arena),
        .lease_until = nx_row_int(row, 13),
        .fence = nx_row_int(row, 14),
        .heartbeat_at = nx_row_int(row, 15),
        .position = nx_row_int(row, 16),
        .cancel_requested = nx_row_int(row, 17) != 0,
        .progress = nx_row_copy(row, 18, arena),
        .result = nx_row_copy(row, 19, arena),
        .error = nx_row_copy(row, 20, arena),
        .idempotency_key = nx_row_copy(row, 21, arena),
        .request_hash = nx_row_copy(row, 22, arena),
        .event_seq = nx_row_int(row, 23),
        .created_at = nx_row_int(row, 24),
        .updated_at = nx_row_int(row, 25),
        .started_at = nx_row_int(row, 26),
        .finished_at = nx_row_int(row, 27),
        .turn = nx_row_int(row, 28),
        .traceparent = nx_row_copy(row, 29, arena),
    };
}

nx_status nx_job_find(nx_db *db, const char *id, nx_arena *arena, nx_job *out, nx_error *err)
{
    static const nx_sql sql = NX_SQL("SELECT " NX_JOB_COLUMNS " FROM jobs WHERE id = $1");
    nx_rows rows = nx_job_rows(out, 1, arena);
    nx_call call = NX_CALL(&sql, nx_db_text(id));
    call.each = nx_rows_collect;
    call.user = &rows;
    nx_status status = nx_db_run(db, &call, NULL, err);
    if (status == NX_OK && rows.count == 0) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "there is no job %.60s", id);
    }
    return status;
}

nx_status nx_job_refused(nx_db *db, const char *id, const char *wanted, nx_error *err)
{
    static const nx_sql sql = NX_SQL("SELECT state FROM jobs WHERE id = $1");
    nx_job_state state = NX_JOB_DEAD;
    int64_t rows = 0;
    nx_call call = NX_CALL(&sql, nx_db_text(id));
    call.each = nx_job_keep_state;
    call.user = &state;
    nx_status status = nx_db_run(db, &call, &rows, err);
    if (status != NX_OK) {
        return status;
    }
    return rows == 0 ? nx_error_set(err, NX_ERR_NOT_FOUND, "there is no job %.60s", id)
                     : nx_error_set(err, NX_ERR_CONFLICT, "job %.60s is %s: %s", id,
                                    nx_job_state_name(state), wanted);
}
