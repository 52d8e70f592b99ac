#include "testing.h"

#include "analytics/stride.h"

#define MS INT64_C(1000000)

static nx_stride started(const nx_stride_options *options)
{
    nx_stride stride;
    nx_error err = {0};
    nx_assert_ok(nx_stride_start(options, &stride, &err), err);
    return stride;
}

/* 40 x 100 pixels, exactly known unless told otherwise. */
static nx_track moving(double speed)
{
    return (nx_track){.id = 1, .state = NX_TRACK_CONFIRMED, .x2 = 40, .y2 = 100, .vx = speed};
}

/* How many frames of 20 ms pass from a look to the next. */
static int frames_until_due(nx_stride *stride, const nx_track *tracks, size_t count)
{
    assert_true(nx_stride_due(stride, 0));
    nx_stride_looked(stride, 0, tracks, count);
    int frames = 1;
    while (!nx_stride_due(stride, 20 * frames * MS)) {
        frames++;
    }
    return frames;
}

static void the_fastest_and_the_least_known_say_when(void **state)
{
    (void)state;
    const nx_stride_options options = {
        .move = 0.5, .stray = 0.25, .max_frames = 100, .max_ns = 500 * MS};
    nx_track unknown = moving(0);
    unknown.spread = 6;
    unknown.spread_speed = 50; /* sqrt(10^2 - 6^2) / 50 = 0.16 s */
    nx_track lost = moving(0);
    lost.state = NX_TRACK_LOST;
    nx_track tentative = moving(0);
    tentative.state = NX_TRACK_TENTATIVE;
    nx_track vague = moving(0);
    vague.spread = 10;
    const struct {
        nx_track tracks[2];
        size_t count;
        int frames;
    } cases[] = {
        {{{0}}, 0, 25},                      /* nobody: 500 ms */
        {{moving(0)}, 1, 25},                /* who stands is well known */
        {{moving(100)}, 1, 10},              /* 20 pixels at 100 a second: 200 ms */
        {{moving(100), moving(-250)}, 2, 4}, /* 80 ms */
        {{moving(100), unknown}, 2, 8},      /* 160 ms */
        {{moving(0), lost}, 2, 1},           /* at once */
        {{moving(0), tentative}, 2, 1},
        {{vague}, 1, 1},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_stride stride = started(&options);
        assert_int_equal(frames_until_due(&stride, cases[i].tracks, cases[i].count),
                         cases[i].frames);
    }
}

static void frames_are_limited_and_counted(void **state)
{
    (void)state;
    nx_stride_options options = nx_stride_defaults();
    nx_stride stride = started(&options);
    assert_int_equal(frames_until_due(&stride, NULL, 0), 5);
    assert_true(stride.seen == 6 && stride.looked == 1);
    options.max_ns = 0; /* every frame */
    stride = started(&options);
    assert_int_equal(frames_until_due(&stride, NULL, 0), 1);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    nx_stride stride;
    nx_error err = {0};
    nx_stride_options options = nx_stride_defaults();
    options.move = 0;
    assert_int_equal(nx_stride_start(&options, &stride, &err), NX_ERR_INVALID);
    options = nx_stride_defaults();
    options.max_frames = 0;
    assert_int_equal(nx_stride_start(&options, &stride, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "at most 0 frames");
    options = nx_stride_defaults();
    options.max_ns = -1;
    assert_int_equal(nx_stride_start(&options, &stride, &err), NX_ERR_INVALID);
}

static void states_go_on_and_damaged_ones_are_refused(void **state)
{
    (void)state;
    const nx_stride_options options = nx_stride_defaults();
    nx_stride stride = started(&options);
    nx_stride loaded;
    nx_error err = {0};
    nx_buffer bytes = NX_BUFFER_INIT;
    const nx_track track = moving(150);
    for (int i = 0; i < 7; i++) {
        if (nx_stride_due(&stride, 40 * i * MS)) {
            nx_stride_looked(&stride, 40 * i * MS, &track, 1);
        }
    }
    nx_stride_save(&stride, &bytes);
    nx_assert_ok(nx_stride_load(bytes.data, bytes.size, &loaded, &err), err);
    for (int i = 7; i < 30; i++) {
        bool due = nx_stride_due(&stride, 40 * i * MS);
        assert_int_equal(nx_stride_due(&loaded, 40 * i * MS), due);
        if (due) {
            nx_stride_looked(&stride, 40 * i * MS, &track, 1);
            nx_stride_looked(&loaded, 40 * i * MS, &track, 1);
        }
    }
    assert_true(stride.looked == loaded.looked && stride.looked < stride.seen);
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_equal(nx_stride_load(bytes.data, size, &loaded, &err), NX_ERR_CORRUPT);
    }
    bytes.data[bytes.size - 1] = (char)0xff; /* the count of looks */
    assert_int_equal(nx_stride_load(bytes.data, bytes.size, &loaded, &err), NX_ERR_CORRUPT);
    bytes.data[8] = 2;
    assert_int_equal(nx_stride_load(bytes.data, bytes.size, &loaded, &err), NX_ERR_UNSUPPORTED);
    nx_buffer_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fastest_and_the_least_known_say_when),
        cmocka_unit_test(frames_are_limited_and_counted),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(states_go_on_and_damaged_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
