/*
 * One stream that is run: its camera is connected to again and again, its frames go through engine,
 * tracker and zones, and what comes of them goes to its hub.
 *
 * Two threads: one connects, reads and waits, the other one looks at the frames. Between them lies
 * the queue, where what is too old is dropped.
 */
#ifndef NX_STREAMS_RUN_H
#define NX_STREAMS_RUN_H

#include "base/buffer.h"
#include "base/error.h"
#include "engine/engine.h"
#include "engine/registry.h"
#include "jobs/event_recorder.h"
#include "jobs/shared_models.h"
#include "jobs/video_track.h"
#include "results/frames.h"
#include "store/streams.h"
#include "streams/hub.h"
#include "streams/media_ring.h"
#include "streams/spec.h"
#include "streams/status.h"
#include "vision/postprocess.h"

#include <stdbool.h>

/* What was found in a frame. Everything is borrowed for the call. */
typedef struct nx_stream_result {
    const char *stream; /* its id */
    const char *name;
    const nx_stream_spec *spec;
    const nx_video_track *track; /* after this frame */
    uint64_t track_number;       /* another one with each new track of the stream */
    const nx_frame_record *record;
    nx_class_names names;
    uint32_t width, height; /* of the camera's upright picture, in whose pixels boxes are */
    int64_t at_ns;          /* when the frame came in: since 1970 */
    int64_t latency_ns;     /* from then to now */
    const uint8_t *pixels;  /* RGB without gaps, of the size that the model takes */
    uint32_t picture_width, picture_height;
    nx_media_ring *media; /* the video itself */
} nx_stream_result;

typedef struct nx_stream_hooks {
    /* Any may be NULL. A stream begins, before its threads, and has ended, behind them: on the
     * thread that starts and frees it, which may wait. */
    void (*begin)(const char *stream, const char *name, const nx_stream_spec *spec, void *user);
    void (*end)(const char *stream, void *user);
    /* On the stream's threads, which must not wait. */
    void (*result)(const nx_stream_result *result, void *user);
    void (*state)(const char *stream, nx_stream_state state, const char *reason, void *user);
    /* What has come of the streams' events, on any thread that wants to know. */
    nx_event_recorder_stats (*events)(void *user);
    void *user;
} nx_stream_hooks;

/* All borrowed until the run is freed, but for the stream's row, which is copied. */
typedef struct nx_stream_run_options {
    nx_engine *engine;
    nx_registry *registry;
    nx_shared_models *shared;           /* says who may use which model; NULL: everybody may */
    nx_postprocess_options postprocess; /* thresholds where the stream has none */
    uint64_t max_pixels;                /* of a frame */
    const char *files_dir;              /* of streams from files; "": there are none */
    bool allow_loopback;                /* cameras on this machine */
    int64_t clip_ns;                    /* so much of its video is kept for clips of events */
    const char *ca_file;                /* of cameras with TLS; "": the system's */
    const nx_stream *stream;
    nx_stream_hooks hooks;
    void (*told)(void *user); /* the hub has something new; must not wait */
    void *user;
} nx_stream_run_options;

typedef struct nx_stream_run nx_stream_run;

/* Starts it; options' hooks may wait for the database when it begins. A stream that can't be run
 * (its options, its model) says so by its state. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no
 * thread). */
nx_status nx_stream_run_start(const nx_stream_run_options *options, nx_stream_run **out,
                              nx_error *err);

/* Has it end soon, and say why by its last state. Does not wait; once. */
void nx_stream_run_ask_stop(nx_stream_run *run, const char *reason);
/* Has it ended after that? */
bool nx_stream_run_is_over(nx_stream_run *run);
/* Asks, waits for the end (a look-up of a name is waited for), and frees. NULL is fine. */
void nx_stream_run_free(nx_stream_run *run);

/* Valid as long as the run; others retain it. */
nx_stream_hub *nx_stream_run_hub(nx_stream_run *run);
nx_media_ring *nx_stream_run_media(nx_stream_run *run);

void nx_stream_run_status(nx_stream_run *run, nx_stream_status *out);
/* Appends {"zones":[{"name","inside","entries","exits"}],"lines":[{"name","in","out"}]}, as counted
 * since the stream was started here. */
void nx_stream_run_places(nx_stream_run *run, nx_buffer *out);

#endif
