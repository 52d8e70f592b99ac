/* The database's clock is set back by two hours, or jumps ahead, the same on SQLite and on
 * PostgreSQL: nobody waits for two hours, and nobody who lives loses what he holds. What was
 * written before the clock was set back is what now lies two hours ahead. */
#include "store_jobs.h"

#include "base/clock.h"
#include "store/logins.h"
#include "store/object_uses.h"
#include "store/streams.h"
#include "store/webhooks.h"

#define AN_ATTEMPT  60000
#define HERE        "192.0.2.1"
#define SOON_ENOUGH 1500 /* what a busy machine may need between two looks at the clock */
#define MINUTES_10  600000

static const nx_job_retry_policy policy = {.first_ms = 10000, .most_ms = 30000};

static int64_t now(store_fixture *fixture)
{
    return STORE_NUMBER(fixture->store, "SELECT nx_now()");
}

static int64_t requeued(store_fixture *fixture)
{
    nx_job_reclaim found;
    nx_error err = {0};
    nx_assert_ok(nx_store_jobs_reclaim(fixture->store, &found, &err), err);
    return found.requeued;
}

static void set_jobs_back(store_fixture *fixture)
{
    (void)STORE_NUMBER(fixture->store,
                       "UPDATE jobs SET not_before = not_before + 7200000,"
                       " updated_at = updated_at + 7200000, created_at = created_at + 7200000,"
                       " heartbeat_at = heartbeat_at + 7200000,"
                       " lease_until = lease_until + 7200000");
}

static void jobs_that_wait_are_taken(void **state)
{
    STORE_FIXTURE(state);
    nx_job_state became;
    (void)enqueue_any(fixture);
    set_jobs_back(fixture);
    const nx_job job = take_one(fixture, LONG_LEASE);
    const nx_job_lease lease = lease_of(&job);
    nx_assert_ok(nx_store_job_fail(fixture->store, &lease, "later", &policy, &became, &err), err);
    nx_job none;
    assert_int_equal(take(fixture, &none, 1, LONG_LEASE), 0); /* as ever */
    set_jobs_back(fixture);
    (void)take_one(fixture, LONG_LEASE);
}

static void leases_of_jobs_last_as_long_as_before(void **state)
{
    STORE_FIXTURE(state);
    bool cancel = false;
    (void)enqueue_any(fixture);
    const nx_job job = take_one(fixture, LONG_LEASE);
    set_jobs_back(fixture);
    assert_int_equal(requeued(fixture), 0);
    assert_in_range(get(fixture, job.id).lease_until, now(fixture) + LONG_LEASE - SOON_ENOUGH,
                    now(fixture) + LONG_LEASE);
    /* whoever lives goes on under it, and whoever does not is missed */
    const nx_job_lease lease = lease_of(&job);
    nx_assert_ok(nx_store_job_heartbeat(fixture->store, &lease, 1, NULL, &cancel, &err), err);
    set_jobs_back(fixture);
    while (requeued(fixture) == 0) { /* which takes a millisecond, not two hours */
    }
}

static void leases_of_streams_do_so_too(void **state)
{
    STORE_FIXTURE(state);
    nx_stream stream;
    size_t count = 0;
    const nx_stream_runner one = {.name = "one"};
    const nx_stream_runner two = {.name = "two"};
    const nx_stream_request request = {.name = "Gate",
                                       .url = "rtsp://192.0.2.1/",
                                       .options = "{}",
                                       .created_by = "ann",
                                       .enabled = true};
    nx_assert_ok(nx_store_stream_add(fixture->store, &request, &fixture->arena, &stream, &err),
                 err);
    for (int i = 0; i < 2; i++) {
        nx_assert_ok(nx_store_streams_take(fixture->store, &one, 1, LONG_LEASE, &fixture->arena,
                                           &stream, &count, &err),
                     err);
        assert_int_equal(count, i == 0);
        (void)STORE_NUMBER(fixture->store,
                           "UPDATE streams SET lease_until = lease_until + 7200000");
    }
    nx_assert_ok(nx_store_streams_take(fixture->store, &two, 1, LONG_LEASE, &fixture->arena,
                                       &stream, &count, &err),
                 err);
    assert_int_equal(count, 0);
    assert_true(STORE_NUMBER(fixture->store, "SELECT lease_until - nx_now() FROM streams") <=
                LONG_LEASE);
}

static int64_t wait_of_the_hook(store_fixture *fixture)
{
    nx_error err = {0};
    nx_assert_ok(nx_store_webhooks_settle(fixture->store, AN_ATTEMPT, &policy, &err), err);
    return STORE_NUMBER(fixture->store, "SELECT next_at - nx_now() FROM webhooks");
}

