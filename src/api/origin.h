/*
 * Where a request says that it comes from and goes to: the headers Host, Origin and Sec-Fetch-Site.
 * Pure functions on text; thread-safe.
 */
#ifndef NX_API_ORIGIN_H
#define NX_API_ORIGIN_H

#include <stdbool.h>

/* Is this address to listen on reached from this machine alone: 127.0.0.0/8, ::1, "localhost"? */
bool nx_origin_address_is_loopback(const char *address);

/* The same of a Host header, "localhost:8000" or "[::1]": a page of another site whose name was
 * made to mean 127.0.0.1 (DNS rebinding) still sends its own name. */
bool nx_origin_host_is_loopback(const char *host);

/* The same of an Origin header, "http://localhost:3000". "null" is none. */
bool nx_origin_is_loopback(const char *origin);

typedef enum nx_origin_verdict {
    NX_ORIGIN_UNKNOWN, /* nothing is said: no browser, or an old one */
    NX_ORIGIN_SAME,    /* our own page, or typed by a person */
    NX_ORIGIN_OTHER,   /* another site's page */
} nx_origin_verdict;

/*
 * Who made a browser send this? By Sec-Fetch-Site (W3C Fetch Metadata), which no page can set, or
 * by Origin (RFC 6454) against Host where that is missing: browsers leave it out on plain http.
 * Each may be NULL. As OWASP's Cross-Site Request Forgery Prevention Cheat Sheet has it.
 */
nx_origin_verdict nx_origin_judge(const char *site, const char *origin, const char *host);

#endif
