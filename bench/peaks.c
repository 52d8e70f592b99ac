/*
 * What this machine can do at most: fused multiply-adds of single floats a second (AVX2 or AVX-512,
 * as it has), multiply-adds of bytes as INT8 models without VNNI have them (vpmaddubsw, vpmaddwd,
 * vpaddd), and bytes a second from and to memory. bench_peaks [THREADS]: on so many threads at
 * once, the best of some rounds. Built by ninja -C build/release bench_peaks.
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

__attribute__((target("avx2,fma"))) static void fma_avx2(hand *self)
{
    __m256 sums[CHAINS];
    const __m256 factor = _mm256_set1_ps(0.999F);
    for (int i = 0; i < CHAINS; i++) {
        sums[i] = _mm256_set1_ps((float)i);
    }
    for (int64_t turn = 0; turn < TURNS; turn++) {
#pragma GCC unroll 10
        for (int i = 0; i < CHAINS; i++) {
            sums[i] = _mm256_fmadd_ps(sums[i], factor, factor);
        }
    }
    for (int i = 0; i < CHAINS; i++) {
        self->sum += (double)_mm256_cvtss_f32(sums[i]);
    }
    self->amount = (double)TURNS * CHAINS * 8 * 2;
}

__attribute__((target("avx512f"))) static void fma_avx512(hand *self)
{
    __m512 sums[CHAINS];
    const __m512 factor = _mm512_set1_ps(0.999F);
    for (int i = 0; i < CHAINS; i++) {
        sums[i] = _mm512_set1_ps((float)i);
    }
    for (int64_t turn = 0; turn < TURNS; turn++) {
#pragma GCC unroll 10
        for (int i = 0; i < CHAINS; i++) {
            sums[i] = _mm512_fmadd_ps(sums[i], factor, factor);
        }
    }
    for (int i = 0; i < CHAINS; i++) {
        self->sum += (double)_mm512_cvtss_f32(sums[i]);
    }
    self->amount = (double)TURNS * CHAINS * 16 * 2;
}

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
    printf("| threads | FMA of floats, %s | of bytes, AVX2 | memory read | copied (read and "
           "written) |\n"
           "| --- | --- | --- | --- | --- |\n",
           wide ? "AVX-512" : "AVX2");
    printf("| %ld | %.1f GFLOP/s |", count, best(hands, (int)count, wide ? fma_avx512 : fma_avx2));
    printf(" %.1f GB/s |", best(hands, (int)count, read_memory));
    printf(" %.1f GB/s |\n", best(hands, (int)count, copy_memory));
    return 0;
}
