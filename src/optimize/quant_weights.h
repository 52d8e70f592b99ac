/*
 * The weights of a convolution as signed bytes, a scale for each output channel.
 *
 * The AVX2 kernels of CPUs without VNNI multiply a byte of activations (0..255) by a byte of
 * weights twice and add the two in 16 bits, with saturation: where both weights are large and of
 * one sign the sum is cut off and wrong. Weights for such a CPU keep each pair's sum within +-128,
 * which can't saturate. Few pairs are near that, so it costs less than the usual cure of 7-bit
 * weights, and the file is right on every CPU.
 *
 * Pure functions; thread-safe.
 */
#ifndef NX_OPTIMIZE_QUANT_WEIGHTS_H
#define NX_OPTIMIZE_QUANT_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nx_weight_form {
    NX_WEIGHTS_FULL,  /* -127..127: for VNNI, AMX and other kernels that add in 32 bits */
    NX_WEIGHTS_PAIRS, /* the same, pairs that could saturate made smaller */
    NX_WEIGHTS_7BIT,  /* -64..64 */
} nx_weight_form;

/*
 * One output channel: weights [in][kernel] (kernel = rows * columns) to out in the same order, by
 * the scale with the smallest squared error, which is returned. Pairs are formed as the kernels see
 * them: in the order [kernel][in].
 */
float nx_quantize_channel(const float *weights, size_t in, size_t kernel, nx_weight_form form,
                          int8_t *out);

#endif
