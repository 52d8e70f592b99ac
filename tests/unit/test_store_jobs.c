/* What jobs go through, the same on SQLite and on PostgreSQL. */
#include "store_jobs.h"

#include "base/uuid.h"
#include "store/videos.h"

static void a_job_goes_its_way(void **state)
{
    STORE_FIXTURE(state);
    nx_job queued = enqueue_any(fixture);
    assert_true(nx_uuid_is(queued.id));
    assert_int_equal(queued.state, NX_JOB_QUEUED);
    assert_string_equal(queued.owner, "ann");
    assert_string_equal(queued.kind, "video");
    assert_string_equal(queued.options, "{\"model\": \"m\"}");
    assert_null(queued.video_id);
    assert_null(queued.lease_owner);
    assert_int_equal(queued.attempts, 0);
    assert_true(queued.created_at > 0 && queued.started_at == 0 && queued.finished_at == 0);

    nx_job running = take_one(fixture, LONG_LEASE);
    assert_string_equal(running.id, queued.id);
    assert_int_equal(running.state, NX_JOB_RUNNING);
    assert_string_equal(running.lease_owner, "worker");
    assert_true(running.lease_until >= running.started_at + LONG_LEASE);
    assert_true(running.fence != queued.fence);
    assert_int_equal(running.attempts, 1);
    nx_job none;
    assert_int_equal(take(fixture, &none, 1, LONG_LEASE), 0);

    assert_int_equal(finish_as(fixture, &running, NX_JOB_SUCCEEDED), NX_OK);
    nx_job done = get(fixture, queued.id);
    assert_int_equal(done.state, NX_JOB_SUCCEEDED);
    assert_string_equal(done.result, "{\"tracks\": 3}");
    assert_null(done.lease_owner);
    assert_true(done.finished_at >= done.started_at && done.started_at >= done.created_at);
}

static void a_job_ends_exactly_once(void **state)
{
    STORE_FIXTURE(state);
    (void)enqueue_any(fixture);
    nx_job job = take_one(fixture, LONG_LEASE);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_OK);
    int64_t seq = get(fixture, job.id).event_seq;
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_OK); /* the answer was lost */
    assert_int_equal(finish_as(fixture, &job, NX_JOB_FAILED), NX_ERR_CONFLICT);
    job.fence--;
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_ERR_CONFLICT);
    job.id = "none";
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_ERR_CONFLICT);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT event_seq FROM jobs"), seq);
}

static void many_end_together(void **state)
{
    STORE_FIXTURE(state);
    nx_job jobs[4];
    nx_job_outcome outcomes[4];
    nx_status statuses[4];
    for (size_t i = 0; i < 4; i++) {
        (void)enqueue_any(fixture);
    }
    assert_int_equal(take(fixture, jobs, 4, LONG_LEASE), 4);
    for (size_t i = 0; i < 4; i++) {
        outcomes[i] = (nx_job_outcome){.lease = lease_of(&jobs[i]), .state = NX_JOB_SUCCEEDED};
    }
    outcomes[1].state = NX_JOB_FAILED;
    outcomes[1].error = "cut off";
    outcomes[2].lease.fence++;
    nx_assert_ok(nx_store_jobs_finish(fixture->store, outcomes, 4, statuses, &err), err);
    assert_int_equal(statuses[0], NX_OK);
    assert_int_equal(statuses[1], NX_OK);
    assert_int_equal(statuses[2], NX_ERR_CONFLICT);
    assert_int_equal(statuses[3], NX_OK);
    assert_string_equal(get(fixture, jobs[1].id).error, "cut off");
    int64_t counts[NX_JOB_STATE_COUNT];
    nx_assert_ok(nx_store_jobs_count(fixture->store, counts, &err), err);
    assert_int_equal(counts[NX_JOB_SUCCEEDED], 2);
    assert_int_equal(counts[NX_JOB_FAILED], 1);
    assert_int_equal(counts[NX_JOB_RUNNING], 1);
    assert_int_equal(counts[NX_JOB_QUEUED], 0);
    outcomes[0].state = NX_JOB_DEAD;
    assert_int_equal(nx_store_jobs_finish(fixture->store, outcomes, 4, statuses, &err),
                     NX_ERR_INVALID);
}

