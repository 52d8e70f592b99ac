#include "api/options.h"
#include "api/payload.h"
#include "testing.h"

static const char *const names[] = {"person", "bicycle", "car", "traffic light", "bus"};
static const nx_option_rules rules = {
    .defaults = {.confidence = 0.25f, .iou = 0.45f, .max_detections = 300},
    .names = {names, 5},
    .model = "yolov8n",
    .has_format = true,
};

static bool allows(const nx_api_options *options, int id)
{
    return (options->postprocess.class_mask[id / 64] >> (id % 64) & 1) != 0;
}

/* --- text ---------------------------------------------------------------------------------------
 */

static nx_api_options set_all(const char *const *pairs, size_t count)
{
    nx_api_options options = nx_api_options_start(&rules);
    nx_problem problem;
    for (size_t i = 0; i < count; i += 2) {
        if (!nx_api_options_set(&options, pairs[i], pairs[i + 1], &problem)) {
            fail_msg("%s=%s: %s", pairs[i], pairs[i + 1], problem.detail);
        }
    }
    return options;
}

#define SET(...)                                                                                   \
    set_all((const char *const[]){__VA_ARGS__},                                                    \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static void good_options_are_taken(void **state)
{
    (void)state;
    nx_api_options o = SET("confidence", "0.5", "iou", "1", "max_detections", "7", "format", "csv",
                           "model", "yolov8n");
    assert_true(o.postprocess.confidence == 0.5f);
    assert_true(o.postprocess.iou == 1.0f);
    assert_int_equal(o.postprocess.max_detections, 7);
    assert_int_equal(o.format, NX_FORMAT_CSV);
    assert_false(o.postprocess.filter_classes);

    o = SET("confidence", "5e-1");
    assert_true(o.postprocess.confidence == 0.5f);
    o = SET("confidence", "0");
    assert_true(o.postprocess.confidence == 0);
    o = nx_api_options_start(&rules);
    assert_true(o.postprocess.confidence == 0.25f);
    assert_int_equal(o.format, NX_FORMAT_NEXUS);
}

static void classes_are_names_or_ids(void **state)
{
    (void)state;
    nx_api_options o = SET("classes", " person , 4,Traffic Light");
    assert_true(o.postprocess.filter_classes);
    assert_true(allows(&o, 0) && allows(&o, 3) && allows(&o, 4));
    assert_false(allows(&o, 1) || allows(&o, 2));

    o = SET("classes", "car", "classes", "bus"); /* given twice, they add up */
    assert_true(allows(&o, 2) && allows(&o, 4));
    o = SET("classes", "");
    assert_false(o.postprocess.filter_classes);
}

static void a_later_source_wins(void **state)
{
    (void)state;
    nx_api_options o = SET("confidence", "0.9", "classes", "car");
    nx_problem problem;
    nx_api_options_next_source(&o);
    assert_true(nx_api_options_set(&o, "confidence", "0.1", &problem));
    assert_true(nx_api_options_set(&o, "classes", "bus", &problem));
    assert_true(o.postprocess.confidence == 0.1f);
    assert_false(allows(&o, 2));
    assert_true(allows(&o, 4));
    nx_api_options_next_source(&o);
    assert_true(nx_api_options_set(&o, "classes", "", &problem));
    assert_false(o.postprocess.filter_classes);
}

static void bad_options_say_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
        int status;
        const char *detail;
    } cases[] = {
        {"confidence", "high", 400, "confidence: 'high' is not a number"},
        {"confidence", "", 400, "confidence: '' is not a number"},
        {"confidence", NULL, 400, "confidence has no value"},
        {"confidence", "0.5 ", 400, "not a number"},
        {"confidence", "nan", 400, "not a number"},
        {"confidence", "inf", 400, "not a number"},
        {"confidence", "0x1", 400, "not a number"},
        {"confidence", "1e999", 400, "not a number"},
        {"confidence", "0,5", 400, "not a number"},
        {"confidence", "1.5", 422, "confidence: 1.5 is not from 0 to 1"},
        {"iou", "-0.1", 422, "iou: -0.1 is not from 0 to 1"},
        {"max_detections", "0", 422, "max_detections: 0 is not from 1 to 1000"},
        {"max_detections", "1001", 422, "not from 1 to 1000"},
        {"max_detections", "99999999999999999999", 422, "not from 1 to 1000"},
        {"max_detections", "-99999999999999999999", 422, "not from 1 to 1000"},
        {"max_detections", "1.5", 400, "max_detections: '1.5' is not a whole number"},
        {"max_detections", "", 400, "not a whole number"},
        {"max_detections", "-", 400, "not a whole number"},
        {"classes", "persn", 422, "no class 'persn'; did you mean 'person'?"},
        {"classes", "xylophone", 422, "no class 'xylophone'"},
        {"classes", "5", 422, "no class 5; the ids of yolov8n go from 0 to 4"},
        {"classes", "99999999999", 422, "no class '99999999999'"},
        {"classes", "-1", 422, "no class '-1'"},
        {"classes", "car,,bus", 400, "a name between the commas is missing"},
        {"classes", "car,", 400, "a name between the commas is missing"},
        {"model", "yolov9", 404, "no model 'yolov9'; this server has yolov8n"},
        {"model", "", 404, "no model ''"},
        {"format", "cocoo", 422, "no format 'cocoo'; did you mean 'coco'?"},
        {"confidense", "0.5", 422, "no option 'confidense'; did you mean 'confidence'?"},
        {"Confidence", "0.5", 422, "did you mean 'confidence'?"},
        {"", "", 422, "no option ''"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_api_options options = nx_api_options_start(&rules);
        nx_problem problem = {0};
        if (nx_api_options_set(&options, cases[i].name, cases[i].value, &problem)) {
            fail_msg("%s=%s was taken", cases[i].name, cases[i].value);
        }
        assert_int_equal(problem.status, cases[i].status);
        nx_assert_contains(problem.detail, cases[i].detail);
        assert_true(problem.advice[0] != '\0');
    }
}

