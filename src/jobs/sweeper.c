#include "jobs/sweeper.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "jobs/sweep_files.h"
#include "store/events.h"
#include "store/jobs.h"
#include "store/object_uses.h"
#include "store/videos.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE        ((size_t)64)
#define EVENTS_AT_ONCE ((size_t)500)
#define LEAST_FILE_MS  (INT64_C(3600) * 1000)
#define PARTS_MS       (INT64_C(24) * 3600 * 1000)

nx_sweep_options nx_sweep_options_of(const nx_config *config, nx_store *store, nx_objects *objects,
                                     const char *data_dir)
{
    int64_t upload_ms = nx_config_int(config, NX_CONFIG_UPLOAD_LIFETIME) * 1000;
    return (nx_sweep_options){
        .store = store,
        .objects = objects,
        .data_dir = data_dir,
        .file_ms = upload_ms > LEAST_FILE_MS ? upload_ms : LEAST_FILE_MS,
        .parts_ms = PARTS_MS,
        .job_ms = nx_config_int(config, NX_CONFIG_JOB_LIFETIME) * 1000,
        .event_ms = nx_config_int(config, NX_CONFIG_EVENT_LIFETIME) * 1000,
        .event_bytes = nx_config_int(config, NX_CONFIG_EVENT_MAX_BYTES),
    };
}

static bool is_stopped(const nx_sweep_options *options)
{
    return options->stop != NULL && atomic_load(options->stop);
}

/* --- each kind ----------------------------------------------------------------------------------
 */

static nx_status sweep_uploads(const nx_sweep_options *options, nx_swept *out, nx_error *err)
{
    const char *ids[AT_ONCE];
    size_t count = AT_ONCE;
    nx_status status = NX_OK;
    while (status == NX_OK && count == AT_ONCE && !is_stopped(options)) {
        nx_arena arena = nx_arena_make(0);
        status = nx_store_uploads_expire(options->store, AT_ONCE, &arena, ids, &count, err);
        for (size_t i = 0; status == NX_OK && i < count; i++) {
            status = nx_objects_discard(options->objects, ids[i], err);
        }
        out->uploads += status == NX_OK ? count : 0;
        nx_arena_free(&arena);
    }
    return status;
}

/* Their results are objects that nothing needs then. */
static nx_status sweep_jobs(const nx_sweep_options *options, nx_swept *out, nx_error *err)
{
    int64_t removed = AT_ONCE;
    nx_status status = NX_OK;
    while (status == NX_OK && options->job_ms > 0 && removed == (int64_t)AT_ONCE &&
           !is_stopped(options)) {
        removed = 0;
        status = nx_store_jobs_purge(options->store, options->job_ms, AT_ONCE, &removed, err);
        out->jobs += (uint64_t)removed;
    }
    return status;
}

/* Their pictures and clips are objects that nothing needs then. */
static nx_status sweep_events(const nx_sweep_options *options, nx_swept *out, nx_error *err)
{
    size_t removed = EVENTS_AT_ONCE;
    nx_status status = NX_OK;
    while (status == NX_OK && options->event_ms > 0 && removed == EVENTS_AT_ONCE &&
           !is_stopped(options)) {
        status = nx_store_events_expire(options->store, options->event_ms, options->event_bytes,
                                        EVENTS_AT_ONCE, &removed, err);
        out->events += removed;
    }
    return status;
}

/* Page by page by name: what can't be taken away is passed. */
static nx_status sweep_objects(const nx_sweep_options *options, nx_swept *out, nx_error *err)
{
    char after[NX_OBJECT_NAME_SIZE] = "";
    const char *names[AT_ONCE];
    size_t count = AT_ONCE;
    size_t removed = 0;
    nx_status status = nx_store_objects_tidy(options->store, options->parts_ms, err);
    while (status == NX_OK && count == AT_ONCE && !is_stopped(options)) {
        nx_arena arena = nx_arena_make(0);
        status =
            nx_store_objects_unused(options->store, after, AT_ONCE, &arena, names, &count, err);
        if (status == NX_OK && count > 0) {
            snprintf(after, sizeof after, "%.64s", names[count - 1]);
            status = nx_store_objects_collect(options->store, options->objects, names, count,
                                              &removed, err);
            out->objects += removed;
        }
        nx_arena_free(&arena);
    }
    return status;
}

