#include "results/tally.h"

#include "results/csv_field.h"
#include "results/fixed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef enum place_kind {
    PLACE_SCENE,
    PLACE_LINE,
    PLACE_ZONE,
} place_kind;

/* A line, a zone or the whole picture, for one class. */
typedef struct place {
    place_kind kind;
    char *name; /* owned; "" of the scene */
    int32_t class_id;
    uint64_t in, out; /* tracks that began; crossings; entries and exits */
    uint64_t ended;   /* of a zone: tracks that ended inside */
    uint64_t inside;  /* zones: now; the scene: in this frame */
    uint64_t most;    /* of inside */
    uint64_t objects; /* of the scene: boxes in all frames */
    double dwell_s, longest_s;
    struct {
        uint64_t in, out, most;
    } interval;
} place;

struct nx_tally {
    nx_class_names names;
    int64_t interval_ns;
    int64_t interval; /* number of the one that is being filled */
    uint64_t frames, inferred, objects;
    int64_t last_ns;
    place *places;
    size_t count, capacity;
    uint64_t *seen; /* a bit for each track id */
    size_t seen_words;
};

nx_tally *nx_tally_new(nx_class_names names, double interval_s)
{
    nx_tally *tally = calloc(1, sizeof *tally);
    if (tally != NULL) {
        tally->names = names;
        tally->interval_ns = (int64_t)(interval_s * 1e9);
        tally->interval_ns = tally->interval_ns > 0 ? tally->interval_ns : 1;
    }
    return tally;
}

void nx_tally_free(nx_tally *tally)
{
    if (tally == NULL) {
        return;
    }
    for (size_t i = 0; i < tally->count; i++) {
        free(tally->places[i].name);
    }
    free(tally->places);
    free(tally->seen);
    free(tally);
}

/* --- adding -------------------------------------------------------------------------------------
 */

static int compare_places(const place *a, place_kind kind, const char *name, int32_t class_id)
{
    if (a->kind != kind) {
        return a->kind < kind ? -1 : 1;
    }
    int order = strcmp(a->name, name);
    return order != 0 ? order : a->class_id < class_id ? -1 : a->class_id > class_id;
}

