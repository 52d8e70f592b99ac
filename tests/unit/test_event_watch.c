/* From the tracks of real pedestrians to events in the database with their pictures, on both
 * databases. */
#include "capture.h"
#include "store_fixture.h"

#include "eval/mot_file.h"
#include "jobs/event_watch.h"
#include "media/codec.h"
#include "store/event_deliveries.h"
#include "store/object_uses.h"

#include <jansson.h>

#define MS INT64_C(1000000)

static const char rules[] =
    "{\"rules\": ["
    "{\"name\": \"line\", \"kind\": \"line_crossed\", \"line\": \"middle\"},"
    "{\"name\": \"waits\", \"kind\": \"loitering\", \"zone\": \"yard\", \"seconds\": 3},"
    "{\"name\": \"crowd\", \"kind\": \"count_over\", \"zone\": \"yard\", \"over\": 4, \"until\": "
    "3},"
    "{\"name\": \"camera\", \"kind\": \"camera_lost\", \"seconds\": 2}]}";

static nx_zone yard = {
    .name = "yard", .points = {{0.3, 0.4}, {0.7, 0.4}, {0.7, 0.8}, {0.3, 0.8}}, .point_count = 4};
static nx_line middle = {.name = "middle", .from = {0.5, 1}, .to = {0.5, 0}};
static const nx_zones_spec places = {&yard, 1, &middle, 1};
static const char *const words[] = {"person"};
static const nx_class_names names = {words, 1};
static const nx_event_filter any = {0};

static nx_event_recorder *start(store_fixture *fixture, nx_objects *objects)
{
    nx_event_recorder *recorder = NULL;
    nx_error err = {0};
    const nx_event_recorder_options options = {.store = fixture->store,
                                               .objects = objects,
                                               .webhook = "https://example.org/hook",
                                               .mqtt = true};
    nx_assert_ok(nx_event_recorder_start(&options, &recorder, &err), err);
    return recorder;
}

static nx_event_watch *watch_with(nx_event_recorder *recorder)
{
    nx_event_watch *watch = NULL;
    nx_error err = {0};
    const nx_event_watch_options options = {.recorder = recorder,
                                            .stream_id = "s1",
                                            .stream_name = "yard camera",
                                            .rules = rules,
                                            .names = names,
                                            .places = &places};
    nx_assert_ok(nx_event_watch_new(&options, &watch, &err), err);
    return watch;
}

/* The annotated frames: ten a second. */
static void watch_pedestrians(nx_event_watch *watch, const nx_event_picture *picture)
{
    nx_mot_boxes boxes;
    nx_zones *zones = NULL;
    nx_error err = {0};
    size_t at = 0;
    const nx_zones_options options = nx_zones_defaults();
    nx_assert_ok(nx_mot_read(nx_shared_path("videos/pets09-s2l1-gt/gt.txt"), true, &boxes, &err),
                 err);
    nx_assert_ok(nx_zones_new(&places, &options, &zones, &err), err);
    for (int frame = 1; frame <= boxes.last_frame; frame++) {
        nx_track tracks[64];
        size_t count = 0;
        for (; at < boxes.count && boxes.items[at].frame == frame; at++) {
            const nx_mot_box *b = &boxes.items[at];
            tracks[count++] = (nx_track){.id = (uint64_t)b->id,
                                         .state = NX_TRACK_CONFIRMED,
                                         .confidence = 0.75F,
                                         .x1 = b->x,
                                         .y1 = b->y,
                                         .x2 = b->x + b->width,
                                         .y2 = b->y + b->height,
                                         .seen_ns = frame * 100 * MS};
        }
        nx_assert_ok(nx_zones_update(zones, frame * 100 * MS, 768, 576, tracks, count, &err), err);
        const nx_event_frame seen = {.time_ns = frame * 100 * MS,
                                     .at_ms = 1700000000000 + frame * 100,
                                     .zones = zones,
                                     .tracks = tracks,
                                     .track_count = count,
                                     .names = names,
                                     .picture = picture};
        nx_assert_ok(nx_event_watch_frame(watch, &seen, &err), err);
    }
    nx_zones_free(zones);
    nx_mot_boxes_free(&boxes);
}

