/* Jobs for the tests of the queue. */
#ifndef NX_TESTS_STORE_JOBS_H
#define NX_TESTS_STORE_JOBS_H

#include "store_fixture.h"

#include "store/jobs.h"

#define LONG_LEASE 60000

static inline nx_job_request job_request(void)
{
    return (nx_job_request){
        .owner = "ann", .kind = "video", .options = "{\"model\": \"m\"}", .max_attempts = 3};
}

static inline nx_job enqueue(store_fixture *fixture, const nx_job_request *request)
{
    nx_job job = {0};
    bool made = false;
    nx_error err = {0};
    nx_assert_ok(nx_store_job_enqueue(fixture->store, request, &fixture->arena, &job, &made, &err),
                 err);
    assert_true(made);
    return job;
}

static inline nx_job enqueue_any(store_fixture *fixture)
{
    const nx_job_request request = job_request();
    return enqueue(fixture, &request);
}

static inline size_t take(store_fixture *fixture, nx_job *out, size_t limit, int64_t lease_ms)
{
    size_t count = 0;
    nx_error err = {0};
    nx_assert_ok(nx_store_jobs_take(fixture->store, "worker", limit, lease_ms, &fixture->arena, out,
                                    &count, &err),
                 err);
    return count;
}

static inline nx_job take_one(store_fixture *fixture, int64_t lease_ms)
{
    nx_job job = {0};
    assert_int_equal(take(fixture, &job, 1, lease_ms), 1);
    return job;
}

static inline nx_job_lease lease_of(const nx_job *job)
{
    return (nx_job_lease){.id = job->id, .fence = job->fence};
}

static inline nx_job get(store_fixture *fixture, const char *id)
{
    nx_job job = {0};
    nx_error err = {0};
    nx_assert_ok(nx_store_job_get(fixture->store, id, &fixture->arena, &job, &err), err);
    return job;
}

static inline nx_status finish_as(store_fixture *fixture, const nx_job *job, nx_job_state state)
{
    nx_error err = {0};
    nx_status status = NX_ERR_INTERNAL;
    const nx_job_outcome outcome = {
        .lease = lease_of(job), .state = state, .result = "{\"tracks\": 3}"};
    nx_assert_ok(nx_store_jobs_finish(fixture->store, &outcome, 1, &status, &err), err);
    return status;
}

#endif
