#include "results/frames.h"

#include "base/json_writer.h"
#include "results/box.h"
#include "results/csv_field.h"
#include "results/fixed.h"

const char *nx_frame_event_name(nx_frame_event_kind kind)
{
    static const char *const names[NX_FRAME_EVENT_KINDS] = {
        [NX_FRAME_LINE_IN] = "line_in",       [NX_FRAME_LINE_OUT] = "line_out",
        [NX_FRAME_ZONE_ENTER] = "zone_enter", [NX_FRAME_ZONE_EXIT] = "zone_exit",
        [NX_FRAME_ZONE_END] = "zone_end",
    };
    return names[kind];
}

static double seconds(int64_t ns)
{
    return (double)ns / 1e9;
}

/* --- NDJSON -------------------------------------------------------------------------------------
 */

static void write_object(nx_json *json, const nx_frame_object *object, nx_class_names names)
{
    const nx_detection *d = &object->box;
    nx_json_object_begin(json);
    if (object->track_id != 0) {
        nx_json_key_int(json, "track_id", (int64_t)object->track_id);
    }
    nx_json_key_int(json, "class_id", d->class_id);
    nx_json_key_string(json, "class_name", nx_class_name(names, d->class_id));
    nx_json_key_number(json, "confidence", (double)d->confidence, 4);
    nx_json_box(json, d);
    if (object->predicted) {
        nx_json_key_bool(json, "predicted", true);
    }
    nx_json_object_end(json);
}

static void write_event(nx_json *json, const nx_frame_event *event, nx_class_names names)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "type", nx_frame_event_name(event->kind));
    nx_json_key_string(json, "name", event->name);
    nx_json_key_int(json, "track_id", (int64_t)event->track_id);
    nx_json_key_int(json, "class_id", event->class_id);
    nx_json_key_string(json, "class_name", nx_class_name(names, event->class_id));
    if (event->kind == NX_FRAME_ZONE_EXIT || event->kind == NX_FRAME_ZONE_END) {
        nx_json_key_number(json, "dwell", event->dwell_s, 3);
    }
    nx_json_object_end(json);
}

void nx_frame_write(const nx_frame_record *record, nx_class_names names, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_int(&json, "frame", (int64_t)record->index);
    nx_json_key_number(&json, "time", seconds(record->time_ns), 6);
    nx_json_key_bool(&json, "inferred", record->inferred);
    nx_json_key(&json, "objects");
    nx_json_array_begin(&json);
    for (size_t i = 0; i < record->object_count; i++) {
        write_object(&json, &record->objects[i], names);
    }
    nx_json_array_end(&json);
    if (record->event_count > 0) {
        nx_json_key(&json, "events");
        nx_json_array_begin(&json);
        for (size_t i = 0; i < record->event_count; i++) {
            write_event(&json, &record->events[i], names);
        }
        nx_json_array_end(&json);
    }
    nx_json_object_end(&json);
    nx_buffer_append_char(out, '\n');
}

/* --- derived ------------------------------------------------------------------------------------
 */

void nx_frames_csv_header(nx_buffer *out)
{
    nx_buffer_append_str(out, "frame,time,track_id,class_id,class_name,confidence,x1,y1,x2,y2\r\n");
}

void nx_frames_csv(const nx_frame_record *record, nx_class_names names, nx_buffer *out)
{
    for (size_t i = 0; i < record->object_count; i++) {
        const nx_frame_object *object = &record->objects[i];
        const nx_detection *d = &object->box;
        nx_append_whole(out, record->index);
        nx_buffer_append_char(out, ',');
        nx_append_fixed(out, seconds(record->time_ns), 3);
        nx_buffer_append_char(out, ',');
        if (object->track_id != 0) {
            nx_append_whole(out, object->track_id);
        }
        nx_buffer_append_char(out, ',');
        nx_append_fixed(out, (double)d->class_id, 0);
        nx_buffer_append_char(out, ',');
        nx_append_csv_field(out, nx_class_name(names, d->class_id));
        nx_append_csv_box(out, d);
    }
}

void nx_frames_mot(const nx_frame_record *record, nx_buffer *out)
{
    for (size_t i = 0; i < record->object_count; i++) {
        const nx_frame_object *object = &record->objects[i];
        const nx_detection *d = &object->box;
        if (object->track_id == 0) {
            continue;
        }
        nx_append_whole(out, record->index + 1);
        nx_buffer_append_char(out, ',');
        nx_append_whole(out, object->track_id);
        nx_buffer_append_char(out, ',');
        nx_append_fixed(out, (double)d->x1, 2);
        nx_buffer_append_char(out, ',');
        nx_append_fixed(out, (double)d->y1, 2);
        nx_buffer_append_char(out, ',');
        nx_append_fixed(out, (double)d->x2 - (double)d->x1, 2);
        nx_buffer_append_char(out, ',');
        nx_append_fixed(out, (double)d->y2 - (double)d->y1, 2);
        nx_buffer_append_char(out, ',');
        nx_append_fixed(out, (double)d->confidence, 4);
        nx_buffer_append_str(out, ",-1,-1,-1\n");
    }
}

void nx_frames_coco(const nx_frame_record *record, bool *first, nx_buffer *out)
{
    for (size_t i = 0; i < record->object_count; i++) {
        const nx_frame_object *object = &record->objects[i];
        const nx_detection *d = &object->box;
        nx_buffer_append_str(out, *first ? "" : ",\n");
        *first = false;
        nx_json json = nx_json_begin(out);
        nx_json_object_begin(&json);
        nx_json_key_int(&json, "image_id", (int64_t)record->index);
        nx_json_key_int(&json, "category_id", d->class_id);
        nx_json_bbox(&json, d);
        nx_json_key_number(&json, "score", (double)d->confidence, 4);
        if (object->track_id != 0) {
            nx_json_key_int(&json, "track_id", (int64_t)object->track_id);
        }
        nx_json_object_end(&json);
    }
}
