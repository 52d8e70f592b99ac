/*
 * Who is who from frame to frame: ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by
 * Associating Every Detection Box", ECCV 2022). Tracks are moved to the frame's time by a Kalman
 * filter and assigned to detections by the overlap of their boxes: first those of high scores, then
 * those of low scores to the tracks that are left, then the rest of the high ones to tracks that
 * were seen once. Only boxes of one class are compared.
 *
 * Other than the paper's program, all is in time, not frames, so that neither the frame rate nor
 * left-out frames matter, and no track is confirmed at its first sighting, not even in the first
 * frame: what counts was seen twice.
 *
 * Deterministic: the same calls give the same tracks, to the bit, also across save and load. A
 * tracker belongs to one thread at a time; no globals.
 */
#ifndef NX_ANALYTICS_TRACKER_H
#define NX_ANALYTICS_TRACKER_H

#include "base/buffer.h"
#include "base/error.h"
#include "vision/detection.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_TRACKER_MAX_DETECTIONS 1024 /* in one frame */
#define NX_TRACKER_MAX_TRACKS     1024 /* at one time, lost ones included */

typedef struct nx_tracker nx_tracker;

typedef struct nx_tracker_options {
    double high;      /* 0..1: detections of at least this score are assigned first */
    double low;       /* 0..1: weaker ones are not looked at */
    double start;     /* 0..1: a detection that fits no track begins one from this score on */
    double gate_high; /* 0..1: 1 - IoU * score below which a track takes a high detection */
    double gate_low;  /* 0..1: 1 - IoU below which a track takes a low one */
    double gate_new;  /* 0..1: as gate_high, for tracks that are not confirmed */
    double duplicate; /* 0..1: of two tracks that overlap by more, the younger goes */
    uint32_t confirm; /* 1..100 sightings make a track; it must not be missed before */
    int64_t lost_ns;  /* 0..NX_TRACKER_MAX_LOST_NS: so long an unseen track is waited for */
} nx_tracker_options;

#define NX_TRACKER_MAX_LOST_NS (INT64_C(3600) * 1000000000)

/* 0.5, 0.1, 0.7, 0.95, 0.5, 0.7, 0.85, 2 sightings, 1 second: those of the paper's program but for
 * high (0.6 there) and gate_high (0.9), which were chosen on 124 frames (docs/performance.md). */
nx_tracker_options nx_tracker_defaults(void);

typedef enum nx_track_state {
    NX_TRACK_TENTATIVE, /* not seen often enough: never counts */
    NX_TRACK_CONFIRMED, /* seen in the last frame */
    NX_TRACK_LOST,      /* confirmed, and not seen now */
} nx_track_state;

/* Plain data. The box is the detection's own where it was seen in this frame, else predicted; it
 * may then leave the picture, and be empty. */
typedef struct nx_track {
    uint64_t id; /* from 1 in the order of confirmation; 0 of a tentative one */
    nx_track_state state;
    int32_t class_id;
    float confidence; /* of the last detection */
    double x1, y1, x2, y2;
    double vx, vy;       /* of the centre, pixels a second */
    double spread;       /* standard deviation of the centre, pixels */
    double spread_speed; /* of its velocity, pixels a second */
    int64_t first_ns;    /* first and last sighting */
    int64_t seen_ns;
} nx_track;

/* Errors: NX_ERR_INVALID (an option out of range), NX_ERR_NO_MEMORY. */
nx_status nx_tracker_new(const nx_tracker_options *options, nx_tracker **out, nx_error *err);
void nx_tracker_free(nx_tracker *tracker);

const nx_tracker_options *nx_tracker_get_options(const nx_tracker *tracker);

/*
 * The next frame, in which a detector looked: time_ns rises from call to call, and is within
 * +-NX_TRACKER_MAX_TIME_NS. detections are finite, of rising corners within
 * +-NX_TRACKER_MAX_COORDINATE, of classes 0..NX_MAX_CLASSES - 1. After an error the tracker is as
 * it was, NX_ERR_NO_MEMORY apart, after which it is of no use. Errors: NX_ERR_INVALID,
 * NX_ERR_TOO_LARGE (too many detections), NX_ERR_NO_MEMORY.
 */
nx_status nx_tracker_update(nx_tracker *tracker, int64_t time_ns, const nx_detection *detections,
                            size_t count, nx_error *err);

#define NX_TRACKER_MAX_COORDINATE 1e6
#define NX_TRACKER_MAX_TIME_NS    (INT64_C(1) << 61)

/* The next frame, in which nobody looked because nothing moved: whoever was there still is. Errors
 * as above. */
nx_status nx_tracker_hold(nx_tracker *tracker, int64_t time_ns, nx_error *err);

/*
 * All tracks as of the last call, in the order of their first sighting; valid until the next call
 * of any function with this tracker. Those that count have the state NX_TRACK_CONFIRMED.
 */
const nx_track *nx_tracker_tracks(const nx_tracker *tracker, size_t *count);

/*
 * Where they will be at a time not before the last frame's, by prediction alone: for frames in
 * which nobody looked. States stay; the next nx_tracker_update is not touched by it. Valid as
 * above.
 */
const nx_track *nx_tracker_predict(nx_tracker *tracker, int64_t time_ns, size_t *count);

/* Appends the whole state, options included. A failure is out->failed. */
void nx_tracker_save(const nx_tracker *tracker, nx_buffer *out);

/* A tracker that goes on where a saved one was. The bytes may be anything.
 * Errors: NX_ERR_CORRUPT, NX_ERR_UNSUPPORTED (another version), NX_ERR_NO_MEMORY. */
nx_status nx_tracker_load(const void *bytes, size_t size, nx_tracker **out, nx_error *err);

#endif
