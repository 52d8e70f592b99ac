/* What the engine promises to whoever submits: each accepted task is done, exactly once, in order.
 */
#include "fake_backend.h"
#include "models.h"

#include "engine/model.h"

static fake_backend *fake;

static int setup(void **state)
{
    (void)state;
    fake = fake_new(32);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_free(fake);
    return 0;
}

/* With pictures one by one. */
static nx_engine *simple_engine(uint32_t workers, uint32_t queue_size)
{
    return engine_of(&(nx_engine_options){.workers = workers, .queue_size = queue_size});
}

/* --- one task -----------------------------------------------------------------------------------
 */

typedef struct run_counter {
    int runs;
    int64_t ns;
    uint32_t batch;
} run_counter;

static void count_run(const nx_backend *backend, int64_t run_ns, uint32_t batch, void *user)
{
    run_counter *counter = user;
    assert_non_null(backend);
    counter->runs++;
    counter->ns = run_ns;
    counter->batch = batch;
}

static void a_task_goes_through_its_stages(void **state)
{
    (void)state;
    run_counter counter = {0};
    nx_engine *engine = NULL;
    nx_error err = {0};
    const nx_engine_options options = {.workers = 1, .on_run = count_run, .user = &counter};
    nx_assert_ok(nx_engine_new(&options, &engine, &err), err);
    assert_int_equal(nx_engine_get_stats(engine).run_ns_average, 0);
    probe p;
    probe_init(&p, 7, fake);
    p.task.deadline_ns = nx_clock_now_ns() + 600 * NX_NS_PER_SEC;
    int64_t start = nx_clock_now_ns();
    submit(engine, &p);
    assert_done(&p, NX_OK);
    int64_t took = nx_clock_now_ns() - start;
    assert_false(pthread_equal(p.done_on, pthread_self()));
    assert_int_equal(p.prepare_calls, 1);
    assert_int_equal(p.consume_calls, 1);
    const nx_engine_timings *t = &p.task.timings;
    assert_true(t->queue >= 0 && t->prepare > 0 && t->run > 0 && t->consume > 0);
    assert_true(t->queue + t->prepare + t->run + t->consume <= took);
    assert_int_equal(counter.runs, 1);
    assert_int_equal(counter.batch, 1);
    assert_int_equal(counter.ns, t->run);
    assert_true(nx_engine_drain(engine, 0)); /* the worker has counted it */
    nx_engine_stats stats = nx_engine_get_stats(engine);
    assert_int_equal(stats.workers, 1);
    assert_int_equal(stats.queue_size, 256);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.running, 0);
    assert_int_equal(stats.run_ns_average, t->prepare + t->run + t->consume);
    nx_engine_free(engine);
    nx_engine_free(NULL);
}

static void failures_of_each_stage_arrive(void **state)
{
    (void)state;
    nx_engine *engine = simple_engine(1, 0);
    probe p;
    probe_init(&p, 1, fake);
    p.prepare_status = NX_ERR_CORRUPT;
    submit(engine, &p);
    assert_done(&p, NX_ERR_CORRUPT);
    assert_string_equal(p.err.message, "prepare of 1");
    assert_int_equal(p.err.status, NX_ERR_CORRUPT);
    assert_int_equal(p.consume_calls, 0);
    assert_int_equal(p.task.timings.run, 0);

    probe_init(&p, 2, fake);
    p.consume_status = NX_ERR_TOO_LARGE;
    submit(engine, &p);
    assert_done(&p, NX_ERR_TOO_LARGE);
    assert_string_equal(p.err.message, "consume of 2");

    probe_init(&p, 3, fake);
    fake->status = NX_ERR_INTERNAL;
    submit(engine, &p);
    assert_done(&p, NX_ERR_INTERNAL);
    assert_string_equal(p.err.message, "the run failed");
    assert_int_equal(p.consume_calls, 0);
    assert_int_equal(p.task.timings.consume, 0);

    assert_true(nx_engine_drain(engine, 0));
    assert_int_equal(nx_engine_get_stats(engine).run_ns_average, 0); /* of good ones alone */
    nx_engine_free(engine);
}

