/* A tracker as bytes. */
#include "analytics/state.h"
#include "analytics/tracker_internal.h"
#include "vision/postprocess.h"

#include <math.h>

#define KIND    "NXTRACKR"
#define VERSION 1
#define WHAT    "tracker"

/* Nothing that a tracker was given makes larger numbers; beyond them sums could overflow. */
#define MAX_NUMBER 1e30

#define TRACK_BYTES (8 + 3 * 4 + 8 + 2 * 8 + NX_KALMAN_AXES * 5 * 8 + 4 * 8)

static void put_track(const tracked *track, nx_buffer *out)
{
    nx_state_put_u64(out, track->id);
    nx_state_put_u32(out, (uint32_t)track->state);
    nx_state_put_u32(out, (uint32_t)track->class_id);
    nx_state_put_u32(out, track->sightings);
    nx_state_put_double(out, (double)track->confidence);
    nx_state_put_i64(out, track->first_ns);
    nx_state_put_i64(out, track->seen_ns);
    for (int i = 0; i < NX_KALMAN_AXES; i++) {
        const nx_kalman_axis *axis = &track->filter.axes[i];
        nx_state_put_double(out, axis->value);
        nx_state_put_double(out, axis->velocity);
        nx_state_put_double(out, axis->var_value);
        nx_state_put_double(out, axis->covariance);
        nx_state_put_double(out, axis->var_velocity);
    }
    nx_state_put_double(out, track->seen.x1);
    nx_state_put_double(out, track->seen.y1);
    nx_state_put_double(out, track->seen.x2);
    nx_state_put_double(out, track->seen.y2);
}

void nx_tracker_save(const nx_tracker *t, nx_buffer *out)
{
    const nx_tracker_options *o = &t->options;
    nx_state_begin(out, KIND, VERSION);
    nx_state_put_double(out, o->high);
    nx_state_put_double(out, o->low);
    nx_state_put_double(out, o->start);
    nx_state_put_double(out, o->gate_high);
    nx_state_put_double(out, o->gate_low);
    nx_state_put_double(out, o->gate_new);
    nx_state_put_double(out, o->duplicate);
    nx_state_put_u32(out, o->confirm);
    nx_state_put_i64(out, o->lost_ns);
    nx_state_put_u32(out, t->started);
    nx_state_put_i64(out, t->now_ns);
    nx_state_put_u64(out, t->next_id);
    nx_state_put_u32(out, (uint32_t)t->count);
    for (size_t i = 0; i < t->count; i++) {
        put_track(&t->tracks[i], out);
    }
}

static double bounded(nx_state_reader *reader, double low, double high)
{
    double value = nx_state_double(reader);
    nx_state_expect(reader, value >= low && value <= high);
    return reader->bad ? 0 : value;
}

static nx_kalman_box read_box(nx_state_reader *reader)
{
    double c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = bounded(reader, -NX_TRACKER_MAX_COORDINATE, NX_TRACKER_MAX_COORDINATE);
    }
    nx_state_expect(reader, c[0] < c[2] && c[1] < c[3]);
    return (nx_kalman_box){c[0], c[1], c[2], c[3]};
}

static nx_kalman read_filter(nx_state_reader *reader)
{
    nx_kalman filter = {0};
    for (int i = 0; i < NX_KALMAN_AXES; i++) {
        nx_kalman_axis *axis = &filter.axes[i];
        axis->value = bounded(reader, -MAX_NUMBER, MAX_NUMBER);
        axis->velocity = bounded(reader, -MAX_NUMBER, MAX_NUMBER);
        axis->var_value = bounded(reader, 0, MAX_NUMBER);
        axis->covariance = bounded(reader, -MAX_NUMBER, MAX_NUMBER);
        axis->var_velocity = bounded(reader, 0, MAX_NUMBER);
    }
    return filter;
}

