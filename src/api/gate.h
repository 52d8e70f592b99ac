/*
 * The gate in front of every route: who asks, and may they do that? README.md of src/auth tells
 * what sessions and keys are; docs/accounts.md tells users.
 *
 * Somebody shows an API key (Authorization: Bearer nxk_..., or X-API-Key) or a session (cookie
 * nexus_session); a key goes first. While there are no users the server is in open use: everybody
 * on this machine may do everything, and everybody else nothing.
 */
#ifndef NX_API_GATE_H
#define NX_API_GATE_H

#include "api/internal.h"
#include "auth/identity.h"

#define NX_API_COOKIE "nexus_session"

/* nx_http_server_options.gate; user is the nx_api, which has an nx_auth. */
nx_http_gate_result nx_api_gate(nx_http_request *request, void *user);

/* Who asks, as the gate has found it; never NULL. Anonymous where nobody was looked up. */
const nx_identity *nx_api_identity(const nx_http_request *request);

/* "" in open use: the owner of what this request makes. */
const char *nx_api_owner(const nx_http_request *request);

/* Looks up who asks on a route where the gate did not, on a thread that may wait. Anonymous when
 * that can't be found out. */
nx_identity nx_api_look_up(nx_api *api, const nx_http_request *request);

/* The session's token that the request shows; false: none. */
#define NX_API_TOKEN_SIZE 64
bool nx_api_session_token(const nx_http_request *request, char out[NX_API_TOKEN_SIZE]);

#endif
