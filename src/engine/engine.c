#include "engine/engine.h"

#include "base/clock.h"
#include "base/condition.h"
#include "engine/batcher.h"

#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_QUEUE_SIZE 256
#define MAX_WORKERS        256
#define MAX_PREFETCH       64
#define MAX_THREADS        512

/* --- life --------------------------------------------------------------------------------------
 */

static void init_locks(nx_engine *engine)
{
    pthread_mutex_init(&engine->lock, NULL);
    nx_condition_init(&engine->work);
    nx_condition_init(&engine->consumed);
    nx_condition_init(&engine->done);
}

static uint32_t at_most(uint32_t number, uint32_t limit)
{
    return number < limit ? number : limit;
}

static nx_engine_options with_defaults(const nx_engine_options *given)
{
    nx_engine_options options = *given;
    if (options.queue_size == 0) {
        options.queue_size = DEFAULT_QUEUE_SIZE;
    }
    if (options.workers == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        options.workers = cores > 0 ? (uint32_t)cores : 1;
    }
    options.workers = at_most(options.workers, MAX_WORKERS);
    options.prefetch = at_most(options.prefetch, MAX_PREFETCH);
    options.preparers = at_most(options.preparers, MAX_THREADS);
    return options;
}

static bool make_lanes(nx_engine *engine)
{
    uint32_t count = engine->options.workers + engine->options.prefetch;
    uint32_t limit = at_most(engine->options.batch_size, NX_ENGINE_MAX_BATCH);
    engine->lanes = calloc(count, sizeof *engine->lanes);
    while (engine->lanes != NULL && engine->lane_count < count) {
        if (!nx_lane_init(&engine->lanes[engine->lane_count],
                          limit > 0 ? limit : NX_ENGINE_MAX_BATCH)) {
            return false;
        }
        engine->lane_count++;
    }
    engine->free_lanes = engine->lane_count;
    engine->permits = engine->options.workers;
    return engine->lanes != NULL;
}

static bool start_threads(nx_engine *engine)
{
    uint32_t least = engine->options.preparers;
    uint32_t count = engine->lane_count > least ? engine->lane_count : least;
    engine->threads = calloc(count, sizeof *engine->threads);
    while (engine->threads != NULL && engine->thread_count < count) {
        pthread_t *thread = &engine->threads[engine->thread_count];
        if (pthread_create(thread, NULL, nx_batcher_thread, engine) != 0) {
            return false;
        }
        engine->thread_count++;
    }
    return engine->threads != NULL;
}

nx_status nx_engine_new(const nx_engine_options *options, nx_engine **out, nx_error *err)
{
    nx_status status = NX_OK;
    *out = NULL;
    nx_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the engine");
    }
    engine->options = with_defaults(options);
    init_locks(engine);
    if (!make_lanes(engine)) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the engine");
    } else if (!start_threads(engine)) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE,
                              "cannot start threads for %u inference workers; lower "
                              "INFERENCE_WORKERS",
                              engine->options.workers);
    }
    if (status != NX_OK) {
        nx_engine_free(engine);
        return status;
    }
    *out = engine;
    return NX_OK;
}

/* --- the queue ----------------------------------------------------------------------------------
 */

/* How many may wait for one of this class to be let in. */
static uint32_t room_for(const nx_engine *engine, nx_priority priority)
{
    uint32_t size = engine->options.queue_size;
    return priority == NX_PRIORITY_BACKGROUND ? (size + 1) / 2 : size;
}

nx_status nx_engine_submit(nx_engine *engine, nx_engine_task *task, nx_error *err)
{
    nx_status status = NX_OK;
    task->timings = (nx_engine_timings){0};
    task->submitted_ns = nx_clock_now_ns();
    pthread_mutex_lock(&engine->lock);
    if (engine->draining) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "the server is shutting down");
    } else if (engine->queue.count >= room_for(engine, task->priority)) {
        status = nx_error_set(err, NX_ERR_BUSY, "the queue is full (%u pictures wait)",
                              engine->queue.count);
    } else {
        nx_task_queue_push(&engine->queue, task);
        if (task->priority == NX_PRIORITY_INTERACTIVE) {
            engine->waited_for_ns = task->submitted_ns + NX_BATCHER_KEPT_NS;
        }
        pthread_cond_signal(&engine->work);
    }
    pthread_mutex_unlock(&engine->lock);
    return status;
}

