#include "testing.h"

#include "results/fixed.h"
#include "results/results.h"

#include <jansson.h>
#include <math.h>

static const char *const names[] = {"person", "sports ball", "a \"quoted\", name"};

/* Values that binary floating point holds exactly, so that the expected text is beyond doubt. */
static const nx_detection detections[] = {
    {.x1 = 10.25f, .y1 = 20, .x2 = 110.75f, .y2 = 220.5f, .confidence = 0.875f, .class_id = 0},
    {.x1 = 0, .y1 = 0, .x2 = 200, .y2 = 400, .confidence = 0.5f, .class_id = 1},
    {.x1 = 1, .y1 = 2, .x2 = 3, .y2 = 4, .confidence = 0.25f, .class_id = 0},
};

static nx_result sample(void)
{
    return (nx_result){
        .source = "street.jpg",
        .model = "yolov8n",
        .image_width = 200,
        .image_height = 400,
        .detections = detections,
        .count = NX_COUNT(detections),
        .names = {names, NX_COUNT(names)},
        .timings = {0.5, 3.25, 1.125, 90.0625, 0.25, 96.5},
    };
}

static nx_result sample_of(const nx_detection *detection)
{
    nx_result result = sample();
    result.detections = detection;
    result.count = detection != NULL ? 1 : 0;
    return result;
}

static void fixed_rounds_pads_and_survives_extremes(void **state)
{
    (void)state;
    static const struct {
        double value;
        int decimals;
        const char *text;
    } cases[] = {
        {0, 0, "0"},
        {0, 2, "0.00"},
        {1.005859375, 2, "1.01"},
        {0.0625, 3, "0.063"},
        {-0.0625, 3, "-0.063"},
        {-0.001, 2, "0.00"},
        {9.996, 2, "10.00"},
        {0.000001, 6, "0.000001"},
        {123456789, 9, "123456789.000000000"},
        {1e300, 2, "nan"},
        {(double)INFINITY, 2, "nan"},
        {(double)NAN, 2, "nan"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_buffer out = NX_BUFFER_INIT;
        nx_append_fixed(&out, cases[i].value, cases[i].decimals);
        assert_string_equal(nx_buffer_cstr(&out), cases[i].text);
        nx_buffer_free(&out);
    }
}

static json_t *render_json(const nx_result *result)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_result_json_members(result, &json);
    nx_json_object_end(&json);
    json_error_t error;
    json_t *root = json_loadb(out.data, out.size, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        fail_msg("%s in %s", error.text, nx_buffer_cstr(&out));
    }
    nx_buffer_free(&out);
    return root;
}

static void json_is_exact(void **state)
{
    (void)state;
    nx_result result = sample_of(&detections[0]);
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_json_key_int(&json, "before", 1);
    nx_result_json_members(&result, &json);
    nx_json_object_end(&json);
    assert_string_equal(
        nx_buffer_cstr(&out),
        "{\"before\":1,\"image\":{\"width\":200,\"height\":400},\"model\":\"yolov8n\","
        "\"detections\":[{\"class_id\":0,\"class_name\":\"person\",\"confidence\":0.875,"
        "\"box\":{\"x1\":10.25,\"y1\":20,\"x2\":110.75,\"y2\":220.5}}],"
        "\"timings_ms\":{\"queue\":0.5,\"decode\":3.25,\"preprocess\":1.125,"
        "\"inference\":90.063,\"postprocess\":0.25,\"total\":96.5}}");
    nx_buffer_free(&out);
}

static void json_survives_odd_names_and_empty_results(void **state)
{
    (void)state;
    const nx_detection odd[] = {
        {.x2 = 1, .y2 = 1, .confidence = 0.123456f, .class_id = 2},
        {.x2 = 1, .y2 = 1, .confidence = 1, .class_id = 99},
        {.x2 = 1, .y2 = 1, .confidence = 1, .class_id = -1},
    };
    nx_result result = sample();
    result.detections = odd;
    result.count = NX_COUNT(odd);
    json_t *root = render_json(&result);
    json_t *list = json_object_get(root, "detections");
    assert_int_equal(json_array_size(list), 3);
    json_t *first = json_array_get(list, 0);
    assert_string_equal(json_string_value(json_object_get(first, "class_name")), names[2]);
    assert_true(json_number_value(json_object_get(first, "confidence")) == 0.1235);
    for (size_t i = 1; i < 3; i++) {
        json_t *name = json_object_get(json_array_get(list, i), "class_name");
        assert_string_equal(json_string_value(name), "?");
    }
    json_decref(root);

    result = sample_of(NULL);
    root = render_json(&result);
    assert_int_equal(json_array_size(json_object_get(root, "detections")), 0);
    json_decref(root);
}

static void text_counts_and_aligns(void **state)
{
    (void)state;
    nx_result result = sample();
    nx_buffer out = NX_BUFFER_INIT;
    nx_result_text(&result, &out);
    assert_string_equal(nx_buffer_cstr(&out),
                        "street.jpg  200x400  2 person, 1 sports ball  (97 ms)\n"
                        "  person       0.88  10,20 111,221\n"
                        "  sports ball  0.50  0,0 200,400\n"
                        "  person       0.25  1,2 3,4\n");
    nx_buffer_free(&out);
}

static void text_says_when_nothing_was_found(void **state)
{
    (void)state;
    nx_result result = sample_of(NULL);
    result.source = NULL;
    nx_buffer out = NX_BUFFER_INIT;
    nx_result_text(&result, &out);
    assert_string_equal(nx_buffer_cstr(&out), "image  200x400  nothing found  (97 ms)\n");
    nx_buffer_free(&out);
}

