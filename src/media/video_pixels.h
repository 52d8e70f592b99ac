/*
 * Which files are videos, and libavcodec's frames as pictures: for video_reader.c and the decoder's
 * child; nothing for other modules.
 */
#ifndef NX_MEDIA_VIDEO_PIXELS_H
#define NX_MEDIA_VIDEO_PIXELS_H

#include "base/error.h"
#include "vision/letterbox.h"

#include <libavformat/avformat.h>
#include <libavutil/frame.h>
#include <stdbool.h>
#include <stdint.h>

/* Containers that hold their own data. Playlists, whose entries are other files, are not here. */
#define NX_VIDEO_CONTAINERS                                                                        \
    "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf,ivf,h264,hevc,obu,m4v,mpegvideo,mjpeg"

/* What may be read to find out what a file holds. */
#define NX_VIDEO_PROBE_BYTES        "5000000"
#define NX_VIDEO_PROBE_MICROSECONDS "5000000"
#define NX_VIDEO_MOST_STREAMS       "64"

/* Degrees clockwise, a multiple of 90, by which a stream's frames are to be turned. */
uint32_t nx_video_rotation(const AVStream *stream);

/* Turns frames into what the scaler takes. One thread at a time. */
typedef struct nx_video_pixels nx_video_pixels;

/* NULL when there is no memory. */
nx_video_pixels *nx_video_pixels_new(void);
void nx_video_pixels_free(nx_video_pixels *pixels);

/* The frame as 8-bit YUV 4:2:0 of the same matrix and range, converted if it is of another kind;
 * valid as long as the frame and until the next call. Errors: NX_ERR_UNSUPPORTED, NX_ERR_NO_MEMORY,
 * NX_ERR_INTERNAL. */
nx_status nx_video_pixels_yuv(nx_video_pixels *pixels, const AVFrame *frame, nx_yuv_frame *out,
                              nx_error *err);

/* The frame scaled to width and height, then turned by rotation degrees clockwise, as packed RGB of
 * 3 * width * height bytes. Frames with more chroma than 4:2:0 keep it. Errors: as above. */
nx_status nx_video_pixels_rgb(nx_video_pixels *pixels, const AVFrame *frame, uint32_t rotation,
                              uint32_t width, uint32_t height, uint8_t *rgb, nx_error *err);

#endif
