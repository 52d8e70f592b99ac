/* The model repository extension: what there is, loading and unloading. */
#include "api/audit.h"
#include "api/inference.h"
#include "api/kserve.h"
#include "api/model_access.h"
#include "api/models.h"

#include <stdlib.h>
#include <string.h>

/* {"ready": true} leaves out what is not ready; an empty body is {}. */
static nx_status read_index_request(const nx_http_request *request, bool *ready, nx_error *err)
{
    size_t size = 0;
    const char *body = nx_http_body(request, &size);
    *ready = false;
    if (size == 0) {
        return NX_OK;
    }
    nx_json_reader reader = nx_json_reader_begin(body, size);
    nx_json_span key;
    bool read = nx_json_enter_object(&reader);
    while (read && nx_json_next_member(&reader, &key)) {
        read = nx_json_key_is(key, "ready") ? nx_json_read_bool(&reader, ready)
                                            : nx_json_skip(&reader, NULL);
    }
    return read && nx_json_at_end(&reader) ? NX_OK : nx_json_reader_error(&reader, err);
}

static void write_entry(const nx_registry_entry *entry, const char *suffix, nx_json *json)
{
    static const char *const states[] = {
        [NX_MODEL_UNLOADED] = "UNAVAILABLE",
        [NX_MODEL_LOADING] = "LOADING",
        [NX_MODEL_READY] = "READY",
        [NX_MODEL_FAILED] = "UNAVAILABLE",
    };
    char whole[128];
    char version[16];
    snprintf(whole, sizeof whole, "%.100s%s", entry->name, suffix);
    snprintf(version, sizeof version, "%u", entry->version);
    nx_json_object_begin(json);
    nx_json_key_string(json, "name", whole);
    nx_json_key_string(json, "version", version);
    nx_json_key_string(json, "state", states[entry->state]);
    nx_json_key_string(json, "reason",
                       entry->state == NX_MODEL_UNLOADED ? "unloaded" : entry->reason);
    nx_json_object_end(json);
}

void nx_kserve_index(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_error err = {0};
    bool ready = false;
    nx_registry_entry *entries = NULL;
    size_t count = 0;
    nx_status status = read_index_request(request, &ready, &err);
    if (status == NX_OK) {
        status = nx_registry_list(api->deps.registry, &entries, &count, &err);
    }
    if (status != NX_OK) {
        nx_kserve_fail(api, request, status, &err);
        return;
    }
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_array_begin(&json);
    for (size_t i = 0; i < count; i++) {
        if ((ready && entries[i].state != NX_MODEL_READY) ||
            !nx_api_model_visible(api, request, entries[i].name)) {
            continue;
        }
        write_entry(&entries[i], "", &json);
        if (entries[i].kind == NX_STORED_DETECTOR) { /* the other kind has no face here */
            write_entry(&entries[i], ".image", &json);
        }
    }
    nx_json_array_end(&json);
    free(entries);
    nx_http_reply(request, 200, "application/json", &out);
}

/* --- loading and unloading ----------------------------------------------------------------------
 */

typedef nx_model_change change;

/* On the registry's thread, or on the one that cancels. */
static void changed(nx_registry_task *task, nx_status status, const nx_error *err)
{
    change *self = (change *)task;
    const nx_api_event event = {.action =
                                    task->op == NX_REGISTRY_LOAD ? "model.load" : "model.unload",
                                .kind = "model",
                                .name = task->name,
                                .outcome = status};
    if (status == NX_OK) {
        nx_api_audit(self->api, self->request, &event);
        nx_http_reply_static(self->request, 200, NULL, NULL, 0);
    } else {
        nx_api_audit_soon(self->api, self->request, &event); /* whoever cancels must not wait */
        nx_error told = *err;
        nx_api_model_hide(self->request, status, &told);
        nx_kserve_fail(self->api, self->request, status, &told);
    }
}

static void cancel(nx_http_request *request, void *user)
{
    (void)request;
    change *self = user;
    (void)nx_registry_cancel(self->api->deps.registry, &self->task);
}

static void start(nx_http_request *request, nx_api *api, nx_registry_op op)
{
    nx_error err = {0};
    char base[NX_MODEL_NAME_MAX + 1];
    (void)nx_kserve_base_name(nx_http_path_param(request, "name"), base);
    change *self = calloc(1, sizeof *self);
    /* the default may be the name of a file, which may be called as it likes */
    nx_status status = strcmp(base, nx_registry_default(api->deps.registry)) == 0
                           ? NX_OK
                           : nx_model_name_check(base, &err);
    if (status == NX_OK && !nx_api_model_visible(api, request, base)) {
        status = nx_error_set(&err, NX_ERR_NOT_FOUND, "there is no model of that name");
    }
    if (self == NULL) {
        status = nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory for the request");
    }
    if (status == NX_OK) {
        self->api = api;
        self->request = request;
        self->task.op = op;
        self->task.done = changed;
        memcpy(self->task.name, base, sizeof base);
        nx_api_models_share(self);
        nx_http_set_context(request, self, free);
        nx_http_on_gone(request, cancel, self);
        status = nx_registry_submit(api->deps.registry, &self->task, &err);
    } else {
        free(self);
    }
    if (status == NX_ERR_INVALID) {
        status = nx_error_set(&err, NX_ERR_NOT_FOUND, "there is no model of that name");
    }
    if (status != NX_OK) {
        nx_api_model_hide(request, status, &err);
        nx_kserve_fail(api, request, status, &err);
    }
}

void nx_kserve_load(nx_http_request *request, void *user)
{
    start(request, user, NX_REGISTRY_LOAD);
}

void nx_kserve_unload(nx_http_request *request, void *user)
{
    start(request, user, NX_REGISTRY_UNLOAD);
}
