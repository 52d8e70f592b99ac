/* What became of a stream's frames. A frame counts once it is known what becomes of it, and then in
 * two places at once, so that received = processed + all that were dropped holds at any time. */
#ifndef NX_STREAMS_COUNTS_H
#define NX_STREAMS_COUNTS_H

#include <stdint.h>

typedef enum nx_stream_loss {
    NX_LOSS_NEWER,   /* a newer one came before it was its turn */
    NX_LOSS_RATE,    /* the stream's fps leaves it out */
    NX_LOSS_BUSY,    /* the engine's queue was full, or it waited there for too long */
    NX_LOSS_FAILED,  /* the model failed on it */
    NX_LOSS_STOPPED, /* the stream ended, or its connection did */
    NX_LOSS_COUNT,
} nx_stream_loss;

const char *nx_stream_loss_name(nx_stream_loss loss); /* "newer_frame" */

/* Plain data; all zero is the beginning. */
typedef struct nx_stream_counts {
    uint64_t received;
    uint64_t processed; /* that have a result */
    uint64_t inferred;  /* of those, the ones that a model looked at */
    uint64_t dropped[NX_LOSS_COUNT];
} nx_stream_counts;

void nx_stream_count_processed(nx_stream_counts *counts, int inferred);
void nx_stream_count_dropped(nx_stream_counts *counts, nx_stream_loss loss, uint64_t frames);
/* Adds what other has. */
void nx_stream_counts_add(nx_stream_counts *counts, const nx_stream_counts *other);

#endif
