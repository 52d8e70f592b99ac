/*
 * The inner loops of letterboxing and head decoding. kernels.c is compiled once for each level of
 * x86-64 (and once plainly elsewhere) because the same C is 2.7x faster with AVX2 than without
 * vectorisation; nx_kernels() picks the best set for this processor.
 */
#ifndef NX_VISION_KERNELS_H
#define NX_VISION_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct nx_kernels_set {
    /* out[i] = a[i] + weight * (b[i] - a[i]); out has `count` floats */
    void (*blend_rows)(const uint8_t *a, const uint8_t *b, float weight, float *out, size_t count);

    /* plane c of pixel x = scale * lerp(row[offsets[x] + c], row[offsets[x] + step + c],
     * weights[x]), for three interleaved channels. step is 3, or 0 for a row of one pixel. */
    void (*sample_row)(const float *row, const int32_t *offsets, const float *weights, int32_t step,
                       float scale, float *plane0, float *plane1, float *plane2, size_t count);

    /* best[i] and which[i]: the largest of rows[r * stride + i] over r < row_count, and its r. */
    void (*max_over_rows)(const float *rows, size_t row_count, size_t stride, float *best,
                          int32_t *which, size_t count);
} nx_kernels_set;

/* Thread-safe; constant for the life of the process. */
const nx_kernels_set *nx_kernels(void);

/* Name of the chosen set ("x86-64-v4", "x86-64-v3", "generic"), for `nexus check`. */
const char *nx_kernels_name(void);

#endif
