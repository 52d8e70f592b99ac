/* How batches are made: which tasks share one, in which order, who waits for whom. */
#include "fake_backend.h"

/* The one thread of an engine, held inside a run of picture 0: what is submitted now waits. */
static nx_engine *busy_engine(const nx_engine_options *options, fake_backend *fake, probe *busy)
{
    nx_engine *engine = engine_of(options);
    fake_hold(fake, true);
    probe_init(busy, 0, fake);
    submit(engine, busy);
    fake_wait(fake, 1);
    return engine;
}

/* The same with one batch at once. */
static nx_engine *busy_worker(uint32_t batch_size, fake_backend *fake, probe *busy)
{
    const nx_engine_options options = {.workers = 1, .batch_size = batch_size};
    return busy_engine(&options, fake, busy);
}

/* Lets all runs go, after which these pictures are done. */
static void let_go(fake_backend *fake, probe *probes, int count)
{
    fake_hold(fake, false);
    assert_all_done(probes, count);
}

static void end(nx_engine *engine, fake_backend *fake)
{
    nx_engine_free(engine);
    fake_free(fake);
}

/* --- batches ------------------------------------------------------------------------------------
 */

static void count_run(const nx_backend *backend, int64_t run_ns, uint32_t batch, void *user)
{
    uint32_t *sizes = user;
    assert_non_null(backend);
    assert_true(run_ns >= 0);
    sizes[batch]++;
}

static void what_waits_shares_batches(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    uint32_t sizes[5] = {0};
    probe busy;
    probe probes[10];
    const nx_engine_options options = {
        .workers = 1, .batch_size = 4, .on_run = count_run, .user = sizes};
    nx_engine *engine = busy_engine(&options, fake, &busy);
    submit_many(engine, fake, probes, 1, 10);
    assert_int_equal(nx_engine_get_stats(engine).queued, 10);
    fake_hold(fake, false);
    assert_all_done(&busy, 1);
    assert_all_done(probes, 10);
    fake_assert_runs(fake, "0|1 2 3 4|5 6 7 8|9 10");
    nx_engine_free(engine);
    assert_int_equal(sizes[1], 1);
    assert_int_equal(sizes[2], 1);
    assert_int_equal(sizes[4], 2);
    assert_int_equal(fake->at_once, 1);
    fake_free(fake);
}

static void nothing_waits_for_company(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe probes[3];
    nx_engine *engine = engine_of(&(nx_engine_options){.workers = 1, .batch_size = 4});
    for (int i = 0; i < 3; i++) {
        submit_many(engine, fake, &probes[i], i, 1);
        assert_all_done(&probes[i], 1);
    }
    fake_assert_runs(fake, "0|1|2");
    end(engine, fake);
}

static void a_batch_has_one_shape_and_one_backend(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    fake_backend *other = fake_new(32);
    probe busy;
    probe probes[9];
    nx_engine *engine = busy_worker(4, fake, &busy);
    for (int i = 0; i < 9; i++) {
        probe_init(&probes[i], i + 1, i % 3 == 2 ? other : fake);
        probes[i].task.input_width = i % 3 == 1 ? 16 : 8;
        submit(engine, &probes[i]);
    }
    let_go(fake, probes, 9);
    fake_assert_runs(fake, "0|1 4 7|2 5 8");
    fake_assert_runs(other, "3 6 9");
    assert_int_equal(fake->runs[1].width, 8);
    assert_int_equal(fake->runs[2].width, 16);
    end(engine, fake);
    fake_free(other);
}

static void assert_limit(uint32_t asked, uint32_t best, uint32_t most, const char *runs)
{
    fake_backend *fake = fake_new(most);
    fake->backend.best_batch = best;
    probe busy;
    probe probes[6];
    nx_engine *engine = busy_worker(asked, fake, &busy);
    submit_many(engine, fake, probes, 1, 6);
    let_go(fake, probes, 6);
    fake_assert_runs(fake, runs);
    end(engine, fake);
}

