/* Compiled several times with another NX_KERNELS_SYMBOL and -march; see kernels.h. */
#include "vision/kernels.h"

#include <string.h>

extern const nx_kernels_set NX_KERNELS_SYMBOL;

/* From weights times levels to levels, rounded half up. */
#define HALF (1 << (NX_WEIGHT_BITS - 1))

/* The same for sums of fine weights' high parts, to which the low ones' are added before. Each
 * weight being rounded for itself, thousands of them may make a little more than one together. */
#define HIGH_BITS (NX_FINE_BITS - NX_FINE_LOW_BITS)
#define HIGH_HALF (1 << (HIGH_BITS - 1))

static inline uint8_t level_of_fine(int32_t high, int32_t low)
{
    int32_t level = (high + (low >> NX_FINE_LOW_BITS) + HIGH_HALF) >> HIGH_BITS;
    return (uint8_t)(level > 255 ? 255 : level);
}

#if defined(__AVX2__)
#include "vision/kernels_avx2.h"
#else
/* Columns that are summed before the next: their sums stay in registers or the L1 cache. */
#define COLUMNS 64

/* sums[i] += sum over t < taps of weights[t] * rows[t][start + i] */
static inline void add_rows(const uint8_t *const *rows, const int16_t *weights, size_t taps,
                            size_t start, size_t width, int32_t *restrict sums)
{
    for (size_t t = 0; t < taps; t++) {
        const uint8_t *row = rows[t] + start;
        int32_t weight = weights[t];
        for (size_t i = 0; i < width; i++) {
            sums[i] += weight * row[i];
        }
    }
}

static void blend_rows(const uint8_t *const *rows, const int16_t *weights, size_t taps,
                       uint8_t *restrict out, size_t count)
{
    for (size_t start = 0; start < count; start += COLUMNS) {
        int32_t sums[COLUMNS] = {0};
        size_t width = count - start < COLUMNS ? count - start : COLUMNS;
        add_rows(rows, weights, taps, start, width, sums);
        for (size_t i = 0; i < width; i++) {
            out[start + i] = (uint8_t)((sums[i] + HALF) >> NX_WEIGHT_BITS);
        }
    }
}

static void blend_rows_fine(const uint8_t *const *rows, const int16_t *weights, size_t taps,
                            uint8_t *restrict out, size_t count)
{
    for (size_t start = 0; start < count; start += COLUMNS) {
        int32_t high[COLUMNS] = {0};
        int32_t low[COLUMNS] = {0};
        size_t width = count - start < COLUMNS ? count - start : COLUMNS;
        add_rows(rows, weights, taps, start, width, high);
        add_rows(rows, weights + taps, taps, start, width, low);
        for (size_t i = 0; i < width; i++) {
            out[start + i] = level_of_fine(high[i], low[i]);
        }
    }
}

/* Weights times the bytes of a chunk's taps; channels: the distance of taps in the row. */
static inline int32_t weigh_chunk(const uint8_t *row, const int16_t *weights, size_t chunk,
                                  size_t channels)
{
    int32_t sum = 0;
    for (size_t k = 0; k < chunk; k++) {
        sum += row[k * channels] * weights[k];
    }
    return sum;
}

static inline uint8_t filtered_rgb(const uint8_t *row, const nx_filter *filter, size_t x)
{
    const size_t low_after = (size_t)NX_RGB_CHUNK * NX_FILTER_GROUP;
    const int16_t *weights = filter->weights +
                             x / NX_FILTER_GROUP * NX_FILTER_GROUP * filter->taps * 2 +
                             x % NX_FILTER_GROUP * NX_RGB_CHUNK;
    int32_t high = 0;
    int32_t low = 0;
    for (size_t t = 0; t < filter->taps; t += NX_RGB_CHUNK) {
        high += weigh_chunk(row + 3 * t, weights, NX_RGB_CHUNK, 3);
        low += weigh_chunk(row + 3 * t, weights + low_after, NX_RGB_CHUNK, 3);
        weights += 2 * low_after;
    }
    return level_of_fine(high, low);
}

static void filter_rgb(const uint8_t *row, const nx_filter *filter, uint8_t *out)
{
    for (size_t x = 0; x < filter->groups * NX_FILTER_GROUP; x++) {
        for (size_t c = 0; c < 3; c++) {
            out[3 * x + c] = filtered_rgb(row + 3 * (size_t)filter->first[x] + c, filter, x);
        }
    }
}

static inline uint8_t filtered_plane(const uint8_t *row, const nx_filter *filter, size_t x)
{
    const int16_t *weights = filter->weights +
                             x / NX_FILTER_GROUP * NX_FILTER_GROUP * filter->taps +
                             x % NX_FILTER_GROUP * NX_PLANE_CHUNK;
    int32_t sum = HALF;
    for (size_t t = 0; t < filter->taps; t += NX_PLANE_CHUNK) {
        sum += weigh_chunk(row + t, weights, NX_PLANE_CHUNK, 1);
        weights += (size_t)NX_PLANE_CHUNK * NX_FILTER_GROUP;
    }
    return (uint8_t)(sum >> NX_WEIGHT_BITS);
}