nx_status nx_sweep(const nx_sweep_options *options, nx_swept *out, nx_error *err)
{
    static nx_status (*const kinds[])(const nx_sweep_options *, nx_swept *, nx_error *) = {
        sweep_uploads, nx_sweep_upload_files, nx_sweep_lease_folders,
        sweep_jobs,    sweep_events,          sweep_objects,
    };
    nx_status status = NX_OK;
    *out = (nx_swept){0};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && !is_stopped(options); i++) {
        nx_error why = {0};
        nx_status one = kinds[i](options, out, &why);
        if (one != NX_OK && status == NX_OK) {
            status = one;
            *err = why;
        }
    }
    return status;
}

/* --- again and again ----------------------------------------------------------------------------
 */

struct nx_sweeper {
    nx_sweep_options options;
    char *data_dir;
    int64_t period_ms;
    void (*swept)(const nx_swept *what, void *user);
    void *user;
    atomic_bool stop;
    pthread_t thread;
    pthread_mutex_t lock; /* of the wait for the next time */
    pthread_cond_t changed;
};

static void sweep_and_tell(const nx_sweeper *self)
{
    nx_swept found = {0};
    nx_error err = {0};
    nx_status status = nx_sweep(&self->options, &found, &err);
    if (status != NX_OK) {
        nx_log_warn("jobs", "what is left behind is not all taken away: %s", err.message);
    }
    if (found.uploads + found.files + found.folders + found.jobs + found.events + found.objects >
        0) {
        nx_log_info("jobs",
                    "taken away: %llu old uploads, %llu files, %llu folders, %llu old jobs, %llu "
                    "events and %llu objects that nothing needs",
                    (unsigned long long)found.uploads, (unsigned long long)found.files,
                    (unsigned long long)found.folders, (unsigned long long)found.jobs,
                    (unsigned long long)found.events, (unsigned long long)found.objects);
    }
    if (self->swept != NULL) {
        self->swept(&found, self->user);
    }
}

static void *run(void *user)
{
    nx_sweeper *self = user;
    while (!atomic_load(&self->stop)) {
        sweep_and_tell(self);
        const int64_t next = nx_clock_now_ns() + self->period_ms * NX_NS_PER_MS;
        pthread_mutex_lock(&self->lock);
        while (!atomic_load(&self->stop) && nx_clock_now_ns() < next) {
            (void)nx_condition_wait(&self->changed, &self->lock, next);
        }
        pthread_mutex_unlock(&self->lock);
    }
    return NULL;
}

static void free_sweeper(nx_sweeper *self)
{
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free(self->data_dir);
    free(self);
}

nx_status nx_sweeper_start(const nx_sweep_options *options, int64_t period_ms,
                           void (*swept)(const nx_swept *what, void *user), void *user,
                           nx_sweeper **out, nx_error *err)
{
    *out = NULL;
    nx_sweeper *self = calloc(1, sizeof *self);
    char *data_dir = strdup(options->data_dir);
    if (self == NULL || data_dir == NULL) {
        free(self);
        free(data_dir);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to clear up");
    }
    atomic_init(&self->stop, false);
    self->options = *options;
    self->options.data_dir = self->data_dir = data_dir;
    self->options.stop = &self->stop;
    self->period_ms = period_ms;
    self->swept = swept;
    self->user = user;
    pthread_mutex_init(&self->lock, NULL);
    nx_condition_init(&self->changed);
    int failure = pthread_create(&self->thread, NULL, run, self);
    if (failure != 0) {
        free_sweeper(self);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure, "no thread to clear up");
    }
    *out = self;
    return NX_OK;
}

void nx_sweeper_stop(nx_sweeper *sweeper)
{
    if (sweeper == NULL) {
        return;
    }
    pthread_mutex_lock(&sweeper->lock);
    atomic_store(&sweeper->stop, true);
    pthread_cond_broadcast(&sweeper->changed);
    pthread_mutex_unlock(&sweeper->lock);
    (void)pthread_join(sweeper->thread, NULL);
    free_sweeper(sweeper);
}
