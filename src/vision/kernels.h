/*
 * The inner loops of letterboxing and head decoding. kernels.c is compiled once for each level of
 * x86-64 (and once plainly elsewhere) because the same C is 2.7x faster with AVX2 than without
 * vectorisation; nx_kernels() picks the best set for this processor.
 */
#ifndef NX_VISION_KERNELS_H
#define NX_VISION_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Scaling works in fixed point: the weights of one position, none negative, make NX_WEIGHT_ONE
 * together. One weight alone is NX_WEIGHT_MOST, as 16 bits hold no more; with a byte's range that
 * makes no difference after rounding.
 */
#define NX_WEIGHT_BITS 15
#define NX_WEIGHT_ONE  (1 << NX_WEIGHT_BITS)
#define NX_WEIGHT_MOST (NX_WEIGHT_ONE - 1)

/*
 * Fine weights have the 22 bits of Pillow's, of which NX_FINE_LOW_BITS are kept in a second number:
 * multiplications take 16 bits. Sums are rounded as one number.
 */
#define NX_FINE_BITS     22
#define NX_FINE_LOW_BITS 8
#define NX_FINE_ONE      (1 << NX_FINE_BITS)
#define NX_FINE_LOW_MASK ((1 << NX_FINE_LOW_BITS) - 1)

/* Positions that a filter along x makes at a time, and bytes that it may read beyond a row's end.
 */
#define NX_FILTER_GROUP 8
#define NX_FILTER_SLACK 16

/*
 * A filter along x. Position x is the sum of weights times the source's positions from first[x] on.
 * Positions are padded to whole groups, and taps to a multiple of the kernel's, with weights of 0.
 * The weights lie as they are used: [group][chunk number][position in the group][tap in the chunk];
 * fine ones [group][chunk number][high, low][position in the group][tap in the chunk].
 */
typedef struct nx_filter {
    const int32_t *first;
    const int16_t *weights;
    size_t groups;
    size_t taps;
    size_t chunk; /* taps that lie side by side */
} nx_filter;

/* Of filter_rgb and filter_plane. */
#define NX_RGB_TAPS    4
#define NX_RGB_CHUNK   2
#define NX_PLANE_TAPS  8
#define NX_PLANE_CHUNK 8

/* What a video's bytes mean: R = y + v_red, and so on; all 1 << 13 times as large. */
#define NX_YUV_BITS 13
typedef struct nx_yuv_matrix {
    int32_t y_offset; /* the byte that is black */
    int32_t y_scale;
    int32_t v_red, u_green, v_green, u_blue;
} nx_yuv_matrix;

typedef struct nx_kernels_set {
    /* A row of interleaved RGB through a filter of fine weights, each sum rounded to a byte. What
     * any position's taps read may begin up to NX_FILTER_SLACK bytes before the row's end and go as
     * far beyond it. out: whole groups of RGB and 4 bytes more. */
    void (*filter_rgb)(const uint8_t *row, const nx_filter *filter, uint8_t *out);

    /* The same for a row of one channel. out: whole groups. */
    void (*filter_plane)(const uint8_t *row, const nx_filter *filter, uint8_t *out);

    /* out[i] = sum over t < taps of weights[t] * rows[t][i], rounded; taps is even. */
    void (*blend_rows)(const uint8_t *const *rows, const int16_t *weights, size_t taps,
                       uint8_t *out, size_t count);

    /* The same with fine weights: the high parts of all taps, then the low ones. */
    void (*blend_rows_fine)(const uint8_t *const *rows, const int16_t *weights, size_t taps,
                            uint8_t *out, size_t count);

    /* `count` pixels of three rows of bytes to interleaved RGB. */
    void (*yuv_to_rgb)(const uint8_t *y, const uint8_t *u, const uint8_t *v,
                       const nx_yuv_matrix *matrix, uint8_t *rgb, size_t count);

    /* planes[c][i] = unit * rgb[3 * i + c] */
    void (*spread)(const uint8_t *rgb, float unit, float *const planes[3], size_t count);

    /* The same in binary16, with a unit of 1/255. */
    void (*spread_half)(const uint8_t *rgb, uint16_t *const planes[3], size_t count);

    /* best[i] and which[i]: the largest of rows[r * stride + i] over r < row_count, and its r. */
    void (*max_over_rows)(const float *rows, size_t row_count, size_t stride, float *best,
                          int32_t *which, size_t count);

    /* found[r]: whether some rows[r * columns + i], i < columns, is at least the limit; 0 or 1. */
    void (*any_at_least)(const float *rows, size_t columns, float limit, uint8_t *found,
                         size_t row_count);
} nx_kernels_set;

/* Thread-safe; constant for the life of the process. */
const nx_kernels_set *nx_kernels(void);

/* Name of the chosen set, for `nexus check`. */
const char *nx_kernels_name(void);

#endif
