#include "store/outbox.h"

#include <sys/random.h>

static const char *const state_names[] = {
    [NX_WEBHOOK_PENDING] = "pending",
    [NX_WEBHOOK_DELIVERED] = "delivered",
    [NX_WEBHOOK_FAILED] = "failed",
};

const char *nx_webhook_failure_name(nx_webhook_failure failure)
{
    static const char *const names[] = {
        [NX_WEBHOOK_NOT_SENT] = "not_sent",
        [NX_WEBHOOK_NO_ANSWER] = "no_answer",
        [NX_WEBHOOK_REFUSED] = "refused",
    };
    return names[failure];
}

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

nx_status nx_outbox_take(nx_store *store, const nx_outbox *box, size_t limit, int64_t attempt_ms,
                         nx_arena *arena, nx_webhook *out, size_t *count, nx_error *err)
{
    nx_rows rows = {
        .read = read_webhook, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    const nx_call call = NX_CALL(&box->take, nx_db_int((int64_t)limit), nx_db_int(attempt_ms));
    nx_status status = nx_rows_fetch(store, NX_TX_WRITE, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

nx_status nx_outbox_settle(nx_store *store, const nx_outbox *box, int64_t attempt_ms,
                           const nx_job_retry_policy *policy, nx_error *err)
{
    const nx_call call = NX_CALL(&box->settle, nx_db_int(attempt_ms), nx_db_int(policy->first_ms),
                                 nx_db_int(policy->most_ms));
    return nx_store_run(store, NX_TX_SOFT, &call, NULL, err);
}

typedef struct noting {
    const nx_outbox *box;
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

static nx_status refused(nx_db *db, const nx_outbox *box, const char *id, nx_error *err)
{
    int64_t there = 0;
    nx_call look = NX_CALL(&box->count, nx_db_text(id));
    look.each = nx_rows_number;
    look.user = &there;
    nx_status status = nx_db_run(db, &look, NULL, err);
    if (status != NX_OK) {
        return status;
    }
    return there == 0 ? nx_error_set(err, NX_ERR_NOT_FOUND, "there is no delivery %.80s", id)
                      : nx_error_set(err, NX_ERR_CONFLICT,
                                     "delivery %.80s: this attempt is not the one that counts", id);
}

static nx_status note(nx_db *db, void *user, nx_error *err)
{
    noting *what = user;
    uint32_t noise = 0;
    int64_t rows = 0;
    (void)!getrandom(&noise, sizeof noise, 0); /* without it the wait is the longest */
    nx_call change = NX_CALL(&what->box->note, nx_db_text(what->webhook->id),
                             nx_db_int(what->webhook->fence), nx_db_text(what->outcome->error),
                             nx_db_int(what->max_attempts), nx_db_int(what->policy->first_ms),
                             nx_db_int(what->policy->most_ms), nx_db_int(noise % 501));
    change.each = keep_state;
    change.user = &what->became;
    nx_status status = nx_db_run(db, &change, &rows, err);
    if (status == NX_OK && rows == 0) {
        status = refused(db, what->box, what->webhook->id, err);
    }
    if (status != NX_OK) {
        return status;
    }
    const nx_call entry =
        NX_CALL(&what->box->log, nx_db_text(what->webhook->id), nx_db_int(what->webhook->attempts),
                nx_db_int(what->outcome->status), nx_db_text(what->outcome->error),
                nx_db_int(what->outcome->duration_ms));
    return nx_db_run(db, &entry, NULL, err);
}

nx_status nx_outbox_note(nx_store *store, const nx_outbox *box, const nx_webhook *webhook,
                         const nx_webhook_outcome *outcome, const nx_job_retry_policy *policy,
                         int64_t max_attempts, nx_webhook_state *became, nx_error *err)
{
    noting what = {.box = box,
                   .webhook = webhook,
                   .outcome = outcome,
                   .policy = policy,
                   .max_attempts = max_attempts};
    nx_status status = nx_store_transact(store, NX_TX_WRITE, note, &what, err);
    *became = what.became;
    return status;
}

nx_status nx_outbox_list(nx_store *store, const nx_outbox *box, const char *of, size_t limit,
                         nx_arena *arena, nx_webhook *out, size_t *count, nx_error *err)
{
    nx_rows rows = {
        .read = read_webhook, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    const nx_call call = NX_CALL(&box->list, nx_db_text(of), nx_db_int((int64_t)limit));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

nx_status nx_outbox_attempts(nx_store *store, const nx_outbox *box, const char *id, size_t limit,
                             nx_arena *arena, nx_webhook_attempt *out, size_t *count, nx_error *err)
{
    nx_rows rows = {
        .read = read_attempt, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    const nx_call call = NX_CALL(&box->attempts, nx_db_text(id), nx_db_int((int64_t)limit));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}
