/* Records of a video's frames: written, read back, and turned into other formats. */
#include "results/frames.h"
#include "testing.h"

static const char *const class_names[] = {"person", "say \"cheese\", \xc3\xa9t\xc3\xa9"};
static const nx_class_names names = {class_names, NX_COUNT(class_names)};

static const nx_frame_object objects[] = {
    {.box = {10.5F, 20.25F, 110.5F, 220.75F, 0.9F, 0, 0}, .track_id = 7},
    {.box = {0, 0, 3.125F, 4, 0.25F, 1, 0}},
    {.box = {1, 2, 3, 4, 0.5F, 0, 0}, .track_id = 8, .predicted = true},
};
static const nx_frame_event events[] = {
    {.kind = NX_FRAME_LINE_IN, .name = "gate \"A\"", .track_id = 7, .class_id = 0},
    {.kind = NX_FRAME_LINE_OUT, .name = "b", .track_id = 8, .class_id = 0},
    {.kind = NX_FRAME_ZONE_ENTER, .name = "yard", .track_id = 7, .class_id = 0},
    {.kind = NX_FRAME_ZONE_EXIT, .name = "yard", .track_id = 8, .class_id = 0, .dwell_s = 2.5},
    {.kind = NX_FRAME_ZONE_END, .name = "yard", .track_id = 9, .class_id = 0, .dwell_s = 0.04},
};
static const nx_frame_record full = {
    .index = 41,
    .time_ns = 4123456789,
    .inferred = true,
    .objects = objects,
    .object_count = NX_COUNT(objects),
    .events = events,
    .event_count = NX_COUNT(events),
};

#define EMPTY_LINE "{\"frame\":0,\"time\":0,\"inferred\":false,\"objects\":[]}\n"
#define FULL_LINE                                                                                  \
    "{\"frame\":41,\"time\":4.123457,\"inferred\":true,\"objects\":["                              \
    "{\"track_id\":7,\"class_id\":0,\"class_name\":\"person\",\"confidence\":0.9,"                 \
    "\"box\":{\"x1\":10.5,\"y1\":20.25,\"x2\":110.5,\"y2\":220.75}},"                              \
    "{\"class_id\":1,\"class_name\":\"say \\\"cheese\\\", \xc3\xa9t\xc3\xa9\","                    \
    "\"confidence\":0.25,\"box\":{\"x1\":0,\"y1\":0,\"x2\":3.13,\"y2\":4}},"                       \
    "{\"track_id\":8,\"class_id\":0,\"class_name\":\"person\",\"confidence\":0.5,"                 \
    "\"box\":{\"x1\":1,\"y1\":2,\"x2\":3,\"y2\":4},\"predicted\":true}],\"events\":["              \
    "{\"type\":\"line_in\",\"name\":\"gate \\\"A\\\"\",\"track_id\":7,\"class_id\":0,"             \
    "\"class_name\":\"person\"},"                                                                  \
    "{\"type\":\"line_out\",\"name\":\"b\",\"track_id\":8,\"class_id\":0,"                         \
    "\"class_name\":\"person\"},"                                                                  \
    "{\"type\":\"zone_enter\",\"name\":\"yard\",\"track_id\":7,\"class_id\":0,"                    \
    "\"class_name\":\"person\"},"                                                                  \
    "{\"type\":\"zone_exit\",\"name\":\"yard\",\"track_id\":8,\"class_id\":0,"                     \
    "\"class_name\":\"person\",\"dwell\":2.5},"                                                    \
    "{\"type\":\"zone_end\",\"name\":\"yard\",\"track_id\":9,\"class_id\":0,"                      \
    "\"class_name\":\"person\",\"dwell\":0.04}]}\n"

static void lines_are_written(void **state)
{
    (void)state;
    const nx_frame_record empty = {0};
    nx_buffer out = NX_BUFFER_INIT;
    nx_frame_write(&empty, names, &out);
    nx_frame_write(&full, names, &out);
    assert_string_equal(nx_buffer_cstr(&out), EMPTY_LINE FULL_LINE);
    nx_buffer_free(&out);
}

/* What is read back gives the same line again, whatever was read before. */
static void lines_are_read_back(void **state)
{
    (void)state;
    static const char *const lines[] = {FULL_LINE, EMPTY_LINE, FULL_LINE};
    nx_frame_reader *reader = nx_frame_reader_new();
    assert_non_null(reader);
    for (size_t i = 0; i < NX_COUNT(lines); i++) {
        nx_error err = {0};
        nx_frame_record record;
        nx_buffer out = NX_BUFFER_INIT;
        nx_assert_ok(nx_frame_read(reader, lines[i], strlen(lines[i]), &record, &err), err);
        nx_frame_write(&record, names, &out);
        assert_string_equal(nx_buffer_cstr(&out), lines[i]);
        nx_buffer_free(&out);
    }
    nx_frame_reader_free(reader);
    nx_frame_reader_free(NULL);
}

