/*
 * Message framing: where a request ends (RFC 9112 section 6) and for which host it is (section
 * 3.2). Two parties that disagree about it can be made to see different requests ("request
 * smuggling"), so whatever leaves room for doubt is refused, and the connection with it.
 *
 * Pure functions on memory; thread-safe.
 */
#ifndef NX_HTTP_FRAMING_H
#define NX_HTTP_FRAMING_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A header line, borrowed. */
typedef struct nx_http_field {
    const char *name;
    size_t name_size;
    const char *value; /* without the whitespace before it */
    size_t value_size;
} nx_http_field;

typedef struct nx_framing {
    bool has_body; /* chunked, or length above 0 */
    bool chunked;
    uint64_t length; /* declared; 0 when chunked */
} nx_framing;

/*
 * http_1_0: the request line says HTTP/1.0. Refused with NX_ERR_INVALID and a sentence: a name that
 * is not a token, control characters in a value, Content-Length that is repeated, not all digits or
 * above 2^63-1, or beside Transfer-Encoding, Transfer-Encoding that is repeated, other than
 * `chunked` or in HTTP/1.0, Host that is repeated or malformed, or missing in HTTP/1.1.
 */
nx_status nx_framing_check(const nx_http_field *fields, size_t count, bool http_1_0,
                           nx_framing *out, nx_error *err);

#endif
