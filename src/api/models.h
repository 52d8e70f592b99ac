/* The resource /api/v1/models: what its two files share. */
#ifndef NX_API_MODELS_H
#define NX_API_MODELS_H

#include "api/internal.h"

/* Writes a model with all of its versions as the answer; 404 when there is none. */
void nx_api_reply_model(nx_api *api, nx_http_request *request, int status, const char *name);

/* An error of the registry as the resource answers it. */
nx_problem nx_api_models_problem(nx_api *api, const nx_http_request *request, nx_status status,
                                 const nx_error *err);

/* handlers; user is the nx_api */
void nx_api_models_list(nx_http_request *request, void *user);
void nx_api_models_get(nx_http_request *request, void *user);
void nx_api_models_add(nx_http_request *request, void *user);
void nx_api_models_load(nx_http_request *request, void *user);
void nx_api_models_unload(nx_http_request *request, void *user);
void nx_api_models_rollback(nx_http_request *request, void *user);
void nx_api_models_remove(nx_http_request *request, void *user);

/* Refuses an upload whose name cannot be one before its body comes. */
void nx_api_models_admit(nx_http_request *request, void *user);

#endif
