/* The filters of kernels.c with AVX2, whose multiply-add of pairs compilers do not find here. */
#ifndef NX_VISION_KERNELS_AVX2_H
#define NX_VISION_KERNELS_AVX2_H

#include <immintrin.h>

/* 32 sums to bytes. Those of the four registers lie as unpacking and these packings want it, so
 * that the bytes are in order. */
static inline __m256i sums_to_bytes(const __m256i sums[4])
{
    __m256i low = _mm256_packs_epi32(_mm256_srai_epi32(sums[0], NX_WEIGHT_BITS),
                                     _mm256_srai_epi32(sums[1], NX_WEIGHT_BITS));
    __m256i high = _mm256_packs_epi32(_mm256_srai_epi32(sums[2], NX_WEIGHT_BITS),
                                      _mm256_srai_epi32(sums[3], NX_WEIGHT_BITS));
    return _mm256_packus_epi16(low, high);
}

/* --- down columns -------------------------------------------------------------------------------
 */

/* Columns that are summed in registers before the next. */
#define COLUMNS 32

static inline void blend_columns(const uint8_t *const *rows, const int16_t *weights, size_t taps,
                                 size_t start, uint8_t *out)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i sums[4];
    for (int i = 0; i < 4; i++) {
        sums[i] = _mm256_set1_epi32(HALF);
    }
    for (size_t t = 0; t < taps; t += 2) {
        int32_t pair = 0;
        memcpy(&pair, weights + t, sizeof pair);
        __m256i both = _mm256_set1_epi32(pair);
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
        for (int i = 0; i < 4; i++) {
            sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(words[i], both));
        }
    }
    _mm256_storeu_si256((__m256i *)(out + start), sums_to_bytes(sums));
}

static void blend_rows(const uint8_t *const *rows, const int16_t *weights, size_t taps,
                       uint8_t *out, size_t count)
{
    size_t start = 0;
    for (; start + COLUMNS <= count; start += COLUMNS) {
        blend_columns(rows, weights, taps, start, out);
    }
    if (start < count && count >= COLUMNS) { /* the last ones, some of them once more */
        blend_columns(rows, weights, taps, count - COLUMNS, out);
        return;
    }
    for (; start < count; start++) {
        int32_t sum = HALF;
        for (size_t t = 0; t < taps; t++) {
            sum += weights[t] * rows[t][start];
        }
        out[start] = (uint8_t)(sum >> NX_WEIGHT_BITS);
    }
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

static void filter_rgb(const uint8_t *row, const nx_filter *filter, uint8_t *out)
{
    /* R0 G0 B0 R1 G1 B1 to R0 R1 G0 G1 B0 B1 in words, and the same for the two pixels behind */
    const __m256i pair0 = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    const __m256i pair1 = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
    const __m256i three_of_four = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const __m256i *weights = (const __m256i *)filter->weights;
    for (size_t g = 0; g < filter->groups; g++) {
        const int32_t *first = filter->first + g * NX_FILTER_GROUP;
        const uint8_t *from[NX_FILTER_GROUP];
        __m256i sums[4];
        for (int i = 0; i < NX_FILTER_GROUP; i++) {
            from[i] = row + 3 * (size_t)first[i];
            sums[i % 4] = _mm256_set1_epi32(HALF);
        }
        for (size_t t = 0; t < filter->taps; t += NX_RGB_TAPS) {
            __m256i weight0 = _mm256_loadu_si256(weights++); /* of each position a pair */
            __m256i weight1 = _mm256_loadu_si256(weights++);
            const __m256i each0[4] = {
                _mm256_shuffle_epi32(weight0, 0x00),
                _mm256_shuffle_epi32(weight0, 0x55),
                _mm256_shuffle_epi32(weight0, 0xAA),
                _mm256_shuffle_epi32(weight0, 0xFF),
            };
            const __m256i each1[4] = {
                _mm256_shuffle_epi32(weight1, 0x00),
                _mm256_shuffle_epi32(weight1, 0x55),
                _mm256_shuffle_epi32(weight1, 0xAA),
                _mm256_shuffle_epi32(weight1, 0xFF),
            };
            for (int i = 0; i < 4; i++) {
                __m256i bytes = load_two(from[i] + 3 * t, from[i + 4] + 3 * t);
                __m256i sum0 = _mm256_madd_epi16(_mm256_shuffle_epi8(bytes, pair0), each0[i]);
                __m256i sum1 = _mm256_madd_epi16(_mm256_shuffle_epi8(bytes, pair1), each1[i]);
                sums[i] = _mm256_add_epi32(sums[i], _mm256_add_epi32(sum0, sum1));
            }
        }
        __m256i bytes = _mm256_shuffle_epi8(sums_to_bytes(sums), three_of_four);
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
    const __m256i half = _mm256_set1_epi32(HALF);
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
        whole = _mm256_srai_epi32(_mm256_add_epi32(whole, half), NX_WEIGHT_BITS);
        __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(whole, whole), whole);
        int32_t low = _mm256_cvtsi256_si32(bytes);
        int32_t high = _mm_cvtsi128_si32(_mm256_extracti128_si256(bytes, 1));
        memcpy(out, &low, sizeof low);
        memcpy(out + 4, &high, sizeof high);
        out += NX_FILTER_GROUP;
    }
}

#endif
