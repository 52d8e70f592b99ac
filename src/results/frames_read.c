/* Lines of nx_frame_write, read back. */
#include "base/json_reader.h"
#include "results/frames.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ENTRIES ((size_t)1 << 20) /* objects or events of one frame */

struct nx_frame_reader {
    nx_frame_object *objects;
    size_t object_count, object_capacity;
    nx_frame_event *events;
    size_t *event_names; /* where each event's name begins in `names` */
    size_t event_count, event_capacity;
    nx_buffer names; /* of the events, each with a NUL behind it */
};

nx_frame_reader *nx_frame_reader_new(void)
{
    return calloc(1, sizeof(nx_frame_reader));
}

void nx_frame_reader_free(nx_frame_reader *reader)
{
    if (reader != NULL) {
        free(reader->objects);
        free(reader->events);
        free(reader->event_names);
        nx_buffer_free(&reader->names);
        free(reader);
    }
}

/* --- values -------------------------------------------------------------------------------------
 */

static bool read_double(nx_json_reader *json, double *out)
{
    nx_json_num number;
    if (!nx_json_read_number(json, &number)) {
        return false;
    }
    *out = nx_json_num_double(&number);
    return isfinite(*out) || nx_json_refuse(json, "a number is too large");
}

static bool read_float(nx_json_reader *json, float *out)
{
    double value = 0;
    bool fine = read_double(json, &value);
    *out = (float)value;
    return fine;
}

static bool read_positive(nx_json_reader *json, uint64_t *out)
{
    int64_t value = 0;
    if (!nx_json_read_int(json, &value)) {
        return false;
    }
    *out = (uint64_t)value;
    return value >= 0 || nx_json_refuse(json, "a number is negative");
}

static bool read_class(nx_json_reader *json, int32_t *out)
{
    int64_t value = 0;
    if (!nx_json_read_int(json, &value)) {
        return false;
    }
    *out = (int32_t)value;
    return (value >= 0 && value <= INT32_MAX) || nx_json_refuse(json, "this is no class");
}

static bool read_seconds(nx_json_reader *json, double *out)
{
    return read_double(json, out) &&
           ((*out >= 0 && *out < 9e9) || nx_json_refuse(json, "this is no time"));
}

/* --- objects ------------------------------------------------------------------------------------
 */

static bool read_box(nx_json_reader *json, nx_detection *d)
{
    nx_json_span key;
    if (!nx_json_enter_object(json)) {
        return false;
    }
    while (nx_json_next_member(json, &key)) {
        float *side = nx_json_key_is(key, "x1")   ? &d->x1
                      : nx_json_key_is(key, "y1") ? &d->y1
                      : nx_json_key_is(key, "x2") ? &d->x2
                      : nx_json_key_is(key, "y2") ? &d->y2
                                                  : NULL;
        if (side != NULL ? !read_float(json, side) : !nx_json_skip(json, NULL)) {
            return false;
        }
    }
    return json->wrong == NULL;
}

static bool read_object(nx_json_reader *json, nx_frame_object *object)
{
    nx_json_span key;
    if (!nx_json_enter_object(json)) {
        return false;
    }
    while (nx_json_next_member(json, &key)) {
        bool fine = nx_json_key_is(key, "track_id")     ? read_positive(json, &object->track_id)
                    : nx_json_key_is(key, "class_id")   ? read_class(json, &object->box.class_id)
                    : nx_json_key_is(key, "confidence") ? read_float(json, &object->box.confidence)
                    : nx_json_key_is(key, "box")        ? read_box(json, &object->box)
                    : nx_json_key_is(key, "predicted") ? nx_json_read_bool(json, &object->predicted)
                                                       : nx_json_skip(json, NULL);
        if (!fine) {
            return false;
        }
    }
    return json->wrong == NULL;
}

/* Room for one more; NULL: no memory. */
static void *grow(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    size_t wanted = *capacity > 0 ? 2 * *capacity : 64;
    void *grown = reallocarray(array, wanted, size);
    *capacity = grown != NULL ? wanted : *capacity;
    return grown;
}

static bool read_objects(nx_frame_reader *reader, nx_json_reader *json)
{
    if (!nx_json_enter_array(json)) {
        return false;
    }
    while (nx_json_next_element(json)) {
        void *grown = grow(reader->objects, reader->object_count, &reader->object_capacity,
                           sizeof *reader->objects);
        if (grown == NULL || reader->object_count == MOST_ENTRIES) {
            return nx_json_refuse(json, "there are too many objects");
        }
        reader->objects = grown;
        nx_frame_object *object = &reader->objects[reader->object_count++];
        *object = (nx_frame_object){0};
        if (!read_object(json, object)) {
            return false;
        }
    }
    return json->wrong == NULL;
}

/* --- events -------------------------------------------------------------------------------------
 */

