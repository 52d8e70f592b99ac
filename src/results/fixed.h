/* Numbers in fixed notation for the line formats; JSON has its own in base/json_writer.h. */
#ifndef NX_RESULTS_FIXED_H
#define NX_RESULTS_FIXED_H

#include "base/buffer.h"

#include <stdint.h>

/*
 * Appends value with exactly `decimals` (0..9) digits behind the point, rounded half away from
 * zero. The point is a point in every locale, which printf's "%f" does not promise. What does not
 * fit 64 bits when scaled, and what is not finite, becomes "nan": tables stay readable by machines.
 */
void nx_append_fixed(nx_buffer *out, double value, int decimals);

/* Appends a whole number. */
void nx_append_whole(nx_buffer *out, uint64_t value);

#endif
