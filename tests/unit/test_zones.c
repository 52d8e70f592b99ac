#include "testing.h"

#include "analytics/zones.h"

#include <math.h>

/* A picture of 1000x500; its left half is a zone, and a line goes down its middle. */
#define WIDTH  1000
#define HEIGHT 500
#define MS     INT64_C(1000000)

static nx_zone left_half = {
    .name = "left", .points = {{0, 0}, {0.5, 0}, {0.5, 1}, {0, 1}}, .point_count = 4};
static nx_line middle = {.name = "middle", .from = {0.5, 0.8}, .to = {0.5, 0.2}};
static const nx_zones_spec both = {&left_half, 1, &middle, 1};

static nx_zones *made(const nx_zones_spec *spec)
{
    nx_zones *zones = NULL;
    nx_error err = {0};
    const nx_zones_options options = nx_zones_defaults();
    nx_assert_ok(nx_zones_new(spec, &options, &zones, &err), err);
    return zones;
}

/* A track whose box stands at x, y. */
static nx_track at(uint64_t id, double x, double y)
{
    return (nx_track){
        .id = id, .state = NX_TRACK_CONFIRMED, .x1 = x - 20, .x2 = x + 20, .y1 = y - 100, .y2 = y};
}

static void update(nx_zones *zones, int64_t ms, const nx_track *tracks, size_t count)
{
    nx_error err = {0};
    nx_assert_ok(nx_zones_update(zones, ms * MS, WIDTH, HEIGHT, tracks, count, &err), err);
}

static void walk(nx_zones *zones, uint64_t id, int64_t ms, double x, double y)
{
    const nx_track track = at(id, x, y);
    update(zones, ms, &track, 1);
}

static void assert_line(const nx_zones *zones, uint64_t in, uint64_t out)
{
    nx_line_totals totals = nx_zones_line(zones, 0);
    assert_int_equal(totals.in, in);
    assert_int_equal(totals.out, out);
}

static void who_walks_through_is_counted_once_by_the_feet(void **state)
{
    (void)state;
    nx_zones *zones = made(&both);
    size_t count = 0;
    /* The line is looked along from below to above: left to right is rising x. */
    for (int i = 0; i <= 20; i++) {
        walk(zones, 7, 100 * i, 300 + 20 * i, 250);
        const nx_zone_event *events = nx_zones_events(zones, &count);
        if (i == 0) {
            assert_int_equal(count, 1);
            assert_int_equal(events[0].kind, NX_ZONE_ENTER);
        } else if (i == 11) { /* x = 520, the first beyond 500 and the margin of 5 */
            assert_int_equal(count, 2);
            assert_int_equal(events[0].kind, NX_ZONE_EXIT);
            assert_int_equal(events[0].dwell_ns, 1100 * MS);
            assert_int_equal(events[1].kind, NX_LINE_IN);
            assert_true(events[1].track_id == 7 && events[1].place == 0);
        } else {
            assert_int_equal(count, 0);
        }
    }
    assert_line(zones, 1, 0);
    nx_zone_totals zone = nx_zones_zone(zones, 0);
    assert_true(zone.entries == 1 && zone.exits == 1 && zone.inside == 0 && zone.visitors == 1);
    assert_true(zone.dwell_ns == 1100 * MS && zone.longest_ns == 1100 * MS);
    for (int i = 21; i <= 41; i++) { /* and back */
        walk(zones, 7, 100 * i, 700 - 20 * (i - 21), 250);
    }
    assert_line(zones, 1, 1);
    zone = nx_zones_zone(zones, 0);
    assert_true(zone.entries == 2 && zone.exits == 1 && zone.inside == 1 && zone.visitors == 1);
    nx_zones_free(zones);
}