static void pedestrians_are_entered_with_their_picture(void **state)
{
    STORE_FIXTURE(state);
    NX_NEED_SHARED();
    static uint8_t pixels[64 * 48 * 3];
    const nx_event_picture picture = {pixels, 64, 48};
    nx_event_row rows[32];
    size_t count = 0;
    memset(pixels, 90, sizeof pixels);
    nx_objects *objects = store_open_objects(fixture);
    nx_event_recorder *recorder = start(fixture, objects);
    nx_event_watch *watch = watch_with(recorder);
    watch_pedestrians(watch, &picture);
    nx_assert_ok(nx_event_watch_camera(watch, 0, 1700000020000, true, NULL, &err), err);
    nx_assert_ok(nx_event_watch_camera(watch, 1000 * MS, 1700000021000, false, "refused", &err),
                 err);
    nx_assert_ok(nx_event_watch_camera(watch, 3000 * MS, 1700000023000, false, "refused", &err),
                 err);
    nx_event_watch_free(watch);
    nx_event_recorder_stop(recorder); /* enters what is queued */
    nx_assert_ok(nx_store_events_after(fixture->store, &any, 0, NX_COUNT(rows), &fixture->arena,
                                       rows, &count, &err),
                 err);
    /* three cross, five loiter, a crowd comes and goes, the camera is lost: as in
     * test_event_rules */
    assert_int_equal(count, 3 + 5 + 2 + 1);
    assert_string_equal(rows[0].kind, "line_crossed");
    assert_true(rows[0].track == 15 && rows[0].at == 1700000002700);
    assert_string_equal(rows[0].stream_id, "s1");
    assert_string_equal(rows[0].stream_name, "yard camera");
    assert_string_equal(rows[0].rule, "line");
    assert_string_equal(rows[0].class_name, "person");
    assert_string_equal(rows[0].zone, "middle");
    json_t *details = json_loads(rows[0].details, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(details, "direction")), "in");
    assert_true(json_real_value(json_object_get(details, "confidence")) == 0.75);
    assert_true(json_is_number(json_object_get(json_object_get(details, "box"), "x1")));
    json_decref(details);
    const nx_event_row *last = &rows[count - 1];
    assert_string_equal(last->kind, "camera_lost");
    assert_string_equal(last->details, "{\"duration_s\":2,\"reason\":\"refused\"}");
    assert_true(last->track == 0 && last->class_name == NULL && last->snapshot == NULL);

    nx_buffer jpeg = NX_BUFFER_INIT;
    nx_image decoded = {0};
    size_t got = 0;
    const nx_decode_options limits = {.max_pixels = 1 << 20};
    assert_non_null(rows[0].snapshot);
    assert_true(nx_buffer_reserve(&jpeg, 1 << 16));
    nx_assert_ok(nx_objects_read(objects, rows[0].snapshot, 0, jpeg.data, 1 << 16, &got, &err),
                 err);
    assert_int_equal(rows[0].bytes, got);
    nx_assert_ok(nx_image_decode(jpeg.data, got, &limits, &decoded, NULL, &err), err);
    assert_true(decoded.width == 64 && decoded.height == 48);
    nx_image_free(&decoded);
    nx_buffer_free(&jpeg);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM object_holds"), 0);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM event_deliveries"), 22);
    nx_objects_close(objects);
}

