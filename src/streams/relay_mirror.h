/*
 * A stream that another process runs, as this one sees it: one connection to whoever runs it, found
 * by its row in the database, however many look on here; a hub and a ring of video that say what
 * the runner's say, under the same numbers. When the stream moves on, so does the mirror, and those
 * who look on notice a pause; when it is removed or switched off, or nobody looks for some seconds,
 * the mirror ends.
 *
 * One thread has the connection. The rest is thread-safe.
 */
#ifndef NX_STREAMS_RELAY_MIRROR_H
#define NX_STREAMS_RELAY_MIRROR_H

#include "store/store.h"
#include "streams/hub.h"
#include "streams/media_ring.h"

#include <stdbool.h>

typedef struct nx_relay_mirror nx_relay_mirror;

typedef struct nx_relay_mirror_options {
    nx_store *store;
    /* Whoever looks on is to look again. Must not wait. */
    void (*told)(void *user);
    /* It wants to end, or (over) has ended: on its thread, without a lock. False: somebody has just
     * come, and it goes on. */
    bool (*let_go)(nx_relay_mirror *mirror, bool over, void *user);
    void *user;
    int64_t linger_ns; /* so long it goes on when nobody looks */
} nx_relay_mirror_options;

/* Begins to look for the stream's runner. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE. */
nx_status nx_relay_mirror_start(const nx_relay_mirror_options *options, const char *id,
                                nx_relay_mirror **out, nx_error *err);
/* Ends it and waits for its thread (a look-up of a name is waited for). NULL is fine. */
void nx_relay_mirror_free(nx_relay_mirror *mirror);

const char *nx_relay_mirror_id(const nx_relay_mirror *mirror);
/* Does nobody look on, and has nobody for a while? */
bool nx_relay_mirror_is_idle(nx_relay_mirror *mirror);

/* All of these wait until there is what they ask for, until it is clear that there is none, or
 * until a time. Results are references for the caller. Errors: NX_ERR_UNAVAILABLE with the reason.
 */

nx_status nx_relay_mirror_hub(nx_relay_mirror *mirror, int64_t until_ns, nx_stream_hub **out,
                              nx_error *err);
nx_status nx_relay_mirror_jpeg(nx_relay_mirror *mirror, int64_t until_ns, nx_stream_jpeg **out,
                               nx_error *err);
/* NX_ERR_UNSUPPORTED as well: what the camera sends, whose codec is the message, can't be shown as
 * it is. */
nx_status nx_relay_mirror_media(nx_relay_mirror *mirror, int64_t until_ns, nx_media_ring **out,
                                nx_error *err);

#endif