static void a_passed_deadline_is_not_started(void **state)
{
    (void)state;
    nx_engine *engine = simple_engine(1, 0);
    probe p;
    probe_init(&p, 1, fake);
    p.task.deadline_ns = nx_clock_now_ns() - 1;
    submit(engine, &p);
    assert_done(&p, NX_ERR_TIMEOUT);
    nx_assert_contains(p.err.message, "in the queue, longer than allowed");
    assert_int_equal(p.prepare_calls, 0);
    nx_engine_free(engine);
}

/* --- the queue ----------------------------------------------------------------------------------
 */

static void one_worker_keeps_the_order(void **state)
{
    (void)state;
    enum { TASKS = 20 };
    nx_engine *engine = simple_engine(1, 0);
    static probe probes[TASKS];
    sem_t gate;
    sem_init(&gate, 0, 0);
    for (int i = 0; i < TASKS; i++) {
        probe_init(&probes[i], i, fake);
        probes[i].prepare_gate = i == 0 ? &gate : NULL;
        submit(engine, &probes[i]);
    }
    wait_for(&probes[0].prepared);
    assert_int_equal(nx_engine_get_stats(engine).queued, TASKS - 1);
    assert_int_equal(nx_engine_get_stats(engine).running, 1);
    /* one from the middle, one from each end: the others keep their order */
    assert_true(nx_engine_cancel(engine, &probes[9].task));
    assert_true(nx_engine_cancel(engine, &probes[1].task));
    assert_true(nx_engine_cancel(engine, &probes[TASKS - 1].task));
    sem_post(&gate);
    for (int i = 0; i < TASKS; i++) {
        bool cancelled = i == 9 || i == 1 || i == TASKS - 1;
        assert_done(&probes[i], cancelled ? NX_ERR_CANCELLED : NX_OK);
    }
    fake_assert_runs(fake, "0|2|3|4|5|6|7|8|10|11|12|13|14|15|16|17|18");
    nx_engine_free(engine);
}

static void a_full_queue_refuses(void **state)
{
    (void)state;
    nx_engine *engine = simple_engine(1, 2);
    sem_t gate;
    probe held;
    probe waiting[2];
    probe refused;
    nx_error err = {0};
    sem_init(&gate, 0, 0);
    probe_init(&held, 0, fake);
    held.prepare_gate = &gate;
    submit(engine, &held);
    wait_for(&held.prepared);
    for (int i = 0; i < 2; i++) {
        probe_init(&waiting[i], i + 1, fake);
        submit(engine, &waiting[i]);
    }
    probe_init(&refused, 3, fake);
    assert_int_equal(nx_engine_submit(engine, &refused.task, &err), NX_ERR_BUSY);
    assert_string_equal(err.message, "the queue is full (2 pictures wait)");
    assert_int_equal(nx_engine_get_stats(engine).queued, 2);
    assert_false(nx_engine_cancel(engine, &refused.task));

    /* whoever goes makes room, and what was refused may come again */
    assert_true(nx_engine_cancel(engine, &waiting[0].task));
    submit(engine, &refused);
    sem_post(&gate);
    assert_done(&held, NX_OK);
    assert_done(&waiting[0], NX_ERR_CANCELLED);
    assert_done(&waiting[1], NX_OK);
    assert_done(&refused, NX_OK);
    nx_engine_free(engine);
}

