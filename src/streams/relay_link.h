/*
 * A connection to the process that runs a stream (relay_listener.h), as the one that looks at it
 * has it. Not thread-safe; one thread has it, and waits for it or for its wake descriptor.
 */
#ifndef NX_STREAMS_RELAY_LINK_H
#define NX_STREAMS_RELAY_LINK_H

#include "streams/relay_wire.h"

#include <stdbool.h>

typedef struct nx_relay_link nx_relay_link;

/* Connects to where a process listens: by path on this host, or else by address (either may be ""
 * or NULL), and proves that it knows the token (as text). Gives up at a time, and when wake_fd can
 * be read. Errors: NX_ERR_UNAVAILABLE (nobody is there, or can't be reached), NX_ERR_TIMEOUT,
 * NX_ERR_CORRUPT (what is there is something else), NX_ERR_CANCELLED, NX_ERR_NO_MEMORY. */
nx_status nx_relay_link_open(const char *path, const char *address, const char *token, int wake_fd,
                             int64_t until_ns, nx_relay_link **out, nx_error *err);
void nx_relay_link_close(nx_relay_link *link); /* NULL is fine */

/* Errors: NX_ERR_UNAVAILABLE (it is lost). */
nx_status nx_relay_link_ask(nx_relay_link *link, const nx_relay_message *message, nx_error *err);

/* The next message, whose bytes are there until the next call. Waits until a time, and no longer
 * than until wake_fd can be read: then *there is false. Errors: NX_ERR_UNAVAILABLE (it is lost),
 * NX_ERR_CORRUPT. */
nx_status nx_relay_link_next(nx_relay_link *link, int64_t until_ns, nx_relay_message *out,
                             bool *there, nx_error *err);

#endif
