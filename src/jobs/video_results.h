/*
 * The files of a finished video, all made of the record of its frames: the same record gives the
 * same files, to the byte.
 */
#ifndef NX_JOBS_VIDEO_RESULTS_H
#define NX_JOBS_VIDEO_RESULTS_H

#include "base/error.h"
#include "jobs/video_run.h"
#include "jobs/video_spec.h"
#include "vision/detection.h"

#include <stdatomic.h>

typedef struct nx_video_results_options {
    const char *folder; /* where the files go, the record of the frames among them; all borrowed */
    const nx_video_spec *spec;
    const nx_video_outcome *outcome;
    const nx_model_spec *model;
    const char *source;      /* the video's name, as its owner knows it */
    int fd;                  /* of the video, for annotated.mp4 alone */
    const char *error;       /* why the record ends early; NULL: it is whole */
    uint64_t max_pixels;     /* of a frame */
    const atomic_bool *stop; /* once true, NX_ERR_CANCELLED; or NULL */
    /* On the caller's thread, while the annotated video is made; may be NULL. */
    void (*progress)(uint64_t frames, void *user);
    void *user;
} nx_video_results_options;

/*
 * Writes the files that the spec asks for beside FOLDER/frames.ndjson.zst, over what is there.
 * summary.json: {"source","video":{...},"model","complete","error",...the spec's members under
 * "options", those of nx_tally_json_members}. Errors: NX_ERR_CORRUPT (the record), NX_ERR_IO (a
 * full disk), NX_ERR_UNSUPPORTED (no H.264 encoder), NX_ERR_CANCELLED, NX_ERR_NO_MEMORY, and of the
 * annotated video those of nx_decoder_open and nx_decoder_next.
 */
nx_status nx_video_results_write(const nx_video_results_options *options, nx_error *err);

/* Between video_results.c and video_annotate.c: the annotated video. */
nx_status nx_video_annotate(const nx_video_results_options *options, const char *path,
                            nx_error *err);

#endif