static void the_backend_limits_the_batch(void **state)
{
    (void)state;
    assert_limit(16, 0, 2, "0|1 2|3 4|5 6");
    assert_limit(16, 3, 32, "0|1 2 3 4 5 6"); /* what was asked for, not what is best */
    assert_limit(0, 3, 32, "0|1 2 3|4 5 6");  /* what is best */
    assert_limit(0, 0, 32, "0|1|2|3|4|5|6");  /* nobody knows better */
    assert_limit(0, 8, 4, "0|1 2 3 4|5 6");
}

static void idle_workers_share_what_waits(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    sem_t gates[2];
    probe late[2];
    probe probes[9];
    nx_engine *engine = engine_of(&(nx_engine_options){.workers = 2, .batch_size = 8});
    fake_hold(fake, true);
    for (int i = 0; i < 2; i++) { /* both threads are busy, but no batch is */
        sem_init(&gates[i], 0, 0);
        probe_init(&late[i], 100 + i, fake);
        late[i].task.deadline_ns = 1;
        late[i].done_gate = &gates[i];
        submit(engine, &late[i]);
        assert_done(&late[i], NX_ERR_TIMEOUT);
    }
    submit_many(engine, fake, probes, 1, 9);
    sem_post(&gates[0]);
    fake_wait(fake, 1);
    fake_assert_runs(fake, "1 2 3 4 5"); /* its half, although all would fit */
    assert_int_equal(nx_engine_get_stats(engine).queued, 4);
    sem_post(&gates[1]);
    fake_wait(fake, 2);
    fake_assert_runs(fake, "1 2 3 4 5|6 7 8 9");
    let_go(fake, probes, 9);
    assert_int_equal(fake->at_once, 2);
    end(engine, fake);
}

static void workers_run_at_the_same_time(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe probes[4];
    nx_engine *engine = engine_of(&(nx_engine_options){.workers = 3, .batch_size = 8});
    fake_hold(fake, true);
    submit_many(engine, fake, probes, 1, 1);
    fake_wait(fake, 1);
    assert_true(fake->runs[0].alone);
    submit_many(engine, fake, probes + 1, 2, 1);
    fake_wait(fake, 2);
    submit_many(engine, fake, probes + 2, 3, 1);
    fake_wait(fake, 3);
    submit_many(engine, fake, probes + 3, 4, 1);
    fake_assert_runs(fake, "1|2|3"); /* and the fourth waits */
    assert_false(fake->runs[1].alone || fake->runs[2].alone);
    let_go(fake, probes, 4);
    assert_int_equal(fake->at_once, 3);
    end(engine, fake);
}

/* Alone is a batch that has the machine for itself. */
static void alone_is_who_has_no_company(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe probes[4];
    probe last;
    nx_engine *engine = busy_worker(2, fake, &busy);
    submit_many(engine, fake, probes, 1, 4);
    let_go(fake, probes, 4);
    assert_true(nx_engine_drain(engine, 0));
    nx_engine_free(engine);
    fake_assert_runs(fake, "0|1 2|3 4");
    assert_true(fake->runs[0].alone);
    assert_false(fake->runs[1].alone); /* 3 and 4 wait */
    assert_true(fake->runs[2].alone);

    sem_t gate;
    sem_init(&gate, 0, 0);
    engine = engine_of(&(nx_engine_options){.workers = 2});
    probe_init_execute(&busy, 0, fake);
    busy.prepare_gate = &gate;
    submit(engine, &busy);
    wait_for(&busy.prepared);
    submit_many(engine, fake, &last, 5, 1);
    assert_done(&last, NX_OK);
    assert_false(fake->runs[3].alone); /* something else is being done */
    sem_post(&gate);
    assert_done(&busy, NX_OK);
    end(engine, fake);
}

/* --- priorities ---------------------------------------------------------------------------------
 */

static void submit_class(nx_engine *engine, fake_backend *fake, probe *p, int number,
                         nx_priority priority)
{
    probe_init(p, number, fake);
    p->task.priority = priority;
    submit(engine, p);
}