/* Found or made, in the order of kind, name and class; NULL: no memory. */
static place *place_of(nx_tally *tally, place_kind kind, const char *name, int32_t class_id)
{
    size_t at = 0;
    int order = 1;
    while (at < tally->count &&
           (order = compare_places(&tally->places[at], kind, name, class_id)) < 0) {
        at++;
    }
    if (at < tally->count && order == 0) {
        return &tally->places[at];
    }
    if (tally->count == tally->capacity) {
        size_t capacity = tally->capacity > 0 ? 2 * tally->capacity : 16;
        place *grown = reallocarray(tally->places, capacity, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        tally->places = grown;
        tally->capacity = capacity;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        return NULL;
    }
    memmove(&tally->places[at + 1], &tally->places[at], (tally->count - at) * sizeof(place));
    tally->count++;
    tally->places[at] = (place){.kind = kind, .name = copy, .class_id = class_id};
    return &tally->places[at];
}

/* 1: the track was not seen before; 0: it was; -1: no memory. Ids are counted up from 1, so a bit
 * each is little. */
static int see(nx_tally *tally, uint64_t id)
{
    size_t word = (size_t)(id / 64);
    if (word >= tally->seen_words) {
        size_t words = 2 * (word + 1);
        uint64_t *grown = word <= UINT32_MAX / 64 ? reallocarray(tally->seen, words, 8) : NULL;
        if (grown == NULL) {
            return -1;
        }
        memset(grown + tally->seen_words, 0, (words - tally->seen_words) * 8);
        tally->seen = grown;
        tally->seen_words = words;
    }
    uint64_t bit = UINT64_C(1) << (id % 64);
    int fresh = (tally->seen[word] & bit) == 0;
    tally->seen[word] |= bit;
    return fresh;
}

static bool add_objects(nx_tally *tally, const nx_frame_record *record)
{
    for (size_t i = 0; i < tally->count && tally->places[i].kind == PLACE_SCENE; i++) {
        tally->places[i].inside = 0;
    }
    for (size_t i = 0; i < record->object_count; i++) {
        const nx_frame_object *object = &record->objects[i];
        place *scene = place_of(tally, PLACE_SCENE, "", object->box.class_id);
        int fresh = object->track_id != 0 ? see(tally, object->track_id) : 0;
        if (scene == NULL || fresh < 0) {
            return false;
        }
        scene->objects++;
        scene->inside++;
        scene->in += (uint64_t)fresh;
        scene->interval.in += (uint64_t)fresh;
        scene->most = scene->inside > scene->most ? scene->inside : scene->most;
        scene->interval.most =
            scene->inside > scene->interval.most ? scene->inside : scene->interval.most;
    }
    tally->objects += record->object_count;
    return true;
}

static bool add_event(nx_tally *tally, const nx_frame_event *event)
{
    bool line = event->kind == NX_FRAME_LINE_IN || event->kind == NX_FRAME_LINE_OUT;
    bool in = event->kind == NX_FRAME_LINE_IN || event->kind == NX_FRAME_ZONE_ENTER;
    place *at = place_of(tally, line ? PLACE_LINE : PLACE_ZONE, event->name, event->class_id);
    if (at == NULL) {
        return false;
    }
    bool ended = event->kind == NX_FRAME_ZONE_END;
    at->in += in;
    at->out += !in && !ended;
    at->ended += ended;
    at->interval.in += in;
    at->interval.out += !in;
    if (!line) {
        at->inside = at->in > at->out + at->ended ? at->in - at->out - at->ended : 0;
        at->most = at->inside > at->most ? at->inside : at->most;
        at->dwell_s += in ? 0 : event->dwell_s;
        at->longest_s = !in && event->dwell_s > at->longest_s ? event->dwell_s : at->longest_s;
    }
    return true;
}

/* --- counts -------------------------------------------------------------------------------------
 */

void nx_tally_counts_header(nx_buffer *counts)
{
    nx_buffer_append_str(counts, "from,to,kind,name,class_name,in,out,occupancy\r\n");
}

static void write_rows(nx_tally *tally, int64_t end_ns, nx_buffer *counts)
{
    static const char *const kinds[] = {"scene", "line", "zone"};
    for (size_t i = 0; i < tally->count; i++) {
        place *at = &tally->places[i];
        uint64_t occupancy = at->kind == PLACE_SCENE  ? at->interval.most
                             : at->kind == PLACE_ZONE ? at->inside
                                                      : 0;
        if (at->interval.in + at->interval.out + occupancy > 0) {
            nx_append_fixed(counts, (double)(tally->interval * tally->interval_ns) / 1e9, 3);
            nx_buffer_append_char(counts, ',');
            nx_append_fixed(counts, (double)end_ns / 1e9, 3);
            nx_buffer_printf(counts, ",%s,", kinds[at->kind]);
            nx_append_csv_field(counts, at->name);
            nx_buffer_append_char(counts, ',');
            nx_append_csv_field(counts, nx_class_name(tally->names, at->class_id));
            nx_buffer_printf(counts, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\r\n", at->interval.in,
                             at->interval.out, occupancy);
        }
        at->interval.in = at->interval.out = at->interval.most = 0;
    }
}

void nx_tally_counts_end(nx_tally *tally, nx_buffer *counts)
{
    if (tally->frames > 0) {
        write_rows(tally, tally->last_ns, counts);
    }
}

nx_status nx_tally_add(nx_tally *tally, const nx_frame_record *record, nx_buffer *counts,
                       nx_error *err)
{
    int64_t interval = record->time_ns / tally->interval_ns;
    if (interval > tally->interval) {
        write_rows(tally, (tally->interval + 1) * tally->interval_ns, counts);
        tally->interval = interval;
    }
    tally->frames++;
    tally->inferred += record->inferred;
    tally->last_ns = record->time_ns > tally->last_ns ? record->time_ns : tally->last_ns;
    bool fine = add_objects(tally, record);
    for (size_t i = 0; fine && i < record->event_count; i++) {
        fine = add_event(tally, &record->events[i]);
    }
    return fine ? NX_OK : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the counts");
}

/* --- totals -------------------------------------------------------------------------------------
 */

static void write_class(const nx_tally *tally, const place *at, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_int(json, "class_id", at->class_id);
    nx_json_key_string(json, "class_name", nx_class_name(tally->names, at->class_id));
    nx_json_key_int(json, "tracks", (int64_t)at->in);
    nx_json_key_int(json, "objects", (int64_t)at->objects);
    nx_json_key_int(json, "most_at_once", (int64_t)at->most);
    nx_json_object_end(json);
}

static void write_line(const nx_tally *tally, const place *at, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "name", at->name);
    nx_json_key_string(json, "class_name", nx_class_name(tally->names, at->class_id));
    nx_json_key_int(json, "in", (int64_t)at->in);
    nx_json_key_int(json, "out", (int64_t)at->out);
    nx_json_object_end(json);
}

static void write_zone(const nx_tally *tally, const place *at, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "name", at->name);
    nx_json_key_string(json, "class_name", nx_class_name(tally->names, at->class_id));
    nx_json_key_int(json, "entries", (int64_t)at->in);
    nx_json_key_int(json, "exits", (int64_t)at->out);
    uint64_t gone = at->out + at->ended;
    nx_json_key_int(json, "ended", (int64_t)at->ended);
    nx_json_key_int(json, "inside", (int64_t)at->inside);
    nx_json_key_int(json, "most_inside", (int64_t)at->most);
    nx_json_key_number(json, "dwell_mean", gone > 0 ? at->dwell_s / (double)gone : 0, 3);
    nx_json_key_number(json, "dwell_max", at->longest_s, 3);
    nx_json_object_end(json);
}

static void write_list(const nx_tally *tally, const char *key, place_kind kind,
                       void (*write)(const nx_tally *, const place *, nx_json *), nx_json *json)
{
    nx_json_key(json, key);
    nx_json_array_begin(json);
    for (size_t i = 0; i < tally->count; i++) {
        if (tally->places[i].kind == kind) {
            write(tally, &tally->places[i], json);
        }
    }
    nx_json_array_end(json);
}

void nx_tally_json_members(const nx_tally *tally, nx_json *json)
{
    nx_json_key_int(json, "frames", (int64_t)tally->frames);
    nx_json_key_int(json, "frames_inferred", (int64_t)tally->inferred);
    nx_json_key_number(json, "duration", (double)tally->last_ns / 1e9, 3);
    nx_json_key_int(json, "objects", (int64_t)tally->objects);
    write_list(tally, "classes", PLACE_SCENE, write_class, json);
    write_list(tally, "lines", PLACE_LINE, write_line, json);
    write_list(tally, "zones", PLACE_ZONE, write_zone, json);
}
