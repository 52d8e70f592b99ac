/* Totals and counts over time of a small video whose answer is known. */
#include "results/tally.h"
#include "testing.h"

static const char *const class_names[] = {"person", "car"};
static const nx_class_names names = {class_names, NX_COUNT(class_names)};

#define OBJECT(TRACK, CLASS)                                                                       \
    {                                                                                              \
        .box = {0, 0, 1, 1, 0.5F, (CLASS), 0}, .track_id = (TRACK)                                 \
    }

static const nx_frame_object two[] = {OBJECT(1, 0), OBJECT(2, 1)};
static const nx_frame_object three[] = {OBJECT(1, 0), OBJECT(3, 0), OBJECT(0, 1)};
static const nx_frame_object late[] = {OBJECT(100000, 0)};

#define EVENT(KIND, NAME, TRACK, CLASS, DWELL)                                                     \
    {                                                                                              \
        .kind = (KIND), .name = (NAME), .track_id = (TRACK), .class_id = (CLASS),                  \
        .dwell_s = (DWELL)                                                                         \
    }
static const nx_frame_event begin[] = {
    EVENT(NX_FRAME_ZONE_ENTER, "yard", 1, 0, 0),
    EVENT(NX_FRAME_LINE_IN, "gate", 2, 1, 0),
};
static const nx_frame_event middle[] = {
    EVENT(NX_FRAME_ZONE_ENTER, "yard", 3, 0, 0),
    EVENT(NX_FRAME_ZONE_EXIT, "yard", 1, 0, 1.5),
    EVENT(NX_FRAME_LINE_OUT, "gate", 1, 0, 0),
};
static const nx_frame_event end[] = {
    EVENT(NX_FRAME_ZONE_END, "yard", 3, 0, 4.5),
};

#define SECONDS(S) ((int64_t)((S)*1e9))
static const nx_frame_record records[] = {
    {0, 0, true, two, 2, begin, 2},
    {1, SECONDS(0.5), false, two, 2, NULL, 0},
    {2, SECONDS(1.5), true, three, 3, middle, 3},
    {3, SECONDS(5.25), true, late, 1, end, 1},
};

static void totals_and_counts(void **state)
{
    (void)state;
    nx_tally *tally = nx_tally_new(names, 1);
    nx_buffer counts = NX_BUFFER_INIT;
    nx_error err = {0};
    nx_tally_counts_header(&counts);
    for (size_t i = 0; i < NX_COUNT(records); i++) {
        nx_assert_ok(nx_tally_add(tally, &records[i], &counts, &err), err);
    }
    nx_tally_counts_end(tally, &counts);
    assert_string_equal(nx_buffer_cstr(&counts), "from,to,kind,name,class_name,in,out,occupancy\r\n"
                                                 "0.000,1.000,scene,,person,1,0,1\r\n"
                                                 "0.000,1.000,scene,,car,1,0,1\r\n"
                                                 "0.000,1.000,line,gate,car,1,0,0\r\n"
                                                 "0.000,1.000,zone,yard,person,1,0,1\r\n"
                                                 "1.000,2.000,scene,,person,1,0,2\r\n"
                                                 "1.000,2.000,scene,,car,0,0,1\r\n"
                                                 "1.000,2.000,line,gate,person,0,1,0\r\n"
                                                 "1.000,2.000,zone,yard,person,1,1,1\r\n"
                                                 "5.000,5.250,scene,,person,1,0,1\r\n"
                                                 "5.000,5.250,zone,yard,person,0,1,0\r\n");
    nx_buffer_clear(&counts);
    nx_json json = nx_json_begin(&counts);
    nx_json_object_begin(&json);
    nx_tally_json_members(tally, &json);
    nx_json_object_end(&json);
    assert_string_equal(
        nx_buffer_cstr(&counts),
        "{\"frames\":4,\"frames_inferred\":3,\"duration\":5.25,\"objects\":8,\"classes\":["
        "{\"class_id\":0,\"class_name\":\"person\",\"tracks\":3,\"objects\":5,\"most_at_once\":2},"
        "{\"class_id\":1,\"class_name\":\"car\",\"tracks\":1,\"objects\":3,\"most_at_once\":1}],"
        "\"lines\":[{\"name\":\"gate\",\"class_name\":\"person\",\"in\":0,\"out\":1},"
        "{\"name\":\"gate\",\"class_name\":\"car\",\"in\":1,\"out\":0}],"
        "\"zones\":[{\"name\":\"yard\",\"class_name\":\"person\",\"entries\":2,\"exits\":1,"
        "\"ended\":1,\"inside\":0,\"most_inside\":2,\"dwell_mean\":3,\"dwell_max\":4.5}]}");
    nx_buffer_free(&counts);
    nx_tally_free(tally);
}

static void nothing_gives_nothing(void **state)
{
    (void)state;
    nx_tally *tally = nx_tally_new(names, 60);
    nx_buffer out = NX_BUFFER_INIT;
    nx_tally_counts_end(tally, &out);
    assert_int_equal(out.size, 0);
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_tally_json_members(tally, &json);
    nx_json_object_end(&json);
    assert_string_equal(nx_buffer_cstr(&out),
                        "{\"frames\":0,\"frames_inferred\":0,\"duration\":0,\"objects\":0,"
                        "\"classes\":[],\"lines\":[],\"zones\":[]}");
    nx_buffer_free(&out);
    nx_tally_free(tally);
    nx_tally_free(NULL);
}

/* A number that no tracker gives would take memory without end. */
static void impossible_tracks_are_refused(void **state)
{
    (void)state;
    const nx_frame_object object = OBJECT(UINT64_MAX / 2, 0);
    const nx_frame_record record = {.objects = &object, .object_count = 1};
    nx_tally *tally = nx_tally_new(names, 60);
    nx_buffer counts = NX_BUFFER_INIT;
    nx_error err = {0};
    assert_int_equal(nx_tally_add(tally, &record, &counts, &err), NX_ERR_NO_MEMORY);
    nx_tally_free(tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_and_counts),
        cmocka_unit_test(nothing_gives_nothing),
        cmocka_unit_test(impossible_tracks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