static void text_lets_no_escape_sequence_through(void **state)
{
    (void)state;
    static const char *const evil[] = {"\x1b]0;owned\x07"};
    nx_result result = sample_of(&detections[0]);
    result.source = "a\x1b[2J\nb\x7f.jpg";
    result.names = (nx_class_names){evil, 1};
    nx_buffer out = NX_BUFFER_INIT;
    nx_result_text(&result, &out);
    assert_string_equal(nx_buffer_cstr(&out), "a?[2J?b?.jpg  200x400  1 ?]0;owned?  (97 ms)\n"
                                              "  ?]0;owned?  0.88  10,20 111,221\n");
    nx_buffer_free(&out);
}

static void csv_has_a_row_for_each_detection(void **state)
{
    (void)state;
    nx_result result = sample();
    nx_buffer out = NX_BUFFER_INIT;
    nx_result_csv_header(&out);
    nx_result_csv(&result, &out);
    assert_string_equal(
        nx_buffer_cstr(&out),
        "source,image_width,image_height,class_id,class_name,confidence,x1,y1,x2,y2\r\n"
        "street.jpg,200,400,0,person,0.8750,10.25,20.00,110.75,220.50\r\n"
        "street.jpg,200,400,1,sports ball,0.5000,0.00,0.00,200.00,400.00\r\n"
        "street.jpg,200,400,0,person,0.2500,1.00,2.00,3.00,4.00\r\n");
    nx_buffer_free(&out);
}

static void csv_quotes_what_needs_quotes(void **state)
{
    (void)state;
    const nx_detection quoted = {.x2 = 1, .y2 = 1, .confidence = 1, .class_id = 2};
    static const struct {
        const char *source;
        const char *field;
    } cases[] = {
        {"plain name.jpg", "plain name.jpg"},
        {"a,b.jpg", "\"a,b.jpg\""},
        {"a\"b.jpg", "\"a\"\"b.jpg\""},
        {"a\nb.jpg", "\"a\nb.jpg\""},
        {"a\rb.jpg", "\"a\rb.jpg\""},
        {"", ""},
        {NULL, ""},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_result result = sample_of(&quoted);
        result.source = cases[i].source;
        nx_buffer out = NX_BUFFER_INIT;
        nx_result_csv(&result, &out);
        char expected[256];
        snprintf(expected, sizeof expected,
                 "%s,200,400,2,\"a \"\"quoted\"\", name\",1.0000,0.00,0.00,1.00,1.00\r\n",
                 cases[i].field);
        assert_string_equal(nx_buffer_cstr(&out), expected);
        nx_buffer_free(&out);
    }
}

static void yolo_normalises_centres(void **state)
{
    (void)state;
    nx_result result = sample();
    nx_buffer out = NX_BUFFER_INIT;
    nx_result_yolo(&result, &out);
    /* (10.25 + 110.75) / 2 / 200, (20 + 220.5) / 2 / 400, 100.5 / 200, 200.5 / 400 */
    assert_string_equal(nx_buffer_cstr(&out), "0 0.302500 0.300625 0.502500 0.501250 0.8750\n"
                                              "1 0.500000 0.500000 1.000000 1.000000 0.5000\n"
                                              "0 0.010000 0.007500 0.010000 0.005000 0.2500\n");
    nx_buffer_free(&out);
}

static const char *render_coco(const nx_result *result, const char *image_name,
                               const int64_t *category_ids, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_array_begin(&json);
    nx_result_coco(result, 42, image_name, category_ids, &json);
    nx_json_array_end(&json);
    return nx_buffer_cstr(out);
}

static void coco_maps_classes_to_categories(void **state)
{
    (void)state;
    nx_result result = sample();
    nx_buffer out = NX_BUFFER_INIT;
    const int64_t skip_person[] = {-1, 37, 5};
    assert_string_equal(
        render_coco(&result, NULL, skip_person, &out),
        "[{\"image_id\":42,\"category_id\":37,\"bbox\":[0,0,200,400],\"score\":0.5}]");
    nx_buffer_clear(&out);
    result = sample_of(&detections[0]);
    assert_string_equal(render_coco(&result, "street.jpg", NULL, &out),
                        "[{\"image_id\":\"street.jpg\",\"category_id\":0,"
                        "\"bbox\":[10.25,20,100.5,200.5],\"score\":0.875}]");
    nx_buffer_free(&out);
}

static void coco_skips_a_class_outside_of_the_map(void **state)
{
    (void)state;
    const nx_detection stray[] = {{.x2 = 1, .y2 = 1, .class_id = 3},
                                  {.x2 = 1, .y2 = 1, .class_id = -1}};
    const int64_t categories[] = {1, 2, 3};
    nx_result result = sample();
    result.detections = stray;
    result.count = NX_COUNT(stray);
    nx_buffer out = NX_BUFFER_INIT;
    assert_string_equal(render_coco(&result, NULL, categories, &out), "[]");
    nx_buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_rounds_pads_and_survives_extremes),
        cmocka_unit_test(json_is_exact),
        cmocka_unit_test(json_survives_odd_names_and_empty_results),
        cmocka_unit_test(text_counts_and_aligns),
        cmocka_unit_test(text_says_when_nothing_was_found),
        cmocka_unit_test(text_lets_no_escape_sequence_through),
        cmocka_unit_test(csv_has_a_row_for_each_detection),
        cmocka_unit_test(csv_quotes_what_needs_quotes),
        cmocka_unit_test(yolo_normalises_centres),
        cmocka_unit_test(coco_maps_classes_to_categories),
        cmocka_unit_test(coco_skips_a_class_outside_of_the_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
