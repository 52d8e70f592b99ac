#include "engine/batcher.h"

#include "base/clock.h"
#include "base/condition.h"
#include "engine/model.h"

#include <errno.h>
#include <stdlib.h>

/* After so long without work, memory kept for speed goes back to the system. */
#define IDLE_AFTER_NS (3 * NX_NS_PER_SEC)

/* Unless a comment says otherwise, the lock is held where a function begins and where it ends. */

uint32_t nx_batcher_limit(const nx_engine_options *options, const nx_backend *backend)
{
    uint32_t wanted = options->batch_size > 0 ? options->batch_size : backend->best_batch;
    uint32_t limit = wanted < backend->max_batch ? wanted : backend->max_batch;
    limit = limit < NX_ENGINE_MAX_BATCH ? limit : NX_ENGINE_MAX_BATCH;
    return limit > 0 ? limit : 1;
}

void nx_batcher_done(nx_engine *engine, uint32_t tasks)
{
    engine->active -= tasks;
    engine->trimmed = false;
    if (engine->queue.count == 0 && engine->active == 0) {
        pthread_cond_broadcast(&engine->done);
    }
}

/* --- permits and lanes --------------------------------------------------------------------------
 */

/* Gives a permit back: to the oldest lane that waits for one, or to whoever opens the next. */
static void release_permit(nx_engine *engine)
{
    nx_lane *oldest = NULL;
    for (uint32_t i = 0; i < engine->lane_count; i++) {
        nx_lane *lane = &engine->lanes[i];
        if (lane->state == NX_LANE_FORMING && !lane->permit &&
            (oldest == NULL || lane->number < oldest->number)) {
            oldest = lane;
        }
    }
    if (oldest == NULL) {
        engine->permits++;
    } else {
        oldest->permit = true;
        if (oldest->due_ns == 0) {
            oldest->newest = 0; /* its turn has come: what is being prepared goes along, no more */
        }
    }
    pthread_cond_signal(&engine->work);
}

static void close_lane(nx_engine *engine, nx_lane *lane)
{
    engine->background_lanes -= lane->background;
    lane->state = NX_LANE_FREE;
    engine->free_lanes++;
}

static nx_lane *open_lane(nx_engine *engine, const nx_engine_task *task, int64_t now)
{
    nx_lane *lane = engine->lanes;
    while (lane->state != NX_LANE_FREE) {
        lane++;
    }
    nx_lane_open(lane, task,
                 task->execute != NULL ? 1 : nx_batcher_limit(&engine->options, task->backend));
    engine->free_lanes--;
    lane->background = task->priority == NX_PRIORITY_BACKGROUND;
    engine->background_lanes += lane->background;
    lane->number = ++engine->opened;
    lane->permit = engine->permits > 0;
    if (lane->permit) {
        engine->permits--;
    }
    if (engine->options.batch_delay_ns > 0 && lane->capacity > 1) {
        lane->due_ns = now + engine->options.batch_delay_ns;
    }
    bool now_or_later = lane->permit && lane->due_ns == 0;
    lane->newest = now_or_later ? engine->queue.sequence : UINT64_MAX;
    return lane;
}

/* Whether the lane may run now, if nothing more can join it. */
static bool is_due(const nx_engine *engine, const nx_lane *lane, int64_t now)
{
    return now >= lane->due_ns || lane->count == lane->capacity || engine->draining;
}

/* Whether one more task may join, as far as that is not a question of the task. */
static bool has_room(const nx_engine *engine, const nx_lane *lane, int64_t now)
{
    if (lane->state != NX_LANE_FORMING || lane->count >= lane->capacity) {
        return false;
    }
    if (lane->due_ns != 0) {
        return !lane->permit || !is_due(engine, lane, now);
    }
    /* what idle workers could run at the same time is shared out among them */
    uint32_t idle = engine->permits < engine->free_lanes ? engine->permits : engine->free_lanes;
    uint32_t tasks = lane->count + engine->queue.count;
    return lane->count < (tasks + idle) / (1 + idle); /* rounded up */
}

