#include "testing.h"

#include "results/record.h"

#include <float.h>

static const nx_detection boxes[] = {
    {.x1 = 0.1f,
     .y1 = 1.0f / 3,
     .x2 = 99.99999f,
     .y2 = 50,
     .confidence = 0.87654321f,
     .class_id = 79,
     .anchor = 8399},
    {.x1 = 0, .y1 = 0, .x2 = FLT_MIN, .y2 = 1, .confidence = 0.25f, .class_id = 0, .anchor = 0},
};

static const nx_keypoint joints[] = {
    {1.5f, 2.5f, 1}, {0.1f, 0.2f, 0.3f}, {99, 49, 0.5f}, {0, 0, 0}};

static uint32_t first_runs[] = {10, 5, 85};
static uint32_t second_runs[] = {0, 100};
static const nx_rle masks[] = {
    {.counts = first_runs, .count = 3, .width = 10, .height = 10},
    {.counts = second_runs, .count = 2, .width = 10, .height = 10},
};

static nx_result whole(void)
{
    return (nx_result){
        .image_width = 10,
        .image_height = 10,
        .detections = boxes,
        .count = NX_COUNT(boxes),
        .masks = masks,
        .keypoints = joints,
        .keypoint_count = 2,
    };
}

static nx_buffer written(const nx_result *result)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_record_write(result, &out);
    assert_false(out.failed);
    return out;
}

static void every_bit_comes_back(void **state)
{
    (void)state;
    const nx_result result = whole();
    nx_buffer bytes = written(&result);
    nx_record record;
    assert_true(nx_record_read(bytes.data, bytes.size, &record));
    const nx_result read = nx_record_result(&record);
    assert_int_equal(read.image_width, 10);
    assert_int_equal(read.image_height, 10);
    assert_int_equal(read.count, NX_COUNT(boxes));
    assert_memory_equal(read.detections, boxes, sizeof boxes);
    assert_int_equal(read.keypoint_count, 2);
    assert_memory_equal(read.keypoints, joints, sizeof joints);
    for (size_t i = 0; i < NX_COUNT(masks); i++) {
        assert_int_equal(read.masks[i].count, masks[i].count);
        assert_memory_equal(read.masks[i].counts, masks[i].counts,
                            masks[i].count * sizeof(uint32_t));
        assert_int_equal(read.masks[i].width, 10);
    }
    nx_record_free(&record);
    nx_buffer_free(&bytes);
}

static void nothing_found_is_a_record_as_well(void **state)
{
    (void)state;
    const nx_result empty = {.image_width = 1920, .image_height = 1080};
    nx_buffer bytes = written(&empty);
    nx_record record;
    assert_true(nx_record_read(bytes.data, bytes.size, &record));
    assert_int_equal(nx_record_result(&record).count, 0);
    assert_int_equal(nx_record_result(&record).image_width, 1920);
    assert_null(nx_record_result(&record).masks);
    nx_record_free(&record);
    nx_buffer_free(&bytes);
}

static void what_is_cut_or_goes_on_is_refused(void **state)
{
    (void)state;
    const nx_result result = whole();
    nx_buffer bytes = written(&result);
    nx_record record;
    for (size_t size = 0; size < bytes.size; size++) {
        char *exact = malloc(size + 1); /* so that a sanitizer sees who reads beyond */
        assert_non_null(exact);
        memcpy(exact, bytes.data, size);
        assert_false(nx_record_read(exact, size, &record));
        free(exact);
    }
    nx_buffer_append(&bytes, "more", 4);
    assert_false(nx_record_read(bytes.data, bytes.size, &record));
    nx_buffer_free(&bytes);
}

/* Offsets in the record of `whole`. */
enum { AT_COUNT = 12, AT_MASKS = 20, AT_X1 = 24, AT_CLASS = 44 };

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t value;
    } damages[] = {
        {0, 0},                 /* another format */
        {AT_COUNT, 0xFFFFFFFF}, /* more than there are bytes for */
        {AT_COUNT + 4, 0x7FFFFFFF},
        {AT_MASKS, 2},
        {AT_X1, 0x7FC00000},    /* not a number */
        {AT_CLASS, 0xFFFFFFFF}, /* -1 */
        {4, 11},                /* a width that the masks don't add up to */
        {4, 0},
    };
    for (size_t i = 0; i < NX_COUNT(damages); i++) {
        const nx_result result = whole();
        nx_buffer bytes = written(&result);
        nx_record record;
        memcpy(bytes.data + damages[i].at, &damages[i].value, 4);
        assert_false(nx_record_read(bytes.data, bytes.size, &record));
        nx_buffer_free(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_comes_back),
        cmocka_unit_test(nothing_found_is_a_record_as_well),
        cmocka_unit_test(what_is_cut_or_goes_on_is_refused),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
