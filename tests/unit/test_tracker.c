#include "testing.h"

#include "analytics/tracker.h"

#include <math.h>

#define MS INT64_C(1000000)

/* A 40x100 box whose left top is at x, y. */
static nx_detection seen(double x, double y, double confidence, int32_t class_id)
{
    return (nx_detection){.x1 = (float)x,
                          .y1 = (float)y,
                          .x2 = (float)x + 40,
                          .y2 = (float)y + 100,
                          .confidence = (float)confidence,
                          .class_id = class_id};
}

static nx_tracker *made(void)
{
    nx_tracker *tracker = NULL;
    nx_error err = {0};
    const nx_tracker_options options = nx_tracker_defaults();
    nx_assert_ok(nx_tracker_new(&options, &tracker, &err), err);
    return tracker;
}

static const nx_track *update(nx_tracker *tracker, int64_t ms, const nx_detection *detections,
                              size_t count, size_t *out_count)
{
    nx_error err = {0};
    nx_assert_ok(nx_tracker_update(tracker, ms * MS, detections, count, &err), err);
    return nx_tracker_tracks(tracker, out_count);
}

static void a_track_is_confirmed_at_its_second_sighting(void **state)
{
    (void)state;
    nx_tracker *tracker = made();
    size_t count = 0;
    const nx_detection first = seen(100, 100, 0.9, 0);
    const nx_track *tracks = update(tracker, 0, &first, 1, &count);
    assert_int_equal(count, 1);
    assert_int_equal(tracks[0].state, NX_TRACK_TENTATIVE);
    assert_int_equal(tracks[0].id, 0);
    const nx_detection second = seen(105, 100, 0.8, 0);
    tracks = update(tracker, 100, &second, 1, &count);
    assert_int_equal(count, 1);
    assert_int_equal(tracks[0].state, NX_TRACK_CONFIRMED);
    assert_int_equal(tracks[0].id, 1);
    assert_true(tracks[0].x1 == 105 && tracks[0].y2 == 200); /* the detection's own box */
    assert_true(tracks[0].first_ns == 0 && tracks[0].seen_ns == 100 * MS);
    assert_true(tracks[0].vx > 0);
    nx_tracker_free(tracker);
}

static void a_tentative_track_ends_when_it_is_missed(void **state)
{
    (void)state;
    nx_tracker *tracker = made();
    size_t count = 0;
    const nx_detection flicker = seen(100, 100, 0.9, 0);
    update(tracker, 0, &flicker, 1, &count);
    update(tracker, 100, NULL, 0, &count);
    assert_int_equal(count, 0);
    const nx_track *tracks = update(tracker, 200, &flicker, 1, &count);
    assert_int_equal(tracks[0].state, NX_TRACK_TENTATIVE);
    nx_tracker_free(tracker);
}

static void weak_detections_keep_tracks_and_begin_none(void **state)
{
    (void)state;
    nx_tracker *tracker = made();
    size_t count = 0;
    const nx_tracker_options *o = nx_tracker_get_options(tracker);
    double weak = (o->low + o->high) / 2;
    const nx_detection strong = seen(100, 100, 0.9, 0);
    const nx_detection both[] = {seen(100, 100, weak, 0), seen(400, 100, weak, 0)};
    update(tracker, 0, &strong, 1, &count);
    update(tracker, 100, &strong, 1, &count);
    for (int i = 2; i < 30; i++) {
        const nx_track *tracks = update(tracker, 100 * i, both, 2, &count);
        assert_int_equal(count, 1);
        assert_int_equal(tracks[0].id, 1);
        assert_int_equal(tracks[0].state, NX_TRACK_CONFIRMED);
    }
    const nx_detection weaker = seen(100, 100, o->low / 2, 0);
    const nx_track *tracks = update(tracker, 3000, &weaker, 1, &count);
    assert_int_equal(tracks[0].state, NX_TRACK_LOST);
    nx_tracker_free(tracker);
}

static void lost_tracks_are_found_again_until_their_time_is_up(void **state)
{
    (void)state;
    static const struct {
        int64_t away_ms;
        uint64_t id;
    } cases[] = {{900, 1}, {1100, 2}}; /* by default it waits for a second */
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_tracker *tracker = made();
        size_t count = 0;
        const nx_detection d = seen(100, 100, 0.9, 0);
        update(tracker, 0, &d, 1, &count);
        update(tracker, 50, &d, 1, &count);
        const nx_track *tracks = NULL;
        for (int64_t ms = 100; ms < 50 + cases[i].away_ms; ms += 50) {
            tracks = update(tracker, ms, NULL, 0, &count);
            assert_true(count == 0 || tracks[0].state == NX_TRACK_LOST);
        }
        update(tracker, 50 + cases[i].away_ms, &d, 1, &count);
        tracks = update(tracker, 100 + cases[i].away_ms, &d, 1, &count);
        assert_int_equal(count, 1);
        assert_int_equal(tracks[0].state, NX_TRACK_CONFIRMED);
        assert_true(tracks[0].id == cases[i].id);
        nx_tracker_free(tracker);
    }
}