static void an_option_is_given_once(void **state)
{
    (void)state;
    nx_api_options o = SET("iou", "0.5");
    nx_problem problem;
    assert_false(nx_api_options_set(&o, "iou", "0.5", &problem));
    assert_int_equal(problem.status, 400);
    nx_assert_contains(problem.detail, "iou is given twice");
    nx_api_options_next_source(&o);
    assert_true(nx_api_options_set(&o, "iou", "0.6", &problem));
}

static void batches_have_no_format(void **state)
{
    (void)state;
    nx_option_rules batch = rules;
    batch.has_format = false;
    nx_api_options options = nx_api_options_start(&batch);
    nx_problem problem;
    assert_false(nx_api_options_set(&options, "format", "csv", &problem));
    nx_assert_contains(problem.detail, "no option 'format'");
    assert_null(strstr(problem.advice, "format"));
}

static void many_long_class_names_are_survived(void **state)
{
    (void)state;
    char list[4096];
    memset(list, 'x', sizeof list - 1);
    list[sizeof list - 1] = '\0';
    nx_api_options options = nx_api_options_start(&rules);
    nx_problem problem;
    assert_false(nx_api_options_set(&options, "classes", list, &problem));
    nx_assert_contains(problem.detail, "far too long");
}

/* --- JSON ---------------------------------------------------------------------------------------
 */

static bool set_json(nx_api_options *options, const char *name, const char *text,
                     nx_problem *problem)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    bool taken = nx_api_options_set_json(options, name, value, problem);
    json_decref(value);
    return taken;
}

static void json_members_have_types(void **state)
{
    (void)state;
    nx_api_options o = nx_api_options_start(&rules);
    nx_problem problem;
    assert_true(set_json(&o, "confidence", "0.5", &problem));
    assert_true(set_json(&o, "iou", "1", &problem));
    assert_true(set_json(&o, "max_detections", "10", &problem));
    assert_true(set_json(&o, "classes", "[\"car\", 4]", &problem));
    assert_true(set_json(&o, "format", "\"yolo\"", &problem));
    assert_true(set_json(&o, "model", "null", &problem));
    assert_true(o.postprocess.confidence == 0.5f);
    assert_true(o.postprocess.iou == 1.0f);
    assert_int_equal(o.postprocess.max_detections, 10);
    assert_true(allows(&o, 2) && allows(&o, 4));
    assert_int_equal(o.format, NX_FORMAT_YOLO);

    static const struct {
        const char *name, *value;
        int status;
        const char *detail;
    } cases[] = {
        {"confidence", "\"0.5\"", 400, "confidence must be a number"},
        {"confidence", "true", 400, "confidence must be a number"},
        {"confidence", "2", 422, "not from 0 to 1"},
        {"max_detections", "1.5", 400, "max_detections must be a whole number"},
        {"max_detections", "-5", 422, "not from 1 to 1000"},
        {"classes", "7", 400, "classes must be an array"},
        {"classes", "[true]", 400, "item 0 is neither a name nor an id"},
        {"classes", "[9]", 422, "no class 9"},
        {"classes", "[\"buss\"]", 422, "did you mean 'bus'?"},
        {"format", "3", 400, "format must be a string"},
        {"model", "{}", 400, "model must be a string"},
        {"imag", "1", 422, "no option 'imag'"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        o = nx_api_options_start(&rules);
        if (set_json(&o, cases[i].name, cases[i].value, &problem)) {
            fail_msg("%s: %s was taken", cases[i].name, cases[i].value);
        }
        assert_int_equal(problem.status, cases[i].status);
        nx_assert_contains(problem.detail, cases[i].detail);
    }
    assert_true(set_json(&o, "classes", "\"car,bus\"", &problem));
    assert_true(allows(&o, 4));
}

static void documents_are_objects_without_surprises(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        const char *detail;
    } cases[] = {
        {"", 0, "cannot be read"},
        {"{", 1, "cannot be read"},
        {"[]", 2, "not an object"},
        {"\"x\"", 3, "cannot be read"},
        {"{} x", 4, "cannot be read"},
        {"{\"a\":1,\"a\":2}", 13, "duplicate"},
        {"{\"a\":\"\xff\"}", 9, "unable to decode byte 0xff"},
        {"{\"a\":\"\\u0000\"}", 14, "\\u0000"},
        {"{\"a\":\0}", 7, "cannot be read"},
        {"{\"a\":1e999}", 11, "cannot be read"},
    };
    json_t *document = NULL;
    nx_problem problem;
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        if (nx_payload_parse(cases[i].text, cases[i].size, &document, &problem)) {
            fail_msg("case %zu was taken", i);
        }
        assert_null(document);
        assert_int_equal(problem.status, 400);
        nx_assert_contains(problem.detail, cases[i].detail);
    }
    assert_true(nx_payload_parse("{\"image\":\"[[,\\\"{,\\\\\"}", 21, &document, &problem));
    assert_string_equal(json_string_value(json_object_get(document, "image")), "[[,\"{,\\");
    json_decref(document);
}

