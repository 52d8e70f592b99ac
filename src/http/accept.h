/*
 * The thread that accepts connections and hands them over. libmicrohttpd could accept by itself,
 * but 0.9.75 can't stop doing so without a race (README.md), and closes what comes at its limit.
 */
#ifndef NX_HTTP_ACCEPT_H
#define NX_HTTP_ACCEPT_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

typedef struct nx_acceptor nx_acceptor;

typedef struct nx_acceptor_options {
    int fd; /* listening, non-blocking; the acceptor closes it, also when it can't be started */
    /* Other processes accept from the same socket. Then they take turns, one connection each. */
    bool shared;
    /* Connections at once. Those beyond wait in the kernel, up to the socket's backlog. */
    uint32_t most;
    /* Takes a connection, whose descriptor (non-blocking, closed on exec) is its own from then on.
     * False: it did not take it, and has closed it. The acceptor's thread; must not block. */
    bool (*take)(int fd, const struct sockaddr *address, socklen_t size, void *user);
    void *user;
} nx_acceptor_options;

/* Starts the thread; *out is set before it runs. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE. */
nx_status nx_acceptor_new(const nx_acceptor_options *options, nx_acceptor **out, nx_error *err);

/* A connection that was taken is about to be closed. Any thread. */
void nx_acceptor_closed(nx_acceptor *acceptor);

/* Takes no more connections: ends the thread and closes the socket. Who waits in the kernel is
 * refused, unless another process shares the socket. Once is enough, twice is fine. */
void nx_acceptor_stop(nx_acceptor *acceptor);

/* Stops it as nx_acceptor_stop does, but takes all those first whom the kernel has answered
 * already: nobody who has connected is refused. Who comes meanwhile is not answered, tries again by
 * itself within a second or so, and is told then that nobody listens. Takes a tenth of a second. A
 * socket that is shared just stops. */
void nx_acceptor_finish(nx_acceptor *acceptor);

/* After the last nx_acceptor_closed. Stops it before. NULL is fine. */
void nx_acceptor_free(nx_acceptor *acceptor);

#endif
