#include "api/job_counts.h"

#include "base/condition.h"
#include "store/audit.h"

#include <stdlib.h>
#include <string.h>

struct nx_job_counts {
    nx_store *store;
    pthread_t thread;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool wanted; /* a count that has not begun */
    bool ending;
    int64_t begun_ns; /* of the one that is on its way; 0: none is */
    uint64_t ended;   /* how many have */
    bool known;
    int64_t jobs[NX_JOB_STATE_COUNT];
    nx_deliveries_waiting deliveries;
    int64_t backup_at;
    int64_t counted_ns;
    uint64_t failures;
};

static void count(nx_job_counts *self)
{
    int64_t jobs[NX_JOB_STATE_COUNT];
    nx_deliveries_waiting deliveries;
    int64_t backup_at = 0;
    nx_error err = {0};
    int64_t now = nx_clock_now_ns();
    self->wanted = false;
    self->begun_ns = now;
    pthread_mutex_unlock(&self->lock);
    nx_status status = nx_store_jobs_count(self->store, jobs, &err);
    if (status == NX_OK) {
        status = nx_store_deliveries_waiting(self->store, &deliveries, &err);
    }
    if (status == NX_OK) {
        status = nx_store_audit_last(self->store, "backup.create", &backup_at, &err);
    }
    pthread_mutex_lock(&self->lock);
    self->begun_ns = 0;
    self->ended++;
    if (status == NX_OK) {
        self->known = true;
        memcpy(self->jobs, jobs, sizeof jobs);
        self->deliveries = deliveries;
        self->backup_at = backup_at;
        self->counted_ns = now;
    } else {
        self->failures++;
    }
    pthread_cond_broadcast(&self->changed);
}

static void *run(void *user)
{
    nx_job_counts *self = user;
    pthread_mutex_lock(&self->lock);
    while (!self->ending) {
        if (self->wanted) {
            count(self);
        } else {
            pthread_cond_wait(&self->changed, &self->lock);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

nx_status nx_job_counts_new(nx_store *store, nx_job_counts **out, nx_error *err)
{
    *out = NULL;
    nx_job_counts *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for counting jobs");
    }
    self->store = store;
    pthread_mutex_init(&self->lock, NULL);
    nx_condition_init(&self->changed);
    int failure = pthread_create(&self->thread, NULL, run, self);
    if (failure != 0) {
        pthread_cond_destroy(&self->changed);
        pthread_mutex_destroy(&self->lock);
        free(self);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                  "cannot start the thread that counts jobs");
    }
    *out = self;
    return NX_OK;
}

void nx_job_counts_free(nx_job_counts *counts)
{
    if (counts == NULL) {
        return;
    }
    pthread_mutex_lock(&counts->lock);
    counts->ending = true;
    pthread_cond_broadcast(&counts->changed);
    pthread_mutex_unlock(&counts->lock);
    pthread_join(counts->thread, NULL);
    pthread_cond_destroy(&counts->changed);
    pthread_mutex_destroy(&counts->lock);
    free(counts);
}

/* With the lock. */
static nx_job_census tell(const nx_job_counts *self)
{
    nx_job_census census = {.age_ns = -1,
                            .failures = self->failures,
                            .backup_at = self->backup_at,
                            .deliveries = self->deliveries};
    if (self->known) {
        census.age_ns = nx_clock_now_ns() - self->counted_ns;
    }
    for (size_t i = 0; i < NX_JOB_STATE_COUNT; i++) {
        census.jobs[i] = self->known ? self->jobs[i] : -1;
    }
    return census;
}

nx_job_census nx_job_counts_read(nx_job_counts *counts, uint32_t wait_ms)
{
    int64_t now = nx_clock_now_ns();
    int64_t wait_ns = (int64_t)wait_ms * NX_NS_PER_MS;
    int late = 0;
    pthread_mutex_lock(&counts->lock);
    bool counting = counts->begun_ns != 0;
    /* one that is on its way may miss what has happened meanwhile */
    uint64_t goal = counts->ended + (counting ? 2 : 1);
    bool hangs = counting && now - counts->begun_ns > wait_ns;
    counts->wanted = true;
    pthread_cond_broadcast(&counts->changed);
    while (!hangs && late == 0 && counts->ended < goal && !counts->ending) {
        late = nx_condition_wait(&counts->changed, &counts->lock, now + wait_ns);
    }
    counts->failures += counts->ended < goal ? 1 : 0;
    const nx_job_census census = tell(counts);
    pthread_mutex_unlock(&counts->lock);
    return census;
}

nx_job_census nx_job_counts_last(nx_job_counts *counts)
{
    pthread_mutex_lock(&counts->lock);
    const nx_job_census census = tell(counts);
    pthread_mutex_unlock(&counts->lock);
    return census;
}
