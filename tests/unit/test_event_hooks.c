/* The hooks of streams, as several streams call them from threads of their own: events in the
 * database, and whoever was there before still hears. */
#include "store_fixture.h"

#include "streams/event_hooks.h"

#include <pthread.h>
#include <stdatomic.h>

#define STREAMS 3
#define FRAMES  40
#define MS      INT64_C(1000000)

static const char *const words[] = {"person"};
static const nx_class_names names = {words, 1};
static const char options_text[] =
    "{\"lines\":[{\"name\":\"middle\",\"from\":[0.5,1],\"to\":[0.5,0]}],"
    "\"rules\":[{\"name\":\"over\",\"kind\":\"line_crossed\",\"line\":\"middle\"},"
    "{\"name\":\"camera\",\"kind\":\"camera_lost\",\"seconds\":0}]}";

static atomic_int results;
static atomic_int states;
static atomic_int begun;

static void count_result(const nx_stream_result *result, void *user)
{
    (void)result;
    (void)user;
    atomic_fetch_add(&results, 1);
}

static void count_begin(const char *stream, const char *name, const nx_stream_spec *spec,
                        void *user)
{
    (void)stream;
    (void)name;
    (void)user;
    assert_non_null(spec->rules);
    atomic_fetch_add(&begun, 1);
}

static void count_end(const char *stream, void *user)
{
    (void)stream;
    (void)user;
    atomic_fetch_sub(&begun, 1);
}

static void count_state(const char *stream, nx_stream_state state, const char *reason, void *user)
{
    (void)stream;
    (void)state;
    (void)reason;
    (void)user;
    atomic_fetch_add(&states, 1);
}

typedef struct camera {
    nx_stream_hooks hooks;
    char id[NX_UUID_SIZE];
} camera;

/* Somebody walks from left to right through a picture of 640x480; then the camera is lost. */
static void *watch(void *user)
{
    static const uint8_t pixels[64 * 48 * 3];
    camera *it = user;
    nx_stream_spec spec;
    nx_video_track *track = NULL;
    nx_error err = {0};
    if (nx_stream_spec_parse(options_text, &spec, &err) != NX_OK ||
        nx_video_track_new(&spec.video, names, 640, 480, &track, &err) != NX_OK) {
        abort();
    }
    it->hooks.begin(it->id, "walk", &spec, it->hooks.user);
    it->hooks.state(it->id, NX_STREAM_LIVE, "", it->hooks.user);
    for (int i = 0; i < FRAMES; i++) {
        const float x = 100 + (float)i * 10;
        const nx_detection box = {.x1 = x, .y1 = 100, .x2 = x + 60, .y2 = 300, .confidence = 0.9F};
        nx_frame_record record;
        if (nx_video_track_take(track, NX_FRAME_INFER, i * 100 * MS, &box, 1, &record, &err) !=
            NX_OK) {
            abort();
        }
        const nx_stream_result result = {
            .stream = it->id,
            .name = "walk",
            .spec = &spec,
            .track = track,
            .record = &record,
            .names = names,
            .width = 640,
            .height = 480,
            .at_ns = (1700000000000 + i) * MS,
            .pixels = pixels,
            .picture_width = 64,
            .picture_height = 48,
        };
        it->hooks.result(&result, it->hooks.user);
    }
    it->hooks.state(it->id, NX_STREAM_RECONNECTING, "gone", it->hooks.user);
    it->hooks.state(it->id, NX_STREAM_LIVE, "", it->hooks.user);
    it->hooks.state(it->id, NX_STREAM_STOPPED, "enough", it->hooks.user);
    it->hooks.end(it->id, it->hooks.user);
    nx_video_track_free(track);
    nx_stream_spec_free(&spec);
    return NULL;
}

