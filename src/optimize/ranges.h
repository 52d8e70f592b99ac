/*
 * Which range of numbers 256 levels are spread over. A wide range rounds everything coarsely, a
 * narrow one cuts the largest off; the one with the smallest mean squared error, over how often
 * each number was seen, is taken.
 *
 * Pure functions; thread-safe.
 */
#ifndef NX_OPTIMIZE_RANGES_H
#define NX_OPTIMIZE_RANGES_H

#include "base/error.h"
#include "optimize/histogram.h"

#include <stddef.h>
#include <stdint.h>

/* real = scale * (level - zero), for the levels 0..255. 0 is always one of them exactly: what pads
 * a picture's edge must not be noise. */
typedef struct nx_quant_range {
    float scale;
    uint8_t zero;
} nx_quant_range;

/* A number, and how often it was seen. */
typedef struct nx_weighted {
    double value;
    double weight;
} nx_weighted;

uint8_t nx_quantize(nx_quant_range range, double value);
double nx_dequantize(nx_quant_range range, uint8_t level);

/* The range with the smallest error for these numbers. Without any: 0..1. */
nx_quant_range nx_range_choose(const nx_weighted *points, size_t count);

/*
 * The range of what goes into SiLU: the error is the one behind it, after the output was rounded to
 * its own levels. So nothing is spent on the long tail below -8, of which SiLU leaves nothing.
 */
nx_quant_range nx_range_choose_for_silu(const nx_histogram *before, nx_quant_range output);

/* The 256 outputs of SiLU from levels of one range to levels of another. */
void nx_silu_table(nx_quant_range input, nx_quant_range output, uint8_t table[256]);

/* Appends a histogram's filled bins to points, through SiLU or as they are; there must be room for
 * all bins. Returns the new count. */
size_t nx_points_add(const nx_histogram *histogram, int silu, nx_weighted *points, size_t count);

#endif