static void cancelling_what_waits(void **state)
{
    (void)state;
    nx_engine *engine = simple_engine(1, 0);
    sem_t gate;
    probe held;
    probe waiting;
    sem_init(&gate, 0, 0);
    probe_init(&held, 0, fake);
    held.prepare_gate = &gate;
    probe_init(&waiting, 1, fake);
    submit(engine, &held);
    wait_for(&held.prepared);
    submit(engine, &waiting);
    assert_true(nx_engine_cancel(engine, &waiting.task));
    assert_int_equal(atomic_load(&waiting.done_calls), 1); /* before it returned */
    assert_true(pthread_equal(waiting.done_on, pthread_self()));
    assert_int_equal(waiting.status, NX_ERR_CANCELLED);
    assert_int_equal(waiting.err.status, NX_ERR_CANCELLED);
    assert_true(waiting.err.message[0] != '\0');
    assert_int_equal(waiting.prepare_calls, 0);
    assert_false(nx_engine_cancel(engine, &waiting.task));
    assert_int_equal(nx_engine_get_stats(engine).queued, 0);

    assert_false(nx_engine_cancel(engine, &held.task)); /* it runs */
    sem_post(&gate);
    assert_done(&held, NX_OK);
    assert_false(nx_engine_cancel(engine, &held.task)); /* it has run */
    assert_int_equal(atomic_load(&held.done_calls), 1);
    assert_int_equal(atomic_load(&waiting.done_calls), 1);
    nx_engine_free(engine);
}

static void workers_work_at_the_same_time(void **state)
{
    (void)state;
    enum { WORKERS = 3 };
    nx_engine *engine = simple_engine(WORKERS, 0);
    probe probes[WORKERS];
    sem_t gate;
    sem_init(&gate, 0, 0);
    for (int i = 0; i < WORKERS; i++) {
        probe_init(&probes[i], i, fake);
        probes[i].prepare_gate = &gate;
        submit(engine, &probes[i]);
    }
    for (int i = 0; i < WORKERS; i++) { /* all of them, while none may go on */
        wait_for(&probes[i].prepared);
    }
    assert_int_equal(nx_engine_get_stats(engine).running, WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        sem_post(&gate);
    }
    for (int i = 0; i < WORKERS; i++) {
        assert_done(&probes[i], NX_OK); /* each with its own tensor */
    }
    nx_engine_free(engine);
}

static void defaults_fit_the_machine(void **state)
{
    (void)state;
    nx_engine *engine = simple_engine(0, 0);
    nx_engine_stats stats = nx_engine_get_stats(engine);
    assert_int_equal(stats.workers, sysconf(_SC_NPROCESSORS_ONLN));
    assert_int_equal(stats.queue_size, 256);
    nx_engine_free(engine);
    engine = simple_engine(100000, 1);
    assert_int_equal(nx_engine_get_stats(engine).workers, 256);
    nx_engine_free(engine);
}

/* --- the end ------------------------------------------------------------------------------------
 */

typedef struct drainer {
    nx_engine *engine;
    probe *probes;
    size_t count;
    size_t done_before; /* of the probes, when drain returned */
    bool drained;
} drainer;

static void *drain(void *argument)
{
    drainer *self = argument;
    self->drained = nx_engine_drain(self->engine, 0);
    for (size_t i = 0; i < self->count; i++) {
        self->done_before += (size_t)atomic_load(&self->probes[i].done_calls);
    }
    return NULL;
}

static void draining_waits_and_refuses(void **state)
{
    (void)state;
    nx_engine *engine = simple_engine(1, 0);
    sem_t gate;
    probe probes[3];
    probe late;
    nx_error err = {0};
    pthread_t thread;
    sem_init(&gate, 0, 0);
    for (int i = 0; i < 3; i++) {
        probe_init(&probes[i], i, fake);
        probes[i].prepare_gate = i == 0 ? &gate : NULL;
        submit(engine, &probes[i]);
    }
    wait_for(&probes[0].prepared);
    assert_false(nx_engine_drain(engine, nx_clock_now_ns() - 1)); /* a task is held */
    assert_false(nx_engine_drain(engine, nx_clock_now_ns() + NX_NS_PER_MS));
    probe_init(&late, 9, fake);
    assert_int_equal(nx_engine_submit(engine, &late.task, &err), NX_ERR_UNAVAILABLE);
    assert_string_equal(err.message, "the server is shutting down");

    drainer self = {.engine = engine, .probes = probes, .count = NX_COUNT(probes)};
    assert_int_equal(pthread_create(&thread, NULL, drain, &self), 0);
    assert_int_equal(atomic_load(&probes[0].done_calls), 0);
    sem_post(&gate);
    pthread_join(thread, NULL);
    assert_true(self.drained);
    assert_int_equal(self.done_before, 3);
    for (int i = 0; i < 3; i++) {
        assert_done(&probes[i], NX_OK); /* accepted ones are finished */
    }
    assert_int_equal(atomic_load(&late.done_calls), 0);
    assert_true(nx_engine_drain(engine, nx_clock_now_ns() - 1)); /* nothing to wait for */
    nx_engine_free(engine);
}

