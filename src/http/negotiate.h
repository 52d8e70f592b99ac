/* Choosing among representations by request headers (RFC 9110 sections 12 and 13).
 * Pure functions; thread-safe. */
#ifndef NX_HTTP_NEGOTIATE_H
#define NX_HTTP_NEGOTIATE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The offered media type that Accept likes best: by q, then by how exactly a range names it, then
 * by the order of offers. NULL or an empty header takes the first. -1: none is acceptable.
 */
int nx_negotiate_type(const char *accept, const char *const *offers, size_t count);

/* Does Accept-Encoding take this coding ("gzip")? NULL: no. */
bool nx_negotiate_coding(const char *accept_encoding, const char *coding);

/* Does If-None-Match hold this entity tag (with its quotes)? Weak comparison; "*" holds all. */
bool nx_negotiate_none_match(const char *if_none_match, const char *etag);

#endif
