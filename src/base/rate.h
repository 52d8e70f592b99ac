/* How often something may be done, as people write it: "600/min", "100/s burst 200", "off". */
#ifndef NX_BASE_RATE_H
#define NX_BASE_RATE_H

#include "base/error.h"

#include <stdint.h>

/* A token bucket: `burst` tokens at most, `count` of which come back in each period. Plain data. */
typedef struct nx_rate {
    int64_t count; /* 0: no limit */
    int64_t period_ns;
    int64_t burst; /* 1 or more */
} nx_rate;

/*
 * N/UNIT, and "burst M" behind it; UNIT is s, min or h. Without "burst" it is N: what is not used
 * is there later, for one period. "off" (or 0) is no limit. N is 1 to 1,000,000, at most that many
 * a second, as is M. Errors: NX_ERR_INVALID with what may be written.
 */
nx_status nx_rate_parse(const char *text, nx_rate *out, nx_error *err);

#endif
