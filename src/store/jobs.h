/*
 * Jobs that lose nothing: a queue in the database. A worker takes a job with a lease and renews it
 * while it works; when the lease runs out somebody else takes over from the last checkpoint. Each
 * lease has a fence, a number of its own: a worker whose lease was taken away can't write any more,
 * however late it notices. Texts in results live in the caller's arena.
 *
 * States: queued -> running -> succeeded | failed | cancelled | dead; back to queued when a lease
 * runs out, a failure may be retried, or nx_store_job_retry asks for it. `dead`: given up after
 * max_attempts.
 *
 * Thread-safe, and safe between processes and hosts. Errors as in store.h besides those named. Of
 * what changes a job NX_ERR_NOT_FOUND means that there is none of that id, and NX_ERR_CONFLICT
 * that it is in another state, or the lease is not this one any more.
 */
#ifndef NX_STORE_JOBS_H
#define NX_STORE_JOBS_H

#include "base/arena.h"
#include "store/store.h"

#include <stddef.h>

typedef enum nx_job_state {
    NX_JOB_QUEUED,
    NX_JOB_RUNNING,
    NX_JOB_SUCCEEDED,
    NX_JOB_FAILED,
    NX_JOB_CANCELLED,
    NX_JOB_DEAD,
    NX_JOB_STATE_COUNT,
} nx_job_state;

const char *nx_job_state_name(nx_job_state state); /* "queued" */
/* False: there is no such state. */
bool nx_job_state_parse(const char *text, nx_job_state *out);

typedef struct nx_job {
    const char *id; /* UUID; sorts by age */
    const char *owner;
    const char *kind;
    const char *video_id; /* NULL: none, or it was removed */
    nx_job_state state;
    int64_t priority;        /* the greater goes first */
    int64_t turn;            /* among equals the smaller goes first */
    const char *options;     /* JSON */
    const char *webhook_url; /* NULL: none */
    int64_t attempts;        /* times it was taken */
    int64_t strikes;         /* of them, since a checkpoint last got it on */
    int64_t max_attempts;    /* of strikes */
    int64_t not_before;
    const char *lease_owner; /* NULL but for a running one, as lease_until is 0 */
    int64_t lease_until;
    int64_t fence;
    int64_t heartbeat_at; /* 0: never */
    int64_t position;     /* of the last checkpoint */
    bool cancel_requested;
    const char *progress; /* JSON; NULL: none yet */
    const char *result;   /* JSON; NULL: none */
    const char *error;    /* for a person; NULL: none */
    const char *idempotency_key;
    const char *request_hash;
    const char *traceparent; /* of the request for it; NULL: none */
    int64_t event_seq;       /* of its last event */
    int64_t created_at, updated_at;
    int64_t started_at, finished_at; /* 0: not yet */
} nx_job;

/* --- for those who want something done --- */

typedef struct nx_job_request {
    const char *owner; /* "" without accounts */
    const char *kind;
    const char *video_id;        /* NULL: none */
    const char *options;         /* JSON */
    const char *webhook_url;     /* NULL: none */
    const char *idempotency_key; /* NULL: none; unique for each owner */
    const char *request_hash;    /* what the key stands for; needed with a key */
    int64_t priority;
    int64_t max_attempts;
    int64_t delay_ms;        /* not taken before so long from now */
    const char *traceparent; /* NULL: none */
    /* For whom it uses its model, asked again at its start (store/model_access.h); user NULL: it
     * was submitted without accounts; key NULL: no key. */
    const char *user, *key;
} nx_job_request;

/*
 * Puts a job into the queue. With a key that the owner has used before nothing happens, made is
 * false and out is the job that is there. Errors: NX_ERR_CONFLICT (the key stood for another
 * request; or there is no such video).
 */
nx_status nx_store_job_enqueue(nx_store *store, const nx_job_request *request, nx_arena *arena,
                               nx_job *out, bool *made, nx_error *err);

nx_status nx_store_job_get(nx_store *store, const char *id, nx_arena *arena, nx_job *out,
                           nx_error *err);

typedef struct nx_job_filter {
    const char *owner;         /* NULL: all */
    const nx_job_state *state; /* NULL: all */
    const char *before;        /* the last id of the page before; NULL: from the newest */
    size_t limit;              /* also the room in the result */
} nx_job_filter;
/* The newest first. */
nx_status nx_store_jobs_list(nx_store *store, const nx_job_filter *filter, nx_arena *arena,
                             nx_job *out, size_t *count, nx_error *err);

/* A queued job is cancelled at once; a running one is told so at its next heartbeat. became: the
 * state that it has now. Again is no error; NX_ERR_CONFLICT: it has ended otherwise. */
nx_status nx_store_job_cancel(nx_store *store, const char *id, nx_job_state *became, nx_error *err);

/* Puts a failed, dead or cancelled job back into the queue; it goes on from its last checkpoint. */
nx_status nx_store_job_retry(nx_store *store, const char *id, nx_error *err);

typedef struct nx_job_event {
    int64_t seq;      /* 1, 2, 3, ... for each job; the last thousand are kept */
    bool state_event; /* a change of state; false: of progress */
    nx_job_state state;
    const char *progress;
    const char *error;
    int64_t created_at;
} nx_job_event;
/* Those after a number (0: from the first), at most limit. None for an unknown job. */
nx_status nx_store_job_events(nx_store *store, const char *id, int64_t after, size_t limit,
                              nx_arena *arena, nx_job_event *out, size_t *count, nx_error *err);

