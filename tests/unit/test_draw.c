#include "pictures.h"

#include "vision/draw.h"

#include <math.h>
#include <pthread.h>

static const char *const class_names[] = {"person", "bicycle", "car"};
static const nx_class_names names = {class_names, NX_COUNT(class_names)};

static nx_image gray_picture(uint32_t width, uint32_t height)
{
    nx_error err = {0};
    nx_image image = {0};
    nx_assert_ok(nx_image_alloc(width, height, &image, &err), err);
    memset(image.pixels, 90, image.stride * height);
    return image;
}

static void draw(nx_image *image, const nx_detection *detections, size_t count)
{
    nx_error err = {0};
    nx_assert_ok(nx_draw_detections(image, detections, count, names, &err), err);
}

static uint32_t color_at(const nx_image *image, uint32_t x, uint32_t y)
{
    const uint8_t *p = picture_pixel(image, x, y);
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

#define GRAY 0x5a5a5a

/* Pixels of the area that are not the gray of the empty picture. */
static size_t count_drawn(const nx_image *image, uint32_t left, uint32_t top, uint32_t right,
                          uint32_t bottom)
{
    size_t drawn = 0;
    for (uint32_t y = top; y < bottom; y++) {
        for (uint32_t x = left; x < right; x++) {
            drawn += color_at(image, x, y) != GRAY;
        }
    }
    return drawn;
}

static void no_detections_leave_the_picture(void **state)
{
    (void)state;
    nx_image image = picture_gradient(64, 48);
    nx_image before = picture_gradient(64, 48);
    draw(&image, NULL, 0);
    picture_assert_equal(&image, &before);
    nx_image_free(&image);
    nx_image_free(&before);
}

static void box_is_a_frame_with_a_label(void **state)
{
    (void)state;
    nx_image image = gray_picture(640, 360); /* lines of 2 pixels */
    nx_detection box = {100, 120, 300, 320, 0.87f, 2, 0};
    uint32_t color = nx_draw_class_color(2);
    draw(&image, &box, 1);
    for (uint32_t i = 0; i < 2; i++) { /* the line's middle is the box's edge */
        assert_int_equal(color_at(&image, 200, 119 + i), color);
        assert_int_equal(color_at(&image, 200, 319 + i), color);
        assert_int_equal(color_at(&image, 99 + i, 200), color);
        assert_int_equal(color_at(&image, 299 + i, 200), color);
    }
    assert_int_equal(color_at(&image, 99, 119), color);
    assert_int_equal(color_at(&image, 300, 320), color);
    assert_int_equal(count_drawn(&image, 101, 121, 299, 319), 0); /* hollow */
    assert_int_equal(count_drawn(&image, 0, 0, 99, 360), 0);
    assert_int_equal(count_drawn(&image, 301, 0, 640, 360), 0);
    assert_int_equal(count_drawn(&image, 0, 321, 640, 360), 0);

    /* the tab stands on the frame: class colour, and dark letters in it */
    size_t dark = 0;
    for (uint32_t y = 100; y < 119; y++) {
        for (uint32_t x = 99; x < 200; x++) {
            dark += picture_pixel(&image, x, y)[1] < 40;
        }
    }
    assert_int_equal(color_at(&image, 99, 110), color);
    assert_true(dark > 50);
    assert_int_equal(count_drawn(&image, 0, 0, 640, 90), 0);
    nx_image_free(&image);
}

static void lines_follow_the_size(void **state)
{
    (void)state;
    static const struct {
        uint32_t width, height, line;
    } cases[] = {{64, 64, 1}, {640, 360, 2}, {640, 640, 2}, {1920, 1080, 4}, {3840, 2160, 7}};
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        uint32_t w = cases[i].width, h = cases[i].height;
        nx_image image = gray_picture(w, h);
        nx_detection box = {
            (float)w / 4, (float)h / 4, (float)w * 3 / 4, (float)h * 3 / 4, 1, 0, 0};
        draw(&image, &box, 1);
        assert_int_equal(count_drawn(&image, w / 2, h / 2, w / 2 + 1, h), cases[i].line);
        assert_int_equal(count_drawn(&image, w / 2, h / 2, w, h / 2 + 1), cases[i].line);
        nx_image_free(&image);
    }
}

