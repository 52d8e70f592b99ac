/* What the broker keeps of a stream's zones and lines: how many there are and were, and a sensor of
 * Home Assistant for each of these numbers. */
#include "base/json_writer.h"
#include "jobs/mqtt_internal.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC_MAX 400
#define MOST      128 /* zones and lines: as many as a stream may have */

/* A number of a zone or line: where it is among the counts, and what Home Assistant calls it. */
typedef struct sensor {
    const char *kind, *list, *member, *title, *class;
} sensor;

static const sensor sensors[] = {
    {"zone", "zones", "inside", "present", "measurement"},
    {"zone", "zones", "entries", "entries", "total_increasing"},
    {"line", "lines", "in", "in", "total_increasing"},
    {"line", "lines", "out", "out", "total_increasing"},
};
#define SENSORS (sizeof sensors / sizeof sensors[0])

/* Names are any text, topics are not: a hash stands for a name. */
static void sensor_id(const nx_mqtt_place *place, const sensor *what, char out[64])
{
    snprintf(out, 64, "%s_%016llx_%s", what->kind, (unsigned long long)place->name, what->member);
}

static bool fits(const nx_mqtt_place *place, const sensor *what)
{
    return place->line == (strcmp(what->kind, "line") == 0);
}

/* Finds the place by its name, which stands in the template as JSON writes it: Jinja reads that. */
static void write_template(const sensor *what, const char *name, nx_json *json)
{
    nx_buffer text = NX_BUFFER_INIT;
    nx_json quoted = nx_json_begin(&text);
    nx_buffer_printf(&text, "{{ value_json.%s | selectattr('name', 'eq', ", what->list);
    nx_json_string(&quoted, name);
    nx_buffer_printf(&text, ") | map(attribute='%s') | first | default(none) }}", what->member);
    nx_json_key_string(json, "value_template", nx_buffer_cstr(&text));
    nx_buffer_free(&text);
}

/* A count says something only while the camera is seen. */
static void write_availability(const nx_mqtt *self, const char *id, nx_json *json)
{
    char text[TOPIC_MAX];
    nx_json_key_string(json, "availability_mode", "all");
    nx_json_key(json, "availability");
    nx_json_array_begin(json);
    nx_json_object_begin(json);
    snprintf(text, sizeof text, "%.200s/status", self->prefix);
    nx_json_key_string(json, "topic", text);
    nx_json_object_end(json);
    nx_json_object_begin(json);
    snprintf(text, sizeof text, "%.200s/streams/%.40s/state", self->prefix, id);
    nx_json_key_string(json, "topic", text);
    nx_json_key_string(json, "value_template",
                       "{{ 'online' if value_json.state == 'live' else 'offline' }}");
    nx_json_object_end(json);
    nx_json_array_end(json);
}

static bool tell_sensor(nx_mqtt *self, const nx_stream *stream, const nx_mqtt_place *place,
                        const sensor *what, const char *name)
{
    char id[64];
    char topic[TOPIC_MAX];
    nx_buffer text = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&text);
    sensor_id(place, what, id);
    nx_json_object_begin(&json);
    snprintf(topic, sizeof topic, "%.80s %s", name, what->title);
    nx_json_key_string(&json, "name", topic);
    snprintf(topic, sizeof topic, "nexus_%.40s_%s", stream->id, id);
    nx_json_key_string(&json, "unique_id", topic);
    snprintf(topic, sizeof topic, "%.200s/streams/%.40s/counts", self->prefix, stream->id);
    nx_json_key_string(&json, "state_topic", topic);
    nx_json_key_string(&json, "state_class", what->class);
    write_template(what, name, &json);
    write_availability(self, stream->id, &json);
    nx_mqtt_write_device(stream, &json);
    nx_json_object_end(&json);
    nx_mqtt_config_topic(self, "sensor", stream->id, id, topic, sizeof topic);
    bool good = !text.failed && nx_mqtt_publish(self, NULL, topic, text.data, text.size, true);
    nx_buffer_free(&text);
    return good;
}

