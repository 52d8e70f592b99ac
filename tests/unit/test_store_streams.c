/* Streams and their leases, the same on SQLite and on PostgreSQL. */
#include "store_fixture.h"
#include "testing.h"

#include "store/streams.h"

#define LONG_LEASE INT64_C(600000)
/* One that is over as soon as it is given. */
#define NO_LEASE 0

static const nx_stream_report live = {
    .state = NX_STREAM_LIVE,
    .reason = "",
    .status = "{\"fps\":25}",
    .counts = "{\"zones\":[]}",
};

static nx_stream_request request_of(const char *name)
{
    return (nx_stream_request){
        .name = name,
        .url = "rtsp://me:secret@camera/1",
        .options = "{\"fps\":5}",
        .enabled = true,
        .created_by = "ada",
        .user = "u1",
    };
}

static nx_stream add(store_fixture *fixture, const nx_stream_request *request)
{
    nx_error err = {0};
    nx_stream stream = {0};
    nx_assert_ok(nx_store_stream_add(fixture->store, request, &fixture->arena, &stream, &err), err);
    return stream;
}

static nx_stream get(store_fixture *fixture, const char *id)
{
    nx_error err = {0};
    nx_stream stream = {0};
    nx_assert_ok(nx_store_stream_get(fixture->store, id, &fixture->arena, &stream, &err), err);
    return stream;
}

static size_t take(store_fixture *fixture, const char *runner, nx_stream *out, size_t limit,
                   int64_t lease_ms)
{
    nx_error err = {0};
    size_t count = 0;
    const nx_stream_runner who = {
        .name = runner, .path = "a socket", .address = "host:1", .token = "ab"};
    nx_assert_ok(nx_store_streams_take(fixture->store, &who, limit, lease_ms, &fixture->arena, out,
                                       &count, &err),
                 err);
    return count;
}

static nx_stream_lease lease_of(const nx_stream *stream)
{
    return (nx_stream_lease){.id = stream->id, .fence = stream->fence};
}

static void what_is_added_is_there(void **state)
{
    STORE_FIXTURE(state);
    const nx_stream_request request = request_of("Gate");
    nx_stream made = add(fixture, &request);
    nx_stream found = get(fixture, made.id);
    assert_string_equal(found.name, "Gate");
    assert_string_equal(found.url, "rtsp://me:secret@camera/1");
    assert_string_equal(found.options, "{\"fps\":5}");
    assert_string_equal(found.created_by, "ada");
    assert_string_equal(found.user, "u1");
    assert_null(found.key);
    assert_null(found.webhook_url);
    assert_null(found.webhook_secret);
    assert_null(found.lease_owner);
    assert_true(found.enabled);
    assert_false(found.leased);
    assert_int_equal(found.version, 1);
    assert_string_equal(nx_stream_state_name(found.state), "stopped");
    assert_true(found.created_at > 0 && found.state_at > 0);

    nx_stream ignored;
    assert_int_equal(nx_store_stream_get(fixture->store, "none", &fixture->arena, &ignored, &err),
                     NX_ERR_NOT_FOUND);
}

static void names_are_unique(void **state)
{
    STORE_FIXTURE(state);
    nx_stream_request request = request_of("Gate");
    (void)add(fixture, &request);
    request.name = "GATE";
    nx_stream ignored;
    assert_int_equal(nx_store_stream_add(fixture->store, &request, &fixture->arena, &ignored, &err),
                     NX_ERR_CONFLICT);
    assert_non_null(strstr(err.message, "GATE"));
    assert_null(strstr(err.message, "secret"));
    request.name = "Door";
    nx_stream door = add(fixture, &request);
    request.name = "gate";
    assert_int_equal(nx_store_stream_change(fixture->store, door.id, door.version, &request,
                                            &fixture->arena, &ignored, &err),
                     NX_ERR_CONFLICT);
    request.name = "DOOR"; /* its own name is not taken */
    nx_assert_ok(nx_store_stream_change(fixture->store, door.id, door.version, &request,
                                        &fixture->arena, &ignored, &err),
                 err);
    assert_string_equal(ignored.name, "DOOR");
}

