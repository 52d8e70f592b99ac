/* What changes a state and what does not, the same on SQLite and on PostgreSQL. */
#include "store_jobs.h"

#include "store/states.h"
#include "store/videos.h"

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

#define VIDEOS (1U << NX_STATE_VIDEOS)
#define ADDED  (1U << NX_STATE_VIDEOS_ADDED)
#define JOBS   (1U << NX_STATE_JOBS_ENDED)

static nx_states now(const store_fixture *fixture)
{
    nx_states states;
    nx_error err = {0};
    nx_assert_ok(nx_store_states(fixture->store, &states, &err), err);
    return states;
}

/* Which states have changed since; they are then what since is. */
static unsigned changed(const store_fixture *fixture, nx_states *since)
{
    const nx_states states = now(fixture);
    unsigned which = 0;
    for (unsigned i = 0; i < NX_STATE_COUNT; i++) {
        which |= (unsigned)(strcmp(states.of[i], since->of[i]) != 0) << i;
    }
    *since = states;
    return which;
}

static nx_video enter(store_fixture *fixture)
{
    nx_video made = {0};
    bool is_new = false;
    nx_error err = {0};
    const nx_video video = {
        .owner = "ann", .hash = HASH_A, .size = 5, .name = "a.mp4", .probe = "{}"};
    nx_assert_ok(nx_store_video_add(fixture->store, &video, &fixture->arena, &made, &is_new, &err),
                 err);
    return made;
}

static void videos_change_theirs(void **state)
{
    STORE_FIXTURE(state);
    nx_states since = now(fixture);
    assert_string_not_equal(since.of[NX_STATE_VIDEOS], since.of[NX_STATE_VIDEOS_ADDED]);
    assert_int_equal(changed(fixture, &since), 0);
    const nx_video video = enter(fixture);
    assert_int_equal(changed(fixture, &since), ADDED);
    (void)enter(fixture); /* the same one */
    assert_int_equal(changed(fixture, &since), 0);
    (void)STORE_NUMBER(fixture->store, "UPDATE videos SET name = name");
    assert_int_equal(changed(fixture, &since), 0);
    (void)STORE_NUMBER(fixture->store, "UPDATE videos SET name = 'b.mp4'");
    assert_int_equal(changed(fixture, &since), VIDEOS);
    nx_assert_ok(nx_store_video_remove(fixture->store, video.id, &err), err);
    assert_int_equal(changed(fixture, &since), VIDEOS);
    assert_int_equal(nx_store_video_remove(fixture->store, video.id, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(changed(fixture, &since), 0);
}

static void jobs_do_once_they_have_ended(void **state)
{
    STORE_FIXTURE(state);
    nx_job_request request = job_request();
    const nx_video video = enter(fixture);
    nx_states since = now(fixture);
    bool cancel = false;
    int64_t removed = 0;
    request.video_id = video.id;
    (void)enqueue(fixture, &request);
    const nx_job done = take_one(fixture, LONG_LEASE);
    const nx_job_lease lease = lease_of(&done);
    nx_assert_ok(nx_store_job_heartbeat(fixture->store, &lease, LONG_LEASE, "{}", &cancel, &err),
                 err);
    assert_int_equal(finish_as(fixture, &done, NX_JOB_FAILED), NX_OK);
    assert_int_equal(changed(fixture, &since), 0);
    nx_assert_ok(nx_store_job_retry(fixture->store, done.id, &err), err);
    assert_int_equal(changed(fixture, &since), JOBS);
    const nx_job again = take_one(fixture, LONG_LEASE);
    assert_int_equal(finish_as(fixture, &again, NX_JOB_SUCCEEDED), NX_OK);
    assert_int_equal(changed(fixture, &since), 0);
    nx_assert_ok(nx_store_video_remove(fixture->store, video.id, &err), err);
    assert_int_equal(changed(fixture, &since), VIDEOS | JOBS); /* which names it no more */
    nx_assert_ok(nx_store_jobs_purge(fixture->store, -3600000, 10, &removed, &err), err);
    assert_int_equal(removed, 1);
    assert_int_equal(changed(fixture, &since), JOBS);
}

static nx_status remove_all_in_vain(nx_db *db, void *user, nx_error *err)
{
    static const nx_sql all = NX_SQL("DELETE FROM videos");
    const nx_call call = {.sql = &all};
    (void)user;
    nx_status status = nx_db_run(db, &call, NULL, err);
    return status == NX_OK ? nx_error_set(err, NX_ERR_INVALID, "not so") : status;
}

static void what_is_undone_changes_none(void **state)
{
    STORE_FIXTURE(state);
    (void)enter(fixture);
    nx_states since = now(fixture);
    assert_int_equal(nx_store_transact(fixture->store, NX_TX_WRITE, remove_all_in_vain, NULL, &err),
                     NX_ERR_INVALID);
    assert_int_equal(changed(fixture, &since), 0);
}

static void one_that_is_missing_is_an_error(void **state)
{
    STORE_FIXTURE(state);
    nx_states states;
    (void)STORE_NUMBER(fixture->store, "DELETE FROM states WHERE name = 'videos'");
    assert_int_equal(nx_store_states(fixture->store, &states, &err), NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "no state of 'videos'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(videos_change_theirs),
        store_test(jobs_do_once_they_have_ended),
        store_test(what_is_undone_changes_none),
        store_test(one_that_is_missing_is_an_error),
    };
    return store_run_on_both(tests);
}
