#include "testing.h"

#include "analytics/event_rules_parse.h"

static const char *const words[] = {"person", "bicycle", "car"};
static const nx_class_names names = {words, 3};

static nx_zone zones[] = {
    {.name = "door", .points = {{0, 0}, {1, 0}, {1, 1}}, .point_count = 3},
    {.name = "yard", .points = {{0, 0}, {1, 1}, {0, 1}}, .point_count = 3},
};
static nx_line gate = {.name = "gate", .from = {0.5, 0}, .to = {0.5, 1}};
static const nx_zones_spec places = {zones, 2, &gate, 1};

#define S INT64_C(1000000000)

static nx_status parse(const char *text, nx_event_rules_spec *spec, nx_error *err)
{
    return nx_event_rules_parse(text, strlen(text), "r.json", names, &places, spec, err);
}

static void every_kind_is_read(void **state)
{
    (void)state;
    static const char text[] =
        "{\"rules\": ["
        "{\"name\": \"a\", \"kind\": \"line_crossed\", \"line\": \"gate\", \"direction\": \"out\","
        " \"classes\": [\"Person\", \"2\"], \"cooldown\": 5},"
        "{\"name\": \"b\", \"kind\": \"zone_entered\", \"zone\": \"yard\"},"
        "{\"name\": \"c\", \"kind\": \"zone_left\", \"zone\": \"door\", \"cooldown\": 0.5},"
        "{\"name\": \"d\", \"kind\": \"loitering\", \"zone\": \"door\", \"seconds\": 30},"
        "{\"name\": \"e\", \"kind\": \"count_over\", \"zone\": \"door\", \"over\": 5, \"until\": 3,"
        " \"hold\": 2},"
        "{\"name\": \"f\", \"kind\": \"object_appeared\", \"confidence\": 0.6},"
        "{\"name\": \"g\", \"kind\": \"camera_lost\", \"seconds\": 3},"
        "{\"name\": \"h\", \"kind\": \"line_crossed\", \"line\": \"gate\"},"
        "{\"name\": \"i\", \"kind\": \"count_over\", \"over\": 0},"
        "{\"name\": \"j\", \"kind\": \"camera_lost\"}]}";
    nx_event_rules_spec spec;
    nx_error err = {0};
    nx_assert_ok(parse(text, &spec, &err), err);
    assert_int_equal(spec.count, 10);
    const nx_event_rule *r = spec.rules;
    assert_string_equal(r[0].name, "a");
    assert_true(r[0].kind == NX_EVENT_LINE_CROSSED && r[0].place == 0);
    assert_true(r[0].direction == NX_EVENT_OUT && r[0].cooldown_ns == 5 * S);
    assert_true(r[0].classes.only && r[0].classes.mask[0] == 5);
    assert_true(r[1].kind == NX_EVENT_ZONE_ENTERED && r[1].place == 1 && !r[1].classes.only);
    assert_true(r[2].kind == NX_EVENT_ZONE_LEFT && r[2].cooldown_ns == S / 2);
    assert_true(r[3].kind == NX_EVENT_LOITERING && r[3].time_ns == 30 * S);
    assert_true(r[4].over == 5 && r[4].until == 3 && r[4].time_ns == 2 * S && r[4].place == 0);
    assert_true(r[5].confidence == 0.6 && r[5].place == -1 && r[5].cooldown_ns == 10 * S);
    assert_true(r[6].kind == NX_EVENT_CAMERA_LOST && r[6].time_ns == 3 * S && r[6].place == -1);
    assert_true(r[7].direction == NX_EVENT_BOTH && r[7].cooldown_ns == 0);
    assert_true(r[8].over == 0 && r[8].until == 0 && r[8].time_ns == S && r[8].place == -1);
    assert_true(r[9].time_ns == 10 * S && r[9].cooldown_ns == 0);
    nx_event_rules_spec_free(&spec);
    assert_null(spec.rules);
    nx_assert_ok(parse("{}", &spec, &err), err);
    assert_int_equal(spec.count, 0);
    nx_event_rules_spec_free(&spec);
}

