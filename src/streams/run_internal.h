/* Between run.c, which connects, and run_frames.c, which looks at the frames of a connection. */
#ifndef NX_STREAMS_RUN_INTERNAL_H
#define NX_STREAMS_RUN_INTERNAL_H

#include "jobs/frame_detector.h"
#include "jobs/video_track.h"
#include "streams/queue.h"
#include "streams/run.h"
#include "streams/source.h"
#include "streams/spec.h"

#include <pthread.h>
#include <stdatomic.h>

/* Latencies that the status tells of. */
#define NX_RUN_LATENCIES 256
/* Frames on their way through the engine at once: one that is looked at and one behind it. More
 * would only be older when their turn comes. */
#define NX_RUN_WINDOW 2

struct nx_stream_run {
    nx_stream_run_options options;      /* stream NULL */
    char *id, *name, *url, *user, *key; /* owned; the last two may be NULL */
    nx_stream_spec spec;
    nx_error unfit; /* why it can't be run at all; NX_OK: it can */
    nx_stream_hub *hub;
    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
    atomic_bool over;
    int64_t start_ns;

    /* the connecting thread's, and the looking thread's while there is one */
    nx_video_track *track; /* lives on over connections of one size and one set of classes */
    uint32_t track_width, track_height;
    char track_model[NX_MODEL_NAME_MAX + 1];
    uint32_t track_version;
    uint64_t next_index;
    int64_t last_time_ns;

    pthread_mutex_t lock; /* guards the rest; never held while something is waited for */
    pthread_cond_t changed;
    char stop_reason[128];
    nx_monitor monitor;
    nx_stream_counts counts;
    nx_decoder_info source;
    char model[NX_MODEL_NAME_MAX + 1];
    uint32_t model_version;
    nx_buffer places; /* what zones and lines have counted, as JSON */
    float latencies[NX_RUN_LATENCIES];
    uint64_t latency_count;
    int64_t rate_ns; /* when fps was told last, and of how many results */
    uint64_t rate_results;
    double fps;
};

/* A connection. */
typedef struct nx_run_session {
    nx_stream_run *run;
    nx_stream_source *source;
    nx_registry_handle *model;
    nx_class_names names;
    nx_decoder_info info;
    nx_frame_detector *detector;
    nx_stream_queue *queue;
    uint32_t width, height; /* of pictures */
    int64_t offset_ns;      /* of the source's times in the stream's */
    bool begun;
    pthread_t thread;
    bool has_thread;
    /* the looking thread's */
    struct {
        nx_stream_frame frame;
        nx_frame_plan plan;
    } pending[NX_RUN_WINDOW];
    uint32_t first, count;
    bool shown;        /* the hub has a picture of this connection */
    uint32_t failures; /* of the model, one after the other */
    nx_error failure;  /* set before failed is */
    atomic_bool failed;
} nx_run_session;

/* Counts under the lock. */
void nx_run_drop(nx_stream_run *run, nx_stream_loss loss, uint64_t frames);

/* Tells the hub's listeners of state, when it is another than was told. */
void nx_run_tell_state(nx_stream_run *run);

/* Starts the looking thread. Errors: NX_ERR_UNAVAILABLE. */
nx_status nx_run_look_start(nx_run_session *session, nx_error *err);
/* Ends it, when the queue is closed, and waits for it. */
void nx_run_look_end(nx_run_session *session);

#endif
