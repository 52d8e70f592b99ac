/*
 * What this machine can do at most: multiply-adds of single floats a second (AVX2 or AVX-512, as it
 * has), of bytes as INT8 models have them (AVX-512 VNNI's vpdpbusd, or vpmaddubsw, vpmaddwd and
 * vpaddd; AMX is not looked at), and bytes a second from and to memory. bench_peaks [THREADS]: on
 * so many threads at once, the best of some rounds. Built by ninja -C build/release bench_peaks.
 */
#include "base/clock.h"

#include <immintrin.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_THREADS 64
#define ROUNDS       5
#define CHAINS       10 /* independent sums: more than latency times units of any of these processors */
#define TURNS        (INT64_C(1) << 23)
#define BYTES        ((size_t)64 << 20) /* of each buffer of each thread: no cache holds it */

typedef struct hand {
    double amount; /* of what its work counts */
    double sum;    /* so that the work cannot be left out */
    uint8_t *from, *to;
    void (*work)(struct hand *self);
    pthread_barrier_t *start;
    double seconds;
} hand;

/* A function that multiplies and adds in CHAINS registers that do not wait for each other: `set`
 * fills one, `step` does it to `sum`, `lanes` products at a time, and `first` is a register's first
 * lane. */
#define NX_PEAK(name, isa, vector, set, lanes, step, first)                                        \
    __attribute__((target(isa))) static void name(hand *self)                                      \
    {                                                                                              \
        vector sums[CHAINS];                                                                       \
        const vector factor = set(1);                                                              \
        for (int i = 0; i < CHAINS; i++) {                                                         \
            sums[i] = set((char)i);                                                                \
        }                                                                                          \
        for (int64_t turn = 0; turn < TURNS; turn++) {                                             \
            _Pragma("GCC unroll 10") for (int i = 0; i < CHAINS; i++)                              \
            {                                                                                      \
                const vector sum = sums[i];                                                        \
                sums[i] = (step);                                                                  \
            }                                                                                      \
        }                                                                                          \
        for (int i = 0; i < CHAINS; i++) {                                                         \
            self->sum += (double)first(sums[i]);                                                   \
        }                                                                                          \
        self->amount = (double)TURNS * CHAINS * (lanes)*2;                                         \
    }

NX_PEAK(floats_avx2, "avx2,fma", __m256, _mm256_set1_ps, 8, _mm256_fmadd_ps(sum, factor, factor),
        _mm256_cvtss_f32)
NX_PEAK(floats_avx512, "avx512f", __m512, _mm512_set1_ps, 16, _mm512_fmadd_ps(sum, factor, factor),
        _mm512_cvtss_f32)
NX_PEAK(bytes_avx2, "avx2", __m256i, _mm256_set1_epi8, 32,
        _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(sum, factor), factor)),
        _mm256_cvtsi256_si32)
NX_PEAK(bytes_vnni, "avx512f,avx512vnni", __m512i, _mm512_set1_epi8, 64,
        _mm512_dpbusd_epi32(sum, factor, factor), _mm512_cvtsi512_si32)

__attribute__((target("avx2"))) static void read_memory(hand *self)
{
    __m256i sums[4] = {0};
    for (size_t at = 0; at < BYTES; at += sizeof sums) {
        for (size_t i = 0; i < 4; i++) {
            sums[i] = _mm256_xor_si256(
                sums[i], _mm256_load_si256((const __m256i *)(const void *)(self->from + at) + i));
        }
    }
    sums[0] =
        _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
    self->sum += (double)_mm256_extract_epi32(sums[0], 0);
    self->amount = (double)BYTES;
}

static void copy_memory(hand *self)
{
    memcpy(self->to, self->from, BYTES);
    self->sum += self->to[BYTES / 2];
    self->amount = 2.0 * (double)BYTES; /* read and written */
}

static void *run(void *user)
{
    hand *self = user;
    (void)pthread_barrier_wait(self->start);
    int64_t at = nx_clock_now_ns();
    self->work(self);
    self->seconds = (double)(nx_clock_now_ns() - at) / (double)NX_NS_PER_SEC;
    return NULL;
}

/* In 10^9 a second, of all threads together. */
static double best(hand *hands, int count, void (*work)(hand *self))
{
    double most = 0;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t threads[MOST_THREADS];
        pthread_barrier_t start;
        double rate = 0;
        if (pthread_barrier_init(&start, NULL, (unsigned)count) != 0) {
            return 0;
        }
        for (int i = 0; i < count; i++) {
            hands[i].work = work;
            hands[i].start = &start;
            if (pthread_create(&threads[i], NULL, run, &hands[i]) != 0) {
                perror("bench_peaks");
                exit(1);
            }
        }
        for (int i = 0; i < count; i++) {
            (void)pthread_join(threads[i], NULL);
            rate += hands[i].amount / hands[i].seconds / 1e9;
        }
        (void)pthread_barrier_destroy(&start);
        most = rate > most ? rate : most;
    }
    return most;
}

int main(int argc, char **argv)
{
    static hand hands[MOST_THREADS];
    long count = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
    count = count < 1 ? 1 : count > MOST_THREADS ? MOST_THREADS : count;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        fprintf(stderr, "bench_peaks: it needs AVX2 and FMA\n");
        return 3;
    }
    for (long i = 0; i < count; i++) {
        hands[i].from = aligned_alloc(64, BYTES);
        hands[i].to = aligned_alloc(64, BYTES);
        if (hands[i].from == NULL || hands[i].to == NULL) {
            perror("bench_peaks");
            return 1;
        }
        memset(hands[i].from, 1, BYTES);
        memset(hands[i].to, 2, BYTES);
    }
    bool wide = __builtin_cpu_supports("avx512f") != 0;
    bool vnni = __builtin_cpu_supports("avx512vnni") != 0;
    printf(
        "| threads | multiply-adds of floats, %s | of bytes, %s | memory read | copied (read and "
        "written) |\n"
        "| --- | --- | --- | --- | --- |\n",
        wide ? "AVX-512" : "AVX2", vnni ? "AVX-512 VNNI" : "AVX2");
    printf("| %ld | %.1f GFLOP/s |", count,
           best(hands, (int)count, wide ? floats_avx512 : floats_avx2));
    printf(" %.1f GOP/s |", best(hands, (int)count, vnni ? bytes_vnni : bytes_avx2));
    printf(" %.1f GB/s |", best(hands, (int)count, read_memory));
    printf(" %.1f GB/s |\n", best(hands, (int)count, copy_memory));
    return 0;
}
