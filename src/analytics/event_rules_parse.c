#include "analytics/event_rules_parse.h"

#include "analytics/spec_json.h"
#include "base/clock.h"
#include "base/suggest.h"

#include <stdlib.h>
#include <string.h>

#define LIST          "rules"
#define MAX_SECONDS   ((double)NX_EVENT_MAX_NS / (double)NX_NS_PER_SEC)
#define MAX_MEMBERS   8
#define APPEAR_REST_S 10
#define CAMERA_S      10
#define HOLD_S        1

/* What a kind of rule may have beside name and kind. */
typedef struct shape {
    nx_event_kind kind;
    const char *members[MAX_MEMBERS]; /* all, name and kind first; NULL behind the last */
} shape;

static const shape shapes[] = {
    {NX_EVENT_LINE_CROSSED, {"name", "kind", "line", "direction", "classes", "cooldown"}},
    {NX_EVENT_ZONE_ENTERED, {"name", "kind", "zone", "classes", "cooldown"}},
    {NX_EVENT_ZONE_LEFT, {"name", "kind", "zone", "classes", "cooldown"}},
    {NX_EVENT_LOITERING, {"name", "kind", "zone", "seconds", "classes", "cooldown"}},
    {NX_EVENT_COUNT_OVER, {"name", "kind", "zone", "over", "until", "hold", "classes"}},
    {NX_EVENT_OBJECT_APPEARED, {"name", "kind", "zone", "confidence", "classes", "cooldown"}},
    {NX_EVENT_CAMERA_LOST, {"name", "kind", "seconds"}},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

static size_t member_count(const shape *of)
{
    size_t count = 0;
    while (count < MAX_MEMBERS && of->members[count] != NULL) {
        count++;
    }
    return count;
}

static nx_status read_kind(const nx_spec_place *at, const json_t *item, const shape **out)
{
    const json_t *value = json_object_get(item, "kind");
    const char *names[SHAPES];
    if (!json_is_string(value)) {
        return nx_spec_wrong_type(at, "kind", value, "a string");
    }
    for (size_t i = 0; i < SHAPES; i++) {
        names[i] = nx_event_kind_name(shapes[i].kind);
        if (strcmp(json_string_value(value), names[i]) == 0) {
            *out = &shapes[i];
            return NX_OK;
        }
    }
    const char *near = nx_suggest(json_string_value(value), names, SHAPES);
    return nx_error_set(at->err, NX_ERR_INVALID,
                        "%.200s: rules[%zu].kind: there is no kind '%.60s'%s%s%s", at->file,
                        at->index, json_string_value(value), near != NULL ? "; did you mean '" : "",
                        near != NULL ? near : "", near != NULL ? "'?" : "");
}

/* --- members ------------------------------------------------------------------------------------
 */

static const char *place_name(const nx_zones_spec *places, bool line, size_t index)
{
    return line ? places->lines[index].name : places->zones[index].name;
}

static nx_status unknown_place(const nx_spec_place *at, const nx_zones_spec *places, bool line,
                               const char *name)
{
    const char *names[NX_ZONES_MAX];
    const char *what = line ? "line" : "zone";
    size_t count = line ? places->line_count : places->zone_count;
    for (size_t i = 0; i < count && i < NX_ZONES_MAX; i++) {
        names[i] = place_name(places, line, i);
    }
    const char *near = nx_suggest(name, names, count < NX_ZONES_MAX ? count : NX_ZONES_MAX);
    return nx_error_set(at->err, NX_ERR_INVALID,
                        "%.200s: rules[%zu].%s: there is no %s '%.64s'%s%s%s", at->file, at->index,
                        what, what, name, near != NULL ? "; did you mean '" : "",
                        near != NULL ? near : "", near != NULL ? "'?" : "");
}

static nx_status read_place(const nx_spec_place *at, const json_t *item,
                            const nx_zones_spec *places, nx_event_rule *rule)
{
    bool line = rule->kind == NX_EVENT_LINE_CROSSED;
    bool may_lack = rule->kind == NX_EVENT_COUNT_OVER || rule->kind == NX_EVENT_OBJECT_APPEARED;
    const char *member = line ? "line" : "zone";
    const json_t *value = json_object_get(item, member);
    if (value == NULL && may_lack) {
        return NX_OK;
    }
    if (!json_is_string(value)) {
        return nx_spec_wrong_type(at, member, value, line ? "a line's name" : "a zone's name");
    }
    size_t count = line ? places->line_count : places->zone_count;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(json_string_value(value), place_name(places, line, i)) == 0) {
            rule->place = (int32_t)i;
            return NX_OK;
        }
    }
    return unknown_place(at, places, line, json_string_value(value));
}