static void classes_are_tracked_apart(void **state)
{
    (void)state;
    nx_tracker *tracker = made();
    size_t count = 0;
    const nx_detection car = seen(100, 100, 0.9, 2);
    const nx_detection truck = seen(100, 100, 0.9, 7);
    update(tracker, 0, &car, 1, &count);
    update(tracker, 100, &car, 1, &count);
    const nx_track *tracks = update(tracker, 200, &truck, 1, &count);
    assert_int_equal(count, 2);
    assert_int_equal(tracks[0].state, NX_TRACK_LOST);
    assert_int_equal(tracks[0].class_id, 2);
    assert_int_equal(tracks[1].state, NX_TRACK_TENTATIVE);
    assert_int_equal(tracks[1].class_id, 7);
    nx_tracker_free(tracker);
}

/* Two walk towards each other, meet and go on: where each will be says who is who, though at the
 * crossing each is nearer to where the other was. */
static void two_who_cross_keep_their_ids(void **state)
{
    (void)state;
    nx_tracker *tracker = made();
    size_t count = 0;
    const nx_track *tracks = NULL;
    for (int i = 0; i <= 40; i++) {
        const nx_detection both[] = {seen(100 + 12.0 * i, 100, 0.9, 0),
                                     seen(580 - 12.0 * i, 140, 0.9, 0)};
        tracks = update(tracker, 100 * i, both, 2, &count);
        assert_int_equal(count, 2);
    }
    assert_int_equal(tracks[0].id, 1);
    assert_true(tracks[0].y1 == 100 && tracks[0].vx > 100);
    assert_int_equal(tracks[1].id, 2);
    assert_true(tracks[1].y1 == 140 && tracks[1].vx < -100);
    nx_tracker_free(tracker);
}

static void every_third_frame_is_enough(void **state)
{
    (void)state;
    nx_tracker *tracker = made();
    size_t count = 0;
    for (int i = 0; i <= 60; i++) {
        const nx_detection d = seen(100 + 4.0 * i, 100, 0.9, 0);
        if (i % 3 == 0) {
            update(tracker, 40 * i, &d, 1, &count);
            continue;
        }
        const nx_track *tracks = nx_tracker_predict(tracker, 40 * i * MS, &count);
        assert_int_equal(count, 1);
        if (i > 30) { /* by then the speed is known */
            assert_int_equal(tracks[0].id, 1);
            assert_int_equal(tracks[0].state, NX_TRACK_CONFIRMED);
            assert_true(fabs(tracks[0].x1 - (100 + 4.0 * i)) < 2);
        }
    }
    nx_tracker_free(tracker);
}

static void a_held_frame_leaves_everybody_where_he_was(void **state)
{
    (void)state;
    nx_tracker *tracker = made();
    size_t count = 0;
    const nx_detection d = seen(100, 100, 0.9, 0);
    nx_error err = {0};
    update(tracker, 0, &d, 1, &count);
    nx_assert_ok(nx_tracker_hold(tracker, 100 * MS, &err), err);
    const nx_track *tracks = nx_tracker_tracks(tracker, &count);
    assert_int_equal(tracks[0].state,
                     NX_TRACK_TENTATIVE); /* a frame not looked at proves nothing */
    update(tracker, 200, &d, 1, &count);
    for (int i = 3; i < 60; i++) {
        nx_assert_ok(nx_tracker_hold(tracker, 100 * i * MS, &err), err);
        tracks = nx_tracker_tracks(tracker, &count);
        assert_int_equal(count, 1);
        assert_int_equal(tracks[0].state, NX_TRACK_CONFIRMED);
        assert_true(tracks[0].x1 == 100 && tracks[0].seen_ns == 100 * i * MS);
    }
    assert_int_equal(nx_tracker_hold(tracker, 100 * MS, &err), NX_ERR_INVALID);
    nx_tracker_free(tracker);
}

