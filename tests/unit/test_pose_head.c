#include "testing.h"

#include "vision/postprocess.h"

#include <math.h>

/* A head of one class and two keypoints on a 64x64 input. */
enum { SIDE = 64, ANCHORS = 2, POINTS = 2 };

static nx_detections run(const float *data, int32_t values, nx_letterbox box)
{
    const nx_head_output output = {
        .kind = NX_HEAD_POSE,
        .data = data,
        .rows = 5 + POINTS * values,
        .columns = ANCHORS,
        .input_width = SIDE,
        .input_height = SIDE,
        .classes = 1,
        .keypoints = POINTS,
        .keypoint_values = values,
    };
    nx_postprocess_options options = nx_postprocess_defaults();
    nx_detections found = {0};
    nx_error err = {0};
    nx_assert_ok(nx_postprocess(&output, &box, &options, &found, &err), err);
    assert_int_equal(found.keypoint_count, POINTS);
    return found;
}

static void assert_point(const nx_keypoint *point, float x, float y, float confidence)
{
    assert_true(fabsf(point->x - x) < 1e-4F && fabsf(point->y - y) < 1e-4F &&
                fabsf(point->confidence - confidence) < 1e-6F);
}

static void keypoints_follow_their_box_through_the_letterbox(void **state)
{
    (void)state;
    /* rows: cx, cy, w, h, score, then x, y, confidence twice; two anchors a row */
    static const float data[] = {20, 40, 32, 32,   10,   20, 10, 20, 0.5F, 0.9F, 11,
                                 41, 21, 31, 0.1F, 0.8F, 12, 42, 22, 32,   0.2F, 1.5F};
    /* 128x64 in 64x64: half the size, 16 rows of padding */
    nx_detections found = run(data, 3, nx_letterbox_fit(2 * SIDE, SIDE, SIDE, SIDE, true));
    assert_int_equal(found.count, 2);
    assert_int_equal(found.items[0].anchor, 1);
    assert_point(&found.keypoints[0], 82, 30, 0.8F);
    assert_point(&found.keypoints[1], 84, 32, 1);
    assert_point(&found.keypoints[2], 22, 10, 0.1F);
    assert_point(&found.keypoints[3], 24, 12, 0.2F);
    nx_detections_free(&found);
}

static void keypoints_without_confidence_have_1_and_stay_inside(void **state)
{
    (void)state;
    static const float data[] = {20, 0, 32, 0, 10, 0, 10, 0, 0.5F, 0, -5, 0, 70, 0, NAN, 0, 30, 0};
    nx_detections found = run(data, 2, nx_letterbox_fit(SIDE, SIDE, SIDE, SIDE, true));
    assert_int_equal(found.count, 1);
    assert_point(&found.keypoints[0], 0, SIDE, 1);
    assert_point(&found.keypoints[1], 0, 30, 1);
    nx_detections_free(&found);
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const float data[64];
    nx_letterbox box = nx_letterbox_fit(SIDE, SIDE, SIDE, SIDE, true);
    nx_postprocess_options options = nx_postprocess_defaults();
    nx_detections found = {0};
    static const int32_t shapes[][4] = {/* rows, classes, keypoints, values */
                                        {11, 1, 2, 4},
                                        {11, 1, 3, 3},
                                        {11, 2, 2, 3},
                                        {11, 1, 0, 3},
                                        {11, 1, 1431655767, 3}};
    for (size_t i = 0; i < NX_COUNT(shapes); i++) {
        nx_error err = {0};
        const nx_head_output output = {.kind = NX_HEAD_POSE,
                                       .data = data,
                                       .rows = shapes[i][0],
                                       .columns = ANCHORS,
                                       .input_width = SIDE,
                                       .input_height = SIDE,
                                       .classes = shapes[i][1],
                                       .keypoints = shapes[i][2],
                                       .keypoint_values = shapes[i][3]};
        assert_int_equal(nx_postprocess(&output, &box, &options, &found, &err), NX_ERR_INVALID);
    }
    nx_detections_free(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keypoints_follow_their_box_through_the_letterbox),
        cmocka_unit_test(keypoints_without_confidence_have_1_and_stay_inside),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests_name("pose_head", tests, NULL, NULL);
}
