/*
 * Inside src/store: what is to be sent to somebody, and the log of the attempts, whoever it is of:
 * a table of deliveries and one of attempts with the columns of nx_webhook (store/webhooks.h). An
 * attempt is made under a fence; what fails is due again later, and given up in the end.
 */
#ifndef NX_STORE_OUTBOX_H
#define NX_STORE_OUTBOX_H

#include "store/rows.h"
#include "store/webhooks.h"

/* The statements of one table, or of a part of it. */
typedef struct nx_outbox {
    nx_sql take, settle, note, log, list, attempts, count;
} nx_outbox;

/* COLUMNS begin with id and what the delivery tells of; $3 of NOTE: the error, NULL for none; $4:
 * attempts; $5, $6: first and longest wait; $7: jitter, 0 to 500. */
#define NX_OUTBOX_COLUMNS(T, OF)                                                                   \
    T ".id, " T "." OF ", " T ".url, " T ".state, " T ".attempts, " T ".fence, " T ".next_at, " T  \
      ".created_at, " T ".finished_at"
#define NX_OUTBOX_DUE(T, PART)                                                                     \
    "SELECT id FROM " T " WHERE state = 'pending' AND next_at <= nx_now()" PART                    \
    " ORDER BY next_at LIMIT $1"
#define NX_OUTBOX_TAKE(T)                                                                          \
    "UPDATE " T " SET next_at = nx_now() + $2, fence = fence + 1, attempts = attempts + 1"
/* After the clock was set back: what waits longer than $1 (an attempt) and than it was told to by
 * NOTE ($2, $3: first and longest wait) waits so long from now on. */
#define NX_OUTBOX_WAIT(LEAST, GREATEST)                                                            \
    GREATEST "(CAST($1 AS bigint), " LEAST "(CAST($3 AS bigint), CAST($2 AS bigint)"               \
             " << CAST(" LEAST "(" GREATEST "(attempts - 1, 0), 20) AS int)))"
#define NX_OUTBOX_SETTLE(T, LEAST, GREATEST, PART)                                                 \
    "UPDATE " T " SET next_at = nx_now() + " NX_OUTBOX_WAIT(                                       \
        LEAST, GREATEST) " WHERE state = 'pending' AND "                                           \
                         "next_at > nx_now() + $1 "                                                \
                         "AND " NX_AHEAD("next_at - " NX_OUTBOX_WAIT(LEAST, GREATEST)) PART
#define NX_OUTBOX_NOTE(T, LEAST)                                                                   \
    "UPDATE " T " SET state = CASE WHEN $3 IS NULL THEN 'delivered'"                               \
    " WHEN attempts >= $4 THEN 'failed' ELSE 'pending' END,"                                       \
    " finished_at = CASE WHEN $3 IS NULL OR attempts >= $4 THEN nx_now() END,"                     \
    " next_at = nx_now() + " LEAST "($6, $5 << CAST(" LEAST "(attempts - 1, 20) AS int))"          \
    " * (1000 - $7) / 1000"                                                                        \
    " WHERE id = $1 AND fence = $2 AND state = 'pending' RETURNING state"

/* TABLE and ATTEMPTS: their names; OF: the column of what a delivery tells of; ID: that of a
 * delivery in ATTEMPTS; PART: a condition for those that are taken, " AND ...", or "". */
#define NX_OUTBOX(TABLE, ATTEMPTS, OF, ID, PART)                                                   \
    {                                                                                              \
        .take =                                                                                    \
            {                                                                                      \
                .sqlite = NX_OUTBOX_TAKE(TABLE) " WHERE id IN (" NX_OUTBOX_DUE(                    \
                    TABLE, PART) ") RETURNING " NX_OUTBOX_COLUMNS(TABLE, OF),                      \
                .postgres = "WITH due AS MATERIALIZED (" NX_OUTBOX_DUE(                            \
                    TABLE,                                                                         \
                    PART) " FOR UPDATE SKIP LOCKED) " NX_OUTBOX_TAKE(TABLE) " FROM due"            \
                                                                            " WHERE " TABLE        \
                                                                            ".id = due.id "        \
                                                                            "RETURNING"            \
                                                                            " " NX_OUTBOX_COLUMNS( \
                                                                                TABLE, OF),        \
            },                                                                                     \
        .settle = {.sqlite = NX_OUTBOX_SETTLE(TABLE, "min", "max", PART),                          \
                   .postgres = NX_OUTBOX_SETTLE(TABLE, "least", "greatest", PART)},                \
        .note = {.sqlite = NX_OUTBOX_NOTE(TABLE, "min"),                                           \
                 .postgres = NX_OUTBOX_NOTE(TABLE, "least")},                                      \
        .log = NX_SQL("INSERT INTO " ATTEMPTS " (" ID ", attempt, status, error, duration_ms,"     \
                      " created_at) VALUES ($1, $2, $3, $4, $5, nx_now())"),                       \
        .list = NX_SQL(                                                                            \
            "SELECT " NX_OUTBOX_COLUMNS(TABLE, OF) " FROM " TABLE " WHERE " OF " = $1"             \
                                                   " ORDER BY created_at DESC, id DESC LIMIT $2"), \
        .attempts = NX_SQL("SELECT attempt, status, error, duration_ms, created_at FROM " ATTEMPTS \
                           " WHERE " ID " = $1 ORDER BY attempt LIMIT $2"),                        \
        .count = NX_SQL("SELECT count(*) FROM " TABLE " WHERE id = $1"),                           \
    }

/* As the functions of store/webhooks.h. box is static. */
nx_status nx_outbox_take(nx_store *store, const nx_outbox *box, size_t limit, int64_t attempt_ms,
                         nx_arena *arena, nx_webhook *out, size_t *count, nx_error *err);
nx_status nx_outbox_settle(nx_store *store, const nx_outbox *box, int64_t attempt_ms,
                           const nx_job_retry_policy *policy, nx_error *err);
nx_status nx_outbox_note(nx_store *store, const nx_outbox *box, const nx_webhook *webhook,
                         const nx_webhook_outcome *outcome, const nx_job_retry_policy *policy,
                         int64_t max_attempts, nx_webhook_state *became, nx_error *err);
nx_status nx_outbox_list(nx_store *store, const nx_outbox *box, const char *of, size_t limit,
                         nx_arena *arena, nx_webhook *out, size_t *count, nx_error *err);
nx_status nx_outbox_attempts(nx_store *store, const nx_outbox *box, const char *id, size_t limit,
                             nx_arena *arena, nx_webhook_attempt *out, size_t *count,
                             nx_error *err);

#endif
