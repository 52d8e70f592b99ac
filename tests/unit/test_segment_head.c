#include "testing.h"

#include "vision/postprocess.h"

#include <math.h>

/* A head of 2 classes and 2 protos on a 64x64 input: protos are 16x16, 4 pixels a cell. Proto 0
 * is 1 in the left half and -1 in the right; proto 1 the same from top to bottom. */
enum { SIDE = 64, CELLS = 16, ANCHORS = 3, CLASSES = 2, PROTOS = 2, ROWS = 4 + CLASSES + PROTOS };

typedef struct head {
    nx_head_output output;
    float data[ROWS * ANCHORS];
    float protos[PROTOS * CELLS * CELLS];
} head;

static void put(head *h, size_t anchor, const float values[ROWS])
{
    for (size_t r = 0; r < ROWS; r++) {
        h->data[r * ANCHORS + anchor] = values[r];
    }
}

static void head_init(head *h)
{
    *h = (head){0};
    for (size_t y = 0; y < CELLS; y++) {
        for (size_t x = 0; x < CELLS; x++) {
            h->protos[y * CELLS + x] = x < CELLS / 2 ? 1 : -1;
            h->protos[CELLS * CELLS + y * CELLS + x] = y < CELLS / 2 ? 1 : -1;
        }
    }
    h->output = (nx_head_output){
        .kind = NX_HEAD_SEGMENT,
        .data = h->data,
        .rows = ROWS,
        .columns = ANCHORS,
        .input_width = SIDE,
        .input_height = SIDE,
        .classes = CLASSES,
        .protos = h->protos,
        .proto_channels = PROTOS,
        .proto_width = CELLS,
        .proto_height = CELLS,
    };
}

static nx_detections run(const head *h, nx_letterbox box)
{
    nx_postprocess_options options = nx_postprocess_defaults();
    nx_detections found = {0};
    nx_error err = {0};
    nx_assert_ok(nx_postprocess(&h->output, &box, &options, &found, &err), err);
    assert_int_equal(found.mask_count, found.count);
    return found;
}

static void assert_box(const nx_rle *rle, uint32_t left, uint32_t top, uint32_t right,
                       uint32_t bottom)
{
    nx_mask_box box = nx_rle_box(rle);
    assert_int_equal(box.left, left);
    assert_int_equal(box.top, top);
    assert_int_equal(box.right, right);
    assert_int_equal(box.bottom, bottom);
}

static void masks_belong_to_their_boxes(void **state)
{
    (void)state;
    head h;
    head_init(&h);
    /* the weaker one first: what is sorted by confidence must keep its coefficients */
    put(&h, 0, (float[ROWS]){32, 32, 40, 20, 0.5F, 0, 0, 1});    /* the upper half */
    put(&h, 1, (float[ROWS]){32, 32, 64, 64, 0.1F, 0.1F, 1, 1}); /* too weak */
    put(&h, 2, (float[ROWS]){32, 32, 40, 20, 0, 0.9F, 1, 0});    /* the left half */
    nx_detections found = run(&h, nx_letterbox_fit(SIDE, SIDE, SIDE, SIDE, true));
    assert_int_equal(found.count, 2);
    assert_int_equal(found.items[0].anchor, 2);
    assert_int_equal(found.items[0].class_id, 1);
    assert_int_equal(found.masks[0].width, SIDE);
    assert_box(&found.masks[0], 12, 22, 32, 42);
    assert_int_equal(nx_rle_area(&found.masks[0]), 20 * 20);
    assert_box(&found.masks[1], 12, 22, 52, 32);
    assert_int_equal(nx_rle_area(&found.masks[1]), 40 * 10);
    nx_detections_free(&found);
}

static void masks_go_back_through_the_letterbox(void **state)
{
    (void)state;
    head h;
    head_init(&h);
    /* 128x64 in 64x64: half the size, 16 rows of padding above and below */
    put(&h, 0, (float[ROWS]){32, 32, 40, 24, 0.9F, 0, 1, 0});
    nx_detections found = run(&h, nx_letterbox_fit(2 * SIDE, SIDE, SIDE, SIDE, true));
    assert_int_equal(found.count, 1);
    assert_int_equal(found.masks[0].width, 2 * SIDE);
    assert_int_equal(found.masks[0].height, SIDE);
    assert_box(&found.masks[0], 24, 8, 64, 56);
    nx_detections_free(&found);
}

static void a_list_is_used_again(void **state)
{
    (void)state;
    head h;
    head_init(&h);
    put(&h, 0, (float[ROWS]){32, 32, 40, 20, 0.9F, 0, 1, 0});
    nx_letterbox box = nx_letterbox_fit(SIDE, SIDE, SIDE, SIDE, true);
    nx_detections found = run(&h, box);
    nx_postprocess_options options = nx_postprocess_defaults();
    nx_error err = {0};
    nx_assert_ok(nx_postprocess(&h.output, &box, &options, &found, &err), err);
    assert_int_equal(found.mask_count, 1);
    options.confidence = 0.95F;
    nx_assert_ok(nx_postprocess(&h.output, &box, &options, &found, &err), err);
    assert_int_equal(found.count + found.mask_count, 0);
    assert_null(found.masks);
    nx_detections_free(&found);
}

static void coefficients_that_are_no_numbers_give_an_empty_mask(void **state)
{
    (void)state;
    head h;
    head_init(&h);
    put(&h, 0, (float[ROWS]){32, 32, 40, 20, 0.9F, 0, NAN, 0});
    nx_detections found = run(&h, nx_letterbox_fit(SIDE, SIDE, SIDE, SIDE, true));
    assert_int_equal(nx_rle_area(&found.masks[0]), 0);
    nx_detections_free(&found);
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    head h;
    head_init(&h);
    nx_letterbox box = nx_letterbox_fit(SIDE, SIDE, SIDE, SIDE, true);
    nx_postprocess_options options = nx_postprocess_defaults();
    nx_detections found = {0};
    for (int i = 0; i < 5; i++) {
        nx_head_output output = h.output;
        nx_error err = {0};
        output.rows += i == 0;
        output.classes = i == 1 ? 0 : output.classes;
        output.protos = i == 2 ? NULL : output.protos;
        output.proto_width = i == 3 ? 0 : output.proto_width;
        output.proto_channels = i == 4 ? -2 : output.proto_channels;
        assert_int_equal(nx_postprocess(&output, &box, &options, &found, &err), NX_ERR_INVALID);
    }
    nx_detections_free(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_belong_to_their_boxes),
        cmocka_unit_test(masks_go_back_through_the_letterbox),
        cmocka_unit_test(a_list_is_used_again),
        cmocka_unit_test(coefficients_that_are_no_numbers_give_an_empty_mask),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests_name("segment_head", tests, NULL, NULL);
}
