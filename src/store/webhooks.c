#include "store/webhooks.h"

#include "store/rows.h"

#include <sys/random.h>

#define COLUMNS                                                                                    \
    "webhooks.id, webhooks.job_id, webhooks.url, webhooks.state, webhooks.attempts,"               \
    " webhooks.fence, webhooks.next_at, webhooks.created_at, webhooks.finished_at"

#define DUE                                                                                        \
    "SELECT id FROM webhooks WHERE state = 'pending' AND next_at <= nx_now()"                      \
    " ORDER BY next_at LIMIT $1"
#define TAKE                                                                                       \
    "UPDATE webhooks SET next_at = nx_now() + $2, fence = fence + 1, attempts = attempts + 1"
static const nx_sql take_due = {
    .sqlite = TAKE " WHERE id IN (" DUE ") RETURNING " COLUMNS,
    .postgres = "WITH due AS MATERIALIZED (" DUE " FOR UPDATE SKIP LOCKED) " TAKE
                " FROM due WHERE webhooks.id = due.id RETURNING " COLUMNS,
};

/* $3: the error, NULL for none; $4: attempts; $5, $6: first and longest wait; $7: jitter, 0 to 500.
 */
#define NOTE(least)                                                                                \
    "UPDATE webhooks SET state = CASE WHEN $3 IS NULL THEN 'delivered'"                            \
    " WHEN attempts >= $4 THEN 'failed' ELSE 'pending' END,"                                       \
    " finished_at = CASE WHEN $3 IS NULL OR attempts >= $4 THEN nx_now() END,"                     \
    " next_at = nx_now() + " least "($6, $5 << CAST(" least "(attempts - 1, 20) AS int))"          \
    " * (1000 - $7) / 1000"                                                                        \
    " WHERE id = $1 AND fence = $2 AND state = 'pending' RETURNING state"
static const nx_sql note_outcome = {.sqlite = NOTE("min"), .postgres = NOTE("least")};
static const nx_sql log_attempt =
    NX_SQL("INSERT INTO webhook_attempts (webhook_id, attempt, status, error, duration_ms,"
           " created_at) VALUES ($1, $2, $3, $4, $5, nx_now())");
static const nx_sql list_of_job = NX_SQL("SELECT " COLUMNS " FROM webhooks WHERE job_id = $1"
                                         " ORDER BY created_at DESC, id DESC LIMIT $2");
static const nx_sql list_attempts =
    NX_SQL("SELECT attempt, status, error, duration_ms, created_at FROM webhook_attempts"
           " WHERE webhook_id = $1 ORDER BY attempt LIMIT $2");
static const nx_sql count_of_id = NX_SQL("SELECT count(*) FROM webhooks WHERE id = $1");

static const char *const state_names[] = {
    [NX_WEBHOOK_PENDING] = "pending",
    [NX_WEBHOOK_DELIVERED] = "delivered",
    [NX_WEBHOOK_FAILED] = "failed",
};

const char *nx_webhook_state_name(nx_webhook_state state)
{
    return state_names[state];
}

static nx_webhook_state read_state(const nx_row *row, int column)
{
    const char *name = nx_row_text(row, column);
    nx_webhook_state state = NX_WEBHOOK_PENDING;
    while (state < NX_WEBHOOK_FAILED && strcmp(name, state_names[state]) != 0) {
        state++;
    }
    return state;
}

static void read_webhook(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_webhook *)item = (nx_webhook){
        .id = nx_row_copy(row, 0, arena),
        .job_id = nx_row_copy(row, 1, arena),
        .url = nx_row_copy(row, 2, arena),
        .state = read_state(row, 3),
        .attempts = nx_row_int(row, 4),
        .fence = nx_row_int(row, 5),
        .next_at = nx_row_int(row, 6),
        .created_at = nx_row_int(row, 7),
        .finished_at = nx_row_int(row, 8),
    };
}

static void read_attempt(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_webhook_attempt *)item = (nx_webhook_attempt){
        .attempt = nx_row_int(row, 0),
        .status = nx_row_int(row, 1),
        .error = nx_row_copy(row, 2, arena),
        .duration_ms = nx_row_int(row, 3),
        .created_at = nx_row_int(row, 4),
    };
}

