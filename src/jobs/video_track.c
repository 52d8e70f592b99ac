#include "jobs/video_track.h"

#include "analytics/motion_gate.h"
#include "analytics/state.h"
#include "analytics/stride.h"
#include "analytics/tracker.h"
#include "analytics/zones_parse.h"
#include "base/clock.h"
#include "vision/class_filter.h"

#include <stdlib.h>
#include <string.h>

#define KIND    "NXVTRACK"
#define VERSION 1
#define WHAT    "state of a video's analysis"

/* Zones remember a track for longer than the tracker does. */
#define FORGET_AFTER_NS (10 * NX_NS_PER_SEC)

struct nx_video_track {
    const nx_video_spec *spec;
    uint32_t width, height;
    nx_tracker *tracker;  /* NULL: nobody is tracked */
    nx_zones_spec places; /* empty: none */
    nx_zones *zones;      /* NULL: none */
    nx_motion_gate *gate; /* NULL: none */
    nx_stride stride;     /* of adaptive_stride */
    nx_frame_object *objects;
    size_t object_capacity;
    nx_frame_event *events;
    size_t event_capacity;
};

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to track objects");
}

/* --- life ---------------------------------------------------------------------------------------
 */

void nx_video_track_free(nx_video_track *track)
{
    if (track != NULL) {
        nx_tracker_free(track->tracker);
        nx_zones_free(track->zones);
        nx_zones_spec_free(&track->places);
        nx_motion_gate_free(track->gate);
        free(track->objects);
        free(track->events);
        free(track);
    }
}

static nx_status open_places(nx_video_track *track, nx_class_names names, nx_error *err)
{
    const char *text = track->spec->places;
    if (text == NULL) {
        return NX_OK;
    }
    nx_zones_options options = nx_zones_defaults();
    options.forget_ns = FORGET_AFTER_NS;
    nx_status status =
        nx_zones_parse(text, strlen(text), "zones and lines", names, &track->places, err);
    return status != NX_OK ? status : nx_zones_new(&track->places, &options, &track->zones, err);
}

nx_status nx_video_track_new(const nx_video_spec *spec, nx_class_names names, uint32_t width,
                             uint32_t height, nx_video_track **out, nx_error *err)
{
    *out = NULL;
    nx_video_track *track = calloc(1, sizeof *track);
    if (track == NULL) {
        return no_memory(err);
    }
    track->spec = spec;
    track->width = width;
    track->height = height;
    nx_status status = open_places(track, names, err);
    if (status == NX_OK && spec->track) {
        nx_tracker_options options = nx_tracker_defaults();
        if (spec->confidence >= 0) { /* what the user takes for seen makes a track */
            options.high = options.start = spec->confidence;
            options.low = options.low < spec->confidence ? options.low : spec->confidence;
        }
        status = nx_tracker_new(&options, &track->tracker, err);
    }
    if (status == NX_OK && spec->motion_gate) {
        const nx_motion_gate_options options = nx_motion_gate_defaults();
        status = nx_motion_gate_new(&options, &track->gate, err);
    }
    if (status == NX_OK && spec->adaptive_stride) {
        const nx_stride_options options = nx_stride_defaults();
        status = nx_stride_start(&options, &track->stride, err);
    }
    if (status != NX_OK) {
        nx_video_track_free(track);
        return status;
    }
    *out = track;
    return NX_OK;
}

const nx_zones_spec *nx_video_track_places(const nx_video_track *track)
{
    return &track->places;
}

const nx_track *nx_video_track_tracks(const nx_video_track *track, size_t *count)
{
    *count = 0;
    return track->tracker != NULL ? nx_tracker_tracks(track->tracker, count) : NULL;
}

const nx_zones *nx_video_track_zones(const nx_video_track *track)
{
    return track->zones;
}

nx_status nx_video_track_thresholds(const nx_video_spec *spec, nx_class_names names,
                                    nx_postprocess_options *out, nx_error *err)
{
    out->confidence = spec->confidence >= 0 ? (float)spec->confidence : out->confidence;
    out->iou = spec->iou >= 0 ? (float)spec->iou : out->iou;
    if (spec->track) { /* and the tracker decides by itself */
        const float low = (float)nx_tracker_defaults().low;
        out->confidence = out->confidence < low ? out->confidence : low;
    }
    return spec->classes != NULL ? nx_class_filter_parse(spec->classes, names, out, err) : NX_OK;
}

/* --- planning -----------------------------------------------------------------------------------
 */

bool nx_video_track_plans_one_by_one(const nx_video_track *track)
{
    return track->spec->adaptive_stride;
}

