/* How fast models are, against each other: the Runs alternate, so that what else the machine does
 * falls on all alike. */
#ifndef NX_OPTIMIZE_SPEED_H
#define NX_OPTIMIZE_SPEED_H

#include "engine/model.h"

typedef struct nx_speed {
    nx_model *model; /* borrowed */
    uint32_t width;  /* of the input */
    uint32_t height;
    double run_ms;     /* out: median of one Run on one thread, nothing else running */
    double per_second; /* out: pictures with two Runs at once, from the median */
} nx_speed;

/* At most NX_SPEED_MAX cases, each `rounds` (up to NX_SPEED_MAX_ROUNDS) times. Errors: those of a
 * Run; NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread). */
#define NX_SPEED_MAX        8
#define NX_SPEED_MAX_ROUNDS 100
nx_status nx_speed_measure(nx_speed *cases, size_t count, size_t rounds, nx_error *err);

#endif