static void there_are_not_too_many(void **state)
{
    STORE_FIXTURE(state);
    nx_stream_request request = request_of("one-more");
    nx_stream ignored = {0};
    (void)STORE_NUMBER(fixture->store,
                       "INSERT INTO streams (id, name, url, options, enabled, created_by, state_at,"
                       " created_at, updated_at) WITH RECURSIVE n(i) AS"
                       " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)"
                       " SELECT CAST(i AS text), CAST(i AS text), '', '{}', 1, '', 0, 0, 0 FROM n");
    assert_int_equal(NX_STREAMS_MOST, 1000);
    (void)add(fixture, &request);
    request.name = "one-too-many";
    assert_int_equal(nx_store_stream_add(fixture->store, &request, &fixture->arena, &ignored, &err),
                     NX_ERR_CONFLICT);
    assert_non_null(strstr(err.message, "remove some"));
}

static void lists_have_pages(void **state)
{
    STORE_FIXTURE(state);
    static const char *const names[] = {"a", "b", "c"};
    nx_stream page[2];
    size_t count = 0;
    for (size_t i = 0; i < 3; i++) {
        const nx_stream_request request = request_of(names[i]);
        (void)add(fixture, &request);
    }
    nx_assert_ok(
        nx_store_streams_list(fixture->store, NULL, 2, &fixture->arena, page, &count, &err), err);
    assert_int_equal(count, 2);
    assert_string_equal(page[0].name, "c");
    assert_string_equal(page[1].name, "b");
    nx_assert_ok(
        nx_store_streams_list(fixture->store, page[1].id, 2, &fixture->arena, page, &count, &err),
        err);
    assert_int_equal(count, 1);
    assert_string_equal(page[0].name, "a");
}

static void a_change_meets_the_version_that_it_was_made_of(void **state)
{
    STORE_FIXTURE(state);
    nx_stream_request request = request_of("Gate");
    nx_stream made = add(fixture, &request);
    nx_stream now = {0};
    request.options = "{\"fps\":10}";
    request.enabled = false;
    nx_assert_ok(
        nx_store_stream_change(fixture->store, made.id, 1, &request, &fixture->arena, &now, &err),
        err);
    assert_int_equal(now.version, 2);
    assert_false(now.enabled);
    assert_string_equal(now.options, "{\"fps\":10}");
    assert_int_equal(
        nx_store_stream_change(fixture->store, made.id, 1, &request, &fixture->arena, &now, &err),
        NX_ERR_CONFLICT);
    assert_non_null(strstr(err.message, "changed meanwhile"));
    assert_int_equal(
        nx_store_stream_change(fixture->store, "none", 1, &request, &fixture->arena, &now, &err),
        NX_ERR_NOT_FOUND);
    nx_assert_ok(nx_store_stream_remove(fixture->store, made.id, &err), err);
    assert_int_equal(nx_store_stream_remove(fixture->store, made.id, &err), NX_ERR_NOT_FOUND);
}