nx_status nx_video_track_plan(nx_video_track *track, int64_t time_ns, const uint8_t *pixels,
                              uint32_t width, uint32_t height, nx_frame_plan *out, nx_error *err)
{
    *out = NX_FRAME_INFER;
    if (track->gate != NULL) {
        const nx_motion_frame frame = {.pixels = pixels,
                                       .stride = (size_t)3 * width,
                                       .width = width,
                                       .height = height,
                                       .channels = 3};
        bool open = true;
        nx_status status = nx_motion_gate_look(track->gate, time_ns, &frame, &open, err);
        if (status != NX_OK) {
            return status;
        }
        *out = open ? NX_FRAME_INFER : NX_FRAME_HOLD;
    }
    if (track->spec->adaptive_stride && *out == NX_FRAME_INFER &&
        !nx_stride_due(&track->stride, time_ns)) {
        *out = NX_FRAME_PREDICT;
    }
    return NX_OK;
}

/* --- taking -------------------------------------------------------------------------------------
 */

static bool reserve_objects(nx_video_track *track, size_t count)
{
    if (count > track->object_capacity) {
        nx_frame_object *grown = reallocarray(track->objects, count, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        track->objects = grown;
        track->object_capacity = count;
    }
    return true;
}

static nx_status take_untracked(nx_video_track *track, const nx_detection *detections, size_t count,
                                nx_frame_record *out, nx_error *err)
{
    if (!reserve_objects(track, count)) {
        return no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        track->objects[i] = (nx_frame_object){.box = detections[i]};
    }
    out->objects = track->objects;
    out->object_count = count;
    return NX_OK;
}

static float clip(double value, uint32_t limit)
{
    return value < 0 ? 0 : value > limit ? (float)limit : (float)value;
}

/* False: nothing of it is in the picture, or it is not seen in this frame. */
static bool show_track(const nx_video_track *video, const nx_track *track, int64_t time_ns,
                       nx_frame_object *out)
{
    bool seen = track->seen_ns == time_ns;
    if (track->state == NX_TRACK_LOST || (track->state == NX_TRACK_TENTATIVE && !seen)) {
        return false;
    }
    *out = (nx_frame_object){
        .box = {.x1 = clip(track->x1, video->width),
                .y1 = clip(track->y1, video->height),
                .x2 = clip(track->x2, video->width),
                .y2 = clip(track->y2, video->height),
                .confidence = track->confidence,
                .class_id = track->class_id},
        .track_id = track->id,
        .predicted = !seen,
    };
    return out->box.x1 < out->box.x2 && out->box.y1 < out->box.y2;
}

static nx_status take_events(nx_video_track *track, nx_frame_record *out, nx_error *err)
{
    static const nx_frame_event_kind kinds[] = {
        [NX_ZONE_ENTER] = NX_FRAME_ZONE_ENTER, [NX_ZONE_EXIT] = NX_FRAME_ZONE_EXIT,
        [NX_ZONE_END] = NX_FRAME_ZONE_END,     [NX_LINE_IN] = NX_FRAME_LINE_IN,
        [NX_LINE_OUT] = NX_FRAME_LINE_OUT,
    };
    size_t count = 0;
    const nx_zone_event *events = nx_zones_events(track->zones, &count);
    if (count > track->event_capacity) {
        nx_frame_event *grown = reallocarray(track->events, count, sizeof *grown);
        if (grown == NULL) {
            return no_memory(err);
        }
        track->events = grown;
        track->event_capacity = count;
    }
    for (size_t i = 0; i < count; i++) {
        const nx_zone_event *event = &events[i];
        bool line = event->kind == NX_LINE_IN || event->kind == NX_LINE_OUT;
        track->events[i] = (nx_frame_event){
            .kind = kinds[event->kind],
            .name = line ? track->places.lines[event->place].name
                         : track->places.zones[event->place].name,
            .track_id = event->track_id,
            .class_id = event->class_id,
            .dwell_s = (double)event->dwell_ns / 1e9,
        };
    }
    out->events = track->events;
    out->event_count = count;
    return NX_OK;
}

/* Moves the tracks to the frame. */
static nx_status follow(nx_video_track *track, nx_frame_plan plan, int64_t time_ns,
                        const nx_detection *detections, size_t count, const nx_track **tracks,
                        size_t *track_count, nx_error *err)
{
    nx_status status = NX_OK;
    if (plan == NX_FRAME_PREDICT) {
        *tracks = nx_tracker_predict(track->tracker, time_ns, track_count);
        return NX_OK;
    }
    status = plan == NX_FRAME_INFER
                 ? nx_tracker_update(track->tracker, time_ns, detections, count, err)
                 : nx_tracker_hold(track->tracker, time_ns, err);
    *tracks = nx_tracker_tracks(track->tracker, track_count);
    if (status == NX_OK && track->spec->adaptive_stride && plan == NX_FRAME_INFER) {
        nx_stride_looked(&track->stride, time_ns, *tracks, *track_count);
    }
    return status;
}

nx_status nx_video_track_take(nx_video_track *track, nx_frame_plan plan, int64_t time_ns,
                              const nx_detection *detections, size_t count, nx_frame_record *out,
                              nx_error *err)
{
    *out = (nx_frame_record){.time_ns = time_ns, .inferred = plan == NX_FRAME_INFER};
    if (track->tracker == NULL) {
        return take_untracked(track, detections, count, out, err);
    }
    const nx_track *tracks = NULL;
    size_t track_count = 0;
    nx_status status = follow(track, plan, time_ns, detections, count, &tracks, &track_count, err);
    if (status != NX_OK) {
        return status;
    }
    if (!reserve_objects(track, track_count)) {
        return no_memory(err);
    }
    for (size_t i = 0; i < track_count; i++) {
        out->object_count +=
            show_track(track, &tracks[i], time_ns, &track->objects[out->object_count]);
    }
    out->objects = track->objects;
    if (track->zones != NULL) {
        status = nx_zones_update(track->zones, time_ns, track->width, track->height, tracks,
                                 track_count, err);
        status = status == NX_OK ? take_events(track, out, err) : status;
    }
    return status;
}

/* --- the state ----------------------------------------------------------------------------------
 */

void nx_video_track_save_plan(const nx_video_track *track, nx_buffer *out)
{
    if (track->gate != NULL) {
        nx_motion_gate_save(track->gate, out);
    }
}

void nx_video_track_save(const nx_video_track *track, nx_buffer *out)
{
    nx_buffer parts[3] = {NX_BUFFER_INIT, NX_BUFFER_INIT, NX_BUFFER_INIT};
    if (track->tracker != NULL) {
        nx_tracker_save(track->tracker, &parts[0]);
    }
    if (track->zones != NULL) {
        nx_zones_save(track->zones, &parts[1]);
    }
    if (track->spec->adaptive_stride) {
        nx_stride_save(&track->stride, &parts[2]);
    }
    nx_state_begin(out, KIND, VERSION);
    for (size_t i = 0; i < 3; i++) {
        nx_state_put_part(out, &parts[i]);
        nx_buffer_free(&parts[i]);
    }
}

/* A part that must be there, or must not. */
static const uint8_t *get_part(nx_state_reader *reader, bool wanted, size_t *size)
{
    const uint8_t *bytes = nx_state_part(reader, size);
    nx_state_expect(reader, (*size > 0) == wanted);
    return bytes;
}

static nx_status load_parts(nx_video_track *track, nx_state_reader *reader, nx_error *err)
{
    size_t sizes[3];
    const uint8_t *parts[3];
    parts[0] = get_part(reader, track->tracker != NULL, &sizes[0]);
    parts[1] = get_part(reader, track->zones != NULL, &sizes[1]);
    parts[2] = get_part(reader, track->spec->adaptive_stride, &sizes[2]);
    nx_status status = nx_state_close(reader, WHAT, err);
    if (status == NX_OK && track->tracker != NULL) {
        nx_tracker_free(track->tracker);
        track->tracker = NULL;
        status = nx_tracker_load(parts[0], sizes[0], &track->tracker, err);
    }
    if (status == NX_OK && track->zones != NULL) {
        nx_zones_free(track->zones);
        track->zones = NULL;
        status = nx_zones_load(&track->places, parts[1], sizes[1], &track->zones, err);
    }
    if (status == NX_OK && track->spec->adaptive_stride) {
        status = nx_stride_load(parts[2], sizes[2], &track->stride, err);
    }
    return status;
}

nx_status nx_video_track_load(nx_video_track *track, const void *plan, size_t plan_size,
                              const void *state, size_t state_size, nx_error *err)
{
    nx_state_reader reader;
    nx_status status = nx_state_open(state, state_size, KIND, VERSION, WHAT, &reader, err);
    if (status == NX_OK) {
        status = load_parts(track, &reader, err);
    }
    if (status == NX_OK && track->gate != NULL) {
        nx_motion_gate_free(track->gate);
        track->gate = NULL;
        status = nx_motion_gate_load(plan, plan_size, &track->gate, err);
    }
    return status;
}
