/*
 * Addresses of the Internet, IPv4 and IPv6 alike, and sets of them such as "10.0.0.0/8, fd00::1".
 *
 * Pure functions on memory; thread-safe.
 */
#ifndef NX_BASE_ADDRESS_H
#define NX_BASE_ADDRESS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Plain data, comparable byte by byte. IPv4 is mapped into IPv6 (RFC 4291 section 2.5.5.2). */
typedef struct nx_address {
    uint8_t bytes[16];
} nx_address;

#define NX_ADDRESS_TEXT 46 /* what any of them takes as text, with its NUL */

struct sockaddr;

/* Of a socket's other end; all zeros for what is neither IPv4 nor IPv6, or for NULL. */
nx_address nx_address_of(const struct sockaddr *address);

/* "192.0.2.1" or "2001:db8::1", of exactly size bytes. False: it is neither. */
bool nx_address_parse(const char *text, size_t size, nx_address *out);

/* As it is written usually (RFC 5952): IPv4 with dots. */
void nx_address_text(const nx_address *address, char out[NX_ADDRESS_TEXT]);

bool nx_address_equal(const nx_address *a, const nx_address *b);

/* 127.0.0.0/8 or ::1. */
bool nx_address_is_loopback(const nx_address *address);

/* What clients are counted by: IPv4 whole, IPv6 by its /64. A host commonly owns all of that, and
 * could use a new address for each request. */
nx_address nx_address_network(const nx_address *address);

#define NX_ADDRESS_SET_MAX 32

typedef struct nx_address_block {
    nx_address prefix;
    uint8_t bits; /* of the 128 */
} nx_address_block;

/* Plain data. */
typedef struct nx_address_set {
    nx_address_block blocks[NX_ADDRESS_SET_MAX];
    size_t count;
} nx_address_set;

/* Addresses and blocks (RFC 4632, "10.0.0.0/8") with commas or blanks between; "" is the empty set.
 * Errors: NX_ERR_INVALID with what is wrong: no address, bits behind the prefix, more than
 * NX_ADDRESS_SET_MAX, or a block of length 0. */
nx_status nx_address_set_parse(const char *text, nx_address_set *out, nx_error *err);

bool nx_address_set_has(const nx_address_set *set, const nx_address *address);

#endif
