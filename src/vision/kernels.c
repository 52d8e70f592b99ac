/* Compiled several times with another NX_KERNELS_SYMBOL and -march; see kernels.h. */
#include "vision/kernels.h"

#include <math.h>
#include <string.h>

extern const nx_kernels_set NX_KERNELS_SYMBOL;

/* Four floats in one register: the three channels of a pixel and one that is not used. */
typedef float pixel __attribute__((vector_size(16)));
typedef int32_t whole_pixel __attribute__((vector_size(16)));

/* Rounds to the nearest whole number, halves up; for 0 <= value < 2^31. */
static inline float round_up_half(float value)
{
    return (float)(int32_t)(value + 0.5F);
}

static void widen(const uint8_t *restrict bytes, float *restrict out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)bytes[i];
    }
}

static void filter_row(const float *restrict row, const int32_t *restrict first,
                       const float *restrict weights, int32_t taps, float *const planes[3],
                       size_t count)
{
    float *restrict plane0 = planes[0];
    float *restrict plane1 = planes[1];
    float *restrict plane2 = planes[2];
    for (size_t x = 0; x < count; x++) {
        const float *from = row + (size_t)first[x] * 3;
        pixel sum = {0, 0, 0, 0};
        for (int32_t t = 0; t < taps; t++) {
            pixel value;
            memcpy(&value, from + (size_t)t * 3, sizeof value);
            sum += value * weights[x * (size_t)taps + (size_t)t];
        }
        /* as round_up_half, for the whole register */
        whole_pixel rounded = __builtin_convertvector(sum + 0.5F, whole_pixel);
        sum = __builtin_convertvector(rounded, pixel);
        plane0[x] = sum[0];
        plane1[x] = sum[1];
        plane2[x] = sum[2];
    }
}

/* Columns that are summed before the next: their sums stay in registers or the L1 cache. */
#define COLUMNS 64

static void combine_rows(const float *const *rows, const float *weights, int32_t taps, float scale,
                         float *restrict out, size_t count)
{
    for (size_t start = 0; start < count; start += COLUMNS) {
        float sums[COLUMNS] = {0};
        size_t width = count - start < COLUMNS ? count - start : COLUMNS;
        for (int32_t t = 0; t < taps; t++) {
            const float *row = rows[t] + start;
            float weight = weights[t];
            for (size_t i = 0; i < width; i++) {
                sums[i] += weight * row[i];
            }
        }
        for (size_t i = 0; i < width; i++) {
            out[start + i] = scale * round_up_half(sums[i]);
        }
    }
}

static void max_over_rows(const float *restrict rows, size_t row_count, size_t stride,
                          float *restrict best, int32_t *restrict which, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        best[i] = rows[i];
        which[i] = 0;
    }
    for (size_t r = 1; r < row_count; r++) {
        const float *row = rows + r * stride;
        int32_t number = (int32_t)r;
        for (size_t i = 0; i < count; i++) {
            float value = row[i];
            which[i] = value > best[i] ? number : which[i];
            best[i] = value > best[i] ? value : best[i];
        }
    }
}

/* Maxima that are carried side by side: what one or two registers hold. */
#define LANES 16

static void max_of_rows(const float *restrict rows, size_t columns, float *restrict best,
                        size_t row_count)
{
    for (size_t r = 0; r < row_count; r++) {
        const float *row = rows + r * columns;
        float lanes[LANES];
        for (size_t i = 0; i < LANES; i++) {
            lanes[i] = -INFINITY;
        }
        size_t start = 0;
        for (; start + LANES <= columns; start += LANES) {
            for (size_t i = 0; i < LANES; i++) {
                lanes[i] = row[start + i] > lanes[i] ? row[start + i] : lanes[i];
            }
        }
        for (size_t i = 0; start + i < columns; i++) {
            lanes[i] = row[start + i] > lanes[i] ? row[start + i] : lanes[i];
        }
        for (size_t half = LANES / 2; half > 0; half /= 2) {
            for (size_t i = 0; i < half; i++) {
                lanes[i] = lanes[half + i] > lanes[i] ? lanes[half + i] : lanes[i];
            }
        }
        best[r] = lanes[0];
    }
}

const nx_kernels_set NX_KERNELS_SYMBOL = {
    .widen = widen,
    .filter_row = filter_row,
    .combine_rows = combine_rows,
    .max_over_rows = max_over_rows,
    .max_of_rows = max_of_rows,
};
