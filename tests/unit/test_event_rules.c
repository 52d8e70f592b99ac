#include "testing.h"

#include "analytics/event_rules.h"
#include "eval/mot_file.h"

#include <math.h>

/* A picture of 1000x500; its left half is a zone, and a line goes down its middle. */
#define WIDTH  1000
#define HEIGHT 500
#define MS     INT64_C(1000000)
#define S      (1000 * MS)

static nx_zone left_half = {
    .name = "left", .points = {{0, 0}, {0.5, 0}, {0.5, 1}, {0, 1}}, .point_count = 4};
static nx_line middle = {.name = "middle", .from = {0.5, 1}, .to = {0.5, 0}};
static const nx_zones_spec places = {&left_half, 1, &middle, 1};
static const nx_zones_spec nowhere = {0};

/* Zones and rules that look at the same frames. */
typedef struct scene {
    nx_zones *zones;
    nx_event_rules *rules;
    uint32_t width, height;
    const nx_event *events; /* of the last frame */
    size_t count;
} scene;

static scene made(const nx_zones_spec *where, const nx_event_rule *rules, size_t count)
{
    scene s = {.width = WIDTH, .height = HEIGHT};
    nx_error err = {0};
    const nx_zones_options options = nx_zones_defaults();
    const nx_event_rules_spec spec = {(nx_event_rule *)rules, count};
    nx_assert_ok(nx_zones_new(where, &options, &s.zones, &err), err);
    nx_assert_ok(nx_event_rules_new(&spec, where, &s.rules, &err), err);
    return s;
}

static void end(scene *s)
{
    nx_zones_free(s->zones);
    nx_event_rules_free(s->rules);
}

static void look(scene *s, int64_t ms, const nx_track *tracks, size_t count)
{
    nx_error err = {0};
    nx_assert_ok(nx_zones_update(s->zones, ms * MS, s->width, s->height, tracks, count, &err), err);
    nx_assert_ok(nx_event_rules_update(s->rules, ms * MS, s->zones, tracks, count, &err), err);
    s->events = nx_event_rules_events(s->rules, &s->count);
}

/* A track whose box stands at x, y, and was seen at that time. */
static nx_track at(uint64_t id, double x, double y, int64_t ms)
{
    return (nx_track){.id = id,
                      .state = NX_TRACK_CONFIRMED,
                      .confidence = 0.75F,
                      .x1 = x - 20,
                      .x2 = x + 20,
                      .y1 = y - 100,
                      .y2 = y,
                      .seen_ns = ms * MS};
}

static void one(scene *s, uint64_t id, int64_t ms, double x)
{
    const nx_track track = at(id, x, 250, ms);
    look(s, ms, &track, 1);
}

static void a_line_tells_of_its_direction_and_classes(void **state)
{
    (void)state;
    const nx_event_rule rules[] = {
        {.name = "both", .kind = NX_EVENT_LINE_CROSSED},
        {.name = "in", .kind = NX_EVENT_LINE_CROSSED, .direction = NX_EVENT_IN},
        {.name = "out", .kind = NX_EVENT_LINE_CROSSED, .direction = NX_EVENT_OUT},
        {.name = "cars",
         .kind = NX_EVENT_LINE_CROSSED,
         .classes = {.only = true, .mask = {1 << 2}}},
    };
    scene s = made(&places, rules, NX_COUNT(rules));
    one(&s, 7, 0, 400);
    assert_int_equal(s.count, 0);
    one(&s, 7, 100, 600);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.events[0].rule, 0);
    assert_int_equal(s.events[1].rule, 1);
    assert_true(s.events[1].in && s.events[1].track_id == 7 && s.events[1].class_id == 0);
    assert_true(s.events[1].kind == NX_EVENT_LINE_CROSSED && s.events[1].time_ns == 100 * MS);
    assert_true(s.events[1].x1 == 580 && s.events[1].y2 == 250 && s.events[1].confidence == 0.75F);
    nx_track car = at(9, 600, 250, 200);
    car.class_id = 2;
    look(&s, 200, &car, 1);
    car = at(9, 400, 250, 300);
    car.class_id = 2;
    look(&s, 300, &car, 1);
    assert_int_equal(s.count, 3); /* both, out, cars */
    assert_true(!s.events[0].in && s.events[1].rule == 2 && s.events[2].rule == 3);
    assert_int_equal(s.events[2].class_id, 2);
    end(&s);
}

