/*
 * The boxes of MP4 (ISO/IEC 14496-12, -15) around H.264 and HEVC that somebody else encoded: what a
 * browser's media source takes, one fragment for each frame, and files. Nothing is looked into: the
 * bytes of samples and of their configuration are whatever they are.
 */
#ifndef NX_MEDIA_MP4_H
#define NX_MEDIA_MP4_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ticks a second of all times here. */
#define NX_MP4_TICKS 90000
/* Most bytes of a decoder's configuration. */
#define NX_MP4_CONFIG_MAX 4096
/* Of a content type with its codec. */
#define NX_MP4_TYPE_SIZE 96

typedef struct nx_mp4_track {
    uint32_t hevc;          /* 1; 0: H.264 */
    uint32_t width, height; /* of the pictures as stored, at most 65535 */
    uint32_t shown_width;   /* of square pixels, before they are turned */
    uint32_t shown_height;  /* likewise */
    uint32_t rotation;      /* degrees clockwise, by which they are turned: 0, 90, ... */
    uint32_t config_size;   /* of an avcC or hvcC, without its box */
    uint8_t config[NX_MP4_CONFIG_MAX];
} nx_mp4_track;

/* Can this be a track? For what comes from elsewhere. */
bool nx_mp4_track_is_sane(const nx_mp4_track *track);

/* video/mp4; codecs="avc1.64001f" (RFC 6381). */
void nx_mp4_content_type(const nx_mp4_track *track, char type[NX_MP4_TYPE_SIZE]);

typedef struct nx_mp4_sample {
    const uint8_t *bytes; /* of a file; a fragment's lie behind its head */
    uint32_t size;
    bool key;
    uint64_t dts;      /* when it is decoded, in ticks */
    int32_t shown;     /* so many ticks later it is shown; may be negative */
    uint32_t duration; /* ticks until the next one is decoded */
} nx_mp4_sample;

/* Appends what comes before all fragments (ftyp, moov). */
void nx_mp4_write_init(const nx_mp4_track *track, nx_buffer *out);

/* Writes all of a fragment with one sample but the sample itself, which follows it. */
#define NX_MP4_FRAGMENT_HEAD 112
void nx_mp4_write_fragment_head(uint8_t out[NX_MP4_FRAGMENT_HEAD], uint32_t number,
                                const nx_mp4_sample *sample);

/* Appends a file of samples, of which the first is a key frame: it is shown at time 0. The header
 * comes first, so that it plays while it is loaded. out->failed: no memory, or over 4 GB. */
void nx_mp4_write_file(const nx_mp4_track *track, const nx_mp4_sample *samples, size_t count,
                       nx_buffer *out);

#endif
