/*
 * A video through decoder, detector, tracker and zones into the record of its frames
 * (jobs/frame_log.h), with checkpoints from which it goes on to the same bytes.
 */
#ifndef NX_JOBS_VIDEO_RUN_H
#define NX_JOBS_VIDEO_RUN_H

#include "base/buffer.h"
#include "base/error.h"
#include "engine/engine.h"
#include "engine/model.h"
#include "jobs/video_spec.h"
#include "media/decoder.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A checkpoint is made behind each so manyth frame: seconds of work, and always the same frames. */
#define NX_VIDEO_PART_FRAMES 100

typedef struct nx_video_progress {
    uint64_t frames;       /* that are done */
    uint64_t frames_total; /* an estimate; 0: not known */
    uint64_t inferred;     /* of those that are done */
    int64_t time_ns;       /* of the last one, in the video */
} nx_video_progress;

/* What is there for good: the first log_bytes of the log, and a state that goes on behind them. */
typedef struct nx_video_checkpoint {
    nx_video_progress progress;
    uint64_t log_bytes;
    const void *state;
    size_t state_size;
} nx_video_checkpoint;

typedef struct nx_video_run_options {
    nx_engine *engine; /* borrowed, as all pointers here */
    nx_model *model;
    const nx_video_spec *spec;
    nx_postprocess_options postprocess; /* thresholds where the spec has none */
    nx_priority priority;
    int fd;                  /* of the video, a regular file; stays the caller's */
    const char *name;        /* of the video, for messages */
    const char *log_path;    /* of the frames' record */
    uint64_t max_pixels;     /* of a frame; 0: NX_DECODE_DEFAULT_MAX_PIXELS */
    const atomic_bool *stop; /* once true the run ends soon with NX_ERR_CANCELLED; or NULL */
    const void *state;       /* of the checkpoint to go on from; NULL: from the beginning */
    size_t state_size;
    uint64_t log_bytes; /* of that checkpoint */
    /* On the run's thread; either may be NULL. An error of checkpoint ends the run with it. */
    void (*progress)(const nx_video_progress *progress, void *user);
    nx_status (*checkpoint)(const nx_video_checkpoint *checkpoint, void *user, nx_error *err);
    void *user;
} nx_video_run_options;

/* What is known afterwards, also after an error: as far as it came. */
typedef struct nx_video_outcome {
    nx_decoder_info info;
    nx_video_progress progress;
    uint64_t log_bytes; /* that are there for good */
    uint64_t damaged;   /* packets and frames that could not be decoded */
} nx_video_outcome;

/*
 * Runs to the end of the video on the caller's thread; with a resumed run on any process or host,
 * for the same file, model and spec. When the video is damaged the frames before are in the log.
 * Errors: those of nx_decoder_open and nx_decoder_next, of the model, NX_ERR_CANCELLED,
 * NX_ERR_INVALID (classes or zones that the model does not have), NX_ERR_CORRUPT (the state, the
 * log), NX_ERR_IO.
 */
nx_status nx_video_run(const nx_video_run_options *options, nx_video_outcome *out, nx_error *err);

#endif
