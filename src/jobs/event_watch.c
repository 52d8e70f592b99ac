#include "jobs/event_watch.h"

#include "analytics/event_rules_parse.h"
#include "base/clock.h"
#include "base/json_writer.h"

#include <stdlib.h>
#include <string.h>

struct nx_event_watch {
    nx_event_recorder *recorder;
    char *stream_id, *stream_name;
    nx_event_rules *rules;
    /* names of the rules' places, by rule; "": none */
    char (*places)[NX_ZONES_MAX_NAME_BYTES + 1];
};

void nx_event_watch_free(nx_event_watch *watch)
{
    if (watch != NULL) {
        nx_event_rules_free(watch->rules);
        free(watch->stream_id);
        free(watch->stream_name);
        free(watch->places);
        free(watch);
    }
}

static void name_places(nx_event_watch *watch, const nx_zones_spec *places)
{
    const nx_event_rules_spec *spec = nx_event_rules_get_spec(watch->rules);
    for (size_t i = 0; i < spec->count; i++) {
        const nx_event_rule *rule = &spec->rules[i];
        if (rule->place >= 0) {
            const char *name = rule->kind == NX_EVENT_LINE_CROSSED
                                   ? places->lines[rule->place].name
                                   : places->zones[rule->place].name;
            memcpy(watch->places[i], name, strlen(name) + 1);
        }
    }
}

nx_status nx_event_watch_new(const nx_event_watch_options *options, nx_event_watch **out,
                             nx_error *err)
{
    nx_event_rules_spec spec = {0};
    *out = NULL;
    nx_status status = nx_event_rules_parse(options->rules, strlen(options->rules), "rules",
                                            options->names, options->places, &spec, err);
    if (status != NX_OK) {
        return status;
    }
    nx_event_watch *watch = calloc(1, sizeof *watch);
    if (watch != NULL) {
        watch->recorder = options->recorder;
        watch->stream_id = strdup(options->stream_id);
        watch->stream_name = strdup(options->stream_name);
        watch->places = calloc(spec.count + 1, sizeof *watch->places);
    }
    if (watch == NULL || watch->stream_id == NULL || watch->stream_name == NULL ||
        watch->places == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the rules of a stream");
    } else {
        status = nx_event_rules_new(&spec, options->places, &watch->rules, err);
    }
    nx_event_rules_spec_free(&spec);
    if (status != NX_OK) {
        nx_event_watch_free(watch);
        return status;
    }
    name_places(watch, options->places);
    *out = watch;
    return NX_OK;
}

/* --- events -------------------------------------------------------------------------------------
 */

static bool has_duration(nx_event_kind kind)
{
    return kind == NX_EVENT_ZONE_LEFT || kind == NX_EVENT_LOITERING ||
           kind == NX_EVENT_COUNT_BACK || kind == NX_EVENT_CAMERA_LOST ||
           kind == NX_EVENT_CAMERA_BACK;
}

static void write_box(const nx_event *event, nx_json *json)
{
    nx_json_key(json, "box");
    nx_json_object_begin(json);
    nx_json_key_number(json, "x1", event->x1, 2);
    nx_json_key_number(json, "y1", event->y1, 2);
    nx_json_key_number(json, "x2", event->x2, 2);
    nx_json_key_number(json, "y2", event->y2, 2);
    nx_json_object_end(json);
    nx_json_key_number(json, "confidence", (double)event->confidence, 4);
}

static void write_details(const nx_event *event, const char *reason, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    if (event->track_id != 0) {
        write_box(event, &json);
    }
    if (event->kind == NX_EVENT_LINE_CROSSED) {
        nx_json_key_string(&json, "direction", event->in ? "in" : "out");
    }
    if (event->kind == NX_EVENT_COUNT_OVER || event->kind == NX_EVENT_COUNT_BACK) {
        nx_json_key_int(&json, "count", event->count);
    }
    if (has_duration(event->kind)) {
        nx_json_key_number(&json, "duration_s", (double)event->duration_ns / (double)NX_NS_PER_SEC,
                           3);
    }
    if (event->silent > 0) {
        nx_json_key_int(&json, "silent", (int64_t)event->silent);
    }
    if (reason != NULL) {
        nx_json_key_string(&json, "reason", reason);
    }
    nx_json_object_end(&json);
    nx_buffer_append_char(out, '\0');
}

