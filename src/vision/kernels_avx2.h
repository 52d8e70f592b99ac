/* The filters of kernels.c with AVX2, whose multiply-add of pairs compilers do not find here. */
#ifndef NX_VISION_KERNELS_AVX2_H
#define NX_VISION_KERNELS_AVX2_H

#include <immintrin.h>
#include <stdbool.h>

/* 32 levels to bytes. Those of the four registers lie as unpacking and these packings want it, so
 * that the bytes are in order. */
static inline __m256i pack_levels(const __m256i levels[4])
{
    return _mm256_packus_epi16(_mm256_packs_epi32(levels[0], levels[1]),
                               _mm256_packs_epi32(levels[2], levels[3]));
}

static inline __m256i round_sum(__m256i sum)
{
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(HALF)), NX_WEIGHT_BITS);
}

static inline __m256i round_fine_sum(__m256i high, __m256i low)
{
    __m256i sum = _mm256_add_epi32(high, _mm256_srai_epi32(low, NX_FINE_LOW_BITS));
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(HIGH_HALF)), HIGH_BITS);
}

/* --- down columns -------------------------------------------------------------------------------
 */

/* Columns that are summed in registers before the next. */
#define COLUMNS 32

/* sums += two rows of COLUMNS bytes, times a weight each. */
static inline void add_two_rows(const __m256i words[4], const int16_t *weights, __m256i sums[4])
{
    int32_t pair = 0;
    memcpy(&pair, weights, sizeof pair);
    for (int i = 0; i < 4; i++) {
        __m256i products = _mm256_madd_epi16(words[i], _mm256_set1_epi32(pair));
        sums[i] = _mm256_add_epi32(sums[i], products);
    }
}

static inline void blend_columns(const uint8_t *const *rows, const int16_t *weights, size_t taps,
                                 bool fine, size_t start, uint8_t *out)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i sums[4] = {zero, zero, zero, zero};
    __m256i low_sums[4] = {zero, zero, zero, zero};
    for (size_t t = 0; t < taps; t += 2) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(rows[t] + start));
        __m256i b = _mm256_loadu_si256((const __m256i *)(rows[t + 1] + start));
        __m256i low = _mm256_unpacklo_epi8(a, b);
        __m256i high = _mm256_unpackhi_epi8(a, b);
        const __m256i words[4] = {
            _mm256_unpacklo_epi8(low, zero),
            _mm256_unpackhi_epi8(low, zero),
            _mm256_unpacklo_epi8(high, zero),
            _mm256_unpackhi_epi8(high, zero),
        };
        add_two_rows(words, weights + t, sums);
        if (fine) {
            add_two_rows(words, weights + taps + t, low_sums);
        }
    }
    for (int i = 0; i < 4; i++) {
        sums[i] = fine ? round_fine_sum(sums[i], low_sums[i]) : round_sum(sums[i]);
    }
    _mm256_storeu_si256((__m256i *)(out + start), pack_levels(sums));
}

static inline uint8_t blend_one(const uint8_t *const *rows, const int16_t *weights, size_t taps,
                                bool fine, size_t at)
{
    int32_t sum = 0;
    int32_t low = 0;
    for (size_t t = 0; t < taps; t++) {
        sum += weights[t] * rows[t][at];
        low += fine ? weights[taps + t] * rows[t][at] : 0;
    }
    return fine ? level_of_fine(sum, low) : (uint8_t)((sum + HALF) >> NX_WEIGHT_BITS);
}

static inline void blend(const uint8_t *const *rows, const int16_t *weights, size_t taps, bool fine,
                         uint8_t *out, size_t count)
{
    size_t start = 0;
    for (; start + COLUMNS <= count; start += COLUMNS) {
        blend_columns(rows, weights, taps, fine, start, out);
    }
    if (start < count && count >= COLUMNS) { /* the last ones, some of them once more */
        blend_columns(rows, weights, taps, fine, count - COLUMNS, out);
        return;
    }
    for (; start < count; start++) {
        out[start] = blend_one(rows, weights, taps, fine, start);
    }
}

static void blend_rows(const uint8_t *const *rows, const int16_t *weights, size_t taps,
                       uint8_t *out, size_t count)
{
    blend(rows, weights, taps, false, out, count);
}

static void blend_rows_fine(const uint8_t *const *rows, const int16_t *weights, size_t taps,
                            uint8_t *out, size_t count)
{
    blend(rows, weights, taps, true, out, count);
}

/* --- along rows ---------------------------------------------------------------------------------
 *
 * Positions i and i + 4 of a group share a register, one in each half.
 */