static void higher_classes_come_first(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe probes[6];
    nx_engine *engine = busy_worker(1, fake, &busy);
    submit_class(engine, fake, &probes[0], 1, NX_PRIORITY_BATCH);
    submit_class(engine, fake, &probes[1], 2, NX_PRIORITY_STREAM);
    submit_class(engine, fake, &probes[2], 3, NX_PRIORITY_INTERACTIVE);
    submit_class(engine, fake, &probes[3], 4, NX_PRIORITY_BATCH);
    submit_class(engine, fake, &probes[4], 5, NX_PRIORITY_STREAM);
    submit_class(engine, fake, &probes[5], 6, NX_PRIORITY_INTERACTIVE);
    let_go(fake, probes, 6);
    fake_assert_runs(fake, "0|3|6|2|5|1|4");
    end(engine, fake);
}

static void lower_classes_do_not_starve(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    static probe probes[24];
    nx_engine *engine = busy_worker(1, fake, &busy);
    submit_class(engine, fake, &probes[20], 51, NX_PRIORITY_STREAM);
    submit_class(engine, fake, &probes[21], 52, NX_PRIORITY_STREAM);
    submit_class(engine, fake, &probes[22], 91, NX_PRIORITY_BATCH);
    submit_class(engine, fake, &probes[23], 92, NX_PRIORITY_BATCH);
    for (int i = 0; i < 20; i++) {
        submit_class(engine, fake, &probes[i], i + 1, NX_PRIORITY_INTERACTIVE);
    }
    let_go(fake, probes, 24);
    fake_assert_runs(fake, "0|1|2|3|4|5|6|7|8|51|91|9|10|11|12|13|14|15|16|52|92|17|18|19|20");
    end(engine, fake);
}

static void the_background_leaves_half_of_the_queue(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe probes[5];
    nx_error err = {0};
    nx_engine *engine =
        busy_engine(&(nx_engine_options){.workers = 1, .queue_size = 4}, fake, &busy);
    submit_class(engine, fake, &probes[0], 1, NX_PRIORITY_BACKGROUND);
    submit_class(engine, fake, &probes[1], 2, NX_PRIORITY_BACKGROUND);
    probe_init(&probes[4], 9, fake);
    probes[4].task.priority = NX_PRIORITY_BACKGROUND;
    assert_int_equal(nx_engine_submit(engine, &probes[4].task, &err), NX_ERR_BUSY);
    submit_class(engine, fake, &probes[2], 3, NX_PRIORITY_BATCH);
    submit_class(engine, fake, &probes[3], 4, NX_PRIORITY_INTERACTIVE);
    probes[4].task.priority = NX_PRIORITY_INTERACTIVE;
    assert_int_equal(nx_engine_submit(engine, &probes[4].task, &err), NX_ERR_BUSY);
    let_go(fake, probes, 4);
    fake_assert_runs(fake, "0|4|3|1|2");
    end(engine, fake);
}

/* The first picture is answered while the background's runs are held; what the background would
 * have begun in the place kept for it comes later by itself. */
static void the_background_leaves_a_worker_to_who_waits(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    sem_t gate;
    probe first;
    probe background[2];
    probe next;
    nx_engine *engine = engine_of(&(nx_engine_options){.workers = 2});
    sem_init(&gate, 0, 0);
    submit_class(engine, fake, &first, 1, NX_PRIORITY_INTERACTIVE);
    assert_done(&first, NX_OK);
    for (int i = 0; i < 2; i++) {
        probe_init(&background[i], 2 + i, fake);
        background[i].task.priority = NX_PRIORITY_BACKGROUND;
        background[i].prepare_gate = &gate;
        submit(engine, &background[i]);
    }
    wait_for(&background[0].prepared);
    submit_class(engine, fake, &next, 4, NX_PRIORITY_INTERACTIVE);
    assert_done(&next, NX_OK);
    wait_for(&background[1].prepared); /* nobody has come for a while */
    sem_post(&gate);
    sem_post(&gate);
    assert_all_done(background, 2);
    end(engine, fake);
    sem_destroy(&gate);
}

