/*
 * What a route asks of whoever calls it, as nx_http_route.access holds it: a role, scopes and
 * exceptions. A route without any of it, which somebody has forgotten, is for admins.
 */
#ifndef NX_API_ACCESS_H
#define NX_API_ACCESS_H

#include "auth/identity.h"

#include <stdint.h>

/* Bits 0..7 are scopes, 8..15 the role; the rest are exceptions. */
#define NX_ACCESS(role, scopes)  ((uint32_t)(role) << 8 | (uint32_t)(scopes))
#define NX_ACCESS_ROLE(access)   ((nx_role)((access) >> 8 & 0xff))
#define NX_ACCESS_SCOPES(access) ((access)&0xff)

/* Anybody, and nobody is looked up: it works while the database does not. */
#define NX_ACCESS_OPEN (UINT32_C(1) << 16)
/* Anybody, and it is known who it is. */
#define NX_ACCESS_ANYBODY (UINT32_C(1) << 17)
/* Besides those named anybody on this machine (nx_http_is_local). */
#define NX_ACCESS_LOCAL (UINT32_C(1) << 18)
/* Besides those named anybody while there is a model for everybody (api/model_access.h): the
 * handler asks whether it is this one. */
#define NX_ACCESS_PUBLIC (UINT32_C(1) << 20)
/* People who signed in; of API keys only those with the scope admin. */
#define NX_ACCESS_PERSON (UINT32_C(1) << 19)

#define NX_ACCESS_READ    NX_ACCESS(NX_ROLE_VIEWER, NX_SCOPE_READ)
#define NX_ACCESS_INFER   (NX_ACCESS(NX_ROLE_OPERATOR, NX_SCOPE_INFER) | NX_ACCESS_PUBLIC)
#define NX_ACCESS_VIDEOS  NX_ACCESS(NX_ROLE_OPERATOR, NX_SCOPE_VIDEOS)
#define NX_ACCESS_MODELS  NX_ACCESS(NX_ROLE_OPERATOR, NX_SCOPE_MODELS)
#define NX_ACCESS_METRICS (NX_ACCESS(NX_ROLE_VIEWER, NX_SCOPE_METRICS) | NX_ACCESS_LOCAL)
#define NX_ACCESS_ADMIN   NX_ACCESS(NX_ROLE_ADMIN, NX_SCOPE_ADMIN)
#define NX_ACCESS_OWN     (NX_ACCESS(NX_ROLE_VIEWER, 0) | NX_ACCESS_PERSON)

/* nx_http_route.rate_class: what requests cost, for limits on how often they come. */
#define NX_RATE_AUTH  "auth"  /* may check a password */
#define NX_RATE_INFER "infer" /* may run a model */
#define NX_RATE_WRITE "write" /* changes something */
#define NX_RATE_READ  "read"  /* looks at what there is */
#define NX_RATE_OPEN  "open"  /* costs nothing: health, the page */

#endif
