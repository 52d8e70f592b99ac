#include "base/url.h"

#include <stdio.h>
#include <string.h>

void nx_url_shown(const char *url, char *out, size_t size)
{
    const char *start = strstr(url, "://");
    const char *given = strstr(url, "password=");
    const char *end = given != NULL ? given : url + strlen(url);
    const char *at = NULL;
    for (const char *c = start; c != NULL && c < end; c++) {
        /* the last one: a password may hold "@", "/" and "?" that are not escaped as they should */
        at = *c == '@' ? c : at;
    }
    const char *colon = at != NULL ? memchr(start + 3, ':', (size_t)(at - start - 3)) : NULL;
    const char *tail = colon != NULL ? at : url;
    snprintf(out, size, "%.*s%s%.*s%s", colon != NULL ? (int)(colon - url) : 0, url,
             colon != NULL ? ":***" : "", (int)(end - tail), tail,
             given != NULL ? "password=***" : "");
}

int nx_url_hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}