nx_status nx_store_webhooks_take(nx_store *store, size_t limit, int64_t attempt_ms, nx_arena *arena,
                                 nx_webhook *out, size_t *count, nx_error *err)
{
    nx_rows rows = {
        .read = read_webhook, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    const nx_call call = NX_CALL(&take_due, nx_db_int((int64_t)limit), nx_db_int(attempt_ms));
    nx_status status = nx_rows_fetch(store, NX_TX_WRITE, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

typedef struct noting {
    const nx_webhook *webhook;
    const nx_webhook_outcome *outcome;
    const nx_job_retry_policy *policy;
    int64_t max_attempts;
    nx_webhook_state became;
} noting;

static nx_status keep_state(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    *(nx_webhook_state *)user = read_state(row, 0);
    return NX_OK;
}

static nx_status refused(nx_db *db, const char *id, nx_error *err)
{
    int64_t there = 0;
    nx_call look = NX_CALL(&count_of_id, nx_db_text(id));
    look.each = nx_rows_number;
    look.user = &there;
    nx_status status = nx_db_run(db, &look, NULL, err);
    if (status != NX_OK) {
        return status;
    }
    return there == 0 ? nx_error_set(err, NX_ERR_NOT_FOUND, "there is no webhook %.80s", id)
                      : nx_error_set(err, NX_ERR_CONFLICT,
                                     "webhook %.80s: this attempt is not the one that counts", id);
}

static nx_status note(nx_db *db, void *user, nx_error *err)
{
    noting *what = user;
    uint32_t noise = 0;
    int64_t rows = 0;
    (void)!getrandom(&noise, sizeof noise, 0); /* without it the wait is the longest */
    nx_call change = NX_CALL(&note_outcome, nx_db_text(what->webhook->id),
                             nx_db_int(what->webhook->fence), nx_db_text(what->outcome->error),
                             nx_db_int(what->max_attempts), nx_db_int(what->policy->first_ms),
                             nx_db_int(what->policy->most_ms), nx_db_int(noise % 501));
    change.each = keep_state;
    change.user = &what->became;
    nx_status status = nx_db_run(db, &change, &rows, err);
    if (status == NX_OK && rows == 0) {
        status = refused(db, what->webhook->id, err);
    }
    if (status != NX_OK) {
        return status;
    }
    const nx_call entry =
        NX_CALL(&log_attempt, nx_db_text(what->webhook->id), nx_db_int(what->webhook->attempts),
                nx_db_int(what->outcome->status), nx_db_text(what->outcome->error),
                nx_db_int(what->outcome->duration_ms));
    return nx_db_run(db, &entry, NULL, err);
}

nx_status nx_store_webhook_note(nx_store *store, const nx_webhook *webhook,
                                const nx_webhook_outcome *outcome,
                                const nx_job_retry_policy *policy, int64_t max_attempts,
                                nx_webhook_state *became, nx_error *err)
{
    noting what = {
        .webhook = webhook, .outcome = outcome, .policy = policy, .max_attempts = max_attempts};
    nx_status status = nx_store_transact(store, NX_TX_WRITE, note, &what, err);
    *became = what.became;
    return status;
}

nx_status nx_store_webhooks_list(nx_store *store, const char *job_id, size_t limit, nx_arena *arena,
                                 nx_webhook *out, size_t *count, nx_error *err)
{
    nx_rows rows = {
        .read = read_webhook, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    const nx_call call = NX_CALL(&list_of_job, nx_db_text(job_id), nx_db_int((int64_t)limit));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

nx_status nx_store_webhook_attempts(nx_store *store, const char *id, size_t limit, nx_arena *arena,
                                    nx_webhook_attempt *out, size_t *count, nx_error *err)
{
    nx_rows rows = {
        .read = read_attempt, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    const nx_call call = NX_CALL(&list_attempts, nx_db_text(id), nx_db_int((int64_t)limit));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}