static void a_zone_tells_of_coming_and_going(void **state)
{
    (void)state;
    const nx_event_rule rules[] = {
        {.name = "came", .kind = NX_EVENT_ZONE_ENTERED},
        {.name = "went", .kind = NX_EVENT_ZONE_LEFT},
    };
    scene s = made(&places, rules, NX_COUNT(rules));
    one(&s, 1, 0, 700);
    assert_int_equal(s.count, 0);
    one(&s, 1, 1000, 300);
    assert_true(s.count == 1 && s.events[0].kind == NX_EVENT_ZONE_ENTERED);
    one(&s, 1, 3000, 700);
    assert_true(s.count == 1 && s.events[0].kind == NX_EVENT_ZONE_LEFT);
    assert_int_equal(s.events[0].duration_ns, 2 * S);
    /* one that ends inside has not left */
    one(&s, 2, 4000, 300);
    assert_int_equal(s.count, 1);
    look(&s, 30000, NULL, 0);
    assert_int_equal(s.count, 0);
    end(&s);
}

static void who_loiters_is_told_of_once_for_each_stay(void **state)
{
    (void)state;
    const nx_event_rule rule = {.name = "waits", .kind = NX_EVENT_LOITERING, .time_ns = 2 * S};
    scene s = made(&places, &rule, 1);
    int told = 0;
    for (int i = 0; i <= 50; i++) {
        one(&s, 1, 100 * i, 300);
        assert_int_equal(s.count, i == 20);
        told += (int)s.count;
    }
    assert_int_equal(told, 1);
    one(&s, 1, 5100, 700);
    for (int i = 0; i <= 30; i++) {
        one(&s, 1, 5200 + 100 * i, 300);
        assert_int_equal(s.count, i == 20);
    }
    /* not seen, it is not told of though its stay goes on */
    one(&s, 2, 9000, 300);
    look(&s, 11500, NULL, 0);
    assert_int_equal(s.count, 0);
    one(&s, 2, 11600, 300);
    assert_true(s.count == 1 && s.events[0].track_id == 2);
    assert_int_equal(s.events[0].duration_ns, 2600 * MS);
    end(&s);
}

/* How many stand in the left half. */
static void crowd(scene *s, int64_t ms, size_t inside)
{
    nx_track tracks[8];
    for (size_t i = 0; i < NX_COUNT(tracks); i++) {
        tracks[i] = at(i + 1, i < inside ? 300 : 700, 100 + 50 * (double)i, ms);
    }
    look(s, ms, tracks, NX_COUNT(tracks));
}

static void a_count_does_not_chatter(void **state)
{
    (void)state;
    const nx_event_rule rule = {
        .name = "crowd", .kind = NX_EVENT_COUNT_OVER, .over = 4, .until = 2, .time_ns = S};
    scene s = made(&places, &rule, 1);
    for (int i = 0; i < 40; i++) { /* up and down before it has held */
        crowd(&s, 100 * i, i % 5 == 4 ? 4 : 6);
        assert_int_equal(s.count, 0);
    }
    for (int i = 0; i <= 20; i++) {
        crowd(&s, 4000 + 100 * i, 5);
        assert_int_equal(s.count, i == 10);
    }
    assert_true(nx_event_rules_get_spec(s.rules)->count == 1);
    for (int i = 0; i < 40; i++) { /* not few enough */
        crowd(&s, 6100 + 100 * i, 3 + (size_t)i % 4);
        assert_int_equal(s.count, 0);
    }
    for (int i = 0; i <= 20; i++) {
        crowd(&s, 10100 + 100 * i, 2);
        assert_int_equal(s.count, i == 10);
        if (i == 10) {
            assert_true(s.events[0].kind == NX_EVENT_COUNT_BACK && s.events[0].count == 2);
            assert_int_equal(s.events[0].duration_ns, 6100 * MS);
            assert_int_equal(s.events[0].class_id, -1);
        }
    }
    end(&s);
}