static nx_status read_direction(const nx_spec_place *at, const json_t *item, nx_event_rule *rule)
{
    static const char *const words[] = {"both", "in", "out"};
    const json_t *value = json_object_get(item, "direction");
    if (value == NULL) {
        return NX_OK;
    }
    for (size_t i = 0; json_is_string(value) && i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(json_string_value(value), words[i]) == 0) {
            rule->direction = (nx_event_direction)i;
            return NX_OK;
        }
    }
    return nx_error_set(at->err, NX_ERR_INVALID,
                        "%.200s: rules[%zu].direction must be \"in\", \"out\" or \"both\"",
                        at->file, at->index);
}

/* absent: the value of a member that is left out; negative: it must be there. */
static nx_status read_number(const nx_spec_place *at, const json_t *item, const char *member,
                             double most, double absent, double *out)
{
    const json_t *value = json_object_get(item, member);
    if (value == NULL && absent >= 0) {
        *out = absent;
        return NX_OK;
    }
    if (!json_is_number(value)) {
        return nx_spec_wrong_type(at, member, value, "a number");
    }
    *out = json_number_value(value);
    if (!(*out >= 0 && *out <= most)) {
        return nx_error_set(at->err, NX_ERR_INVALID,
                            "%.200s: rules[%zu].%s is %g; it must be 0 to %g", at->file, at->index,
                            member, *out, most);
    }
    return NX_OK;
}

static nx_status read_seconds(const nx_spec_place *at, const json_t *item, const char *member,
                              double absent, int64_t *out)
{
    double seconds = 0;
    nx_status status = read_number(at, item, member, MAX_SECONDS, absent, &seconds);
    if (status == NX_OK) { /* and so not beyond what fits */
        *out = (int64_t)(seconds * (double)NX_NS_PER_SEC);
    }
    return status;
}

static nx_status read_limit(const nx_spec_place *at, const json_t *item, const char *member,
                            int64_t absent, uint32_t *out)
{
    const json_t *value = json_object_get(item, member);
    json_int_t number = value == NULL ? absent : json_integer_value(value);
    if ((value != NULL || absent < 0) && !json_is_integer(value)) {
        return nx_spec_wrong_type(at, member, value, "a whole number");
    }
    if (number < 0 || number > NX_ZONES_MAX_TRACKS) {
        return nx_error_set(at->err, NX_ERR_INVALID,
                            "%.200s: rules[%zu].%s is %lld; it must be 0 to %d", at->file,
                            at->index, member, (long long)number, NX_ZONES_MAX_TRACKS);
    }
    *out = (uint32_t)number;
    return NX_OK;
}

static nx_status read_count(const nx_spec_place *at, const json_t *item, nx_event_rule *rule)
{
    nx_status status = read_limit(at, item, "over", -1, &rule->over);
    if (status == NX_OK) {
        status = read_limit(at, item, "until", rule->over, &rule->until);
    }
    return status == NX_OK ? read_seconds(at, item, "hold", HOLD_S, &rule->time_ns) : status;
}