/* The most urgent one decides which batch it is; whoever fits may come along. */
static void a_batch_takes_lower_classes_along(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe probes[5];
    nx_engine *engine = busy_worker(3, fake, &busy);
    submit_class(engine, fake, &probes[0], 1, NX_PRIORITY_BATCH);
    submit_class(engine, fake, &probes[1], 2, NX_PRIORITY_BATCH);
    submit_class(engine, fake, &probes[2], 3, NX_PRIORITY_STREAM);
    submit_class(engine, fake, &probes[3], 4, NX_PRIORITY_STREAM);
    probe_init(&probes[4], 5, fake);
    probes[4].task.input_height = 16;
    submit(engine, &probes[4]); /* interactive, of another shape */
    let_go(fake, probes, 5);
    fake_assert_runs(fake, "0|5|1 3 4|2");
    end(engine, fake);
}

/* --- what leaves a batch ------------------------------------------------------------------------
 */

static void the_late_and_the_cancelled_cost_no_run(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe probes[6];
    nx_engine *engine = busy_worker(8, fake, &busy);
    for (int i = 0; i < 6; i++) {
        probe_init(&probes[i], i + 1, fake);
        if (i == 1 || i == 5) {
            probes[i].task.deadline_ns = nx_clock_now_ns(); /* passes while it waits */
        } else if (i == 2) {
            probes[i].task.deadline_ns = nx_clock_now_ns() + 600 * NX_NS_PER_SEC;
        }
        submit(engine, &probes[i]);
    }
    assert_true(nx_engine_cancel(engine, &probes[3].task));
    fake_hold(fake, false);
    for (int i = 0; i < 6; i++) {
        bool late = i == 1 || i == 5;
        assert_done(&probes[i], late ? NX_ERR_TIMEOUT : i == 3 ? NX_ERR_CANCELLED : NX_OK);
        assert_int_equal(probes[i].prepare_calls, late || i == 3 ? 0 : 1);
    }
    nx_assert_contains(probes[1].err.message, "in the queue, longer than allowed");
    assert_true(probes[1].task.timings.queue > 0);
    fake_assert_runs(fake, "0|1 3 5");
    end(engine, fake);
}

static void a_failed_picture_gives_its_place_to_the_next(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe probes[7];
    nx_engine *engine = busy_worker(4, fake, &busy);
    for (int i = 0; i < 7; i++) {
        probe_init(&probes[i], i + 1, fake);
        probes[i].prepare_status = i == 0 || i == 2 ? NX_ERR_CORRUPT : NX_OK;
        submit(engine, &probes[i]);
    }
    fake_hold(fake, false);
    for (int i = 0; i < 7; i++) {
        assert_done(&probes[i], i == 0 || i == 2 ? NX_ERR_CORRUPT : NX_OK);
    }
    assert_string_equal(probes[2].err.message, "prepare of 3");
    fake_assert_runs(fake, "0|2 4 5 6|7");
    end(engine, fake);
}

/* A hole in the middle that nobody fills is closed before the run. */
static void holes_are_closed(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    sem_t gate;
    probe busy;
    probe probes[3];
    sem_init(&gate, 0, 0);
    const nx_engine_options options = {
        .workers = 1, .prefetch = 1, .preparers = 3, .batch_size = 8};
    nx_engine *engine = busy_engine(&options, fake, &busy);
    submit_many(engine, fake, probes, 1, 1);
    wait_for(&probes[0].prepared);
    probe_init(&probes[1], 2, fake);
    probes[1].prepare_gate = &gate;
    probes[1].prepare_status = NX_ERR_CORRUPT;
    submit(engine, &probes[1]);
    wait_for(&probes[1].prepared);
    submit_many(engine, fake, probes + 2, 3, 1);
    wait_for(&probes[2].prepared); /* behind the one that will fail */
    sem_post(&gate);
    assert_done(&probes[1], NX_ERR_CORRUPT);
    fake_hold(fake, false);
    assert_done(&probes[0], NX_OK);
    assert_done(&probes[2], NX_OK);
    fake_assert_runs(fake, "0|1 3");
    end(engine, fake);
}

