/*
 * Which frames a detector looks at. Between looks tracks go on by prediction
 * (nx_tracker_predict), so the next look may wait as long as the predictions are good: until a
 * track has moved, or may have strayed, by a share of its own box. Slow, large and well known
 * objects are looked at seldom; new and lost ones at once. Off unless a caller uses it.
 *
 * Pure functions on plain data; deterministic, also across save and load.
 */
#ifndef NX_ANALYTICS_STRIDE_H
#define NX_ANALYTICS_STRIDE_H

#include "analytics/tracker.h"
#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_stride_options {
    double move;         /* over 0: a track may move by this share of its box's shorter side */
    double stray;        /* over 0: the same for the prediction's standard deviation */
    uint32_t max_frames; /* 1..1000: at least each so manyth frame is looked at */
    int64_t max_ns;      /* 0..3600 s: and a frame this long after the last look; who comes into an
                            empty scene waits for that */
} nx_stride_options;

nx_stride_options nx_stride_defaults(void); /* 0.75, 0.4, 5 frames, 500 ms */

typedef struct nx_stride {
    nx_stride_options options;
    bool started;
    int64_t looked_ns; /* the last look */
    int64_t next_ns;   /* the first time at which the next one is due */
    uint32_t frames;   /* since the last look */
    uint64_t seen, looked;
} nx_stride;

/* Errors: NX_ERR_INVALID. */
nx_status nx_stride_start(const nx_stride_options *options, nx_stride *out, nx_error *err);

/* Counts a frame; times rise and are within +-NX_TRACKER_MAX_TIME_NS. Returns whether it is to be
 * looked at; the first one is. */
bool nx_stride_due(nx_stride *stride, int64_t time_ns);

/* After a look: plans the next by the tracks of that frame. */
void nx_stride_looked(nx_stride *stride, int64_t time_ns, const nx_track *tracks, size_t count);

/* Appends the state, options included. A failure is out->failed. */
void nx_stride_save(const nx_stride *stride, nx_buffer *out);

/* The bytes may be anything. Errors: NX_ERR_CORRUPT, NX_ERR_UNSUPPORTED (another version). */
nx_status nx_stride_load(const void *bytes, size_t size, nx_stride *out, nx_error *err);

#endif