static void deep_and_wide_documents_are_refused(void **state)
{
    (void)state;
    size_t size = 1 << 20;
    char *text = malloc(size);
    assert_non_null(text);
    json_t *document = NULL;
    nx_problem problem;
    memset(text, '[', 9000); /* few enough values, but deeper than jansson goes */
    assert_false(nx_payload_parse(text, 9000, &document, &problem));
    assert_int_equal(problem.status, 400);

    for (size_t i = 0; i < size; i += 2) {
        text[i] = '0';
        text[i + 1] = ',';
    }
    text[0] = '[';
    assert_false(nx_payload_parse(text, size, &document, &problem));
    assert_int_equal(problem.status, 413);
    nx_assert_contains(problem.detail, "more than 10000 values");

    memset(text, ',', size); /* commas inside of a string are no values */
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + size - 2, "\"}", 2);
    assert_true(nx_payload_parse(text, size, &document, &problem));
    json_decref(document);
    free(text);
}

/* --- base64 -------------------------------------------------------------------------------------
 */

static void base64_is_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *text, *bytes;
    } cases[] = {
        {"", ""},
        {"Zg==", "f"},
        {"Zg", "f"},
        {"Zm8=", "fo"},
        {"Zm9v", "foo"},
        {" Zm\r\n9v\t", "foo"},
        {"+/+/", "\xfb\xff\xbf"},
        {"-_-_", "\xfb\xff\xbf"},
        {"data:image/png;base64,Zm9v", "foo"},
        {"DATA:;BASE64,Zm9v", "foo"},
        {"data:image/jpeg;name=a.jpg;base64,Zm9v", "foo"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_buffer out = NX_BUFFER_INIT;
        nx_problem problem;
        if (!nx_payload_base64("image", cases[i].text, strlen(cases[i].text), &out, &problem)) {
            fail_msg("%s: %s", cases[i].text, problem.detail);
        }
        assert_string_equal(nx_buffer_cstr(&out), cases[i].bytes);
        nx_buffer_free(&out);
    }
}

static void what_is_not_base64_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *detail;
    } cases[] = {
        {"Zm9v!Zm9v", "image: not base64 at character 5 of 9"},
        {"Z", "not base64"},
        {"Zg=", "not base64"},
        {"Zg===", "not base64"},
        {"Zm9v====", "not base64"},
        {"Zh==", "not base64"}, /* stray bits behind the last byte */
        {"+-", "not base64"},   /* two alphabets at once */
        {"data:image/png,Zm9v", "data: URL is not base64"},
        {"data:image/png;base64", "data: URL is not base64"},
        {"data:,", "data: URL is not base64"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_buffer out = NX_BUFFER_INIT;
        nx_problem problem;
        if (nx_payload_base64("image", cases[i].text, strlen(cases[i].text), &out, &problem)) {
            fail_msg("'%s' was taken", cases[i].text);
        }
        assert_int_equal(problem.status, 400);
        nx_assert_contains(problem.detail, cases[i].detail);
        nx_buffer_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_options_are_taken),
        cmocka_unit_test(classes_are_names_or_ids),
        cmocka_unit_test(a_later_source_wins),
        cmocka_unit_test(bad_options_say_what_is_wrong),
        cmocka_unit_test(an_option_is_given_once),
        cmocka_unit_test(batches_have_no_format),
        cmocka_unit_test(many_long_class_names_are_survived),
        cmocka_unit_test(json_members_have_types),
        cmocka_unit_test(documents_are_objects_without_surprises),
        cmocka_unit_test(deep_and_wide_documents_are_refused),
        cmocka_unit_test(base64_is_decoded),
        cmocka_unit_test(what_is_not_base64_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
