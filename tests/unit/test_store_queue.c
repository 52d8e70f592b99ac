/* Many hands on one queue, and hands that are chopped off: the same on SQLite and on PostgreSQL. */
#include "store_jobs.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

static void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    return memory;
}

/* --- nobody gets what somebody else has --- */

#define JOBS 240

typedef struct hand {
    nx_store *store;
    int taken;
    int failed;
} hand;

/* Takes three at a time and ends them, until nothing is left. */
static void *work_until_empty(void *user)
{
    hand *self = user;
    nx_error err = {0};
    for (;;) {
        nx_arena arena = nx_arena_make(0);
        nx_job jobs[3];
        nx_job_outcome outcomes[3];
        nx_status statuses[3];
        size_t count = 0;
        self->failed += nx_store_jobs_take(self->store, "w", 3, LONG_LEASE, &arena, jobs, &count,
                                           &err) != NX_OK;
        for (size_t i = 0; i < count; i++) {
            outcomes[i] = (nx_job_outcome){.lease = lease_of(&jobs[i]), .state = NX_JOB_SUCCEEDED};
        }
        if (count > 0) {
            self->failed +=
                nx_store_jobs_finish(self->store, outcomes, count, statuses, &err) != NX_OK;
        }
        for (size_t i = 0; i < count; i++) {
            self->failed += statuses[i] != NX_OK;
        }
        nx_arena_free(&arena);
        self->taken += (int)count;
        if (count == 0 || self->failed > 0) {
            if (self->failed > 0) {
                fprintf(stderr, "%s\n", err.message);
            }
            return NULL;
        }
    }
}

static void expect_each_done_once(store_fixture *fixture, int jobs)
{
    nx_store *store = fixture->store;
    assert_int_equal(STORE_NUMBER(store, "SELECT count(*) FROM jobs WHERE state = 'succeeded'"),
                     jobs);
    assert_int_equal(STORE_NUMBER(store, "SELECT count(*) FROM jobs"), jobs);
    assert_int_equal(STORE_NUMBER(store, "SELECT count(*) FROM job_events WHERE kind = 'state'"
                                         " AND state = 'succeeded'"),
                     jobs);
}

static void threads_never_take_the_same_job(void **state)
{
    STORE_FIXTURE(state);
    pthread_t threads[6];
    hand hands[6] = {{0}};
    int taken = 0;
    for (int i = 0; i < JOBS; i++) {
        (void)enqueue_any(fixture);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        hands[i].store = fixture->store;
        assert_int_equal(pthread_create(&threads[i], NULL, work_until_empty, &hands[i]), 0);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(hands[i].failed, 0);
        taken += hands[i].taken;
    }
    assert_int_equal(taken, JOBS);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM jobs WHERE attempts <> 1"),
                     0);
    expect_each_done_once(fixture, JOBS);
}

static void processes_never_take_the_same_job(void **state)
{
    STORE_FIXTURE(state);
    pid_t children[4];
    int *taken = shared_memory(sizeof(int) * NX_COUNT(children));
    int sum = 0;
    for (int i = 0; i < JOBS; i++) {
        (void)enqueue_any(fixture);
    }
    for (size_t i = 0; i < NX_COUNT(children); i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            hand self = {.store = store_open_another(fixture)};
            work_until_empty(&self);
            nx_store_close(self.store);
            taken[i] = self.taken;
            _exit(self.failed == 0 ? 0 : 1);
        }
    }
    for (size_t i = 0; i < NX_COUNT(children); i++) {
        store_expect_success(children[i]);
        sum += taken[i];
    }
    munmap(taken, sizeof(int) * NX_COUNT(children));
    assert_int_equal(sum, JOBS);
    expect_each_done_once(fixture, JOBS);
}

typedef struct asker {
    nx_store *store;
    nx_arena arena;
    nx_job job;
    bool made;
    nx_status status;
} asker;

static void *enqueue_with_the_key(void *user)
{
    asker *self = user;
    nx_error err = {0};
    nx_job_request request = job_request();
    request.idempotency_key = "the key";
    request.request_hash = "h";
    self->status =
        nx_store_job_enqueue(self->store, &request, &self->arena, &self->job, &self->made, &err);
    return NULL;
}

static void one_key_at_once_makes_one_job(void **state)
{
    STORE_FIXTURE(state);
    pthread_t threads[6];
    asker askers[6];
    int made = 0;
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        askers[i] = (asker){.store = fixture->store, .arena = nx_arena_make(0)};
        assert_int_equal(pthread_create(&threads[i], NULL, enqueue_with_the_key, &askers[i]), 0);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(askers[i].status, NX_OK);
        assert_string_equal(askers[i].job.id, askers[0].job.id);
        made += askers[i].made;
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        nx_arena_free(&askers[i].arena);
    }
    assert_int_equal(made, 1);
}

