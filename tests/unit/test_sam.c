#include "testing.h"

#include "vision/sam.h"

#include <math.h>

static void points_and_boxes_are_read(void **state)
{
    (void)state;
    nx_sam_prompt prompt = {0};
    nx_error err = {0};
    nx_assert_ok(nx_sam_prompt_parse_point(&prompt, "400,300", &err), err);
    nx_assert_ok(nx_sam_prompt_parse_point(&prompt, "1.5, 2e1, 0", &err), err);
    nx_assert_ok(nx_sam_prompt_parse_box(&prompt, "1,2,3.5,4", &err), err);
    assert_int_equal(prompt.point_count, 2);
    assert_true(prompt.points[0].positive && !prompt.points[1].positive);
    assert_true(fabs(prompt.points[1].x - 1.5) < 1e-9 && fabs(prompt.points[1].y - 20) < 1e-9);
    assert_true(fabs(prompt.boxes[0].x2 - 3.5) < 1e-9);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const char *const points[] = {"",      ",",       "1",       "1,",    "1,2,",
                                         "1,2,3", "1,2,0.5", "a,b",     "nan,1", "1,inf",
                                         "0x1,2", "1,2,1,1", "1e999,2", "1;2",   "1,2 "};
    static const char *const boxes[] = {"1,2,3", "1,2,3,4,5", "3,2,1,4", "1,4,3,2", "1,2,1,4", "x"};
    nx_sam_prompt prompt = {0};
    for (size_t i = 0; i < NX_COUNT(points); i++) {
        nx_error err = {0};
        assert_int_equal(nx_sam_prompt_parse_point(&prompt, points[i], &err), NX_ERR_INVALID);
    }
    for (size_t i = 0; i < NX_COUNT(boxes); i++) {
        nx_error err = {0};
        assert_int_equal(nx_sam_prompt_parse_box(&prompt, boxes[i], &err), NX_ERR_INVALID);
    }
    nx_error err = {0};
    assert_int_equal(nx_sam_prompt_add_point(&prompt, (nx_sam_point){(double)NAN, 1, true}, &err),
                     NX_ERR_INVALID);
    const nx_sam_box endless = {.x1 = 0, .y1 = 0, .x2 = (double)INFINITY, .y2 = 1};
    assert_int_equal(nx_sam_prompt_add_box(&prompt, endless, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "not finite");
    assert_int_equal(prompt.point_count + prompt.box_count, 0);
}

static void prompts_are_bounded(void **state)
{
    (void)state;
    nx_sam_prompt prompt = {0};
    nx_error err = {0};
    for (int i = 0; i < NX_SAM_MAX_POINTS; i++) {
        nx_assert_ok(nx_sam_prompt_parse_point(&prompt, "1,1", &err), err);
    }
    for (int i = 0; i < NX_SAM_MAX_BOXES; i++) {
        nx_assert_ok(nx_sam_prompt_parse_box(&prompt, "1,1,2,2", &err), err);
    }
    assert_int_equal(nx_sam_prompt_parse_point(&prompt, "1,1", &err), NX_ERR_TOO_LARGE);
    assert_int_equal(nx_sam_prompt_parse_box(&prompt, "1,1,2,2", &err), NX_ERR_TOO_LARGE);
}

static void a_prompt_must_describe_something(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_sam_prompt prompt = {0};
    assert_int_equal(nx_sam_prompt_check(&prompt, &err), NX_ERR_INVALID);
    prompt.points[prompt.point_count++] = (nx_sam_point){1, 1, false};
    assert_int_equal(nx_sam_prompt_check(&prompt, &err), NX_ERR_INVALID);
    prompt.boxes[prompt.box_count++] = (nx_sam_box){0, 0, 5, 5};
    nx_assert_ok(nx_sam_prompt_check(&prompt, &err), err);
    assert_int_equal(nx_sam_prompt_things(&prompt), 1);
    prompt.boxes[prompt.box_count++] = (nx_sam_box){0, 0, 5, 5};
    assert_int_equal(nx_sam_prompt_check(&prompt, &err), NX_ERR_INVALID);
    prompt.point_count = 0;
    nx_assert_ok(nx_sam_prompt_check(&prompt, &err), err);
    assert_int_equal(nx_sam_prompt_things(&prompt), 2);
}

static void a_prompt_must_lie_in_the_picture(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_sam_prompt prompt = {.points = {{100, 50, true}}, .point_count = 1};
    prompt.boxes[prompt.box_count++] = (nx_sam_box){-10, -1, 200, 30};
    nx_assert_ok(nx_sam_prompt_fit(&prompt, 100, 50, &err), err);
    assert_true(prompt.boxes[0].x1 > -1e-9 && fabs(prompt.boxes[0].x2 - 100) < 1e-9);
    prompt.points[0].x = 100.5;
    assert_int_equal(nx_sam_prompt_fit(&prompt, 100, 50, &err), NX_ERR_INVALID);
    prompt.point_count = 0;
    prompt.boxes[0] = (nx_sam_box){100, 0, 120, 30};
    assert_int_equal(nx_sam_prompt_fit(&prompt, 100, 50, &err), NX_ERR_INVALID);
}

static void rows_are_scaled_and_labelled(void **state)
{
    (void)state;
    const nx_letterbox box = nx_sam_letterbox(2048, 1024); /* half the size */
    nx_sam_prompt prompt = {.points = {{100, 50, true}, {200, 60, false}}, .point_count = 2};
    float coords[2 * NX_SAM_MAX_ROWS];
    float labels[NX_SAM_MAX_ROWS];
    assert_int_equal(box.width, 1024);
    assert_int_equal(box.height, 512);
    assert_int_equal(nx_sam_prompt_rows(&prompt, 0, &box, coords, labels), 3);
    const float expected[] = {50, 25, 100, 30, 0, 0};
    const float expected_labels[] = {1, 0, -1};
    assert_memory_equal(coords, expected, sizeof expected);
    assert_memory_equal(labels, expected_labels, sizeof expected_labels);
    prompt.boxes[prompt.box_count++] = (nx_sam_box){10, 20, 30, 40};
    assert_int_equal(nx_sam_prompt_rows(&prompt, 0, &box, coords, labels), 4);
    const float corners[] = {5, 10, 15, 20};
    assert_memory_equal(coords + 4, corners, sizeof corners);
    assert_true(labels[2] == 2 && labels[3] == 3);
}

static void sides_are_rounded_half_up(void **state)
{
    (void)state;
    nx_letterbox box = nx_sam_letterbox(2048, 1001); /* 500.5 */
    assert_int_equal(box.height, 501);
    box = nx_sam_letterbox(810, 1080);
    assert_int_equal(box.width, 768);
    assert_int_equal(box.height, 1024);
    assert_int_equal(box.left + box.top, 0);
    box = nx_sam_letterbox(60000, 1);
    assert_int_equal(box.height, 1);
}

static void pictures_are_normalised_and_padded_with_zeros(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_image image;
    size_t plane = (size_t)NX_SAM_SIDE * NX_SAM_SIDE;
    float *tensor = malloc(3 * plane * sizeof *tensor);
    assert_non_null(tensor);
    nx_assert_ok(nx_image_alloc(100, 50, &image, &err), err);
    for (uint32_t y = 0; y < 50; y++) {
        for (uint32_t x = 0; x < 100; x++) {
            memcpy(image.pixels + y * image.stride + 3 * (size_t)x, (uint8_t[]){200, 100, 0}, 3);
        }
    }
    const nx_letterbox box = nx_sam_letterbox(100, 50);
    nx_assert_ok(nx_sam_preprocess(&box, &image, tensor, &err), err);
    const float expected[] = {(200 - 123.675F) / 58.395F, (100 - 116.28F) / 57.12F,
                              -103.53F / 57.375F};
    for (size_t c = 0; c < 3; c++) {
        assert_true(fabsf(tensor[c * plane] - expected[c]) < 1e-5F);
        assert_true(fabsf(tensor[c * plane + (size_t)511 * NX_SAM_SIDE + 1023] - expected[c]) <
                    1e-5F);
        assert_true(fabsf(tensor[c * plane + (size_t)512 * NX_SAM_SIDE]) < 1e-9F);
        assert_true(fabsf(tensor[(c + 1) * plane - 1]) < 1e-9F);
    }
    nx_image_free(&image);
    free(tensor);
}

static void the_mask_is_chosen_as_in_the_export(void **state)
{
    (void)state;
    const float scores[4] = {0.99F, 0.5F, 0.7F, 0.6F};
    assert_int_equal(nx_sam_choose(scores, 2), 2); /* one point and padding, or a box */
    assert_int_equal(nx_sam_choose(scores, 3), 0);
}

static void masks_are_cut_to_the_picture(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_rle rle;
    const nx_letterbox box = nx_sam_letterbox(512, 256); /* the upper half of the square */
    float *low_res = malloc((size_t)256 * 256 * sizeof *low_res);
    assert_non_null(low_res);
    for (size_t y = 0; y < 256; y++) { /* the left half of everything, and what is padding */
        for (size_t x = 0; x < 256; x++) {
            low_res[y * 256 + x] = x < 128 || y >= 128 ? 1 : -1;
        }
    }
    nx_assert_ok(nx_sam_mask(low_res, &box, &rle, &err), err);
    assert_int_equal(rle.width, 512);
    assert_int_equal(rle.height, 256);
    nx_mask_box found = nx_rle_box(&rle);
    /* the last rows are interpolated towards the padding's cells, half a cell deep: 2 of 1024 */
    assert_int_equal(found.left, 0);
    assert_int_equal(found.bottom, 256);
    assert_in_range(nx_rle_area(&rle), 256 * 256, 256 * 256 + 512);
    nx_rle_free(&rle);
    free(low_res);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_and_boxes_are_read),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(prompts_are_bounded),
        cmocka_unit_test(a_prompt_must_describe_something),
        cmocka_unit_test(a_prompt_must_lie_in_the_picture),
        cmocka_unit_test(rows_are_scaled_and_labelled),
        cmocka_unit_test(sides_are_rounded_half_up),
        cmocka_unit_test(pictures_are_normalised_and_padded_with_zeros),
        cmocka_unit_test(the_mask_is_chosen_as_in_the_export),
        cmocka_unit_test(masks_are_cut_to_the_picture),
    };
    return cmocka_run_group_tests_name("sam", tests, NULL, NULL);
}
