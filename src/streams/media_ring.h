/*
 * The newest seconds of a stream's video as its camera encoded it, in memory: for any number of
 * viewers, and for clips, who all read the same bytes. Each picture is a fragment of MP4 that is
 * written once, as soon as the next one tells how long it lasts.
 *
 * One connection puts at a time. Whoever reads never holds it up: a ring keeps what its age and its
 * bytes allow, whole groups of pictures from a key frame on, and who is slower than that misses
 * some. Thread-safe; counted references.
 */
#ifndef NX_STREAMS_MEDIA_RING_H
#define NX_STREAMS_MEDIA_RING_H

#include "base/buffer.h"
#include "media/decoder.h"
#include "media/mp4.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Most pictures that are kept. */
#define NX_MEDIA_RING_PIECES 4096

/* A picture. Nothing of it changes any more. */
typedef struct nx_media_piece {
    atomic_int references;
    uint8_t *block; /* its fragment */
    size_t size;    /* of the fragment */
    nx_mp4_sample sample;
    uint64_t number;
    int64_t dts_ns; /* of the source */
    int64_t pts_ns; /* of the source; once it can be read of the stream */
} nx_media_piece;

void nx_media_piece_release(nx_media_piece *piece); /* NULL is fine */

typedef struct nx_media_ring nx_media_ring;

typedef struct nx_media_ring_options {
    size_t most_bytes;
    int64_t keep_ns; /* besides what came since the last key frame */
    /* Somebody reads, and there is something new. Must not wait; NULL: nobody is told. */
    void (*told)(void *user);
    void *user;
} nx_media_ring_options;

/* NULL: no memory. Has one reference. */
nx_media_ring *nx_media_ring_new(const nx_media_ring_options *options);
nx_media_ring *nx_media_ring_retain(nx_media_ring *ring);
void nx_media_ring_release(nx_media_ring *ring); /* NULL is fine */

/* --- putting; times are of the source until it is said where they lie --- */

/* A connection begins: what is there of an earlier one goes. */
void nx_media_ring_begin(nx_media_ring *ring);
/* What comes from now on; what was read before ends. */
void nx_media_ring_track(nx_media_ring *ring, const nx_mp4_track *track);
/* The block becomes the ring's. Of the first one after a track that is no key frame nothing comes.
 */
void nx_media_ring_put(nx_media_ring *ring, const nx_media_sample *sample);
/* The stream's times are the source's and so much more: from now on it can be read. */
void nx_media_ring_place(nx_media_ring *ring, int64_t offset_ns);
/* It came before its time: each picture can be read when nx_clock_now_ns() is so much more than
 * the stream's time. */
void nx_media_ring_pace(nx_media_ring *ring, int64_t offset_ns);
/* The connection ends. What is there stays until the next one begins. */
void nx_media_ring_cut(nx_media_ring *ring);

/* A fragment that another ring has written. */
typedef struct nx_media_fragment {
    uint8_t *block; /* malloc's, and the ring's from then on */
    size_t size;    /* over NX_MP4_FRAGMENT_HEAD */
    bool key;
    uint64_t dts;   /* of the stream, in ticks, at most NX_MEDIA_MOST_TICKS */
    int64_t pts_ns; /* of the stream */
} nx_media_fragment;
#define NX_MEDIA_MOST_TICKS (UINT64_C(9000000000) * NX_MP4_TICKS)

/* For a mirror of another ring, whose connection has begun, with its track and at place 0: it can
 * be read at once. */
void nx_media_ring_put_fragment(nx_media_ring *ring, const nx_media_fragment *fragment);
/* Does anybody look at it? */
bool nx_media_ring_is_watched(nx_media_ring *ring);

/* --- reading --- */

/* The content type of what can be read now; false: nothing. */
bool nx_media_ring_type(nx_media_ring *ring, char type[NX_MP4_TYPE_SIZE]);
/* Fragments that were written so far, however many read them. */
uint64_t nx_media_ring_fragments(nx_media_ring *ring);

typedef struct nx_media_view {
    nx_media_ring *ring; /* a reference; NULL: closed */
    uint64_t epoch;      /* of the track that it looks at */
    uint64_t next;       /* number of the picture that it wants */
    nx_mp4_track track;
} nx_media_view;

/* Looks at the ring from a key frame on: the last one that is shown at from_ns of the stream or
 * before, or else the oldest; INT64_MAX: the newest. False: there is nothing yet. */
bool nx_media_view_open(nx_media_ring *ring, int64_t from_ns, nx_media_view *view);
void nx_media_view_close(nx_media_view *view);

typedef enum nx_media_news {
    NX_MEDIA_PIECE,   /* there is one */
    NX_MEDIA_SKIPPED, /* there is one, a key frame: some before it were missed */
    NX_MEDIA_NOTHING, /* not yet */
    NX_MEDIA_ENDED,   /* the connection, or its track, has */
} nx_media_news;

/* The next one, with a reference for the caller. */
nx_media_news nx_media_view_next(nx_media_view *view, nx_media_piece **piece);
/* Goes on to the newest key frame, if there is one ahead and the view is so far behind. */
bool nx_media_view_skip(nx_media_view *view, int64_t behind_ns);
/* Does what can be read next come at a time of its own? */
bool nx_media_view_is_paced(const nx_media_view *view);

#endif