static void webhooks_wait_as_long_as_an_attempt(void **state)
{
    STORE_FIXTURE(state);
    nx_webhook hook;
    nx_webhook_state became;
    size_t count = 0;
    const nx_webhook_outcome bad = {.error = "refused"};
    nx_job_request request = job_request();
    request.webhook_url = "https://example.org/hook";
    (void)enqueue(fixture, &request);
    const nx_job job = take_one(fixture, LONG_LEASE);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_FAILED), NX_OK);
    assert_true(wait_of_the_hook(fixture) <= 0);
    for (int i = 0; i < 2; i++) { /* one that was never tried, one between two attempts */
        (void)STORE_NUMBER(fixture->store, "UPDATE webhooks SET next_at = nx_now() + 7200000");
        assert_in_range(wait_of_the_hook(fixture), AN_ATTEMPT - SOON_ENOUGH, AN_ATTEMPT);
        (void)STORE_NUMBER(fixture->store, "UPDATE webhooks SET next_at = nx_now()");
        if (i == 0) {
            nx_assert_ok(nx_store_webhooks_take(fixture->store, 1, AN_ATTEMPT, &fixture->arena,
                                                &hook, &count, &err),
                         err);
            assert_int_equal(count, 1);
            nx_assert_ok(
                nx_store_webhook_note(fixture->store, &hook, &bad, &policy, 5, &became, &err), err);
            assert_in_range(wait_of_the_hook(fixture), 1, policy.first_ms);
        }
    }
}

static void nobody_is_locked_out(void **state)
{
    STORE_FIXTURE(state);
    nx_login_attempt attempt;
    for (int i = 0; i < NX_LOGIN_FAILURES; i++) {
        nx_assert_ok(nx_store_login_begin(fixture->store, "ann", HERE, &attempt, &err), err);
        nx_assert_ok(nx_store_login_end(fixture->store, &attempt, "ann", NX_LOGIN_FAILED, &err),
                     err);
    }
    nx_assert_ok(nx_store_login_begin(fixture->store, "ann", HERE, &attempt, &err), err);
    assert_in_range(attempt.wait_ms, SOON_ENOUGH, NX_LOGIN_WINDOW_MS);
    (void)STORE_NUMBER(fixture->store, "UPDATE login_attempts SET at = at + 7200000");
    nx_assert_ok(nx_store_login_begin(fixture->store, "ann", HERE, &attempt, &err), err);
    assert_int_equal(attempt.wait_ms, 0);
}

static void a_dead_remover_is_forgotten(void **state)
{
    STORE_FIXTURE(state);
    (void)STORE_NUMBER(
        fixture->store,
        "INSERT INTO objects (name, created_at, removal, removal_at)"
        " VALUES ('0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', nx_now(), "
        "'gone', nx_now() + 7200000)");
    nx_assert_ok(nx_store_objects_tidy(fixture->store, MINUTES_10, &err), err);
    assert_true(STORE_NUMBER(fixture->store, "SELECT removal_at - nx_now() FROM objects") <= 0);
}

/* PostgreSQL's clock is a function, and may be another one. */
static void who_lives_is_given_time_when_it_jumps_ahead(void **state)
{
    STORE_FIXTURE(state);
    bool cancel = false;
    if (!fixture->postgres) {
        skip(); /* SQLite's is the system's */
    }
    (void)enqueue_any(fixture);
    const nx_job job = take_one(fixture, LONG_LEASE);
    const nx_job_lease lease = lease_of(&job);
    assert_int_equal(requeued(fixture), 0);
    (void)STORE_NUMBER(fixture->store, "ALTER FUNCTION nx_now() RENAME TO true_now");
    (void)STORE_NUMBER(fixture->store,
                       "CREATE FUNCTION nx_now() RETURNS bigint LANGUAGE sql STABLE AS"
                       " 'SELECT true_now() + 7200000'");
    assert_int_equal(requeued(fixture), 0);
    nx_assert_ok(nx_store_job_heartbeat(fixture->store, &lease, LONG_LEASE, NULL, &cancel, &err),
                 err);
    assert_int_equal(requeued(fixture), 0);
    (void)STORE_NUMBER(fixture->store, "UPDATE jobs SET lease_until = nx_now()");
    assert_int_equal(requeued(fixture), 0);
    int64_t end_ns = nx_clock_now_ns() + 60 * NX_NS_PER_SEC;
    int64_t found = 0;
    while (found == 0 && nx_clock_now_ns() < end_ns) { /* in the end the dead are dead */
        found = requeued(fixture);
    }
    assert_int_equal(found, 1);
    (void)STORE_NUMBER(fixture->store, "DROP FUNCTION nx_now()");
    (void)STORE_NUMBER(fixture->store, "ALTER FUNCTION true_now() RENAME TO nx_now");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(jobs_that_wait_are_taken),
        store_test(leases_of_jobs_last_as_long_as_before),
        store_test(leases_of_streams_do_so_too),
        store_test(webhooks_wait_as_long_as_an_attempt),
        store_test(nobody_is_locked_out),
        store_test(a_dead_remover_is_forgotten),
        store_test(who_lives_is_given_time_when_it_jumps_ahead),
    };
    return store_run_on_both(tests);
}
