/* Choosing among representations by request headers (RFC 9110 sections 12 to 14).
 * Pure functions; thread-safe. */
#ifndef NX_HTTP_NEGOTIATE_H
#define NX_HTTP_NEGOTIATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The offered media type that Accept likes best: by q, then by how exactly a range names it, then
 * by the order of offers. NULL or an empty header takes the first. -1: none is acceptable.
 */
int nx_negotiate_type(const char *accept, const char *const *offers, size_t count);

/* Does Accept-Encoding take this coding ("gzip")? NULL: no. */
bool nx_negotiate_coding(const char *accept_encoding, const char *coding);

/* Does If-None-Match hold this entity tag (with its quotes)? Weak comparison; "*" holds all. */
bool nx_negotiate_none_match(const char *if_none_match, const char *etag);

typedef enum nx_range_kind {
    NX_RANGE_ALL,  /* no range, several, or none that is understood: the whole is sent */
    NX_RANGE_PART, /* first to last, both included */
    NX_RANGE_NONE, /* not one byte of it is there: 416 */
} nx_range_kind;

/* What Range asks for of a representation of this size, when If-Range (may be NULL) is this entity
 * tag (may be NULL; strong comparison). first and last are set with NX_RANGE_PART. */
nx_range_kind nx_negotiate_range(const char *range, const char *if_range, const char *etag,
                                 uint64_t size, uint64_t *first, uint64_t *last);

#endif