static tracked read_track(nx_state_reader *reader, const nx_tracker *t)
{
    tracked track = {0};
    track.id = nx_state_u64(reader);
    uint32_t state = nx_state_u32(reader);
    uint32_t class_id = nx_state_u32(reader);
    track.sightings = nx_state_u32(reader);
    double confidence = bounded(reader, 0, 1);
    track.confidence = (float)confidence;
    nx_state_expect(reader, (double)track.confidence == confidence); /* what was saved is a float */
    track.first_ns = nx_state_i64(reader);
    track.seen_ns = nx_state_i64(reader);
    track.filter = read_filter(reader);
    track.seen = read_box(reader);
    bool tentative = state == NX_TRACK_TENTATIVE;
    nx_state_expect(reader, state <= NX_TRACK_LOST && class_id < NX_MAX_CLASSES);
    nx_state_expect(reader, tentative ? track.id == 0 : track.id > 0 && track.id < t->next_id);
    nx_state_expect(reader, track.sightings >= 1 && track.sightings <= t->options.confirm &&
                                (track.sightings == t->options.confirm) == !tentative);
    nx_state_expect(reader, track.first_ns >= -NX_TRACKER_MAX_TIME_NS &&
                                track.first_ns <= track.seen_ns && track.seen_ns <= t->now_ns &&
                                (state == NX_TRACK_LOST) == (track.seen_ns < t->now_ns));
    track.state = reader->bad ? NX_TRACK_TENTATIVE : (nx_track_state)state;
    track.class_id = (int32_t)class_id;
    return track;
}

/* Two tracks with one id would be taken for one. */
static bool ids_differ(const nx_tracker *t)
{
    for (size_t i = 0; i < t->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (t->tracks[i].id != 0 && t->tracks[i].id == t->tracks[j].id) {
                return false;
            }
        }
    }
    return true;
}

static nx_tracker_options read_options(nx_state_reader *reader)
{
    nx_tracker_options o = {0};
    o.high = nx_state_double(reader);
    o.low = nx_state_double(reader);
    o.start = nx_state_double(reader);
    o.gate_high = nx_state_double(reader);
    o.gate_low = nx_state_double(reader);
    o.gate_new = nx_state_double(reader);
    o.duplicate = nx_state_double(reader);
    o.confirm = nx_state_u32(reader);
    o.lost_ns = nx_state_i64(reader);
    nx_state_expect(reader, nx_tracker_check_options(&o, NULL) == NX_OK);
    return o;
}

nx_status nx_tracker_load(const void *bytes, size_t size, nx_tracker **out, nx_error *err)
{
    nx_state_reader reader;
    *out = NULL;
    nx_status status = nx_state_open(bytes, size, KIND, VERSION, WHAT, &reader, err);
    if (status != NX_OK) {
        return status;
    }
    nx_tracker_options options = read_options(&reader);
    nx_tracker *t = nx_tracker_alloc(&options);
    if (t == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a tracker");
    }
    uint32_t started = nx_state_u32(&reader);
    t->now_ns = nx_state_i64(&reader);
    t->next_id = nx_state_u64(&reader);
    size_t count = nx_state_count(&reader, NX_TRACKER_MAX_TRACKS, TRACK_BYTES);
    nx_state_expect(&reader, started <= 1 && t->next_id >= 1 && t->next_id <= INT64_MAX);
    nx_state_expect(&reader,
                    t->now_ns >= -NX_TRACKER_MAX_TIME_NS && t->now_ns <= NX_TRACKER_MAX_TIME_NS);
    nx_state_expect(&reader, started == 1 || (count == 0 && t->now_ns == 0));
    t->started = started == 1;
    while (!reader.bad && t->count < count) {
        t->tracks[t->count] = read_track(&reader, t);
        t->count++;
    }
    nx_state_expect(&reader, ids_differ(t));
    status = nx_state_close(&reader, WHAT, err);
    if (status != NX_OK) {
        nx_tracker_free(t);
        return status;
    }
    nx_tracker_show(t, 0);
    *out = t;
    return NX_OK;
}
