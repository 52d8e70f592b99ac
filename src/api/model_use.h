/*
 * The model of a request: the one that its option `model` names, or the default. A model that is in
 * memory is there at once; one that is installed is loaded while the request waits, asleep.
 */
#ifndef NX_API_MODEL_USE_H
#define NX_API_MODEL_USE_H

#include "api/internal.h"

#include <jansson.h>
#include <stdatomic.h>

typedef struct nx_model_use nx_model_use;

/* The model is there (use->handle), or problem says why not (else NULL); also when the client left
 * while it was loaded. On the thread that began the use, or on the registry's. */
typedef void (*nx_model_use_ready)(nx_model_use *use, const nx_problem *problem);

/* Embedded in the request's context. */
struct nx_model_use {
    nx_registry_task task; /* first */
    nx_api *api;
    nx_http_request *request;
    nx_registry_handle *handle; /* NULL before it is ready */
    nx_model_use_ready ready;
    bool named; /* the request said which */
    atomic_bool gone;
};

/*
 * Reads the option `model` ("NAME" or "NAME:VERSION"; the last one given of the query, the form's
 * fields and the members of document, which may be NULL) and calls ready exactly once, perhaps
 * before it returns. The caller releases the use with the request's context.
 */
void nx_model_use_begin(nx_model_use *use, nx_api *api, nx_http_request *request,
                        const json_t *document, nx_model_use_ready ready);

/* The same for a model that segments (SAM). wanted: "NAME" or "NAME:VERSION"; NULL or "": the
 * configured one, without which the answer is 503. */
void nx_model_use_begin_sam(nx_model_use *use, nx_api *api, nx_http_request *request,
                            const char *wanted, nx_model_use_ready ready);

/* Ends waiting: ready is then called before this returns true. While the model is being loaded, or
 * later, it returns false, and nx_model_use_check fails. Any thread; only after the use was begun,
 * or while all of it is 0. */
bool nx_model_use_cancel(nx_model_use *use);

/* NX_ERR_CANCELLED once the use was cancelled. Asked when the work can be cancelled and before it
 * is submitted, it leaves no moment in which a cancel is lost. */
nx_status nx_model_use_check(const nx_model_use *use, nx_error *err);

void nx_model_use_release(nx_model_use *use);

nx_model *nx_model_use_model(const nx_model_use *use);

/* What the options of a request with this model are judged by. */
nx_option_rules nx_model_use_rules(const nx_model_use *use, bool has_format);

#endif