static void a_batch_of_failures_is_no_run(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe probes[4];
    nx_engine *engine = busy_worker(4, fake, &busy);
    for (int i = 0; i < 3; i++) {
        probe_init(&probes[i], i + 1, fake);
        probes[i].prepare_status = NX_ERR_TOO_LARGE;
        submit(engine, &probes[i]);
    }
    fake_hold(fake, false);
    for (int i = 0; i < 3; i++) {
        assert_done(&probes[i], NX_ERR_TOO_LARGE);
    }
    submit_many(engine, fake, &probes[3], 4, 1); /* and the worker is free again */
    assert_done(&probes[3], NX_OK);
    fake_assert_runs(fake, "0|4");
    end(engine, fake);
}

static void a_failed_run_fails_its_batch_alone(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe probes[5];
    nx_engine *engine = busy_worker(2, fake, &busy);
    submit_many(engine, fake, probes, 1, 2);
    fake_let_one(fake);
    fake_wait(fake, 2);
    fake->status = NX_ERR_INTERNAL; /* of the run that is held */
    fake_let_one(fake);
    assert_done(&busy, NX_OK);
    for (int i = 0; i < 2; i++) {
        assert_done(&probes[i], NX_ERR_INTERNAL);
        assert_string_equal(probes[i].err.message, "the run failed");
        assert_int_equal(probes[i].consume_calls, 0);
    }
    fake->status = NX_OK;
    fake->silent = true;
    fake_hold(fake, false);
    submit_many(engine, fake, probes + 2, 3, 1);
    assert_done(&probes[2], NX_ERR_INTERNAL);
    assert_string_equal(probes[2].err.message, "the model gave no output");
    fake->silent = false;
    submit_many(engine, fake, probes + 3, 4, 2);
    assert_all_done(probes + 3, 2);
    end(engine, fake);
}

static void a_failed_reading_fails_its_picture_alone(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe probes[3];
    nx_engine *engine = busy_worker(4, fake, &busy);
    for (int i = 0; i < 3; i++) {
        probe_init(&probes[i], i + 1, fake);
        probes[i].consume_status = i == 1 ? NX_ERR_UNSUPPORTED : NX_OK;
        submit(engine, &probes[i]);
    }
    fake_hold(fake, false);
    assert_done(&probes[0], NX_OK);
    assert_done(&probes[1], NX_ERR_UNSUPPORTED);
    assert_string_equal(probes[1].err.message, "consume of 2");
    assert_done(&probes[2], NX_OK);
    fake_assert_runs(fake, "0|1 2 3");
    end(engine, fake);
}

static void what_does_not_fit_into_memory_fails(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe huge;
    probe small;
    nx_engine *engine = engine_of(&(nx_engine_options){.workers = 1, .batch_size = 32});
    probe_init(&huge, 1, fake);
    huge.task.input_width = UINT32_MAX;
    huge.task.input_height = UINT32_MAX / 8;
    submit(engine, &huge);
    assert_done(&huge, NX_ERR_NO_MEMORY);
    nx_assert_contains(huge.err.message, "no memory for model inputs of 4294967295x536870911");
    assert_int_equal(huge.prepare_calls, 0);
    submit_many(engine, fake, &small, 2, 1);
    assert_done(&small, NX_OK);
    end(engine, fake);
}

/* --- memory -------------------------------------------------------------------------------------
 */

static atomic_int given;
static sem_t taken_back;

static void *give(void *self, size_t bytes)
{
    void *memory = NULL;
    (void)self;
    assert_int_equal(posix_memalign(&memory, 64, bytes), 0);
    atomic_fetch_add(&given, 1);
    return memory;
}

static void take_back(void *memory)
{
    free(memory);
    sem_post(&taken_back);
}

