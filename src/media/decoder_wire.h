/*
 * What a decoder's parent and child say to each other, as packets of a SOCK_SEQPACKET pair. The
 * child may be in the hands of whoever made the video: the parent copies each message and believes
 * none of its numbers. Pixels alone lie in shared memory, and what is copied of the video without
 * decoding it goes over a socket of its own.
 *
 *     parent   hello                start                  release ...
 *     child             info                 frame, alive ...          end
 *     child                                                            failure, at any time
 */
#ifndef NX_MEDIA_DECODER_WIRE_H
#define NX_MEDIA_DECODER_WIRE_H

#include "media/decoder.h"
#include "media/mp4.h"

/* Descriptors that the child is born with. */
enum {
    NX_WIRE_CONTROL = 3,
    NX_WIRE_VIDEO = 4,
    NX_WIRE_RING = 5,
    NX_WIRE_MEDIA = 6, /* if it is asked for the video itself */
    NX_WIRE_DESCRIPTORS = 7,
};

#define NX_WIRE_COMMAND "decoder"

/* The ring: slots of this many bytes one after the other. */
static inline uint64_t nx_wire_slot_bytes(uint32_t width, uint32_t height)
{
    const uint64_t page = 4096;
    return ((uint64_t)3 * width * height + page - 1) / page * page;
}

/* --- from the parent ----------------------------------------------------------------------------
 */

typedef enum nx_wire_order { NX_WIRE_HELLO, NX_WIRE_START, NX_WIRE_RELEASE } nx_wire_order;

/* What NX_WIRE_VIDEO is: a video, or a text "URL\nHOST\n" that names a camera, or "PATH\n\n" of a
 * device. */
typedef enum nx_wire_kind {
    NX_WIRE_FILE,
    NX_WIRE_CAMERA,
    NX_WIRE_CAMERA_UDP,
    NX_WIRE_DEVICE,
} nx_wire_kind;

typedef struct nx_wire_to_child {
    nx_wire_order order;
    uint32_t slot;              /* release */
    uint32_t width, height;     /* start: of the frames that are to come */
    nx_decoder_options options; /* hello; no defaults left in it */
    nx_wire_kind kind;          /* hello */
    bool media;                 /* hello: NX_WIRE_MEDIA is there */
} nx_wire_to_child;

/* --- from the child -----------------------------------------------------------------------------
 */

typedef enum nx_wire_news {
    NX_WIRE_INFO,
    NX_WIRE_FRAME,
    NX_WIRE_ALIVE, /* decoding goes on, without a frame to deliver yet */
    NX_WIRE_END,
    NX_WIRE_FAILURE,
} nx_wire_news;

typedef struct nx_wire_to_parent {
    nx_wire_news news;
    uint32_t slot; /* frame */
    uint64_t index;
    int64_t pts_ns;
    int64_t mark_ns;
    int64_t arrived_ns;
    uint64_t late;
    uint64_t damaged; /* all but info */
    union {
        nx_decoder_info info;
        nx_error failure;
    };
} nx_wire_to_parent;

/* --- the video itself ---------------------------------------------------------------------------
 */

typedef enum nx_wire_media_kind {
    NX_WIRE_TRACK = 1, /* behind it an nx_mp4_track; before all samples, and when it changes */
    NX_WIRE_SAMPLE,    /* behind it its bytes; behind a track, and behind a gap, a key frame */
} nx_wire_media_kind;

/* Times beyond this, thirty years, are no times. */
#define NX_MEDIA_MOST_NS INT64_C(1000000000000000000)

/* Before each piece on NX_WIRE_MEDIA, which is a stream of bytes. */
typedef struct nx_wire_media {
    uint32_t kind;
    uint32_t key;
    uint64_t size;          /* of what follows */
    int64_t pts_ns, dts_ns; /* as nx_decoder_frame has it; decoding may be before 0 */
    int64_t arrived_ns;
} nx_wire_media;

#endif
