/*
 * A backend that does what a test tells it, and tasks that stop where a test wants them to. Nothing
 * here sleeps: a thread waits until the test lets it go, and the test until the thread is there.
 */
#ifndef NX_TESTS_FAKE_BACKEND_H
#define NX_TESTS_FAKE_BACKEND_H

#include "testing.h"

#include "base/clock.h"
#include "engine/engine.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

static inline void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0 && errno == EINTR) {
    }
}

/* --- the backend --------------------------------------------------------------------------------
 *
 * A slot is width x height int32; the output of a batch is a copy of it, [count, width x height].
 */

enum { FAKE_MAX_RUNS = 4096, FAKE_MAX_BATCH = 32 };

typedef struct fake_run {
    uint32_t count, width, height;
    bool alone;
    int32_t numbers[FAKE_MAX_BATCH]; /* the first of each slot */
} fake_run;

typedef struct fake_backend {
    nx_backend backend;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held;        /* a run waits until it is let go */
    uint32_t let;     /* runs that may go although held */
    uint32_t count;   /* runs that have begun */
    uint32_t inside;  /* and not ended */
    uint32_t at_once; /* most of them */
    nx_status status; /* not NX_OK: runs fail with it */
    bool silent;      /* runs give no output, and no error */
    fake_run runs[FAKE_MAX_RUNS];
} fake_backend;

static inline size_t fake_slot_bytes(void *self, uint32_t width, uint32_t height)
{
    (void)self;
    return (size_t)width * height * sizeof(int32_t);
}

/* Notes the run, and waits while runs are held. */
static inline nx_status fake_enter(fake_backend *fake, const nx_batch *batch)
{
    size_t pixels = (size_t)batch->width * batch->height;
    pthread_mutex_lock(&fake->lock);
    if (fake->count < FAKE_MAX_RUNS) {
        fake_run *run = &fake->runs[fake->count];
        *run = (fake_run){.count = batch->count,
                          .width = batch->width,
                          .height = batch->height,
                          .alone = batch->alone};
        for (uint32_t i = 0; i < batch->count && i < FAKE_MAX_BATCH; i++) {
            run->numbers[i] = ((const int32_t *)batch->data)[i * pixels];
        }
    }
    fake->count++;
    fake->inside++;
    fake->at_once = fake->inside > fake->at_once ? fake->inside : fake->at_once;
    pthread_cond_broadcast(&fake->changed);
    while (fake->held && fake->let == 0) {
        pthread_cond_wait(&fake->changed, &fake->lock);
    }
    fake->let -= fake->held;
    fake->inside--;
    nx_status status = fake->status;
    pthread_mutex_unlock(&fake->lock);
    return status;
}

static inline nx_status fake_run_batch(void *self, const nx_batch *batch, nx_batch_read read,
                                       void *user, nx_error *err)
{
    fake_backend *fake = self;
    nx_status status = fake_enter(fake, batch);
    if (status != NX_OK) {
        return nx_error_set(err, status, "the run failed");
    }
    if (fake->silent) {
        return NX_OK;
    }
    size_t pixels = (size_t)batch->width * batch->height;
    size_t bytes = pixels * batch->count * sizeof(int32_t);
    void *copy = malloc(bytes);
    if (copy == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the copy");
    }
    memcpy(copy, batch->data, bytes);
    memset(batch->data, 0x55, bytes); /* nobody may read it any more */
    const nx_tensor output = {.name = "copy",
                              .type = NX_TYPE_INT32,
                              .rank = 2,
                              .dims = {batch->count, (int64_t)pixels},
                              .data = copy,
                              .bytes = bytes};
    status = read(&output, 1, user, err);
    memset(copy, 0x66, bytes);
    free(copy);
    return status;
}

static inline fake_backend *fake_new(uint32_t max_batch)
{
    fake_backend *fake = calloc(1, sizeof *fake);
    assert_non_null(fake);
    fake->backend = (nx_backend){
        .self = fake, .max_batch = max_batch, .slot_bytes = fake_slot_bytes, .run = fake_run_batch};
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->changed, NULL);
    return fake;
}

/* Not before the engine is freed. */
static inline void fake_free(fake_backend *fake)
{
    pthread_cond_destroy(&fake->changed);
    pthread_mutex_destroy(&fake->lock);
    free(fake);
}

/* From now on runs wait; or all that wait go, and all that come. */
static inline void fake_hold(fake_backend *fake, bool held)
{
    pthread_mutex_lock(&fake->lock);
    fake->held = held;
    fake->let = 0;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->lock);
}

/* Lets one held run go. */
static inline void fake_let_one(fake_backend *fake)
{
    pthread_mutex_lock(&fake->lock);
    fake->let++;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->lock);
}

/* Waits until so many runs have begun, ever. */
static inline void fake_wait(fake_backend *fake, uint32_t runs)
{
    pthread_mutex_lock(&fake->lock);
    while (fake->count < runs) {
        pthread_cond_wait(&fake->changed, &fake->lock);
    }
    pthread_mutex_unlock(&fake->lock);
}

static inline int fake_compare(const void *a, const void *b)
{
    return *(const int32_t *)a - *(const int32_t *)b;
}

/* Asserts which runs there were: "0|1 2 3|4", the pictures of each batch in rising order (threads
 * that fill one together have no order). */
