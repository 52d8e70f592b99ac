/* What requests do, noted in the audit log. Without a database nothing is noted. */
#ifndef NX_API_AUDIT_H
#define NX_API_AUDIT_H

#include "api/internal.h"
#include "auth/audit.h"

/* One action on one thing. */
typedef struct nx_api_event {
    const char *action;  /* a literal: "model.add" */
    const char *kind;    /* of the thing: "model"; NULL: no thing */
    const char *name;    /* its name or id */
    nx_status outcome;   /* NX_OK, or why it failed */
    const char *details; /* a JSON object, of what went well; may be NULL */
    const char *actor;   /* a user's name where the request's identity is not who it is about (a
                            sign-in);  NULL: the identity's */
} nx_api_event;

/* Returns when the row is on the disk, or waits for a database that failed: before the answer, on a
 * thread that may wait. */
void nx_api_audit(nx_api *api, const nx_http_request *request, const nx_api_event *event);

/* The same without waiting, where a thread must not. */
void nx_api_audit_soon(nx_api *api, const nx_http_request *request, const nx_api_event *event);

/* What a stranger can cause at will, without waiting: a few rows a minute, and counts. */
void nx_api_audit_stranger(nx_api *api, const nx_http_request *request, const nx_api_event *event);

/* A request that may not do what it wants: 401 or 403 by the gate. As above. */
void nx_api_audit_refused(nx_api *api, const nx_http_request *request, int status);

/* audit_log.c: GET /api/v1/audit. */
void nx_api_audit_list(nx_http_request *request, void *user);

/* audit_rows_total{outcome} and audit_rows_waiting. */
void nx_api_audit_metrics_register(nx_api *api);
void nx_api_audit_metrics_read(nx_api *api);

#endif
