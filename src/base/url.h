/* URLs that may hold a password. */
#ifndef NX_BASE_URL_H
#define NX_BASE_URL_H

#include <stddef.h>

/* Writes the URL without its password: "postgres://me:***@host/db". What libpq takes as
 * "?password=" goes too, with all that follows. */
void nx_url_shown(const char *url, char *out, size_t size);

/* The value of a digit of a percent escape (RFC 3986, section 2.1), of either case; -1: it is none.
 */
int nx_url_hex_digit(char c);

#endif
