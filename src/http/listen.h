/* A listening TCP socket, with errors that say what to do. */
#ifndef NX_HTTP_LISTEN_H
#define NX_HTTP_LISTEN_H

#include "base/error.h"

#include <stdint.h>

/*
 * Binds and listens; out_fd is non-blocking and closed on exec. host: a numeric address or a name;
 * "" binds every address (IPv6 with IPv4, or IPv4 alone where there is no IPv6). port 0 takes a
 * free one; out_port is the real one. Errors: NX_ERR_UNAVAILABLE.
 */
nx_status nx_http_listen(const char *host, uint16_t port, int backlog, int *out_fd,
                         uint16_t *out_port, nx_error *err);

/* The port of a socket that listens; 0: it is none. */
uint16_t nx_http_listening_port(int fd);

#endif
