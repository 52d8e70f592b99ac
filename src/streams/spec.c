#include "streams/spec.h"

#include "analytics/event_rules_parse.h"
#include "analytics/zones_parse.h"
#include "base/suggest.h"

#include <stdlib.h>
#include <string.h>

static const char *const drop_names[] = {
    [NX_STREAM_LATEST] = "latest",
    [NX_STREAM_DROP_OLDEST] = "drop_oldest",
    [NX_STREAM_BLOCK] = "block",
};
static const char *const transport_names[] = {
    [NX_STREAM_AUTO] = "auto",
    [NX_STREAM_TCP] = "tcp",
    [NX_STREAM_UDP] = "udp",
};

/* The first ones are nx_video_spec's. */
#define OF_VIDEOS 9
static const char *const member_names[] = {
    "model", "confidence",  "iou",  "classes",   "fps",      "track", "zones",
    "lines", "motion_gate", "drop", "transport", "schedule", "rules",
};
#define MEMBER_COUNT (sizeof member_names / sizeof member_names[0])

void nx_stream_spec_free(nx_stream_spec *spec)
{
    nx_video_spec_free(&spec->video);
    free(spec->rules);
    spec->rules = NULL;
}

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a stream's options");
}

/* They are read as a whole with the places, and by whoever runs the stream. */
static nx_status take_rules(nx_stream_spec *spec, const json_t *value, nx_error *err)
{
    if (!json_is_array(value)) {
        return nx_error_set(err, NX_ERR_INVALID, "rules: send a list");
    }
    json_t *object = json_pack("{s:O}", "rules", (json_t *)value);
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (text == NULL) {
        return no_memory(err);
    }
    free(spec->rules);
    spec->rules = text;
    return NX_OK;
}

/* As far as it can be without the model, whose classes are not known here. */
static nx_status check_rules(const nx_stream_spec *spec, nx_error *err)
{
    static const nx_class_names unknown_names = {0};
    const char *text = spec->video.places;
    nx_zones_spec places = {0};
    nx_event_rules_spec rules = {0};
    if (spec->rules == NULL) {
        return NX_OK;
    }
    if (!spec->video.track) {
        return nx_error_set(err, NX_ERR_INVALID, "rules: they need track: true");
    }
    nx_status status = NX_OK;
    if (text != NULL) {
        status = nx_zones_parse(text, strlen(text), "zones and lines", unknown_names, &places, err);
    }
    if (status == NX_OK) {
        status = nx_event_rules_parse(spec->rules, strlen(spec->rules), "rules", unknown_names,
                                      &places, &rules, err);
    }
    nx_event_rules_spec_free(&rules);
    nx_zones_spec_free(&places);
    return status;
}

static nx_status take_choice(const char *name, const json_t *value, const char *const *names,
                             int count, int *out, nx_error *err)
{
    const char *text = json_string_value(value);
    int which = 0;
    while (text != NULL && which < count && strcmp(text, names[which]) != 0) {
        which++;
    }
    if (text == NULL || which == count) {
        return nx_error_set(err, NX_ERR_INVALID, "%s: send %s, %s or %s", name, names[0], names[1],
                            names[2]);
    }
    *out = which;
    return NX_OK;
}

static nx_status unknown(const char *name, nx_error *err)
{
    const char *near = nx_suggest(name, member_names, MEMBER_COUNT);
    return nx_error_set(err, NX_ERR_INVALID, "there is no option '%.60s'%s%s%s", name,
                        near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                        near != NULL ? "'?" : "");
}

static nx_status take(nx_stream_spec *spec, const char *name, const json_t *value, nx_error *err)
{
    size_t which = 0;
    bool known = false;
    int choice = 0;
    nx_status status = NX_OK;
    while (which < MEMBER_COUNT && strcmp(name, member_names[which]) != 0) {
        which++;
    }
    if (which < OF_VIDEOS) {
        return nx_video_spec_take(&spec->video, name, value, &known, err);
    }
    if (which == MEMBER_COUNT) {
        return unknown(name, err);
    }
    if (strcmp(name, "drop") == 0) {
        status = take_choice(name, value, drop_names, NX_STREAM_DROP_COUNT, &choice, err);
        spec->drop = (nx_stream_drop)choice;
    } else if (strcmp(name, "transport") == 0) {
        status = take_choice(name, value, transport_names, NX_STREAM_TRANSPORT_COUNT, &choice, err);
        spec->transport = (nx_stream_transport)choice;
    } else if (strcmp(name, "rules") == 0) {
        status = take_rules(spec, value, err);
    } else {
        status = nx_schedule_parse(value, &spec->schedule, err);
    }
    return status;
}

nx_status nx_stream_spec_read(const json_t *object, nx_stream_spec *spec, nx_error *err)
{
    const char *name = NULL;
    json_t *value = NULL;
    nx_status status = NX_OK;
    *spec = (nx_stream_spec){.drop = NX_STREAM_LATEST};
    nx_video_spec_init(&spec->video);
    json_object_foreach((json_t *)object, name, value)
    {
        if (status == NX_OK) {
            status = take(spec, name, value, err);
        }
    }
    if (status == NX_OK) {
        status = nx_video_spec_check(&spec->video, err);
    }
    if (status == NX_OK) {
        status = check_rules(spec, err);
    }
    if (status != NX_OK) {
        nx_stream_spec_free(spec);
    }
    return status;
}

nx_status nx_stream_spec_parse(const char *text, nx_stream_spec *spec, nx_error *err)
{
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    nx_status status = json_is_object(object)
                           ? nx_stream_spec_read(object, spec, err)
                           : nx_error_set(err, NX_ERR_INVALID, "a stream's options are no JSON");
    if (!json_is_object(object)) {
        *spec = (nx_stream_spec){.drop = NX_STREAM_LATEST};
    }
    json_decref(object);
    return status;
}

void nx_stream_spec_json_members(const nx_stream_spec *spec, nx_json *json)
{
    const nx_video_spec *video = &spec->video;
    if (video->model[0] != '\0') {
        nx_json_key_string(json, "model", video->model);
    }
    if (video->confidence >= 0) {
        nx_json_key_number(json, "confidence", video->confidence, 6);
    }
    if (video->iou >= 0) {
        nx_json_key_number(json, "iou", video->iou, 6);
    }
    if (video->classes != NULL) {
        nx_json_key_string(json, "classes", video->classes);
    }
    if (video->fps > 0) {
        nx_json_key_number(json, "fps", video->fps, 6);
    }
    nx_json_key_bool(json, "track", video->track);
    nx_json_key_bool(json, "motion_gate", video->motion_gate);
    if (video->places != NULL) { /* an object's members, without its brackets */
        nx_json_raw(json, video->places + 1, strlen(video->places) - 2);
    }
    if (spec->rules != NULL) {
        nx_json_raw(json, spec->rules + 1, strlen(spec->rules) - 2);
    }
    nx_json_key_string(json, "drop", drop_names[spec->drop]);
    nx_json_key_string(json, "transport", transport_names[spec->transport]);
    if (spec->schedule.count > 0) {
        nx_json_key(json, "schedule");
        nx_schedule_json(&spec->schedule, json);
    }
}