static nx_task_filter filter_of(const nx_lane *lane)
{
    return (nx_task_filter){.backend = lane->backend,
                            .width = lane->width,
                            .height = lane->height,
                            .newest = lane->newest};
}

/* --- preparing ----------------------------------------------------------------------------------
 */

/* A task's place in a batch. */
typedef struct place {
    nx_lane *lane;
    uint32_t slot;
} place;

static place put(nx_engine *engine, nx_lane *lane, nx_engine_task *task)
{
    nx_task_queue_take(&engine->queue, task);
    engine->active++;
    place to = {lane, nx_lane_add(lane, task)};
    lane->preparing++;
    if (engine->queue.count > 0) { /* perhaps somebody else can do something with the next */
        pthread_cond_signal(&engine->work);
    }
    return to;
}

/* Whether the background has all lanes but one, and somebody may come who waits. */
static bool must_hold_background(const nx_engine *engine, int64_t now)
{
    return now < engine->waited_for_ns && engine->lane_count > 1 &&
           engine->background_lanes + 1 >= engine->lane_count;
}

/* What best() of the queue came by counts as active until it is reported. */
static nx_engine_task *best_task(nx_engine *engine, const nx_task_filter *filter, int64_t now)
{
    uint32_t before = engine->queue.count;
    engine->queue.hold_background = must_hold_background(engine, now);
    nx_engine_task *task = nx_task_queue_best(&engine->queue, filter, now, &engine->expired);
    engine->active += before - engine->queue.count;
    return task;
}

/* Puts the best task that fits into a lane that has room. */
static bool join(nx_engine *engine, nx_lane *lane, int64_t now, place *out)
{
    if (!has_room(engine, lane, now)) {
        return false;
    }
    nx_task_filter filter = filter_of(lane);
    nx_engine_task *task = best_task(engine, &filter, now);
    if (task == NULL) {
        return false;
    }
    *out = put(engine, lane, task);
    return true;
}

/* The batch for a task to join: of those that run as soon as they are prepared the smallest, or
 * else the one that runs first. */
static nx_lane *lane_for(const nx_engine *engine, const nx_engine_task *task, int64_t now)
{
    nx_lane *found = NULL;
    for (uint32_t i = 0; i < engine->lane_count && task->execute == NULL; i++) {
        nx_lane *lane = &engine->lanes[i];
        nx_task_filter filter = filter_of(lane);
        if (!has_room(engine, lane, now) || !nx_task_fits(task, &filter)) {
            continue;
        }
        if (found == NULL || lane->permit > found->permit ||
            (lane->permit && found->permit && lane->count < found->count) ||
            (!lane->permit && !found->permit && lane->number < found->number)) {
            found = lane;
        }
    }
    return found;
}

/* Finds a place for the best task: on an idle worker, in a batch that forms, in a new one. If it
 * must wait for all of these, another may fit into a batch that forms. */
static bool claim(nx_engine *engine, place *out)
{
    if (engine->queue.count == 0) {
        return false;
    }
    int64_t now = nx_clock_now_ns();
    nx_engine_task *task = best_task(engine, NULL, now);
    if (task == NULL) {
        return false;
    }
    bool idle = engine->permits > 0 && engine->free_lanes > 0;
    bool wait = engine->options.batch_delay_ns > 0;
    nx_lane *lane = idle && !wait ? NULL : lane_for(engine, task, now);
    if (lane == NULL && engine->free_lanes > 0) {
        lane = open_lane(engine, task, now);
    }
    if (lane != NULL) {
        *out = put(engine, lane, task);
        return true;
    }
    for (uint32_t i = 0; i < engine->lane_count; i++) {
        if (join(engine, &engine->lanes[i], now, out)) {
            return true;
        }
    }
    return false;
}

