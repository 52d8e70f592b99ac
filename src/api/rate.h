/* How often users, keys and addresses may ask: RateLimit-* and 429. */
#ifndef NX_API_RATE_H
#define NX_API_RATE_H

#include "api/internal.h"
#include "auth/rate_limit.h"

/* What the configuration says. */
nx_status nx_api_rate_start(nx_api *api, nx_error *err);
/* The same of one that was read again, for requests from now on. */
void nx_api_rate_set(nx_api *api, const nx_config *config);

/*
 * Takes a token of whoever asks, for the class of the request's route; for the gate, once it is
 * known who that is. Adds RateLimit-Limit, -Remaining and -Reset to the coming answer (the names of
 * draft-ietf-httpapi-ratelimit-headers-03). False: there was none, and the request was answered 429
 * with Retry-After. Whoever has a server without users to himself is not limited.
 */
bool nx_api_rate_allow(nx_api *api, nx_http_request *request, const nx_identity *who);

/* rate_limited_total{class} and rate_limit_crowded_total. */
void nx_api_rate_metrics_register(nx_api *api);
void nx_api_rate_metrics_read(nx_api *api);

#endif