static void the_backend_gives_memory_that_idleness_gives_back(void **state)
{
    (void)state;
    fake_backend *own = fake_new(32);
    fake_backend *ordinary = fake_new(32);
    probe probes[4];
    own->backend.allocate = give;
    own->backend.release = take_back;
    atomic_store(&given, 0);
    sem_init(&taken_back, 0, 0);
    nx_engine *engine = engine_of(&(nx_engine_options){.workers = 1, .batch_size = 4});
    for (int i = 0; i < 3; i++) {
        submit_many(engine, i == 2 ? ordinary : own, &probes[i], i, 1);
        assert_done(&probes[i], NX_OK);
    }
    assert_int_equal(given, 1); /* used again */
    wait_for(&taken_back);      /* for the other backend's */
    submit_many(engine, own, &probes[3], 3, 1);
    assert_done(&probes[3], NX_OK);
    assert_int_equal(given, 2);
    wait_for(&taken_back); /* after a while without work */
    nx_engine_free(engine);
    assert_int_equal(sem_trywait(&taken_back), -1);
    fake_free(own);
    fake_free(ordinary);
}

/* --- ahead of the run ---------------------------------------------------------------------------
 */

static void prefetch_prepares_while_others_run(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe probes[6];
    const nx_engine_options options = {.workers = 1, .prefetch = 2, .batch_size = 2};
    nx_engine *engine = busy_engine(&options, fake, &busy);
    submit_many(engine, fake, probes, 1, 6);
    for (int i = 0; i < 4; i++) {
        wait_for(&probes[i].prepared);
    }
    nx_engine_stats stats = nx_engine_get_stats(engine);
    assert_int_equal(stats.queued, 2); /* two batches are full, there is no third */
    assert_int_equal(stats.running, 5);
    fake_assert_runs(fake, "0");
    let_go(fake, probes, 6);
    assert_int_equal(fake->runs[1].count, 2);
    assert_int_equal(fake->runs[2].count, 2);
    assert_int_equal(fake->runs[1].numbers[0] + fake->runs[1].numbers[1], 3);
    assert_int_equal(fake->at_once, 1);
    end(engine, fake);
}

static void a_batch_that_must_wait_takes_what_comes(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe probes[3];
    const nx_engine_options options = {.workers = 1, .prefetch = 2, .batch_size = 4};
    nx_engine *engine = busy_engine(&options, fake, &busy);
    for (int i = 0; i < 3; i++) {
        submit_many(engine, fake, &probes[i], i + 1, 1);
        wait_for(&probes[i].prepared);
    }
    let_go(fake, probes, 3);
    fake_assert_runs(fake, "0|1 2 3");
    end(engine, fake);
}

/* Once a worker is free for a batch, it goes with what it has. */
static void a_batch_whose_turn_it_is_takes_no_more(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    sem_t gate;
    probe busy;
    probe probes[3];
    sem_init(&gate, 0, 0);
    const nx_engine_options options = {.workers = 1, .prefetch = 1, .batch_size = 8};
    nx_engine *engine = busy_engine(&options, fake, &busy);
    submit_many(engine, fake, probes, 1, 1);
    wait_for(&probes[0].prepared);
    probe_init(&probes[1], 2, fake);
    probes[1].prepare_gate = &gate;
    submit(engine, &probes[1]);
    wait_for(&probes[1].prepared);
    fake_let_one(fake);
    assert_done(&busy, NX_OK); /* from here on the worker is theirs */
    submit_many(engine, fake, &probes[2], 3, 1);
    wait_for(&probes[2].prepared); /* in a batch of its own, or there would be no thread for it */
    sem_post(&gate);
    let_go(fake, probes, 3);
    fake_assert_runs(fake, "0|1 2|3");
    end(engine, fake);
}

static void the_next_batch_runs_while_one_is_read(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    sem_t gate;
    probe first;
    probe second;
    sem_init(&gate, 0, 0);
    nx_engine *engine = engine_of(&(nx_engine_options){.workers = 1, .prefetch = 1});
    probe_init(&first, 1, fake);
    first.consume_gate = &gate;
    submit(engine, &first);
    wait_for(&first.consumed);
    submit_many(engine, fake, &second, 2, 1);
    assert_done(&second, NX_OK);
    assert_int_equal(atomic_load(&first.done_calls), 0);
    sem_post(&gate);
    assert_done(&first, NX_OK);
    end(engine, fake);
}

