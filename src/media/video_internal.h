/* Between video_source.c, which decodes, and video_container.c, which opens and seeks. */
#ifndef NX_MEDIA_VIDEO_INTERNAL_H
#define NX_MEDIA_VIDEO_INTERNAL_H

#include "media/video_copy.h"
#include "media/video_source.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

/* Packets of a camera on their way through the decoder whose times of coming are remembered. */
#define NX_VIDEO_ARRIVALS 64

/* How far decoding is behind a camera (video_live.c). */
typedef struct nx_video_lag {
    int64_t asked_ns;    /* when the packet was asked for */
    int64_t soonest_ns;  /* how long after its time a packet is here that nobody let wait */
    bool known;          /* that is known */
    int64_t lag_ns;      /* by how much the last packet is later than that */
    int64_t key_time_ns; /* of the last key frame, by the camera's clock */
    int64_t key_interval_ns;
    bool passing; /* up to a key frame nothing is decoded */
    uint64_t late;
} nx_video_lag;

struct nx_video_source {
    nx_video_source_options options;
    struct {
        int64_t pts, ns;
    } arrivals[NX_VIDEO_ARRIVALS];
    unsigned arrival; /* where the next one goes */
    nx_video_lag lag;
    int (*open_default)(AVFormatContext *, AVIOContext **, const char *, int, AVDictionary **);
    AVIOContext *io;  /* of a file */
    int64_t position; /* in the file, of the next read */
    AVFormatContext *file;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    nx_video_copy *copy; /* NULL: nobody wants the video itself, or it can't be copied */
    int stream;
    AVRational time_base;
    int64_t start_ticks; /* AV_NOPTS_VALUE: not known yet */
    nx_decoder_info info;
    /* Of a kind that is written as it goes, where it may begin in the middle and have gaps: all but
     * files with a beginning and an end. */
    bool recording;
    int64_t claimed_size; /* bytes that the file has if it is whole; 0: it does not say */

    bool draining; /* no more packets; the decoder still holds frames */
    int packets;   /* of the video, since the start or the last seek */
    int first_packet;
    bool clean_entry; /* the first of them is one that decoding may begin with */
    uint64_t frames;  /* that were delivered or passed over */
    uint64_t next_index;
    int64_t last_ns; /* negative before the first */
    uint64_t damaged;
    uint64_t damaged_at_start;
    nx_error fatal; /* what to say at the end of frames; NX_OK: nothing */
};

/* video_live.c: opens a camera into source->file. Errors: NX_ERR_IO, NX_ERR_UNSUPPORTED,
 * NX_ERR_TOO_LARGE (memory). */
nx_status nx_video_live_open(nx_video_source *source, nx_error *err);
/* The next packet is asked for. */
void nx_video_live_ask(nx_video_source *source);
/* source->packet has come in. False: it is so late that it is passed over, and was counted. */
bool nx_video_live_arrived(nx_video_source *source);
/* When the last one did; 0 of a file. */
int64_t nx_video_live_newest(const nx_video_source *source);
/* When the packet of source->frame did; 0 of a file. */
int64_t nx_video_live_arrival(const nx_video_source *source);

/* Closes the file and opens it again, at its start. Errors: as nx_video_source_open. */
nx_status nx_video_source_reopen(nx_video_source *source, nx_error *err);

/* Whether this kind of file has a time on each frame and key frames that are found by it, and its
 * codec starts afresh at a key frame. */
bool nx_video_seeks_exactly(const nx_video_source *source);

/* source->packet is the first of the video: notes which one it is, and whether it is clean. */
void nx_video_note_entry(nx_video_source *source);

/* How many packets the container's index has from the first one that was read on; 0 if there is no
 * index that must be complete. */
int nx_video_packets_expected(const nx_video_source *source);

#endif