static void *free_engine(void *argument)
{
    nx_engine_free(argument);
    return NULL;
}

static void freeing_cancels_what_waits(void **state)
{
    (void)state;
    nx_engine *engine = simple_engine(1, 0);
    sem_t gate;
    probe probes[4];
    pthread_t thread;
    sem_init(&gate, 0, 0);
    for (int i = 0; i < 4; i++) {
        probe_init(&probes[i], i, fake);
        probes[i].prepare_gate = i == 0 ? &gate : NULL;
        submit(engine, &probes[i]);
    }
    wait_for(&probes[0].prepared);
    assert_int_equal(pthread_create(&thread, NULL, free_engine, engine), 0);
    for (int i = 1; i < 4; i++) {
        assert_done(&probes[i], NX_ERR_CANCELLED); /* while the first is still held */
        assert_true(pthread_equal(probes[i].done_on, thread));
        assert_int_equal(probes[i].prepare_calls, 0);
    }
    assert_int_equal(atomic_load(&probes[0].done_calls), 0);
    sem_post(&gate);
    pthread_join(thread, NULL);
    assert_done(&probes[0], NX_OK); /* what runs is let finish */
}

/* --- many at once -------------------------------------------------------------------------------
 */

/* A task that ends its own life in done: the engine must not touch it any more. */
typedef struct mortal {
    probe probe;
    atomic_int *done_of_all;
    sem_t *gone;
} mortal;

static void die(nx_engine_task *task, nx_status status, const nx_error *err)
{
    mortal *m = (mortal *)task;
    sem_t *gone = m->gone;
    (void)err;
    if (status == NX_OK) {
        atomic_fetch_add(m->done_of_all, 1);
    }
    memset(m, 0xEE, sizeof *m);
    free(m);
    sem_post(gone);
}

static void done_may_free_the_task(void **state)
{
    (void)state;
    enum { TASKS = 100 };
    nx_engine *engine = simple_engine(2, 0);
    atomic_int finished = 0;
    sem_t gone;
    sem_init(&gone, 0, 0);
    for (int i = 0; i < TASKS; i++) {
        mortal *m = calloc(1, sizeof *m);
        assert_non_null(m);
        probe_init(&m->probe, i, fake);
        m->probe.task.done = die;
        m->done_of_all = &finished;
        m->gone = &gone;
        submit(engine, &m->probe);
    }
    for (int i = 0; i < TASKS; i++) {
        wait_for(&gone);
    }
    assert_int_equal(atomic_load(&finished), TASKS);
    nx_engine_free(engine);
}

typedef struct submitter {
    nx_engine *engine;
    probe *probes;
    size_t count;
    uint32_t random;
    size_t accepted, busy, cancelled, other;
} submitter;

static uint32_t next_random(submitter *self)
{
    self->random = self->random * 1664525 + 1013904223;
    return self->random >> 16;
}

