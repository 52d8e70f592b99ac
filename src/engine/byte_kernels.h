/*
 * The inner loop of the quantised activations: a table look-up for each byte. Written with the
 * instructions of each level of x86-64, as no compiler makes shuffles out of table[byte].
 */
#ifndef NX_ENGINE_BYTE_KERNELS_H
#define NX_ENGINE_BYTE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define NX_TABLE_SIZE 256

typedef struct nx_byte_kernels {
    const char *name;
    /* out[i] = table[bytes[i]]; out may be bytes itself, and overlap it in no other way. */
    void (*look_up)(const uint8_t *bytes, const uint8_t table[NX_TABLE_SIZE], uint8_t *out,
                    size_t count);
} nx_byte_kernels;

/* The best set for this processor. Thread-safe; constant for the life of the process. */
const nx_byte_kernels *nx_byte_kernels_best(void);

/* Every set that this processor can run, plain C first; NULL beyond the last. */
const nx_byte_kernels *nx_byte_kernels_get(size_t index);

#endif