static void filter_plane(const uint8_t *row, const nx_filter *filter, uint8_t *out)
{
    for (size_t x = 0; x < filter->groups * NX_FILTER_GROUP; x++) {
        out[x] = filtered_plane(row + filter->first[x], filter, x);
    }
}
#endif

static inline uint8_t clamp_level(int32_t value)
{
    value >>= NX_YUV_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void yuv_to_rgb(const uint8_t *restrict y, const uint8_t *restrict u,
                       const uint8_t *restrict v, const nx_yuv_matrix *matrix,
                       uint8_t *restrict rgb, size_t count)
{
    const nx_yuv_matrix m = *matrix;
    for (size_t i = 0; i < count; i++) {
        int32_t level = (y[i] - m.y_offset) * m.y_scale + (1 << (NX_YUV_BITS - 1));
        int32_t blue = u[i] - 128;
        int32_t red = v[i] - 128;
        rgb[3 * i] = clamp_level(level + red * m.v_red);
        rgb[3 * i + 1] = clamp_level(level + blue * m.u_green + red * m.v_green);
        rgb[3 * i + 2] = clamp_level(level + blue * m.u_blue);
    }
}

/* Pixels whose channels are taken apart at a time. */
#define PIXELS 64

static inline void take_apart(const uint8_t *restrict rgb, uint8_t levels[3][PIXELS], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        levels[0][i] = rgb[3 * i];
        levels[1][i] = rgb[3 * i + 1];
        levels[2][i] = rgb[3 * i + 2];
    }
}

static void spread(const uint8_t *rgb, float unit, float *const planes[3], size_t count)
{
    uint8_t levels[3][PIXELS];
    for (size_t start = 0; start < count; start += PIXELS) {
        size_t width = count - start < PIXELS ? count - start : PIXELS;
        take_apart(rgb + 3 * start, levels, width);
        for (size_t c = 0; c < 3; c++) {
            float *restrict out = planes[c] + start;
            for (size_t i = 0; i < width; i++) {
                out[i] = unit * (float)levels[c][i];
            }
        }
    }
}

/*
 * level / 255 in binary16, rounded to nearest even. All but 0 are normal numbers in both formats:
 * the exponent's bias is 112 less, and 13 bits of the fraction go.
 */
static inline uint16_t half_of(uint8_t level)
{
    float number = (float)level * (1.0F / 255.0F);
    uint32_t bits = 0;
    memcpy(&bits, &number, sizeof bits);
    uint32_t rounded = ((bits + 0xFFF + (bits >> 13 & 1)) >> 13) - (112 << 10);
    return (uint16_t)(level == 0 ? 0 : rounded);
}

static inline void halves_of(const uint8_t *levels, uint16_t *restrict out, size_t count)
{
    size_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= count; i += 8) {
        __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(levels + i)));
        __m256 numbers = _mm256_mul_ps(_mm256_cvtepi32_ps(bytes), _mm256_set1_ps(1.0F / 255.0F));
        _mm_storeu_si128((__m128i *)(out + i), _mm256_cvtps_ph(numbers, _MM_FROUND_TO_NEAREST_INT));
    }
#endif
    for (; i < count; i++) {
        out[i] = half_of(levels[i]);
    }
}

static void spread_half(const uint8_t *rgb, uint16_t *const planes[3], size_t count)
{
    uint8_t levels[3][PIXELS];
    for (size_t start = 0; start < count; start += PIXELS) {
        size_t width = count - start < PIXELS ? count - start : PIXELS;
        take_apart(rgb + 3 * start, levels, width);
        for (size_t c = 0; c < 3; c++) {
            halves_of(levels[c], planes[c] + start, width);
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

static void any_at_least(const float *restrict rows, size_t columns, float limit,
                         uint8_t *restrict found, size_t row_count)
{
    for (size_t r = 0; r < row_count; r++) {
        const float *row = rows + r * columns;
        int32_t any = 0;
        for (size_t i = 0; i < columns; i++) {
            any |= row[i] >= limit;
        }
        found[r] = (uint8_t)any;
    }
}

const nx_kernels_set NX_KERNELS_SYMBOL = {
    .filter_rgb = filter_rgb,
    .filter_plane = filter_plane,
    .blend_rows = blend_rows,
    .blend_rows_fine = blend_rows_fine,
    .yuv_to_rgb = yuv_to_rgb,
    .spread = spread,
    .spread_half = spread_half,
    .max_over_rows = max_over_rows,
    .any_at_least = any_at_least,
};
