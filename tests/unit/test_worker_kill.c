/*
 * Workers in processes of their own that are killed at moments by chance: the job ends with the
 * result of one that nobody disturbed.
 */
#include "worker.h"

#include "jobs/sweeper.h"

#define KILLS 10
#define JOBS  6

static void *folder; /* data of the workers */

/* A worker until it is killed. Leases are short, so that the next one need not wait. */
static void run_worker(const store_fixture *fixture)
{
    nx_error err = {0};
    nx_worker *worker = NULL;
    const ground g = ground_open(&folder);
    nx_worker_options options = worker_options(&g, store_open_another(fixture), &folder);
    options.lease_ms = 2000;
    if (nx_worker_start(&options, &worker, &err) != NX_OK) {
        fprintf(stderr, "%s\n", err.message);
        _exit(1);
    }
    for (;;) {
        pause();
    }
}

static pid_t start_worker(const store_fixture *fixture)
{
    pid_t parent = getpid();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            run_worker(fixture);
        }
        _exit(1);
    }
    return child;
}

static void kill_worker(pid_t worker)
{
    int status = 0;
    assert_int_equal(kill(worker, SIGKILL), 0);
    assert_int_equal(waitpid(worker, &status, 0), worker);
    assert_true(WIFSIGNALED(status)); /* it had not ended by itself */
}

/* The running job's lease is over at once, as it will be some seconds after its worker's death. */
static void expire(store_fixture *fixture)
{
    nx_job_reclaim found = {0};
    nx_error err = {0};
    (void)STORE_NUMBER(fixture->store,
                       "UPDATE jobs SET lease_until = nx_now() WHERE state = 'running'");
    nx_assert_ok(nx_store_jobs_reclaim(fixture->store, &found, &err), err);
}

static nx_job wait_for_end(store_fixture *fixture, const char *id, pid_t worker)
{
    nx_job job = get(fixture, id);
    while (job.state == NX_JOB_QUEUED || job.state == NX_JOB_RUNNING) {
        assert_int_equal(waitpid(worker, NULL, WNOHANG), 0);
        usleep(20000);
        job = get(fixture, id);
    }
    return job;
}

/* Until the worker has taken something, or there is nothing more. */
static void wait_for_work(store_fixture *fixture, pid_t worker)
{
    int64_t counts[NX_JOB_STATE_COUNT] = {0};
    nx_error err = {0};
    do {
        assert_int_equal(waitpid(worker, NULL, WNOHANG), 0);
        usleep(5000);
        nx_assert_ok(nx_store_jobs_count(fixture->store, counts, &err), err);
    } while (counts[NX_JOB_RUNNING] == 0 && counts[NX_JOB_QUEUED] > 0);
}

static int64_t found; /* by count_file, which nftw gives nothing of its own */

static int count_file(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)path;
    (void)info;
    (void)place;
    found += kind == FTW_F ? 1 : 0;
    return 0;
}

static int64_t count_files(const char *name)
{
    found = 0;
    (void)nftw(scratch_path(&folder, name), count_file, 8, FTW_PHYS);
    return found;
}

/* What was killed has left holds, files, folders and objects; all of it is found. */
static void sweep_behind_them(store_fixture *fixture, nx_objects *objects)
{
    nx_swept swept = {0};
    nx_error err = {0};
    const nx_sweep_options options = {
        .store = fixture->store, .objects = objects, .data_dir = folder};
    /* time goes by: a day for what is held, minutes for what was just being removed */
    (void)STORE_NUMBER(fixture->store, "UPDATE object_holds SET held_until = nx_now()");
    (void)STORE_NUMBER(fixture->store, "UPDATE objects SET removal_at = nx_now() - 600000"
                                       " WHERE removal IS NOT NULL");
    nx_assert_ok(nx_sweep(&options, &swept, &err), err);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM object_holds"), 0);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM job_objects"
                                                  " WHERE part = 1"),
                     0);
    int64_t needed = STORE_NUMBER(fixture->store, "SELECT count(*) FROM (SELECT hash FROM videos"
                                                  " UNION SELECT object FROM job_objects) AS all_");
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM objects"), needed);
    assert_int_equal(count_files("objects"), needed);
    assert_int_equal(count_files("uploads"), 0);
    assert_int_equal(count_files("jobs"), 0);
}

static void killed_workers_lose_nothing(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    char *video = walk_video(&folder);
    nx_objects *objects = worker_objects(&folder);
    uint32_t chance = 12345;
    nx_job job = worker_enqueue(fixture, objects, video, WORKER_SPEC);
    pid_t worker = start_worker(fixture);
    const nx_job expected = wait_for_end(fixture, job.id, worker);
    kill_worker(worker);
    assert_int_equal(expected.state, NX_JOB_SUCCEEDED);

    const char *ids[JOBS];
    int64_t attempts = 0;
    for (int i = 0; i < JOBS; i++) {
        ids[i] = worker_enqueue(fixture, objects, video, WORKER_SPEC).id;
    }
    for (int i = 0; i < KILLS; i++) {
        worker = start_worker(fixture);
        wait_for_work(fixture, worker);
        chance = chance * 1664525U + 1013904223U;
        usleep(i > 0 ? (chance >> 12) % 250000 : 0); /* the first surely hits work */
        kill_worker(worker);
        expire(fixture);
    }
    worker = start_worker(fixture);
    for (int i = 0; i < JOBS; i++) {
        job = wait_for_end(fixture, ids[i], worker);
        attempts += job.attempts;
        assert_int_equal(job.state, NX_JOB_SUCCEEDED);
        assert_string_equal(job.result, expected.result);
    }
    kill_worker(worker);
    assert_true(attempts > JOBS);
    sweep_behind_them(fixture, objects);
    nx_objects_close(objects);
    free(video);
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    if (scratch_make(&folder) != 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {store_test(killed_workers_lose_nothing)};
    int failed = store_run_on_both(tests);
    return failed + (scratch_remove(&folder) != 0);
}
