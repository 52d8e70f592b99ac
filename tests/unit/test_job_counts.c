/* How many jobs there are, while the database answers and while it does not. */
#include "api/job_counts.h"
#include "store_jobs.h"

#define LONG_MS  60000 /* never waited for */
#define SHORT_MS 20

static nx_job_counts *begin(const store_fixture *fixture)
{
    nx_error err = {0};
    nx_job_counts *counts = NULL;
    nx_assert_ok(nx_job_counts_new(fixture->store, &counts, &err), err);
    return counts;
}

static void jobs_are_counted_when_somebody_asks(void **state)
{
    STORE_FIXTURE(state);
    nx_job_counts *counts = begin(fixture);
    nx_job_census census = nx_job_counts_last(counts);
    assert_true(census.jobs[NX_JOB_QUEUED] == -1 && census.age_ns == -1 && census.failures == 0);
    (void)enqueue_any(fixture);
    (void)enqueue_any(fixture);
    census = nx_job_counts_read(counts, LONG_MS);
    assert_true(census.jobs[NX_JOB_QUEUED] == 2 && census.jobs[NX_JOB_RUNNING] == 0);
    assert_true(census.age_ns >= 0 && census.failures == 0);
    (void)enqueue_any(fixture);
    assert_true(nx_job_counts_last(counts).jobs[NX_JOB_QUEUED] == 2);
    assert_true(nx_job_counts_read(counts, LONG_MS).jobs[NX_JOB_QUEUED] == 3);
    nx_job_counts_free(counts);
    nx_job_counts_free(NULL);
}

static void deliveries_that_wait_are_counted_with_them(void **state)
{
    STORE_FIXTURE(state);
    nx_job_counts *counts = begin(fixture);
    const nx_job_census none = nx_job_counts_read(counts, LONG_MS);
    nx_job_request request = job_request();
    request.webhook_url = "https://example.org/hook";
    (void)enqueue(fixture, &request);
    nx_job job = {0};
    assert_int_equal(take(fixture, &job, 1, LONG_LEASE), 1);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_OK);
    (void)STORE_NUMBER(fixture->store, "UPDATE webhooks SET created_at = created_at - 5000");
    const nx_deliveries_waiting some = nx_job_counts_read(counts, LONG_MS).deliveries;
    for (int i = 0; i < NX_DELIVERY_TARGETS; i++) {
        const bool hook = i == NX_DELIVERY_JOB_WEBHOOK;
        assert_true(none.deliveries.count[i] == 0 && none.deliveries.oldest_ms[i] == 0);
        assert_true(some.count[i] == (hook ? 1 : 0));
        assert_true(hook ? some.oldest_ms[i] >= 5000 : some.oldest_ms[i] == 0);
    }
    (void)STORE_NUMBER(fixture->store, "UPDATE webhooks SET state = 'delivered'");
    assert_true(nx_job_counts_read(counts, LONG_MS).deliveries.count[0] == 0);
    nx_job_counts_free(counts);
}

static const nx_sql lock_jobs = NX_SQL("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE");

/* In a transaction that keeps everybody else from the jobs. */
static nx_status ask_in_vain(nx_db *db, void *user, nx_error *err)
{
    nx_job_counts *counts = user;
    const nx_call lock = {.sql = &lock_jobs};
    nx_status status = nx_db_run(db, &lock, NULL, err);
    for (uint64_t i = 1; i <= 3 && status == NX_OK; i++) {
        const nx_job_census census = nx_job_counts_read(counts, SHORT_MS);
        assert_true(census.jobs[NX_JOB_QUEUED] == 1);
        assert_true(census.age_ns > (int64_t)i && census.failures == i);
    }
    return status;
}

static void a_database_that_does_not_answer_is_not_waited_for(void **state)
{
    STORE_FIXTURE(state);
    if (!fixture->postgres) {
        skip(); /* SQLite's readers wait for nobody */
    }
    nx_job_counts *counts = begin(fixture);
    (void)enqueue_any(fixture);
    assert_true(nx_job_counts_read(counts, LONG_MS).jobs[NX_JOB_QUEUED] == 1);
    nx_assert_ok(nx_store_transact(fixture->store, NX_TX_WRITE, ask_in_vain, counts, &err), err);
    (void)enqueue_any(fixture);
    nx_job_census census = nx_job_counts_read(counts, LONG_MS);
    assert_true(census.jobs[NX_JOB_QUEUED] == 2 && census.failures == 3);
    nx_job_counts_free(counts);
}

static void a_database_that_refuses_is_counted(void **state)
{
    STORE_FIXTURE(state);
    nx_job_counts *counts = begin(fixture);
    (void)enqueue_any(fixture);
    assert_true(nx_job_counts_read(counts, LONG_MS).jobs[NX_JOB_QUEUED] == 1);
    (void)STORE_NUMBER(fixture->store, "ALTER TABLE jobs RENAME TO mislaid");
    const nx_job_census census = nx_job_counts_read(counts, LONG_MS);
    assert_true(census.jobs[NX_JOB_QUEUED] == 1 && census.failures == 1);
    (void)STORE_NUMBER(fixture->store, "ALTER TABLE mislaid RENAME TO jobs");
    assert_true(nx_job_counts_read(counts, LONG_MS).jobs[NX_JOB_QUEUED] == 1);
    nx_job_counts_free(counts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(jobs_are_counted_when_somebody_asks),
        store_test(deliveries_that_wait_are_counted_with_them),
        store_test(a_database_that_does_not_answer_is_not_waited_for),
        store_test(a_database_that_refuses_is_counted),
    };
    return store_run_on_both(tests);
}
