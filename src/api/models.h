/* The resource /api/v1/models: what its two files share. */
#ifndef NX_API_MODELS_H
#define NX_API_MODELS_H

#include "api/internal.h"
#include "jobs/shared_models.h"

/* A change of the registry that other servers are to follow. */
typedef struct nx_model_change {
    nx_registry_task task; /* first */
    nx_api *api;
    nx_http_request *request;
    bool wanted;                   /* a version was named, or a rollback */
    nx_shared_upload upload;       /* of ADD */
    char by[NX_USER_NAME_MAX + 1]; /* who changes it; "" without accounts */
} nx_model_change;

/* --- models_shared.c --- */

/* Has the task tell the database before the change is made; none to tell, no change. */
void nx_api_models_share(nx_model_change *change);

/* Of a removal that found nothing on this disk: takes out what only other servers have. status is
 * what the removal ended with, and comes back where there is nothing to be done. */
nx_status nx_api_models_remove_elsewhere(const nx_model_change *change, nx_status status,
                                         nx_error *err);

/* nx_registry_list and, where other servers are followed, what is not on this disk yet: unloaded,
 * or failed with why. */
nx_status nx_api_models_entries(nx_api *api, nx_registry_entry **out, size_t *count, nx_error *err);

/* --- models.c, models_change.c --- */

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
