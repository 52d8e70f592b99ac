/*
 * Errors on the wire: RFC 9457 application/problem+json with the members type, title, status,
 * detail, advice, instance and request_id. `type` is about:blank, so that `title` is the status in
 * words, as the RFC asks; `advice` (an extension member) says what to do.
 */
#ifndef NX_HTTP_PROBLEM_H
#define NX_HTTP_PROBLEM_H

#include "base/buffer.h"
#include "base/json_writer.h"

/* Plain data. */
typedef struct nx_problem {
    int status;        /* 400..599 */
    char detail[512];  /* what was wrong with this request */
    char advice[256];  /* what to do about it; "" for none */
    int retry_after_s; /* sent as Retry-After when above 0 */
    char allow[48];    /* sent as Allow with a 405; "" otherwise */
} nx_problem;

/* A problem with a formatted detail; advice is copied and may be NULL. */
nx_problem nx_problem_make(int status, const char *advice, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "Not Found" and so on; "Error" for a status that Nexus does not use. */
const char *nx_http_status_title(int status);

/* The members, into an object that the caller has opened. instance is a decoded path; it and
 * request_id may be NULL and are then left out. */
void nx_problem_json_members(const nx_problem *problem, const char *instance,
                             const char *request_id, nx_json *json);

#endif