static void a_key_stands_for_one_request(void **state)
{
    STORE_FIXTURE(state);
    nx_job_request request = job_request();
    nx_job again;
    bool made = true;
    request.idempotency_key = "k1";
    request.request_hash = "h1";
    nx_job first = enqueue(fixture, &request);
    nx_assert_ok(
        nx_store_job_enqueue(fixture->store, &request, &fixture->arena, &again, &made, &err), err);
    assert_false(made);
    assert_string_equal(again.id, first.id);
    request.request_hash = "h2";
    assert_int_equal(
        nx_store_job_enqueue(fixture->store, &request, &fixture->arena, &again, &made, &err),
        NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "'k1' was used for another request");
    request.owner = "bob"; /* whose keys are others */
    (void)enqueue(fixture, &request);
    request.idempotency_key = NULL;
    (void)enqueue(fixture, &request);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM jobs"), 3);
}

static void bad_requests_are_refused(void **state)
{
    STORE_FIXTURE(state);
    nx_job_request request = job_request();
    nx_job job;
    bool made;
    request.max_attempts = 0;
    assert_int_equal(
        nx_store_job_enqueue(fixture->store, &request, &fixture->arena, &job, &made, &err),
        NX_ERR_INVALID);
    request = job_request();
    request.idempotency_key = "k";
    assert_int_equal(
        nx_store_job_enqueue(fixture->store, &request, &fixture->arena, &job, &made, &err),
        NX_ERR_INVALID);
    request = job_request();
    request.video_id = "no such video";
    assert_int_equal(
        nx_store_job_enqueue(fixture->store, &request, &fixture->arena, &job, &made, &err),
        NX_ERR_CONFLICT);
}

/* --- order --- */

static void urgent_ones_go_first_then_old_ones(void **state)
{
    STORE_FIXTURE(state);
    nx_job jobs[6];
    const char *ids[6];
    static const int priorities[] = {0, 5, 0, -5, 5, 0};
    static const int expected[] = {1, 4, 0, 2, 5, 3};
    for (size_t i = 0; i < 6; i++) {
        nx_job_request request = job_request();
        request.priority = priorities[i];
        ids[i] = enqueue(fixture, &request).id;
    }
    assert_int_equal(take(fixture, jobs, 4, LONG_LEASE), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(jobs[i].id, ids[expected[i]]);
    }
    assert_string_equal(take_one(fixture, LONG_LEASE).id, ids[expected[4]]);
    assert_string_equal(take_one(fixture, LONG_LEASE).id, ids[expected[5]]);
}

static void owners_take_turns(void **state)
{
    STORE_FIXTURE(state);
    nx_job_request request = job_request();
    for (size_t i = 0; i < 20; i++) {
        (void)enqueue(fixture, &request);
    }
    nx_job first[3];
    assert_int_equal(take(fixture, first, 3, LONG_LEASE), 3);
    request.owner = "bob"; /* comes later, and waits for one of ann's jobs, not for 17 */
    for (size_t i = 0; i < 3; i++) {
        (void)enqueue(fixture, &request);
    }
    nx_job jobs[6];
    size_t bobs = 0;
    assert_int_equal(take(fixture, jobs, 6, LONG_LEASE), 6);
    for (size_t i = 0; i < 6; i++) {
        bobs += strcmp(jobs[i].owner, "bob") == 0;
        assert_true(bobs <= i / 2 + 1); /* and ann is not put behind him */
    }
    assert_int_equal(bobs, 3);
}

static void one_call_in_eight_goes_by_age(void **state)
{
    STORE_FIXTURE(state);
    nx_job_request request = job_request();
    request.priority = -100;
    const char *humble = enqueue(fixture, &request).id;
    request.priority = 100;
    int calls = 0;
    do { /* there is always something more urgent */
        (void)enqueue(fixture, &request);
        (void)enqueue(fixture, &request);
        calls++;
        assert_true(calls <= 8);
    } while (strcmp(take_one(fixture, LONG_LEASE).id, humble) != 0);
}

static void delayed_ones_wait(void **state)
{
    STORE_FIXTURE(state);
    nx_job_request request = job_request();
    request.delay_ms = 60000;
    nx_job job = enqueue(fixture, &request);
    nx_job none;
    assert_true(job.not_before >= job.created_at + 60000);
    assert_int_equal(take(fixture, &none, 1, LONG_LEASE), 0);
    (void)STORE_NUMBER(fixture->store, "UPDATE jobs SET not_before = nx_now()");
    assert_string_equal(take_one(fixture, LONG_LEASE).id, job.id);
}

