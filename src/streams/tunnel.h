/*
 * TLS for a camera's connections: whoever connects to a port of 127.0.0.1 talks to the camera,
 * whose certificate has been checked against the name that its URL has, though what is connected to
 * is the address that was looked at. So the decoder's child, which may open no file, needs no
 * authorities and no name: it talks plainly to this process (libavformat of Debian 12 checks no
 * certificate of rtsps:// at all, and reads its authorities from files).
 *
 * Other users of this machine can connect as well while it is open. They reach nothing then but
 * that port of the camera, and nobody's password.
 */
#ifndef NX_STREAMS_TUNNEL_H
#define NX_STREAMS_TUNNEL_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdint.h>

typedef struct nx_tunnel nx_tunnel;

/* Borrowed while it is opened, but for stop. */
typedef struct nx_tunnel_options {
    const char *name;    /* that the certificate must be for; an address: in brackets if IPv6 */
    const char *address; /* likewise */
    uint16_t port;
    const char *ca_file;     /* authorities, PEM; "": the system's */
    const atomic_bool *stop; /* once true, whatever waits ends with NX_ERR_CANCELLED; or NULL */
} nx_tunnel_options;

/* Makes the first connection, which the first to connect gets. Errors: NX_ERR_IO (it can't be
 * reached, or its certificate is not good: why), NX_ERR_TIMEOUT, NX_ERR_CANCELLED,
 * NX_ERR_UNAVAILABLE (no thread, no port), NX_ERR_NO_MEMORY. */
nx_status nx_tunnel_open(const nx_tunnel_options *options, nx_tunnel **out, nx_error *err);

/* Of 127.0.0.1. */
uint16_t nx_tunnel_port(const nx_tunnel *tunnel);

/* Ends all connections. NULL is fine. */
void nx_tunnel_free(nx_tunnel *tunnel);

#endif
