/*
 * Scaling a picture row by row with Pillow's BILINEAR filter: a triangle, as wide as the reduction,
 * so that what is scaled down is averaged and not sampled ("antialiased"); enlarging, it is plain
 * bilinear interpolation. For letterbox.c.
 *
 * Rows are filtered first and combined after, each rounded to bytes, as Pillow does it: the
 * reference detections were made so, and quantised models move with single levels. Weights are in
 * fixed point: of RGB with Pillow's own 22 bits, so that its bytes come out; of single channels,
 * which are a video's, with 15, so that one level in some hundreds differs by one.
 */
#ifndef NX_VISION_RESAMPLE_H
#define NX_VISION_RESAMPLE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A channel, or three interleaved ones, of a picture; borrowed. */
typedef struct nx_plane {
    const uint8_t *bytes;
    size_t stride;
    uint32_t width; /* pixels */
    uint32_t height;
    bool rgb;    /* three bytes a pixel; else one */
    float shift; /* of its pixels' centres to the right, in its own pixels: chroma may lie so */
} nx_plane;

typedef struct nx_resampler nx_resampler;

/* plane's bytes must live as long. Errors: NX_ERR_NO_MEMORY. Sizes must not be 0. */
nx_status nx_resampler_new(const nx_plane *plane, uint32_t width, uint32_t height,
                           nx_resampler **out, nx_error *err);
void nx_resampler_free(nx_resampler *resampler);

/* Writes row y of the scaled picture. Rows are asked for from the top down. */
void nx_resampler_row(nx_resampler *resampler, uint32_t y, uint8_t *out);

#endif