/* More objects than there was room for at first. */
static void many_objects_are_read_back(void **state)
{
    (void)state;
    nx_frame_object *many = calloc(1000, sizeof *many);
    nx_frame_event *happened = calloc(1000, sizeof *happened);
    assert_non_null(many);
    assert_non_null(happened);
    for (size_t i = 0; i < 1000; i++) {
        many[i] = (nx_frame_object){.box = {(float)i, 0, (float)i + 1, 1, 0.5F, (int32_t)i, 0}};
        happened[i] = (nx_frame_event){.name = class_names[i % 2], .track_id = i};
    }
    const nx_frame_record record = {
        .objects = many, .object_count = 1000, .events = happened, .event_count = 1000};
    nx_frame_reader *reader = nx_frame_reader_new();
    nx_buffer first = NX_BUFFER_INIT;
    nx_buffer second = NX_BUFFER_INIT;
    nx_frame_record read;
    nx_error err = {0};
    nx_frame_write(&record, names, &first);
    nx_assert_ok(nx_frame_read(reader, first.data, first.size, &read, &err), err);
    nx_frame_write(&read, names, &second);
    assert_string_equal(nx_buffer_cstr(&first), nx_buffer_cstr(&second));
    nx_frame_reader_free(reader);
    nx_buffer_free(&first);
    nx_buffer_free(&second);
    free(many);
    free(happened);
}

static void damaged_lines_are_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"frame\":-1}",
        "{\"frame\":1.5}",
        "{\"frame\":1}{",
        "{\"frame\":1,\"time\":-1}",
        "{\"frame\":1,\"time\":1e300}",
        "{\"frame\":1,\"objects\":{}}",
        "{\"frame\":1,\"objects\":[1]}",
        "{\"frame\":1,\"objects\":[{\"class_id\":-1}]}",
        "{\"frame\":1,\"objects\":[{\"class_id\":4294967296}]}",
        "{\"frame\":1,\"objects\":[{\"track_id\":-1}]}",
        "{\"frame\":1,\"objects\":[{\"confidence\":1e400}]}",
        "{\"frame\":1,\"objects\":[{\"box\":[]}]}",
        "{\"frame\":1,\"events\":[{}]}",
        "{\"frame\":1,\"events\":[{\"name\":\"a\",\"name\":\"b\"}]}",
        "{\"frame\":1,\"events\":[{\"name\":\"a\",\"type\":\"line\"}]}",
        "{\"frame\":1,\"events\":[{\"name\":\"a\",\"type\":1}]}",
        "{\"frame\":1,\"events\":[{\"name\":\"a\",\"dwell\":-1}]}",
    };
    nx_frame_reader *reader = nx_frame_reader_new();
    for (size_t i = 0; i < NX_COUNT(lines); i++) {
        nx_error err = {0};
        nx_frame_record record;
        if (nx_frame_read(reader, lines[i], strlen(lines[i]), &record, &err) != NX_ERR_CORRUPT) {
            fail_msg("%s was read", lines[i]);
        }
        nx_assert_contains(err.message, "a line of results is damaged");
    }
    nx_frame_reader_free(reader);
}

static void other_formats_are_derived(void **state)
{
    (void)state;
    nx_buffer out = NX_BUFFER_INIT;
    nx_frames_csv_header(&out);
    nx_frames_csv(&full, names, &out);
    assert_string_equal(
        nx_buffer_cstr(&out),
        "frame,time,track_id,class_id,class_name,confidence,x1,y1,x2,y2\r\n"
        "41,4.123,7,0,person,0.9000,10.50,20.25,110.50,220.75\r\n"
        "41,4.123,,1,\"say \"\"cheese\"\", \xc3\xa9t\xc3\xa9\",0.2500,0.00,0.00,3.13,4.00\r\n"
        "41,4.123,8,0,person,0.5000,1.00,2.00,3.00,4.00\r\n");
    nx_buffer_clear(&out);
    nx_frames_mot(&full, &out);
    assert_string_equal(nx_buffer_cstr(&out), "42,7,10.50,20.25,100.00,200.50,0.9000,-1,-1,-1\n"
                                              "42,8,1.00,2.00,2.00,2.00,0.5000,-1,-1,-1\n");
    nx_buffer_clear(&out);
    bool first = true;
    nx_frames_coco(&full, &first, &out);
    assert_false(first);
    assert_string_equal(
        nx_buffer_cstr(&out),
        "{\"image_id\":41,\"category_id\":0,\"bbox\":[10.5,20.25,100,200.5],\"score\":0.9,"
        "\"track_id\":7},\n"
        "{\"image_id\":41,\"category_id\":1,\"bbox\":[0,0,3.13,4],\"score\":0.25},\n"
        "{\"image_id\":41,\"category_id\":0,\"bbox\":[1,2,2,2],\"score\":0.5,\"track_id\":8}");
    nx_buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_written),          cmocka_unit_test(lines_are_read_back),
        cmocka_unit_test(many_objects_are_read_back), cmocka_unit_test(damaged_lines_are_refused),
        cmocka_unit_test(other_formats_are_derived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