/* --- leases --- */

static void a_heartbeat_holds_a_lease(void **state)
{
    STORE_FIXTURE(state);
    (void)enqueue_any(fixture);
    nx_job job = take_one(fixture, 0);
    nx_job_lease lease = lease_of(&job);
    nx_job_reclaim reclaimed;
    bool cancel = true;
    nx_assert_ok(nx_store_job_heartbeat(fixture->store, &lease, LONG_LEASE, NULL, &cancel, &err),
                 err);
    assert_false(cancel);
    nx_assert_ok(nx_store_jobs_reclaim(fixture->store, &reclaimed, &err), err);
    assert_int_equal(reclaimed.requeued + reclaimed.dead + reclaimed.cancelled, 0);
    assert_true(get(fixture, job.id).lease_until > job.lease_until);
    assert_int_equal(get(fixture, job.id).event_seq, job.event_seq); /* nothing was told */
    nx_assert_ok(
        nx_store_job_heartbeat(fixture->store, &lease, LONG_LEASE, "{\"done\": 1}", &cancel, &err),
        err);
    assert_string_equal(get(fixture, job.id).progress, "{\"done\": 1}");
    assert_int_equal(get(fixture, job.id).event_seq, job.event_seq + 1);
}

static nx_status save(store_fixture *fixture, const nx_job *job, int64_t position, const char *data,
                      nx_error *err)
{
    const nx_job_lease lease = lease_of(job);
    const nx_job_checkpoint checkpoint = {.position = position,
                                          .result_offset = position * 10,
                                          .state = data,
                                          .state_size = strlen(data)};
    bool cancel;
    return nx_store_job_save(fixture->store, &lease, &checkpoint, LONG_LEASE, NULL, &cancel, err);
}

static void a_lost_worker_is_replaced_and_fenced_off(void **state)
{
    STORE_FIXTURE(state);
    nx_job_reclaim reclaimed;
    nx_job_checkpoint found;
    bool cancel;
    (void)enqueue_any(fixture);
    nx_job old = take_one(fixture, LONG_LEASE);
    assert_int_equal(nx_store_job_load(fixture->store, old.id, &fixture->arena, &found, &err),
                     NX_ERR_NOT_FOUND);
    nx_assert_ok(save(fixture, &old, 40, "forty", &err), err);
    (void)STORE_NUMBER(fixture->store, "UPDATE jobs SET lease_until = nx_now()");
    nx_assert_ok(nx_store_jobs_reclaim(fixture->store, &reclaimed, &err), err);
    assert_int_equal(reclaimed.requeued, 1);
    assert_string_equal(get(fixture, old.id).error, "its worker was lost (worker)");

    nx_job new = take_one(fixture, LONG_LEASE);
    assert_string_equal(new.id, old.id);
    assert_true(new.fence != old.fence);
    assert_int_equal(new.position, 40);
    assert_null(new.error);
    /* the old one wakes up: whatever it says is not heard */
    nx_job_lease stale = lease_of(&old);
    nx_job_state became;
    assert_int_equal(nx_store_job_heartbeat(fixture->store, &stale, 1, "{}", &cancel, &err),
                     NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "is running: this lease is not the one that counts");
    assert_int_equal(save(fixture, &old, 50, "fifty", &err), NX_ERR_CONFLICT);
    assert_int_equal(nx_store_job_fail(fixture->store, &stale, "x", NULL, &became, &err),
                     NX_ERR_CONFLICT);
    assert_int_equal(nx_store_job_release(fixture->store, &stale, &err), NX_ERR_CONFLICT);
    assert_int_equal(finish_as(fixture, &old, NX_JOB_SUCCEEDED), NX_ERR_CONFLICT);

    nx_assert_ok(nx_store_job_load(fixture->store, new.id, &fixture->arena, &found, &err), err);
    assert_int_equal(found.position, 40);
    assert_int_equal(found.result_offset, 400);
    assert_int_equal(found.state_size, 5);
    assert_memory_equal(found.state, "forty", 5);
    nx_assert_ok(save(fixture, &new, 60, "", &err), err);
    nx_assert_ok(nx_store_job_load(fixture->store, new.id, &fixture->arena, &found, &err), err);
    assert_int_equal(found.position, 60);
    assert_int_equal(found.state_size, 0);
    assert_int_equal(finish_as(fixture, &new, NX_JOB_SUCCEEDED), NX_OK);
}

