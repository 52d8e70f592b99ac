/*
 * Inside src/cache: where a Redis is and who asks it, from a URL.
 *
 *     redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]
 *     unix://[USER[:PASSWORD]@]/PATH/OF/SOCKET[?db=DATABASE]
 *
 * User and password may be percent-encoded (RFC 3986 section 2.1), and have to be where they hold
 * one of
 * ":/?#[]@%". redis://:PASSWORD@HOST is the password of the default user.
 */
#ifndef NX_CACHE_REDIS_URL_H
#define NX_CACHE_REDIS_URL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Plain data. user and password may be empty. */
typedef struct nx_redis_url {
    bool is_unix;
    char host[256]; /* or the path of the socket */
    uint16_t port;
    uint32_t database;
    char user[256];
    char password[512];
} nx_redis_url;

/* Errors, whose messages never hold any of the text: NX_ERR_INVALID; NX_ERR_UNSUPPORTED: rediss://,
 * for the library here has no TLS. */
nx_status nx_redis_url_parse(const char *text, nx_redis_url *out, nx_error *err);

/* The URL without its password, for logs and for `nexus check`; of what is not a URL "***". */
void nx_redis_url_shown(const char *text, char *out, size_t size);

#endif
