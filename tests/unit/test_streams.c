/*
 * Streams of processes that share a database, with everything real but the model and the camera: a
 * small model that sees what is white, and a file that is shown over and over.
 */
#include "worker.h"

#include "base/clock.h"
#include "streams/streams.h"

static void *folder;
static ground base;

#define PATIENCE_NS (120 * NX_NS_PER_SEC) /* the machine may be busy, and sanitizers are slow */
#define URL         "file:video.mp4"

static nx_streams *streams_of(store_fixture *fixture, uint32_t most, int64_t lease_ms)
{
    const nx_streams_options options = {
        .store = fixture->store,
        .engine = base.engine,
        .registry = base.registry,
        .postprocess = nx_postprocess_defaults(),
        .files_dir = folder,
        .most = most,
        .lease_ms = lease_ms,
    };
    nx_streams *streams = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_streams_new(&options, &streams, &err), err);
    return streams;
}

static void start(nx_streams *streams)
{
    nx_error err = {0};
    nx_assert_ok(nx_streams_start(streams, &err), err);
}

/* Its id, in the fixture's arena. */
static const char *add(store_fixture *fixture, const char *name, const char *url,
                       const char *options)
{
    const nx_stream_request request = {
        .name = name, .url = url, .options = options, .enabled = true, .created_by = ""};
    nx_stream stream;
    nx_error err = {0};
    nx_assert_ok(nx_store_stream_add(fixture->store, &request, &fixture->arena, &stream, &err),
                 err);
    return stream.id;
}

static nx_stream row_of(store_fixture *fixture, const char *id)
{
    nx_stream stream;
    nx_error err = {0};
    nx_assert_ok(nx_store_stream_get(fixture->store, id, &fixture->arena, &stream, &err), err);
    return stream;
}