static void who_trembles_on_the_line_counts_once(void **state)
{
    (void)state;
    nx_zones *zones = made(&both);
    walk(zones, 1, 0, 480, 250);
    for (int i = 1; i < 50; i++) { /* 4 pixels to both sides; the margin is 5 */
        walk(zones, 1, 100 * i, i % 2 == 0 ? 496 : 504, 250);
        assert_line(zones, 0, 0);
    }
    for (int i = 50; i < 100; i++) { /* beyond, and trembling back to the line */
        walk(zones, 1, 100 * i, i % 2 == 0 ? 506 : 497, 250);
    }
    assert_line(zones, 1, 0);
    nx_zone_totals zone = nx_zones_zone(zones, 0);
    assert_true(zone.entries == 1 && zone.exits == 1);
    nx_zones_free(zones);
}

static void who_walks_around_the_line_does_not_cross_it(void **state)
{
    (void)state;
    nx_zones *zones = made(&both);
    walk(zones, 1, 0, 450, 480); /* it ends at y = 400 */
    walk(zones, 1, 100, 550, 480);
    assert_line(zones, 0, 0);
    walk(zones, 1, 200, 550, 300); /* back through it */
    walk(zones, 1, 300, 450, 300);
    assert_line(zones, 0, 1);
    nx_zones_free(zones);
}

static void only_confirmed_tracks_count(void **state)
{
    (void)state;
    nx_zones *zones = made(&both);
    for (int i = 0; i < 10; i++) {
        nx_track tracks[] = {at(0, 400 + 20 * i, 250), at(3, 400 + 20 * i, 250)};
        tracks[0].state = NX_TRACK_TENTATIVE;
        tracks[1].state = NX_TRACK_LOST;
        update(zones, 100 * i, tracks, 2);
    }
    assert_line(zones, 0, 0);
    assert_int_equal(nx_zones_zone(zones, 0).entries, 0);
    nx_zones_free(zones);
}

static void classes_are_counted_apart_and_left_out(void **state)
{
    (void)state;
    nx_zone people = left_half;
    people.classes = (nx_zone_filter){.only = true, .mask = {1}};
    const nx_zones_spec spec = {&people, 1, &middle, 1};
    nx_zones *zones = made(&spec);
    for (int i = 0; i < 2; i++) {
        nx_track tracks[] = {at(1, 400 + 200 * i, 200), at(2, 420 + 200 * i, 300),
                             at(3, 440 + 200 * i, 300)};
        tracks[0].class_id = 7;
        tracks[2].class_id = 7;
        update(zones, 100 * i, tracks, 3);
    }
    nx_line_totals line = nx_zones_line(zones, 0);
    assert_int_equal(line.in, 3);
    assert_int_equal(line.class_count, 2);
    assert_true(line.classes[0].class_id == 0 && line.classes[0].in == 1);
    assert_true(line.classes[1].class_id == 7 && line.classes[1].in == 2);
    nx_zone_totals zone = nx_zones_zone(zones, 0);
    assert_true(zone.entries == 1 && zone.class_count == 1 && zone.classes[0].class_id == 0);
    nx_zones_free(zones);
}

static void dwell_time_is_summed_for_each_visitor(void **state)
{
    (void)state;
    nx_zones *zones = made(&both);
    /* One stays for 3 s; another for 1 s, is outside for 1 s and comes back for 1 s. */
    for (int i = 0; i <= 30; i++) {
        bool out = i >= 10 && i < 20;
        const nx_track tracks[] = {at(1, 100, 250), at(2, out ? 900 : 200, 250)};
        update(zones, 100 * i, tracks, 2);
    }
    nx_zone_totals zone = nx_zones_zone(zones, 0);
    assert_int_equal(zone.visitors, 2);
    assert_int_equal(zone.entries, 3);
    assert_int_equal(zone.inside, 2);
    assert_int_equal(zone.longest_ns, 3000 * MS);
    assert_int_equal(zone.dwell_ns, 3000 * MS + 1000 * MS + 1000 * MS);
    nx_zones_free(zones);
}

