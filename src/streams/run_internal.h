/* Between run.c, which connects, run_model.c, which knows what to look with, and run_frames.c,
 * which looks at the frames of a connection. */
#ifndef NX_STREAMS_RUN_INTERNAL_H
#define NX_STREAMS_RUN_INTERNAL_H

#include "base/log.h"
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
    nx_log_context log;
    nx_stream_spec spec;
    nx_error unfit; /* why it can't be run at all; NX_OK: it can */
    nx_stream_hub *hub;
    nx_media_ring *media;
    pthread_t thread;
    bool has_thread;
    bool has_begun; /* the hooks know of it */
    atomic_bool stop;
    atomic_bool over;
    int64_t start_ns;

    /* the connecting thread's, and the looking thread's while there is one */
    nx_video_track *track; /* lives on over connections of one size and one set of classes */
    uint32_t track_width, track_height;
    uint64_t track_number;  /* grows with each new one */
    uint64_t track_classes; /* what tells one set of classes from another */
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

/* A model, and what a connection needs to use it. */
typedef struct nx_run_model {
    nx_registry_handle *handle; /* NULL: none */
    nx_class_names names;
    uint64_t classes;
    nx_frame_detector *detector;
} nx_run_model;

/* A connection. */
typedef struct nx_run_session {
    nx_stream_run *run;
    nx_stream_source *source;
    nx_run_model model; /* the looking thread's while there is one */
    nx_run_model next;  /* takes its place between two frames; guarded by the run's lock */
    atomic_bool has_next;
    const nx_registry_handle *newest; /* of the two; the connecting thread's */
    nx_decoder_info info;
    nx_stream_queue *queue;
    uint32_t width, height; /* of pictures */
    int64_t offset_ns;      /* of the source's times in the stream's */
    bool begun;
    pthread_t thread;
    bool has_thread;
    bool anew; /* ends for another connection at once */
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

/* Puts the next model in the place of the one that looks; no frame is on its way. */
void nx_run_take_model(nx_run_session *session);
void nx_run_model_free(nx_run_model *model);
/* Ends a connection whose model may not be used any more or is gone, and offers the looking thread
 * the one that serves by now. Errors: why it ends; with anew set another one is wanted. */
nx_status nx_run_follow_model(nx_run_session *session, nx_error *err);
/* The model of a connection that begins, but for its detector. Errors: those of the registry;
 * NX_ERR_INVALID (it may not be used). */
nx_status nx_run_acquire_model(nx_run_session *session, nx_error *err);
/* Tells the status which one it is. */
void nx_run_note_model(nx_run_session *session);
/* A model's detector. */
nx_status nx_run_open_detector(nx_run_session *session, nx_run_model *model, nx_error *err);

/* Starts the looking thread. Errors: NX_ERR_UNAVAILABLE. */
nx_status nx_run_look_start(nx_run_session *session, nx_error *err);
/* Ends it, when the queue is closed, and waits for it. */
void nx_run_look_end(nx_run_session *session);

#endif
