/*
 * The watch: one thread that knows what every connection is doing and since when. It does what
 * libmicrohttpd does not:
 *
 * - While a request waits for its answer the connection is suspended and libmicrohttpd does not
 *   look at its socket; the watch does, and calls the request's cancel callback when the client
 *   has gone (a half-closed connection counts as gone, as in nginx).
 * - When a client sends and closes before libmicrohttpd 0.9.75 has read, that library takes the
 *   short read for all there is, never reads the end, and keeps the connection. The watch gives
 *   such a connection a moment to be served and then shuts it down.
 * - libmicrohttpd's timeout starts again with every byte. The watch bounds whole phases: a header
 *   within idle_ns, a body within receive_ns, an answer taken within send_ns.
 * - When connections run short, the one that has idled longest is closed for the newcomer.
 * - After a refusal it goes on reading for a moment, so that the answer is not lost to a TCP reset.
 *
 * It never closes libmicrohttpd's descriptors: it shuts the socket down and libmicrohttpd, which
 * notices, closes it. One lock guards all; functions here are called by connection threads, each
 * for its own connections, unless said otherwise.
 */
#ifndef NX_HTTP_WATCH_H
#define NX_HTTP_WATCH_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct nx_watch nx_watch;
typedef struct nx_watch_conn nx_watch_conn;

typedef struct nx_watch_options {
    int64_t idle_ns;
    int64_t receive_ns;
    int64_t send_ns;
    uint32_t high_water; /* more connections than this cost the longest idle one its life */
    /* Called with the lock held when a body is too late, to send a last answer; the connection is
     * closed afterwards. request is what nx_watch_receiving was given. Must not block. */
    void (*on_late)(int fd, void *request);
} nx_watch_options;

/* Starts the thread. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE. */
nx_status nx_watch_new(const nx_watch_options *options, nx_watch **out, nx_error *err);

/* Ends the thread. Every connection must have been closed before. NULL is fine. */
void nx_watch_free(nx_watch *watch);

/* Other limits for bodies and answers, also for those under way. Any thread. */
void nx_watch_set_limits(nx_watch *watch, int64_t receive_ns, int64_t send_ns);

/* A connection was accepted; it idles. NULL when memory is short. */
nx_watch_conn *nx_watch_open(nx_watch *watch, int fd);
/* libmicrohttpd is about to close the descriptor; conn is freed. */
void nx_watch_close(nx_watch_conn *conn);

/* A body is coming in. request is handed to on_late. */
void nx_watch_receiving(nx_watch_conn *conn, void *request);
/* The whole request is here. False: it came too late and was answered by on_late. */
bool nx_watch_received(nx_watch_conn *conn);
/* The answer is on its way, or a piece of it is and another follows. */
void nx_watch_sending(nx_watch_conn *conn);
/* The answer is out; the next request may come. */
void nx_watch_idle(nx_watch_conn *conn);

/*
 * Watches the socket of a request that waits for its answer. When the client is found to be gone,
 * or after nx_watch_cancel_all, cancel(user) is called once on the watch's thread, without the
 * lock.
 */
void nx_watch_arm(nx_watch_conn *conn, void (*cancel)(void *user), void *user);
/* The same for an answer that goes on for as long as there is something to tell; after
 * nx_watch_cancel_streams too. */
void nx_watch_arm_stream(nx_watch_conn *conn, void (*cancel)(void *user), void *user);
/* Ends either, and waits for a cancel callback that is being called. */
void nx_watch_disarm(nx_watch_conn *conn);

/* When this connection is closed, first read for a moment what the client still sends. */
void nx_watch_linger(nx_watch_conn *conn);

/* From now on every armed stream is cancelled. Any thread. */
void nx_watch_cancel_streams(nx_watch *watch);
/* From now on every armed request is cancelled. Any thread. */
void nx_watch_cancel_all(nx_watch *watch);

/* Open connections. Any thread. */
uint32_t nx_watch_count(nx_watch *watch);

#endif
