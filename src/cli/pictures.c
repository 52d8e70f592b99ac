#include "cli/pictures.h"

#include "base/file.h"

#include <pthread.h>
#include <stdlib.h>

/* Files above this are not pictures that we decode. */
#define MAX_FILE_BYTES ((size_t)1 << 30)

typedef struct shared {
    pthread_mutex_t lock; /* guards `finished` of every slot */
    pthread_cond_t cond;
} shared;

typedef struct slot {
    shared *shared;
    nx_buffer bytes;
    nx_image_job *job;
    bool finished;
    bool unread;
    nx_status status;
    nx_error err;
} slot;

static void finish_slot(nx_image_job *job, nx_status status, const nx_error *err, void *user)
{
    slot *self = user;
    (void)job;
    pthread_mutex_lock(&self->shared->lock);
    self->status = status;
    self->err = *err;
    self->finished = true;
    pthread_cond_signal(&self->shared->cond);
    pthread_mutex_unlock(&self->shared->lock);
}

/* Reads and submits one picture; a failure is the slot's outcome. */
static void start(slot *self, const char *path, nx_engine *engine, nx_model *model,
                  const nx_image_job_options *options)
{
    self->finished = false;
    self->err = (nx_error){0};
    nx_status status = nx_file_read(path, MAX_FILE_BYTES, &self->bytes, &self->err);
    self->unread = status != NX_OK;
    if (status == NX_OK) {
        status = nx_image_job_new(model, self->bytes.data, self->bytes.size, options, &self->job,
                                  &self->err);
    }
    if (status == NX_OK) {
        status = nx_image_job_submit(self->job, engine, finish_slot, self, &self->err);
    }
    if (status != NX_OK) { /* not submitted: no other thread knows of it */
        self->status = status;
        self->finished = true;
    }
}

static void wait_for(slot *self)
{
    pthread_mutex_lock(&self->shared->lock);
    while (!self->finished) {
        pthread_cond_wait(&self->shared->cond, &self->shared->lock);
    }
    pthread_mutex_unlock(&self->shared->lock);
}

static nx_status report(slot *self, size_t index, const char *path, nx_picture_visit visit,
                        void *user, nx_error *err)
{
    nx_result result = {0};
    nx_buffer picture = NX_BUFFER_INIT;
    nx_picture_outcome outcome = {
        .index = index,
        .path = path,
        .status = self->status,
        .err = &self->err,
        .unread = self->unread,
        .annotated = &picture,
    };
    if (self->status == NX_OK) {
        result = nx_image_job_result(self->job);
        result.source = path;
        outcome.result = &result;
        picture = nx_image_job_take_picture(self->job);
    }
    nx_status status = visit(&outcome, user, err);
    nx_buffer_free(&picture);
    return status;
}

nx_status nx_pictures_run(nx_engine *engine, nx_model *model, char *const *paths, size_t count,
                          const nx_image_job_options *options, const atomic_int *stop,
                          nx_picture_visit visit, void *user, nx_error *err)
{
    nx_engine_stats stats = nx_engine_get_stats(engine);
    size_t window = (size_t)nx_engine_window(engine, nx_model_backend(model)) + 2;
    window = window < stats.queue_size ? window : stats.queue_size;
    window = window < count ? window : count;
    shared common = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    slot *slots = calloc(window > 0 ? window : 1, sizeof *slots);
    if (slots == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for %zu pictures at once", window);
    }
    nx_status status = NX_OK;
    size_t started = 0;
    size_t reported = 0;
    while (reported < started || (status == NX_OK && started < count)) {
        bool stopped = stop != NULL && atomic_load(stop) != 0;
        if (stopped && status == NX_OK) {
            status = nx_error_set(err, NX_ERR_CANCELLED, "interrupted after %zu of %zu pictures",
                                  started, count);
        }
        if (status == NX_OK && started < count && started - reported < window) {
            slot *self = &slots[started % window];
            self->shared = &common;
            start(self, paths[started], engine, model, options);
            started++;
            continue;
        }
        if (reported == started) {
            break;
        }
        slot *self = &slots[reported % window];
        /* what is in flight when the user interrupts still counts; after an error it does not */
        bool counts = status == NX_OK || status == NX_ERR_CANCELLED;
        if (!counts && self->job != NULL) {
            (void)nx_image_job_cancel(self->job, engine);
        }
        wait_for(self);
        if (counts) {
            nx_status visited =
                report(self, reported, paths[reported], visit, user, status == NX_OK ? err : NULL);
            status = status == NX_OK ? visited : status;
        }
        nx_image_job_free(self->job);
        self->job = NULL;
        reported++;
    }
    for (size_t i = 0; i < window; i++) {
        nx_buffer_free(&slots[i].bytes);
    }
    free(slots);
    pthread_cond_destroy(&common.cond);
    pthread_mutex_destroy(&common.lock);
    return status;
}