static inline void fake_assert_runs(fake_backend *fake, const char *expected)
{
    char text[2048];
    size_t used = 0;
    pthread_mutex_lock(&fake->lock);
    text[0] = '\0';
    for (uint32_t i = 0; i < fake->count && i < FAKE_MAX_RUNS; i++) {
        fake_run sorted = fake->runs[i];
        qsort(sorted.numbers, sorted.count, sizeof sorted.numbers[0], fake_compare);
        for (uint32_t k = 0; k < sorted.count && used < sizeof text - 16; k++) {
            const char *before = k > 0 ? " " : i > 0 ? "|" : "";
            used += (size_t)snprintf(text + used, 16, "%s%d", before, (int)sorted.numbers[k]);
        }
    }
    pthread_mutex_unlock(&fake->lock);
    assert_string_equal(text, expected);
}

/* --- tasks --------------------------------------------------------------------------------------
 */

typedef struct probe {
    nx_engine_task task; /* first, so that the engine's pointer is ours */
    int number;          /* also what its slot is filled with */
    nx_status prepare_status, consume_status;
    /* where its thread waits for the test; NULL: nowhere */
    sem_t *prepare_gate, *consume_gate, *done_gate;
    sem_t prepared, consumed, finished; /* posted when it comes there, before the gate */
    pthread_t done_on;
    atomic_int prepare_calls, consume_calls, done_calls;
    nx_status status;
    nx_error err;
} probe;

static inline nx_status probe_prepare(nx_engine_task *task, void *slot, nx_error *err)
{
    probe *p = (probe *)task;
    atomic_fetch_add(&p->prepare_calls, 1);
    sem_post(&p->prepared);
    if (p->prepare_gate != NULL) {
        wait_for(p->prepare_gate);
    }
    if ((uintptr_t)slot % 64 != 0) {
        return nx_error_set(err, NX_ERR_INTERNAL, "the slot of %d is not aligned", p->number);
    }
    for (size_t i = 0; i < (size_t)task->input_width * task->input_height; i++) {
        ((int32_t *)slot)[i] = p->number;
    }
    if (p->prepare_status != NX_OK) {
        return nx_error_set(err, p->prepare_status, "prepare of %d", p->number);
    }
    return NX_OK;
}

static inline nx_status probe_consume(nx_engine_task *task, const nx_tensor *outputs, size_t count,
                                      uint32_t slot, nx_error *err)
{
    probe *p = (probe *)task;
    size_t pixels = (size_t)task->input_width * task->input_height;
    const int32_t *mine = (const int32_t *)outputs->data + slot * pixels;
    atomic_fetch_add(&p->consume_calls, 1);
    sem_post(&p->consumed);
    if (p->consume_gate != NULL) {
        wait_for(p->consume_gate);
    }
    for (size_t i = 0; i < pixels; i++) {
        if (count != 1 || slot >= outputs->dims[0] || mine[i] != p->number) {
            return nx_error_set(err, NX_ERR_INTERNAL, "%d in the output of %d", (int)mine[i],
                                p->number);
        }
    }
    if (p->consume_status != NX_OK) {
        return nx_error_set(err, p->consume_status, "consume of %d", p->number);
    }
    return NX_OK;
}

/* The same for a task that executes. */
static inline nx_status probe_execute(nx_engine_task *task, nx_error *err)
{
    probe *p = (probe *)task;
    atomic_fetch_add(&p->prepare_calls, 1);
    sem_post(&p->prepared);
    if (p->prepare_gate != NULL) {
        wait_for(p->prepare_gate);
    }
    return p->prepare_status == NX_OK
               ? NX_OK
               : nx_error_set(err, p->prepare_status, "execute of %d", p->number);
}

static inline void probe_done(nx_engine_task *task, nx_status status, const nx_error *err)
{
    probe *p = (probe *)task;
    p->status = status;
    p->err = *err;
    p->done_on = pthread_self();
    atomic_fetch_add(&p->done_calls, 1);
    sem_t *gate = p->done_gate;
    sem_post(&p->finished);
    if (gate != NULL) {
        wait_for(gate);
    }
}

/* A picture of 8x8 for this backend. */
static inline void probe_init(probe *p, int number, const fake_backend *fake)
{
    *p = (probe){
        .task = {.backend = &fake->backend,
                 .input_width = 8,
                 .input_height = 8,
                 .prepare = probe_prepare,
                 .consume = probe_consume,
                 .done = probe_done},
        .number = number,
    };
    sem_init(&p->prepared, 0, 0);
    sem_init(&p->consumed, 0, 0);
    sem_init(&p->finished, 0, 0);
}

static inline void probe_init_execute(probe *p, int number, const fake_backend *fake)
{
    probe_init(p, number, fake);
    p->task.backend = NULL;
    p->task.prepare = NULL;
    p->task.consume = NULL;
    p->task.execute = probe_execute;
}

static inline void submit(nx_engine *engine, probe *p)
{
    nx_error err = {0};
    nx_assert_ok(nx_engine_submit(engine, &p->task, &err), err);
}

/* Makes and submits count pictures with the numbers from first. */
static inline void submit_many(nx_engine *engine, const fake_backend *fake, probe *probes,
                               int first, int count)
{
    for (int i = 0; i < count; i++) {
        probe_init(&probes[i], first + i, fake);
        submit(engine, &probes[i]);
    }
}

static inline void assert_done(probe *p, nx_status expected)
{
    wait_for(&p->finished);
    if (p->status != expected) {
        fail_msg("task %d: %s: %s", p->number, nx_status_name(p->status), p->err.message);
    }
    assert_int_equal(atomic_load(&p->done_calls), 1);
}

static inline void assert_all_done(probe *probes, int count)
{
    for (int i = 0; i < count; i++) {
        assert_done(&probes[i], NX_OK);
    }
}

static inline nx_engine *engine_of(const nx_engine_options *options)
{
    nx_engine *engine = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_engine_new(options, &engine, &err), err);
    return engine;
}

#endif
