/*
 * How a stream is watched, as JSON in requests and in the database: the members of nx_video_spec
 * (jobs/video_spec.h) that concern a camera, and a few of its own. Plain values, checked as far as
 * they can be without the model.
 */
#ifndef NX_STREAMS_SPEC_H
#define NX_STREAMS_SPEC_H

#include "base/error.h"
#include "base/json_writer.h"
#include "jobs/video_spec.h"
#include "streams/schedule.h"

#include <jansson.h>

typedef enum nx_stream_drop {
    NX_STREAM_LATEST,      /* the newest frame goes first, and older ones not at all */
    NX_STREAM_DROP_OLDEST, /* a few wait; beyond that the oldest goes */
    NX_STREAM_BLOCK,       /* a few wait; beyond that the camera does */
    NX_STREAM_DROP_COUNT,
} nx_stream_drop;

typedef enum nx_stream_transport {
    NX_STREAM_AUTO, /* TCP, and where that fails UDP */
    NX_STREAM_TCP,
    NX_STREAM_UDP,
    NX_STREAM_TRANSPORT_COUNT,
} nx_stream_transport;

typedef struct nx_stream_spec {
    nx_video_spec video; /* stride, adaptive_stride, outputs and counts_every are not used */
    nx_stream_drop drop;
    nx_stream_transport transport;
    nx_schedule schedule;
    char *rules; /* {"rules":[...]} as text (analytics/event_rules_parse.h), owned; NULL: none */
} nx_stream_spec;

void nx_stream_spec_free(nx_stream_spec *spec);

/*
 * Reads an object with the members "model", "confidence", "iou", "classes", "fps", "track",
 * "motion_gate", "zones", "lines", "drop", "transport", "schedule" and "rules", and no others; spec
 * is initialised by it, and empty after an error. Errors: NX_ERR_INVALID (what is wrong, and
 * where), NX_ERR_NO_MEMORY.
 */
nx_status nx_stream_spec_read(const json_t *object, nx_stream_spec *spec, nx_error *err);
nx_status nx_stream_spec_parse(const char *text, nx_stream_spec *spec, nx_error *err);

/* The whole spec as members of an object that the caller has opened; reading them gives the same.
 */
void nx_stream_spec_json_members(const nx_stream_spec *spec, nx_json *json);

#endif