static void a_count_without_zone_looks_at_the_whole_picture(void **state)
{
    (void)state;
    const nx_event_rule rule = {
        .name = "cars",
        .kind = NX_EVENT_COUNT_OVER,
        .place = -1,
        .over = 1,
        .until = 1,
        .classes = {.only = true, .mask = {1 << 2}},
    };
    scene s = made(&nowhere, &rule, 1);
    nx_track tracks[] = {at(1, 100, 200, 0), at(2, 500, 200, 0), at(3, 900, 200, 0)};
    look(&s, 0, tracks, 3);
    assert_int_equal(s.count, 0);
    tracks[0].class_id = tracks[1].class_id = 2;
    tracks[1].state = NX_TRACK_LOST; /* a moment ago it was there */
    look(&s, 500, tracks, 3);
    assert_true(s.count == 1 && s.events[0].kind == NX_EVENT_COUNT_OVER && s.events[0].count == 2);
    tracks[0].seen_ns = 1500 * MS;
    look(&s, 1500, tracks, 3);
    assert_true(s.count == 1 && s.events[0].kind == NX_EVENT_COUNT_BACK && s.events[0].count == 1);
    end(&s);
}

static void an_object_appears_once_and_the_rule_rests(void **state)
{
    (void)state;
    const nx_event_rule rules[] = {
        {.name = "sure",
         .kind = NX_EVENT_OBJECT_APPEARED,
         .place = -1,
         .confidence = 0.7,
         .cooldown_ns = 5 * S},
        {.name = "left", .kind = NX_EVENT_OBJECT_APPEARED},
    };
    scene s = made(&places, rules, NX_COUNT(rules));
    nx_track unsure = at(1, 700, 250, 0);
    unsure.confidence = 0.5F;
    look(&s, 0, &unsure, 1);
    assert_int_equal(s.count, 0);
    one(&s, 1, 100, 700); /* sure now */
    assert_true(s.count == 1 && s.events[0].kind == NX_EVENT_OBJECT_APPEARED);
    one(&s, 1, 200, 300); /* in the left half now */
    assert_true(s.count == 1 && s.events[0].rule == 1 && s.events[0].track_id == 1);
    for (uint64_t id = 2; id < 5; id++) { /* others come while the rule rests */
        one(&s, id, (int64_t)id * 1000, 700);
        assert_int_equal(s.count, 0);
    }
    one(&s, 4, 9000, 700); /* one of these is not told of later */
    assert_int_equal(s.count, 0);
    one(&s, 5, 9100, 700);
    assert_true(s.count == 1 && s.events[0].track_id == 5 && s.events[0].silent == 3);
    one(&s, 6, 15000, 700);
    assert_true(s.count == 1 && s.events[0].silent == 0);
    end(&s);
}

static void camera(scene *s, int64_t ms, bool live)
{
    nx_error err = {0};
    nx_assert_ok(nx_event_rules_camera(s->rules, ms * MS, live, &err), err);
    s->events = nx_event_rules_events(s->rules, &s->count);
}

static void a_camera_that_is_lost_for_long_is_told_of(void **state)
{
    (void)state;
    const nx_event_rule rule = {
        .name = "camera", .kind = NX_EVENT_CAMERA_LOST, .place = -1, .time_ns = 5 * S};
    scene s = made(&nowhere, &rule, 1);
    camera(&s, 0, true);
    camera(&s, 1000, false);
    camera(&s, 3000, true); /* too short to be told of */
    camera(&s, 4000, false);
    assert_int_equal(s.count, 0);
    camera(&s, 8999, false);
    assert_int_equal(s.count, 0);
    camera(&s, 9000, false);
    assert_true(s.count == 1 && s.events[0].kind == NX_EVENT_CAMERA_LOST);
    assert_int_equal(s.events[0].duration_ns, 5 * S);
    camera(&s, 20000, false);
    assert_int_equal(s.count, 0);
    camera(&s, 21000, true);
    assert_true(s.count == 1 && s.events[0].kind == NX_EVENT_CAMERA_BACK);
    assert_int_equal(s.events[0].duration_ns, 17 * S);
    camera(&s, 22000, true);
    assert_int_equal(s.count, 0);
    end(&s);
    /* one that never came is lost from the first call on */
    s = made(&nowhere, &rule, 1);
    camera(&s, -7000, false);
    camera(&s, -2000, false);
    assert_true(s.count == 1 && s.events[0].kind == NX_EVENT_CAMERA_LOST);
    end(&s);
}

