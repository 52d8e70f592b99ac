/*
 * Trivial jobs through the queue, enqueued, taken and finished: bench_store URL [JOBS [CLIENTS
 * [WORKERS [PREFETCH]]]]. Each enqueueing is a transaction of its own, as each request to the API
 * is; workers take and finish PREFETCH at a time. The database should be empty and on the disk that
 * it is meant for. Built with the release tree (ninja -C build/release bench_store).
 */
#include "base/clock.h"
#include "base/log.h"
#include "store/jobs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_THREADS  64
#define MAX_PREFETCH 64
#define LEASE_MS     60000

typedef struct bench {
    nx_store *store;
    int jobs;
    int prefetch;
    atomic_int asked; /* numbers given out to clients */
    atomic_int done;
    atomic_int failed;
} bench;

static void note_failure(bench *self, const nx_error *err)
{
    if (atomic_fetch_add(&self->failed, 1) == 0) {
        fprintf(stderr, "bench_store: %s\n", err->message);
    }
}

static void *client(void *user)
{
    bench *self = user;
    const nx_job_request request = {
        .owner = "bench", .kind = "trivial", .options = "{}", .max_attempts = 3};
    while (atomic_fetch_add(&self->asked, 1) < self->jobs) {
        nx_arena arena = nx_arena_make(0);
        nx_error err = {0};
        nx_job job;
        bool made = false;
        if (nx_store_job_enqueue(self->store, &request, &arena, &job, &made, &err) != NX_OK) {
            note_failure(self, &err);
        }
        nx_arena_free(&arena);
    }
    return NULL;
}

/* Takes and finishes once; returns how many. */
static int work_once(bench *self)
{
    nx_arena arena = nx_arena_make(0);
    nx_error err = {0};
    nx_job jobs[MAX_PREFETCH];
    nx_job_outcome outcomes[MAX_PREFETCH];
    nx_status statuses[MAX_PREFETCH];
    size_t count = 0;
    if (nx_store_jobs_take(self->store, "bench", (size_t)self->prefetch, LEASE_MS, &arena, jobs,
                           &count, &err) != NX_OK) {
        note_failure(self, &err);
    }
    for (size_t i = 0; i < count; i++) {
        outcomes[i] = (nx_job_outcome){.lease = {.id = jobs[i].id, .fence = jobs[i].fence},
                                       .state = NX_JOB_SUCCEEDED};
    }
    if (count > 0 && nx_store_jobs_finish(self->store, outcomes, count, statuses, &err) != NX_OK) {
        note_failure(self, &err);
    }
    nx_arena_free(&arena);
    return (int)count;
}

static void *worker(void *user)
{
    bench *self = user;
    while (atomic_load(&self->done) < self->jobs && atomic_load(&self->failed) == 0) {
        int count = work_once(self);
        atomic_fetch_add(&self->done, count);
        if (count == 0) { /* as a worker that finds nothing would */
            const struct timespec pause = {.tv_nsec = 2 * NX_NS_PER_MS};
            (void)nanosleep(&pause, NULL);
        }
    }
    return NULL;
}

static double run_threads(bench *self, int clients, int workers)
{
    pthread_t threads[MAX_THREADS];
    int64_t started = nx_clock_now_ns();
    for (int i = 0; i < clients + workers; i++) {
        if (pthread_create(&threads[i], NULL, i < clients ? client : worker, self) != 0) {
            perror("bench_store");
            exit(1);
        }
    }
    for (int i = 0; i < clients + workers; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    return (double)(nx_clock_now_ns() - started) / (double)NX_NS_PER_SEC;
}

static int number(int argc, char **argv, int index, int fallback, int most)
{
    long value = argc > index ? strtol(argv[index], NULL, 10) : fallback;
    return value < 1 ? 1 : value > most ? most : (int)value;
}

int main(int argc, char **argv)
{
    nx_error err = {0};
    int clients = number(argc, argv, 3, 8, MAX_THREADS / 2);
    int workers = number(argc, argv, 4, 2, MAX_THREADS / 2);
    bench self = {.jobs = number(argc, argv, 2, 5000, 1000000),
                  .prefetch = number(argc, argv, 5, 16, MAX_PREFETCH)};
    const nx_store_options options = {.url = argc > 1 ? argv[1] : "",
                                      .data_dir = ".",
                                      .pool_size = 50,
                                      .max_overflow = 25,
                                      .timeout_ms = 10000,
                                      .recycle_s = 1800,
                                      .pre_ping = true};
    nx_log_configure_level(NX_LOG_WARNING);
    if (argc < 2 || nx_store_open(&options, &self.store, &err) != NX_OK) {
        fprintf(stderr, "bench_store: %s\n", argc < 2 ? "name a database" : err.message);
        return 2;
    }
    double seconds = run_threads(&self, clients, workers);
    printf("| %s | %d clients, %d workers, %d at a time | %.0f jobs/s |\n",
           nx_store_kind(self.store), clients, workers, self.prefetch, self.jobs / seconds);
    nx_store_close(self.store);
    return atomic_load(&self.failed) == 0 ? 0 : 1;
}
