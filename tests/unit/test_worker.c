/*
 * A worker in this process, with everything real but the model: jobs to their results, and all the
 * ways not to get there. What happens in the middle happens in a hook behind a checkpoint.
 */
#include "worker.h"

#include "base/file.h"
#include "jobs/sweeper.h"
#include "store/object_uses.h"

#include <pthread.h>
#include <semaphore.h>

static void *folder; /* data of the workers */
static ground base;

/* --- a worker whose hooks do what a test wants --------------------------------------------------
 */

typedef struct watch {
    store_fixture *fixture;
    nx_worker *worker;
    pthread_mutex_t lock; /* of worker, which is known a little after it began */
    sem_t ends;
    uint64_t at; /* the checkpoint that act is called behind, once; 0: none */
    void (*act)(struct watch *watch, const char *id);
    atomic_bool acted;
    atomic_uint checkpoints;
} watch;

static void on_checkpoint(const char *id, uint64_t frames, void *user)
{
    watch *w = user;
    atomic_fetch_add(&w->checkpoints, 1);
    if (frames == w->at && !atomic_exchange(&w->acted, true)) {
        w->act(w, id);
    }
}

static void on_end(const char *id, void *user)
{
    watch *w = user;
    (void)id;
    sem_post(&w->ends);
}

static void begin(watch *w, store_fixture *fixture)
{
    nx_error err = {0};
    w->fixture = fixture;
    sem_init(&w->ends, 0, 0);
    pthread_mutex_init(&w->lock, NULL);
    nx_worker_options options = worker_options(&base, fixture->store, &folder);
    options.on_checkpoint = on_checkpoint;
    options.on_end = on_end;
    options.user = w;
    pthread_mutex_lock(&w->lock);
    nx_assert_ok(nx_worker_start(&options, &w->worker, &err), err);
    pthread_mutex_unlock(&w->lock);
}

/* Waits until jobs were let go of so many times, and ends the worker. */
static void end(watch *w, int times)
{
    for (int i = 0; i < times; i++) {
        while (sem_wait(&w->ends) != 0) {
        }
    }
    nx_worker_stop(w->worker);
    sem_destroy(&w->ends);
    pthread_mutex_destroy(&w->lock);
}

/* The result of the usual job when nothing happens to it; in the fixture's arena. */
static const char *undisturbed(store_fixture *fixture, const char *video)
{
    watch w = {0};
    nx_job job = worker_enqueue(fixture, base.objects, video, WORKER_SPEC);
    begin(&w, fixture);
    end(&w, 1);
    job = get(fixture, job.id);
    assert_int_equal(job.state, NX_JOB_SUCCEEDED);
    assert_int_equal(atomic_load(&w.checkpoints), FRAMES / 100);
    return job.result;
}

/* --- tests --- */

static void a_job_runs_to_its_results(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    char *video = walk_video(&folder);
    const char *result = undisturbed(fixture, video);
    json_t *read = json_loads(result, 0, NULL);
    json_t *files = json_object_get(read, "files");
    assert_int_equal(json_array_size(files), 4);
    for (size_t i = 0; i < 4; i++) {
        int64_t size = 0;
        const json_t *file = json_array_get(files, i);
        const char *object = json_string_value(json_object_get(file, "object"));
        assert_non_null(object);
        nx_assert_ok(nx_objects_size(base.objects, object, &size, &err), err);
        assert_int_equal(size, json_integer_value(json_object_get(file, "size")));
        assert_true(size > 0);
        assert_non_null(json_string_value(json_object_get(file, "type")));
    }
    nx_assert_contains(result, "{\"files\":[{\"name\":\"frames.ndjson.zst\",\"type\":\"");
    const json_t *summary = json_object_get(read, "summary");
    assert_int_equal(json_integer_value(json_object_get(summary, "frames")), FRAMES);
    assert_string_equal(json_string_value(json_object_get(summary, "source")), "walk.mp4");
    json_decref(read);
    free(video);
}

static char part_of_job[NX_OBJECT_NAME_SIZE];

static void note_part(watch *w, const char *id)
{
    nx_arena arena = nx_arena_make(0);
    nx_job_checkpoint saved = {0};
    nx_worker_parts *parts = calloc(1, sizeof *parts);
    const void *inner = NULL;
    size_t size = 0;
    if (parts != NULL && nx_store_job_load(w->fixture->store, id, &arena, &saved, NULL) == NX_OK &&
        nx_worker_parts_read(saved.state, saved.state_size, parts, &inner, &size, NULL) == NX_OK &&
        parts->count > 0 && size > 0) {
        snprintf(part_of_job, sizeof part_of_job, "%s", parts->items[0].object);
    }
    free(parts);
    nx_arena_free(&arena);
}