static void expire_and_reclaim(store_fixture *fixture, nx_job_reclaim *out)
{
    nx_error err = {0};
    (void)STORE_NUMBER(fixture->store,
                       "UPDATE jobs SET lease_until = nx_now() WHERE state = 'running'");
    nx_assert_ok(nx_store_jobs_reclaim(fixture->store, out, &err), err);
}

/* Three lost workers in a row end a job; one checkpoint that got on wipes the slate clean. */
static void a_job_that_kills_its_workers_is_given_up(void **state)
{
    STORE_FIXTURE(state);
    nx_job_reclaim reclaimed;
    (void)enqueue_any(fixture);
    for (int i = 0; i < 2; i++) {
        (void)take_one(fixture, LONG_LEASE);
        expire_and_reclaim(fixture, &reclaimed);
        assert_int_equal(reclaimed.requeued, 1);
    }
    nx_job job = take_one(fixture, LONG_LEASE);
    nx_assert_ok(save(fixture, &job, 1, "got on", &err), err);
    expire_and_reclaim(fixture, &reclaimed);
    assert_int_equal(reclaimed.requeued, 1);
    for (int i = 0; i < 3; i++) {
        job = take_one(fixture, LONG_LEASE);
        nx_assert_ok(save(fixture, &job, 1, "no further", &err), err);
        expire_and_reclaim(fixture, &reclaimed);
        assert_int_equal(reclaimed.requeued, i < 2);
        assert_int_equal(reclaimed.dead, i == 2);
    }
    job = get(fixture, job.id);
    assert_int_equal(job.state, NX_JOB_DEAD);
    assert_int_equal(job.attempts, 6);
    assert_true(job.finished_at > 0);
}

static void a_worker_that_shuts_down_gives_back(void **state)
{
    STORE_FIXTURE(state);
    nx_job_request request = job_request();
    request.max_attempts = 1;
    (void)enqueue(fixture, &request);
    for (int i = 0; i < 3; i++) { /* which is no strike */
        nx_job job = take_one(fixture, LONG_LEASE);
        nx_job_lease lease = lease_of(&job);
        nx_assert_ok(nx_store_job_release(fixture->store, &lease, &err), err);
        assert_int_equal(get(fixture, job.id).state, NX_JOB_QUEUED);
    }
}

/* --- failing --- */

static void failures_wait_ever_longer_until_dead(void **state)
{
    STORE_FIXTURE(state);
    static const nx_job_retry_policy policy = {.first_ms = 10000, .most_ms = 30000};
    static const int64_t longest[] = {10000, 20000, 30000, 30000};
    nx_job_request request = job_request();
    request.max_attempts = 5;
    (void)enqueue(fixture, &request);
    for (int i = 0; i < 5; i++) {
        nx_job_state became = NX_JOB_RUNNING;
        nx_job job = take_one(fixture, LONG_LEASE);
        nx_job_lease lease = lease_of(&job);
        nx_assert_ok(nx_store_job_fail(fixture->store, &lease, "no luck", &policy, &became, &err),
                     err);
        job = get(fixture, job.id);
        assert_string_equal(job.error, "no luck");
        assert_int_equal(job.state, became);
        assert_int_equal(became, i < 4 ? NX_JOB_QUEUED : NX_JOB_DEAD);
        if (i < 4) {
            int64_t wait = job.not_before - job.updated_at;
            assert_true(wait >= longest[i] / 2 - 50 && wait <= longest[i] + 50);
        }
        (void)STORE_NUMBER(fixture->store, "UPDATE jobs SET not_before = nx_now()");
    }
}

