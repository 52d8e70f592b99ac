/* Between tracker.c and tracker_state.c; nothing for others. */
#ifndef NX_ANALYTICS_TRACKER_INTERNAL_H
#define NX_ANALYTICS_TRACKER_INTERNAL_H

#include "analytics/kalman.h"
#include "analytics/tracker.h"

typedef struct tracked {
    uint64_t id;
    nx_track_state state;
    int32_t class_id;
    float confidence;
    uint32_t sightings;
    int64_t first_ns;
    int64_t seen_ns;
    nx_kalman filter;   /* at the tracker's time */
    nx_kalman_box seen; /* the last detection */
} tracked;

struct nx_tracker {
    nx_tracker_options options;
    bool started; /* now_ns is set */
    int64_t now_ns;
    uint64_t next_id;
    tracked *tracks; /* NX_TRACKER_MAX_TRACKS, by first sighting */
    size_t count;
    nx_track *shown; /* NX_TRACKER_MAX_TRACKS, made from tracks */

    /* scratch of an update */
    double *cost;
    size_t cost_capacity;
    int32_t *rows;    /* indices of tracks */
    int32_t *columns; /* indices of detections */
    int32_t *chosen;
    int32_t *track_of; /* by detection: the track that took it, or -1 */
    bool *matched;     /* by track */
};

/* Makes an empty tracker without looking at the options. NULL without memory. */
nx_tracker *nx_tracker_alloc(const nx_tracker_options *options);

nx_status nx_tracker_check_options(const nx_tracker_options *options, nx_error *err);

/* Fills what nx_tracker_tracks shows. */
void nx_tracker_show(nx_tracker *tracker, double ahead);

#endif
