/*
 * Frames between whoever reads a camera and whoever looks at them: bounded, with what happens when
 * it is full by choice (streams/spec.h). Pictures are copied in once and handed on by pointer.
 *
 * One thread puts, one takes, any may close.
 */
#ifndef NX_STREAMS_QUEUE_H
#define NX_STREAMS_QUEUE_H

#include "base/error.h"
#include "streams/spec.h"

#include <stdbool.h>
#include <stdint.h>

/* Frames that wait with NX_STREAM_DROP_OLDEST and NX_STREAM_BLOCK; with NX_STREAM_LATEST one does.
 */
#define NX_STREAM_QUEUE_SIZE 8

typedef struct nx_stream_frame {
    uint8_t *pixels;   /* RGB, rows of 3 * width bytes */
    uint64_t index;    /* of the stream's frames, those that were left out included */
    int64_t time_ns;   /* since the stream began; rises */
    int64_t at_ns;     /* when it came in: since 1970 */
    int64_t queued_ns; /* nx_clock_now_ns() when it was put */
} nx_stream_frame;

typedef struct nx_stream_queue nx_stream_queue;

/* bytes: of one picture. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_stream_queue_new(nx_stream_drop drop, size_t bytes, nx_stream_queue **out,
                              nx_error *err);
/* Frees what waits. NULL is fine. */
void nx_stream_queue_free(nx_stream_queue *queue);

/* Puts a frame, whose pixels are copied. Returns how many were dropped for that: older ones, or
 * itself when there is no memory, or the queue was closed while it waited (NX_STREAM_BLOCK). */
uint32_t nx_stream_queue_put(nx_stream_queue *queue, const nx_stream_frame *frame);

/* Waits for a frame and takes the oldest; its pixels are the caller's, to be given back. False: the
 * taker was poked meanwhile or before, or the queue was closed. */
bool nx_stream_queue_take(nx_stream_queue *queue, nx_stream_frame *out);

/* Has the one that takes look at something else: what waits now or next returns at once. */
void nx_stream_queue_poke(nx_stream_queue *queue);

/* Nothing is put any more? */
bool nx_stream_queue_is_closed(nx_stream_queue *queue);

/* Pixels of a frame that was taken, or of one like it; NULL is fine. */
void nx_stream_queue_give_back(nx_stream_queue *queue, uint8_t *pixels);

/* Nobody waits any more. Returns how many frames are left, which are not taken any more. */
uint32_t nx_stream_queue_close(nx_stream_queue *queue);

#endif
