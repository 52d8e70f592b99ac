/* Webhooks and their log, the same on SQLite and on PostgreSQL. */
#include "store_jobs.h"

#include "store/webhooks.h"

static const nx_job_retry_policy policy = {.first_ms = 10000, .most_ms = 30000};
static const nx_webhook_outcome good = {.status = 204, .duration_ms = 12};
static const nx_webhook_outcome bad = {.status = 0, .error = "refused", .duration_ms = 3};

/* A job with a webhook that has ended as told. */
static nx_job ended_job(store_fixture *fixture, nx_job_state how)
{
    nx_job_request request = job_request();
    request.webhook_url = "https://example.org/hook";
    (void)enqueue(fixture, &request);
    nx_job job = take_one(fixture, LONG_LEASE);
    assert_int_equal(finish_as(fixture, &job, how), NX_OK);
    return job;
}

static size_t take_hooks(store_fixture *fixture, nx_webhook *out, size_t limit, int64_t attempt_ms)
{
    size_t count = 0;
    nx_error err = {0};
    nx_assert_ok(nx_store_webhooks_take(fixture->store, limit, attempt_ms, &fixture->arena, out,
                                        &count, &err),
                 err);
    return count;
}

static void each_end_is_told_once(void **state)
{
    STORE_FIXTURE(state);
    nx_webhook hooks[4];
    nx_webhook_state became;
    nx_job job = ended_job(fixture, NX_JOB_FAILED);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_FAILED), NX_OK); /* said again: no end */
    assert_int_equal(take_hooks(fixture, hooks, 4, 60000), 1);
    assert_string_equal(hooks[0].job_id, job.id);
    assert_string_equal(hooks[0].url, "https://example.org/hook");
    assert_int_equal(hooks[0].attempts, 1);
    assert_int_equal(take_hooks(fixture, hooks + 1, 3, 60000), 0);
    nx_assert_ok(nx_store_webhook_note(fixture->store, &hooks[0], &good, &policy, 5, &became, &err),
                 err);
    assert_int_equal(became, NX_WEBHOOK_DELIVERED);

    nx_assert_ok(nx_store_job_retry(fixture->store, job.id, &err), err);
    job = take_one(fixture, LONG_LEASE);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_OK);
    assert_int_equal(take_hooks(fixture, hooks + 1, 3, 60000), 1);
    assert_string_not_equal(hooks[1].id, hooks[0].id);
    size_t count = 0;
    nx_assert_ok(
        nx_store_webhooks_list(fixture->store, job.id, 4, &fixture->arena, hooks, &count, &err),
        err);
    assert_int_equal(count, 2);
    assert_int_equal(hooks[0].state, NX_WEBHOOK_PENDING); /* the newest first */
    assert_int_equal(hooks[1].state, NX_WEBHOOK_DELIVERED);
    assert_string_equal(nx_webhook_state_name(hooks[1].state), "delivered");
}

static void every_way_to_end_is_told(void **state)
{
    STORE_FIXTURE(state);
    nx_webhook hooks[4];
    nx_job_state became;
    nx_job_reclaim reclaimed;
    nx_job_request request = job_request();
    request.webhook_url = "https://example.org/hook";
    request.max_attempts = 1;
    nx_job job = enqueue(fixture, &request);
    nx_assert_ok(nx_store_job_cancel(fixture->store, job.id, &became, &err), err);
    assert_int_equal(take_hooks(fixture, hooks, 4, 60000), 1);

    (void)enqueue(fixture, &request);
    (void)take_one(fixture, 0);
    nx_assert_ok(nx_store_jobs_reclaim(fixture->store, &reclaimed, &err), err);
    assert_int_equal(reclaimed.dead, 1);
    assert_int_equal(take_hooks(fixture, hooks, 4, 60000), 1);

    request.webhook_url = NULL;
    (void)enqueue(fixture, &request);
    job = take_one(fixture, LONG_LEASE);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_OK);
    assert_int_equal(take_hooks(fixture, hooks, 4, 60000), 0);
}

static void failures_are_logged_and_tried_again(void **state)
{
    STORE_FIXTURE(state);
    static const int64_t longest[] = {10000, 20000};
    nx_webhook hook;
    nx_webhook listed;
    nx_webhook_attempt log[4];
    nx_webhook_state became = NX_WEBHOOK_PENDING;
    size_t count = 0;
    nx_job job = ended_job(fixture, NX_JOB_SUCCEEDED);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(take_hooks(fixture, &hook, 1, 60000), 1);
        nx_assert_ok(nx_store_webhook_note(fixture->store, &hook, &bad, &policy, 3, &became, &err),
                     err);
        assert_int_equal(became, i < 2 ? NX_WEBHOOK_PENDING : NX_WEBHOOK_FAILED);
        nx_assert_ok(nx_store_webhooks_list(fixture->store, job.id, 1, &fixture->arena, &listed,
                                            &count, &err),
                     err);
        if (i < 2) {
            int64_t wait = listed.next_at - STORE_NUMBER(fixture->store, "SELECT nx_now()");
            assert_true(wait > longest[i] / 2 - 5000 && wait <= longest[i]);
        }
        (void)STORE_NUMBER(fixture->store, "UPDATE webhooks SET next_at = 0");
    }
    assert_int_equal(take_hooks(fixture, &hook, 1, 60000), 0);
    nx_assert_ok(
        nx_store_webhook_attempts(fixture->store, listed.id, 4, &fixture->arena, log, &count, &err),
        err);
    assert_int_equal(count, 3);
    assert_int_equal(log[2].attempt, 3);
    assert_string_equal(log[2].error, "refused");
    assert_int_equal(log[2].duration_ms, 3);
    assert_true(listed.finished_at > 0);
}

static void a_sender_that_is_late_is_not_heard(void **state)
{
    STORE_FIXTURE(state);
    nx_webhook late;
    nx_webhook hook;
    nx_webhook_state became;
    (void)ended_job(fixture, NX_JOB_SUCCEEDED);
    assert_int_equal(take_hooks(fixture, &late, 1, 0), 1); /* its time is over at once */
    assert_int_equal(take_hooks(fixture, &hook, 1, 60000), 1);
    assert_int_equal(nx_store_webhook_note(fixture->store, &late, &bad, &policy, 5, &became, &err),
                     NX_ERR_CONFLICT);
    nx_assert_ok(nx_store_webhook_note(fixture->store, &hook, &good, &policy, 5, &became, &err),
                 err);
    assert_int_equal(nx_store_webhook_note(fixture->store, &hook, &good, &policy, 5, &became, &err),
                     NX_ERR_CONFLICT);
    hook.id = "none";
    assert_int_equal(nx_store_webhook_note(fixture->store, &hook, &good, &policy, 5, &became, &err),
                     NX_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(each_end_is_told_once),
        store_test(every_way_to_end_is_told),
        store_test(failures_are_logged_and_tried_again),
        store_test(a_sender_that_is_late_is_not_heard),
    };
    return store_run_on_both(tests);
}
