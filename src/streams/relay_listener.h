/*
 * Where other processes look at the streams that are run here: a socket for those of this host and,
 * where an address is given, one for those of others. One thread serves all of them, and never
 * holds up a stream. Thread-safe.
 */
#ifndef NX_STREAMS_RELAY_LISTENER_H
#define NX_STREAMS_RELAY_LISTENER_H

#include "streams/relay_peer.h"

/* Of an abstract socket's name, and of HOST:PORT; with their NULs. */
#define NX_RELAY_PATH_SIZE    64
#define NX_RELAY_ADDRESS_SIZE 272
/* Ports that are tried from the one that is given on, for several processes of a host. */
#define NX_RELAY_PORTS 64

/* Where a process listens, as its rows in the database tell others. */
typedef struct nx_relay_place {
    char path[NX_RELAY_PATH_SIZE];       /* name of an abstract Unix socket of its host */
    char address[NX_RELAY_ADDRESS_SIZE]; /* HOST:PORT; "": other hosts can't */
    char token[NX_RELAY_TOKEN_TEXT];
} nx_relay_place;

/* "HOST:PORT", "[::1]:PORT". False: it is none. */
bool nx_relay_address_split(const char *text, char *host, size_t host_size, char port[6]);

typedef struct nx_relay_listener nx_relay_listener;

/* address: HOST:PORT by which other hosts reach this one; ":PORT": by its name. Listens at HOST, or
 * at all addresses where that is a name or no address of this machine, at the first free port from
 * PORT on (0: any). "": there are no other hosts. source is copied. Errors: NX_ERR_INVALID (the
 * address), NX_ERR_UNAVAILABLE (no port is free, no socket, no thread), NX_ERR_NO_MEMORY. */
nx_status nx_relay_listener_start(const char *address, const nx_relay_source *source,
                                  nx_relay_listener **out, nx_error *err);
/* Ends all connections. NULL is fine. */
void nx_relay_listener_free(nx_relay_listener *listener);

const nx_relay_place *nx_relay_listener_place(const nx_relay_listener *listener);
/* There is something new. Does not wait, and costs nothing while nobody looks. NULL is fine. */
void nx_relay_listener_wake(nx_relay_listener *listener);

#endif