static void the_dead_can_be_retried(void **state)
{
    STORE_FIXTURE(state);
    nx_job_request request = job_request();
    nx_job_state became;
    request.max_attempts = 1;
    (void)enqueue(fixture, &request);
    nx_job job = take_one(fixture, LONG_LEASE);
    nx_job_lease lease = lease_of(&job);
    assert_int_equal(nx_store_job_retry(fixture->store, job.id, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "is running: only what has failed");
    nx_assert_ok(nx_store_job_fail(fixture->store, &lease, "x", NULL, &became, &err), err);
    assert_int_equal(became, NX_JOB_DEAD);
    nx_assert_ok(nx_store_job_retry(fixture->store, job.id, &err), err);
    nx_job again = take_one(fixture, LONG_LEASE);
    assert_string_equal(again.id, job.id);
    assert_int_equal(finish_as(fixture, &again, NX_JOB_SUCCEEDED), NX_OK);
    assert_int_equal(nx_store_job_retry(fixture->store, job.id, &err), NX_ERR_CONFLICT);
    assert_int_equal(nx_store_job_retry(fixture->store, "none", &err), NX_ERR_NOT_FOUND);
}

/* --- cancelling --- */

static void a_queued_job_is_cancelled_at_once(void **state)
{
    STORE_FIXTURE(state);
    nx_job job = enqueue_any(fixture);
    nx_job_state became;
    nx_job none;
    nx_assert_ok(nx_store_job_cancel(fixture->store, job.id, &became, &err), err);
    assert_int_equal(became, NX_JOB_CANCELLED);
    assert_int_equal(take(fixture, &none, 1, LONG_LEASE), 0);
    nx_assert_ok(nx_store_job_cancel(fixture->store, job.id, &became, &err), err); /* again */
    nx_assert_ok(nx_store_job_retry(fixture->store, job.id, &err), err);
    assert_false(take_one(fixture, LONG_LEASE).cancel_requested);
}

static void a_running_job_is_asked_to_end(void **state)
{
    STORE_FIXTURE(state);
    bool cancel = false;
    nx_job_state became;
    (void)enqueue_any(fixture);
    nx_job job = take_one(fixture, LONG_LEASE);
    nx_job_lease lease = lease_of(&job);
    nx_assert_ok(nx_store_job_cancel(fixture->store, job.id, &became, &err), err);
    assert_int_equal(became, NX_JOB_RUNNING);
    nx_assert_ok(nx_store_job_cancel(fixture->store, job.id, &became, &err), err);
    assert_int_equal(became, NX_JOB_RUNNING);
    nx_assert_ok(nx_store_job_heartbeat(fixture->store, &lease, LONG_LEASE, NULL, &cancel, &err),
                 err);
    assert_true(cancel);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_CANCELLED), NX_OK);
    assert_int_equal(get(fixture, job.id).state, NX_JOB_CANCELLED);
    assert_int_equal(nx_store_job_cancel(fixture->store, "none", &became, &err), NX_ERR_NOT_FOUND);
}

/* Whatever a worker does with a job that is to be cancelled, it does not come back. */
static void a_cancelled_job_does_not_come_back(void **state)
{
    STORE_FIXTURE(state);
    for (int way = 0; way < 3; way++) {
        nx_job_state became;
        nx_job_reclaim reclaimed = {0};
        (void)enqueue_any(fixture);
        nx_job job = take_one(fixture, LONG_LEASE);
        nx_job_lease lease = lease_of(&job);
        nx_assert_ok(nx_store_job_cancel(fixture->store, job.id, &became, &err), err);
        if (way == 0) {
            nx_assert_ok(nx_store_job_fail(fixture->store, &lease, "x", NULL, &became, &err), err);
        } else if (way == 1) {
            nx_assert_ok(nx_store_job_release(fixture->store, &lease, &err), err);
        } else {
            expire_and_reclaim(fixture, &reclaimed);
            assert_int_equal(reclaimed.cancelled, 1);
        }
        assert_int_equal(get(fixture, job.id).state, NX_JOB_CANCELLED);
    }
    nx_job job = enqueue_any(fixture);
    nx_job_state became;
    job = take_one(fixture, LONG_LEASE);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_OK);
    assert_int_equal(nx_store_job_cancel(fixture->store, job.id, &became, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "is succeeded: it can't be cancelled");
}

/* --- looking --- */