static void a_lease_runs_out_by_itself(void **state)
{
    STORE_FIXTURE(state);
    nx_job_reclaim reclaimed = {0};
    (void)enqueue_any(fixture);
    nx_job job = take_one(fixture, 30);
    while (reclaimed.requeued == 0) { /* the clock is the database's */
        nx_assert_ok(nx_store_jobs_reclaim(fixture->store, &reclaimed, &err), err);
    }
    assert_true(STORE_NUMBER(fixture->store, "SELECT nx_now()") >= job.lease_until);
    assert_string_equal(take_one(fixture, LONG_LEASE).id, job.id);
}

/* --- kill -9 at any moment --- */

#define STEPS 12
#define KILLS 50

typedef struct tally {
    atomic_int asked; /* keys that were answered with a job, from 0 on */
} tally;

static void result_path(const store_fixture *fixture, const char *id, char out[160])
{
    snprintf(out, 160, "%s/%s.out", fixture->folder, id);
}

static void die_of(const nx_error *err)
{
    fprintf(stderr, "%s\n", err->message);
    _exit(1);
}

/* Goes on where the last checkpoint says: the result is cut back to what belongs to it. */
static void work_on(const store_fixture *fixture, nx_store *store, const nx_job *job)
{
    char path[160];
    nx_error err = {0};
    nx_job_checkpoint at = {0};
    nx_arena arena = nx_arena_make(0);
    const nx_job_lease lease = lease_of(job);
    nx_status status = nx_store_job_load(store, job->id, &arena, &at, &err);
    result_path(fixture, job->id, path);
    FILE *out = fopen(path, "a");
    if ((status != NX_OK && status != NX_ERR_NOT_FOUND) || out == NULL ||
        ftruncate(fileno(out), at.result_offset) != 0) {
        die_of(&err);
    }
    for (int64_t step = at.position; step < STEPS; step++) {
        bool cancel;
        int size = fprintf(out, "%lld of %s\n", (long long)step, job->id);
        at.position = step + 1;
        at.result_offset += size;
        if (fflush(out) != 0 ||
            nx_store_job_save(store, &lease, &at, LONG_LEASE, "{}", &cancel, &err) != NX_OK) {
            die_of(&err);
        }
    }
    const nx_job_outcome outcome = {.lease = lease, .state = NX_JOB_SUCCEEDED};
    if (nx_store_jobs_finish(store, &outcome, 1, &status, &err) != NX_OK || status != NX_OK) {
        die_of(&err);
    }
    fclose(out);
    nx_arena_free(&arena);
}

/* A process that asks for jobs and does them; with more false, until none is left. */
static void live(const store_fixture *fixture, tally *shared, bool more)
{
    nx_store *store = store_open_another(fixture);
    nx_error err = {0};
    for (;;) {
        nx_arena arena = nx_arena_make(0);
        nx_job job;
        size_t count = 0;
        bool made;
        char key[20];
        if (more) {
            nx_job_request request = job_request();
            snprintf(key, sizeof key, "%d", atomic_load(&shared->asked));
            request.idempotency_key = key;
            request.request_hash = key;
            request.max_attempts = 1000;
            if (nx_store_job_enqueue(store, &request, &arena, &job, &made, &err) != NX_OK) {
                die_of(&err);
            }
            atomic_fetch_add(&shared->asked, 1);
        }
        if (nx_store_jobs_take(store, "w", 1, LONG_LEASE, &arena, &job, &count, &err) != NX_OK) {
            die_of(&err);
        }
        if (count > 0) {
            work_on(fixture, store, &job);
        }
        nx_arena_free(&arena);
        if (count == 0 && !more) {
            nx_store_close(store);
            _exit(0);
        }
    }
}

static pid_t start_life(const store_fixture *fixture, tally *shared, bool more)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        live(fixture, shared, more);
    }
    return child;
}

/* The result of an undisturbed run is known: each step once, in order. */
static void expect_result(const store_fixture *fixture, const char *id)
{
    char path[160];
    char line[100];
    char expected[100];
    result_path(fixture, id, path);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    for (int step = 0; step < STEPS; step++) {
        snprintf(expected, sizeof expected, "%d of %s\n", step, id);
        assert_non_null(fgets(line, sizeof line, in));
        assert_string_equal(line, expected);
    }
    assert_null(fgets(line, sizeof line, in));
    fclose(in);
}

/* A server may still be at the last word of a client that is dead: waits until only the test's own
 * connections are left. */
static void wait_for_last_words(store_fixture *fixture)
{
    nx_store_stats own;
    do {
        own = nx_store_get_stats(fixture->store);
    } while (fixture->postgres &&
             STORE_NUMBER(fixture->store,
                          "SELECT count(*) FROM pg_stat_activity"
                          " WHERE backend_type = 'client backend'") > own.idle + own.in_use);
}