static bool read_kind(nx_json_reader *json, nx_frame_event_kind *out)
{
    nx_json_span text;
    if (nx_json_peek(json) != NX_JSON_STRING || !nx_json_skip(json, &text)) {
        return nx_json_refuse(json, "the type of an event is no text");
    }
    for (int i = 0; i < NX_FRAME_EVENT_KINDS; i++) {
        const char *name = nx_frame_event_name((nx_frame_event_kind)i);
        size_t size = strlen(name);
        if (text.size == size + 2 && memcmp(text.text + 1, name, size) == 0) {
            *out = (nx_frame_event_kind)i;
            return true;
        }
    }
    return nx_json_refuse(json, "the type of an event is not known");
}

static bool read_name(nx_frame_reader *reader, nx_json_reader *json)
{
    reader->event_names[reader->event_count] = reader->names.size;
    bool fine = nx_json_read_string(json, &reader->names);
    nx_buffer_append_char(&reader->names, '\0');
    return fine;
}

static bool read_event(nx_frame_reader *reader, nx_json_reader *json)
{
    nx_frame_event *event = &reader->events[reader->event_count];
    nx_json_span key;
    bool named = false;
    *event = (nx_frame_event){0};
    if (!nx_json_enter_object(json)) {
        return false;
    }
    while (nx_json_next_member(json, &key)) {
        bool is_name = nx_json_key_is(key, "name");
        bool fine = is_name                           ? !named && read_name(reader, json)
                    : nx_json_key_is(key, "type")     ? read_kind(json, &event->kind)
                    : nx_json_key_is(key, "track_id") ? read_positive(json, &event->track_id)
                    : nx_json_key_is(key, "class_id") ? read_class(json, &event->class_id)
                    : nx_json_key_is(key, "dwell")    ? read_seconds(json, &event->dwell_s)
                                                      : nx_json_skip(json, NULL);
        named |= is_name;
        if (!fine) {
            return nx_json_refuse(json, "an event cannot be read");
        }
    }
    reader->event_count++;
    return json->wrong == NULL && (named || nx_json_refuse(json, "an event has no name"));
}

static bool read_events(nx_frame_reader *reader, nx_json_reader *json)
{
    if (!nx_json_enter_array(json)) {
        return false;
    }
    while (nx_json_next_element(json)) {
        size_t names = reader->event_capacity;
        void *places =
            grow(reader->event_names, reader->event_count, &names, sizeof *reader->event_names);
        reader->event_names = places != NULL ? places : reader->event_names;
        void *events = grow(reader->events, reader->event_count, &reader->event_capacity,
                            sizeof *reader->events);
        reader->events = events != NULL ? events : reader->events;
        if (places == NULL || events == NULL || reader->event_count == MOST_ENTRIES) {
            return nx_json_refuse(json, "there are too many events");
        }
        if (!read_event(reader, json)) {
            return false;
        }
    }
    return json->wrong == NULL;
}

/* --- the line -----------------------------------------------------------------------------------
 */

static bool read_line(nx_frame_reader *reader, nx_json_reader *json, nx_frame_record *out)
{
    nx_json_span key;
    double time_s = 0;
    bool has_index = false;
    if (!nx_json_enter_object(json)) {
        return false;
    }
    while (nx_json_next_member(json, &key)) {
        bool is_index = nx_json_key_is(key, "frame");
        bool fine = is_index                          ? read_positive(json, &out->index)
                    : nx_json_key_is(key, "time")     ? read_seconds(json, &time_s)
                    : nx_json_key_is(key, "inferred") ? nx_json_read_bool(json, &out->inferred)
                    : nx_json_key_is(key, "objects")  ? read_objects(reader, json)
                    : nx_json_key_is(key, "events")   ? read_events(reader, json)
                                                      : nx_json_skip(json, NULL);
        has_index |= is_index;
        if (!fine) {
            return false;
        }
    }
    out->time_ns = llround(time_s * 1e9);
    return has_index && nx_json_at_end(json);
}

nx_status nx_frame_read(nx_frame_reader *reader, const char *line, size_t size,
                        nx_frame_record *out, nx_error *err)
{
    nx_json_reader json = nx_json_reader_begin(line, size);
    *out = (nx_frame_record){0};
    reader->object_count = reader->event_count = 0;
    nx_buffer_clear(&reader->names);
    bool fine = read_line(reader, &json, out);
    if (reader->names.failed) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the events of a frame");
    }
    if (!fine) {
        nx_error why = {0};
        (void)nx_json_reader_error(&json, &why);
        return nx_error_set(err, NX_ERR_CORRUPT, "a line of results is damaged (%s)", why.message);
    }
    for (size_t i = 0; i < reader->event_count; i++) {
        reader->events[i].name = reader->names.data + reader->event_names[i];
    }
    out->objects = reader->objects;
    out->object_count = reader->object_count;
    out->events = reader->events;
    out->event_count = reader->event_count;
    return NX_OK;
}
