#include "jobs/shared_models.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "jobs/shared_models_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the thread ---------------------------------------------------------------------------------
 */

/* Said when it begins and when it ends, not each second in between. */
static void look(nx_shared_models *self)
{
    nx_error err = {0};
    bool failed = nx_shared_look(self, &err) != NX_OK;
    if (failed) {
        pthread_mutex_lock(&self->lock);
        self->stats.failures++;
        pthread_mutex_unlock(&self->lock);
    }
    if (failed && !self->out_of_sight) {
        nx_log_warn("models", "changes by other servers are not seen for now: %s", err.message);
    } else if (!failed && self->out_of_sight) {
        nx_log_info("models", "changes by other servers are seen again");
    }
    self->out_of_sight = failed;
}

static void *follow(void *user)
{
    nx_shared_models *self = user;
    pthread_mutex_lock(&self->lock);
    while (!self->stop) {
        const int64_t next = nx_clock_now_ns() + self->period_ns;
        while (!self->stop && !self->poked && nx_clock_now_ns() < next) {
            (void)nx_condition_wait(&self->changed, &self->lock, next);
        }
        self->poked = false;
        if (!self->stop) {
            pthread_mutex_unlock(&self->lock);
            look(self);
            pthread_mutex_lock(&self->lock);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

nx_status nx_shared_models_follow(nx_shared_models *shared, nx_registry *registry, nx_error *err)
{
    shared->registry = registry;
    int failure = pthread_create(&shared->thread, NULL, follow, shared);
    shared->running = failure == 0;
    return failure == 0 ? NX_OK
                        : nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                             "no thread to follow the models of other servers");
}

void nx_shared_models_poke(nx_shared_models *shared)
{
    pthread_mutex_lock(&shared->lock);
    shared->poked = true;
    pthread_cond_signal(&shared->changed);
    pthread_mutex_unlock(&shared->lock);
}

/* --- life ---------------------------------------------------------------------------------------
 */

nx_status nx_shared_models_open(const nx_shared_models_options *options, nx_shared_models **out,
                                nx_error *err)
{
    int64_t generation = 0;
    *out = NULL;
    nx_shared_models *self = calloc(1, sizeof *self);
    if (self == NULL ||
        asprintf(&self->progress_path, "%s/models.generation", options->data_dir) < 0) {
        free(self);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the shared models");
    }
    self->database = options->database;
    self->objects = options->objects;
    self->store = options->store;
    self->period_ns = options->period_ms > 0 ? options->period_ms * NX_NS_PER_MS : NX_NS_PER_SEC;
    self->across = nx_objects_are_shared(options->objects);
    self->stats.generation = -1;
    pthread_mutex_init(&self->lock, NULL);
    pthread_rwlock_init(&self->access_lock, NULL);
    nx_condition_init(&self->changed);
    nx_status status = nx_store_models_generation(self->database, self->service, &generation, err);
    if (status == NX_OK) {
        nx_shared_read_progress(self);
        status = nx_shared_look(self, err);
    }
    if (status != NX_OK) {
        nx_shared_models_close(self);
        return status;
    }
    *out = self;
    return NX_OK;
}

void nx_shared_models_close(nx_shared_models *shared)
{
    if (shared == NULL) {
        return;
    }
    if (shared->running) {
        pthread_mutex_lock(&shared->lock);
        shared->stop = true;
        pthread_cond_signal(&shared->changed);
        pthread_mutex_unlock(&shared->lock);
        (void)pthread_join(shared->thread, NULL);
    }
    while (shared->names != NULL) {
        nx_followed *state = shared->names;
        shared->names = state->next;
        free(state);
    }
    pthread_cond_destroy(&shared->changed);
    pthread_mutex_destroy(&shared->lock);
    pthread_rwlock_destroy(&shared->access_lock);
    nx_access_table_free(shared->access);
    free(shared->entries);
    free(shared->progress_path);
    free(shared);
}

/* --- looking ------------------------------------------------------------------------------------
 */

nx_shared_models_stats nx_shared_models_get_stats(nx_shared_models *shared)
{
    pthread_mutex_lock(&shared->lock);
    nx_shared_models_stats stats = shared->stats;
    pthread_mutex_unlock(&shared->lock);
    return stats;
}

nx_status nx_shared_models_list(nx_shared_models *shared, nx_shared_entry **out, size_t *count,
                                nx_error *err)
{
    pthread_mutex_lock(&shared->lock);
    size_t bytes = shared->entry_count * sizeof **out;
    *out = malloc(bytes > 0 ? bytes : 1);
    *count = shared->entry_count;
    if (*out != NULL && bytes > 0) {
        memcpy(*out, shared->entries, bytes);
    }
    pthread_mutex_unlock(&shared->lock);
    return *out != NULL ? NX_OK
                        : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the list of models");
}
