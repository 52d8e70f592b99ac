/*
 * A video file's frames in the order of display, each with its index and time; what the decoder's
 * child reads from (libavformat, libavcodec). Nothing for other modules.
 *
 * Of a file only the descriptor is read; whatever it names beside itself is refused. One thread at
 * a time. Messages of errors do not name the file, which is not known here.
 */
#ifndef NX_MEDIA_VIDEO_SOURCE_H
#define NX_MEDIA_VIDEO_SOURCE_H

#include "base/error.h"
#include "media/decoder.h"

#include <libavutil/frame.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct nx_video_source nx_video_source;

typedef struct nx_video_source_options {
    const char *url; /* of a camera (nx_decoder_live), borrowed; NULL: it is the file of fd */
    const char *host;
    bool udp;
    struct AVFormatContext *device; /* of a V4L2 device, open; moves. NULL: it is none */
    bool catch_up;                  /* as nx_decoder_options has it */
    int fd;                         /* borrowed; its offset is left alone */
    int64_t size;                   /* of the file */
    uint64_t max_pixels;
    uint64_t max_damaged; /* packets and frames */
    uint32_t threads;
    int media; /* where the video itself goes (decoder_wire.h); negative: nowhere */
    /* Called as decoding goes on, often. */
    void (*alive)(void *user);
    void *user;
} nx_video_source_options;

typedef struct nx_video_place {
    uint64_t index;
    int64_t pts_ns;      /* larger than that of the frame before */
    int64_t previous_ns; /* that one's time; negative before the first */
    int64_t mark_ns;     /* as nx_decoder_mark has it */
    int64_t arrived_ns;  /* as nx_decoder_frame has it */
    uint64_t late;       /* likewise */
} nx_video_place;

/* video_device.c: opens a V4L2 device, for which code is loaded and files are opened. Nothing is
 * read of it yet: the sandbox comes between. Errors: NX_ERR_UNSUPPORTED (this system has no
 * libavdevice; it is no camera), NX_ERR_IO. */
nx_status nx_video_device_open(const char *path, struct AVFormatContext **out, nx_error *err);

/* Errors: NX_ERR_UNSUPPORTED, NX_ERR_CORRUPT, NX_ERR_TOO_LARGE, NX_ERR_NO_MEMORY. */
nx_status nx_video_source_open(const nx_video_source_options *options, nx_video_source **out,
                               nx_error *err);
void nx_video_source_free(nx_video_source *source);

const nx_decoder_info *nx_video_source_info(const nx_video_source *source);

/*
 * Frames that are asked for next are those behind the mark. Seeks to a key frame before it where
 * decoding from there is known to give the very same frames, and decodes from the start otherwise.
 * Before the first frame. Errors: as for nx_video_source_next.
 */
nx_status nx_video_source_go_to(nx_video_source *source, const nx_decoder_mark *mark,
                                nx_error *err);

/*
 * The next frame, borrowed until the next call. *end: there is none; frame and place are left
 * alone. Errors: NX_ERR_CORRUPT (too much damage, or no frame at all), with frame and time where it
 * was, after all frames before; NX_ERR_TOO_LARGE (memory, pixels).
 */
nx_status nx_video_source_next(nx_video_source *source, const AVFrame **frame,
                               nx_video_place *place, bool *end, nx_error *err);

uint64_t nx_video_source_damaged(const nx_video_source *source);

#endif