static void events_have_no_gap(void **state)
{
    STORE_FIXTURE(state);
    nx_job_event events[10];
    size_t count = 0;
    bool cancel;
    (void)enqueue_any(fixture);
    nx_job job = take_one(fixture, LONG_LEASE);
    nx_job_lease lease = lease_of(&job);
    for (int i = 1; i <= 2; i++) {
        char progress[40];
        snprintf(progress, sizeof progress, "{\"done\": %d}", i);
        nx_assert_ok(
            nx_store_job_heartbeat(fixture->store, &lease, LONG_LEASE, progress, &cancel, &err),
            err);
    }
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_OK);
    nx_assert_ok(
        nx_store_job_events(fixture->store, job.id, 0, 10, &fixture->arena, events, &count, &err),
        err);
    static const nx_job_state states[] = {NX_JOB_QUEUED, NX_JOB_RUNNING, NX_JOB_RUNNING,
                                          NX_JOB_RUNNING, NX_JOB_SUCCEEDED};
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(events[i].seq, i + 1);
        assert_int_equal(events[i].state, states[i]);
        assert_true(events[i].state_event == (i < 2 || i == 4));
        assert_true(events[i].created_at > 0);
    }
    assert_string_equal(events[3].progress, "{\"done\": 2}");
    nx_assert_ok(
        nx_store_job_events(fixture->store, job.id, 3, 1, &fixture->arena, events, &count, &err),
        err);
    assert_int_equal(count, 1);
    assert_int_equal(events[0].seq, 4);
    nx_assert_ok(
        nx_store_job_events(fixture->store, "none", 0, 1, &fixture->arena, events, &count, &err),
        err);
    assert_int_equal(count, 0);
}

static void only_the_last_thousand_events_are_kept(void **state)
{
    STORE_FIXTURE(state);
    nx_job job = enqueue_any(fixture);
    nx_job_event event;
    size_t count = 0;
    (void)STORE_NUMBER(fixture->store, "UPDATE jobs SET event_seq = event_seq + 1");
    (void)STORE_NUMBER(fixture->store, "UPDATE jobs SET event_seq = 1001");
    nx_assert_ok(
        nx_store_job_events(fixture->store, job.id, 0, 1, &fixture->arena, &event, &count, &err),
        err);
    assert_int_equal(event.seq, 2);
    (void)STORE_NUMBER(fixture->store, "UPDATE jobs SET event_seq = 1002");
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT min(seq) FROM job_events"), 1001);
}

static void jobs_are_listed_by_page_owner_and_state(void **state)
{
    STORE_FIXTURE(state);
    nx_job_request request = job_request();
    nx_job page[3];
    const char *ids[5];
    size_t count = 0;
    for (size_t i = 0; i < 5; i++) {
        request.owner = i == 3 ? "bob" : "ann";
        ids[i] = enqueue(fixture, &request).id;
    }
    nx_job_filter filter = {.limit = 3};
    nx_assert_ok(nx_store_jobs_list(fixture->store, &filter, &fixture->arena, page, &count, &err),
                 err);
    assert_int_equal(count, 3);
    assert_string_equal(page[0].id, ids[4]);
    filter.before = page[2].id;
    nx_assert_ok(nx_store_jobs_list(fixture->store, &filter, &fixture->arena, page, &count, &err),
                 err);
    assert_int_equal(count, 2);
    assert_string_equal(page[1].id, ids[0]);
    filter = (nx_job_filter){.limit = 3, .owner = "bob"};
    nx_assert_ok(nx_store_jobs_list(fixture->store, &filter, &fixture->arena, page, &count, &err),
                 err);
    assert_int_equal(count, 1);
    assert_string_equal(page[0].id, ids[3]);
    (void)take_one(fixture, LONG_LEASE);
    static const nx_job_state running = NX_JOB_RUNNING;
    filter = (nx_job_filter){.limit = 3, .state = &running};
    nx_assert_ok(nx_store_jobs_list(fixture->store, &filter, &fixture->arena, page, &count, &err),
                 err);
    assert_int_equal(count, 1);
    assert_string_equal(page[0].id, ids[0]);
    filter.owner = "ann";
    nx_assert_ok(nx_store_jobs_list(fixture->store, &filter, &fixture->arena, page, &count, &err),
                 err);
    assert_int_equal(count, 1);
    filter.owner = "bob";
    nx_assert_ok(nx_store_jobs_list(fixture->store, &filter, &fixture->arena, page, &count, &err),
                 err);
    assert_int_equal(count, 0);
}

