/* What the sweeper takes away, and what it leaves, on SQLite and on PostgreSQL. A worker in the
 * middle of a job is in test_worker.c. */
#include "store_jobs.h"

#include "base/file.h"
#include "base/uuid.h"
#include "jobs/sweeper.h"
#include "store/object_uses.h"
#include "store/videos.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/time.h>

#define NOBODY "01890000-0000-7000-8000-000000000000"
#define HOUR   INT64_C(3600000)

static const char *path_of(const store_fixture *fixture, const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", fixture->folder, name);
    return path;
}

static bool there(const store_fixture *fixture, const char *name)
{
    return access(path_of(fixture, name), F_OK) == 0;
}

static void make_old(const store_fixture *fixture, const char *name)
{
    struct timeval times[2];
    gettimeofday(&times[0], NULL);
    times[0].tv_sec -= 7200;
    times[1] = times[0];
    assert_int_equal(utimes(path_of(fixture, name), times), 0);
}

/* A file, made with its folders. */
static void make_file(const store_fixture *fixture, const char *name, bool old)
{
    char folder[400];
    nx_error err = {0};
    snprintf(folder, sizeof folder, "%s", path_of(fixture, name));
    *strrchr(folder, '/') = '\0';
    nx_assert_ok(nx_file_make_dirs(folder, &err), err);
    nx_assert_ok(nx_file_write(path_of(fixture, name), "x", 1, &err), err);
    if (old) {
        make_old(fixture, name);
    }
}

static nx_sweep_options options_of(const store_fixture *fixture, nx_objects *objects)
{
    return (nx_sweep_options){.store = fixture->store,
                              .objects = objects,
                              .data_dir = fixture->folder,
                              .file_ms = HOUR,
                              .parts_ms = HOUR};
}

static nx_swept sweep(const store_fixture *fixture, nx_objects *objects)
{
    nx_swept found = {0};
    nx_error err = {0};
    const nx_sweep_options options = options_of(fixture, objects);
    nx_assert_ok(nx_sweep(&options, &found, &err), err);
    return found;
}

static nx_status store_text(nx_store *store, nx_objects *objects, const char *upload,
                            const char *holder, const char *text, char name[NX_OBJECT_NAME_SIZE],
                            nx_error *err)
{
    nx_object_writer *writer = NULL;
    int64_t size = 0;
    nx_status status = nx_objects_discard(objects, upload, err); /* of the same name before */
    if (status == NX_OK) {
        status = nx_objects_write(objects, upload, 0, &writer, err);
    }
    if (status == NX_OK) {
        status = nx_object_writer_put(writer, text, strlen(text), err);
    }
    nx_object_writer_close(writer);
    if (status == NX_OK) {
        status = nx_store_keep_upload(store, objects, upload, holder, name, &size, err);
    }
    return status;
}

static nx_upload begin_upload(store_fixture *fixture, nx_objects *objects, int64_t lifetime_ms)
{
    nx_upload made = {0};
    nx_object_writer *writer = NULL;
    nx_error err = {0};
    const nx_upload upload = {.owner = "ann", .length = 10, .metadata = ""};
    nx_assert_ok(
        nx_store_upload_add(fixture->store, &upload, lifetime_ms, &fixture->arena, &made, &err),
        err);
    nx_assert_ok(nx_objects_write(objects, made.id, 0, &writer, &err), err);
    nx_object_writer_close(writer);
    return made;
}

static const char *file_of(const char *id)
{
    static char name[80];
    snprintf(name, sizeof name, "uploads/%s.part", id);
    return name;
}

/* --- tests --- */

static void uploads_whose_time_is_over_go(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const nx_upload over = begin_upload(fixture, objects, 0);
    const nx_upload waits = begin_upload(fixture, objects, HOUR);
    make_old(fixture, file_of(waits.id)); /* nothing was sent for a while */
    nx_swept found = sweep(fixture, objects);
    assert_int_equal(found.uploads, 1);
    assert_int_equal(found.files, 0);
    assert_false(there(fixture, file_of(over.id)));
    assert_true(there(fixture, file_of(waits.id)));
    nx_objects_close(objects);
}

