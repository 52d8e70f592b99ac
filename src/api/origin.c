#include "api/origin.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define MAX_NAME 64 /* longer than every name that is looked for */

bool nx_origin_address_is_loopback(const char *address)
{
    static const struct in6_addr loopback = IN6ADDR_LOOPBACK_INIT;
    struct in_addr ipv4;
    struct in6_addr ipv6;
    if (inet_pton(AF_INET, address, &ipv4) == 1) {
        return ntohl(ipv4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, address, &ipv6) == 1) {
        return memcmp(&ipv6, &loopback, sizeof ipv6) == 0;
    }
    return strcasecmp(address, "localhost") == 0;
}

/* The host of "host:port", without the brackets of an IPv6 address. False: it is longer than any
 * that is looked for, or not of that form. */
static bool take_host(const char *text, char out[MAX_NAME])
{
    bool bracketed = *text == '[';
    text += bracketed ? 1 : 0;
    size_t size = strcspn(text, bracketed ? "]" : ":");
    const char *rest = text + size;
    if (bracketed && *rest++ != ']') {
        return false;
    }
    bool port = *rest == ':' && strspn(rest + 1, "0123456789") == strlen(rest + 1);
    if (size == 0 || size >= MAX_NAME || (*rest != '\0' && !port)) {
        return false;
    }
    memcpy(out, text, size);
    out[size] = '\0';
    /* an IPv6 address without brackets is cut at its first colon, and any other in them is none */
    return bracketed == (strchr(out, ':') != NULL);
}

bool nx_origin_host_is_loopback(const char *host)
{
    char name[MAX_NAME];
    return take_host(host, name) && nx_origin_address_is_loopback(name);
}

/* What stands behind "http://" or "https://"; NULL: something else does. */
static const char *authority(const char *origin)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t size = strlen(schemes[i]);
        if (strncasecmp(origin, schemes[i], size) == 0) {
            return origin + size;
        }
    }
    return NULL;
}

bool nx_origin_is_loopback(const char *origin)
{
    const char *host = authority(origin);
    return host != NULL && nx_origin_host_is_loopback(host);
}

nx_origin_verdict nx_origin_judge(const char *site, const char *origin, const char *host)
{
    if (site != NULL) {
        bool same = strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
        return same ? NX_ORIGIN_SAME : NX_ORIGIN_OTHER;
    }
    if (origin == NULL) {
        return NX_ORIGIN_UNKNOWN;
    }
    const char *name = authority(origin);
    bool same = name != NULL && host != NULL && strcasecmp(name, host) == 0;
    return same ? NX_ORIGIN_SAME : NX_ORIGIN_OTHER;
}
