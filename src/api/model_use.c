#include "api/model_use.h"

#include "api/inference.h"
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
    nx_problem problem = explain(use, status, err);
    use->ready(use, &problem);
}

/* On the registry's thread, or on the one that cancels. */
static void loaded(nx_registry_task *task, nx_status status, const nx_error *err)
{
    nx_model_use *use = (nx_model_use *)task;
    if (status == NX_OK) {
        use->handle = task->handle;
        use->ready(use, NULL);
    } else {
        refuse(use, status, err);
    }
}

void nx_model_use_begin(nx_model_use *use, nx_api *api, nx_http_request *request,
                        const json_t *document, nx_model_use_ready ready)
{
    use->api = api;
    use->request = request;
    use->ready = ready;
    use->task = (nx_registry_task){.op = NX_REGISTRY_ACQUIRE,
                                   .deadline_ns = nx_clock_now_ns() + api->timeout_ns,
                                   .done = loaded};
    nx_error err = {0};
    const char *wanted = wanted_model(request, document);
    nx_status status = NX_OK;
    if (wanted != NULL && strcmp(wanted, nx_registry_default(api->deps.registry)) == 0) {
        wanted = NULL; /* also when it is the name of a file and no name for a model */
    }
    if (wanted != NULL) {
        status = nx_model_reference_parse(wanted, use->task.name, &use->task.version, &err);
    }
    if (status == NX_OK) {
        status = nx_registry_acquire(api->deps.registry, use->task.name, use->task.version,
                                     &use->handle, &err);
    }
    if (status == NX_ERR_UNAVAILABLE) {
        status = nx_registry_submit(api->deps.registry, &use->task, &err);
        if (status == NX_OK) {
            return;
        }
    }
    if (status == NX_OK) {
        ready(use, NULL);
    } else {
        refuse(use, status, &err);
    }
}

bool nx_model_use_cancel(nx_model_use *use)
{
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
        .defaults = use->api->defaults,
        .names = nx_model_get_spec(nx_model_use_model(use))->names,
        .model = nx_registry_name(use->handle),
        .model_chosen = true,
        .has_format = has_format,
    };
}
