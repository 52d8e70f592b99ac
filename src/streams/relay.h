/*
 * The streams of other processes that somebody looks at here: a mirror for each (relay_mirror.h),
 * which comes with the first who asks and goes some seconds after the last. Thread-safe.
 */
#ifndef NX_STREAMS_RELAY_H
#define NX_STREAMS_RELAY_H

#include "store/store.h"
#include "streams/hub.h"
#include "streams/media_ring.h"

typedef struct nx_relay nx_relay;

typedef struct nx_relay_options {
    nx_store *store; /* borrowed */
    /* Whoever looks on is to look again. Must not wait. */
    void (*told)(void *user);
    void *user;
    int64_t linger_ns; /* 0: 5 seconds */
} nx_relay_options;

/* NULL: no memory. */
nx_relay *nx_relay_new(const nx_relay_options *options);
/* Ends the mirrors; nobody may be asking. NULL is fine. */
void nx_relay_free(nx_relay *relay);

/* Each waits until there is what it asks for, at most until a time, and gives a reference. The id
 * is one that a row of the database has. Errors: NX_ERR_UNAVAILABLE (the stream's runner can't be
 * looked at, and why; or there is nothing yet), NX_ERR_BUSY (too many streams are looked at here),
 * NX_ERR_NO_MEMORY. */

nx_status nx_relay_hub(nx_relay *relay, const char *id, int64_t until_ns, nx_stream_hub **out,
                       nx_error *err);
nx_status nx_relay_jpeg(nx_relay *relay, const char *id, int64_t until_ns, nx_stream_jpeg **out,
                        nx_error *err);
/* NX_ERR_UNSUPPORTED as well: the message is the codec of a camera whose video can't be shown. */
nx_status nx_relay_media(nx_relay *relay, const char *id, int64_t until_ns, nx_media_ring **out,
                         nx_error *err);

#endif
