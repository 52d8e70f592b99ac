/* What queue, batch and hand-over cost: the engine with a model that does nothing. */
#include "micro_engine.h"

#include "base/clock.h"
#include "engine/engine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 101
#define BURST  256 /* requests that come at once */

static size_t empty_slot(void *self, uint32_t width, uint32_t height)
{
    (void)self;
    (void)width;
    (void)height;
    return 64;
}

static nx_status empty_run(void *self, const nx_batch *batch, nx_batch_read read, void *user,
                           nx_error *err)
{
    const nx_tensor output = {.rank = 1, .dims = {batch->count}, .data = batch->data};
    (void)self;
    return read(&output, 1, user, err);
}

static nx_status empty_prepare(nx_engine_task *task, void *slot, nx_error *err)
{
    (void)task;
    (void)err;
    *(uint32_t *)slot = 1;
    return NX_OK;
}

static nx_status empty_consume(nx_engine_task *task, const nx_tensor *outputs, size_t count,
                               uint32_t slot, nx_error *err)
{
    (void)task;
    (void)outputs;
    (void)count;
    (void)slot;
    (void)err;
    return NX_OK;
}

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int missing;
} burst = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

static void count_down(nx_engine_task *task, nx_status status, const nx_error *err)
{
    (void)task;
    (void)status;
    (void)err;
    pthread_mutex_lock(&burst.lock);
    if (--burst.missing == 0) {
        pthread_cond_signal(&burst.changed);
    }
    pthread_mutex_unlock(&burst.lock);
}

static nx_status send_requests(nx_engine *engine, int count, nx_error *err)
{
    static const nx_backend backend = {.max_batch = 16, .slot_bytes = empty_slot, .run = empty_run};
    static nx_engine_task tasks[BURST];
    nx_status status = NX_OK;
    burst.missing = count;
    for (int i = 0; i < count && status == NX_OK; i++) {
        tasks[i] = (nx_engine_task){.backend = &backend,
                                    .prepare = empty_prepare,
                                    .consume = empty_consume,
                                    .done = count_down};
        status = nx_engine_submit(engine, &tasks[i], err);
    }
    pthread_mutex_lock(&burst.lock);
    while (status == NX_OK && burst.missing > 0) {
        pthread_cond_wait(&burst.changed, &burst.lock);
    }
    pthread_mutex_unlock(&burst.lock);
    return status;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Wall time of one of `count` requests that come at once: several threads have a part in it. */
static void time_requests(const char *name, nx_engine *engine, int count)
{
    double ms[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        nx_error err = {0};
        int64_t start = nx_clock_now_ns();
        if (send_requests(engine, count, &err) != NX_OK) {
            fprintf(stderr, "%s: %s\n", name, err.message);
            exit(1);
        }
        ms[i] = nx_clock_ms(nx_clock_now_ns() - start) / count;
    }
    qsort(ms, ROUNDS, sizeof ms[0], compare);
    printf("%-42s %8.4f ms   (least %.4f, p95 %.4f)\n", name, ms[ROUNDS / 2], ms[0],
           ms[ROUNDS * 95 / 100]);
}

static void time_engine(const char *one, const char *many, uint32_t batch)
{
    const nx_engine_options options = {.workers = 2, .batch_size = batch, .queue_size = BURST};
    nx_engine *engine = NULL;
    nx_error err = {0};
    if (nx_engine_new(&options, &engine, &err) != NX_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    time_requests(one, engine, 1);
    time_requests(many, engine, BURST);
    nx_engine_free(engine);
}

void micro_engine(void)
{
    time_engine("engine, a request that is alone", "engine, each of 256 requests", 1);
    time_engine("engine, alone, batches allowed", "engine, each of 256 in batches of 16", 16);
}
