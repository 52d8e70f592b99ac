#include "jobs/worker.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "jobs/worker_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define USUAL_LEASE_MS INT64_C(30000)
/* A job that somebody cancels is to end within a second. */
#define BEAT_NS (NX_NS_PER_SEC / 2)
/* Leases that ran out are looked for as often, or twice as often as they run out. */
#define RECLAIM_NS (5 * NX_NS_PER_SEC)
/* An empty queue is looked at less and less often. */
#define LEAST_PAUSE_NS (20 * NX_NS_PER_MS)
#define MOST_PAUSE_NS  NX_NS_PER_SEC
#define FINISH_TRIES   20
#define NICE           4

/* --- jobs that are held -------------------------------------------------------------------------
 */

void nx_worker_end_soon(nx_worker *worker, nx_worker_job *job, nx_worker_why why)
{
    pthread_mutex_lock(&worker->lock);
    job->why = why > job->why ? why : job->why;
    pthread_mutex_unlock(&worker->lock);
    atomic_store(&job->stop, true);
}

nx_worker_why nx_worker_why_of(nx_worker *worker, nx_worker_job *job)
{
    pthread_mutex_lock(&worker->lock);
    nx_worker_why why = job->why;
    pthread_mutex_unlock(&worker->lock);
    return why;
}

static void free_job(nx_worker_job *job)
{
    if (job != NULL) {
        pthread_mutex_destroy(&job->progress_lock);
        free(job->id);
        free(job->video_id);
        free(job->options);
        free(job);
    }
}

static nx_worker_job *new_job(const nx_worker *worker, const nx_job *from)
{
    nx_worker_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return NULL;
    }
    job->id = strdup(from->id);
    job->options = strdup(from->options);
    job->video_id = from->video_id != NULL ? strdup(from->video_id) : NULL;
    job->fence = from->fence;
    job->trace = nx_trace_continue(from->traceparent);
    nx_tracer_decide(worker->options.tracer, &job->trace);
    memcpy(job->log.trace_id, job->trace.id, sizeof job->trace.id);
    snprintf(job->log.job, sizeof job->log.job, "%s", from->id);
    atomic_init(&job->stop, false);
    pthread_mutex_init(&job->progress_lock, NULL);
    if (job->id == NULL || job->options == NULL ||
        (from->video_id != NULL && job->video_id == NULL)) {
        free_job(job);
        return NULL;
    }
    return job;
}

static void end_job(nx_worker *worker, nx_worker_job *job)
{
    if (worker->options.on_end != NULL) {
        worker->options.on_end(job->id, worker->options.user);
    }
    pthread_mutex_lock(&worker->lock);
    job->ended = true;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
}

/* Until a time, or something has changed. Under the lock. */
static void wait_until(nx_worker *worker, int64_t ns)
{
    (void)nx_condition_wait(&worker->changed, &worker->lock, ns);
}

bool nx_worker_finish(nx_worker *worker, const nx_worker_job *job, nx_job_outcome outcome)
{
    outcome.lease = (nx_job_lease){.id = job->id, .fence = job->fence};
    nx_error err = {0};
    nx_status became = NX_OK;
    for (int i = 0; i < FINISH_TRIES; i++) {
        nx_status status = nx_store_jobs_finish(worker->options.store, &outcome, 1, &became, &err);
        if (status == NX_OK) {
            if (became != NX_OK) {
                nx_log_warn("jobs", "job %s was taken over by another worker", job->id);
            }
            return became == NX_OK;
        }
        nx_log_warn("jobs", "job %s cannot end yet: %s", job->id, err.message);
        pthread_mutex_lock(&worker->lock);
        int64_t until = nx_clock_now_ns() + BEAT_NS;
        while (nx_clock_now_ns() < until) {
            wait_until(worker, until);
        }
        pthread_mutex_unlock(&worker->lock);
    }
    return false; /* the lease runs out, and the next worker goes on from the last checkpoint */
}

