#include "engine/engine.h"

#include "base/clock.h"
#include "engine/model.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_QUEUE_SIZE 256
#define MAX_WORKERS        256
/* After so long without work, memory kept for speed goes back to the system. */
#define IDLE_AFTER_NS (3 * NX_NS_PER_SEC)

struct nx_engine {
    nx_engine_options options;
    pthread_t *threads;
    uint32_t thread_count;

    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work;  /* a task was queued, or stopping */
    pthread_cond_t done;  /* the last accepted task ended */
    nx_engine_task *first, *last;
    uint32_t queued;
    uint32_t running;
    int64_t run_ns_average;
    bool draining; /* no new tasks */
    bool stopping; /* workers leave when the queue is empty */
    bool trimmed;
};

/* What a worker keeps from task to task. */
typedef struct worker {
    nx_engine *engine;
    void *slot;
    size_t slot_bytes;
} worker;

/* --- the queue; the lock is held ---------------------------------------------------------------
 */

static void push(nx_engine *engine, nx_engine_task *task)
{
    task->next = NULL;
    task->previous = engine->last;
    if (engine->last != NULL) {
        engine->last->next = task;
    } else {
        engine->first = task;
    }
    engine->last = task;
    task->queued = true;
    engine->queued++;
}

static void unlink_task(nx_engine *engine, nx_engine_task *task)
{
    if (task->previous != NULL) {
        task->previous->next = task->next;
    } else {
        engine->first = task->next;
    }
    if (task->next != NULL) {
        task->next->previous = task->previous;
    } else {
        engine->last = task->previous;
    }
    task->next = NULL;
    task->previous = NULL;
    task->queued = false;
    engine->queued--;
}

static void tell_if_drained(nx_engine *engine)
{
    if (engine->queued == 0 && engine->running == 0) {
        pthread_cond_broadcast(&engine->done);
    }
}

/* --- a worker ----------------------------------------------------------------------------------
 */

typedef struct run_context {
    nx_engine *engine;
    nx_engine_task *task;
    int64_t started_ns;
} run_context;

static nx_status read_outputs(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    run_context *context = user;
    nx_engine *engine = context->engine;
    nx_engine_task *task = context->task;
    int64_t ended = nx_clock_now_ns();
    task->timings.run = ended - context->started_ns;
    if (engine->options.on_run != NULL) {
        engine->options.on_run(task->timings.run, 1, engine->options.user);
    }
    nx_status status = task->consume(task, outputs, count, 0, err);
    task->timings.consume = nx_clock_now_ns() - ended;
    return status;
}

static bool ensure_slot(worker *self, size_t bytes)
{
    if (self->slot_bytes >= bytes) {
        return true;
    }
    free(self->slot);
    self->slot = NULL;
    self->slot_bytes = 0;
    if (posix_memalign(&self->slot, 64, bytes) != 0) {
        self->slot = NULL;
        return false;
    }
    self->slot_bytes = bytes;
    return true;
}

static nx_status run_picture(worker *self, nx_engine_task *task, int64_t start, nx_error *err)
{
    const nx_backend *backend = task->backend;
    nx_batch batch = {.count = 1, .width = task->input_width, .height = task->input_height};
    if (!ensure_slot(self, backend->slot_bytes(backend->self, batch.width, batch.height))) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model input of %ux%u",
                            batch.width, batch.height);
    }
    nx_status status = task->prepare(task, self->slot, err);
    int64_t prepared = nx_clock_now_ns();
    task->timings.prepare = prepared - start;
    if (status != NX_OK) {
        return status;
    }
    run_context context = {.engine = self->engine, .task = task, .started_ns = prepared};
    batch.data = self->slot;
    return backend->run(backend->self, &batch, read_outputs, &context, err);
}

static nx_status execute(worker *self, nx_engine_task *task, nx_error *err)
{
    int64_t start = nx_clock_now_ns();
    task->timings.queue = start - task->submitted_ns;
    if (task->deadline_ns != 0 && start > task->deadline_ns) {
        return nx_error_set(err, NX_ERR_TIMEOUT, "waited %.1f s in the queue, longer than allowed",
                            nx_clock_ms(task->timings.queue) / 1e3);
    }
    if (task->execute == NULL) {
        return run_picture(self, task, start, err);
    }
    nx_status status = task->execute(task, err);
    task->timings.run = nx_clock_now_ns() - start;
    return status;
}

/* Waits for a task; once there has been none for a while, gives memory back. The lock is held.
 * Returns NULL when the worker should leave. */
