/*
 * How often values of each size occur, in one pass over data of unknown range: bins of equal width
 * around 0, whose width doubles (two bins becoming one) when a value lies outside.
 *
 * Plain data without pointers; not thread-safe.
 */
#ifndef NX_OPTIMIZE_HISTOGRAM_H
#define NX_OPTIMIZE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define NX_HISTOGRAM_HALF ((size_t)2048) /* bins on each side of 0 */

/* {0} is empty. Bin i holds values of [(i - HALF) * width, (i - HALF + 1) * width). */
typedef struct nx_histogram {
    double width; /* 0 while empty */
    uint64_t total;
    uint64_t bins[2 * NX_HISTOGRAM_HALF];
} nx_histogram;

/* Values that are not finite are left out. */
void nx_histogram_add(nx_histogram *histogram, const float *values, size_t count);

/* The value in the middle of a bin. */
double nx_histogram_center(const nx_histogram *histogram, size_t bin);

#endif