static void each_stream_has_its_own_events(void **state)
{
    STORE_FIXTURE(state);
    camera cameras[STREAMS];
    pthread_t threads[STREAMS];
    nx_stream_events *events = NULL;
    nx_objects *objects = store_open_objects(fixture);
    const nx_event_recorder_options options = {
        .store = fixture->store, .objects = objects, .webhook = ""};
    const nx_stream_hooks next = {
        .begin = count_begin, .end = count_end, .result = count_result, .state = count_state};
    atomic_store(&results, 0);
    atomic_store(&states, 0);
    nx_assert_ok(nx_stream_events_start(&options, &next, &events, &err), err);
    for (size_t i = 0; i < STREAMS; i++) {
        cameras[i].hooks = nx_stream_events_hooks(events);
        nx_assert_ok(nx_uuid_make(cameras[i].id, &err), err);
        assert_int_equal(pthread_create(&threads[i], NULL, watch, &cameras[i]), 0);
    }
    for (size_t i = 0; i < STREAMS; i++) {
        pthread_join(threads[i], NULL);
    }
    nx_stream_events_stop(events); /* enters what is queued */
    assert_int_equal(atomic_load(&results), STREAMS * FRAMES);
    assert_int_equal(atomic_load(&states), STREAMS * 4);
    assert_int_equal(atomic_load(&begun), 0);
    for (size_t i = 0; i < STREAMS; i++) {
        static const char *const kinds[] = {"line_crossed", "camera_lost", "camera_back"};
        const nx_event_filter filter = {.stream = cameras[i].id};
        nx_event_row rows[8];
        size_t count = 0;
        nx_assert_ok(nx_store_events_after(fixture->store, &filter, 0, NX_COUNT(rows),
                                           &fixture->arena, rows, &count, &err),
                     err);
        assert_int_equal(count, NX_COUNT(kinds));
        for (size_t j = 0; j < count; j++) {
            assert_string_equal(rows[j].kind, kinds[j]);
            assert_string_equal(rows[j].stream_name, "walk");
        }
        assert_string_equal(rows[0].zone, "middle");
        assert_non_null(rows[0].snapshot);
        nx_assert_contains(rows[1].details, "\"reason\":\"gone\"");
    }
    nx_objects_close(objects);
}

/* Runs a stream for as long as its camera is in some states, one after the other, as a server does
 * that starts and stops; returns how many events there are then, and the kind of the last one. */
static size_t run_through(store_fixture *fixture, const char *id, const nx_stream_state *states_of,
                          size_t count, const char **last)
{
    nx_stream_events *events = NULL;
    nx_stream_spec spec;
    nx_error err = {0};
    nx_event_row rows[8];
    size_t found = 0;
    nx_objects *objects = store_open_objects(fixture);
    const nx_event_recorder_options options = {
        .store = fixture->store, .objects = objects, .webhook = ""};
    const nx_stream_hooks next = {.user = NULL};
    nx_assert_ok(nx_stream_spec_parse(options_text, &spec, &err), err);
    nx_assert_ok(nx_stream_events_start(&options, &next, &events, &err), err);
    const nx_stream_hooks hooks = nx_stream_events_hooks(events);
    hooks.begin(id, "gate", &spec, hooks.user);
    for (size_t i = 0; i < count; i++) {
        hooks.state(id, states_of[i], "gone", hooks.user);
    }
    hooks.end(id, hooks.user);
    nx_stream_events_stop(events);
    nx_stream_spec_free(&spec);
    nx_objects_close(objects);
    const nx_event_filter filter = {.stream = id};
    nx_assert_ok(nx_store_events_after(fixture->store, &filter, 0, NX_COUNT(rows), &fixture->arena,
                                       rows, &found, &err),
                 err);
    *last = found > 0 ? rows[found - 1].kind : "";
    return found;
}

static void a_lost_camera_is_remembered(void **state)
{
    static const nx_stream_state dies[] = {NX_STREAM_LIVE, NX_STREAM_RECONNECTING};
    static const nx_stream_state away[] = {NX_STREAM_CONNECTING, NX_STREAM_RECONNECTING};
    static const nx_stream_state comes[] = {NX_STREAM_CONNECTING, NX_STREAM_LIVE};
    static const nx_stream_state rests[] = {NX_STREAM_LIVE, NX_STREAM_STOPPED};
    STORE_FIXTURE(state);
    const char *last = NULL;
    char id[NX_UUID_SIZE];
    nx_assert_ok(nx_uuid_make(id, &err), err);
    assert_int_equal(run_through(fixture, id, dies, 2, &last), 1);
    assert_string_equal(last, "camera_lost");
    assert_int_equal(run_through(fixture, id, away, 2, &last), 1); /* that was told */
    assert_int_equal(run_through(fixture, id, comes, 2, &last), 2);
    assert_string_equal(last, "camera_back");
    assert_int_equal(run_through(fixture, id, rests, 2, &last), 2); /* nobody expects it to come */
    assert_int_equal(run_through(fixture, id, away, 2, &last), 3);  /* though it never came here */
    assert_string_equal(last, "camera_lost");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(each_stream_has_its_own_events),
        store_test(a_lost_camera_is_remembered),
    };
    return store_run_on_both(tests);
}