/* Waits until streams have told something, again and again, until a condition holds. */
#define wait_until(streams, condition)                                                             \
    do {                                                                                           \
        int64_t end_ns = nx_clock_now_ns() + PATIENCE_NS;                                          \
        for (uint64_t seen = 0; !(condition);) {                                                   \
            if (nx_clock_now_ns() > end_ns) {                                                      \
                fail_msg("not in time: %s", #condition);                                           \
            }                                                                                      \
            seen = nx_streams_wait(streams, seen, nx_clock_now_ns() + 50 * NX_NS_PER_MS);          \
        }                                                                                          \
    } while (0)

static nx_stream_status status_of(nx_streams *streams, const char *id)
{
    nx_stream_status status = {0};
    (void)nx_streams_status(streams, id, &status, NULL);
    return status;
}

static bool is_balanced(const nx_stream_counts *counts)
{
    uint64_t sum = counts->processed;
    for (int i = 0; i < NX_LOSS_COUNT; i++) {
        sum += counts->dropped[i];
    }
    return counts->received == sum;
}

typedef struct notes {
    atomic_uint results, entries;
    _Atomic int64_t last_ns;
    atomic_bool backwards;
} notes;

static void note(const nx_stream_result *result, void *user)
{
    notes *n = user;
    atomic_fetch_add(&n->results, 1);
    atomic_fetch_add(&n->entries, (unsigned)result->record->event_count);
    if (atomic_exchange(&n->last_ns, result->record->time_ns) >= result->record->time_ns) {
        atomic_store(&n->backwards, true);
    }
}

static void a_stream_is_run_and_tells_what_it_sees(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    notes n = {0};
    nx_buffer places = NX_BUFFER_INIT;
    nx_streams *streams = streams_of(fixture, 4, 0);
    const nx_stream_hooks hooks = {.result = note, .user = &n};
    nx_streams_set_hooks(streams, &hooks);
    start(streams);
    const char *id = add(fixture, "walk", URL,
                         "{\"confidence\":0.3,\"zones\":[{\"name\":\"yard\","
                         "\"polygon\":[[0,0],[1,0],[1,1],[0,1]]}]}");
    nx_streams_poke(streams);
    wait_until(streams, atomic_load(&n.entries) >= 1);
    nx_stream_status status;
    assert_true(nx_streams_status(streams, id, &status, &places));
    assert_int_equal(status.monitor.state, NX_STREAM_LIVE);
    assert_true(is_balanced(&status.counts));
    assert_true(status.counts.processed > 0);
    assert_int_equal(status.source.width, WIDTH);
    assert_string_equal(status.model, "seeing");
    assert_non_null(strstr(nx_buffer_cstr(&places), "{\"name\":\"yard\",\"inside\":"));
    nx_buffer_free(&places);
    wait_until(streams, row_of(fixture, id).state == NX_STREAM_LIVE);
    assert_false(atomic_load(&n.backwards));

    nx_stream_hub *hub = nx_streams_hub(streams, id);
    assert_non_null(hub);
    nx_stream_jpeg *jpeg = NULL;
    nx_assert_ok(nx_stream_hub_jpeg(hub, 0, &jpeg, &err), err);
    nx_stream_jpeg_release(jpeg);
    nx_streams_free(streams);
    assert_true(nx_stream_hub_ended(hub)); /* and it is there as long as somebody has it */
    nx_stream_hub_release(hub);
    nx_stream row = row_of(fixture, id);
    assert_false(row.leased); /* given back */
    assert_int_equal(row.state, NX_STREAM_STOPPED);
    assert_string_equal(row.reason, "the server stops");
}

static void one_of_two_runs_it_and_the_other_takes_over(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    nx_streams *one = streams_of(fixture, 4, 0);
    nx_streams *two = streams_of(fixture, 4, 0);
    nx_stream_status ignored;
    const char *id = add(fixture, "walk", URL, "{}");
    start(one);
    wait_until(one, nx_streams_status(one, id, &ignored, NULL));
    start(two);
    wait_until(one, status_of(one, id).monitor.state == NX_STREAM_LIVE);
    nx_streams_poke(two);
    assert_false(nx_streams_status(two, id, &ignored, NULL));
    nx_streams_free(one);
    nx_streams_poke(two);
    wait_until(two, status_of(two, id).monitor.state == NX_STREAM_LIVE);
    nx_streams_free(two);
}

/* Its lease was somebody's who is gone. */
static void a_dead_servers_stream_is_taken_over(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    nx_stream taken;
    size_t count = 0;
    const char *id = add(fixture, "walk", URL, "{}");
    const nx_stream_runner dead = {.name = "dead"};
    nx_assert_ok(
        nx_store_streams_take(fixture->store, &dead, 1, 200, &fixture->arena, &taken, &count, &err),
        err);
    assert_int_equal(count, 1);
    nx_streams *streams = streams_of(fixture, 4, 0);
    start(streams);
    wait_until(streams, status_of(streams, id).monitor.state == NX_STREAM_LIVE);
    nx_streams_free(streams);
}

static void who_has_lost_a_lease_stops(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    nx_stream_status ignored;
    const char *id = add(fixture, "walk", URL, "{}");
    nx_streams *streams = streams_of(fixture, 1, 0);
    start(streams);
    wait_until(streams, nx_streams_status(streams, id, &ignored, NULL));
    (void)STORE_NUMBER(fixture->store, "UPDATE streams SET fence = 1, lease_owner = 'other',"
                                       " lease_until = nx_now() + 600000");
    nx_streams_poke(streams);
    wait_until(streams, !nx_streams_status(streams, id, &ignored, NULL));
    assert_string_equal(row_of(fixture, id).lease_owner, "other"); /* and changes nothing */
    nx_streams_free(streams);
}

static void changes_are_heard_of(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    nx_stream_status ignored;
    nx_stream changed;
    const char *id = add(fixture, "walk", URL, "{}");
    nx_streams *streams = streams_of(fixture, 2, 0);
    start(streams);
    wait_until(streams, status_of(streams, id).monitor.state == NX_STREAM_LIVE);
    nx_stream_request request = {.name = "walk", .url = URL, .options = "{}", .enabled = false};
    nx_assert_ok(
        nx_store_stream_change(fixture->store, id, 1, &request, &fixture->arena, &changed, &err),
        err);
    nx_streams_poke(streams);
    wait_until(streams, !nx_streams_status(streams, id, &ignored, NULL));
    wait_until(streams, row_of(fixture, id).lease_owner == NULL);
    assert_string_equal(row_of(fixture, id).reason, "it is switched off");
    request.enabled = true;
    request.options = "{\"fps\":5}";
    nx_assert_ok(
        nx_store_stream_change(fixture->store, id, 2, &request, &fixture->arena, &changed, &err),
        err);
    nx_streams_poke(streams);
    wait_until(streams, status_of(streams, id).counts.dropped[NX_LOSS_RATE] > 0);
    nx_assert_ok(nx_store_stream_remove(fixture->store, id, &err), err);
    nx_streams_poke(streams);
    wait_until(streams, !nx_streams_status(streams, id, &ignored, NULL));
    nx_streams_stats stats;
    nx_streams_get_stats(streams, &stats);
    assert_true(stats.counts.processed > 0); /* what was counted stays */
    assert_true(is_balanced(&stats.counts));
    nx_streams_free(streams);
}

static void what_can_not_be_run_says_why(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    const char *lost = add(fixture, "lost", "file:none.mp4", "{}");
    const char *strange = add(fixture, "strange", URL, "{\"model\":\"none\"}");
    const char *class = add(fixture, "class", URL, "{\"classes\":\"unicorn\"}");
    const char *unfit = add(fixture, "unfit", URL, "{\"what\":1}");
    const char *here = add(fixture, "here", "rtsp://127.0.0.1:1/", "{}");
    nx_streams *streams = streams_of(fixture, 8, 0);
    start(streams);
    for (int i = 0; i < 5; i++) {
        nx_streams_poke(streams);
    }
    wait_until(streams, status_of(streams, lost).monitor.reason[0] != '\0');
    wait_until(streams, status_of(streams, strange).monitor.reason[0] != '\0');
    wait_until(streams, status_of(streams, class).monitor.reason[0] != '\0');
    wait_until(streams, status_of(streams, unfit).monitor.reason[0] != '\0');
    wait_until(streams, status_of(streams, here).monitor.reason[0] != '\0');
    assert_non_null(strstr(status_of(streams, lost).monitor.reason, "no file none.mp4"));
    assert_non_null(strstr(status_of(streams, strange).monitor.reason, "none"));
    assert_non_null(strstr(status_of(streams, class).monitor.reason, "unicorn"));
    assert_non_null(strstr(status_of(streams, unfit).monitor.reason, "what"));
    assert_non_null(strstr(status_of(streams, here).monitor.reason, "STREAM_ALLOW_LOOPBACK"));
    nx_streams_free(streams);
}

static void who_runs_none_takes_none(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    nx_stream_status ignored;
    nx_streams *streams = NULL;
    const nx_streams_options too_many = {.files_dir = "", .most = NX_STREAMS_MOST_AT_ONCE + 1};
    assert_int_equal(nx_streams_new(&too_many, &streams, &err), NX_ERR_INVALID);
    streams = streams_of(fixture, 0, 0);
    const char *id = add(fixture, "walk", URL, "{}");
    start(streams);
    nx_streams_poke(streams);
    assert_false(nx_streams_status(streams, id, &ignored, NULL));
    assert_null(nx_streams_hub(streams, id));
    nx_streams_free(streams);
    nx_streams_free(NULL);
}

/* --- without a database -------------------------------------------------------------------------
 */

/* What happens while somebody else holds the lock of the database. */
typedef struct siege {
    nx_streams *streams;
    nx_stream_hub *hub;
} siege;

static nx_status until_it_ends(nx_db *db, void *user, nx_error *err)
{
    siege *s = user;
    (void)db;
    (void)err;
    wait_until(s->streams, nx_stream_hub_ended(s->hub));
    return NX_OK;
}

/* Though whoever renews it waits for the database all the time. */
static void who_can_not_renew_in_time_stops(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    nx_stream_status ignored;
    nx_store *other = store_open_another(fixture);
    const char *id = add(fixture, "walk", URL, "{}");
    nx_streams *streams = streams_of(fixture, 1, 5000);
    start(streams);
    wait_until(streams, status_of(streams, id).monitor.state == NX_STREAM_LIVE);
    siege s = {.streams = streams, .hub = nx_streams_hub(streams, id)};
    assert_non_null(s.hub);
    nx_assert_ok(nx_store_transact(other, NX_TX_WRITE, until_it_ends, &s, &err), err);
    nx_stream_hub_release(s.hub);
    /* and it is taken again when the database is back */
    nx_streams_poke(streams);
    wait_until(streams, nx_streams_status(streams, id, &ignored, NULL) &&
                            ignored.monitor.state == NX_STREAM_LIVE);
    nx_streams_free(streams);
    nx_store_close(other);
}

static void count_failure(void *user, bool writes, int64_t ns, nx_status status)
{
    (void)writes;
    (void)ns;
    atomic_fetch_add((atomic_uint *)user, status != NX_OK ? 1 : 0);
}

static nx_status stop_them(nx_db *db, void *user, nx_error *err)
{
    siege *s = user;
    (void)db;
    (void)err;
    nx_streams_free(s->streams);
    return NX_OK;
}

/* One attempt to give something back, and perhaps one that was under way, are all it costs. */
static void a_stop_does_not_wait_for_the_database_again_and_again(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    atomic_uint failures;
    atomic_init(&failures, 0);
    const nx_store_observer observer = {.ended = count_failure, .user = &failures};
    nx_store *usual = fixture->store;
    nx_store_options quick = store_options(fixture);
    quick.timeout_ms = 100;
    const char *const ids[] = {add(fixture, "a", URL, "{}"), add(fixture, "b", URL, "{}"),
                               add(fixture, "c", URL, "{}"), add(fixture, "d", URL, "{}")};
    nx_assert_ok(nx_store_open(&quick, &fixture->store, &err), err);
    siege s = {.streams = streams_of(fixture, 4, 0)};
    start(s.streams);
    for (size_t i = 0; i < NX_COUNT(ids); i++) {
        wait_until(s.streams, status_of(s.streams, ids[i]).monitor.state == NX_STREAM_LIVE);
    }
    nx_store_observe(fixture->store, &observer);
    nx_assert_ok(nx_store_transact(usual, NX_TX_WRITE, stop_them, &s, &err), err);
    assert_in_range(atomic_load(&failures), 1, 3);
    nx_store_observe(fixture->store, NULL);
    nx_store_close(fixture->store);
    fixture->store = usual;
}

/* --- models -------------------------------------------------------------------------------------
 */

/* Installs the small model as the next version of a name, which serves from then on. */
static void add_model(const char *name)
{
    nx_error err = {0};
    char *path = strdup(walk_model(&folder));
    nx_registry_task task = {.op = NX_REGISTRY_ADD};
    char *upload = NULL;
    snprintf(task.name, sizeof task.name, "%s", name);
    nx_assert_ok(nx_model_store_begin(base.models, &upload, &err), err);
    nx_assert_ok(nx_model_store_copy(upload, "model.onnx", path, UINT64_MAX, &err), err);
    task.folder = upload;
    nx_assert_ok(nx_registry_run(base.registry, &task, &err), err);
    free(upload);
    free(path);
}

static void a_swapped_model_is_taken_between_frames(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_RUNTIME();
    notes n = {0};
    add_model("walker");
    const char *id = add(fixture, "walk", URL, "{\"model\":\"walker\",\"confidence\":0.3}");
    nx_streams *streams = streams_of(fixture, 1, 0);
    const nx_stream_hooks hooks = {.result = note, .user = &n};
    nx_streams_set_hooks(streams, &hooks);
    start(streams);
    wait_until(streams, status_of(streams, id).monitor.state == NX_STREAM_LIVE);
    assert_int_equal(status_of(streams, id).model_version, 1);
    add_model("walker");
    wait_until(streams, status_of(streams, id).model_version == 2);
    unsigned results = atomic_load(&n.results);
    wait_until(streams, atomic_load(&n.results) > results + 2);
    nx_registry_task back = {.op = NX_REGISTRY_ROLLBACK, .name = "walker"};
    nx_assert_ok(nx_registry_run(base.registry, &back, &err), err);
    wait_until(streams, status_of(streams, id).model_version == 1);
    nx_stream_status status = status_of(streams, id);
    assert_int_equal(status.monitor.lives, 1); /* the connection is the first one still */
    assert_int_equal(status.counts.dropped[NX_LOSS_STOPPED], 0);
    assert_int_equal(status.counts.dropped[NX_LOSS_FAILED], 0);
    assert_true(is_balanced(&status.counts));

    nx_registry_task gone = {.op = NX_REGISTRY_REMOVE, .name = "walker"};
    nx_assert_ok(nx_registry_run(base.registry, &gone, &err), err);
    wait_until(streams, status_of(streams, id).monitor.state == NX_STREAM_RECONNECTING);
    assert_non_null(strstr(status_of(streams, id).monitor.reason, "walker"));
    nx_streams_free(streams);
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    const struct CMUnitTest tests[] = {
        store_test(a_stream_is_run_and_tells_what_it_sees),
        store_test(one_of_two_runs_it_and_the_other_takes_over),
        store_test(a_dead_servers_stream_is_taken_over),
        store_test(who_has_lost_a_lease_stops),
        store_test(changes_are_heard_of),
        store_test(who_can_not_renew_in_time_stops),
        store_test(a_stop_does_not_wait_for_the_database_again_and_again),
        store_test(a_swapped_model_is_taken_between_frames),
        store_test(what_can_not_be_run_says_why),
        store_test(who_runs_none_takes_none),
    };
    if (scratch_make(&folder) != 0) {
        return 1;
    }
    if (access(models_data_path("lib/libonnxruntime.so.1"), R_OK) == 0) {
        base = ground_open(&folder);
        free(walk_video(&folder));
    }
    int failed = cmocka_run_group_tests_name("sqlite", tests, store_group_sqlite, store_group_end);
    if (base.objects != NULL) {
        ground_close(&base);
    }
    return failed + scratch_remove(&folder);
}
