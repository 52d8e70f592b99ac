/* IEEE 754 binary16 and back (round to nearest, ties to even). Pure; thread-safe. */
#ifndef NX_OPTIMIZE_HALF_H
#define NX_OPTIMIZE_HALF_H

#include <stdint.h>

/* Too large becomes infinity, too small a subnormal or zero; a NaN stays one. */
uint16_t nx_half_from_float(float value);
float nx_half_to_float(uint16_t half);

#endif
