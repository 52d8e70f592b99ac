#include "masks.h"

#include <math.h>

static const char *const ring[] = {"......", ".####.", ".#..#.", ".####.", "......"};

static void runs_go_down_the_columns(void **state)
{
    (void)state;
    static const uint32_t expected[] = {6, 3, 2, 1, 1, 1, 2, 1, 1, 1, 2, 3, 6};
    nx_mask mask = mask_of(ring, 5);
    nx_rle rle = rle_of(&mask);
    assert_int_equal(rle.count, NX_COUNT(expected));
    assert_memory_equal(rle.counts, expected, sizeof expected);
    assert_int_equal(nx_rle_area(&rle), 10);
    nx_mask_box box = nx_rle_box(&rle);
    assert_int_equal(box.left, 1);
    assert_int_equal(box.top, 1);
    assert_int_equal(box.right, 5);
    assert_int_equal(box.bottom, 4);
    nx_mask back;
    nx_error err = {0};
    nx_assert_ok(nx_rle_decode(&rle, &back, &err), err);
    assert_memory_equal(back.bits, mask.bits, 30);
    nx_mask_free(&back);
    nx_mask_free(&mask);
    nx_rle_free(&rle);
}

static void a_mask_may_begin_with_its_first_pixel(void **state)
{
    (void)state;
    static const char *const rows[] = {"##", "#."};
    nx_mask mask = mask_of(rows, 2);
    nx_rle rle = rle_of(&mask);
    assert_int_equal(rle.count, 3);
    assert_int_equal(rle.counts[0], 0);
    assert_int_equal(rle.counts[1], 3);
    assert_int_equal(rle.counts[2], 1);
    nx_mask_box box = nx_rle_box(&rle); /* one run through two columns */
    assert_int_equal(box.right, 2);
    assert_int_equal(box.bottom, 2);
    nx_mask_free(&mask);
    nx_rle_free(&rle);
}

static void an_empty_mask_has_no_box(void **state)
{
    (void)state;
    static const char *const rows[] = {"...", "..."};
    nx_mask mask = mask_of(rows, 2);
    nx_rle rle = rle_of(&mask);
    assert_int_equal(nx_rle_area(&rle), 0);
    nx_mask_box box = nx_rle_box(&rle);
    assert_int_equal(box.left + box.top + box.right + box.bottom, 0);
    nx_mask_free(&mask);
    nx_rle_free(&rle);
}

/* --- the string ---------------------------------------------------------------------------------
 */

/* Written by pycocotools 2.0.10 for the same runs. */
static const struct {
    uint32_t width, height;
    uint32_t counts[8];
    size_t count;
    const char *text;
} known[] = {
    {3, 3, {4, 5}, 2, "45"},
    {3, 3, {0, 9}, 2, "09"},
    {3, 3, {9}, 1, "9"},
    {6, 5, {6, 3, 2, 1, 1, 1, 2, 14}, 8, "632NO01="},
    {640, 480, {100, 200, 300, 50, 250, 1, 306299}, 7, "T3X6\\9ZK^N_NQlZ9"},
    {65535, 65535, {1, 4294836224U}, 2, "1PPPloo3"},
    {100, 100, {31, 32, 33, 16, 15, 1, 9872}, 7, "o0P1Q1@^OAQd9"},
};

static void strings_are_those_of_pycocotools(void **state)
{
    (void)state;
    for (size_t i = 0; i < NX_COUNT(known); i++) {
        nx_error err = {0};
        nx_rle rle;
        nx_buffer text = NX_BUFFER_INIT;
        nx_assert_ok(nx_rle_from_counts(known[i].counts, known[i].count, known[i].width,
                                        known[i].height, &rle, &err),
                     err);
        nx_rle_write(&rle, &text);
        assert_string_equal(nx_buffer_cstr(&text), known[i].text);
        nx_buffer_free(&text);
        nx_rle_free(&rle);
    }
}

static void runs_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t counts[3];
        size_t count;
        const char *part;
    } bad[] = {
        {{0}, 0, "make 0 pixels"},
        {{4}, 1, "make 4 pixels"},
        {{4, 4}, 2, "make 8 pixels"},
        {{4, 4, 4}, 3, "leaves its 3x3"},
        {{4, UINT32_MAX}, 2, "leaves its 3x3"},
    };
    for (size_t i = 0; i < NX_COUNT(bad); i++) {
        nx_error err = {0};
        nx_rle rle;
        assert_int_equal(nx_rle_from_counts(bad[i].counts, bad[i].count, 3, 3, &rle, &err),
                         NX_ERR_INVALID);
        nx_assert_contains(err.message, bad[i].part);
        assert_null(rle.counts);
    }
    nx_error err = {0};
    nx_rle rle;
    assert_int_equal(nx_rle_from_counts(NULL, 0, 0, 3, &rle, &err), NX_ERR_INVALID);
    assert_int_equal(nx_rle_from_counts(NULL, 0, 3, 65536, &rle, &err), NX_ERR_INVALID);
}

static void empty_runs_are_joined(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 1, 0, 2, 0, 0, 2};
    nx_error err = {0};
    nx_rle rle;
    nx_assert_ok(nx_rle_from_counts(counts, NX_COUNT(counts), 3, 2, &rle, &err), err);
    assert_int_equal(rle.count, 3);
    assert_int_equal(rle.counts[1], 3);
    assert_int_equal(rle.counts[2], 2);
    nx_rle_free(&rle);
}