static void who_is_not_seen_is_not_inside_and_ends_in_time(void **state)
{
    (void)state;
    nx_zones *zones = made(&both);
    walk(zones, 1, 0, 100, 250);
    update(zones, 1000, NULL, 0);
    nx_zone_totals zone = nx_zones_zone(zones, 0);
    assert_true(zone.inside == 0 && zone.ended == 0);
    walk(zones, 1, 2000, 100, 250); /* was there all the time */
    zone = nx_zones_zone(zones, 0);
    assert_true(zone.inside == 1 && zone.entries == 1 && zone.dwell_ns == 2000 * MS);
    update(zones, 12000, NULL, 0);
    assert_int_equal(nx_zones_zone(zones, 0).ended, 0);
    update(zones, 12001, NULL, 0);
    size_t count = 0;
    const nx_zone_event *events = nx_zones_events(zones, &count);
    assert_int_equal(count, 1);
    assert_true(events[0].kind == NX_ZONE_END && events[0].track_id == 1);
    assert_int_equal(events[0].dwell_ns, 2000 * MS);
    zone = nx_zones_zone(zones, 0);
    assert_true(zone.ended == 1 && zone.entries == zone.exits + zone.ended);
    nx_zones_free(zones);
}

static void a_picture_of_another_shape_keeps_its_distances(void **state)
{
    (void)state;
    /* A horizontal line in a wide picture: the margin is a hundredth of the height, 5 pixels. */
    nx_line flat = {.name = "flat", .from = {0, 0.5}, .to = {1, 0.5}};
    const nx_zones_spec spec = {NULL, 0, &flat, 1};
    nx_zones *zones = made(&spec);
    walk(zones, 1, 0, 500, 240);
    walk(zones, 1, 100, 500, 254);
    assert_line(zones, 0, 0);
    walk(zones, 1, 200, 500, 256); /* looking to the right, down is from left to right */
    assert_line(zones, 1, 0);
    nx_zones_free(zones);
}

static void hollow_polygons_are_outside_where_they_are_hollow(void **state)
{
    (void)state;
    /* A U: the gap between its arms is outside. */
    nx_zone u = {.name = "u",
                 .points = {{0.1, 0.1},
                            {0.3, 0.1},
                            {0.3, 0.7},
                            {0.7, 0.7},
                            {0.7, 0.1},
                            {0.9, 0.1},
                            {0.9, 0.9},
                            {0.1, 0.9}},
                 .point_count = 8};
    const nx_zones_spec spec = {&u, 1, NULL, 0};
    static const struct {
        double x, y;
        bool inside;
    } cases[] = {{0.2, 0.5, true}, {0.5, 0.5, false},  {0.8, 0.5, true},
                 {0.5, 0.8, true}, {0.5, 0.95, false}, {0.05, 0.8, false}};
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_zones *zones = made(&spec);
        walk(zones, 1, 0, cases[i].x * WIDTH, cases[i].y * HEIGHT);
        assert_int_equal(nx_zones_zone(zones, 0).inside, cases[i].inside);
        nx_zones_free(zones);
    }
}