static void boxes_at_the_edges_stay_whole(void **state)
{
    (void)state;
    nx_image image = gray_picture(640, 360);
    nx_detection all = {0, 0, 640, 360, 0.5f, 1, 0};
    uint32_t color = nx_draw_class_color(1);
    draw(&image, &all, 1);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(color_at(&image, 500, i), color);
        assert_int_equal(color_at(&image, 500, 359 - i), color);
        assert_int_equal(color_at(&image, i, 200), color);
        assert_int_equal(color_at(&image, 639 - i, 200), color);
    }
    assert_int_equal(count_drawn(&image, 2, 100, 638, 358), 0);
    assert_int_equal(count_drawn(&image, 2, 2, 50, 18), 48 * 16); /* the tab moved inside */
    nx_image_free(&image);

    image = gray_picture(640, 360); /* a label that would leave at the right */
    nx_detection corner = {630, 350, 640, 360, 0.5f, 1, 0};
    draw(&image, &corner, 1);
    assert_int_equal(color_at(&image, 639, 345), color);
    assert_true(count_drawn(&image, 570, 332, 640, 348) > 500);
    nx_image_free(&image);
}

static void any_box_is_survived(void **state)
{
    (void)state;
    static const nx_detection boxes[] = {
        {0, 0, 0, 0, 0, 0, 0},
        {-1e30f, -1e30f, 1e30f, 1e30f, 2, 1, 0},
        {NAN, NAN, NAN, NAN, NAN, 2, 0},
        {50, 40, 10, 5, 0.5f, -1, 0},
        {INFINITY, -INFINITY, -INFINITY, INFINITY, -INFINITY, INT32_MIN, 0},
        {63.6f, 47.6f, 64, 48, 1, INT32_MAX, 0},
    };
    static const uint32_t sizes[][2] = {{1, 1}, {1, 300}, {300, 1}, {2, 2}, {64, 48}, {40000, 30}};
    for (size_t i = 0; i < NX_COUNT(sizes); i++) {
        nx_image image = gray_picture(sizes[i][0], sizes[i][1]);
        draw(&image, boxes, NX_COUNT(boxes));
        assert_true(count_drawn(&image, 0, 0, sizes[i][0], sizes[i][1]) > 0);
        nx_image_free(&image);
    }
}

static void low_pictures_get_boxes_alone(void **state)
{
    (void)state;
    nx_image image = gray_picture(600, 8);
    nx_detection box = {100, 0, 500, 8, 0.9f, 0, 0};
    draw(&image, &box, 1);
    assert_int_equal(count_drawn(&image, 102, 2, 498, 6), 0);
    assert_int_equal(count_drawn(&image, 100, 0, 101, 8), 8);
    nx_image_free(&image);
}

static void earlier_boxes_are_on_top(void **state)
{
    (void)state;
    nx_image image = gray_picture(640, 360);
    nx_detection boxes[2] = {{100, 120, 300, 320, 0.9f, 0, 0}, {100, 120, 300, 320, 0.4f, 1, 0}};
    draw(&image, boxes, 2);
    assert_int_equal(color_at(&image, 200, 320), nx_draw_class_color(0));
    nx_image_free(&image);
}