/* Puts what the rules have given into the queue; frame NULL: of the camera, reason says why. */
static nx_status put(nx_event_watch *watch, int64_t at_ms, const nx_event_frame *frame,
                     const char *reason, nx_error *err)
{
    static const nx_class_names none = {0};
    const nx_class_names names = frame != NULL ? frame->names : none;
    size_t count = 0;
    nx_status status = NX_OK;
    const nx_event *events = nx_event_rules_events(watch->rules, &count);
    if (count == 0) {
        return NX_OK;
    }
    nx_event_row *rows = calloc(count, sizeof *rows);
    nx_buffer *details = calloc(count, sizeof *details);
    char(*ids)[NX_UUID_SIZE] = calloc(count, sizeof *ids);
    bool room = rows != NULL && details != NULL && ids != NULL;
    for (size_t i = 0; i < count && room; i++) {
        const nx_event *e = &events[i];
        write_details(e, reason, &details[i]);
        status = details[i].failed ? NX_ERR_NO_MEMORY : status;
        status = status == NX_OK ? nx_uuid_make(ids[i], NULL) : status;
        rows[i] = (nx_event_row){
            .id = ids[i],
            .stream_id = watch->stream_id,
            .stream_name = watch->stream_name,
            .kind = nx_event_kind_name(e->kind),
            .rule = nx_event_rules_get_spec(watch->rules)->rules[e->rule].name,
            .class_name = e->class_id >= 0 ? nx_class_name(names, e->class_id) : NULL,
            .track = (int64_t)e->track_id,
            .zone = watch->places[e->rule][0] != '\0' ? watch->places[e->rule] : NULL,
            .at = at_ms,
            .details = details[i].data,
        };
    }
    if (!room || status != NX_OK) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for events");
    } else if (nx_event_recorder_put(watch->recorder, rows, count,
                                     frame != NULL ? frame->picture : NULL) &&
               frame != NULL && frame->kept != NULL) {
        frame->kept(rows, count, frame->user);
    }
    for (size_t i = 0; details != NULL && i < count; i++) {
        nx_buffer_free(&details[i]);
    }
    free(ids);
    free(details);
    free(rows);
    return status;
}

nx_status nx_event_watch_frame(nx_event_watch *watch, const nx_event_frame *frame, nx_error *err)
{
    uint64_t before = nx_event_rules_missed(watch->rules);
    nx_status status = nx_event_rules_update(watch->rules, frame->time_ns, frame->zones,
                                             frame->tracks, frame->track_count, err);
    uint64_t missed = nx_event_rules_missed(watch->rules) - before;
    if (missed > 0) {
        nx_event_recorder_lose(watch->recorder, (size_t)missed);
    }
    return status == NX_OK ? put(watch, frame->at_ms, frame, NULL, err) : status;
}

nx_status nx_event_watch_camera(nx_event_watch *watch, int64_t time_ns, int64_t at_ms, bool live,
                                const char *reason, nx_error *err)
{
    nx_status status = nx_event_rules_camera(watch->rules, time_ns, live, err);
    return status == NX_OK ? put(watch, at_ms, NULL, live ? NULL : reason, err) : status;
}

void nx_event_watch_pause(nx_event_watch *watch)
{
    nx_event_rules_camera_pause(watch->rules);
}

/* The last that a rule has told. */
static nx_status recall_rule(nx_event_watch *watch, nx_store *store, size_t rule, int64_t time_ns,
                             nx_arena *arena, nx_error *err)
{
    const nx_event_filter filter = {
        .stream = watch->stream_id,
        .rule = nx_event_rules_get_spec(watch->rules)->rules[rule].name,
    };
    nx_event_row row;
    size_t count = 0;
    nx_status status = nx_store_events_before(store, &filter, 0, 1, arena, &row, &count, err);
    if (status == NX_OK && count > 0 &&
        strcmp(row.kind, nx_event_kind_name(NX_EVENT_CAMERA_LOST)) == 0) {
        int64_t ago_ms = nx_clock_unix_ms() - row.at;
        int64_t most_ms = (int64_t)365 * 86400 * 1000; /* further back it makes no difference */
        ago_ms = ago_ms < 0 ? 0 : ago_ms < most_ms ? ago_ms : most_ms;
        nx_event_rules_camera_recall(watch->rules, rule, time_ns - ago_ms * NX_NS_PER_MS);
    }
    return status;
}

nx_status nx_event_watch_recall(nx_event_watch *watch, nx_store *store, int64_t time_ns,
                                nx_error *err)
{
    const nx_event_rules_spec *spec = nx_event_rules_get_spec(watch->rules);
    nx_arena arena = nx_arena_make(0);
    nx_status status = NX_OK;
    for (size_t i = 0; i < spec->count && status == NX_OK; i++) {
        if (spec->rules[i].kind == NX_EVENT_CAMERA_LOST) {
            status = recall_rule(watch, store, i, time_ns, &arena, err);
        }
    }
    nx_arena_free(&arena);
    return status;
}
