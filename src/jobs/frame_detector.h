/*
 * The frames of a video through the engine: pixels in, detections out, in the order of the frames,
 * several of them on their way at once so that the engine never runs dry.
 *
 * Frames come at the size that the model's input has room for, as a decoder delivers them
 * (nx_decoder_set_size). A frame detector belongs to one thread at a time.
 */
#ifndef NX_JOBS_FRAME_DETECTOR_H
#define NX_JOBS_FRAME_DETECTOR_H

#include "base/error.h"
#include "engine/engine.h"
#include "engine/model.h"
#include "vision/postprocess.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct nx_frame_detector nx_frame_detector;

typedef struct nx_frame_detector_options {
    uint32_t source_width; /* of the upright video, in whose pixels detections are */
    uint32_t source_height;
    nx_postprocess_options postprocess;
    nx_priority priority;
    uint32_t window;         /* frames on their way at once; 0: as many as the engine wants */
    const atomic_bool *stop; /* borrowed; once true, waiting for room in the queue ends; or NULL */
    /* Over 0, for what is of no use later: a full queue is not waited for but NX_ERR_BUSY, and a
     * frame that waits there for longer ends with NX_ERR_TIMEOUT. */
    int64_t most_wait_ns;
    /* Called when a frame's end has come, on an engine's thread, which must not wait nor call the
     * detector; or NULL. */
    void (*ended)(void *user);
    void *user;
} nx_frame_detector_options;

/* engine and model are borrowed. Errors: NX_ERR_INVALID (a size of 0), NX_ERR_NO_MEMORY. */
nx_status nx_frame_detector_new(nx_engine *engine, nx_model *model,
                                const nx_frame_detector_options *options, nx_frame_detector **out,
                                nx_error *err);

/* The size that frames must have. */
void nx_frame_detector_size(const nx_frame_detector *detector, uint32_t *width, uint32_t *height);

/* Whether another frame may be submitted before one is taken. */
bool nx_frame_detector_has_room(const nx_frame_detector *detector);

/*
 * Hands a frame over: RGB, rows of 3 * width bytes; they are copied. There must be room. A full
 * queue is waited for, for others use the engine as well.
 * Errors: NX_ERR_CANCELLED (stop), NX_ERR_UNAVAILABLE (the engine drains), NX_ERR_BUSY
 * (most_wait_ns).
 */
nx_status nx_frame_detector_submit(nx_frame_detector *detector, const uint8_t *pixels,
                                   nx_error *err);

/* Frames that were submitted and not taken. */
uint32_t nx_frame_detector_pending(const nx_frame_detector *detector);

/* Whether the oldest of them, of which there must be one, can be taken without a wait. */
bool nx_frame_detector_is_ready(nx_frame_detector *detector);

/* Waits for the oldest of them, of which there must be one. *out is valid until the next submit.
 * Errors: what the model said. */
nx_status nx_frame_detector_take(nx_frame_detector *detector, const nx_detections **out,
                                 nx_error *err);

/* Cancels what is on its way and waits for its end. NULL is fine. */
void nx_frame_detector_free(nx_frame_detector *detector);

#endif
