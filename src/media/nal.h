/*
 * NAL units of H.264 (ITU-T H.264, 7.3.1) and HEVC (H.265), as far as copying a video needs them:
 * where they are, of which kind, and what an MP4 wants to know before the first picture. They come
 * from strangers: for the decoder's child alone.
 */
#ifndef NX_MEDIA_NAL_H
#define NX_MEDIA_NAL_H

#include "media/mp4.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the lengths before units, as an avcC or hvcC says. */
size_t nx_nal_length_size(const uint8_t *config, bool hevc);

/* Does a picture have a unit that decoding may begin with: H.264's IDR, HEVC's IRAP? length_size 0:
 * units stand behind start codes (annex B). */
bool nx_nal_is_entry(const uint8_t *bytes, size_t size, size_t length_size, bool hevc);

/* A picture of units behind start codes, with lengths of four bytes in their place. free it. NULL:
 * there is no unit, or no memory. */
uint8_t *nx_nal_to_lengths(const uint8_t *bytes, size_t size, size_t *made);

typedef struct nx_nal_pixels {
    unsigned chroma; /* chroma_format_idc: 0 grey, 1 4:2:0, 2 4:2:2, 3 4:4:4 */
    unsigned depth;  /* bits */
} nx_nal_pixels;

/* Makes an avcC or hvcC of the parameter sets among units behind start codes. Returns its size; 0:
 * one is missing, or there are too many. */
size_t nx_nal_config(const uint8_t *bytes, size_t size, bool hevc, const nx_nal_pixels *pixels,
                     uint8_t config[NX_MP4_CONFIG_MAX]);

#endif
