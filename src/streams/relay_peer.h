/*
 * One connection of a process that looks at a stream that is run here: what it may have, what it
 * has asked for, and what lies ready for it, which is bounded: who is slow gets fewer pictures and
 * misses what the histories forget, and who takes nothing for ten seconds is gone.
 *
 * One thread has it (relay_listener.h). What it looks at is shared, and thread-safe by itself.
 */
#ifndef NX_STREAMS_RELAY_PEER_H
#define NX_STREAMS_RELAY_PEER_H

#include "streams/hub.h"
#include "streams/media_ring.h"
#include "streams/relay_wire.h"

#include <stdbool.h>

/* Of a codec's name. */
#define NX_RELAY_CODEC 32

/* The streams of this process; thread-safe, borrowed. hub and media give a reference, or NULL. */
typedef struct nx_relay_source {
    nx_stream_hub *(*hub)(const char *id, void *user);
    nx_media_ring *(*media)(const char *id, void *user);
    /* The codec of a camera whose video can't be shown as it is; "": it can, or is not known. */
    void (*unfit)(const char *id, char codec[NX_RELAY_CODEC], void *user);
    void *user;
} nx_relay_source;

typedef struct nx_relay_peer nx_relay_peer;

/* The socket, which does not block, becomes the peer's. NULL: no memory, and the socket is closed.
 */
nx_relay_peer *nx_relay_peer_new(int fd, const nx_relay_source *source,
                                 const uint8_t token[NX_RELAY_TOKEN], int64_t now_ns);
void nx_relay_peer_free(nx_relay_peer *peer); /* NULL is fine */

int nx_relay_peer_fd(const nx_relay_peer *peer);
/* Is there something that waits for the socket to take it? */
bool nx_relay_peer_is_writing(const nx_relay_peer *peer);
/* Does it look at video whose pictures come at times of their own? */
bool nx_relay_peer_is_paced(const nx_relay_peer *peer);
/* Has it proved that it may look? */
bool nx_relay_peer_is_known(const nx_relay_peer *peer);

/* Reads what has come, and writes what there is to tell. False: it is to be freed. */
bool nx_relay_peer_step(nx_relay_peer *peer, bool readable, int64_t now_ns);

#endif