/* Submits, and now and then cancels one of its own of whatever age. */
static void *submit_and_cancel(void *argument)
{
    submitter *self = argument;
    for (size_t i = 0; i < self->count; i++) {
        nx_error err = {0};
        probe *p = &self->probes[i];
        nx_status status = nx_engine_submit(self->engine, &p->task, &err);
        self->accepted += status == NX_OK;
        self->busy += status == NX_ERR_BUSY;
        self->other += status != NX_OK && status != NX_ERR_BUSY;
        if (next_random(self) % 3 == 0) {
            size_t which = i - next_random(self) % (i < 8 ? i + 1 : 8);
            self->cancelled += nx_engine_cancel(self->engine, &self->probes[which].task);
        }
    }
    return NULL;
}

/* Of every kind: two shapes, three classes, other work, some that fail and some that are late. */
static void probe_init_some(probe *p, size_t i)
{
    if (i % 10 == 9) {
        probe_init_execute(p, (int)i, fake);
    } else {
        probe_init(p, (int)i, fake);
    }
    p->task.input_width = i % 4 == 1 ? 16 : 8;
    p->task.priority = i % NX_PRIORITY_COUNT;
    p->prepare_status = i % 10 == 3 ? NX_ERR_CORRUPT : NX_OK;
    p->task.deadline_ns = i % 10 == 7 ? 1 : 0;
}

static void assert_outcomes(probe *probes, size_t count, size_t accepted, size_t cancelled)
{
    size_t done_calls = 0;
    size_t done_cancelled = 0;
    for (size_t i = 0; i < count; i++) {
        probe *p = &probes[i];
        int calls = atomic_load(&p->done_calls);
        assert_true(calls <= 1);
        done_calls += (size_t)calls;
        if (calls == 1 && p->status == NX_ERR_CANCELLED) {
            assert_int_equal(p->prepare_calls, 0);
            done_cancelled++;
        } else if (calls == 1) {
            nx_status expected = i % 10 == 3   ? NX_ERR_CORRUPT
                                 : i % 10 == 7 ? NX_ERR_TIMEOUT
                                               : NX_OK;
            assert_int_equal(p->status, expected); /* with its own numbers in the output */
        }
    }
    assert_int_equal(done_calls, accepted);
    assert_int_equal(done_cancelled, cancelled);
    assert_true(accepted > 0);
}

static void hammer(const nx_engine_options *options)
{
    enum { THREADS = 4, TASKS = 400 };
    nx_engine *engine = engine_of(options);
    probe *probes = calloc((size_t)THREADS * TASKS, sizeof *probes);
    submitter submitters[THREADS];
    pthread_t threads[THREADS];
    assert_non_null(probes);
    for (size_t i = 0; i < (size_t)THREADS * TASKS; i++) {
        probe_init_some(&probes[i], i);
    }
    for (size_t t = 0; t < THREADS; t++) {
        submitters[t] = (submitter){
            .engine = engine, .probes = probes + t * TASKS, .count = TASKS, .random = (uint32_t)t};
        assert_int_equal(pthread_create(&threads[t], NULL, submit_and_cancel, &submitters[t]), 0);
    }
    size_t accepted = 0;
    size_t cancelled = 0;
    for (size_t t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        accepted += submitters[t].accepted;
        cancelled += submitters[t].cancelled;
        assert_int_equal(submitters[t].accepted + submitters[t].busy, TASKS);
        assert_int_equal(submitters[t].other, 0);
    }
    assert_true(nx_engine_drain(engine, 0));
    assert_outcomes(probes, (size_t)THREADS * TASKS, accepted, cancelled);
    assert_true(fake->at_once <= options->workers);
    for (uint32_t i = 0; i < fake->count && i < FAKE_MAX_RUNS; i++) {
        assert_in_range(fake->runs[i].count, 1, options->batch_size);
    }
    nx_engine_free(engine);
    free(probes);
}

static void each_task_is_done_exactly_once(void **state)
{
    (void)state;
    hammer(&(nx_engine_options){.workers = 2, .batch_size = 1, .queue_size = 32});
}

static void each_task_of_a_batch_is_done_exactly_once(void **state)
{
    (void)state;
    hammer(&(nx_engine_options){
        .workers = 2, .prefetch = 2, .preparers = 7, .batch_size = 4, .queue_size = 64});
}

