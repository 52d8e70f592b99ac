/*
 * Frames of the user's own video files, decoded in this process (libavformat, libavcodec), for
 * calibration. Only for those: what strangers send goes through decoder.h.
 *
 * A reader belongs to one thread at a time.
 */
#ifndef NX_MEDIA_VIDEO_READER_H
#define NX_MEDIA_VIDEO_READER_H

#include "base/error.h"
#include "vision/image.h"
#include "vision/letterbox.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_video_reader nx_video_reader;

typedef struct nx_video_info {
    uint32_t width; /* as stored; frames say their own size, which may change on the way */
    uint32_t height;
    double fps;        /* 0 when it is not known */
    int64_t frames;    /* as the file claims; 0 when it does not say */
    uint32_t rotation; /* degrees clockwise by which frames are to be turned: 0, 90, 180, 270 */
    const char *codec; /* "h264" */
} nx_video_info;

/*
 * Opens a local file's first video stream. max_pixels: frames of more are refused; 0 takes
 * NX_DECODE_DEFAULT_MAX_PIXELS. Playlists and other files that name further ones are refused.
 * Errors: NX_ERR_NOT_FOUND, NX_ERR_INVALID (a folder), NX_ERR_IO, NX_ERR_UNSUPPORTED (no video, or
 * of an unknown kind), NX_ERR_CORRUPT, NX_ERR_TOO_LARGE, NX_ERR_NO_MEMORY.
 */
nx_status nx_video_reader_open(const char *path, uint64_t max_pixels, nx_video_reader **out,
                               nx_error *err);
void nx_video_reader_free(nx_video_reader *reader);

const nx_video_info *nx_video_reader_info(const nx_video_reader *reader);

/*
 * The next frame in the order of display, not rotated; valid until the next call. *end is set, and
 * frame left alone, behind the last one. Damaged parts are left out and counted.
 * Errors: NX_ERR_CORRUPT (the end, and no frame at all), NX_ERR_NO_MEMORY.
 */
nx_status nx_video_reader_next(nx_video_reader *reader, nx_yuv_frame *frame, bool *end,
                               nx_error *err);

/* Turns a frame, as RGB, upright: rotation is nx_video_info's. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_video_turn(nx_image *image, uint32_t rotation, nx_error *err);

/* Packets that could not be decoded so far. */
uint64_t nx_video_reader_damaged(const nx_video_reader *reader);

#endif