static void files_that_nobody_knows_go_when_they_are_old(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    static const struct {
        const char *name;
        bool old, stays;
    } cases[] = {
        {"uploads/" NOBODY ".part", true, false},
        {"uploads/01890000-0000-7000-8000-000000000001.part", false, true},
        {"uploads/.upload.abcdef", true, false},
        {"uploads/.upload.ghijkl", false, true},
        {"uploads/fetch.abcdef", true, false},
        {"uploads/notes.txt", true, true},
        {"uploads/" NOBODY ".part.bak", true, true},
        {"uploads/.hidden", true, true},
        {"uploads/folder/" NOBODY ".part", true, true},
    };
    nx_file_remove_tree(path_of(fixture, "uploads"));
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        make_file(fixture, cases[i].name, cases[i].old);
    }
    nx_swept found = sweep(fixture, objects);
    assert_int_equal(found.files, 3);
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        assert_true(there(fixture, cases[i].name) == cases[i].stays);
    }
    nx_file_remove_tree(path_of(fixture, "uploads"));
    nx_objects_close(objects);
}

static void folders_of_dead_leases_go(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    char held[160];
    char lost[160];
    char young[160];
    char ended[160];
    enqueue_any(fixture);
    const nx_job running = take_one(fixture, LONG_LEASE);
    enqueue_any(fixture);
    const nx_job other = take_one(fixture, LONG_LEASE);
    assert_int_equal(finish_as(fixture, &other, NX_JOB_SUCCEEDED), NX_OK);
    snprintf(held, sizeof held, "jobs/%s/%lld", running.id, (long long)running.fence);
    snprintf(lost, sizeof lost, "jobs/%s/12", running.id);
    snprintf(young, sizeof young, "jobs/%s/13", running.id);
    snprintf(ended, sizeof ended, "jobs/%s/%lld", other.id, (long long)other.fence);
    char unknown[] = "jobs/" NOBODY "/7";
    const char *const folders[] = {held, lost, young, ended, unknown};
    for (size_t i = 0; i < NX_COUNT(folders); i++) {
        char file[200];
        snprintf(file, sizeof file, "%s/frames.ndjson.zst", folders[i]);
        make_file(fixture, file, folders[i] != young);
        make_old(fixture, folders[i]);
    }
    make_file(fixture, "jobs/notes.txt", true);
    nx_swept found = sweep(fixture, objects);
    assert_int_equal(found.folders, 3);
    assert_true(there(fixture, held));
    assert_true(there(fixture, young)); /* somebody writes into it still */
    assert_false(there(fixture, lost) || there(fixture, ended));
    *strrchr(ended, '/') = '\0';
    assert_false(there(fixture, ended) || there(fixture, "jobs/" NOBODY));
    assert_true(there(fixture, "jobs/notes.txt"));
    nx_file_remove_tree(path_of(fixture, "jobs"));
    nx_objects_close(objects);
}

