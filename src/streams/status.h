/* How a stream does, as whoever runs it knows it. Plain data. */
#ifndef NX_STREAMS_STATUS_H
#define NX_STREAMS_STATUS_H

#include "base/json_writer.h"
#include "engine/model_store.h"
#include "media/decoder.h"
#include "media/mp4.h"
#include "streams/counts.h"
#include "streams/monitor.h"

#include <stdbool.h>

typedef struct nx_stream_status {
    nx_monitor monitor;
    nx_stream_counts counts;
    double fps;                            /* results a second, of late */
    double latency_ms_p50, latency_ms_p95; /* from a frame's coming in to its result, of late */
    nx_decoder_info source;                /* width 0: it was not live yet */
    char video[NX_MP4_TYPE_SIZE];          /* content type of the video itself; "": there is none */
    uint64_t fragments;                    /* of the video itself that were made */
    uint64_t encodings;                    /* JPEGs of pictures that were made */
    char model[NX_MODEL_NAME_MAX + 1];     /* "": none was needed yet */
    uint32_t model_version;
} nx_stream_status;

/* As members of an object that the caller has opened: "frames_received", "frames_processed",
 * "frames_inferred", "frames_dropped", "fps", "latency_ms", "reconnects", "source",
 * "model". */
void nx_stream_status_json(const nx_stream_status *status, nx_json *json);

#endif
