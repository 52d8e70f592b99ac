/*
 * Does anything move? Frames in which nothing does need no detector: what was there still is
 * (nx_tracker_hold). Off unless a caller uses it.
 *
 * A frame is reduced to means of 4x4 pixels and compared, in blocks of 16x16 pixels, with the last
 * frame that was let through. While nothing moves that picture follows the scene, but by no more
 * than a few levels a second, so that dusk opens no gate and slow walkers do.
 *
 * Deterministic, whole numbers only, also across save and load. One thread at a time.
 */
#ifndef NX_ANALYTICS_MOTION_GATE_H
#define NX_ANALYTICS_MOTION_GATE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_MOTION_GATE_MAX_SIDE 4096

typedef struct nx_motion_gate nx_motion_gate;

typedef struct nx_motion_gate_options {
    double threshold;   /* 0..255 levels: a block whose mean difference is more has moved */
    uint32_t blocks;    /* at least 1: so many moving blocks open the gate; one alone
                           often just flickers */
    double follow;      /* 0..255 levels a second by which the still picture adapts */
    int64_t linger_ns;  /* after a movement the gate stays open for so long: who came is seen
                           often enough to be confirmed */
    int64_t refresh_ns; /* over 0: it opens at least this often */
} nx_motion_gate_options;

nx_motion_gate_options nx_motion_gate_defaults(void); /* 6, 2, 1, 200 ms, 2 s */

/* A frame as the gate sees it: a small one, such as the model's input, is best. */
typedef struct nx_motion_frame {
    const uint8_t *pixels; /* height rows of `stride` bytes */
    size_t stride;
    uint32_t width, height; /* 1..NX_MOTION_GATE_MAX_SIDE */
    uint32_t channels;      /* 1: gray; 3: R, G, B side by side */
} nx_motion_frame;

/* Errors: NX_ERR_INVALID, NX_ERR_NO_MEMORY. */
nx_status nx_motion_gate_new(const nx_motion_gate_options *options, nx_motion_gate **out,
                             nx_error *err);
void nx_motion_gate_free(nx_motion_gate *gate);

/*
 * The next frame; its time rises and is within +-2^61. *open: it is to be looked at. The first one,
 * and one of another size than before, always is. Errors: NX_ERR_INVALID, NX_ERR_NO_MEMORY.
 */
nx_status nx_motion_gate_look(nx_motion_gate *gate, int64_t time_ns, const nx_motion_frame *frame,
                              bool *open, nx_error *err);

/* Frames so far, and those that were held back. */
void nx_motion_gate_counts(const nx_motion_gate *gate, uint64_t *seen, uint64_t *skipped);

/* Appends the state, options included. A failure is out->failed. */
void nx_motion_gate_save(const nx_motion_gate *gate, nx_buffer *out);

/* The bytes may be anything. Errors: NX_ERR_CORRUPT, NX_ERR_UNSUPPORTED, NX_ERR_NO_MEMORY. */
nx_status nx_motion_gate_load(const void *bytes, size_t size, nx_motion_gate **out, nx_error *err);

#endif