/* --- for those who do it --- */

/* What a worker holds of a job. */
typedef struct nx_job_lease {
    const char *id;
    int64_t fence;
} nx_job_lease;

/*
 * Takes up to limit jobs, which is also the room in out, most urgent first; count 0: nothing to do.
 * Greater priority goes first; among equals owners take turns, so that nobody waits behind all of
 * somebody else's jobs; then age. But one call in eight goes by age alone: nothing starves.
 */
nx_status nx_store_jobs_take(nx_store *store, const char *worker, size_t limit, int64_t lease_ms,
                             nx_arena *arena, nx_job *out, size_t *count, nx_error *err);

/* Extends a lease from now, and tells progress (NULL: nothing new). cancel: somebody wants it to
 * end. */
nx_status nx_store_job_heartbeat(nx_store *store, const nx_job_lease *lease, int64_t lease_ms,
                                 const char *progress, bool *cancel, nx_error *err);

/* Objects that a call names for a job, and parts that a checkpoint has in all. */
#define NX_JOB_MOST_OBJECTS 16
#define NX_JOB_MOST_PARTS   512

typedef struct nx_job_checkpoint {
    int64_t position;      /* what is done, in the job's own unit */
    int64_t result_offset; /* bytes of the result that belong to it */
    const void *state;
    size_t state_size;
    /* Objects that the state names and those before it did not: they stay while the job needs them
     * (store/object_uses.h). Not looked at by nx_store_job_load. */
    const char *const *objects;
    size_t object_count; /* ..NX_JOB_MOST_OBJECTS */
    bool replaces;       /* the state names no others any more */
} nx_job_checkpoint;

/* Keeps a checkpoint in place of the one before, together with a heartbeat. One that got on takes
 * the strikes away. */
nx_status nx_store_job_save(nx_store *store, const nx_job_lease *lease,
                            const nx_job_checkpoint *checkpoint, int64_t lease_ms,
                            const char *progress, bool *cancel, nx_error *err);
/* The last one, in the arena. Errors: NX_ERR_NOT_FOUND: begin at the beginning. */
nx_status nx_store_job_load(nx_store *store, const char *id, nx_arena *arena,
                            nx_job_checkpoint *out, nx_error *err);

/* How a job ends. */
typedef struct nx_job_outcome {
    nx_job_lease lease;
    nx_job_state state;   /* succeeded, failed or cancelled */
    const char *result;   /* JSON; NULL: none */
    const char *progress; /* NULL: as it was */
    const char *error;    /* NULL: none */
    /* Objects that the result names: they stay as long as the job does. */
    const char *const *objects;
    size_t object_count; /* ..NX_JOB_MOST_OBJECTS */
} nx_job_outcome;

/*
 * Ends jobs, each exactly once: said again for the same lease it is NX_OK and changes nothing, so
 * that who lost the answer may ask again. statuses[i] is what became of outcomes[i]: NX_OK, or
 * NX_ERR_CONFLICT (the lease was lost, the job is somebody else's). The return value is about the
 * transaction: unless it is NX_OK none has ended.
 */
nx_status nx_store_jobs_finish(nx_store *store, const nx_job_outcome *outcomes, size_t count,
                               nx_status *statuses, nx_error *err);

typedef struct nx_job_retry_policy {
    int64_t
        first_ms; /* the first wait; each one after is twice as long, by half shortened at random */
    int64_t most_ms;
} nx_job_retry_policy;

/* It did not work out, and another time it may: back into the queue for later, or dead after too
 * many strikes, or cancelled if somebody wanted that. policy NULL: one second to five minutes. */
nx_status nx_store_job_fail(nx_store *store, const nx_job_lease *lease, const char *error,
                            const nx_job_retry_policy *policy, nx_job_state *became, nx_error *err);

/* Gives a job back untouched, as a worker does that shuts down: the next one may take it at once,
 * and it is no strike. */
nx_status nx_store_job_release(nx_store *store, const nx_job_lease *lease, nx_error *err);

/* --- for the housekeeping --- */

typedef struct nx_job_reclaim {
    int64_t requeued;  /* leases that had run out: back in the queue */
    int64_t dead;      /* given up after too many strikes */
    int64_t cancelled; /* somebody had wanted that */
} nx_job_reclaim;
/* Takes back leases that have run out, at most 256 a call. None for some
 * seconds after the database's clock has jumped ahead: whoever lives renews his first. After it was
 * set back, leases get as long as they had. */
nx_status nx_store_jobs_reclaim(nx_store *store, nx_job_reclaim *out, nx_error *err);

/* How many there are in each state. */
nx_status nx_store_jobs_count(nx_store *store, int64_t counts[NX_JOB_STATE_COUNT], nx_error *err);

/* Removes at most limit jobs that ended longer than age_ms ago, the oldest first, with all that
 * hangs on them; those of which somebody is still to be told stay. Their results are objects that
 * nothing needs then. */
nx_status nx_store_jobs_purge(nx_store *store, int64_t age_ms, size_t limit, int64_t *removed,
                              nx_error *err);

#endif
