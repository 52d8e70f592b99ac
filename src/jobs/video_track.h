/*
 * What follows a detector in a video: who is who, who is where, and which frames need no detector.
 * Analytics put together for one video, with one state for checkpoints. Pure computation; one
 * thread at a time. The same frames give the same records, to the bit, also across save and load.
 */
#ifndef NX_JOBS_VIDEO_TRACK_H
#define NX_JOBS_VIDEO_TRACK_H

#include "analytics/tracker.h"
#include "analytics/zones.h"
#include "base/buffer.h"
#include "base/error.h"
#include "jobs/video_spec.h"
#include "results/frames.h"
#include "vision/postprocess.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_video_track nx_video_track;

/* spec is borrowed; names read its zones' classes; width and height are the upright video's.
 * Errors: NX_ERR_INVALID (zones or lines, and where), NX_ERR_NO_MEMORY. */
nx_status nx_video_track_new(const nx_video_spec *spec, nx_class_names names, uint32_t width,
                             uint32_t height, nx_video_track **out, nx_error *err);
void nx_video_track_free(nx_video_track *track); /* NULL is fine */

/* The zones and lines of the spec. */
const nx_zones_spec *nx_video_track_places(const nx_video_track *track);

/* Those of the last frame, all of the tracker's; valid until the next. NULL without tracking. */
const nx_track *nx_video_track_tracks(const nx_video_track *track, size_t *count);

/* What they have counted so far; NULL: there are none. */
const nx_zones *nx_video_track_zones(const nx_video_track *track);

/* Puts the spec's thresholds and classes in the place of *out's, and lets weak detections through
 * where objects are tracked: the tracker looks at them as well. Errors: NX_ERR_INVALID (a class
 * that there is not). */
nx_status nx_video_track_thresholds(const nx_video_spec *spec, nx_class_names names,
                                    nx_postprocess_options *out, nx_error *err);

/* What is to be done with a frame. */
typedef enum nx_frame_plan {
    NX_FRAME_INFER,   /* the detector looks at it */
    NX_FRAME_HOLD,    /* nothing moves: all is as it was */
    NX_FRAME_PREDICT, /* tracks go on by prediction */
} nx_frame_plan;

/* Whether a plan depends on the frames before, so that those must be taken before it is made. */
bool nx_video_track_plans_one_by_one(const nx_video_track *track);

/* Plans a frame, in the order of frames: pixels are RGB without gaps between the rows. Errors:
 * NX_ERR_INVALID, NX_ERR_NO_MEMORY. */
nx_status nx_video_track_plan(nx_video_track *track, int64_t time_ns, const uint8_t *pixels,
                              uint32_t width, uint32_t height, nx_frame_plan *out, nx_error *err);

/* Takes a planned frame, in the order of frames, with its detections when it was inferred. *out is
 * filled and valid until the next call; index is left for the caller. Errors: NX_ERR_INVALID,
 * NX_ERR_TOO_LARGE (too many detections), NX_ERR_NO_MEMORY. */
nx_status nx_video_track_take(nx_video_track *track, nx_frame_plan plan, int64_t time_ns,
                              const nx_detection *detections, size_t count, nx_frame_record *out,
                              nx_error *err);

/* Frames are planned ahead of those that are taken: what planning has seen is saved apart, when the
 * frame behind which a checkpoint will be has been planned. Failures are out->failed. */
void nx_video_track_save_plan(const nx_video_track *track, nx_buffer *out);
void nx_video_track_save(const nx_video_track *track, nx_buffer *out);

/* Goes on where another stopped, of the same spec and size. The bytes may be anything. After an
 * error the object is of no use. Errors: NX_ERR_CORRUPT, NX_ERR_UNSUPPORTED, NX_ERR_CONFLICT (of
 * other zones), NX_ERR_NO_MEMORY. */
nx_status nx_video_track_load(nx_video_track *track, const void *plan, size_t plan_size,
                              const void *state, size_t state_size, nx_error *err);

#endif