static void each_task_that_waits_for_others_is_done_exactly_once(void **state)
{
    (void)state;
    hammer(&(nx_engine_options){.workers = 1,
                                .prefetch = 1,
                                .preparers = 3,
                                .batch_size = 16,
                                .queue_size = 64,
                                .batch_delay_ns = NX_NS_PER_MS / 10});
}

/* --- the real model -----------------------------------------------------------------------------
 */

typedef struct picture_task {
    nx_engine_task task;
    sem_t *finished;
    nx_status status;
    uint64_t sum; /* over the output's bits */
} picture_task;

static nx_status prepare_picture(nx_engine_task *task, void *slot, nx_error *err)
{
    float *tensor = slot;
    (void)err;
    for (size_t i = 0; i < (size_t)3 * task->input_width * task->input_height; i++) {
        tensor[i] = (float)(i / 640 % 64) / 63;
    }
    return NX_OK;
}

static nx_status sum_output(nx_engine_task *task, const nx_tensor *outputs, size_t count,
                            uint32_t slot, nx_error *err)
{
    picture_task *self = (picture_task *)task;
    const float *picture = (const float *)outputs[0].data + (size_t)slot * 84 * 8400;
    (void)err;
    if (count != 1 || outputs[0].dims[1] != 84 || outputs[0].dims[2] != 8400) {
        return NX_ERR_INTERNAL;
    }
    for (size_t i = 0; i < (size_t)84 * 8400; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &picture[i], sizeof bits);
        self->sum = self->sum * 31 + bits;
    }
    return NX_OK;
}

static void picture_done(nx_engine_task *task, nx_status status, const nx_error *err)
{
    picture_task *self = (picture_task *)task;
    (void)err;
    self->status = status;
    sem_post(self->finished);
}

static void the_real_model_gives_the_same_on_every_worker(void **state)
{
    (void)state;
    NX_NEED_YOLOV8N();
    enum { TASKS = 6 };
    nx_runtime *runtime = models_runtime();
    nx_model *yolo = models_open(runtime, models_data_path("models/yolov8n.onnx"));
    nx_engine *engine = engine_of(&(nx_engine_options){.workers = 2, .runtime = runtime});
    picture_task tasks[TASKS];
    sem_t finished;
    sem_init(&finished, 0, 0);
    for (int i = 0; i < TASKS; i++) {
        nx_error err = {0};
        tasks[i] = (picture_task){
            .task = {.backend = nx_model_backend(yolo),
                     .input_width = 640,
                     .input_height = 640,
                     .prepare = prepare_picture,
                     .consume = sum_output,
                     .done = picture_done},
            .finished = &finished,
        };
        nx_assert_ok(nx_engine_submit(engine, &tasks[i].task, &err), err);
    }
    for (int i = 0; i < TASKS; i++) {
        wait_for(&finished);
    }
    for (int i = 0; i < TASKS; i++) {
        assert_int_equal(tasks[i].status, NX_OK);
        assert_int_equal(tasks[i].sum, tasks[0].sum);
        assert_true(tasks[i].task.timings.run > 0);
    }
    nx_engine_free(engine);
    nx_model_free(yolo);
    nx_runtime_free(runtime);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_task_goes_through_its_stages),
        TEST(failures_of_each_stage_arrive),
        TEST(a_passed_deadline_is_not_started),
        TEST(one_worker_keeps_the_order),
        TEST(a_full_queue_refuses),
        TEST(cancelling_what_waits),
        TEST(workers_work_at_the_same_time),
        TEST(defaults_fit_the_machine),
        TEST(draining_waits_and_refuses),
        TEST(freeing_cancels_what_waits),
        TEST(done_may_free_the_task),
        TEST(each_task_is_done_exactly_once),
        TEST(each_task_of_a_batch_is_done_exactly_once),
        TEST(each_task_that_waits_for_others_is_done_exactly_once),
        TEST(the_real_model_gives_the_same_on_every_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
