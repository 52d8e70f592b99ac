#include "pictures.h"

#include <math.h>

#include "vision/draw.h"

static nx_image gray_picture(uint32_t width, uint32_t height)
{
    nx_error err = {0};
    nx_image image = {0};
    nx_assert_ok(nx_image_alloc(width, height, &image, &err), err);
    memset(image.pixels, 90, image.stride * height);
    return image;
}

static uint32_t color_at(const nx_image *image, uint32_t x, uint32_t y)
{
    const uint8_t *p = picture_pixel(image, x, y);
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

#define GRAY 0x5a5a5a

static void masks_tint_their_pixels_alone(void **state)
{
    (void)state;
    static const uint32_t counts[] = {5, 2, 8}; /* rows 1 and 2 of the second of three columns */
    nx_error err = {0};
    nx_rle rle;
    nx_image image = gray_picture(3, 5);
    nx_assert_ok(nx_rle_from_counts(counts, NX_COUNT(counts), 3, 5, &rle, &err), err);
    nx_draw_mask(&image, &rle, 0xf06432);
    for (uint32_t y = 0; y < 5; y++) {
        for (uint32_t x = 0; x < 3; x++) {
            bool in = x == 1 && y < 2;
            assert_int_equal(color_at(&image, x, y), in ? 0xa55f46 : GRAY);
        }
    }
    rle.width = 5; /* another picture's: nothing is drawn, and nothing outside */
    rle.height = 3;
    nx_draw_mask(&image, &rle, 0);
    assert_int_equal(color_at(&image, 1, 0), 0xa55f46);
    nx_rle_free(&rle);
    nx_image_free(&image);
}

static void weak_keypoints_are_not_drawn(void **state)
{
    (void)state;
    nx_image image = gray_picture(200, 100);
    const nx_detection d = {.class_id = 3};
    const nx_keypoint points[] = {{50, 50, 0.9F}, {150, 50, 0.4F}};
    nx_draw_keypoints(&image, &d, 1, points, 2);
    assert_int_equal(color_at(&image, 50, 50), nx_draw_class_color(3));
    assert_int_equal(color_at(&image, 150, 50), GRAY);
    assert_int_equal(color_at(&image, 100, 50), GRAY); /* no limb between two points of two */
    nx_image_free(&image);
}

static void a_person_gets_limbs(void **state)
{
    (void)state;
    nx_image image = gray_picture(200, 100);
    const nx_detection d = {.class_id = 0};
    nx_keypoint points[17] = {0};
    points[5] = (nx_keypoint){20, 20, 1}; /* a shoulder and its elbow */
    points[7] = (nx_keypoint){180, 80, 1};
    points[0] = (nx_keypoint){199, 99, 1}; /* at the corner: cut off, not written outside */
    nx_draw_keypoints(&image, &d, 1, points, 17);
    assert_int_equal(color_at(&image, 100, 50), nx_draw_class_color(0));
    assert_int_equal(color_at(&image, 60, 35), nx_draw_class_color(0));
    assert_int_equal(color_at(&image, 199, 99), nx_draw_class_color(0));
    assert_int_equal(color_at(&image, 0, 0), GRAY);
    nx_image_free(&image);
}

static void lines_are_drawn_and_cut_off(void **state)
{
    (void)state;
    nx_image image = gray_picture(200, 100);
    nx_draw_line(&image, 20, 50, 180, 50, 0x123456);
    nx_draw_line(&image, -50, -50, 250, 150, 0x654321);
    nx_draw_line(&image, 0, 0, 1e9F, 1e9F, 0xff0000); /* nowhere near: not drawn at all */
    nx_draw_line(&image, NAN, 0, 10, 10, 0xff0000);
    assert_int_equal(color_at(&image, 30, 50), 0x123456);
    assert_int_equal(color_at(&image, 170, 50), 0x123456);
    assert_int_equal(color_at(&image, 15, 50), GRAY);
    assert_int_equal(color_at(&image, 100, 50), 0x654321);
    assert_int_equal(color_at(&image, 5, 5), GRAY);
    nx_image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_tint_their_pixels_alone),
        cmocka_unit_test(weak_keypoints_are_not_drawn),
        cmocka_unit_test(a_person_gets_limbs),
        cmocka_unit_test(lines_are_drawn_and_cut_off),
    };
    return cmocka_run_group_tests_name("draw_overlay", tests, NULL, NULL);
}