/* Reports the tasks that expired in the queue, if there are any. */
static bool report_expired(nx_engine *engine)
{
    uint32_t count = 0;
    nx_engine_task *task = engine->expired;
    engine->expired = NULL;
    if (task == NULL) {
        return false;
    }
    pthread_mutex_unlock(&engine->lock);
    for (nx_engine_task *next = NULL; task != NULL; task = next, count++) {
        nx_error err;
        next = task->next;
        task->timings.queue = nx_clock_now_ns() - task->submitted_ns;
        nx_error_set(&err, NX_ERR_TIMEOUT, "waited %.1f s in the queue, longer than allowed",
                     nx_clock_ms(task->timings.queue) / 1e3);
        task->done(task, NX_ERR_TIMEOUT, &err);
    }
    pthread_mutex_lock(&engine->lock);
    nx_batcher_done(engine, count);
    return true;
}

/* Without the lock. */
static nx_status prepare_picture(const place *at, nx_engine_task *task, nx_error *err)
{
    int64_t start = nx_clock_now_ns();
    task->timings.queue = start - task->submitted_ns;
    nx_status status =
        at->lane->capacity > 0
            ? task->prepare(task, nx_lane_slot(at->lane, at->slot), err)
            : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for model inputs of %ux%u",
                           task->input_width, task->input_height);
    int64_t end = nx_clock_now_ns();
    task->timings.prepare = end - start;
    at->lane->slots[at->slot].ready_ns = end;
    return status;
}

static void prepare_at(nx_engine *engine, const place *at)
{
    nx_lane *lane = at->lane;
    nx_engine_task *task = lane->slots[at->slot].task;
    nx_error err = {0};
    if (lane->backend == NULL) { /* nothing to prepare */
        task->timings.queue = nx_clock_now_ns() - task->submitted_ns;
        lane->slots[at->slot].ready_ns = task->submitted_ns + task->timings.queue;
        lane->preparing--;
        return;
    }
    pthread_mutex_unlock(&engine->lock);
    nx_status status = prepare_picture(at, task, &err);
    if (status != NX_OK) {
        task->done(task, status, &err); /* the task may be gone from here on */
    }
    pthread_mutex_lock(&engine->lock);
    lane->preparing--;
    if (status != NX_OK) {
        nx_lane_drop(lane, at->slot);
        nx_batcher_done(engine, 1);
    }
}

/* After a thread has done what it could for a batch. */
static void settle(nx_engine *engine, nx_lane *lane)
{
    if (lane->preparing > 0) {
        return; /* the last thread that prepares for it comes by here, too */
    }
    if (lane->count == 0) { /* nothing could be prepared */
        bool permit = lane->permit;
        close_lane(engine, lane);
        if (permit) {
            release_permit(engine);
        }
    } else if (lane->due_ns != 0) {
        pthread_cond_broadcast(&engine->work); /* whoever waits must wait until then at most */
    }
}

/* Prepares a picture, and further ones for the same batch as long as there are some. */
static bool prepare_some(nx_engine *engine)
{
    place at;
    if (!claim(engine, &at)) {
        return report_expired(engine);
    }
    do {
        (void)report_expired(engine);
        prepare_at(engine, &at);
    } while (join(engine, at.lane, nx_clock_now_ns(), &at));
    settle(engine, at.lane);
    return true;
}

/* --- reading the outputs -----------------------------------------------------------------------
 */

static void consume_one(nx_engine *engine, nx_lane *lane)
{
    uint32_t index = lane->next_consumed++;
    nx_slot *slot = &lane->slots[index];
    lane->consuming++;
    pthread_mutex_unlock(&engine->lock);
    int64_t start = nx_clock_now_ns();
    slot->status =
        slot->task->consume(slot->task, lane->outputs, lane->output_count, index, &slot->err);
    slot->task->timings.consume = nx_clock_now_ns() - start;
    pthread_mutex_lock(&engine->lock);
    lane->consuming--;
    if (lane->consuming == 0 && lane->next_consumed == lane->count) {
        pthread_cond_broadcast(&engine->consumed);
    }
}

/* Helps to read the outputs of a batch that another thread has run. */
static bool consume_some(nx_engine *engine)
{
    for (uint32_t i = 0; i < engine->lane_count; i++) {
        nx_lane *lane = &engine->lanes[i];
        if (lane->state == NX_LANE_CONSUMING && lane->next_consumed < lane->count) {
            consume_one(engine, lane);
            return true;
        }
    }
    return false;
}