static bool tell_place(nx_mqtt *self, const nx_stream *stream, const nx_mqtt_place *place,
                       const char *name)
{
    bool good = true;
    for (size_t i = 0; i < SENSORS; i++) {
        if (fits(place, &sensors[i])) {
            good = tell_sensor(self, stream, place, &sensors[i], name) && good;
        }
    }
    return good;
}

static void take_place_back(nx_mqtt *self, const char *stream, const nx_mqtt_place *place)
{
    char id[64];
    char topic[TOPIC_MAX];
    for (size_t i = 0; i < SENSORS; i++) {
        if (fits(place, &sensors[i])) {
            sensor_id(place, &sensors[i], id);
            nx_mqtt_config_topic(self, "sensor", stream, id, topic, sizeof topic);
            (void)nx_mqtt_publish(self, NULL, topic, NULL, 0, true);
        }
    }
}

/* Of one of the two lists of a stream's options. False: not all was told. */
static bool tell_list(nx_mqtt *self, const nx_stream *stream, const json_t *list, bool line,
                      nx_mqtt_place *places, size_t *count)
{
    bool good = true;
    for (size_t i = 0; i < json_array_size(list) && *count < MOST; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));
        if (name != NULL) {
            nx_mqtt_place *place = &places[(*count)++];
            *place = (nx_mqtt_place){.name = nx_mqtt_hash(name, strlen(name)), .line = line};
            good = tell_place(self, stream, place, name) && good;
        }
    }
    return good;
}

static bool is_among(const nx_mqtt_place *place, const nx_mqtt_place *places, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        found = found || (places[i].name == place->name && places[i].line == place->line);
    }
    return found;
}

bool nx_mqtt_tell_places(nx_mqtt *self, const nx_stream *stream, nx_mqtt_known *known)
{
    size_t count = 0;
    nx_mqtt_place *places = calloc(MOST, sizeof *places);
    if (places == NULL) {
        return false;
    }
    json_t *options = json_loads(stream->options, 0, NULL);
    bool good = tell_list(self, stream, json_object_get(options, "zones"), false, places, &count);
    good = tell_list(self, stream, json_object_get(options, "lines"), true, places, &count) && good;
    json_decref(options);
    for (size_t i = 0; i < known->place_count; i++) {
        if (!is_among(&known->places[i], places, count)) {
            take_place_back(self, known->id, &known->places[i]);
        }
    }
    free(known->places);
    known->places = places;
    known->place_count = count;
    return good;
}

void nx_mqtt_take_places_back(nx_mqtt *self, nx_mqtt_known *known)
{
    char topic[TOPIC_MAX];
    for (size_t i = 0; i < known->place_count; i++) {
        take_place_back(self, known->id, &known->places[i]);
    }
    free(known->places);
    known->places = NULL;
    known->place_count = 0;
    snprintf(topic, sizeof topic, "%.200s/streams/%.40s/counts", self->prefix, known->id);
    (void)nx_mqtt_publish(self, NULL, topic, NULL, 0, true);
}

void nx_mqtt_tell_counts(nx_mqtt *self)
{
    char topic[TOPIC_MAX];
    nx_buffer text = NX_BUFFER_INIT;
    for (size_t i = 0; i < self->known_count; i++) {
        nx_mqtt_known *known = &self->known[i];
        nx_buffer_clear(&text);
        pthread_mutex_lock(&self->counts_lock);
        bool here = self->counts != NULL && self->counts(known->id, &text, self->counts_user);
        pthread_mutex_unlock(&self->counts_lock);
        uint64_t now = here && !text.failed ? nx_mqtt_hash(text.data, text.size) : 0;
        if (now != 0 && now != known->counts) {
            snprintf(topic, sizeof topic, "%.200s/streams/%.40s/counts", self->prefix, known->id);
            now = nx_mqtt_publish(self, NULL, topic, text.data, text.size, true) ? now : 0;
        }
        known->counts = now;
    }
    nx_buffer_free(&text);
}

void nx_mqtt_set_counts(nx_mqtt *mqtt, nx_mqtt_counts counts, void *user)
{
    if (mqtt != NULL) {
        pthread_mutex_lock(&mqtt->counts_lock);
        mqtt->counts = counts;
        mqtt->counts_user = user;
        pthread_mutex_unlock(&mqtt->counts_lock);
    }
}
