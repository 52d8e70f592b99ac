#include "scratch.h"

#include "eval/mot_file.h"

static nx_status parse(const char *text, bool truth, nx_mot_boxes *out, nx_error *err)
{
    return nx_mot_parse(text, strlen(text), "t.txt", truth, out, err);
}

static void lines_are_read_and_sorted(void **state)
{
    (void)state;
    nx_mot_boxes boxes;
    nx_error err = {0};
    nx_assert_ok(parse("2,3,1.5,-2,30,40,0.25,-1,-1,-1\r\n\n1, 9 ,1,2,3,4\n2,-1,5,6,7,8,1\n"
                       "1,4,1,2,3,4,0",
                       false, &boxes, &err),
                 err);
    assert_int_equal(boxes.count, 4);
    assert_int_equal(boxes.last_frame, 2);
    assert_true(boxes.items[0].frame == 1 && boxes.items[0].id == 4 && boxes.items[0].line == 5);
    assert_true(boxes.items[1].id == 9 && boxes.items[1].confidence == 1);
    assert_true(boxes.items[2].id == -1);
    const nx_mot_box *last = &boxes.items[3];
    assert_true(last->x == 1.5 && last->y == -2 && last->width == 30 && last->height == 40);
    assert_true(last->confidence == 0.25 && last->line == 1);
    nx_mot_boxes_free(&boxes);
    nx_mot_boxes_free(NULL);
}

static void truth_leaves_out_what_is_not_to_be_measured(void **state)
{
    (void)state;
    nx_mot_boxes boxes;
    nx_error err = {0};
    nx_assert_ok(parse("1,1,1,2,3,4,0\n1,2,1,2,3,4,1\n", true, &boxes, &err), err);
    assert_int_equal(boxes.count, 1);
    assert_int_equal(boxes.items[0].id, 2);
    nx_mot_boxes_free(&boxes);
    nx_assert_ok(parse("", true, &boxes, &err), err);
    assert_int_equal(boxes.count, 0);
    nx_mot_boxes_free(&boxes);
}

static void errors_name_the_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"1,1,1,2,3,4,1\n1,2,3\n", "t.txt: line 2: it has too few columns"},
        {"\n\n0,1,1,2,3,4,1", "line 3: the frame is no whole number from 1 on"},
        {"1.5,1,1,2,3,4,1", "the frame is no whole number"},
        {"10000001,1,1,2,3,4,1", "the frame is no whole number"},
        {"99999999999999999999,1,1,2,3,4,1", "the frame is no whole number"},
        {"1,a,1,2,3,4,1", "the id is no whole number"},
        {"1,1,1,2,x,4,1", "the box is not of four numbers"},
        {"1,1,1,2,,4,1", "the box is not of four numbers"},
        {"1,1,nan,2,3,4,1", "the box is not of four numbers"},
        {"1,1,1e9,2,3,4,1", "the box is not of four numbers"},
        {"1,1,1,2,3,4,yes", "the confidence is no number"},
        {"1,1,1,2,0,4,1", "the box has no area"},
        {"1,1,1,2,3,-4,1", "the box has no area"},
        {"1,1,1,2,3,4,1\n2,1,1,2,3,4,1\n1,1,5,5,5,5,1\n",
         "line 3: frame 1 has the id 1 already, in line 1"},
    };
    nx_mot_boxes boxes;
    nx_error err = {0};
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        assert_int_equal(parse(cases[i].text, false, &boxes, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, cases[i].part);
        assert_null(boxes.items);
    }
    char longer[1024];
    memset(longer, '1', sizeof longer);
    assert_int_equal(nx_mot_parse(longer, sizeof longer, "t.txt", false, &boxes, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "too long");
    assert_int_equal(nx_mot_parse("1,1,1,2,3,4,1\0", 14, "t.txt", false, &boxes, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "no text");
}

static void what_is_written_is_read(void **state)
{
    const nx_mot_box boxes[] = {{1, 2, 3.25, 4.5, 10, 20, 0.5, 0}, {7, 1, -3, 0, 1, 2, 1, 0}};
    nx_buffer text = NX_BUFFER_INIT;
    nx_mot_boxes read;
    nx_error err = {0};
    nx_mot_append(&text, &boxes[0]);
    nx_mot_append(&text, &boxes[1]);
    assert_string_equal(nx_buffer_cstr(&text), "1,2,3.25,4.50,10.00,20.00,0.5000,-1,-1,-1\n"
                                               "7,1,-3.00,0.00,1.00,2.00,1.0000,-1,-1,-1\n");
    const char *path = scratch_write(state, "tracks.txt", text.data, text.size);
    nx_assert_ok(nx_mot_read(path, false, &read, &err), err);
    assert_int_equal(read.count, 2);
    assert_true(read.items[0].x == 3.25 && read.items[1].id == 1);
    nx_mot_boxes_free(&read);
    nx_buffer_free(&text);
    assert_int_equal(nx_mot_read(scratch_path(state, "none.txt"), true, &read, &err),
                     NX_ERR_NOT_FOUND);
}

static void the_shared_ground_truth_has_the_known_contents(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_mot_boxes boxes;
    nx_error err = {0};
    nx_assert_ok(nx_mot_read(nx_shared_path("videos/pets09-s2l1-gt/gt.txt"), true, &boxes, &err),
                 err);
    assert_int_equal(boxes.count, 676);
    assert_int_equal(boxes.last_frame, 124);
    nx_mot_boxes_free(&boxes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_and_sorted),
        cmocka_unit_test(truth_leaves_out_what_is_not_to_be_measured),
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_shared_ground_truth_has_the_known_contents),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