static void one_at_a_time_runs_it(void **state)
{
    STORE_FIXTURE(state);
    nx_stream_request request = request_of("Gate");
    nx_stream made = add(fixture, &request);
    request.name = "Door";
    request.enabled = false;
    (void)add(fixture, &request);
    nx_stream taken[4];
    assert_int_equal(take(fixture, "one", taken, 4, LONG_LEASE), 1); /* the other is disabled */
    assert_string_equal(taken[0].id, made.id);
    assert_string_equal(taken[0].lease_owner, "one");
    assert_true(taken[0].leased);
    assert_int_equal(taken[0].state, NX_STREAM_CONNECTING);
    assert_int_equal(take(fixture, "two", taken + 1, 3, LONG_LEASE), 0);

    const nx_stream_lease lease = lease_of(&taken[0]);
    int64_t version = 0;
    bool enabled = false;
    nx_assert_ok(
        nx_store_stream_hold(fixture->store, &lease, LONG_LEASE, &live, &version, &enabled, &err),
        err);
    assert_int_equal(version, 1);
    assert_true(enabled);
    nx_stream seen = get(fixture, made.id);
    assert_int_equal(seen.state, NX_STREAM_LIVE);
    assert_string_equal(seen.status, "{\"fps\":25}");
    assert_string_equal(seen.counts, "{\"zones\":[]}");

    nx_assert_ok(nx_store_stream_release(fixture->store, &lease, "the server stops", &err), err);
    seen = get(fixture, made.id);
    assert_int_equal(seen.state, NX_STREAM_STOPPED);
    assert_string_equal(seen.reason, "the server stops");
    assert_null(seen.lease_owner);
    assert_int_equal(take(fixture, "two", taken + 1, 3, LONG_LEASE), 1);
    assert_int_not_equal(taken[1].fence, taken[0].fence);
    assert_null(get(fixture, made.id).counts);
}

static void who_lost_a_lease_changes_nothing(void **state)
{
    STORE_FIXTURE(state);
    const nx_stream_request request = request_of("Gate");
    nx_stream made = add(fixture, &request);
    nx_stream first;
    nx_stream second;
    int64_t version = 0;
    bool enabled = false;
    assert_int_equal(take(fixture, "dead", &first, 1, NO_LEASE), 1);
    assert_int_equal(take(fixture, "next", &second, 1, LONG_LEASE), 1);
    assert_string_equal(second.id, made.id);
    const nx_stream_lease old = lease_of(&first);
    assert_int_equal(
        nx_store_stream_hold(fixture->store, &old, LONG_LEASE, &live, &version, &enabled, &err),
        NX_ERR_CONFLICT);
    nx_assert_ok(nx_store_stream_release(fixture->store, &old, "late", &err), err);
    nx_stream seen = get(fixture, made.id);
    assert_string_equal(seen.lease_owner, "next");
    assert_int_equal(seen.state, NX_STREAM_CONNECTING);

    const nx_stream_lease good = lease_of(&second);
    nx_assert_ok(nx_store_stream_remove(fixture->store, made.id, &err), err);
    assert_int_equal(
        nx_store_stream_hold(fixture->store, &good, LONG_LEASE, &live, &version, &enabled, &err),
        NX_ERR_NOT_FOUND);
}

static void a_runner_hears_of_changes(void **state)
{
    STORE_FIXTURE(state);
    nx_stream_request request = request_of("Gate");
    nx_stream made = add(fixture, &request);
    nx_stream taken;
    nx_stream now;
    int64_t version = 0;
    bool enabled = true;
    assert_int_equal(take(fixture, "one", &taken, 1, LONG_LEASE), 1);
    request.enabled = false;
    nx_assert_ok(
        nx_store_stream_change(fixture->store, made.id, 1, &request, &fixture->arena, &now, &err),
        err);
    assert_true(now.leased); /* until its runner lets go */
    const nx_stream_lease lease = lease_of(&taken);
    nx_assert_ok(
        nx_store_stream_hold(fixture->store, &lease, LONG_LEASE, &live, &version, &enabled, &err),
        err);
    assert_int_equal(version, 2);
    assert_false(enabled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(what_is_added_is_there),
        store_test(names_are_unique),
        store_test(there_are_not_too_many),
        store_test(lists_have_pages),
        store_test(a_change_meets_the_version_that_it_was_made_of),
        store_test(one_at_a_time_runs_it),
        store_test(who_lost_a_lease_changes_nothing),
        store_test(a_runner_hears_of_changes),
    };
    return store_run_on_both(tests);
}