static void a_duplicate_goes(void **state)
{
    (void)state;
    /* The object jumps back to where its own lost track waits, while a second track was begun
     * beside it: the older one stays. */
    nx_tracker_options options = nx_tracker_defaults();
    nx_tracker *tracker = NULL;
    nx_error err = {0};
    size_t count = 0;
    options.gate_high = 0.3; /* so that a jump is not followed */
    options.duplicate = 0.5;
    nx_assert_ok(nx_tracker_new(&options, &tracker, &err), err);
    const nx_detection at = seen(100, 100, 0.9, 0);
    const nx_detection beside = seen(108, 104, 0.9, 0); /* IoU 0.62 */
    update(tracker, 0, &at, 1, &count);
    update(tracker, 100, &at, 1, &count);
    update(tracker, 200, &at, 1, &count);
    update(tracker, 300, &beside, 1, &count);
    assert_int_equal(count, 2);
    const nx_track *tracks = update(tracker, 400, &beside, 1, &count);
    assert_int_equal(count, 1);
    assert_int_equal(tracks[0].id, 1);
    nx_tracker_free(tracker);
}

static void a_long_gap_and_a_full_house_are_borne(void **state)
{
    (void)state;
    nx_tracker *tracker = made();
    nx_detection *many = calloc(NX_TRACKER_MAX_DETECTIONS, sizeof *many);
    size_t count = 0;
    nx_error err = {0};
    assert_non_null(many);
    for (int round = 0; round < 3; round++) { /* each elsewhere: the lost ones make room */
        for (int i = 0; i < NX_TRACKER_MAX_DETECTIONS; i++) {
            many[i] = seen(50.0 * (i % 64) + 4000.0 * round, 120.0 * (i / 64), 0.9, 0);
        }
        update(tracker, 200 * round, many, NX_TRACKER_MAX_DETECTIONS, &count);
        assert_int_equal(count, NX_TRACKER_MAX_TRACKS);
        const nx_track *tracks =
            update(tracker, 200 * round + 50, many, NX_TRACKER_MAX_DETECTIONS, &count);
        assert_int_equal(count, NX_TRACKER_MAX_TRACKS);
        assert_int_equal(tracks[0].state, NX_TRACK_CONFIRMED);
        assert_int_equal(tracks[0].id, round * NX_TRACKER_MAX_TRACKS + 1);
    }
    nx_assert_ok(nx_tracker_update(tracker, NX_TRACKER_MAX_TIME_NS, NULL, 0, &err), err);
    nx_tracker_tracks(tracker, &count);
    assert_int_equal(count, 0);
    free(many);
    nx_tracker_free(tracker);
}

static void bad_input_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    nx_tracker *tracker = made();
    nx_error err = {0};
    size_t count = 0;
    nx_buffer before = NX_BUFFER_INIT;
    nx_buffer after = NX_BUFFER_INIT;
    const nx_detection good = seen(100, 100, 0.9, 0);
    update(tracker, 100, &good, 1, &count);
    nx_tracker_save(tracker, &before);
    nx_detection bad[] = {good, good, good, good, good};
    bad[0].x1 = (float)NAN;
    bad[1].x2 = bad[1].x1;
    bad[2].class_id = -1;
    bad[3].confidence = 1.5F;
    bad[4].y2 = 2e6F;
    for (size_t i = 0; i < NX_COUNT(bad); i++) {
        assert_int_equal(nx_tracker_update(tracker, 200 * MS, &bad[i], 1, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, "detection 0");
    }
    assert_int_equal(nx_tracker_update(tracker, 100 * MS, &good, 1, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "order of their times");
    assert_int_equal(nx_tracker_update(tracker, INT64_MAX, &good, 1, &err), NX_ERR_INVALID);
    assert_int_equal(nx_tracker_update(tracker, 200 * MS, &good, 1025, &err), NX_ERR_TOO_LARGE);
    nx_tracker_save(tracker, &after);
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, before.size);
    nx_tracker_options options = nx_tracker_defaults();
    nx_tracker *none = NULL;
    options.gate_low = 1.5;
    assert_int_equal(nx_tracker_new(&options, &none, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "gate_low is 1.5");
    options = nx_tracker_defaults();
    options.confirm = 0;
    assert_int_equal(nx_tracker_new(&options, &none, &err), NX_ERR_INVALID);
    options = nx_tracker_defaults();
    options.lost_ns = -1;
    assert_int_equal(nx_tracker_new(&options, &none, &err), NX_ERR_INVALID);
    assert_null(none);
    nx_buffer_free(&before);
    nx_buffer_free(&after);
    nx_tracker_free(tracker);
    nx_tracker_free(NULL);
}

/* --- save and load ------------------------------------------------------------------------------
 */

/* A crowd that comes, wobbles, hides and goes, the same at each call. */
static size_t crowd(int frame, nx_detection *out)
{
    size_t count = 0;
    for (int who = 0; who < 8; who++) {
        uint32_t noise = (uint32_t)(frame * 8 + who) * 2654435761U;
        if (frame < who * 3 || (noise >> 28) == 0) {
            continue;
        }
        double x = 40.0 * who + frame * (who % 3 - 1) * 5 + (noise >> 8) % 5;
        double confidence = 0.3 + 0.1 * ((noise >> 16) % 7);
        out[count++] = seen(x + 200, 100 + 30.0 * who, confidence, who % 4 == 0);
    }
    return count;
}

static nx_buffer saved(const nx_tracker *tracker)
{
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_tracker_save(tracker, &bytes);
    assert_false(bytes.failed);
    return bytes;
}

static void a_loaded_tracker_goes_on_to_the_byte(void **state)
{
    (void)state;
    nx_detection detections[8];
    nx_error err = {0};
    for (int stop = 0; stop < 60; stop += 7) {
        nx_tracker *whole = made();
        nx_tracker *parted = made();
        size_t count = 0;
        for (int frame = 0; frame < 60; frame++) {
            size_t n = crowd(frame, detections);
            if (frame == stop) {
                nx_buffer bytes = saved(parted);
                nx_tracker_free(parted);
                nx_assert_ok(nx_tracker_load(bytes.data, bytes.size, &parted, &err), err);
                nx_buffer_free(&bytes);
            }
            update(whole, 40 * frame, detections, n, &count);
            update(parted, 40 * frame, detections, n, &count);
        }
        size_t other_count = 0;
        const nx_track *tracks = nx_tracker_tracks(whole, &count);
        const nx_track *others = nx_tracker_tracks(parted, &other_count);
        assert_true(count > 0 && count == other_count);
        assert_int_equal(tracks[count - 1].id, others[count - 1].id);
        nx_buffer a = saved(whole);
        nx_buffer b = saved(parted);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
        nx_buffer_free(&a);
        nx_buffer_free(&b);
        nx_tracker_free(whole);
        nx_tracker_free(parted);
    }
}

static void a_prediction_is_not_part_of_the_state(void **state)
{
    (void)state;
    nx_detection detections[8];
    nx_tracker *tracker = made();
    size_t count = 0;
    for (int frame = 0; frame < 20; frame++) {
        update(tracker, 40 * frame, detections, crowd(frame, detections), &count);
    }
    nx_buffer before = saved(tracker);
    nx_tracker_predict(tracker, 5000 * MS, &count);
    nx_buffer after = saved(tracker);
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, before.size);
    nx_buffer_free(&before);
    nx_buffer_free(&after);
    nx_tracker_free(tracker);
}