/* Nothing can be kept until the path, which is where objects are, is unlinked: it is no folder. */
static void shut_objects(const store_fixture *fixture, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/objects", fixture->folder);
    (void)nftw(path, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    close(file);
}

/* Nothing is lost while the disk, or the database, takes nothing for a while. */
static void what_can_not_be_entered_waits(void **state)
{
    STORE_FIXTURE(state);
    char path[PATH_MAX];
    static uint8_t pixels[16 * 16 * 3];
    const nx_event_picture picture = {pixels, 16, 16};
    const nx_event_row row = {.stream_id = "s1",
                              .stream_name = "yard",
                              .kind = "loitering",
                              .rule = "waits",
                              .at = 1,
                              .details = "{}"};
    nx_objects *objects = store_open_objects(fixture);
    shut_objects(fixture, path);
    nx_event_recorder *recorder = start(fixture, objects);
    assert_true(nx_event_recorder_put(recorder, &row, 1, &picture));
    assert_true(nx_event_recorder_put(recorder, &row, 1, NULL));
    assert_int_equal(nx_event_recorder_get_stats(recorder).queued, 2);
    assert_int_equal(unlink(path), 0);
    while (nx_event_recorder_get_stats(recorder).entered < 2) {
        usleep(5000);
    }
    nx_event_recorder_stop(recorder);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM events"), 2);
    nx_objects_close(objects);
}

/* More than the queue holds are refused, not waited for. */
static void the_queue_is_bounded(void **state)
{
    STORE_FIXTURE(state);
    char path[PATH_MAX];
    enum { SIDE = 2048 }; /* twelve megabytes each */
    uint8_t *pixels = calloc((size_t)SIDE * SIDE, 3);
    assert_non_null(pixels);
    const nx_event_picture picture = {pixels, SIDE, SIDE};
    const nx_event_row row = {.stream_id = "s1",
                              .stream_name = "yard",
                              .kind = "loitering",
                              .rule = "waits",
                              .at = 1,
                              .details = "{}"};
    nx_objects *objects = store_open_objects(fixture);
    shut_objects(fixture, path); /* none leaves the queue */
    nx_event_recorder *recorder = start(fixture, objects);
    uint64_t taken = 0;
    uint64_t refused = 0;
    while (refused == 0 && taken < 1000) {
        bool good = nx_event_recorder_put(recorder, &row, 1, &picture);
        taken += good;
        refused += !good;
    }
    assert_int_equal(refused, 1);
    assert_int_equal(nx_event_recorder_get_stats(recorder).lost, 1);
    assert_int_equal(unlink(path), 0);
    nx_event_recorder_stop(recorder); /* enters what waits */
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM events"), taken);
    free(pixels);
    nx_objects_close(objects);
}

/* What clashes at a stop takes nothing with it that could be entered. */
static void a_clash_at_the_end_loses_no_other(void **state)
{
    STORE_FIXTURE(state);
    static const nx_sql number_again = NX_SQL("UPDATE event_head SET seq = seq - 1");
    static const nx_call again = {.sql = &number_again};
    static capture log;
    char id[NX_UUID_SIZE];
    nx_event_row row = {.stream_id = "s1",
                        .stream_name = "yard",
                        .kind = "loitering",
                        .rule = "waits",
                        .at = 1,
                        .details = "{}"};
    nx_objects *objects = store_open_objects(fixture);
    nx_assert_ok(nx_uuid_make(id, &err), err);
    row.id = id;
    nx_event_recorder *recorder = start(fixture, objects);
    assert_true(nx_event_recorder_put(recorder, &row, 1, NULL));
    nx_event_recorder_stop(recorder);
    nx_assert_ok(nx_store_run(fixture->store, NX_TX_WRITE, &again, NULL, &err), err);
    capture_begin(&log);
    recorder = start(fixture, objects);
    row.id = NULL; /* its number is another one's */
    assert_true(nx_event_recorder_put(recorder, &row, 1, NULL));
    row.id = id; /* is there already */
    assert_true(nx_event_recorder_put(recorder, &row, 1, NULL));
    nx_event_recorder_stop(recorder);
    capture_end(&log);
    nx_assert_contains(log.text, "1 events of a stream are lost");
    assert_null(strstr(log.text, "events of streams are lost"));
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM events"), 1);
    nx_objects_close(objects);
}

static void more_at_once_than_there_is_room_for_are_lost_aloud(void **state)
{
    STORE_FIXTURE(state);
    static const nx_zones_spec nowhere = {0};
    static nx_track tracks[NX_EVENTS_MAX + 44];
    static capture log;
    nx_objects *objects = store_open_objects(fixture);
    nx_event_recorder *recorder = start(fixture, objects);
    nx_event_watch *watch = NULL;
    const nx_event_watch_options options = {
        .recorder = recorder,
        .stream_id = "s1",
        .stream_name = "yard camera",
        .rules =
            "{\"rules\": [{\"name\": \"all\", \"kind\": \"object_appeared\", \"cooldown\": 0}]}",
        .names = names,
        .places = &nowhere};
    nx_assert_ok(nx_event_watch_new(&options, &watch, &err), err);
    for (size_t i = 0; i < NX_COUNT(tracks); i++) {
        tracks[i] = (nx_track){
            .id = i + 1, .state = NX_TRACK_CONFIRMED, .confidence = 0.75F, .x2 = 10, .y2 = 10};
    }
    const nx_event_frame seen = {
        .at_ms = 1700000000000, .tracks = tracks, .track_count = NX_COUNT(tracks), .names = names};
    capture_begin(&log);
    nx_assert_ok(nx_event_watch_frame(watch, &seen, &err), err);
    capture_end(&log);
    nx_assert_contains(log.text, "44 events of a stream are lost: too many happened at once");
    assert_int_equal(nx_event_recorder_get_stats(recorder).lost, 44);
    nx_event_watch_free(watch);
    nx_event_recorder_stop(recorder);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM events"), NX_EVENTS_MAX);
    nx_objects_close(objects);
}

static void wrong_rules_say_so(void **state)
{
    (void)state;
    nx_event_watch *watch = NULL;
    nx_error err = {0};
    const nx_event_watch_options options = {
        .stream_id = "s1",
        .stream_name = "yard",
        .rules = "{\"rules\": [{\"name\": \"a\", \"kind\": \"zone_left\", \"zone\": \"yrd\"}]}",
        .names = names,
        .places = &places};
    assert_int_equal(nx_event_watch_new(&options, &watch, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "rules[0].zone: there is no zone 'yrd'; did you mean 'yard'?");
    assert_null(watch);
    nx_event_watch_free(NULL);
    nx_event_recorder_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(pedestrians_are_entered_with_their_picture),
        store_test(what_can_not_be_entered_waits),
        store_test(the_queue_is_bounded),
        store_test(a_clash_at_the_end_loses_no_other),
        store_test(more_at_once_than_there_is_room_for_are_lost_aloud),
        cmocka_unit_test(wrong_rules_say_so),
    };
    return store_run_on_both(tests);
}