static void old_jobs_are_purged_with_all_that_is_theirs(void **state)
{
    STORE_FIXTURE(state);
    int64_t removed = 0;
    (void)enqueue_any(fixture);
    nx_job job = take_one(fixture, LONG_LEASE);
    nx_assert_ok(save(fixture, &job, 1, "x", &err), err);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_OK);
    nx_job kept = enqueue_any(fixture);
    nx_assert_ok(nx_store_jobs_purge(fixture->store, 3600000, 10, &removed, &err), err);
    assert_int_equal(removed, 0);
    (void)STORE_NUMBER(fixture->store, "UPDATE jobs SET finished_at = finished_at - 3600001"
                                       " WHERE finished_at IS NOT NULL");
    (void)STORE_NUMBER(fixture->store, "INSERT INTO webhooks (id, job_id, url, next_at, created_at)"
                                       " SELECT id || ':1', id, 'http://x', 1, 1 FROM jobs"
                                       " WHERE finished_at IS NOT NULL");
    nx_assert_ok(nx_store_jobs_purge(fixture->store, 3600000, 10, &removed, &err), err);
    assert_int_equal(removed, 0); /* somebody waits to be told */
    (void)STORE_NUMBER(fixture->store, "UPDATE webhooks SET state = 'failed'");
    nx_assert_ok(nx_store_jobs_purge(fixture->store, 3600000, 10, &removed, &err), err);
    assert_int_equal(removed, 1);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM job_checkpoints"), 0);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM job_events"), 1);
    assert_int_equal(get(fixture, kept.id).state, NX_JOB_QUEUED);
    assert_int_equal(nx_store_job_get(fixture->store, job.id, &fixture->arena, &kept, &err),
                     NX_ERR_NOT_FOUND);
}

static void a_video_stays_while_a_job_needs_it(void **state)
{
    STORE_FIXTURE(state);
    const nx_video wanted = {.owner = "ann",
                             .hash =
                                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                             .name = "",
                             .probe = "{}"};
    nx_video video;
    bool made;
    nx_assert_ok(nx_store_video_add(fixture->store, &wanted, &fixture->arena, &video, &made, &err),
                 err);
    nx_job_request request = job_request();
    request.video_id = video.id;
    (void)enqueue(fixture, &request);
    assert_int_equal(nx_store_video_remove(fixture->store, video.id, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "needed by 1 jobs");
    nx_job job = take_one(fixture, LONG_LEASE);
    assert_string_equal(job.video_id, video.id);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_OK);
    nx_assert_ok(nx_store_video_remove(fixture->store, video.id, &err), err);
    assert_null(get(fixture, job.id).video_id);
}

static void states_have_names(void **state)
{
    (void)state;
    nx_job_state parsed;
    for (int i = 0; i < NX_JOB_STATE_COUNT; i++) {
        assert_true(nx_job_state_parse(nx_job_state_name((nx_job_state)i), &parsed));
        assert_int_equal(parsed, i);
    }
    assert_false(nx_job_state_parse("Queued", &parsed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(a_job_goes_its_way),
        store_test(a_job_ends_exactly_once),
        store_test(many_end_together),
        store_test(a_key_stands_for_one_request),
        store_test(bad_requests_are_refused),
        store_test(urgent_ones_go_first_then_old_ones),
        store_test(owners_take_turns),
        store_test(one_call_in_eight_goes_by_age),
        store_test(delayed_ones_wait),
        store_test(a_heartbeat_holds_a_lease),
        store_test(a_lost_worker_is_replaced_and_fenced_off),
        store_test(a_job_that_kills_its_workers_is_given_up),
        store_test(a_worker_that_shuts_down_gives_back),
        store_test(failures_wait_ever_longer_until_dead),
        store_test(the_dead_can_be_retried),
        store_test(a_queued_job_is_cancelled_at_once),
        store_test(a_running_job_is_asked_to_end),
        store_test(a_cancelled_job_does_not_come_back),
        store_test(events_have_no_gap),
        store_test(only_the_last_thousand_events_are_kept),
        store_test(jobs_are_listed_by_page_owner_and_state),
        store_test(old_jobs_are_purged_with_all_that_is_theirs),
        store_test(a_video_stays_while_a_job_needs_it),
        cmocka_unit_test(states_have_names),
    };
    return store_run_on_both(tests);
}
