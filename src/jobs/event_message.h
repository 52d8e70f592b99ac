/*
 * What is told of an event of a stream, whoever it is told to: the API, a webhook, MQTT.
 * Thread-safe; no state.
 */
#ifndef NX_JOBS_EVENT_MESSAGE_H
#define NX_JOBS_EVENT_MESSAGE_H

#include "base/json_writer.h"
#include "store/events.h"

/* Key and value: RFC 3339 in UTC, of milliseconds since 1970. */
void nx_json_key_time(nx_json *json, const char *key, int64_t milliseconds);

/* Writes {"id", "number", "stream": {"id", "name"}, "kind", "rule", "class_name", "track_id",
 * "place", "at", "details", "snapshot", "clip", "clip_offset",
 * "created_at"}; what there is not is null. */
void nx_event_json(const nx_event_row *event, nx_json *json);

#endif
