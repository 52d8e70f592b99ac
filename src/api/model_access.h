/*
 * Who may use a model (store/model_access.h), asked in one place for every route that uses or shows
 * one. In open use, and on a server without a database, everybody may use all of them; so may
 * admins. What somebody may not use looks to them as if it was not there.
 */
#ifndef NX_API_MODEL_ACCESS_H
#define NX_API_MODEL_ACCESS_H

#include "api/internal.h"
#include "auth/identity.h"
#include "jobs/shared_models.h"

/* Who asks, as a model's rules see it; the strings are the request's. */
nx_model_subject nx_api_subject(const nx_http_request *request);

/* By the table in memory: a lock that nobody holds while waiting, and two searches. name NULL or
 * "": the default model. */
bool nx_api_model_visible(nx_api *api, const nx_http_request *request, const char *name);

/* May the request run this model? False fills problem: 401 for nobody, 403 for somebody whose role
 * or key runs no models at all, 404 as for a model that is not there. */
bool nx_api_model_usable(nx_api *api, nx_http_request *request, const char *name,
                         nx_problem *problem);

/* For whoever may not use every model: the same words for one that is not there and for one that is
 * not theirs, without the names of others. Leaves err as it is for those who may. */
void nx_api_model_hide(const nx_http_request *request, nx_status status, nx_error *err);

/* handlers of /api/v1/models/{name}/access and .../grants; user is the nx_api */
void nx_api_model_access_get(nx_http_request *request, void *user);
void nx_api_model_access_set(nx_http_request *request, void *user);
void nx_api_model_grant_add(nx_http_request *request, void *user);
void nx_api_model_grant_remove(nx_http_request *request, void *user);

#endif
