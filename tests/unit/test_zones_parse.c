#include "testing.h"

#include "analytics/zones_parse.h"

static const char *const words[] = {"person", "bicycle", "car"};
static const nx_class_names names = {words, 3};

static void a_file_is_read(void **state)
{
    (void)state;
    static const char text[] =
        "{\"zones\": [{\"name\": \"door\", \"polygon\": [[0.1, 0.2], [0.4, 0.2], [0.4, 1]],"
        " \"classes\": [\"Person\", \"2\"]},"
        " {\"name\": \"Stra\u00dfe\", \"polygon\": [[0,0],[1,0],[1,1],[0,1]]}],"
        " \"lines\": [{\"name\": \"gate\", \"from\": [0.5, 0], \"to\": [0.5, 1]}]}";
    nx_zones_spec spec;
    nx_error err = {0};
    nx_assert_ok(nx_zones_parse(text, strlen(text), "z.json", names, &spec, &err), err);
    assert_int_equal(spec.zone_count, 2);
    assert_string_equal(spec.zones[0].name, "door");
    assert_int_equal(spec.zones[0].point_count, 3);
    assert_true(spec.zones[0].points[2].x == 0.4 && spec.zones[0].points[2].y == 1);
    assert_true(spec.zones[0].classes.only && spec.zones[0].classes.mask[0] == 5);
    assert_string_equal(spec.zones[1].name, "Stra\u00dfe");
    assert_false(spec.zones[1].classes.only);
    assert_int_equal(spec.line_count, 1);
    assert_string_equal(spec.lines[0].name, "gate");
    assert_true(spec.lines[0].from.x == 0.5 && spec.lines[0].to.y == 1);
    nx_zones_spec_free(&spec);
    assert_null(spec.zones);
    nx_zones_spec_free(NULL);
}

static void errors_say_where(void **state)
{
    (void)state;
#define ZONE(members)                                                                              \
    "{\"zones\": [{\"name\": \"a\", \"polygon\": [[0,0],[1,0],[1,1]]}, " members "]}"
#define LINE(members) "{\"lines\": [{" members "}]}"
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "z.json is not valid JSON: line 1"},
        {"{\n\"zones\": [\n}", "line 3"},
        {"[]", "z.json holds an array"},
        {"{}", "z.json has no zone and no line"},
        {"{\"zones\": [], \"lines\": []}", "no zone and no line"},
        {"{\"zones\": {}}", "zones is an object; it must be a list"},
        {"{\"zone\": []}", "no member 'zone'; did you mean 'zones'?"},
        {ZONE("7"), "z.json: zones[1] is a number"},
        {ZONE("{\"polygon\": [[0,0],[1,0],[1,1]]}"), "zones[1].name is missing"},
        {ZONE("{\"name\": \"\", \"polygon\": [[0,0],[1,0],[1,1]]}"), "zones[1].name has 0 bytes"},
        {ZONE("{\"name\": \"a\", \"polygon\": [[0,0],[1,0],[1,1]]}"),
         "zones[1].name is 'a', which another has already"},
        {ZONE("{\"name\": \"b\"}"), "zones[1].polygon is missing; it must be a list of points"},
        {ZONE("{\"name\": \"b\", \"polygon\": [[0,0],[1,0]]}"), "zones[1].polygon has 2 points"},
        {ZONE("{\"name\": \"b\", \"polygon\": [[0,0],[1],[1,1]]}"), "zones[1].polygon[1] must be"},
        {ZONE("{\"name\": \"b\", \"polygon\": [[0,0],[1,\"0\"],[1,1]]}"), "zones[1].polygon[1]"},
        {ZONE("{\"name\": \"b\", \"polygon\": [[0,0],7,[1,1]]}"),
         "zones[1].polygon[1] is a number"},
        {ZONE("{\"name\": \"b\", \"polygon\": [[0,0],[640,0],[1,1]]}"),
         "z.json: zones[1] (b): polygon[1] is [640, 0]"},
        {ZONE("{\"name\": \"b\", \"polygon\": [[0,0],[0.5,0.5],[1,1]]}"), "no area"},
        {ZONE("{\"name\": \"b\\u0000c\", \"polygon\": [[0,0],[1,0],[1,1]]}"),
         "z.json is not valid JSON: line 1: \\u0000"},
        {ZONE("{\"name\": \"b\", \"polgon\": []}"),
         "zones[1]: there is no member 'polgon'; did you mean 'polygon'?"},
        {ZONE("{\"name\": \"b\", \"polygon\": [[0,0],[1,0],[1,1]], \"classes\": []}"),
         "zones[1].classes"},
        {ZONE("{\"name\": \"b\", \"polygon\": [[0,0],[1,0],[1,1]], \"classes\": [\"car\", "
              "\"persn\"]}"),
         "z.json: zones[1].classes[1]: the model has no class 'persn'; did you mean 'person'?"},
        {ZONE("{\"name\": \"b\", \"polygon\": [[0,0],[1,0],[1,1]], \"classes\": [3]}"),
         "zones[1].classes[0] is a number"},
        {LINE("\"name\": \"l\", \"from\": [0, 0]"), "lines[0].to is missing; it must be a point"},
        {LINE("\"name\": \"l\", \"from\": [0, 0, 0], \"to\": [1, 1]"), "lines[0].from must be"},
        {LINE("\"name\": \"l\", \"from\": [0, 0], \"to\": [1, -0.5]"),
         "lines[0] (l): to is [1, -0.5]"},
        {LINE("\"name\": \"l\", \"from\": [1, 1], \"to\": [1, 1]"), "same point"},
        {"{\"lines\": [], \"lines\": []}", "z.json is not valid JSON"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_zones_spec spec;
        nx_error err = {0};
        assert_int_equal(
            nx_zones_parse(cases[i].text, strlen(cases[i].text), "z.json", names, &spec, &err),
            NX_ERR_INVALID);
        nx_assert_contains(err.message, cases[i].part);
        assert_null(spec.zones);
    }
}

static void there_are_limits(void **state)
{
    (void)state;
    nx_zones_spec spec;
    nx_error err = {0};
    nx_buffer text = NX_BUFFER_INIT;
    nx_buffer_append_str(&text, "{\"lines\": [");
    for (int i = 0; i < NX_ZONES_MAX + 1; i++) {
        nx_buffer_printf(&text, "%s{\"name\": \"l%d\", \"from\": [0, 0], \"to\": [1, 1]}",
                         i > 0 ? "," : "", i);
    }
    nx_buffer_append_str(&text, "]}");
    assert_int_equal(nx_zones_parse(text.data, text.size, "z.json", names, &spec, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "65 lines; the most is 64");
    while (text.size <= NX_ZONES_MAX_TEXT_BYTES) {
        nx_buffer_append_str(&text, "                                                          ");
    }
    assert_int_equal(nx_zones_parse(text.data, text.size, "z.json", names, &spec, &err),
                     NX_ERR_TOO_LARGE);
    nx_buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(there_are_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
