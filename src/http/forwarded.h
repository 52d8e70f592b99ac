/*
 * Who a request comes from when it came through proxies. Each proxy appends to X-Forwarded-For the
 * address that it was connected to from, so that the list is as true as those who wrote it: it is
 * read from its end, for as long as a proxy that is trusted wrote it. What a client itself has put
 * in front is never reached. X-Forwarded-For is described in RFC 7239 section 7.4; the header
 * Forwarded of that RFC, which few proxies send, is not read.
 *
 * Pure functions on memory; thread-safe.
 */
#ifndef NX_HTTP_FORWARDED_H
#define NX_HTTP_FORWARDED_H

#include "base/address.h"
#include "http/framing.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * The nearest address that is not trusted: peer, or one of X-Forwarded-For, whose lines are given
 * in their order (values alone are looked at). An entry may have a port ("192.0.2.1:99",
 * "[2001:db8::1]:99"). One that is no address ends the search: what is left of it was written by
 * somebody unknown, and the answer is the proxy that passed it on. When all are trusted it is the
 * first of them.
 */
nx_address nx_forwarded_client(const nx_address_set *trusted, const nx_address *peer,
                               const nx_http_field *lines, size_t count);

/* Does the last entry of X-Forwarded-Proto, the one that the peer wrote, say https? */
bool nx_forwarded_https(const nx_http_field *lines, size_t count);

#endif