static void objects_that_nothing_names_go(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    char lost[NX_OBJECT_NAME_SIZE];
    char used[NX_OBJECT_NAME_SIZE];
    char held[NX_OBJECT_NAME_SIZE];
    char many[NX_OBJECT_NAME_SIZE];
    char text[16];
    int64_t size = 0;
    bool made = false;
    nx_video video = {0};
    nx_store *store = fixture->store;
    for (int i = 0; i < 130; i++) { /* more than are taken at once */
        snprintf(text, sizeof text, "garbage %d", i);
        nx_assert_ok(store_text(store, objects, NOBODY, "dead", text, many, &err), err);
    }
    nx_assert_ok(store_text(store, objects, NOBODY, "dead", "lost", lost, &err), err);
    nx_assert_ok(store_text(store, objects, NOBODY, "dead", "used", used, &err), err);
    nx_assert_ok(store_text(store, objects, NOBODY, "alive", "held", held, &err), err);
    const nx_video wanted = {.owner = "", .hash = used, .size = 4, .name = "a", .probe = "{}"};
    nx_assert_ok(nx_store_video_add(store, &wanted, &fixture->arena, &video, &made, &err), err);
    assert_int_equal(sweep(fixture, objects).objects, 0);
    (void)STORE_NUMBER(store,
                       "UPDATE object_holds SET held_until = nx_now() WHERE holder = 'dead'");
    assert_int_equal(sweep(fixture, objects).objects, 131);
    assert_int_equal(nx_objects_size(objects, lost, &size, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_objects_size(objects, many, &size, &err), NX_ERR_NOT_FOUND);
    nx_assert_ok(nx_objects_size(objects, used, &size, &err), err);
    nx_assert_ok(nx_objects_size(objects, held, &size, &err), err);
    nx_objects_close(objects);
}

static void parts_of_a_job_without_a_worker_go(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    char part[NX_OBJECT_NAME_SIZE];
    const char *const parts[] = {part};
    bool cancel = false;
    int64_t size = 0;
    nx_job_reclaim found = {0};
    nx_store *store = fixture->store;
    nx_job_request request = job_request();
    request.max_attempts = 1;
    const nx_job made = enqueue(fixture, &request);
    const nx_job job = take_one(fixture, LONG_LEASE);
    const nx_job_lease lease = lease_of(&job);
    nx_assert_ok(store_text(store, objects, NOBODY, "lease", "part", part, &err), err);
    const nx_job_checkpoint checkpoint = {.position = 0,
                                          .state = "s",
                                          .state_size = 1,
                                          .objects = parts,
                                          .object_count = 1,
                                          .replaces = true};
    nx_assert_ok(nx_store_job_save(store, &lease, &checkpoint, LONG_LEASE, NULL, &cancel, &err),
                 err);
    nx_assert_ok(nx_store_object_release(store, "lease", &err), err);
    (void)STORE_NUMBER(store, "UPDATE jobs SET lease_until = nx_now()");
    nx_assert_ok(nx_store_jobs_reclaim(store, &found, &err), err);
    assert_int_equal(get(fixture, made.id).state, NX_JOB_DEAD);
    assert_int_equal(sweep(fixture, objects).objects, 0); /* it may be tried again yet */
    (void)STORE_NUMBER(store, "UPDATE jobs SET finished_at = nx_now() - 3600000");
    assert_int_equal(sweep(fixture, objects).objects, 1);
    assert_int_equal(nx_objects_size(objects, part, &size, &err), NX_ERR_NOT_FOUND);
    nx_objects_close(objects);
}

static void old_jobs_go_with_their_results(void **state)
{
    STORE_FIXTURE(state);
    nx_store *store = fixture->store;
    nx_objects *objects = store_open_objects(fixture);
    nx_sweep_options options = options_of(fixture, objects);
    nx_swept found = {0};
    char name[NX_OBJECT_NAME_SIZE];
    const char *const names[] = {name};
    nx_status became = NX_ERR_INTERNAL;
    int64_t size = 0;
    (void)enqueue_any(fixture);
    nx_job job = take_one(fixture, LONG_LEASE);
    nx_assert_ok(store_text(store, objects, NOBODY, "lease", "a,b", name, &err), err);
    const nx_job_outcome outcome = {.lease = lease_of(&job),
                                    .state = NX_JOB_SUCCEEDED,
                                    .result = "{}",
                                    .objects = names,
                                    .object_count = 1};
    nx_assert_ok(nx_store_jobs_finish(store, &outcome, 1, &became, &err), err);
    nx_assert_ok(nx_store_object_release(store, "lease", &err), err);
    nx_job waits = enqueue_any(fixture);
    (void)STORE_NUMBER(store, "UPDATE jobs SET finished_at = finished_at - 7200000"
                              " WHERE finished_at IS NOT NULL");
    assert_int_equal(sweep(fixture, objects).jobs, 0); /* nothing is said: it stays */
    options.job_ms = 3 * HOUR;
    nx_assert_ok(nx_sweep(&options, &found, &err), err);
    assert_true(found.jobs == 0 && found.objects == 0);
    options.job_ms = HOUR;
    nx_assert_ok(nx_sweep(&options, &found, &err), err);
    assert_true(found.jobs == 1 && found.objects == 1);
    assert_int_equal(nx_objects_size(objects, name, &size, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(get(fixture, waits.id).state, NX_JOB_QUEUED);
    assert_int_equal(nx_store_job_get(store, job.id, &fixture->arena, &waits, &err),
                     NX_ERR_NOT_FOUND);
    nx_objects_close(objects);
}

static void one_failure_does_not_keep_the_others(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    char name[NX_OBJECT_NAME_SIZE];
    nx_swept found = {0};
    const nx_sweep_options options = options_of(fixture, objects);
    nx_assert_ok(store_text(fixture->store, objects, NOBODY, "me", "lost", name, &err), err);
    nx_assert_ok(nx_store_object_release(fixture->store, "me", &err), err);
    nx_file_remove_tree(path_of(fixture, "jobs"));
    make_file(fixture, "jobs", false); /* a file where a folder is wanted */
    assert_int_equal(nx_sweep(&options, &found, &err), NX_ERR_IO);
    nx_assert_contains(err.message, "jobs");
    assert_int_equal(found.objects, 1);
    assert_int_equal(unlink(path_of(fixture, "jobs")), 0);
    nx_objects_close(objects);
}

/* --- beside those who store --- */

#define TURNS 40

typedef struct storing {
    store_fixture *fixture;
    nx_objects *objects;
    nx_store *store;
    const char *wrong;
    atomic_bool done;
} storing;

/* The same bytes again and again, with nothing that uses them in between. */
static void *store_again(void *user)
{
    storing *self = user;
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    for (int i = 0; i < TURNS && self->wrong == NULL; i++) {
        char upload[NX_UUID_SIZE];
        char name[NX_OBJECT_NAME_SIZE];
        int64_t size = 0;
        bool made = false;
        nx_video out = {0};
        nx_video video = {.owner = "ann", .hash = name, .size = 4, .name = "a", .probe = "{}"};
        bool good =
            nx_uuid_make(upload, &err) == NX_OK &&
            store_text(self->store, self->objects, upload, upload, "text", name, &err) == NX_OK &&
            nx_store_video_add(self->store, &video, &arena, &out, &made, &err) == NX_OK &&
            nx_store_object_release(self->store, upload, &err) == NX_OK;
        if (!good) {
            self->wrong = "it is not stored";
        } else if (nx_objects_size(self->objects, name, &size, &err) != NX_OK || size != 4) {
            self->wrong = "the object of a video is gone";
        } else if (nx_store_video_remove(self->store, out.id, &err) != NX_OK ||
                   nx_objects_discard(self->objects, upload, &err) != NX_OK) {
            self->wrong = "it is not removed";
        }
    }
    if (self->wrong != NULL) {
        fprintf(stderr, "%s: %s\n", self->wrong, err.message);
    }
    nx_arena_free(&arena);
    atomic_store(&self->done, true);
    return NULL;
}

static void what_is_just_stored_stays(void **state)
{
    STORE_FIXTURE(state);
    storing one = {.fixture = fixture,
                   .objects = store_open_objects(fixture),
                   .store = store_open_another(fixture)};
    nx_objects *objects = store_open_objects(fixture);
    pthread_t thread;
    uint64_t removed = 0;
    assert_int_equal(pthread_create(&thread, NULL, store_again, &one), 0);
    while (!atomic_load(&one.done)) {
        removed += sweep(fixture, objects).objects;
    }
    pthread_join(thread, NULL);
    removed += sweep(fixture, objects).objects;
    assert_null(one.wrong);
    assert_true(removed >= 1);
    nx_store_close(one.store);
    nx_objects_close(one.objects);
    nx_objects_close(objects);
}

/* --- the thread --- */

static void note(const nx_swept *what, void *user)
{
    (void)what;
    sem_post(user);
}

static void the_thread_sweeps_again_and_again(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    nx_sweeper *sweeper = NULL;
    sem_t times;
    sem_init(&times, 0, 0);
    make_file(fixture, "uploads/" NOBODY ".part", true);
    const nx_sweep_options options = options_of(fixture, objects);
    nx_assert_ok(nx_sweeper_start(&options, 1, note, &times, &sweeper, &err), err);
    for (int i = 0; i < 3; i++) {
        while (sem_wait(&times) != 0) {
        }
    }
    nx_sweeper_stop(sweeper);
    assert_false(there(fixture, "uploads/" NOBODY ".part"));
    /* one that waits for long ends at once */
    nx_assert_ok(nx_sweeper_start(&options, 1000 * HOUR, note, &times, &sweeper, &err), err);
    while (sem_wait(&times) != 0) {
    }
    nx_sweeper_stop(sweeper);
    nx_sweeper_stop(NULL);
    sem_destroy(&times);
    nx_objects_close(objects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(uploads_whose_time_is_over_go),
        store_test(files_that_nobody_knows_go_when_they_are_old),
        store_test(folders_of_dead_leases_go),
        store_test(objects_that_nothing_names_go),
        store_test(parts_of_a_job_without_a_worker_go),
        store_test(old_jobs_go_with_their_results),
        store_test(one_failure_does_not_keep_the_others),
        store_test(what_is_just_stored_stays),
        store_test(the_thread_sweeps_again_and_again),
    };
    return store_run_on_both(tests);
}