static void threads_prepare_and_read_a_batch_together(void **state)
{
    (void)state;
    enum { TOGETHER = 3 };
    fake_backend *fake = fake_new(32);
    sem_t prepare_gate;
    sem_t consume_gate;
    probe busy;
    probe probes[TOGETHER + 1];
    sem_init(&prepare_gate, 0, 0);
    sem_init(&consume_gate, 0, 0);
    const nx_engine_options options = {
        .workers = 1, .prefetch = 1, .preparers = TOGETHER + 1, .batch_size = 4};
    nx_engine *engine = busy_engine(&options, fake, &busy);
    submit_many(engine, fake, probes, 1, 1);
    wait_for(&probes[0].prepared);
    for (int i = 1; i <= TOGETHER; i++) {
        probe_init(&probes[i], i + 1, fake);
        probes[i].prepare_gate = &prepare_gate;
        probes[i].consume_gate = &consume_gate;
        submit(engine, &probes[i]);
    }
    for (int i = 1; i <= TOGETHER; i++) { /* all of them, while none may go on */
        wait_for(&probes[i].prepared);
    }
    for (int i = 1; i <= TOGETHER; i++) {
        sem_post(&prepare_gate);
    }
    fake_hold(fake, false);
    for (int i = 1; i <= TOGETHER; i++) {
        wait_for(&probes[i].consumed);
    }
    for (int i = 1; i <= TOGETHER; i++) {
        sem_post(&consume_gate);
    }
    assert_all_done(probes, TOGETHER + 1);
    fake_assert_runs(fake, "0|1 2 3 4");
    end(engine, fake);
}

/* --- delay --------------------------------------------------------------------------------------
 */

static void a_delay_waits_for_a_full_batch(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe probes[5];
    nx_engine *engine = engine_of(
        &(nx_engine_options){.workers = 1, .batch_size = 3, .batch_delay_ns = 600 * NX_NS_PER_SEC});
    for (int i = 0; i < 3; i++) {
        submit_many(engine, fake, &probes[i], i + 1, 1);
        wait_for(&probes[i].prepared);
    }
    assert_all_done(probes, 3);
    submit_many(engine, fake, probes + 3, 4, 2);
    wait_for(&probes[4].prepared);
    assert_true(nx_engine_drain(engine, 0)); /* then nothing more can come */
    assert_all_done(probes + 3, 2);
    fake_assert_runs(fake, "1 2 3|4 5");
    nx_engine_free(engine);

    engine = engine_of(
        &(nx_engine_options){.workers = 1, .batch_size = 3, .batch_delay_ns = NX_NS_PER_MS});
    submit_many(engine, fake, probes, 6, 1);
    assert_all_done(probes, 1); /* nobody came */
    const nx_engine_timings *timings = &probes[0].task.timings;
    assert_true(timings->queue + timings->prepare >= NX_NS_PER_MS);
    end(engine, fake);
}

/* --- other work ---------------------------------------------------------------------------------
 */

static void other_work_takes_a_worker(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    uint32_t sizes[5] = {0};
    sem_t gate;
    probe work[2];
    probe probes[2];
    sem_init(&gate, 0, 0);
    const nx_engine_options options = {
        .workers = 1, .prefetch = 1, .batch_size = 4, .on_run = count_run, .user = sizes};
    nx_engine *engine = engine_of(&options);
    probe_init_execute(&work[0], 100, fake);
    work[0].prepare_gate = &gate;
    submit(engine, &work[0]);
    wait_for(&work[0].prepared);
    submit_many(engine, fake, probes, 1, 1);
    wait_for(&probes[0].prepared); /* ahead, but it cannot run */
    probe_init_execute(&work[1], 101, fake);
    work[1].prepare_status = NX_ERR_IO;
    submit(engine, &work[1]);
    submit_many(engine, fake, probes + 1, 2, 1);
    assert_int_equal(fake->count, 0);
    sem_post(&gate);
    assert_done(&work[0], NX_OK);
    assert_done(&work[1], NX_ERR_IO);
    assert_string_equal(work[1].err.message, "execute of 101");
    assert_all_done(probes, 2);
    assert_true(work[0].task.timings.run > 0);
    assert_int_equal(work[0].task.timings.prepare, 0);
    nx_engine_free(engine);
    uint32_t pictures = sizes[1] + 2 * sizes[2]; /* the other work is no Run of a model */
    assert_int_equal(pictures, 2);
    fake_free(fake);
}

