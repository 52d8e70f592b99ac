/* /api/v1/auth, /api/v1/users and /api/v1/keys: what their files share. */
#ifndef NX_API_ACCOUNTS_H
#define NX_API_ACCOUNTS_H

#include "api/gate.h"
#include "api/storage.h"
#include "auth/auth.h"

#include <jansson.h>

#define NX_API_ACCOUNTS_MAX_BODY 8192

/* The request's JSON object, whose members must be among names (with NULL at its end); json_decref
 * is the caller's. NULL: the request is answered. */
json_t *nx_api_read_object(nx_http_request *request, const char *const *names);

/* A member that is a string. False: it is missing or none, and the request is answered. */
bool nx_api_read_string(nx_http_request *request, const json_t *object, const char *name,
                        const char **out);

/* An error of nx_auth as it is answered; advice may be NULL. */
void nx_api_accounts_refuse(nx_api *api, nx_http_request *request, nx_status status,
                            const nx_error *err, const char *advice);

/* Notes an action on a user or key in the audit log; name: its name or id. */
void nx_api_audit_account(nx_api *api, const nx_http_request *request, const char *action,
                          const char *name, nx_status outcome);

/* handlers; user is the nx_api */
void nx_api_auth_login(nx_http_request *request, void *user);
void nx_api_auth_logout(nx_http_request *request, void *user);
void nx_api_auth_me(nx_http_request *request, void *user);
void nx_api_auth_password(nx_http_request *request, void *user);
void nx_api_auth_setup_state(nx_http_request *request, void *user);
void nx_api_auth_setup(nx_http_request *request, void *user);
void nx_api_users_list(nx_http_request *request, void *user);
void nx_api_users_add(nx_http_request *request, void *user);
void nx_api_users_get(nx_http_request *request, void *user);
void nx_api_users_change(nx_http_request *request, void *user);
void nx_api_users_remove(nx_http_request *request, void *user);
void nx_api_keys_list(nx_http_request *request, void *user);
void nx_api_keys_add(nx_http_request *request, void *user);
void nx_api_keys_remove(nx_http_request *request, void *user);

#endif
