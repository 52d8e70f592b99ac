/*
 * Who is in which zone, and who crosses which line. Zones are polygons and lines are segments, both
 * in normalised coordinates: 0,0 is the picture's left top corner and 1,1 its right bottom one. A
 * track is where it stands: at the middle of its box's bottom edge. Only confirmed tracks count.
 *
 * Both have hysteresis: a track has changed sides, or zones, only when it is further from the line
 * or edge than a small distance, so that one who trembles there counts once.
 *
 * Deterministic, also across save and load. One thread at a time; no globals.
 */
#ifndef NX_ANALYTICS_ZONES_H
#define NX_ANALYTICS_ZONES_H

#include "analytics/tracker.h"
#include "base/buffer.h"
#include "base/error.h"
#include "vision/postprocess.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_ZONES_MAX            64 /* zones, and as many lines */
#define NX_ZONES_MAX_POINTS     64 /* of a polygon */
#define NX_ZONES_MAX_NAME_BYTES 64
#define NX_ZONES_MAX_TRACKS     4096 /* remembered at one time; then the longest unseen goes */

/* --- what there is ------------------------------------------------------------------------------
 */

typedef struct nx_zone_point {
    double x, y; /* 0..1 */
} nx_zone_point;

typedef struct nx_zone_filter {
    bool only; /* only the classes in mask */
    uint64_t mask[NX_MAX_CLASSES / 64];
} nx_zone_filter;

bool nx_zone_filter_passes(const nx_zone_filter *filter, int32_t class_id);

/* The inside is by the even-odd rule. */
typedef struct nx_zone {
    char name[NX_ZONES_MAX_NAME_BYTES + 1];
    nx_zone_point points[NX_ZONES_MAX_POINTS];
    size_t point_count;
    nx_zone_filter classes;
} nx_zone;

/* Who looks along it sees "in" go from left to right, and "out" from right to left. */
typedef struct nx_line {
    char name[NX_ZONES_MAX_NAME_BYTES + 1];
    nx_zone_point from, to;
    nx_zone_filter classes;
} nx_line;

/* Owns its arrays; release with nx_zones_spec_free. */
typedef struct nx_zones_spec {
    nx_zone *zones;
    size_t zone_count;
    nx_line *lines;
    size_t line_count;
} nx_zones_spec;

void nx_zones_spec_free(nx_zones_spec *spec);

/* Errors: NX_ERR_INVALID with the place ("zones[2] (door): ..."): too many, a name that is missing
 * or used twice, a point outside the picture, a polygon without area, a line without length. */
nx_status nx_zones_spec_check(const nx_zones_spec *spec, nx_error *err);

/* --- what happens in it -------------------------------------------------------------------------
 */

typedef struct nx_zones nx_zones;

typedef struct nx_zones_options {
    double hysteresis; /* 0..0.5 of the picture's height */
    int64_t forget_ns; /* a track unseen for longer has ended; more than the tracker's lost_ns */
} nx_zones_options;

nx_zones_options nx_zones_defaults(void); /* 0.01, 10 s */

typedef struct nx_zone_class_count {
    int32_t class_id;
    uint64_t in;  /* of a zone: entries */
    uint64_t out; /* of a zone: exits */
} nx_zone_class_count;

/* A zone's counts: entries = exits + ended + those who are inside, seen now or not. */
typedef struct nx_zone_totals {
    uint64_t entries; /* who is first seen inside has entered as well */
    uint64_t exits;
    uint64_t ended;    /* tracks that ended inside */
    uint64_t inside;   /* seen inside in the last frame */
    uint64_t visitors; /* different tracks */
    int64_t dwell_ns;  /* time inside, of all visitors; the mean is this over visitors */
    int64_t longest_ns;
    const nx_zone_class_count *classes; /* by rising class; valid until the next update */
    size_t class_count;
} nx_zone_totals;

typedef struct nx_line_totals {
    uint64_t in, out;
    const nx_zone_class_count *classes; /* as above */
    size_t class_count;
} nx_line_totals;

typedef enum nx_zone_event_kind {
    NX_ZONE_ENTER,
    NX_ZONE_EXIT,
    NX_ZONE_END, /* a track that was inside has ended */
    NX_LINE_IN,
    NX_LINE_OUT
} nx_zone_event_kind;

typedef struct nx_zone_event {
    nx_zone_event_kind kind;
    uint32_t place; /* index of the zone or line */
    uint64_t track_id;
    int32_t class_id;
    int64_t dwell_ns; /* of NX_ZONE_EXIT and NX_ZONE_END: how long this stay was */
} nx_zone_event;

/* Copies spec. Errors: those of nx_zones_spec_check, NX_ERR_INVALID (an option), NX_ERR_NO_MEMORY.
 */
nx_status nx_zones_new(const nx_zones_spec *spec, const nx_zones_options *options, nx_zones **out,
                       nx_error *err);
void nx_zones_free(nx_zones *zones);
const nx_zones_spec *nx_zones_get_spec(const nx_zones *zones);

/*
 * The next frame: its time, which rises and is within +-NX_TRACKER_MAX_TIME_NS, its size in pixels,
 * and the tracks in it, predicted ones as well; of those that are not confirmed nothing is read.
 * Ids differ. Errors: NX_ERR_INVALID; NX_ERR_NO_MEMORY, after which zones is of no use.
 */
nx_status nx_zones_update(nx_zones *zones, int64_t time_ns, uint32_t width, uint32_t height,
                          const nx_track *tracks, size_t count, nx_error *err);

/* What the last update counted; valid until the next. */
const nx_zone_event *nx_zones_events(const nx_zones *zones, size_t *count);

/* Sums since the start. index is below the spec's count. */
nx_zone_totals nx_zones_zone(const nx_zones *zones, size_t index);
nx_line_totals nx_zones_line(const nx_zones *zones, size_t index);

/* Somebody who is inside a zone, seen now or not. */
typedef struct nx_zone_stay {
    uint64_t track_id;
    int32_t class_id;
    int64_t dwell_ns; /* of this stay, until seen_ns */
    int64_t seen_ns;
} nx_zone_stay;

/* Those inside, by rising track id, up to `room` of them; at most NX_ZONES_MAX_TRACKS are. Returns
 * how many there are in out. index is below the spec's count. */
size_t nx_zones_inside(const nx_zones *zones, size_t index, nx_zone_stay *out, size_t room);

/* Appends the state without the spec. A failure is out->failed. */
void nx_zones_save(const nx_zones *zones, nx_buffer *out);

/* Goes on where a saved one was, which had the same spec. The bytes may be anything.
 * Errors: those of nx_zones_new, NX_ERR_CORRUPT, NX_ERR_UNSUPPORTED (another version),
 * NX_ERR_CONFLICT (of other zones or lines). */
nx_status nx_zones_load(const nx_zones_spec *spec, const void *bytes, size_t size, nx_zones **out,
                        nx_error *err);

#endif
