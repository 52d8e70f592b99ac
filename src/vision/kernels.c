/* Compiled several times with another NX_KERNELS_SYMBOL and -march; see kernels.h. */
#include "vision/kernels.h"

extern const nx_kernels_set NX_KERNELS_SYMBOL;

static void blend_rows(const uint8_t *restrict a, const uint8_t *restrict b, float weight,
                       float *restrict out, size_t count)
{
    if (weight == 0.0F || a == b) {
        for (size_t i = 0; i < count; i++) {
            out[i] = (float)a[i];
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        float first = (float)a[i];
        out[i] = first + weight * ((float)b[i] - first);
    }
}

static void sample_row(const float *restrict row, const int32_t *restrict offsets,
                       const float *restrict weights, int32_t step, float scale,
                       float *restrict plane0, float *restrict plane1, float *restrict plane2,
                       size_t count)
{
    for (size_t x = 0; x < count; x++) {
        const float *left = row + offsets[x];
        const float *right = left + step;
        float weight = weights[x];
        plane0[x] = scale * (left[0] + weight * (right[0] - left[0]));
        plane1[x] = scale * (left[1] + weight * (right[1] - left[1]));
        plane2[x] = scale * (left[2] + weight * (right[2] - left[2]));
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

const nx_kernels_set NX_KERNELS_SYMBOL = {
    .blend_rows = blend_rows,
    .sample_row = sample_row,
    .max_over_rows = max_over_rows,
};