static void kills_lose_nothing(void **state)
{
    STORE_FIXTURE(state);
    tally *shared = shared_memory(sizeof *shared);
    unsigned seed = (unsigned)nx_clock_now_ns();
    fprintf(stderr, "seed %u\n", seed);
    for (int kills = 0; kills < KILLS; kills++) {
        nx_job_reclaim reclaimed;
        pid_t child = start_life(fixture, shared, true);
        usleep(2000 + (useconds_t)(rand_r(&seed) % 40000)); /* any moment will do */
        kill(child, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status)); /* it has met no error until then */
        wait_for_last_words(fixture);
        /* the worker is known to be dead: nobody needs to wait for its lease to run out */
        (void)STORE_NUMBER(fixture->store,
                           "UPDATE jobs SET lease_until = 0 WHERE state = 'running'");
        nx_assert_ok(nx_store_jobs_reclaim(fixture->store, &reclaimed, &err), err);
        assert_int_equal(reclaimed.dead, 0);
        assert_true(reclaimed.requeued <= 1);
    }
    store_expect_success(start_life(fixture, shared, false));

    /* what was answered is there, and at most the one whose answer was lost */
    int asked = atomic_load(&shared->asked);
    int jobs = (int)STORE_NUMBER(fixture->store, "SELECT count(*) FROM jobs");
    assert_true(jobs == asked || jobs == asked + 1);
    assert_true(jobs > KILLS / 10);
    expect_each_done_once(fixture, jobs);
    nx_job *all = calloc((size_t)jobs, sizeof *all);
    size_t count = 0;
    assert_non_null(all);
    const nx_job_filter filter = {.limit = (size_t)jobs};
    nx_assert_ok(nx_store_jobs_list(fixture->store, &filter, &fixture->arena, all, &count, &err),
                 err);
    for (size_t i = 0; i < count; i++) {
        expect_result(fixture, all[i].id);
    }
    free(all);
    munmap(shared, sizeof *shared);
}

/* --- a database that goes and comes back --- */

typedef struct stubborn {
    nx_store *store;
    atomic_int done;
    atomic_int failures;
} stubborn;

/* Ends what it took, however often the answer gets lost; what was taken without an answer waits for
 * its lease. */
static void end_stubbornly(stubborn *self, const nx_job *job)
{
    nx_error err;
    nx_status status = NX_ERR_INTERNAL;
    const nx_job_outcome outcome = {.lease = lease_of(job), .state = NX_JOB_SUCCEEDED};
    while (nx_store_jobs_finish(self->store, &outcome, 1, &status, &err) != NX_OK) {
        atomic_fetch_add(&self->failures, 1);
    }
    if (status == NX_OK) {
        atomic_fetch_add(&self->done, 1);
    }
}

static void *work_through_outages(void *user)
{
    stubborn *self = user;
    while (atomic_load(&self->done) < JOBS) {
        nx_arena arena = nx_arena_make(0);
        nx_error err;
        nx_job job;
        size_t count = 0;
        nx_job_reclaim reclaimed;
        if (nx_store_jobs_take(self->store, "w", 1, 200, &arena, &job, &count, &err) != NX_OK) {
            atomic_fetch_add(&self->failures, 1);
        } else if (count > 0) {
            end_stubbornly(self, &job);
        } else {
            (void)nx_store_jobs_reclaim(self->store, &reclaimed, &err);
            sched_yield();
        }
        nx_arena_free(&arena);
    }
    return NULL;
}

static void a_crash_of_the_server_loses_nothing(void **state)
{
    STORE_FIXTURE(state);
    pthread_t threads[2];
    stubborn self = {.store = fixture->store};
    nx_job_request request = job_request();
    request.max_attempts = 1000;
    for (int i = 0; i < JOBS; i++) {
        (void)enqueue(fixture, &request);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work_through_outages, &self), 0);
    }
    for (int crash = 1; crash <= 3; crash++) {
        while (atomic_load(&self.done) < crash * JOBS / 5) {
            sched_yield();
        }
        store_stop_server(fixture, SIGQUIT);
        store_start_server(fixture);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&self.done), JOBS);
    assert_true(atomic_load(&self.failures) + nx_store_get_stats(fixture->store).lost > 0);
    expect_each_done_once(fixture, JOBS);
}

#define COMMON_TESTS                                                                               \
    store_test(threads_never_take_the_same_job), store_test(processes_never_take_the_same_job),    \
        store_test(one_key_at_once_makes_one_job), store_test(a_lease_runs_out_by_itself),         \
        store_test(kills_lose_nothing)

int main(void)
{
    const struct CMUnitTest on_sqlite[] = {COMMON_TESTS};
    const struct CMUnitTest on_postgres[] = {COMMON_TESTS,
                                             store_test(a_crash_of_the_server_loses_nothing)};
    return cmocka_run_group_tests_name("sqlite", on_sqlite, store_group_sqlite, store_group_end) +
           cmocka_run_group_tests_name("postgres", on_postgres, store_group_postgres,
                                       store_group_end);
}
