/* What the broker keeps of each stream: its state, and what Home Assistant needs to know. */
#include "analytics/event_rules.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "jobs/mqtt_internal.h"
#include "store/streams.h"

#include <stdio.h>
#include <string.h>

#define PAGE      100
#define TOPIC_MAX 400

void nx_mqtt_write_device(const nx_stream *stream, nx_json *json)
{
    char id[64];
    snprintf(id, sizeof id, "nexus_%.40s", stream->id);
    nx_json_key(json, "device");
    nx_json_object_begin(json);
    nx_json_key(json, "identifiers");
    nx_json_array_begin(json);
    nx_json_string(json, id);
    nx_json_array_end(json);
    nx_json_key_string(json, "name", stream->name);
    nx_json_key_string(json, "manufacturer", "Nexus");
    nx_json_key_string(json, "sw_version", NX_VERSION);
    nx_json_object_end(json);
}

/* what: "event" or "state". */
static void write_topics(const nx_mqtt *self, nx_json *json, const nx_stream *stream,
                         const char *what)
{
    char text[TOPIC_MAX];
    snprintf(text, sizeof text, "nexus_%.40s_%s", stream->id, what);
    nx_json_key_string(json, "unique_id", text);
    snprintf(text, sizeof text, "%.200s/streams/%.40s/%s", self->prefix, stream->id, what);
    nx_json_key_string(json, "state_topic", text);
    snprintf(text, sizeof text, "%.200s/status", self->prefix);
    nx_json_key_string(json, "availability_topic", text);
    nx_mqtt_write_device(stream, json);
}

void nx_mqtt_config_topic(const nx_mqtt *self, const char *component, const char *stream,
                          const char *what, char *topic, size_t room)
{
    snprintf(topic, room, "%.200s/%s/nexus_%.40s/%s/config", self->discovery, component, stream,
             what);
}

static bool tell_discovery(nx_mqtt *self, const nx_stream *stream)
{
    char topic[TOPIC_MAX];
    nx_buffer text = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&text);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "name", "Events");
    nx_json_key(&json, "event_types");
    nx_json_array_begin(&json);
    for (int i = 0; i < NX_EVENT_KINDS; i++) {
        nx_json_string(&json, nx_event_kind_name((nx_event_kind)i));
    }
    nx_json_array_end(&json);
    write_topics(self, &json, stream, "event");
    nx_json_object_end(&json);
    nx_mqtt_config_topic(self, "event", stream->id, "events", topic, sizeof topic);
    bool good = !text.failed && nx_mqtt_publish(self, NULL, topic, text.data, text.size, true);
    nx_buffer_clear(&text);
    json = nx_json_begin(&text);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "name", "State");
    nx_json_key_string(&json, "value_template", "{{ value_json.state }}");
    char attributes[TOPIC_MAX];
    snprintf(attributes, sizeof attributes, "%.200s/streams/%.40s/state", self->prefix, stream->id);
    nx_json_key_string(&json, "json_attributes_topic", attributes);
    write_topics(self, &json, stream, "state");
    nx_json_object_end(&json);
    nx_mqtt_config_topic(self, "sensor", stream->id, "state", topic, sizeof topic);
    good = good && !text.failed && nx_mqtt_publish(self, NULL, topic, text.data, text.size, true);
    nx_buffer_free(&text);
    return good;
}

static void write_state(const nx_stream *stream, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "name", stream->name);
    nx_json_key_string(&json, "state", nx_stream_state_name(stream->state));
    nx_json_key_string(&json, "reason", stream->reason);
    nx_json_key(&json, "status");
    if (stream->status != NULL) {
        nx_json_raw(&json, stream->status, strlen(stream->status));
    } else {
        nx_json_null(&json);
    }
    nx_json_object_end(&json);
}

uint64_t nx_mqtt_hash(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) { /* FNV-1a */
        sum = (sum ^ at[i]) * UINT64_C(0x100000001b3);
    }
    return sum != 0 ? sum : 1;
}

static nx_mqtt_known *find(nx_mqtt *self, const char *id)
{
    for (size_t i = 0; i < self->known_count; i++) {
        if (strcmp(self->known[i].id, id) == 0) {
            return &self->known[i];
        }
    }
    if (self->known_count == NX_MQTT_MOST_STREAM) {
        return NULL;
    }
    nx_mqtt_known *one = &self->known[self->known_count++];
    *one = (nx_mqtt_known){.told = 0};
    snprintf(one->id, sizeof one->id, "%.36s", id);
    return one;
}

static void tell_stream(nx_mqtt *self, const nx_stream *stream)
{
    char topic[TOPIC_MAX];
    nx_buffer text = NX_BUFFER_INIT;
    nx_mqtt_known *known = find(self, stream->id);
    if (known == NULL) {
        return;
    }
    known->seen = true;
    if (self->discovery[0] != '\0' && known->version != stream->version) {
        bool good = tell_discovery(self, stream) && nx_mqtt_tell_places(self, stream, known);
        known->version = good ? stream->version : 0;
    }
    write_state(stream, &text);
    uint64_t now = nx_mqtt_hash(text.data, text.size);
    if (!text.failed && known->told != now) {
        snprintf(topic, sizeof topic, "%.200s/streams/%.40s/state", self->prefix, stream->id);
        bool good = nx_mqtt_publish(self, NULL, topic, text.data, text.size, true);
        known->told = good ? now : 0;
    }
    nx_buffer_free(&text);
}

/* An empty retained message takes one back. */
static void take_back(nx_mqtt *self, nx_mqtt_known *known)
{
    char topic[TOPIC_MAX];
    snprintf(topic, sizeof topic, "%.200s/streams/%.40s/state", self->prefix, known->id);
    (void)nx_mqtt_publish(self, NULL, topic, NULL, 0, true);
    nx_mqtt_take_places_back(self, known);
    if (self->discovery[0] != '\0') {
        nx_mqtt_config_topic(self, "event", known->id, "events", topic, sizeof topic);
        (void)nx_mqtt_publish(self, NULL, topic, NULL, 0, true);
        nx_mqtt_config_topic(self, "sensor", known->id, "state", topic, sizeof topic);
        (void)nx_mqtt_publish(self, NULL, topic, NULL, 0, true);
    }
}

/* False: the database did not say all. */
static bool tell_all_there_are(nx_mqtt *self)
{
    nx_stream streams[PAGE];
    char before[NX_UUID_SIZE] = "";
    size_t count = PAGE;
    nx_error err = {0};
    nx_status status = NX_OK;
    while (status == NX_OK && count == PAGE) {
        nx_arena arena = nx_arena_make(0);
        status = nx_store_streams_list(self->options.store, before[0] != '\0' ? before : NULL, PAGE,
                                       &arena, streams, &count, &err);
        for (size_t i = 0; status == NX_OK && i < count; i++) {
            tell_stream(self, &streams[i]);
            snprintf(before, sizeof before, "%.36s", streams[i].id);
        }
        nx_arena_free(&arena);
    }
    return status == NX_OK;
}

void nx_mqtt_tell_streams(nx_mqtt *self, bool all)
{
    for (size_t i = 0; i < self->known_count; i++) {
        self->known[i].seen = false;
        if (all) {
            self->known[i].told = self->known[i].counts = 0;
            self->known[i].version = 0;
        }
    }
    if (!tell_all_there_are(self)) {
        return;
    }
    for (size_t i = self->known_count; i-- > 0;) {
        if (!self->known[i].seen) {
            take_back(self, &self->known[i]);
            self->known[i] = self->known[--self->known_count];
        }
    }
}
