/* What is wanted of a stream, as JSON, and when. */
#include "testing.h"

#include "streams/spec.h"

#include <string.h>

static char *text_of(const nx_stream_spec *spec)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_stream_spec_json_members(spec, &json);
    nx_json_object_end(&json);
    char *text = strdup(nx_buffer_cstr(&out));
    nx_buffer_free(&out);
    return text;
}

static void what_is_read_is_written(void **state)
{
    (void)state;
    nx_stream_spec spec;
    nx_error err = {0};
    nx_assert_ok(nx_stream_spec_parse("{}", &spec, &err), err);
    char *text = text_of(&spec);
    assert_string_equal(text, "{\"track\":true,\"motion_gate\":false,\"drop\":\"latest\","
                              "\"transport\":\"auto\"}");
    free(text);
    nx_stream_spec_free(&spec);

    static const char full[] =
        "{\"model\":\"yolov8n:2\",\"confidence\":0.4,\"iou\":0.5,\"classes\":\"person,2\","
        "\"fps\":7.5,\"track\":true,\"motion_gate\":true,"
        "\"lines\":[{\"from\":[0.5,0],\"name\":\"door\",\"to\":[0.5,1]}],"
        "\"rules\":[{\"name\":\"in\",\"kind\":\"line_crossed\",\"line\":\"door\","
        "\"classes\":[\"whoever\"]}],"
        "\"drop\":\"block\",\"transport\":\"udp\","
        "\"schedule\":[{\"days\":[\"sun\",\"fri\"],\"from\":\"22:00\",\"to\":\"06:30\"}]}";
    nx_assert_ok(nx_stream_spec_parse(full, &spec, &err), err);
    assert_int_equal(spec.drop, NX_STREAM_BLOCK);
    assert_int_equal(spec.transport, NX_STREAM_UDP);
    text = text_of(&spec);
    assert_string_equal(text, full);
    free(text);
    nx_stream_spec_free(&spec);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"[]", "JSON"},
        {"{\"stride\":2}", "stride"},
        {"{\"outputs\":[\"csv\"]}", "outputs"},
        {"{\"drop\":\"newest\"}", "drop"},
        {"{\"drop\":1}", "drop"},
        {"{\"transport\":\"sctp\"}", "tcp"},
        {"{\"trnsport\":\"tcp\"}", "did you mean 'transport'"},
        {"{\"fps\":0}", "fps"},
        {"{\"track\":false,\"motion_gate\":true}", "motion_gate"},
        {"{\"rules\":7}", "rules: send a list"},
        {"{\"rules\":[{\"name\":\"a\",\"kind\":\"zone_left\",\"zone\":\"x\"}]}",
         "rules[0].zone: there is no zone 'x'"},
        {"{\"rules\":[],\"track\":false}", "rules: they need track"},
        {"{\"schedule\":{}}", "schedule"},
        {"{\"schedule\":[1]}", "schedule[0]"},
        {"{\"schedule\":[{},{\"days\":[]}]}", "schedule[1].days"},
        {"{\"schedule\":[{\"days\":[\"funday\"]}]}", "schedule[0].days"},
        {"{\"schedule\":[{\"from\":\"8:00\"}]}", "schedule[0].from"},
        {"{\"schedule\":[{\"to\":\"24:01\"}]}", "schedule[0].to"},
        {"{\"schedule\":[{\"to\":\"12:60\"}]}", "schedule[0].to"},
        {"{\"schedule\":[{\"until\":\"12:00\"}]}", "until"},
    };
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        nx_stream_spec spec;
        nx_error err = {0};
        assert_int_equal(nx_stream_spec_parse(wrong[i][0], &spec, &err), NX_ERR_INVALID);
        assert_non_null(strstr(err.message, wrong[i][1]));
        nx_stream_spec_free(&spec); /* is empty, and may be freed again */
    }
}

static nx_schedule schedule_of(const char *text)
{
    nx_schedule schedule;
    nx_error err = {0};
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    nx_assert_ok(nx_schedule_parse(value, &schedule, &err), err);
    json_decref(value);
    return schedule;
}

#define AT(hour, minute) ((hour)*60 + (minute))

static void schedules_open_and_close(void **state)
{
    (void)state;
    nx_schedule always = schedule_of("[]");
    assert_true(nx_schedule_is_open(&always, 3, AT(4, 0)));
    nx_schedule whole = schedule_of("[{\"days\":[\"mon\"]}]");
    assert_true(nx_schedule_is_open(&whole, 1, 0));
    assert_true(nx_schedule_is_open(&whole, 1, AT(23, 59)));
    assert_false(nx_schedule_is_open(&whole, 2, 0));
    assert_false(nx_schedule_is_open(&whole, 0, AT(23, 59)));
    nx_schedule day = schedule_of("[{\"from\":\"08:00\",\"to\":\"18:00\"}]");
    assert_false(nx_schedule_is_open(&day, 5, AT(7, 59)));
    assert_true(nx_schedule_is_open(&day, 5, AT(8, 0)));
    assert_false(nx_schedule_is_open(&day, 5, AT(18, 0)));
}

static void nights_end_on_the_next_day(void **state)
{
    (void)state;
    nx_schedule night = schedule_of("[{\"days\":[\"sat\"],\"from\":\"22:00\",\"to\":\"06:00\"},"
                                    "{\"days\":[\"wed\"],\"from\":\"12:00\",\"to\":\"13:00\"}]");
    assert_true(nx_schedule_is_open(&night, 6, AT(22, 0)));
    assert_true(nx_schedule_is_open(&night, 0, AT(5, 59)));
    assert_false(nx_schedule_is_open(&night, 0, AT(6, 0)));
    assert_false(nx_schedule_is_open(&night, 6, AT(5, 0))); /* Friday has no night */
    assert_false(nx_schedule_is_open(&night, 0, AT(22, 30)));
    assert_true(nx_schedule_is_open(&night, 3, AT(12, 30)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_written),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(schedules_open_and_close),
        cmocka_unit_test(nights_end_on_the_next_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
