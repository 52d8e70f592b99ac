#include "testing.h"

#include "analytics/heatmap.h"

#define MS INT64_C(1000000)

static nx_heatmap *made(uint32_t columns, uint32_t rows)
{
    nx_heatmap *heatmap = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_heatmap_new(columns, rows, &heatmap, &err), err);
    return heatmap;
}

static nx_track at(double x, double y)
{
    return (nx_track){
        .id = 1, .state = NX_TRACK_CONFIRMED, .x1 = x - 5, .x2 = x + 5, .y1 = y - 20, .y2 = y};
}

/* In a frame of 100x100 pixels. */
static void update(nx_heatmap *heatmap, int64_t ms, nx_track track)
{
    nx_error err = {0};
    nx_assert_ok(nx_heatmap_update(heatmap, ms * MS, 100, 100, &track, 1, &err), err);
}

static void time_is_summed_where_the_feet_are(void **state)
{
    (void)state;
    nx_heatmap *heatmap = made(10, 10);
    update(heatmap, 0, at(15, 25)); /* nobody knows how long */
    update(heatmap, 40, at(15, 25));
    update(heatmap, 140, at(15, 25));
    update(heatmap, 200, at(95, 100));  /* the last row's lower edge is its own */
    update(heatmap, 9200, at(95, 100)); /* a gap counts for a second at most */
    update(heatmap, 9300, at(-1, 50));
    nx_track tentative = at(55, 55);
    tentative.state = NX_TRACK_TENTATIVE;
    update(heatmap, 9400, tentative);
    nx_error err = {0};
    nx_heatmap *ages = made(1, 1);
    const nx_track track = at(50, 50);
    for (int side = -1; side <= 1; side += 2) { /* from one end of time to the other */
        nx_assert_ok(
            nx_heatmap_update(ages, side * NX_TRACKER_MAX_TIME_NS, 100, 100, &track, 1, &err), err);
    }
    assert_true(nx_heatmap_cell_ns(ages, 0, 0) == 1000 * MS);
    nx_heatmap_free(ages);
    for (uint32_t y = 0; y < 10; y++) {
        for (uint32_t x = 0; x < 10; x++) {
            uint64_t expected = x == 1 && y == 2 ? 140 : x == 9 && y == 9 ? 1060 : 0;
            assert_true(nx_heatmap_cell_ns(heatmap, x, y) == expected * MS);
        }
    }
    nx_heatmap_free(heatmap);
}

static void the_picture_is_hot_where_they_stood(void **state)
{
    (void)state;
    static uint8_t pixels[100 * 100 * 3];
    nx_image image = {pixels, 100, 100, 300};
    nx_heatmap *heatmap = made(10, 10);
    nx_error err = {0};
    memset(pixels, 200, sizeof pixels);
    nx_assert_ok(nx_heatmap_blend(heatmap, &image, &err), err);
    for (size_t i = 0; i < sizeof pixels; i++) { /* nobody was anywhere */
        assert_int_equal(pixels[i], 200);
    }
    update(heatmap, 0, at(45, 45));
    update(heatmap, 100, at(45, 45));
    nx_assert_ok(nx_heatmap_blend(heatmap, &image, &err), err);
    /* The cell's middle lies between pixels 44 and 45: there the map is at its end, 252 255 164,
     * and slightly before it. A cell beside it has half of its time: inferno at sqrt(0.5), the
     * 22.6th of 32 parts. Both cover 230 of 255 parts of the 200. Two cells away there is nothing.
     */
    const uint8_t *hot = pixels + ((size_t)44 * 100 + 44) * 3;
    assert_in_range(hot[0], 236, 247);
    assert_in_range(hot[1], 227, 250);
    assert_in_range(hot[2], 144, 168);
    const uint8_t *beside = pixels + ((size_t)45 * 100 + 55) * 3;
    assert_in_range(beside[0], 227, 242);
    assert_in_range(beside[1], 101, 137);
    const uint8_t *away = pixels + ((size_t)45 * 100 + 66) * 3;
    assert_true(away[0] == 200 && away[1] == 200 && away[2] == 200);
    assert_int_equal(pixels[0], 200);
    nx_heatmap_free(heatmap);
}

static void pictures_have_any_size(void **state)
{
    (void)state;
    static const uint32_t sizes[][4] = {{1, 1, 1, 1}, {1, 1, 7, 3}, {512, 3, 5, 5}, {3, 4, 64, 1}};
    for (size_t i = 0; i < NX_COUNT(sizes); i++) {
        nx_heatmap *heatmap = made(sizes[i][0], sizes[i][1]);
        nx_error err = {0};
        size_t size = (size_t)sizes[i][2] * sizes[i][3] * 3;
        uint8_t *pixels = calloc(size, 1); /* exact, so that a sanitizer sees what is beyond */
        assert_non_null(pixels);
        nx_image image = {pixels, sizes[i][2], sizes[i][3], (size_t)sizes[i][2] * 3};
        update(heatmap, 0, at(50, 50));
        update(heatmap, 100, at(50, 50));
        nx_assert_ok(nx_heatmap_blend(heatmap, &image, &err), err);
        free(pixels);
        nx_heatmap_free(heatmap);
    }
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    nx_heatmap *heatmap = NULL;
    nx_error err = {0};
    const nx_track track = at(1, 1);
    assert_int_equal(nx_heatmap_new(0, 5, &heatmap, &err), NX_ERR_INVALID);
    assert_int_equal(nx_heatmap_new(5, 513, &heatmap, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "5x513");
    heatmap = made(2, 2);
    update(heatmap, 100, track);
    assert_int_equal(nx_heatmap_update(heatmap, 100 * MS, 100, 100, &track, 1, &err),
                     NX_ERR_INVALID);
    assert_int_equal(nx_heatmap_update(heatmap, 200 * MS, 0, 100, &track, 1, &err), NX_ERR_INVALID);
    nx_heatmap_free(heatmap);
    nx_heatmap_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_is_summed_where_the_feet_are),
        cmocka_unit_test(the_picture_is_hot_where_they_stood),
        cmocka_unit_test(pictures_have_any_size),
        cmocka_unit_test(bad_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
