/*
 * The video itself, as it was encoded, on its way from the decoder's child to its parent
 * (decoder_wire.h): for browsers and clips, without decoding or encoding anything. Nothing for
 * other modules.
 *
 * Who reads too slowly misses pictures up to the next key frame; decoding waits for it a fifth of a
 * second at most, and then not again before all that was begun is sent.
 */
#ifndef NX_MEDIA_VIDEO_COPY_H
#define NX_MEDIA_VIDEO_COPY_H

#include "media/decoder.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

typedef struct nx_video_copy nx_video_copy;

/* For the parent, of the child's end: how long sending waits at most. */
#define NX_VIDEO_COPY_WAIT_MS 200

/* NULL: it is neither H.264 nor HEVC, or there is no memory. to is borrowed, as is the stream. */
nx_video_copy *nx_video_copy_new(int to, const AVStream *stream, const nx_decoder_info *info);
void nx_video_copy_free(nx_video_copy *copy); /* NULL is fine */

typedef struct nx_video_copy_time {
    int64_t start_ticks; /* of what time 0 is shown; AV_NOPTS_VALUE: not known yet */
    int64_t frame_ns;    /* from one frame to the next, as a rule */
    int64_t arrived_ns;
    unsigned reorder; /* so many frames may be decoded between two that are shown in a row */
} nx_video_copy_time;

/* The stream's next packet. */
void nx_video_copy_packet(nx_video_copy *copy, const AVPacket *packet,
                          const nx_video_copy_time *time);

#endif