static nx_engine_task *next_task(nx_engine *engine)
{
    while (engine->first == NULL && !engine->stopping) {
        if (engine->trimmed || engine->options.runtime == NULL) {
            pthread_cond_wait(&engine->work, &engine->lock);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += IDLE_AFTER_NS / NX_NS_PER_SEC;
        int result = pthread_cond_timedwait(&engine->work, &engine->lock, &until);
        if (result == ETIMEDOUT && engine->first == NULL && engine->running == 0 &&
            !engine->trimmed && !engine->stopping) {
            engine->trimmed = true;
            pthread_mutex_unlock(&engine->lock);
            nx_runtime_trim(engine->options.runtime);
            pthread_mutex_lock(&engine->lock);
        }
    }
    nx_engine_task *task = engine->first;
    if (task != NULL) {
        unlink_task(engine, task);
        engine->running++;
    }
    return task;
}

static void note_duration(nx_engine *engine, int64_t ns)
{
    /* exponential moving average over about eight tasks */
    engine->run_ns_average = engine->run_ns_average == 0
                                 ? ns
                                 : engine->run_ns_average + (ns - engine->run_ns_average) / 8;
}

static void *work(void *argument)
{
    worker *self = argument;
    nx_engine *engine = self->engine;
    pthread_mutex_lock(&engine->lock);
    for (;;) {
        nx_engine_task *task = next_task(engine);
        if (task == NULL) {
            break;
        }
        pthread_mutex_unlock(&engine->lock);
        nx_error err = {0};
        nx_status status = execute(self, task, &err);
        int64_t took = task->timings.prepare + task->timings.run + task->timings.consume;
        task->done(task, status, &err); /* the task may be gone from here on */
        pthread_mutex_lock(&engine->lock);
        engine->running--;
        engine->trimmed = false;
        if (status == NX_OK) {
            note_duration(engine, took);
        }
        tell_if_drained(engine);
    }
    pthread_mutex_unlock(&engine->lock);
    free(self->slot);
    free(self);
    return NULL;
}

/* --- life --------------------------------------------------------------------------------------
 */

static bool start_worker(nx_engine *engine)
{
    worker *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return false;
    }
    self->engine = engine;
    if (pthread_create(&engine->threads[engine->thread_count], NULL, work, self) != 0) {
        free(self);
        return false;
    }
    engine->thread_count++;
    return true;
}

static void init_locks(nx_engine *engine)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&engine->lock, NULL);
    pthread_cond_init(&engine->work, &monotonic);
    pthread_cond_init(&engine->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

nx_status nx_engine_new(const nx_engine_options *options, nx_engine **out, nx_error *err)
{
    *out = NULL;
    nx_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the engine");
    }
    engine->options = *options;
    if (engine->options.queue_size == 0) {
        engine->options.queue_size = DEFAULT_QUEUE_SIZE;
    }
    if (engine->options.workers == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        engine->options.workers = cores > 0 ? (uint32_t)cores : 1;
    }
    if (engine->options.workers > MAX_WORKERS) {
        engine->options.workers = MAX_WORKERS;
    }
    init_locks(engine);
    engine->threads = calloc(engine->options.workers, sizeof *engine->threads);
    if (engine->threads == NULL) {
        nx_engine_free(engine);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the engine");
    }
    while (engine->thread_count < engine->options.workers) {
        if (!start_worker(engine)) {
            nx_error_set(err, NX_ERR_UNAVAILABLE,
                         "cannot start %u inference threads; lower INFERENCE_WORKERS",
                         engine->options.workers);
            nx_engine_free(engine);
            return NX_ERR_UNAVAILABLE;
        }
    }
    *out = engine;
    return NX_OK;
}

nx_status nx_engine_submit(nx_engine *engine, nx_engine_task *task, nx_error *err)
{
    nx_status status = NX_OK;
    task->timings = (nx_engine_timings){0};
    task->submitted_ns = nx_clock_now_ns();
    pthread_mutex_lock(&engine->lock);
    if (engine->draining) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "the server is shutting down");
    } else if (engine->queued >= engine->options.queue_size) {
        status =
            nx_error_set(err, NX_ERR_BUSY, "the queue is full (%u pictures wait)", engine->queued);
    } else {
        push(engine, task);
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
    engine->running--;
    tell_if_drained(engine);
    pthread_mutex_unlock(&engine->lock);
}

bool nx_engine_cancel(nx_engine *engine, nx_engine_task *task)
{
    pthread_mutex_lock(&engine->lock);
    bool waiting = task->queued;
    if (waiting) {
        unlink_task(engine, task);
        engine->running++;
    }
    pthread_mutex_unlock(&engine->lock);
    if (waiting) {
        report_cancelled(engine, task);
    }
    return waiting;
}

/* The oldest waiting task, taken out and counted as running; NULL when none waits. */
static nx_engine_task *take_first(nx_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    nx_engine_task *task = engine->first;
    if (task != NULL) {
        unlink_task(engine, task);
        engine->running++;
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
        .queued = engine->queued,
        .running = engine->running,
        .run_ns_average = engine->run_ns_average,
    };
    pthread_mutex_unlock(&engine->lock);
    return stats;
}

bool nx_engine_drain(nx_engine *engine, int64_t deadline_ns)
{
    int result = 0;
    struct timespec until = {
        .tv_sec = deadline_ns / NX_NS_PER_SEC,
        .tv_nsec = deadline_ns % NX_NS_PER_SEC,
    };
    pthread_mutex_lock(&engine->lock);
    engine->draining = true;
    while ((engine->queued > 0 || engine->running > 0) && result == 0) {
        result = deadline_ns == 0 ? pthread_cond_wait(&engine->done, &engine->lock)
                                  : pthread_cond_timedwait(&engine->done, &engine->lock, &until);
    }
    bool drained = engine->queued == 0 && engine->running == 0;
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
    pthread_cond_destroy(&engine->work);
    pthread_cond_destroy(&engine->done);
    pthread_mutex_destroy(&engine->lock);
    free(engine->threads);
    free(engine);
}