/* --- running ------------------------------------------------------------------------------------
 */

/* What a thread knows of the batch that it runs. */
typedef struct batch_run {
    nx_engine *engine;
    nx_lane *lane;
    int64_t started_ns;
    bool read; /* the outputs came; the permit is given back */
} batch_run;

static void note_run(const batch_run *run, int64_t ns)
{
    const nx_engine_options *options = &run->engine->options;
    for (uint32_t i = 0; i < run->lane->count; i++) {
        run->lane->slots[i].task->timings.run = ns;
    }
    if (options->on_run != NULL && run->lane->backend != NULL) {
        options->on_run(run->lane->backend, ns, run->lane->count, options->user);
    }
}

/* Called by the backend, without the lock. The next batch may run while this one is read. */
static nx_status read_outputs(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    batch_run *run = user;
    nx_engine *engine = run->engine;
    nx_lane *lane = run->lane;
    (void)err;
    note_run(run, nx_clock_now_ns() - run->started_ns);
    pthread_mutex_lock(&engine->lock);
    run->read = true;
    release_permit(engine);
    lane->outputs = outputs;
    lane->output_count = count;
    lane->state = NX_LANE_CONSUMING;
    if (lane->count > 1) {
        pthread_cond_broadcast(&engine->work);
    }
    while (lane->next_consumed < lane->count) {
        consume_one(engine, lane);
    }
    while (lane->consuming > 0) {
        pthread_cond_wait(&engine->consumed, &engine->lock);
    }
    lane->outputs = NULL;
    lane->state = NX_LANE_RUNNING;
    pthread_mutex_unlock(&engine->lock);
    return NX_OK; /* each task has its own */
}

/* Without the lock. */
static nx_status run_batch(batch_run *run, bool alone, nx_error *err)
{
    nx_lane *lane = run->lane;
    nx_lane_compact(lane);
    run->started_ns = nx_clock_now_ns();
    for (uint32_t i = 0; i < lane->count; i++) {
        lane->slots[i].task->timings.queue += run->started_ns - lane->slots[i].ready_ns;
    }
    if (lane->backend == NULL) {
        nx_engine_task *task = lane->slots[0].task;
        nx_status status = task->execute(task, err);
        note_run(run, nx_clock_now_ns() - run->started_ns);
        return status;
    }
    const nx_batch batch = {.data = lane->data,
                            .count = lane->count,
                            .width = lane->width,
                            .height = lane->height,
                            .alone = alone};
    nx_status status = lane->backend->run(lane->backend->self, &batch, read_outputs, run, err);
    if (status == NX_OK && !run->read) {
        return nx_error_set(err, NX_ERR_INTERNAL, "the model gave no output");
    }
    return status;
}

/* Tells every task of a batch how it went, without the lock, and returns what the successful ones
 * cost. They may be gone after that. */
static int64_t report_batch(const batch_run *run, nx_status status, const nx_error *err,
                            uint32_t *succeeded)
{
    nx_lane *lane = run->lane;
    int64_t cost = 0;
    *succeeded = 0;
    for (uint32_t i = 0; i < lane->count; i++) {
        nx_slot *slot = &lane->slots[i];
        bool own = run->read; /* what a task made of the output counts for it */
        nx_status outcome = own ? slot->status : status;
        if (outcome == NX_OK) {
            const nx_engine_timings *timings = &slot->task->timings;
            cost += timings->prepare + timings->run / lane->count + timings->consume;
            (*succeeded)++;
        }
        slot->task->done(slot->task, outcome, own ? &slot->err : err);
    }
    return cost;
}

static void note_cost(nx_engine *engine, int64_t ns)
{
    /* exponential moving average over about eight batches */
    engine->run_ns_average = engine->run_ns_average == 0
                                 ? ns
                                 : engine->run_ns_average + (ns - engine->run_ns_average) / 8;
}