static void nothing_is_left_behind(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    char *video = walk_video(&folder);
    watch w = {.at = 200, .act = note_part};
    int64_t size = 0;
    part_of_job[0] = '\0';
    const nx_job job = worker_enqueue(fixture, base.objects, video, WORKER_SPEC);
    begin(&w, fixture);
    end(&w, 1);
    assert_int_equal(get(fixture, job.id).state, NX_JOB_SUCCEEDED);
    assert_int_equal(strlen(part_of_job), 64);
    assert_int_equal(nx_objects_size(base.objects, part_of_job, &size, &err), NX_ERR_NOT_FOUND);
    char name[64];
    snprintf(name, sizeof name, "jobs/%s", job.id);
    assert_int_not_equal(access(scratch_path(&folder, name), F_OK), 0);
    free(video);
}

/* As if the worker had been away for too long. Its keeper may renew the lease in between. */
static void take_lease_away(watch *w, const char *id)
{
    static const nx_sql expire =
        NX_SQL("UPDATE jobs SET lease_until = nx_now() WHERE state = 'running'");
    nx_job_reclaim found = {0};
    const nx_call call = {.sql = &expire};
    (void)id;
    while (found.requeued == 0) {
        (void)nx_store_run(w->fixture->store, NX_TX_WRITE, &call, NULL, NULL);
        (void)nx_store_jobs_reclaim(w->fixture->store, &found, NULL);
    }
}

static void a_lost_lease_leads_to_the_same_bytes(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    char *video = walk_video(&folder);
    const char *expected = undisturbed(fixture, video);
    for (uint64_t at = 100; at <= 200; at += 100) {
        watch w = {.at = at, .act = take_lease_away};
        nx_job job = worker_enqueue(fixture, base.objects, video, WORKER_SPEC);
        begin(&w, fixture);
        end(&w, 2); /* the old lease's work, and the new one's */
        job = get(fixture, job.id);
        assert_int_equal(job.state, NX_JOB_SUCCEEDED);
        assert_int_equal(job.attempts, 2);
        assert_string_equal(job.result, expected);
    }
    free(video);
}

static void ask_stop(watch *w, const char *id)
{
    (void)id;
    pthread_mutex_lock(&w->lock);
    nx_worker_ask_stop(w->worker);
    pthread_mutex_unlock(&w->lock);
}

static void a_worker_that_stops_gives_its_job_back(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    char *video = walk_video(&folder);
    const char *expected = undisturbed(fixture, video);
    watch w = {.at = 100, .act = ask_stop};
    nx_job job = worker_enqueue(fixture, base.objects, video, WORKER_SPEC);
    begin(&w, fixture);
    end(&w, 1);
    job = get(fixture, job.id);
    if (job.state == NX_JOB_QUEUED) { /* unless the rest was faster than the word of it */
        assert_int_equal(job.strikes, 0);
        assert_true(job.position >= 100);
        watch next = {0};
        begin(&next, fixture);
        end(&next, 1);
        job = get(fixture, job.id);
    }
    assert_int_equal(job.state, NX_JOB_SUCCEEDED);
    assert_string_equal(job.result, expected);
    free(video);
}

static void cancel(watch *w, const char *id)
{
    nx_job_state became = NX_JOB_QUEUED;
    (void)nx_store_job_cancel(w->fixture->store, id, &became, NULL);
}

/* The checkpoint after the one behind which it was cancelled says so. */
static void a_cancelled_job_ends_and_can_be_tried_again(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    char *video = walk_video(&folder);
    const char *expected = undisturbed(fixture, video);
    watch w = {.at = 100, .act = cancel};
    nx_job job = worker_enqueue(fixture, base.objects, video, WORKER_SPEC);
    begin(&w, fixture);
    end(&w, 1);
    job = get(fixture, job.id);
    assert_int_equal(job.state, NX_JOB_CANCELLED);
    assert_null(job.result);
    watch again = {0};
    nx_assert_ok(nx_store_job_retry(fixture->store, job.id, &err), err);
    begin(&again, fixture);
    end(&again, 1);
    job = get(fixture, job.id);
    assert_int_equal(job.state, NX_JOB_SUCCEEDED);
    assert_string_equal(job.result, expected);
    free(video);
}