static void a_crowd_beyond_the_limit_forgets_the_longest_unseen(void **state)
{
    (void)state;
    nx_zones *zones = made(&both);
    for (uint64_t id = 1; id <= NX_ZONES_MAX_TRACKS + 10; id++) {
        walk(zones, id, (int64_t)id, 100, 250);
    }
    nx_zone_totals zone = nx_zones_zone(zones, 0);
    assert_int_equal(zone.entries, NX_ZONES_MAX_TRACKS + 10);
    assert_int_equal(zone.ended, 10);
    nx_zones_free(zones);
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    nx_zones *zones = made(&both);
    nx_error err = {0};
    nx_track track = at(1, 100, 250);
    update(zones, 100, NULL, 0);
    assert_int_equal(nx_zones_update(zones, 100 * MS, WIDTH, HEIGHT, &track, 1, &err),
                     NX_ERR_INVALID);
    assert_int_equal(nx_zones_update(zones, 200 * MS, 0, HEIGHT, &track, 1, &err), NX_ERR_INVALID);
    track.y2 = (double)NAN;
    assert_int_equal(nx_zones_update(zones, 200 * MS, WIDTH, HEIGHT, &track, 1, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "track 0");
    nx_zones_free(zones);
    nx_zones_options options = nx_zones_defaults();
    options.hysteresis = 0.6;
    assert_int_equal(nx_zones_new(&both, &options, &zones, &err), NX_ERR_INVALID);
    options = nx_zones_defaults();
    options.forget_ns = -1;
    assert_int_equal(nx_zones_new(&both, &options, &zones, &err), NX_ERR_INVALID);
    nx_line point = {.name = "point", .from = {0.5, 0.5}, .to = {0.5, 0.5}};
    const nx_zones_spec bad = {&left_half, 1, &point, 1};
    options = nx_zones_defaults();
    assert_int_equal(nx_zones_new(&bad, &options, &zones, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "lines[0] (point)");
    assert_null(zones);
    nx_zones_free(NULL);
}

/* --- save and load ------------------------------------------------------------------------------
 */

static nx_buffer saved(const nx_zones *zones)
{
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_zones_save(zones, &bytes);
    assert_false(bytes.failed);
    return bytes;
}

static void loaded_zones_go_on_to_the_byte(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_zones *whole = made(&both);
    nx_zones *parted = made(&both);
    for (int i = 0; i < 100; i++) {
        nx_track tracks[5];
        size_t count = 0;
        for (int who = 0; who < 5; who++) {
            if ((i + who) % 9 != 0) {
                double x = 500 + 400 * sin(0.1 * i * (who + 1));
                tracks[count] = at((uint64_t)who + 1 + (uint64_t)(i / 50) * 3, x, 60.0 * who + 100);
                tracks[count++].class_id = who;
            }
        }
        nx_buffer bytes = saved(parted);
        nx_zones_free(parted);
        nx_assert_ok(nx_zones_load(&both, bytes.data, bytes.size, &parted, &err), err);
        nx_buffer_free(&bytes);
        update(whole, 100 * i, tracks, count);
        update(parted, 100 * i, tracks, count);
    }
    nx_buffer a = saved(whole);
    nx_buffer b = saved(parted);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    assert_true(nx_zones_line(whole, 0).in > 5);
    assert_int_equal(nx_zones_line(whole, 0).in, nx_zones_line(parted, 0).in);
    nx_buffer_free(&b);
    /* damage */
    nx_zones_free(parted);
    for (size_t size = 0; size < a.size; size++) {
        assert_int_equal(nx_zones_load(&both, a.data, size, &parted, &err), NX_ERR_CORRUPT);
        assert_null(parted);
    }
    for (size_t i = 0; i < a.size; i++) {
        char kept = a.data[i];
        a.data[i] = (char)0xff;
        if (nx_zones_load(&both, a.data, a.size, &parted, &err) == NX_OK) {
            const nx_track track = at(3, 100, 250);
            nx_status status = nx_zones_update(parted, 20000 * MS, WIDTH, HEIGHT, &track, 1, &err);
            assert_true(status == NX_OK || status == NX_ERR_INVALID); /* before its own time */
        }
        nx_zones_free(parted);
        parted = NULL;
        a.data[i] = kept;
    }
    nx_line moved = middle;
    moved.to.x = 0.6;
    const nx_zones_spec other = {&left_half, 1, &moved, 1};
    assert_int_equal(nx_zones_load(&other, a.data, a.size, &parted, &err), NX_ERR_CONFLICT);
    a.data[8] = 9;
    assert_int_equal(nx_zones_load(&both, a.data, a.size, &parted, &err), NX_ERR_UNSUPPORTED);
    nx_buffer_free(&a);
    nx_zones_free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_walks_through_is_counted_once_by_the_feet),
        cmocka_unit_test(who_trembles_on_the_line_counts_once),
        cmocka_unit_test(who_walks_around_the_line_does_not_cross_it),
        cmocka_unit_test(only_confirmed_tracks_count),
        cmocka_unit_test(classes_are_counted_apart_and_left_out),
        cmocka_unit_test(dwell_time_is_summed_for_each_visitor),
        cmocka_unit_test(who_is_not_seen_is_not_inside_and_ends_in_time),
        cmocka_unit_test(a_picture_of_another_shape_keeps_its_distances),
        cmocka_unit_test(hollow_polygons_are_outside_where_they_are_hollow),
        cmocka_unit_test(a_crowd_beyond_the_limit_forgets_the_longest_unseen),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(loaded_zones_go_on_to_the_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