/* What only its kind has. */
static nx_status read_special(const nx_spec_place *at, const json_t *item, nx_event_rule *rule)
{
    switch (rule->kind) {
    case NX_EVENT_LINE_CROSSED:
        return read_direction(at, item, rule);
    case NX_EVENT_LOITERING:
        return read_seconds(at, item, "seconds", -1, &rule->time_ns);
    case NX_EVENT_COUNT_OVER:
        return read_count(at, item, rule);
    case NX_EVENT_OBJECT_APPEARED:
        return read_number(at, item, "confidence", 1, 0, &rule->confidence);
    case NX_EVENT_CAMERA_LOST:
        return read_seconds(at, item, "seconds", CAMERA_S, &rule->time_ns);
    default:
        return NX_OK;
    }
}

static nx_status read_rule(const nx_spec_place *at, const json_t *item, const nx_zones_spec *places,
                           nx_event_rule *rule)
{
    const shape *of = &shapes[0];
    char where[40];
    *rule = (nx_event_rule){.place = -1};
    snprintf(where, sizeof where, LIST "[%zu]", at->index);
    nx_status status = nx_spec_check_item(at, item);
    if (status == NX_OK) {
        status = read_kind(at, item, &of);
    }
    if (status == NX_OK) {
        status =
            nx_spec_check_members(item, at->file, where, of->members, member_count(of), at->err);
    }
    if (status == NX_OK) {
        rule->kind = of->kind;
        status = nx_spec_read_name(at, item, rule->name);
    }
    if (status == NX_OK && rule->kind != NX_EVENT_CAMERA_LOST) {
        status = read_place(at, item, places, rule);
    }
    if (status == NX_OK) {
        status = nx_spec_read_classes(at, item, &rule->classes);
    }
    if (status == NX_OK) { /* where a kind has none, none is there */
        double rest = rule->kind == NX_EVENT_OBJECT_APPEARED ? APPEAR_REST_S : 0;
        status = read_seconds(at, item, "cooldown", rest, &rule->cooldown_ns);
    }
    return status == NX_OK ? read_special(at, item, rule) : status;
}

static nx_status read_document(const json_t *root, nx_spec_place at, const nx_zones_spec *places,
                               nx_event_rules_spec *out)
{
    static const char *const members[] = {LIST};
    const json_t *list = NULL;
    if (!json_is_object(root)) {
        return nx_error_set(at.err, NX_ERR_INVALID,
                            "%.200s holds %s; it must be an object with rules", at.file,
                            nx_spec_type_name(root));
    }
    nx_status status = nx_spec_check_members(root, at.file, "", members, 1, at.err);
    if (status == NX_OK) {
        status = nx_spec_list(root, LIST, at.file, NX_EVENT_RULES_MAX, &list, at.err);
    }
    at.list = LIST;
    for (size_t i = 0; status == NX_OK && i < json_array_size(list); i++) {
        at.index = i;
        status = read_rule(&at, json_array_get(list, i), places, &out->rules[out->count++]);
    }
    if (status == NX_OK && nx_event_rules_spec_check(out, places, at.err) != NX_OK) {
        return nx_error_prefix(at.err, "%.200s", at.file);
    }
    return status;
}

nx_status nx_event_rules_parse(const char *text, size_t size, const char *file,
                               nx_class_names names, const nx_zones_spec *places,
                               nx_event_rules_spec *out, nx_error *err)
{
    json_t *root = NULL;
    *out = (nx_event_rules_spec){0};
    nx_status status =
        nx_spec_load(text, size, file, LIST, NX_EVENT_RULES_MAX_TEXT_BYTES, &root, err);
    if (status != NX_OK) {
        return status;
    }
    out->rules = calloc(NX_EVENT_RULES_MAX, sizeof *out->rules);
    status = out->rules == NULL
                 ? nx_spec_no_memory(file, err)
                 : read_document(root, (nx_spec_place){.file = file, .names = names, .err = err},
                                 places, out);
    json_decref(root);
    if (status != NX_OK) {
        nx_event_rules_spec_free(out);
    }
    return status;
}
