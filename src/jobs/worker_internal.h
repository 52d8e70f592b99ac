/* Between worker.c, which holds leases, and worker_job.c, which does what they are for. */
#ifndef NX_JOBS_WORKER_INTERNAL_H
#define NX_JOBS_WORKER_INTERNAL_H

#include "base/log.h"
#include "base/trace.h"
#include "jobs/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Why a job is to end early; the later one is the stronger. */
typedef enum nx_worker_why {
    NX_WORKER_GOES_ON,
    NX_WORKER_STOPS,  /* the worker does: give it back */
    NX_WORKER_CANCEL, /* somebody wants that */
    NX_WORKER_LOST,   /* it is another worker's */
} nx_worker_why;

#define NX_WORKER_PROGRESS_SIZE 160

/* A job that is held. Made and freed by the keeper thread alone. */
typedef struct nx_worker_job {
    struct nx_worker_job *next;
    char *id, *video_id, *options; /* owned; video_id NULL: there is none any more */
    int64_t fence;
    nx_trace trace; /* a span of its own, in the trace of the request for it */
    nx_log_context log;
    atomic_bool stop;              /* once true the work on it ends soon */
    pthread_mutex_t progress_lock; /* held while progress is told, so that none is told late */
    /* under the worker's lock */
    nx_worker_why why;
    bool begun, ended;
    char progress[NX_WORKER_PROGRESS_SIZE]; /* JSON; "": nothing new to tell. Taken out under both
                                               locks */
} nx_worker_job;

struct nx_worker {
    nx_worker_options options; /* but for the rules */
    char *data_dir;            /* owned; the options point to it */
    char name[128];            /* "HOST:PROCESS", for people */
    pthread_mutex_t lock;      /* of what is below, never held while something is waited for */
    pthread_cond_t changed;    /* a job was taken or has ended, or the worker stops */
    nx_worker_rules rules;
    nx_worker_job *jobs; /* the first that was taken first */
    bool stopping;
    pthread_t keeper;
    bool has_keeper;
    pthread_t threads[NX_WORKER_MOST_AT_ONCE];
    uint32_t thread_count;
};

/* Ends the work on a job soon, and remembers why. Any thread. */
void nx_worker_end_soon(nx_worker *worker, nx_worker_job *job, nx_worker_why why);
nx_worker_why nx_worker_why_of(nx_worker *worker, nx_worker_job *job);

nx_worker_rules nx_worker_get_rules(nx_worker *worker);

/* Takes out what there is to tell. The caller holds progress_lock until it is told, or older than
 * what is told instead. */
void nx_worker_take_progress(nx_worker *worker, nx_worker_job *job,
                             char out[NX_WORKER_PROGRESS_SIZE]);

/* worker_access.c: whether whoever submitted a job may use its model ("": the default one) as
 * things are now. Errors: NX_ERR_INVALID (they may not), those of the database. */
nx_status nx_worker_check_access(const nx_worker *worker, const char *job, const char *model,
                                 nx_arena *arena, nx_error *err);

/* worker_trace.c: what was done for a job, where its trace is kept. ended: a job's state,
 * "released", "retried" or "lost"; a constant. */
void nx_worker_trace(const nx_worker *worker, const nx_worker_job *job, int64_t began_ns,
                     uint64_t frames, const char *ended);

/* Does the job and tells the database how it ended. On a thread for jobs. */
void nx_worker_do(nx_worker *worker, nx_worker_job *job);

/* Ends a job, asking again while the database can't be reached; the outcome's lease is not looked
 * at. False: it has not ended by this; it is another worker's, or will be. */
bool nx_worker_finish(nx_worker *worker, const nx_worker_job *job, nx_job_outcome outcome);

#endif
