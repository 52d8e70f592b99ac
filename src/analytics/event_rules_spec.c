/* Rules as they are given: names and checks. */
#include "analytics/event_rules.h"

#include <stdlib.h>
#include <string.h>

static const char *const kind_names[NX_EVENT_KINDS] = {
    [NX_EVENT_LINE_CROSSED] = "line_crossed",
    [NX_EVENT_ZONE_ENTERED] = "zone_entered",
    [NX_EVENT_ZONE_LEFT] = "zone_left",
    [NX_EVENT_LOITERING] = "loitering",
    [NX_EVENT_COUNT_OVER] = "count_over",
    [NX_EVENT_COUNT_BACK] = "count_back",
    [NX_EVENT_OBJECT_APPEARED] = "object_appeared",
    [NX_EVENT_CAMERA_LOST] = "camera_lost",
    [NX_EVENT_CAMERA_BACK] = "camera_back",
};

const char *nx_event_kind_name(nx_event_kind kind)
{
    return kind_names[kind];
}

bool nx_event_kind_find(const char *name, nx_event_kind *out)
{
    for (int i = 0; i < NX_EVENT_KINDS; i++) {
        if (strcmp(name, kind_names[i]) == 0) {
            *out = (nx_event_kind)i;
            return true;
        }
    }
    return false;
}

void nx_event_rules_spec_free(nx_event_rules_spec *spec)
{
    if (spec != NULL) {
        free(spec->rules);
        *spec = (nx_event_rules_spec){0};
    }
}

static bool time_fits(int64_t time_ns)
{
    return time_ns >= 0 && time_ns <= NX_EVENT_MAX_NS;
}

/* What is wrong with it, or NULL. */
static const char *fault_of(const nx_event_rule *rule, const nx_zones_spec *places)
{
    bool line = rule->kind == NX_EVENT_LINE_CROSSED;
    bool camera = rule->kind == NX_EVENT_CAMERA_LOST;
    bool may_lack = rule->kind == NX_EVENT_COUNT_OVER || rule->kind == NX_EVENT_OBJECT_APPEARED;
    size_t count = camera ? 0 : line ? places->line_count : places->zone_count;
    if (rule->kind >= NX_EVENT_KINDS || rule->kind == NX_EVENT_COUNT_BACK ||
        rule->kind == NX_EVENT_CAMERA_BACK) {
        return "there is no such kind of rule";
    }
    if (rule->place < -1 || rule->place >= (int32_t)count ||
        (rule->place == -1 && !may_lack && !camera)) {
        return line ? "there is no such line" : "there is no such zone";
    }
    if (!time_fits(rule->time_ns) || !time_fits(rule->cooldown_ns)) {
        return "times are 0 to 86400 seconds";
    }
    if (!(rule->confidence >= 0 && rule->confidence <= 1)) {
        return "the confidence is 0 to 1";
    }
    return rule->until > rule->over ? "\"until\" must not be more than \"over\"" : NULL;
}

nx_status nx_event_rules_spec_check(const nx_event_rules_spec *spec, const nx_zones_spec *places,
                                    nx_error *err)
{
    if (spec->count > NX_EVENT_RULES_MAX) {
        return nx_error_set(err, NX_ERR_INVALID, "%zu rules; the most is %d", spec->count,
                            NX_EVENT_RULES_MAX);
    }
    for (size_t i = 0; i < spec->count; i++) {
        const nx_event_rule *rule = &spec->rules[i];
        const char *fault = fault_of(rule, places);
        if (rule->name[0] == '\0') {
            return nx_error_set(err, NX_ERR_INVALID, "rules[%zu].name is empty", i);
        }
        if (fault != NULL) {
            return nx_error_set(err, NX_ERR_INVALID, "rules[%zu] (%s): %s", i, rule->name, fault);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(rule->name, spec->rules[j].name) == 0) {
                return nx_error_set(err, NX_ERR_INVALID,
                                    "rules[%zu].name is '%s', which another has already", i,
                                    rule->name);
            }
        }
    }
    return NX_OK;
}
