/* Identifiers that sort by the time of their making: UUID version 7 (RFC 9562 section 5.7). */
#ifndef NX_BASE_UUID_H
#define NX_BASE_UUID_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define NX_UUID_SIZE 37 /* lower-case hexadecimal digits, four dashes and the NUL */

/*
 * A new one: milliseconds since 1970, then a count that keeps those of one process in order (RFC
 * 9562 section 6.2, method 1), then 62 random bits. Thread-safe. Errors: NX_ERR_UNAVAILABLE when
 * the system has no random bytes.
 */
nx_status nx_uuid_make(char out[NX_UUID_SIZE], nx_error *err);

/* Whether text is a UUID as nx_uuid_make writes it. NULL is none. */
bool nx_uuid_is(const char *text);

#endif