/* Everything that could go goes, however young; what the job needs does not. */
static void sweep_all(watch *w, const char *id)
{
    nx_swept found = {0};
    const nx_sweep_options options = {
        .store = w->fixture->store, .objects = base.objects, .data_dir = folder};
    (void)id;
    if (nx_sweep(&options, &found, NULL) == NX_OK) {
        atomic_fetch_add(&w->checkpoints, 1000); /* seen by the test */
    }
}

static void a_sweep_takes_nothing_from_a_job_that_runs(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    char *video = walk_video(&folder);
    const char *expected = undisturbed(fixture, video);
    int64_t size = 0;
    watch w = {.at = 200, .act = sweep_all};
    nx_job job = worker_enqueue(fixture, base.objects, video, WORKER_SPEC);
    begin(&w, fixture);
    end(&w, 1);
    job = get(fixture, job.id);
    assert_int_equal(job.state, NX_JOB_SUCCEEDED);
    assert_int_equal(job.attempts, 1);
    assert_int_equal(atomic_load(&w.checkpoints), 1000 + FRAMES / 100);
    assert_string_equal(job.result, expected);
    sweep_all(&w, NULL);
    json_t *read = json_loads(job.result, 0, NULL);
    const json_t *files = json_object_get(read, "files");
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *object = json_string_value(json_object_get(json_array_get(files, i), "object"));
        nx_assert_ok(nx_objects_size(base.objects, object, &size, &err), err);
    }
    json_decref(read);
    free(video);
}

static void what_the_machine_lacks_is_tried_again(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    char *video = walk_video(&folder);
    watch w = {0};
    char *jobs = strdup(scratch_path(&folder, "jobs"));
    (void)rmdir(jobs);
    (void)scratch_write(&folder, "jobs", "", 0); /* a file where a folder is wanted */
    nx_job job = worker_enqueue(fixture, base.objects, video, WORKER_SPEC);
    begin(&w, fixture);
    end(&w, 1);
    job = get(fixture, job.id);
    assert_int_equal(job.state, NX_JOB_QUEUED);
    assert_int_equal(job.strikes, 1);
    assert_non_null(job.error);
    assert_true(job.not_before > job.created_at);
    assert_int_equal(unlink(jobs), 0);
    free(jobs);
    free(video);
}

static void what_is_wrong_fails_at_once(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    static const struct {
        const char *spec, *error;
    } cases[] = {
        {"{\"stride\":0}", "stride"},
        {"{\"model\":\"nobody\"}", "nobody"},
        {"{\"classes\":\"dragon\"}", "dragon"},
        {"{\"modle\":\"x\"}", "modle"},
        {"no JSON", ""},
    };
    char *video = walk_video(&folder);
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        watch w = {0};
        nx_job job = worker_enqueue(fixture, base.objects, video, cases[i].spec);
        begin(&w, fixture);
        end(&w, 1);
        job = get(fixture, job.id);
        assert_int_equal(job.state, NX_JOB_FAILED);
        assert_null(job.result);
        nx_assert_contains(job.error, cases[i].error);
    }
    free(video);
}

static void a_damaged_video_keeps_what_was_seen(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    char *video = walk_video(&folder);
    nx_buffer bytes = NX_BUFFER_INIT;
    watch w = {0};
    nx_assert_ok(nx_file_read(video, 1 << 26, &bytes, &err), err);
    memset(bytes.data + bytes.size * 3 / 5, 0xff, bytes.size * 2 / 5);
    const char *path = scratch_write(&folder, "damaged.mp4", bytes.data, bytes.size);
    nx_job job = worker_enqueue(fixture, base.objects, path, WORKER_SPEC);
    begin(&w, fixture);
    end(&w, 1);
    job = get(fixture, job.id);
    assert_true(job.state == NX_JOB_FAILED || job.state == NX_JOB_SUCCEEDED);
    assert_non_null(job.result);
    nx_assert_contains(job.result, "\"summary\":{");
    nx_assert_contains(job.result,
                       job.state == NX_JOB_FAILED ? "\"complete\":false" : "\"damaged\"");
    assert_true((job.error != NULL) == (job.state == NX_JOB_FAILED));
    nx_buffer_free(&bytes);
    free(video);
}