static void errors_say_where(void **state)
{
    (void)state;
#define RULE(members) "{\"rules\": [{\"name\": \"z\", \"kind\": \"camera_lost\"}, {" members "}]}"
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "r.json is not valid JSON: line 1"},
        {"[]", "r.json holds an array; it must be an object with rules"},
        {"{\"rule\": []}", "no member 'rule'; did you mean 'rules'?"},
        {"{\"rules\": 7}", "r.json: rules is a number; it must be a list"},
        {"{\"rules\": [7]}", "r.json: rules[0] is a number; it must be an object"},
        {RULE("\"name\": \"a\""), "rules[1].kind is missing"},
        {RULE("\"name\": \"a\", \"kind\": \"loiter\""), "rules[1].kind: there is no kind 'loiter'"},
        {RULE("\"name\": \"a\", \"kind\": \"zone_entred\""), "did you mean 'zone_entered'?"},
        {RULE("\"name\": \"a\", \"kind\": \"count_back\""), "there is no kind 'count_back'"},
        {RULE("\"kind\": \"camera_lost\""), "rules[1].name is missing"},
        {RULE("\"name\": \"z\", \"kind\": \"camera_lost\""), "which another has already"},
        {RULE("\"name\": \"a\", \"kind\": \"camera_lost\", \"zone\": \"door\""),
         "rules[1]: there is no member 'zone'"},
        {RULE("\"name\": \"a\", \"kind\": \"zone_left\""),
         "rules[1].zone is missing; it must be a zone's name"},
        {RULE("\"name\": \"a\", \"kind\": \"zone_left\", \"zone\": \"dor\""),
         "rules[1].zone: there is no zone 'dor'; did you mean 'door'?"},
        {RULE("\"name\": \"a\", \"kind\": \"line_crossed\", \"line\": \"door\""),
         "rules[1].line: there is no line 'door'"},
        {RULE("\"name\": \"a\", \"kind\": \"line_crossed\", \"line\": \"gate\","
              " \"direction\": \"up\""),
         "rules[1].direction must be \"in\", \"out\" or \"both\""},
        {RULE("\"name\": \"a\", \"kind\": \"zone_left\", \"zone\": \"door\","
              " \"classes\": [\"cat\"]"),
         "r.json: rules[1].classes[0]: the model has no class 'cat'; did you mean 'car'?"},
        {RULE("\"name\": \"a\", \"kind\": \"loitering\", \"zone\": \"door\""),
         "rules[1].seconds is missing"},
        {RULE("\"name\": \"a\", \"kind\": \"loitering\", \"zone\": \"door\", \"seconds\": -1"),
         "rules[1].seconds is -1; it must be 0 to 86400"},
        {RULE("\"name\": \"a\", \"kind\": \"camera_lost\", \"seconds\": 333333333342"),
         "rules[1].seconds is 3.33333e+11; it must be"},
        {RULE("\"name\": \"a\", \"kind\": \"count_over\""), "rules[1].over is missing"},
        {RULE("\"name\": \"a\", \"kind\": \"count_over\", \"over\": 1.5"),
         "rules[1].over is a number; it must be a whole number"},
        {RULE("\"name\": \"a\", \"kind\": \"count_over\", \"over\": 5000"), "must be 0 to 4096"},
        {RULE("\"name\": \"a\", \"kind\": \"count_over\", \"over\": 1, \"until\": 2"),
         "r.json: rules[1] (a): \"until\" must not be more than \"over\""},
        {RULE("\"name\": \"a\", \"kind\": \"object_appeared\", \"confidence\": 2"),
         "rules[1].confidence is 2; it must be 0 to 1"},
        {RULE("\"name\": \"a\", \"kind\": \"object_appeared\", \"cooldown\": \"5\""),
         "rules[1].cooldown is a string"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_event_rules_spec spec;
        nx_error err = {0};
        assert_int_equal(parse(cases[i].text, &spec, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, cases[i].part);
        assert_null(spec.rules);
    }
}

static void there_are_limits(void **state)
{
    (void)state;
    nx_event_rules_spec spec;
    nx_error err = {0};
    nx_buffer text = NX_BUFFER_INIT;
    nx_buffer_append_str(&text, "{\"rules\": [");
    for (int i = 0; i <= NX_EVENT_RULES_MAX; i++) {
        nx_buffer_printf(&text, "%s{\"name\": \"r%d\", \"kind\": \"camera_lost\"}",
                         i > 0 ? "," : "", i);
    }
    nx_buffer_append_str(&text, "]}");
    assert_int_equal(parse(nx_buffer_cstr(&text), &spec, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "65 rules; the most is 64");
    while (text.size <= NX_EVENT_RULES_MAX_TEXT_BYTES) {
        nx_buffer_append_str(&text, "                                                          ");
    }
    assert_int_equal(parse(nx_buffer_cstr(&text), &spec, &err), NX_ERR_TOO_LARGE);
    nx_buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_read),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(there_are_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