static void more_events_than_there_is_room_for_are_counted(void **state)
{
    (void)state;
    static nx_track tracks[NX_TRACKER_MAX_TRACKS];
    const nx_event_rule rule = {.name = "all", .kind = NX_EVENT_OBJECT_APPEARED, .place = -1};
    scene s = made(&nowhere, &rule, 1);
    for (size_t i = 0; i < NX_COUNT(tracks); i++) {
        tracks[i] = at(NX_COUNT(tracks) - i, 100, 100, 0); /* ids in any order */
    }
    look(&s, 0, tracks, NX_COUNT(tracks));
    assert_int_equal(s.count, NX_EVENTS_MAX);
    assert_int_equal(nx_event_rules_missed(s.rules), NX_COUNT(tracks) - NX_EVENTS_MAX);
    look(&s, 100, tracks, NX_COUNT(tracks));
    assert_int_equal(s.count, 0);
    end(&s);
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_event_rules *rules = NULL;
    const nx_event_rule good = {.name = "a", .kind = NX_EVENT_ZONE_ENTERED};
    static const struct {
        nx_event_rule rule;
        const char *part;
    } cases[] = {
        {{.kind = NX_EVENT_ZONE_ENTERED}, "rules[1].name is empty"},
        {{.name = "a", .kind = NX_EVENT_ZONE_LEFT}, "rules[1].name is 'a', which another has"},
        {{.name = "b", .kind = NX_EVENT_COUNT_BACK}, "rules[1] (b): there is no such kind"},
        {{.name = "b", .kind = NX_EVENT_KINDS}, "there is no such kind"},
        {{.name = "b", .kind = NX_EVENT_ZONE_LEFT, .place = 1}, "no such zone"},
        {{.name = "b", .kind = NX_EVENT_LINE_CROSSED, .place = -1}, "no such line"},
        {{.name = "b", .kind = NX_EVENT_CAMERA_LOST, .place = 0}, "no such zone"},
        {{.name = "b", .kind = NX_EVENT_LOITERING, .time_ns = -1}, "times are 0 to 86400"},
        {{.name = "b", .kind = NX_EVENT_LOITERING, .cooldown_ns = INT64_MAX}, "times are 0"},
        {{.name = "b", .kind = NX_EVENT_OBJECT_APPEARED, .confidence = 1.1}, "confidence is 0"},
        {{.name = "b", .kind = NX_EVENT_COUNT_OVER, .over = 2, .until = 3}, "\"until\" must not"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_event_rule both[] = {good, cases[i].rule};
        const nx_event_rules_spec spec = {both, 2};
        assert_int_equal(nx_event_rules_new(&spec, &places, &rules, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, cases[i].part);
        assert_null(rules);
    }
    scene s = made(&places, &good, 1);
    const nx_track track = at(1, 100, 250, 100);
    look(&s, 100, &track, 1);
    assert_int_equal(nx_event_rules_update(s.rules, 100 * MS, s.zones, &track, 1, &err),
                     NX_ERR_INVALID);
    camera(&s, 7, true); /* on a clock of its own */
    assert_int_equal(nx_event_rules_camera(s.rules, 6 * MS, true, &err), NX_ERR_INVALID);
    assert_int_equal(nx_event_rules_update(s.rules, 200 * MS, NULL, &track, 1, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "rules for 1 and 1");
    assert_int_equal(
        nx_event_rules_update(s.rules, 200 * MS, s.zones, &track, NX_TRACKER_MAX_TRACKS + 1, &err),
        NX_ERR_INVALID);
    end(&s);
    nx_event_rules_free(NULL);
    nx_event_rules_spec_free(NULL);
}

static void kinds_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < NX_EVENT_KINDS; i++) {
        nx_event_kind found = NX_EVENT_KINDS;
        assert_true(nx_event_kind_find(nx_event_kind_name((nx_event_kind)i), &found));
        assert_int_equal(found, i);
    }
    nx_event_kind found = NX_EVENT_KINDS;
    assert_false(nx_event_kind_find("line", &found));
}

/* --- pedestrians of PETS 2009: 124 annotated frames, ten a second -------------------------------
 */

typedef struct told {
    int frame;
    nx_event_kind kind;
    uint64_t id; /* of the annotation; a count: how many */
} told;

/* What the annotations give, worked out from the boxes by another program: the feet against the
 * rectangle and the line, beyond a hundredth of the height. */
static const told truth[] = {
    {1, NX_EVENT_ZONE_ENTERED, 9},   {1, NX_EVENT_ZONE_ENTERED, 15},
    {14, NX_EVENT_ZONE_ENTERED, 19}, {27, NX_EVENT_LINE_CROSSED, 15},
    {31, NX_EVENT_LOITERING, 9},     {31, NX_EVENT_LOITERING, 15},
    {44, NX_EVENT_LOITERING, 19},    {51, NX_EVENT_ZONE_ENTERED, 11},
    {59, NX_EVENT_ZONE_ENTERED, 12}, {61, NX_EVENT_LINE_CROSSED, 19},
    {69, NX_EVENT_COUNT_OVER, 5},    {81, NX_EVENT_LOITERING, 11},
    {89, NX_EVENT_LOITERING, 12},    {97, NX_EVENT_ZONE_LEFT, 11},
    {99, NX_EVENT_ZONE_LEFT, 12},    {104, NX_EVENT_LINE_CROSSED, 19},
    {109, NX_EVENT_COUNT_BACK, 3},   {123, NX_EVENT_ZONE_LEFT, 19},
};

static const nx_event_rule street_rules[] = {
    {.name = "line", .kind = NX_EVENT_LINE_CROSSED},
    {.name = "came", .kind = NX_EVENT_ZONE_ENTERED},
    {.name = "went", .kind = NX_EVENT_ZONE_LEFT},
    {.name = "waits", .kind = NX_EVENT_LOITERING, .time_ns = 3 * S},
    {.name = "crowd", .kind = NX_EVENT_COUNT_OVER, .over = 4, .until = 3, .time_ns = S},
};

static scene street(void)
{
    static nx_zone zone = {.name = "middle",
                           .points = {{0.3, 0.4}, {0.7, 0.4}, {0.7, 0.8}, {0.3, 0.8}},
                           .point_count = 4};
    static nx_line line = {.name = "line", .from = {0.5, 1}, .to = {0.5, 0}};
    static const nx_zones_spec where = {&zone, 1, &line, 1};
    scene s = made(&where, street_rules, NX_COUNT(street_rules));
    s.width = 768;
    s.height = 576;
    return s;
}

static size_t boxes_of(const nx_mot_boxes *boxes, int frame, nx_track *out)
{
    size_t count = 0;
    for (size_t i = 0; i < boxes->count; i++) {
        const nx_mot_box *b = &boxes->items[i];
        if (b->frame == frame) {
            out[count++] = (nx_track){.id = (uint64_t)b->id,
                                      .state = NX_TRACK_CONFIRMED,
                                      .confidence = 0.9F,
                                      .x1 = b->x,
                                      .y1 = b->y,
                                      .x2 = b->x + b->width,
                                      .y2 = b->y + b->height,
                                      .seen_ns = frame * 100 * MS};
        }
    }
    return count;
}

static int compare_told(const void *a, const void *b)
{
    const told *x = a;
    const told *y = b;
    if (x->frame != y->frame) {
        return x->frame - y->frame;
    }
    return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : (int)x->kind - (int)y->kind;
}

static void real_pedestrians_give_the_events_of_the_ground_truth(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_mot_boxes boxes;
    nx_error err = {0};
    nx_track tracks[64];
    told seen[64];
    told wanted[NX_COUNT(truth)];
    size_t count = 0;
    nx_assert_ok(nx_mot_read(nx_shared_path("videos/pets09-s2l1-gt/gt.txt"), true, &boxes, &err),
                 err);
    scene s = street();
    for (int frame = 1; frame <= boxes.last_frame; frame++) {
        look(&s, frame * 100, tracks, boxes_of(&boxes, frame, tracks));
        for (size_t i = 0; i < s.count; i++) {
            assert_true(count < NX_COUNT(seen));
            seen[count++] =
                (told){frame, s.events[i].kind,
                       s.events[i].track_id != 0 ? s.events[i].track_id : s.events[i].count};
        }
    }
    memcpy(wanted, truth, sizeof truth);
    qsort(seen, count, sizeof seen[0], compare_told);
    qsort(wanted, NX_COUNT(wanted), sizeof wanted[0], compare_told);
    assert_int_equal(count, NX_COUNT(wanted));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(seen[i].frame, wanted[i].frame);
        assert_int_equal(seen[i].kind, wanted[i].kind);
        assert_int_equal(seen[i].id, wanted[i].id);
    }
    end(&s);
    nx_mot_boxes_free(&boxes);
}