static nx_lane *ready_lane(nx_engine *engine)
{
    nx_lane *oldest = NULL;
    int64_t now = nx_clock_now_ns();
    for (uint32_t i = 0; i < engine->lane_count; i++) {
        nx_lane *lane = &engine->lanes[i];
        if (lane->state == NX_LANE_FORMING && lane->permit && lane->preparing == 0 &&
            is_due(engine, lane, now) && (oldest == NULL || lane->number < oldest->number)) {
            oldest = lane;
        }
    }
    return oldest;
}

/* Runs a batch that is ready. */
static bool run_some(nx_engine *engine)
{
    batch_run run = {.engine = engine, .lane = ready_lane(engine)};
    nx_lane *lane = run.lane;
    nx_error err = {0};
    uint32_t succeeded = 0;
    if (lane == NULL) {
        return false;
    }
    lane->state = NX_LANE_RUNNING;
    bool alone = engine->queue.count == 0 && engine->active == lane->count;
    pthread_mutex_unlock(&engine->lock);
    nx_status status = run_batch(&run, alone, &err);
    int64_t cost = report_batch(&run, status, &err, &succeeded);
    pthread_mutex_lock(&engine->lock);
    if (!run.read) {
        release_permit(engine);
    }
    close_lane(engine, lane);
    if (succeeded > 0) {
        note_cost(engine, cost / succeeded);
    }
    nx_batcher_done(engine, lane->count);
    return true;
}

/* --- a thread -----------------------------------------------------------------------------------
 */

/* Gives memory that is kept for speed back. Nothing waits or runs. */
static void trim(nx_engine *engine)
{
    engine->trimmed = true;
    for (uint32_t i = 0; i < engine->lane_count; i++) {
        nx_lane *lane = &engine->lanes[i];
        void *data = lane->data;
        void (*release)(void *) = lane->release;
        if (lane->state != NX_LANE_FREE || data == NULL) {
            continue; /* somebody came while the lock was free */
        }
        lane->data = NULL;
        lane->bytes = 0;
        pthread_mutex_unlock(&engine->lock);
        release(data);
        pthread_mutex_lock(&engine->lock);
    }
    if (engine->options.runtime != NULL) {
        pthread_mutex_unlock(&engine->lock);
        nx_runtime_trim(engine->options.runtime);
        pthread_mutex_lock(&engine->lock);
    }
}

/* Waits until there may be something to do: a signal, a batch that has waited long enough. After a
 * while with nothing at all it gives memory back. */
static void wait_for_work(nx_engine *engine)
{
    int64_t until = 0;
    bool idle = engine->active == 0 && engine->queue.count == 0;
    if (idle && !engine->trimmed) {
        until = nx_clock_now_ns() + IDLE_AFTER_NS;
    }
    if (engine->queue.hold_background &&
        engine->queue.classes[NX_PRIORITY_BACKGROUND].first != NULL) {
        until = engine->waited_for_ns;
    }
    for (uint32_t i = 0; i < engine->lane_count; i++) {
        const nx_lane *lane = &engine->lanes[i];
        /* what is still being prepared is looked at again when that ends */
        if (lane->state == NX_LANE_FORMING && lane->permit && lane->preparing == 0 &&
            lane->due_ns != 0 && (until == 0 || lane->due_ns < until)) {
            until = lane->due_ns;
        }
    }
    if (until == 0) {
        pthread_cond_wait(&engine->work, &engine->lock);
        return;
    }
    int result = nx_condition_wait(&engine->work, &engine->lock, until);
    if (result == ETIMEDOUT && idle && engine->active == 0 && engine->queue.count == 0 &&
        !engine->trimmed && !engine->stopping) {
        trim(engine);
    }
}

void *nx_batcher_thread(void *argument)
{
    nx_engine *engine = argument;
    pthread_mutex_lock(&engine->lock);
    for (;;) {
        if (report_expired(engine) || consume_some(engine) || run_some(engine) ||
            prepare_some(engine)) {
            continue;
        }
        if (engine->stopping) {
            break;
        }
        wait_for_work(engine);
    }
    pthread_mutex_unlock(&engine->lock);
    return NULL;
}
