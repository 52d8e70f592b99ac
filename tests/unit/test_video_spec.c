/* The options of a video job: read, written and read again, and refused where they are wrong. */
#include "jobs/video_spec.h"
#include "testing.h"

static char *written(const nx_video_spec *spec)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_video_spec_json_members(spec, &json);
    nx_json_object_end(&json);
    assert_non_null(nx_buffer_cstr(&out));
    return out.data;
}

#define DEFAULTS "\"track\":true,\"motion_gate\":false,\"adaptive_stride\":false"
#define OUTPUTS                                                                                    \
    "\"outputs\":[\"frames\",\"summary\",\"csv\",\"coco\",\"mot\",\"counts\",\"heatmap\"]"

static void options_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *given, *written;
    } cases[] = {
        {"{}", "{\"stride\":1," DEFAULTS "," OUTPUTS ",\"counts_every\":60}"},
        {"{\"model\":\"yolov8s:2\",\"confidence\":0.4,\"iou\":0.5,\"classes\":[\"person\",7],"
         "\"stride\":3,\"track\":true,\"outputs\":[\"video\",\"mot\"],\"counts_every\":5}",
         "{\"model\":\"yolov8s:2\",\"confidence\":0.4,\"iou\":0.5,\"classes\":\"person,7\","
         "\"stride\":3," DEFAULTS
         ",\"outputs\":[\"frames\",\"summary\",\"mot\",\"video\"],\"counts_every\":5}"},
        {"{\"fps\":2.5,\"outputs\":\"csv, coco\",\"classes\":\"traffic light,bus\"}",
         "{\"classes\":\"traffic light,bus\",\"stride\":1,\"fps\":2.5," DEFAULTS
         ",\"outputs\":[\"frames\",\"summary\",\"csv\",\"coco\"],\"counts_every\":60}"},
        {"{\"zones\":[{\"name\":\"a\"}],\"lines\":[1, 2]}",
         "{\"stride\":1," DEFAULTS ",\"lines\":[1,2],\"zones\":[{\"name\":\"a\"}]," OUTPUTS
         ",\"counts_every\":60}"},
        {"{\"motion_gate\":true,\"adaptive_stride\":true}",
         "{\"stride\":1,\"track\":true,\"motion_gate\":true,\"adaptive_stride\":true," OUTPUTS
         ",\"counts_every\":60}"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_video_spec spec;
        nx_error err = {0};
        nx_assert_ok(nx_video_spec_parse(cases[i].given, strlen(cases[i].given), &spec, &err), err);
        char *text = written(&spec);
        assert_string_equal(text, cases[i].written);
        nx_video_spec_free(&spec);
        nx_assert_ok(nx_video_spec_parse(text, strlen(text), &spec, &err), err);
        char *again = written(&spec);
        assert_string_equal(again, text);
        nx_video_spec_free(&spec);
        free(text);
        free(again);
    }
}

static void wrong_options_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *given, *told;
    } cases[] = {
        {"", "the JSON cannot be read"},
        {"[]", "as a JSON object"},
        {"{\"stride\":1,\"stride\":2}", "duplicate"},
        {"{\"strid\":1}", "there is no option 'strid'; did you mean 'stride'?"},
        {"{\"model\":5}", "model: send a name"},
        {"{\"model\":\"../x\"}", "model: "},
        {"{\"confidence\":1.5}", "confidence: send a number from 0 to 1"},
        {"{\"confidence\":\"0.5\"}", "confidence: send a number"},
        {"{\"iou\":-1}", "iou: "},
        {"{\"classes\":[]}", "classes: send a list"},
        {"{\"classes\":[\"a,b\"]}", "classes[0]: "},
        {"{\"classes\":[\"a\",-1]}", "classes[1]: "},
        {"{\"classes\":\"\"}", "classes: "},
        {"{\"stride\":0}", "stride: send a whole number from 1 to 1000"},
        {"{\"stride\":1.5}", "stride: "},
        {"{\"fps\":0}", "fps: "},
        {"{\"fps\":5,\"stride\":2}", "stride or fps, not both"},
        {"{\"track\":1}", "track: send true or false"},
        {"{\"track\":false,\"zones\":[]}", "leave track on"},
        {"{\"track\":false,\"adaptive_stride\":true}", "leave track on"},
        {"{\"track\":false,\"motion_gate\":true}", "leave track on"},
        {"{\"zones\":{}}", "zones: send a list"},
        {"{\"outputs\":[\"cvs\"]}", "did you mean 'csv'?"},
        {"{\"outputs\":[1]}", "outputs[0]: this is no name"},
        {"{\"outputs\":\" , \"}", "the list is empty"},
        {"{\"outputs\":7}", "outputs: send a list"},
        {"{\"counts_every\":0}", "counts_every: "},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_video_spec spec;
        nx_error err = {0};
        nx_status status = nx_video_spec_parse(cases[i].given, strlen(cases[i].given), &spec, &err);
        if (status != NX_ERR_INVALID || strstr(err.message, cases[i].told) == NULL) {
            fail_msg("%s: status %d, '%s'", cases[i].given, status, err.message);
        }
        assert_null(spec.classes);
        assert_null(spec.places);
    }
}

static void outputs_have_names_and_files(void **state)
{
    (void)state;
    assert_string_equal(nx_video_output_file(NX_VIDEO_VIDEO), "annotated.mp4");
    size_t count = 0;
    const char *const *names = nx_video_spec_names(&count);
    for (size_t i = 0; i < count; i++) {
        assert_non_null(names[i]);
    }
    assert_int_equal(count, 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_read_and_written),
        cmocka_unit_test(wrong_options_are_told),
        cmocka_unit_test(outputs_have_names_and_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
