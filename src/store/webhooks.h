/*
 * Webhooks: who wants to be told of the end of a job, and the log of the attempts. The database
 * enters one in the transaction in which a job with a webhook_url ends, so that none is forgotten
 * and none is sent for an end that did not happen. Here is the sender's side. An attempt is made
 * under a fence, as with jobs (store/jobs.h): who took too long has had its turn, and its outcome
 * is NX_ERR_CONFLICT. Delivery is at least once; the id tells a receiver what it has seen.
 *
 * Thread-safe, and safe between processes and hosts. Errors as in store.h besides those named.
 */
#ifndef NX_STORE_WEBHOOKS_H
#define NX_STORE_WEBHOOKS_H

#include "base/arena.h"
#include "store/jobs.h"
#include "store/store.h"

#include <stddef.h>

typedef enum nx_webhook_state {
    NX_WEBHOOK_PENDING,
    NX_WEBHOOK_DELIVERED,
    NX_WEBHOOK_FAILED, /* given up */
} nx_webhook_state;

const char *nx_webhook_state_name(nx_webhook_state state); /* "pending" */

typedef struct nx_webhook {
    const char *id;
    const char *job_id;
    const char *url;
    nx_webhook_state state;
    int64_t attempts;
    int64_t fence;
    int64_t next_at; /* of the next attempt, at the latest, while it is pending */
    int64_t created_at;
    int64_t finished_at; /* 0: not yet */
} nx_webhook;

/* Takes up to limit that are due, which is also the room in out, each for an attempt that may last
 * attempt_ms; after that it is due again. */
nx_status nx_store_webhooks_take(nx_store *store, size_t limit, int64_t attempt_ms, nx_arena *arena,
                                 nx_webhook *out, size_t *count, nx_error *err);

/* What an attempt failed of. */
typedef enum nx_webhook_failure {
    NX_WEBHOOK_NOT_SENT, /* a forbidden address, or a message that can't be made */
    NX_WEBHOOK_NO_ANSWER,
    NX_WEBHOOK_REFUSED, /* the answer's status says no */
    NX_WEBHOOK_FAILURES,
} nx_webhook_failure;

const char *nx_webhook_failure_name(nx_webhook_failure failure); /* "no_answer" */

/* How an attempt went. */
typedef struct nx_webhook_outcome {
    int64_t status;             /* of HTTP; 0: no answer */
    const char *error;          /* NULL: it was delivered */
    nx_webhook_failure failure; /* with an error */
    int64_t duration_ms;
} nx_webhook_outcome;

/* To be called now and then: after the clock was set back, none waits longer from now on than an
 * attempt lasts or its policy says. */
nx_status nx_store_webhooks_settle(nx_store *store, int64_t attempt_ms,
                                   const nx_job_retry_policy *policy, nx_error *err);

/*
 * Notes the outcome of the attempt that webhook was taken for. After a failure it is due again
 * later, as the policy says, or given up after max_attempts. Errors: NX_ERR_CONFLICT (it has been
 * taken by somebody else since, or is finished), NX_ERR_NOT_FOUND.
 */
nx_status nx_store_webhook_note(nx_store *store, const nx_webhook *webhook,
                                const nx_webhook_outcome *outcome,
                                const nx_job_retry_policy *policy, int64_t max_attempts,
                                nx_webhook_state *became, nx_error *err);

/* Those of a job, the newest first. */
nx_status nx_store_webhooks_list(nx_store *store, const char *job_id, size_t limit, nx_arena *arena,
                                 nx_webhook *out, size_t *count, nx_error *err);

typedef struct nx_webhook_attempt {
    int64_t attempt; /* 1, 2, ...; one whose sender died is missing */
    int64_t status;
    const char *error; /* NULL: delivered */
    int64_t duration_ms;
    int64_t created_at;
} nx_webhook_attempt;
nx_status nx_store_webhook_attempts(nx_store *store, const char *id, size_t limit, nx_arena *arena,
                                    nx_webhook_attempt *out, size_t *count, nx_error *err);

#endif
