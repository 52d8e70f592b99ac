/* The model repository extension: what there is, loading and unloading. */
#include "api/inference.h"
#include "api/kserve.h"

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

static void write_entry(const char *name, const char *suffix, const char *version,
                        const char *state, const char *reason, nx_json *json)
{
    char whole[128];
    snprintf(whole, sizeof whole, "%.100s%s", name, suffix);
    nx_json_object_begin(json);
    nx_json_key_string(json, "name", whole);
    nx_json_key_string(json, "version", version);
    nx_json_key_string(json, "state", state);
    nx_json_key_string(json, "reason", reason);
    nx_json_object_end(json);
}

void nx_kserve_index(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_error err = {0};
    bool ready = false;
    nx_status status = read_index_request(request, &ready, &err);
    if (status != NX_OK) {
        nx_kserve_fail(api, request, status, &err);
        return;
    }
    const char *name = nx_model_get_spec(api->deps.model)->name;
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_array_begin(&json);
    write_entry(name, "", "1", "READY", "", &json);
    write_entry(name, ".image", "1", "READY", "", &json);
    nx_json_array_end(&json);
    nx_http_reply(request, 200, "application/json", &out);
}

void nx_kserve_load(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_kserve_model model;
    nx_error err = {0};
    nx_status status = nx_kserve_acquire_path(api, request, &model, &err);
    if (status != NX_OK) {
        nx_kserve_fail(api, request, status, &err);
        return;
    }
    nx_kserve_release(&model);
    nx_http_reply_static(request, 200, NULL, NULL, 0);
}

void nx_kserve_unload(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_kserve_model model;
    nx_error err = {0};
    nx_status status = nx_kserve_acquire_path(api, request, &model, &err);
    if (status == NX_OK) {
        status = nx_error_set(&err, NX_ERR_INVALID, "'%s' is the server's only model", model.name);
        nx_kserve_release(&model);
    }
    nx_kserve_fail(api, request, status, &err);
}