/* --- threads for jobs ---------------------------------------------------------------------------
 */

/* Under the lock. */
static nx_worker_job *next_waiting(const nx_worker *worker)
{
    nx_worker_job *job = worker->jobs;
    while (job != NULL && job->begun) {
        job = job->next;
    }
    return job;
}

/* The decoders and encoders that a job starts inherit it: they give way to the engine, and with it
 * to whoever waits for an answer. */
static void give_way(void)
{
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), NICE) != 0) {
        nx_log_warn("jobs", "jobs do not give way to requests: %s", strerror(errno));
    }
}

static void *do_jobs(void *user)
{
    nx_worker *worker = user;
    give_way();
    pthread_mutex_lock(&worker->lock);
    while (!worker->stopping) {
        nx_worker_job *job = next_waiting(worker);
        if (job == NULL) {
            pthread_cond_wait(&worker->changed, &worker->lock);
            continue;
        }
        job->begun = true;
        pthread_mutex_unlock(&worker->lock);
        (void)nx_log_set_context(&job->log);
        nx_worker_do(worker, job);
        (void)nx_log_set_context(NULL);
        end_job(worker, job);
        pthread_mutex_lock(&worker->lock);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

/* --- the keeper: holds leases -------------------------------------------------------------------
 */

/* Takes out what has ended. Returns how many are left; *freed: some went. */
static size_t sweep(nx_worker *worker, bool *freed)
{
    size_t left = 0;
    pthread_mutex_lock(&worker->lock);
    for (nx_worker_job **at = &worker->jobs; *at != NULL;) {
        nx_worker_job *job = *at;
        if (job->ended) {
            *at = job->next;
            free_job(job);
            *freed = true;
        } else {
            at = &job->next;
            left++;
        }
    }
    pthread_mutex_unlock(&worker->lock);
    return left;
}

void nx_worker_take_progress(nx_worker *worker, nx_worker_job *job,
                             char out[NX_WORKER_PROGRESS_SIZE])
{
    pthread_mutex_lock(&worker->lock);
    memcpy(out, job->progress, sizeof job->progress);
    job->progress[0] = '\0';
    pthread_mutex_unlock(&worker->lock);
}

static void renew(nx_worker *worker, nx_worker_job *job)
{
    const nx_job_lease lease = {.id = job->id, .fence = job->fence};
    char progress[NX_WORKER_PROGRESS_SIZE] = "";
    bool cancel = false;
    nx_error err = {0};
    pthread_mutex_lock(&worker->lock);
    bool ended = job->ended;
    pthread_mutex_unlock(&worker->lock);
    if (ended) {
        return;
    }
    /* a checkpoint that is being saved tells what is newer */
    bool tells = pthread_mutex_trylock(&job->progress_lock) == 0;
    if (tells) {
        nx_worker_take_progress(worker, job, progress);
    }
    nx_status status =
        nx_store_job_heartbeat(worker->options.store, &lease, worker->options.lease_ms,
                               progress[0] != '\0' ? progress : NULL, &cancel, &err);
    if (tells) {
        pthread_mutex_unlock(&job->progress_lock);
    }
    if (status == NX_ERR_CONFLICT || status == NX_ERR_NOT_FOUND) {
        nx_worker_end_soon(worker, job, NX_WORKER_LOST);
    } else if (status != NX_OK) {
        nx_log_warn("jobs", "the lease of job %s is not renewed: %s", job->id, err.message);
    } else if (cancel) {
        nx_worker_end_soon(worker, job, NX_WORKER_CANCEL);
    }
}

/* Ends a job that no thread has begun, when there is a reason to. */
static void end_waiting(nx_worker *worker, nx_worker_job *job)
{
    pthread_mutex_lock(&worker->lock);
    bool mine = !job->begun && job->why != NX_WORKER_GOES_ON;
    job->begun = job->begun || mine;
    nx_worker_why why = job->why;
    pthread_mutex_unlock(&worker->lock);
    if (!mine) {
        return;
    }
    if (why == NX_WORKER_CANCEL) {
        (void)nx_worker_finish(worker, job, (nx_job_outcome){.state = NX_JOB_CANCELLED});
    } else if (why == NX_WORKER_STOPS) {
        const nx_job_lease lease = {.id = job->id, .fence = job->fence};
        (void)nx_store_job_release(worker->options.store, &lease, NULL);
    }
    end_job(worker, job);
}

/* Only the keeper takes jobs out of the list, and others only put flags into them. */
static void beat(nx_worker *worker, bool stopping)
{
    pthread_mutex_lock(&worker->lock);
    nx_worker_job *job = worker->jobs;
    pthread_mutex_unlock(&worker->lock);
    for (; job != NULL; job = job->next) {
        if (stopping) {
            nx_worker_end_soon(worker, job, NX_WORKER_STOPS);
        }
        (void)nx_log_set_context(&job->log);
        renew(worker, job);
        end_waiting(worker, job);
    }
    (void)nx_log_set_context(NULL);
}

/* Puts a job behind those that are held. */
static void hold(nx_worker *worker, nx_worker_job *job)
{
    pthread_mutex_lock(&worker->lock);
    nx_worker_job **at = &worker->jobs;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = job;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
}

/* Returns how many were taken. */
static size_t take(nx_worker *worker, size_t room)
{
    nx_arena arena = nx_arena_make(0);
    nx_error err = {0};
    size_t count = 0;
    nx_job *jobs = calloc(room, sizeof *jobs);
    nx_status status =
        jobs == NULL ? nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory")
                     : nx_store_jobs_take(worker->options.store, worker->name, room,
                                          worker->options.lease_ms, &arena, jobs, &count, &err);
    if (status != NX_OK) {
        nx_log_warn("jobs", "no job can be taken: %s", err.message);
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        nx_worker_job *job = new_job(worker, &jobs[i]);
        if (job != NULL) {
            hold(worker, job);
        } else {
            const nx_job_lease lease = {.id = jobs[i].id, .fence = jobs[i].fence};
            (void)nx_store_job_release(worker->options.store, &lease, NULL);
        }
    }
    free(jobs);
    nx_arena_free(&arena);
    return count;
}

static void reclaim(nx_worker *worker)
{
    nx_job_reclaim found = {0};
    nx_error err = {0};
    if (nx_store_jobs_reclaim(worker->options.store, &found, &err) != NX_OK) {
        nx_log_warn("jobs", "leases that ran out are not looked at: %s", err.message);
    } else if (found.requeued + found.dead + found.cancelled > 0) {
        nx_log_info("jobs", "leases that ran out: %lld jobs go on, %lld are given up",
                    (long long)found.requeued, (long long)found.dead);
    }
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void *keep(void *user)
{
    nx_worker *worker = user;
    const size_t most = (size_t)worker->options.concurrency * worker->options.prefetch;
    const int64_t reclaim_ns = sooner(RECLAIM_NS, worker->options.lease_ms * NX_NS_PER_MS / 2);
    int64_t pause = LEAST_PAUSE_NS;
    int64_t beat_at = 0;
    int64_t take_at = 0;
    int64_t reclaim_at = 0;
    for (;;) {
        bool freed = false;
        size_t held = sweep(worker, &freed);
        int64_t now = nx_clock_now_ns();
        pthread_mutex_lock(&worker->lock);
        bool stopping = worker->stopping;
        pthread_mutex_unlock(&worker->lock);
        if (stopping && held == 0) {
            return NULL;
        }
        if (now >= beat_at || stopping) {
            beat(worker, stopping);
            beat_at = nx_clock_now_ns() + BEAT_NS;
        }
        if (now >= reclaim_at && !stopping) {
            reclaim(worker);
            reclaim_at = now + reclaim_ns;
        }
        if (!stopping && held < most && (freed || now >= take_at)) {
            size_t taken = take(worker, most - held);
            held += taken;
            pause = taken > 0 || freed ? LEAST_PAUSE_NS : sooner(2 * pause, MOST_PAUSE_NS);
            take_at = nx_clock_now_ns() + pause;
        }
        pthread_mutex_lock(&worker->lock);
        bool ended = false;
        for (const nx_worker_job *job = worker->jobs; job != NULL; job = job->next) {
            ended = ended || job->ended;
        }
        if (!ended && worker->stopping == stopping) {
            wait_until(worker, held < most && !stopping ? sooner(beat_at, take_at) : beat_at);
        }
        pthread_mutex_unlock(&worker->lock);
    }
}

/* --- beginning and end --------------------------------------------------------------------------
 */

static nx_status start_threads(nx_worker *worker, nx_error *err)
{
    int failure = pthread_create(&worker->keeper, NULL, keep, worker);
    if (failure != 0) {
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure, "no thread for a worker");
    }
    worker->has_keeper = true;
    while (worker->thread_count < worker->options.concurrency && failure == 0) {
        failure = pthread_create(&worker->threads[worker->thread_count], NULL, do_jobs, worker);
        worker->thread_count += failure == 0;
    }
    return failure == 0 ? NX_OK
                        : nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                             "no thread for the worker's jobs");
}

static void free_worker(nx_worker *worker)
{
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->lock);
    free(worker->data_dir);
    free(worker);
}

