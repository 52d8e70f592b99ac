#include "engine/byte_kernels.h"

static void look_up_plain(const uint8_t *bytes, const uint8_t table[NX_TABLE_SIZE], uint8_t *out,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = table[bytes[i]];
    }
}

static const nx_byte_kernels plain = {.name = "plain", .look_up = look_up_plain};

#if defined(__x86_64__)
#include <immintrin.h>

/* --- AVX2 ---------------------------------------------------------------------------------------
 *
 * A shuffle looks 16 bytes up by the low 4 bits of an index and gives 0 where the index is
 * negative. Row k of the table (16 bytes of it) is asked for index - 16k, saturating, which is
 * negative for every index below the row. So an index in row h gets the entries of rows 0..h; the
 * rows hold the differences (XOR) from row to row, whose sum is row h's entry. Indices from 128 on
 * are negative for rows 0..7 and, with the top bit turned, go through rows 8..15 in the same way.
 */

#define ROWS 16

__attribute__((target("avx2"))) static inline void difference_rows(const uint8_t *table,
                                                                   __m256i rows[ROWS])
{
    __m128i before = _mm_setzero_si128();
    for (int k = 0; k < ROWS; k++) {
        __m128i row = _mm_loadu_si128((const __m128i *)(table + 16 * (size_t)k));
        /* row 8 is the first of the upper half */
        __m128i difference = k % 8 == 0 ? row : _mm_xor_si128(row, before);
        rows[k] = _mm256_broadcastsi128_si256(difference);
        before = row;
    }
}

#define VECTORS 4 /* worked on together: each row is loaded once for all of them */

__attribute__((target("avx2"))) static inline void
look_up_block(const uint8_t *bytes, const __m256i rows[ROWS], uint8_t *out)
{
    const __m256i step = _mm256_set1_epi8(16);
    const __m256i top = _mm256_set1_epi8((char)0x80);
    __m256i lower[VECTORS];
    __m256i upper[VECTORS];
    __m256i sum[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
        lower[v] = _mm256_loadu_si256((const __m256i *)bytes + v);
        upper[v] = _mm256_xor_si256(lower[v], top);
        sum[v] = _mm256_setzero_si256();
    }
    for (int k = 0; k < ROWS / 2; k++) {
        for (int v = 0; v < VECTORS; v++) {
            sum[v] = _mm256_xor_si256(sum[v], _mm256_shuffle_epi8(rows[k], lower[v]));
            lower[v] = _mm256_subs_epi8(lower[v], step);
        }
    }
    for (int k = 0; k < ROWS / 2; k++) {
        for (int v = 0; v < VECTORS; v++) {
            sum[v] = _mm256_xor_si256(sum[v], _mm256_shuffle_epi8(rows[8 + k], upper[v]));
            upper[v] = _mm256_subs_epi8(upper[v], step);
        }
    }
    for (int v = 0; v < VECTORS; v++) {
        _mm256_storeu_si256((__m256i *)out + v, sum[v]);
    }
}

__attribute__((target("avx2"))) static void
look_up_avx2(const uint8_t *bytes, const uint8_t table[NX_TABLE_SIZE], uint8_t *out, size_t count)
{
    enum { BLOCK = VECTORS * 32 };
    __m256i rows[ROWS];
    size_t i = 0;
    difference_rows(table, rows);
    for (; i + BLOCK <= count; i += BLOCK) {
        look_up_block(bytes + i, rows, out + i);
    }
    look_up_plain(bytes + i, table, out + i, count - i);
}

static const nx_byte_kernels avx2 = {.name = "AVX2", .look_up = look_up_avx2};

/* --- AVX-512 VBMI -------------------------------------------------------------------------------
 *
 * One instruction looks 64 bytes up in 128 by the low 7 bits of each; the top bit chooses between
 * two of them.
 */

__attribute__((target("avx512f,avx512bw,avx512vbmi"))) static void
look_up_vbmi(const uint8_t *bytes, const uint8_t table[NX_TABLE_SIZE], uint8_t *out, size_t count)
{
    const __m512i row0 = _mm512_loadu_si512(table);
    const __m512i row1 = _mm512_loadu_si512(table + 64);
    const __m512i row2 = _mm512_loadu_si512(table + 128);
    const __m512i row3 = _mm512_loadu_si512(table + 192);
    for (size_t i = 0; i < count; i += 64) {
        size_t rest = count - i;
        __mmask64 wanted = rest >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << rest) - 1;
        __m512i index = _mm512_maskz_loadu_epi8(wanted, bytes + i);
        __m512i lower = _mm512_permutex2var_epi8(row0, index, row1);
        __m512i upper = _mm512_permutex2var_epi8(row2, index, row3);
        __m512i found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), lower, upper);
        _mm512_mask_storeu_epi8(out + i, wanted, found);
    }
}

static const nx_byte_kernels vbmi = {.name = "AVX-512 VBMI", .look_up = look_up_vbmi};

const nx_byte_kernels *nx_byte_kernels_get(size_t index)
{
    const nx_byte_kernels *sets[4] = {&plain}; /* NULL at the end */
    size_t count = 1;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        sets[count++] = &avx2;
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vbmi")) {
        sets[count++] = &vbmi;
    }
    return index < count ? sets[index] : NULL;
}
#else
const nx_byte_kernels *nx_byte_kernels_get(size_t index)
{
    return index == 0 ? &plain : NULL;
}
#endif

const nx_byte_kernels *nx_byte_kernels_best(void)
{
    const nx_byte_kernels *best = &plain;
    for (size_t i = 0; nx_byte_kernels_get(i) != NULL; i++) {
        best = nx_byte_kernels_get(i);
    }
    return best;
}