/* Reports a task that was taken out of the queue and counted as running, so that drain waits. */
static void report_cancelled(nx_engine *engine, nx_engine_task *task)
{
    nx_error err;
    nx_error_set(&err, NX_ERR_CANCELLED, "cancelled while it waited in the queue");
    task->done(task, NX_ERR_CANCELLED, &err);
    pthread_mutex_lock(&engine->lock);
    nx_batcher_done(engine, 1);
    pthread_mutex_unlock(&engine->lock);
}

bool nx_engine_cancel(nx_engine *engine, nx_engine_task *task)
{
    pthread_mutex_lock(&engine->lock);
    bool waiting = task->queued;
    if (waiting) {
        nx_task_queue_remove(&engine->queue, task);
        engine->active++;
    }
    pthread_mutex_unlock(&engine->lock);
    if (waiting) {
        report_cancelled(engine, task);
    }
    return waiting;
}

/* A waiting task, taken out and counted as running; NULL when none waits. */
static nx_engine_task *take_first(nx_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    nx_engine_task *task = NULL;
    for (uint32_t i = 0; i < NX_PRIORITY_COUNT && task == NULL; i++) {
        task = engine->queue.classes[i].first;
    }
    if (task != NULL) {
        nx_task_queue_remove(&engine->queue, task);
        engine->active++;
    }
    pthread_mutex_unlock(&engine->lock);
    return task;
}

nx_engine_stats nx_engine_get_stats(nx_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    nx_engine_stats stats = {
        .workers = engine->options.workers,
        .queue_size = engine->options.queue_size,
        .queued = engine->queue.count,
        .running = engine->active,
        .run_ns_average = engine->run_ns_average,
    };
    pthread_mutex_unlock(&engine->lock);
    return stats;
}

uint32_t nx_engine_window(const nx_engine *engine, const nx_backend *backend)
{
    const nx_engine_options *options = &engine->options;
    return (2 * options->workers + options->prefetch) * nx_batcher_limit(options, backend);
}

bool nx_engine_drain(nx_engine *engine, int64_t deadline_ns)
{
    int result = 0;
    pthread_mutex_lock(&engine->lock);
    engine->draining = true;
    pthread_cond_broadcast(&engine->work); /* no batch waits for more any longer */
    while ((engine->queue.count > 0 || engine->active > 0) && result == 0) {
        result = deadline_ns == 0 ? pthread_cond_wait(&engine->done, &engine->lock)
                                  : nx_condition_wait(&engine->done, &engine->lock, deadline_ns);
    }
    bool drained = engine->queue.count == 0 && engine->active == 0;
    pthread_mutex_unlock(&engine->lock);
    return drained;
}

void nx_engine_free(nx_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    pthread_mutex_lock(&engine->lock);
    engine->draining = true;
    pthread_mutex_unlock(&engine->lock);
    for (nx_engine_task *task = take_first(engine); task != NULL; task = take_first(engine)) {
        report_cancelled(engine, task);
    }
    pthread_mutex_lock(&engine->lock);
    engine->stopping = true;
    pthread_cond_broadcast(&engine->work);
    pthread_mutex_unlock(&engine->lock);
    for (uint32_t i = 0; i < engine->thread_count; i++) {
        pthread_join(engine->threads[i], NULL);
    }
    for (uint32_t i = 0; i < engine->lane_count; i++) {
        nx_lane_free(&engine->lanes[i]);
    }
    pthread_cond_destroy(&engine->work);
    pthread_cond_destroy(&engine->consumed);
    pthread_cond_destroy(&engine->done);
    pthread_mutex_destroy(&engine->lock);
    free(engine->lanes);
    free(engine->threads);
    free(engine);
}