/* --- grids --------------------------------------------------------------------------------------
 */

/* Every pixel by itself, as the header defines it. */
static bool grid_at(const nx_grid *grid, uint32_t x, uint32_t y)
{
    double at[2] = {grid->x_offset + (x + 0.5) * grid->x_step - 0.5,
                    grid->y_offset + (y + 0.5) * grid->y_step - 0.5};
    const double last[2] = {grid->width - 1, grid->height - 1};
    for (int i = 0; i < 2; i++) {
        at[i] = fmin(fmax(at[i], 0), last[i]);
    }
    size_t x0 = (size_t)at[0];
    size_t y0 = (size_t)at[1];
    size_t x1 = x0 + 1 < grid->width ? x0 + 1 : x0;
    size_t y1 = y0 + 1 < grid->height ? y0 + 1 : y0;
    const float *v = grid->values;
    double part_x = at[0] - (double)x0;
    double part_y = at[1] - (double)y0;
    double top = (double)v[x0 * grid->x_stride + y0 * grid->y_stride] * (1 - part_x) +
                 (double)v[x1 * grid->x_stride + y0 * grid->y_stride] * part_x;
    double bottom = (double)v[x0 * grid->x_stride + y1 * grid->y_stride] * (1 - part_x) +
                    (double)v[x1 * grid->x_stride + y1 * grid->y_stride] * part_x;
    return top * (1 - part_y) + bottom * part_y > 0;
}

static void grids_are_scaled_bilinearly(void **state)
{
    (void)state;
    float values[7 * 5];
    uint32_t random = 1;
    for (size_t i = 0; i < NX_COUNT(values); i++) {
        random = random * 1664525 + 1013904223; /* Numerical Recipes' generator */
        values[i] = (float)(random >> 16) / 32768.0F - 1;
    }
    const nx_grid grids[] = {
        {values, 1, 7, 7, 5, 0, 0, 7.0 / 40, 5.0 / 30},      /* the whole, enlarged */
        {values, 5, 1, 7, 5, 0, 0, 7.0 / 40, 5.0 / 30},      /* transposed */
        {values, 1, 7, 7, 5, 1.5, 0.25, 4.0 / 40, 4.5 / 30}, /* a part of it */
        {values, 1, 7, 7, 5, -2, -2, 11.0 / 40, 9.0 / 30},   /* beyond its edges */
        {values, 1, 7, 1, 1, 0, 0, 0.1, 0.1},                /* one cell */
        {values, 1, 7, 7, 5, 0, 0, 3, 3},                    /* made smaller */
    };
    const nx_mask_box whole = {0, 0, 40, 30};
    const nx_mask_box part = {3, 5, 31, 27};
    const nx_mask_box none = {9, 9, 9, 12};
    const nx_mask_box boxes[] = {whole, part, none};
    for (size_t g = 0; g < NX_COUNT(grids); g++) {
        for (size_t b = 0; b < NX_COUNT(boxes); b++) {
            nx_error err = {0};
            nx_rle rle;
            nx_mask mask;
            nx_assert_ok(nx_rle_from_grid(&grids[g], 40, 30, boxes[b], &rle, &err), err);
            nx_assert_ok(nx_rle_decode(&rle, &mask, &err), err);
            for (uint32_t y = 0; y < 30; y++) {
                for (uint32_t x = 0; x < 40; x++) {
                    bool inside = x >= boxes[b].left && x < boxes[b].right && y >= boxes[b].top &&
                                  y < boxes[b].bottom;
                    assert_int_equal(mask.bits[y * 40 + x], inside && grid_at(&grids[g], x, y));
                }
            }
            nx_mask_free(&mask);
            nx_rle_free(&rle);
        }
    }
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_mask mask;
    nx_rle rle;
    float value = 1;
    const nx_grid grid = {&value, 1, 1, 1, 1, 0, 0, 1, 1};
    assert_int_equal(nx_mask_alloc(0, 5, &mask, &err), NX_ERR_INVALID);
    assert_int_equal(nx_mask_alloc(5, 65536, &mask, &err), NX_ERR_INVALID);
    assert_int_equal(nx_rle_from_grid(&grid, 65536, 5, (nx_mask_box){0, 0, 5, 5}, &rle, &err),
                     NX_ERR_INVALID);
    nx_assert_ok(
        nx_rle_from_grid(&grid, 65535, 65535, (nx_mask_box){0, 0, 65535, 65535}, &rle, &err), err);
    assert_int_equal(nx_rle_area(&rle), 65535U * 65535U);
    nx_rle_free(&rle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_go_down_the_columns),
        cmocka_unit_test(a_mask_may_begin_with_its_first_pixel),
        cmocka_unit_test(an_empty_mask_has_no_box),
        cmocka_unit_test(strings_are_those_of_pycocotools),
        cmocka_unit_test(runs_that_do_not_fit_are_refused),
        cmocka_unit_test(empty_runs_are_joined),
        cmocka_unit_test(grids_are_scaled_bilinearly),
        cmocka_unit_test(sizes_are_bounded),
    };
    return cmocka_run_group_tests_name("mask", tests, NULL, NULL);
}