nx_status nx_worker_start(const nx_worker_options *options, nx_worker **out, nx_error *err)
{
    char host[64] = "";
    *out = NULL;
    if (options->concurrency == 0 || options->concurrency > NX_WORKER_MOST_AT_ONCE ||
        options->prefetch == 0) {
        return nx_error_set(err, NX_ERR_INVALID, "a worker does 1 to %d jobs at once",
                            NX_WORKER_MOST_AT_ONCE);
    }
    nx_worker *worker = calloc(1, sizeof *worker);
    char *data_dir = strdup(options->data_dir);
    if (worker == NULL || data_dir == NULL) {
        free(worker);
        free(data_dir);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a worker");
    }
    worker->options = *options;
    worker->rules =
        (nx_worker_rules){.postprocess = options->postprocess, .max_pixels = options->max_pixels};
    worker->data_dir = data_dir;
    worker->options.data_dir = data_dir;
    worker->options.lease_ms = options->lease_ms > 0 ? options->lease_ms : USUAL_LEASE_MS;
    (void)gethostname(host, sizeof host - 1); /* without one the name has none */
    snprintf(worker->name, sizeof worker->name, "%s:%ld", host, (long)getpid());
    pthread_mutex_init(&worker->lock, NULL);
    nx_condition_init(&worker->changed);
    nx_status status = start_threads(worker, err);
    if (status == NX_OK) {
        *out = worker;
    } else if (worker->has_keeper) {
        nx_worker_stop(worker);
    } else {
        free_worker(worker);
    }
    return status;
}

void nx_worker_set_rules(nx_worker *worker, const nx_worker_rules *rules)
{
    pthread_mutex_lock(&worker->lock);
    worker->rules = *rules;
    pthread_mutex_unlock(&worker->lock);
}

nx_worker_rules nx_worker_get_rules(nx_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    nx_worker_rules rules = worker->rules;
    pthread_mutex_unlock(&worker->lock);
    return rules;
}

void nx_worker_ask_stop(nx_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->stopping = true;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
}

void nx_worker_stop(nx_worker *worker)
{
    if (worker == NULL) {
        return;
    }
    nx_worker_ask_stop(worker);
    (void)pthread_join(worker->keeper, NULL);
    for (uint32_t i = 0; i < worker->thread_count; i++) {
        (void)pthread_join(worker->threads[i], NULL);
    }
    free_worker(worker);
}