/* 16 bytes from each of two places. */
static inline __m256i load_two(const uint8_t *low, const uint8_t *high)
{
    __m256i value = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)low));
    return _mm256_inserti128_si256(value, _mm_loadu_si128((const __m128i *)high), 1);
}

/* Of each position a pair of weights; i and i + 4 get their own, in each half. */
static inline __m256i weights_of(__m256i group, int i)
{
    switch (i) {
    case 0:
        return _mm256_shuffle_epi32(group, 0x00);
    case 1:
        return _mm256_shuffle_epi32(group, 0x55);
    case 2:
        return _mm256_shuffle_epi32(group, 0xAA);
    default:
        return _mm256_shuffle_epi32(group, 0xFF);
    }
}

static void filter_rgb(const uint8_t *row, const nx_filter *filter, uint8_t *out)
{
    /* R0 G0 B0 R1 G1 B1 to R0 R1 G0 G1 B0 B1 in words, and the same for the two pixels behind */
    const __m256i pair0 = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    const __m256i pair1 = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
    const __m256i three_of_four = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const __m256i zero = _mm256_setzero_si256();
    const __m256i *weights = (const __m256i *)filter->weights;
    for (size_t g = 0; g < filter->groups; g++) {
        const int32_t *first = filter->first + g * NX_FILTER_GROUP;
        __m256i sums[4] = {zero, zero, zero, zero};
        __m256i low_sums[4] = {zero, zero, zero, zero};
        for (size_t t = 0; t < filter->taps; t += NX_RGB_TAPS) {
            __m256i high0 = _mm256_loadu_si256(weights++);
            __m256i low0 = _mm256_loadu_si256(weights++);
            __m256i high1 = _mm256_loadu_si256(weights++);
            __m256i low1 = _mm256_loadu_si256(weights++);
            for (int i = 0; i < 4; i++) {
                __m256i bytes = load_two(row + 3 * ((size_t)first[i] + t),
                                         row + 3 * ((size_t)first[i + 4] + t));
                __m256i words0 = _mm256_shuffle_epi8(bytes, pair0);
                __m256i words1 = _mm256_shuffle_epi8(bytes, pair1);
                __m256i high = _mm256_add_epi32(_mm256_madd_epi16(words0, weights_of(high0, i)),
                                                _mm256_madd_epi16(words1, weights_of(high1, i)));
                __m256i low = _mm256_add_epi32(_mm256_madd_epi16(words0, weights_of(low0, i)),
                                               _mm256_madd_epi16(words1, weights_of(low1, i)));
                sums[i] = _mm256_add_epi32(sums[i], high);
                low_sums[i] = _mm256_add_epi32(low_sums[i], low);
            }
        }
        for (int i = 0; i < 4; i++) {
            sums[i] = round_fine_sum(sums[i], low_sums[i]);
        }
        __m256i bytes = _mm256_shuffle_epi8(pack_levels(sums), three_of_four);
        _mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(bytes));
        _mm_storeu_si128((__m128i *)(out + 12), _mm256_extracti128_si256(bytes, 1));
        out += (size_t)3 * NX_FILTER_GROUP;
    }
}

/* 8 bytes from each of two places, as words. */
static inline __m256i widen_two(const uint8_t *low, const uint8_t *high)
{
    return _mm256_cvtepu8_epi16(_mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)low),
                                                   _mm_loadl_epi64((const __m128i *)high)));
}

static void filter_plane(const uint8_t *row, const nx_filter *filter, uint8_t *out)
{
    const uint8_t *weights = (const uint8_t *)filter->weights;
    for (size_t g = 0; g < filter->groups; g++) {
        const int32_t *first = filter->first + g * NX_FILTER_GROUP;
        __m256i sums[4]; /* four partial sums of each position */
        for (int i = 0; i < 4; i++) {
            sums[i] = _mm256_setzero_si256();
        }
        for (size_t t = 0; t < filter->taps; t += NX_PLANE_TAPS) {
            for (size_t i = 0; i < 4; i++) {
                __m256i value = widen_two(row + first[i] + t, row + first[i + 4] + t);
                __m256i weight = load_two(weights + 16 * i, weights + 16 * (i + 4));
                sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(value, weight));
            }
            weights += (size_t)16 * NX_FILTER_GROUP;
        }
        __m256i whole = _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]),
                                          _mm256_hadd_epi32(sums[2], sums[3]));
        whole = round_sum(whole);
        __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(whole, whole), whole);
        int32_t low = _mm256_cvtsi256_si32(bytes);
        int32_t high = _mm_cvtsi128_si32(_mm256_extracti128_si256(bytes, 1));
        memcpy(out, &low, sizeof low);
        memcpy(out + 4, &high, sizeof high);
        out += NX_FILTER_GROUP;
    }
}

#endif
