#include "api/model_use.h"

#include "api/inference.h"
#include "api/model_access.h"
#include "base/clock.h"

#include <string.h>

/* The option's last value in the query. */
static bool take_pair(const char *name, const char *value, void *user)
{
    if (strcmp(name, "model") == 0) {
        *(const char **)user = value;
    }
    return true;
}

static const char *wanted_model(const nx_http_request *request, const json_t *document)
{
    const char *wanted = NULL;
    size_t count = 0;
    const nx_http_part *parts = nx_http_parts(request, &count);
    nx_http_each_query(request, take_pair, &wanted);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].filename == NULL) {
            take_pair(parts[i].name, parts[i].data, &wanted);
        }
    }
    /* what is no string is refused with the other options, once there is a model */
    const json_t *member = json_object_get(document, "model");
    return json_is_string(member) ? json_string_value(member) : wanted;
}

static nx_problem explain(nx_model_use *use, nx_status status, const nx_error *err)
{
    bool sam = use->task.kind == NX_STORED_SAM;
    if (sam && !use->named &&
        (status == NX_ERR_NOT_FOUND || status == NX_ERR_UNSUPPORTED || status == NX_ERR_INVALID)) {
        return nx_problem_make(503, "Run 'nexus models pull mobile-sam' on the server.",
                               "the model for segmentation (NEXUS_SAM_MODEL): %s", err->message);
    }
    switch (status) {
    case NX_ERR_INVALID:
    case NX_ERR_NOT_FOUND:
        return nx_problem_make(404, "Leave model out, or name one that GET /api/v1/models lists.",
                               "model: %s", err->message);
    case NX_ERR_CORRUPT:
    case NX_ERR_UNSUPPORTED:
    case NX_ERR_IO:
        return nx_problem_make(503, "Choose another model, or have this one installed anew.",
                               "model: %s", err->message);
    default:
        return nx_api_problem_of(use->api, use->request, status, err);
    }
}

static void refuse(nx_model_use *use, nx_status status, const nx_error *err)
{
    nx_error told = *err;
    nx_api_model_hide(use->request, status, &told);
    nx_problem problem = explain(use, status, &told);
    use->ready(use, &problem);
}

/* On the registry's thread, or on the one that cancels. */
static void loaded(nx_registry_task *task, nx_status status, const nx_error *err)
{
    nx_model_use *use = (nx_model_use *)task;
    nx_error own = {0};
    if (status != NX_OK) {
        refuse(use, status, err);
        return;
    }
    use->handle = task->handle;
    status = nx_model_use_check(use, &own);
    if (status != NX_OK) {
        refuse(use, status, &own);
    } else {
        use->ready(use, NULL);
    }
}

static nx_status acquire(nx_model_use *use, nx_error *err)
{
    nx_registry *registry = use->api->deps.registry;
    return use->task.kind == NX_STORED_SAM
               ? nx_registry_acquire_sam(registry, use->task.name, use->task.version, &use->handle,
                                         err)
               : nx_registry_acquire(registry, use->task.name, use->task.version, &use->handle,
                                     err);
}

/* Of a model of another kind than the request's. */
static nx_problem wrong_kind(const nx_model_use *use, const nx_error *err)
{
    return nx_problem_make(422,
                           use->task.kind == NX_STORED_SAM
                               ? "Name a model whose kind is sam in GET /api/v1/models."
                               : "Name a detector, or use /api/v1/inference/segment.",
                           "model: %s", err->message);
}

/* The model that is wanted; NULL: the default one. */
static const char *name_of(const nx_model_use *use)
{
    return use->task.name[0] != '\0'         ? use->task.name
           : use->task.kind == NX_STORED_SAM ? nx_registry_default_sam(use->api->deps.registry)
                                             : NULL;
}

static void begin(nx_model_use *use, nx_api *api, nx_http_request *request, nx_stored_kind kind,
                  const char *wanted, nx_model_use_ready ready)
{
    nx_error err = {0};
    nx_status status = NX_OK;
    use->api = api;
    use->request = request;
    use->ready = ready;
    use->named = wanted != NULL;
    use->task = (nx_registry_task){.op = NX_REGISTRY_ACQUIRE,
                                   .kind = kind,
                                   .deadline_ns = nx_clock_now_ns() + use->api->timeout_ns,
                                   .done = loaded};
    if (wanted != NULL) {
        status = nx_model_reference_parse(wanted, use->task.name, &use->task.version, &err);
    }
    nx_problem problem;
    if (status == NX_OK && !nx_api_model_usable(api, request, name_of(use), &problem)) {
        use->ready(use, &problem);
        return;
    }
    if (status == NX_OK) {
        status = acquire(use, &err);
    }
    if (status == NX_ERR_UNAVAILABLE) {
        status = nx_registry_submit(use->api->deps.registry, &use->task, &err);
        if (status == NX_OK) {
            return;
        }
    }
    if (status == NX_OK) {
        use->ready(use, NULL);
    } else if (status == NX_ERR_UNSUPPORTED && use->named) {
        problem = wrong_kind(use, &err);
        use->ready(use, &problem);
    } else {
        refuse(use, status, &err);
    }
}

void nx_model_use_begin(nx_model_use *use, nx_api *api, nx_http_request *request,
                        const json_t *document, nx_model_use_ready ready)
{
    const char *wanted = wanted_model(request, document);
    if (wanted != NULL && strcmp(wanted, nx_registry_default(api->deps.registry)) == 0) {
        wanted = NULL; /* also when it is the name of a file and no name for a model */
    }
    begin(use, api, request, NX_STORED_DETECTOR, wanted, ready);
}

void nx_model_use_begin_sam(nx_model_use *use, nx_api *api, nx_http_request *request,
                            const char *wanted, nx_model_use_ready ready)
{
    bool named = wanted != NULL && wanted[0] != '\0';
    begin(use, api, request, NX_STORED_SAM, named ? wanted : NULL, ready);
}

nx_status nx_model_use_check(const nx_model_use *use, nx_error *err)
{
    return atomic_load(&use->gone)
               ? nx_error_set(err, NX_ERR_CANCELLED, "the client left before its inference began")
               : NX_OK;
}

bool nx_model_use_cancel(nx_model_use *use)
{
    atomic_store(&use->gone, true);
    return use->api != NULL && nx_registry_cancel(use->api->deps.registry, &use->task);
}

void nx_model_use_release(nx_model_use *use)
{
    nx_registry_release(use->handle);
    use->handle = NULL;
}

nx_model *nx_model_use_model(const nx_model_use *use)
{
    return nx_registry_model(use->handle);
}

nx_option_rules nx_model_use_rules(const nx_model_use *use, bool has_format)
{
    return (nx_option_rules){
        .defaults = nx_api_defaults(use->api),
        .names = nx_model_get_spec(nx_model_use_model(use))->names,
        .model = nx_registry_name(use->handle),
        .model_chosen = true,
        .has_format = has_format,
    };
}
