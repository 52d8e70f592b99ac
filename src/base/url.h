/* URLs that may hold a password. */
#ifndef NX_BASE_URL_H
#define NX_BASE_URL_H

#include <stddef.h>

/* Writes the URL without its password: "postgres://me:***@host/db". What libpq takes as
 * "?password=" goes too, with all that follows. */
void nx_url_shown(const char *url, char *out, size_t size);

#endif