static void strange_names_are_drawn(void **state)
{
    (void)state;
    char longest[4000];
    memset(longest, 'W', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    /* cut by the limit of 64 bytes inside of a character */
    char cut[80] = "";
    memset(cut, 'a', 63);
    memcpy(cut + 63, "\xc3\xa9", 3);
    const char *const strange[] = {"", "\xff\xfe", "a\nb\tc", "gr\xc3\xbcn", longest, cut, "\xc3"};
    const nx_class_names strange_names = {strange, NX_COUNT(strange)};
    for (int32_t id = -1; id <= (int32_t)NX_COUNT(strange); id++) {
        nx_error err = {0};
        nx_image image = gray_picture(200, 100);
        nx_detection box = {20, 50, 100, 90, 0.5f, id, 0};
        nx_assert_ok(nx_draw_detections(&image, &box, 1, strange_names, &err), err);
        assert_int_equal(color_at(&image, 20, 49), nx_draw_class_color(id));
        assert_true(count_drawn(&image, 0, 33, 200, 49) > 200);
        nx_image_free(&image);
    }
}

/* A label of the caller's stands where name and confidence do otherwise. */
static void labels_may_be_given(void **state)
{
    (void)state;
    static const char *const own[] = {"person 0.50"};
    static const char *const other[] = {"#17\xff\n"};
    const nx_detection box = {20, 40, 150, 90, 0.5F, 0, 0};
    nx_error err = {0};
    nx_image images[3];
    for (int i = 0; i < 3; i++) {
        nx_assert_ok(nx_image_alloc(200, 100, &images[i], &err), err);
        memset(images[i].pixels, 90, images[i].stride * 100);
    }
    nx_assert_ok(nx_draw_detections(&images[0], &box, 1, names, &err), err);
    nx_assert_ok(nx_draw_labelled(&images[1], &box, 1, own, &err), err);
    nx_assert_ok(nx_draw_labelled(&images[2], &box, 1, other, &err), err);
    assert_memory_equal(images[0].pixels, images[1].pixels, images[0].stride * 100);
    assert_memory_not_equal(images[0].pixels, images[2].pixels, images[0].stride * 100);
    for (int i = 0; i < 3; i++) {
        nx_image_free(&images[i]);
    }
}

static void *draw_many(void *user)
{
    const nx_detection box = {30, 40, 150, 90, 0.5f, 1, 0};
    nx_image *image = user;
    nx_error err = {0};
    nx_status status = NX_OK;
    for (int i = 0; i < 20 && status == NX_OK; i++) {
        memset(image->pixels, 90, image->stride * image->height);
        status = nx_draw_detections(image, &box, 1, names, &err);
    }
    return status == NX_OK ? image : NULL;
}

static void threads_draw_side_by_side(void **state)
{
    (void)state;
    nx_image images[4];
    pthread_t threads[NX_COUNT(images)];
    for (size_t i = 0; i < NX_COUNT(images); i++) {
        images[i] = gray_picture(200, 100);
        assert_int_equal(pthread_create(&threads[i], NULL, draw_many, &images[i]), 0);
    }
    for (size_t i = 0; i < NX_COUNT(images); i++) {
        void *drawn = NULL;
        assert_int_equal(pthread_join(threads[i], &drawn), 0);
        assert_non_null(drawn);
        picture_assert_equal(&images[i], &images[0]);
    }
    for (size_t i = 0; i < NX_COUNT(images); i++) {
        nx_image_free(&images[i]);
    }
}

/* Relative luminance and contrast as WCAG 2.1 defines them. */
static double luminance(uint32_t color)
{
    static const double weights[3] = {0.2126, 0.7152, 0.0722};
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        double c = (color >> (16 - 8 * i) & 255) / 255.0;
        sum += weights[i] * (c <= 0.03928 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4));
    }
    return sum;
}

static void colors_are_as_documented(void **state)
{
    (void)state;
    /* worked out by hand from the table in draw.h */
    assert_int_equal(nx_draw_class_color(0), 0xf76e6e);  /* hue 0 */
    assert_int_equal(nx_draw_class_color(1), 0x6ef795);  /* 137508: sector 2, step 39 */
    assert_int_equal(nx_draw_class_color(2), 0xbd6ef7);  /* 275016: sector 4, step 79 */
    assert_int_equal(nx_draw_class_color(3), 0xf7e56e);  /* 52524: sector 0, step 119 */
    assert_int_equal(nx_draw_class_color(-1), 0xf7cb6e); /* 40860, from 4294967295 */
}

static void colors_are_readable_and_distinct(void **state)
{
    (void)state;
    for (int32_t id = 0; id < 1024; id++) {
        uint32_t color = nx_draw_class_color(id);
        assert_true((luminance(color) + 0.05) / 0.05 >= 5); /* against black text */
        for (int32_t other = id + 1; other < id + 8; other++) {
            uint32_t b = nx_draw_class_color(other);
            int distance = 0;
            for (int shift = 0; shift < 24; shift += 8) {
                distance += abs((int)(color >> shift & 255) - (int)(b >> shift & 255));
            }
            assert_true(distance > 50);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_detections_leave_the_picture),
        cmocka_unit_test(box_is_a_frame_with_a_label),
        cmocka_unit_test(lines_follow_the_size),
        cmocka_unit_test(boxes_at_the_edges_stay_whole),
        cmocka_unit_test(any_box_is_survived),
        cmocka_unit_test(low_pictures_get_boxes_alone),
        cmocka_unit_test(earlier_boxes_are_on_top),
        cmocka_unit_test(strange_names_are_drawn),
        cmocka_unit_test(labels_may_be_given),
        cmocka_unit_test(threads_draw_side_by_side),
        cmocka_unit_test(colors_are_as_documented),
        cmocka_unit_test(colors_are_readable_and_distinct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