/* The same people through the tracker, which sees each one twice before it counts. */
static void tracked_pedestrians_give_the_same_numbers_of_events(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_mot_boxes boxes;
    nx_error err = {0};
    nx_track tracks[64];
    nx_tracker *tracker = NULL;
    const nx_tracker_options options = nx_tracker_defaults();
    size_t counts[NX_EVENT_KINDS] = {0};
    nx_assert_ok(nx_mot_read(nx_shared_path("videos/pets09-s2l1-gt/gt.txt"), true, &boxes, &err),
                 err);
    nx_assert_ok(nx_tracker_new(&options, &tracker, &err), err);
    scene s = street();
    for (int frame = 1; frame <= boxes.last_frame; frame++) {
        nx_detection found[64];
        size_t count = boxes_of(&boxes, frame, tracks);
        for (size_t i = 0; i < count; i++) {
            found[i] = (nx_detection){.x1 = (float)tracks[i].x1,
                                      .y1 = (float)tracks[i].y1,
                                      .x2 = (float)tracks[i].x2,
                                      .y2 = (float)tracks[i].y2,
                                      .confidence = 0.9F};
        }
        nx_assert_ok(nx_tracker_update(tracker, frame * 100 * MS, found, count, &err), err);
        const nx_track *all = nx_tracker_tracks(tracker, &count);
        look(&s, frame * 100, all, count);
        for (size_t i = 0; i < s.count; i++) {
            counts[s.events[i].kind]++;
        }
    }
    for (size_t i = 0; i < NX_COUNT(truth); i++) {
        counts[truth[i].kind]--;
    }
    for (int i = 0; i < NX_EVENT_KINDS; i++) {
        assert_int_equal(counts[i], 0);
    }
    end(&s);
    nx_tracker_free(tracker);
    nx_mot_boxes_free(&boxes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_tells_of_its_direction_and_classes),
        cmocka_unit_test(a_zone_tells_of_coming_and_going),
        cmocka_unit_test(who_loiters_is_told_of_once_for_each_stay),
        cmocka_unit_test(a_count_does_not_chatter),
        cmocka_unit_test(a_count_without_zone_looks_at_the_whole_picture),
        cmocka_unit_test(an_object_appears_once_and_the_rule_rests),
        cmocka_unit_test(a_camera_that_is_lost_for_long_is_told_of),
        cmocka_unit_test(more_events_than_there_is_room_for_are_counted),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(kinds_have_names),
        cmocka_unit_test(real_pedestrians_give_the_events_of_the_ground_truth),
        cmocka_unit_test(tracked_pedestrians_give_the_same_numbers_of_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