static void a_checkpoint_of_many_parts_stays_small(void **state)
{
    STORE_FIXTURE(state);
    nx_worker_parts *parts = calloc(1, sizeof *parts);
    nx_worker_parts *again = calloc(1, sizeof *again);
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_buffer back = NX_BUFFER_INIT;
    const void *inner = NULL;
    size_t size = 0;
    char log[NX_WORKER_MOST_PARTS + 1];
    nx_objects *objects = worker_objects(&folder);
    const nx_worker_keeper keeper = {
        .store = fixture->store, .objects = objects, .holder = "the test"};
    assert_true(parts != NULL && again != NULL);
    snprintf(parts->job, sizeof parts->job, "01890000-0000-7000-8000-000000000000");
    snprintf(parts->model, sizeof parts->model, "m");
    for (size_t i = 0; i < sizeof log; i++) {
        log[i] = (char)('a' + i % 26);
    }
    char *path = strdup(scratch_write(&folder, "log", log, sizeof log));
    for (size_t i = 1; i <= sizeof log; i++) {
        nx_assert_ok(nx_worker_parts_add(parts, &keeper, path, i, &err), err);
        assert_int_equal(nx_worker_parts_size(parts), i);
        assert_int_equal(parts->count, i <= NX_WORKER_MOST_PARTS ? i : 1);
    }
    nx_assert_ok(nx_worker_parts_add(parts, &keeper, path, sizeof log, &err), err); /* empty */
    nx_worker_parts_write(parts, "state", 5, &bytes);
    nx_assert_ok(nx_worker_parts_read(bytes.data, bytes.size, again, &inner, &size, &err), err);
    assert_int_equal(size, 5);
    assert_memory_equal(inner, "state", 5);
    assert_int_equal(again->count, 2);
    assert_int_equal(unlink(path), 0);
    nx_assert_ok(nx_worker_parts_restore(again, objects, path, &err), err);
    nx_assert_ok(nx_file_read(path, 1 << 20, &back, &err), err);
    assert_int_equal(back.size, sizeof log);
    assert_memory_equal(back.data, log, sizeof log);
    int hole = -1;
    char got[sizeof log];
    memset(got, 1, sizeof got);
    nx_assert_ok(nx_objects_scratch(objects, &hole, &err), err);
    nx_assert_ok(nx_worker_parts_copy(again, objects, hole, sizeof log, UINT64_MAX, &err), err);
    assert_int_equal(pread(hole, got, sizeof got, 0), sizeof log);
    assert_int_equal(got[0] | got[sizeof log - 1], 0); /* as long, and nothing in it */
    nx_assert_ok(nx_worker_parts_copy(again, objects, hole, 3, 4, &err), err);
    assert_int_equal(pread(hole, got, sizeof got, 0), sizeof log);
    assert_memory_equal(got + 3, log + 3, 2);
    close(hole);
    for (size_t cut = 0; cut < bytes.size; cut++) {
        assert_int_not_equal(nx_worker_parts_read(bytes.data, cut, again, &inner, &size, NULL),
                             NX_OK);
    }
    nx_worker_parts_remove(parts, &keeper); /* held still: nothing happens */
    nx_assert_ok(nx_worker_parts_restore(parts, objects, path, &err), err);
    nx_assert_ok(nx_store_object_release(fixture->store, "the test", &err), err);
    nx_worker_parts_remove(parts, &keeper);
    assert_int_equal(nx_worker_parts_restore(parts, objects, path, &err), NX_ERR_NOT_FOUND);
    nx_buffer_free(&bytes);
    nx_buffer_free(&back);
    nx_objects_close(objects);
    free(path);
    free(parts);
    free(again);
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    if (scratch_make(&folder) != 0) {
        return 1;
    }
    if (access(models_data_path("lib/libonnxruntime.so.1"), R_OK) == 0) {
        base = ground_open(&folder);
    }
    const struct CMUnitTest tests[] = {
        store_test(a_job_runs_to_its_results),
        store_test(nothing_is_left_behind),
        store_test(a_lost_lease_leads_to_the_same_bytes),
        store_test(a_worker_that_stops_gives_its_job_back),
        store_test(a_cancelled_job_ends_and_can_be_tried_again),
        store_test(a_sweep_takes_nothing_from_a_job_that_runs),
        store_test(what_the_machine_lacks_is_tried_again),
        store_test(what_is_wrong_fails_at_once),
        store_test(a_damaged_video_keeps_what_was_seen),
        store_test(a_checkpoint_of_many_parts_stays_small),
    };
    int failed = store_run_on_both(tests);
    if (base.objects != NULL) {
        ground_close(&base);
    }
    return failed + scratch_remove(&folder);
}
