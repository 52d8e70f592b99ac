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
    /* out[i] = bytes[i] */
    void (*widen)(const uint8_t *bytes, float *out, size_t count);

    /*
     * One row through a filter along x: pixel x of the planes is the rounded sum over t < taps of
     * weights[x * taps + t] * row[3 * (first[x] + t) + channel]. row holds three interleaved
     * channels and is readable 4 floats past the last pixel that any first[x] + taps - 1 names.
     */
    void (*filter_row)(const float *row, const int32_t *first, const float *weights, int32_t taps,
                       float *const planes[3], size_t count);

    /* out[i] = scale * round(sum over t < taps of weights[t] * rows[t][i]) */
    void (*combine_rows)(const float *const *rows, const float *weights, int32_t taps, float scale,
                         float *out, size_t count);

    /* best[i] and which[i]: the largest of rows[r * stride + i] over r < row_count, and its r. */
    void (*max_over_rows)(const float *rows, size_t row_count, size_t stride, float *best,
                          int32_t *which, size_t count);

    /* best[r]: the largest of rows[r * columns + i] over i < columns; NaNs are passed over. */
    void (*max_of_rows)(const float *rows, size_t columns, float *best, size_t row_count);
} nx_kernels_set;

/* Thread-safe; constant for the life of the process. */
const nx_kernels_set *nx_kernels(void);

/* Name of the chosen set, for `nexus check`. */
const char *nx_kernels_name(void);

#endif