/* It takes its turn among the batches that wait, however many come. */
static void other_work_is_not_starved_by_batches(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    probe busy;
    probe work;
    probe probes[4];
    const nx_engine_options options = {.workers = 1, .prefetch = 1, .batch_size = 1};
    nx_engine *engine = busy_engine(&options, fake, &busy);
    submit_many(engine, fake, probes, 1, 1);
    wait_for(&probes[0].prepared); /* the place ahead is taken */
    probe_init_execute(&work, 100, fake);
    submit(engine, &work);
    submit_many(engine, fake, probes + 1, 2, 3);
    fake_let_one(fake);
    fake_let_one(fake);
    assert_done(&work, NX_OK); /* while 2 is held or waits */
    assert_int_equal(atomic_load(&probes[2].done_calls), 0);
    let_go(fake, probes, 4);
    end(engine, fake);
}

/* --- how much to have in the engine ------------------------------------------------------------
 */

static void a_window_keeps_every_batch_full(void **state)
{
    (void)state;
    fake_backend *fake = fake_new(32);
    nx_engine *engine =
        engine_of(&(nx_engine_options){.workers = 2, .prefetch = 3, .batch_size = 16});
    assert_int_equal(nx_engine_window(engine, &fake->backend), (2 * 2 + 3) * 16);
    nx_engine_free(engine);
    engine = engine_of(&(nx_engine_options){.workers = 2});
    assert_int_equal(nx_engine_window(engine, &fake->backend), 4);
    end(engine, fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_shares_batches),
        cmocka_unit_test(nothing_waits_for_company),
        cmocka_unit_test(a_batch_has_one_shape_and_one_backend),
        cmocka_unit_test(the_backend_limits_the_batch),
        cmocka_unit_test(idle_workers_share_what_waits),
        cmocka_unit_test(workers_run_at_the_same_time),
        cmocka_unit_test(alone_is_who_has_no_company),
        cmocka_unit_test(higher_classes_come_first),
        cmocka_unit_test(lower_classes_do_not_starve),
        cmocka_unit_test(the_background_leaves_half_of_the_queue),
        cmocka_unit_test(the_background_leaves_a_worker_to_who_waits),
        cmocka_unit_test(a_batch_takes_lower_classes_along),
        cmocka_unit_test(the_late_and_the_cancelled_cost_no_run),
        cmocka_unit_test(a_failed_picture_gives_its_place_to_the_next),
        cmocka_unit_test(holes_are_closed),
        cmocka_unit_test(a_batch_of_failures_is_no_run),
        cmocka_unit_test(a_failed_run_fails_its_batch_alone),
        cmocka_unit_test(a_failed_reading_fails_its_picture_alone),
        cmocka_unit_test(what_does_not_fit_into_memory_fails),
        cmocka_unit_test(the_backend_gives_memory_that_idleness_gives_back),
        cmocka_unit_test(prefetch_prepares_while_others_run),
        cmocka_unit_test(a_batch_that_must_wait_takes_what_comes),
        cmocka_unit_test(a_batch_whose_turn_it_is_takes_no_more),
        cmocka_unit_test(the_next_batch_runs_while_one_is_read),
        cmocka_unit_test(threads_prepare_and_read_a_batch_together),
        cmocka_unit_test(a_delay_waits_for_a_full_batch),
        cmocka_unit_test(other_work_takes_a_worker),
        cmocka_unit_test(other_work_is_not_starved_by_batches),
        cmocka_unit_test(a_window_keeps_every_batch_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
