#include "jobs/event_message.h"

#include "base/time_text.h"

#include <stdio.h>
#include <string.h>

void nx_json_key_time(nx_json *json, const char *key, int64_t milliseconds)
{
    char text[NX_TIME_TEXT_SIZE];
    nx_time_text(milliseconds, text);
    nx_json_key_string(json, key, text);
}

/* Where the API has it. */
static void write_path(nx_json *json, const char *what, const char *object, const char *event)
{
    char path[96];
    snprintf(path, sizeof path, "/api/v1/events/%.40s/%s", event, what);
    nx_json_key_string(json, what, object != NULL ? path : NULL);
}

void nx_event_json(const nx_event_row *event, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "id", event->id);
    nx_json_key_int(json, "number", event->seq);
    nx_json_key(json, "stream");
    nx_json_object_begin(json);
    nx_json_key_string(json, "id", event->stream_id);
    nx_json_key_string(json, "name", event->stream_name);
    nx_json_object_end(json);
    nx_json_key_string(json, "kind", event->kind);
    nx_json_key_string(json, "rule", event->rule);
    nx_json_key_string(json, "class_name", event->class_name);
    nx_json_key(json, "track_id");
    if (event->track != 0) {
        nx_json_int(json, event->track);
    } else {
        nx_json_null(json);
    }
    nx_json_key_string(json, "place", event->zone);
    nx_json_key_time(json, "at", event->at);
    nx_json_key(json, "details");
    nx_json_raw(json, event->details, strlen(event->details));
    write_path(json, "snapshot", event->snapshot, event->id);
    write_path(json, "clip", event->clip, event->id);
    nx_json_key(json, "clip_offset");
    if (event->clip != NULL) {
        nx_json_number(json, (double)event->clip_offset_ms / 1e3, 3);
    } else {
        nx_json_null(json);
    }
    nx_json_key_time(json, "created_at", event->created_at);
    nx_json_object_end(json);
}