static void damaged_states_are_refused(void **state)
{
    (void)state;
    nx_detection detections[8];
    nx_tracker *tracker = made();
    nx_tracker *loaded = NULL;
    nx_error err = {0};
    size_t count = 0;
    for (int frame = 0; frame < 30; frame++) {
        update(tracker, 40 * frame, detections, crowd(frame, detections), &count);
    }
    nx_buffer bytes = saved(tracker);
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_equal(nx_tracker_load(bytes.data, size, &loaded, &err), NX_ERR_CORRUPT);
        assert_null(loaded);
    }
    nx_buffer_append_char(&bytes, 0);
    assert_int_equal(nx_tracker_load(bytes.data, bytes.size, &loaded, &err), NX_ERR_CORRUPT);
    bytes.size--;
    /* Any byte set to 0xff either changes a number, or is refused: never more than that. */
    for (size_t i = 0; i < bytes.size; i++) {
        char kept = bytes.data[i];
        bytes.data[i] = (char)0xff;
        if (nx_tracker_load(bytes.data, bytes.size, &loaded, &err) == NX_OK) {
            update(loaded, 2000, detections, crowd(31, detections), &count);
        }
        nx_tracker_free(loaded);
        loaded = NULL;
        bytes.data[i] = kept;
    }
    bytes.data[8]++;
    assert_int_equal(nx_tracker_load(bytes.data, bytes.size, &loaded, &err), NX_ERR_UNSUPPORTED);
    nx_buffer_free(&bytes);
    nx_tracker_free(tracker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_track_is_confirmed_at_its_second_sighting),
        cmocka_unit_test(a_tentative_track_ends_when_it_is_missed),
        cmocka_unit_test(weak_detections_keep_tracks_and_begin_none),
        cmocka_unit_test(lost_tracks_are_found_again_until_their_time_is_up),
        cmocka_unit_test(classes_are_tracked_apart),
        cmocka_unit_test(two_who_cross_keep_their_ids),
        cmocka_unit_test(every_third_frame_is_enough),
        cmocka_unit_test(a_held_frame_leaves_everybody_where_he_was),
        cmocka_unit_test(a_duplicate_goes),
        cmocka_unit_test(a_long_gap_and_a_full_house_are_borne),
        cmocka_unit_test(bad_input_is_refused_and_changes_nothing),
        cmocka_unit_test(a_loaded_tracker_goes_on_to_the_byte),
        cmocka_unit_test(a_prediction_is_not_part_of_the_state),
        cmocka_unit_test(damaged_states_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
