/* What the protocol tells about the server and its models. */
#include "api/inference.h"
#include "api/kserve.h"
#include "api/model_access.h"

#include <stdlib.h>
#include <string.h>

#define PICTURES_SUFFIX ".image"

/* --- models -------------------------------------------------------------------------------------
 */

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text);
    size_t end_size = strlen(end);
    return size > end_size && strcmp(text + size - end_size, end) == 0;
}

bool nx_kserve_base_name(const char *name, char base[NX_MODEL_NAME_MAX + 1])
{
    size_t size = strlen(name) - (ends_with(name, PICTURES_SUFFIX) ? strlen(PICTURES_SUFFIX) : 0);
    bool fits = size <= NX_MODEL_NAME_MAX;
    snprintf(base, NX_MODEL_NAME_MAX + 1, "%.*s", fits ? (int)size : 0, name);
    return fits && size < strlen(name);
}

/* The handle of a model by its own name or as NAME.image. */
static nx_status acquire_face(nx_api *api, const char *name, nx_kserve_model *model,
                              nx_registry_handle **out, nx_error *err)
{
    nx_registry *registry = api->deps.registry;
    snprintf(model->base, sizeof model->base, "%s", name);
    nx_status status = nx_registry_acquire(registry, name, model->wanted, out, err);
    bool other = status == NX_ERR_NOT_FOUND || status == NX_ERR_INVALID;
    if (other && nx_kserve_base_name(name, model->base)) {
        model->pictures = true;
        status = nx_registry_acquire(registry, model->base, model->wanted, out, err);
    }
    if (status == NX_ERR_INVALID) { /* what can't be a name is none */
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "there is no model '%.100s'", name);
    }
    return status;
}

/* "" is 0; false: no version is written so. */
static bool read_version(const char *text, uint32_t *out)
{
    size_t size = strlen(text);
    *out = (uint32_t)strtoul(text, NULL, 10);
    return size == 0 || (size < 10 && text[0] != '0' && strspn(text, "0123456789") == size);
}

static nx_status acquire(nx_api *api, const char *name, const char *version, nx_kserve_model *out,
                         nx_error *err)
{
    nx_registry_handle *handle = NULL;
    *out = (nx_kserve_model){0};
    if (name[0] == '\0' || !read_version(version, &out->wanted)) {
        return nx_error_set(err, NX_ERR_NOT_FOUND, "the model '%.100s' has no version '%.20s'",
                            name, version);
    }
    nx_status status = acquire_face(api, name, out, &handle, err);
    snprintf(out->name, sizeof out->name, "%s", name);
    if (status == NX_OK) {
        nx_kserve_adopt(out, handle);
    }
    return status;
}

void nx_kserve_adopt(nx_kserve_model *model, nx_registry_handle *handle)
{
    snprintf(model->version, sizeof model->version, "%u", nx_registry_version(handle));
    model->handle = handle;
    model->model = nx_registry_model(handle);
    model->session = nx_model_session(model->model);
}

nx_status nx_kserve_acquire_path(nx_api *api, const nx_http_request *request, nx_kserve_model *out,
                                 nx_error *err)
{
    const char *name = nx_http_path_param(request, "name");
    nx_status status = acquire(api, name, nx_http_path_param(request, "version"), out, err);
    bool found = status == NX_OK || status == NX_ERR_UNAVAILABLE;
    if (found && !nx_api_model_visible(api, request, out->base)) {
        nx_kserve_release(out);
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "there is no model '%.100s'", name);
    }
    nx_api_model_hide(request, status, err);
    return status;
}

void nx_kserve_release(nx_kserve_model *model)
{
    nx_registry_release(model->handle);
    *model = (nx_kserve_model){0};
}

static const nx_tensor picture_inputs[] = {
    {.name = "image", .type = NX_TYPE_OTHER, .rank = 1, .dims = {-1}},
};

static const nx_tensor picture_outputs[] = {
    {.name = "boxes", .type = NX_TYPE_FLOAT32, .rank = 3, .dims = {-1, -1, 4}},
    {.name = "scores", .type = NX_TYPE_FLOAT32, .rank = 2, .dims = {-1, -1}},
    {.name = "classes", .type = NX_TYPE_INT64, .rank = 2, .dims = {-1, -1}},
    {.name = "num_detections", .type = NX_TYPE_INT32, .rank = 1, .dims = {-1}},
};

/* As nx_kserve_outputs. */
static const nx_tensor *inputs_of(const nx_kserve_model *model, size_t *count)
{
    if (model->pictures) {
        *count = sizeof picture_inputs / sizeof picture_inputs[0];
        return picture_inputs;
    }
    return nx_session_inputs(model->session, count);
}

const nx_tensor *nx_kserve_outputs(const nx_kserve_model *model, size_t *count)
{
    if (model->pictures) {
        *count = sizeof picture_outputs / sizeof picture_outputs[0];
        return picture_outputs;
    }
    return nx_session_outputs(model->session, count);
}

static bool all_free(const nx_tensor *ports, size_t count)
{
    bool result = true;
    for (size_t i = 0; i < count; i++) {
        result = result && ports[i].rank > 0 && ports[i].dims[0] < 0;
    }
    return result;
}

uint32_t nx_kserve_max_batch(const nx_kserve_model *model)
{
    if (model->pictures || !nx_model_get_spec(model->model)->dynamic_batch) {
        return 0;
    }
    size_t inputs = 0;
    size_t outputs = 0;
    const nx_tensor *in = inputs_of(model, &inputs);
    const nx_tensor *out = nx_kserve_outputs(model, &outputs);
    return all_free(in, inputs) && all_free(out, outputs) ? NX_KSERVE_MAX_BATCH : 0;
}

void nx_kserve_fail(nx_api *api, nx_http_request *request, nx_status status, const nx_error *err)
{
    nx_problem problem = nx_api_problem_of(api, request, status, err);
    if (problem.status == 422 || problem.status == 415) {
        problem.status = 400; /* what the protocol answers whatever is wrong with a request */
    }
    nx_http_reply_problem(request, &problem);
}

/* --- the server ---------------------------------------------------------------------------------
 */

void nx_kserve_server(nx_http_request *request, void *user)
{
    (void)user;
    static const char *const extensions[] = {"binary_tensor_data", "model_configuration",
                                             "model_repository", "statistics"};
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "name", "nexus");
    nx_json_key_string(&json, "version", NX_VERSION);
    nx_json_key(&json, "extensions");
    nx_json_array_begin(&json);
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++) {
        nx_json_string(&json, extensions[i]);
    }
    nx_json_array_end(&json);
    nx_json_object_end(&json);
    nx_http_reply(request, 200, "application/json", &out);
}

static void reply_bool(nx_http_request *request, int status, const char *key, bool value)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_json_key_bool(&json, key, value);
    nx_json_object_end(&json);
    nx_http_add_header(request, "Cache-Control", "no-store");
    nx_http_reply(request, status, "application/json", &out);
}

void nx_kserve_live(nx_http_request *request, void *user)
{
    (void)user;
    reply_bool(request, 200, "live", true);
}

void nx_kserve_ready(nx_http_request *request, void *user)
{
    nx_api *api = user;
    bool ready = atomic_load(&api->state) == NX_API_READY;
    reply_bool(request, ready ? 200 : 503, "ready", ready);
}

/* --- a model ------------------------------------------------------------------------------------
 */

/* Finds the path's model; answers and returns false when there is none. */
static bool find_model(nx_api *api, nx_http_request *request, nx_kserve_model *out)
{
    nx_error err = {0};
    nx_status status = nx_kserve_acquire_path(api, request, out, &err);
    if (status != NX_OK) {
        nx_kserve_fail(api, request, status, &err);
    }
    return status == NX_OK;
}

void nx_kserve_model_ready(nx_http_request *request, void *user)
{
    nx_kserve_model model;
    if (find_model(user, request, &model)) {
        nx_kserve_release(&model);
        reply_bool(request, 200, "ready", true);
    }
}

static const nx_kserve_datatype *datatype_of(const nx_tensor *port)
{
    return port->type == NX_TYPE_OTHER ? nx_kserve_datatype_bytes()
                                       : nx_kserve_datatype_of(port->type);
}

static void write_dims(const nx_tensor *port, uint32_t from, nx_json *json)
{
    nx_json_array_begin(json);
    for (uint32_t i = from; i < port->rank; i++) {
        nx_json_int(json, port->dims[i]);
    }
    nx_json_array_end(json);
}

static void write_ports(const char *key, const nx_tensor *ports, size_t count, nx_json *json)
{
    nx_json_key(json, key);
    nx_json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        nx_json_object_begin(json);
        nx_json_key_string(json, "name", ports[i].name);
        nx_json_key_string(json, "datatype", datatype_of(&ports[i])->name);
        nx_json_key(json, "shape");
        write_dims(&ports[i], 0, json);
        nx_json_object_end(json);
    }
    nx_json_array_end(json);
}

static const char *platform(const nx_kserve_model *model)
{
    return model->pictures ? "nexus_image" : "onnxruntime_onnx";
}

void nx_kserve_metadata(nx_http_request *request, void *user)
{
    nx_kserve_model model;
    if (!find_model(user, request, &model)) {
        return;
    }
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "name", model.name);
    nx_json_key(&json, "versions");
    nx_json_array_begin(&json);
    nx_json_string(&json, model.version);
    nx_json_array_end(&json);
    nx_json_key_string(&json, "platform", platform(&model));
    size_t count = 0;
    const nx_tensor *ports = inputs_of(&model, &count);
    write_ports("inputs", ports, count, &json);
    ports = nx_kserve_outputs(&model, &count);
    write_ports("outputs", ports, count, &json);
    nx_json_object_end(&json);
    nx_kserve_release(&model);
    nx_http_reply(request, 200, "application/json", &out);
}

/* In a configuration the batch, where there is one, is no dimension. */
static void write_config_ports(const char *key, const nx_tensor *ports, size_t count, bool batched,
                               nx_json *json)
{
    nx_json_key(json, key);
    nx_json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        nx_json_object_begin(json);
        nx_json_key_string(json, "name", ports[i].name);
        nx_json_key_string(json, "data_type", datatype_of(&ports[i])->config);
        nx_json_key(json, "dims");
        write_dims(&ports[i], batched ? 1 : 0, json);
        nx_json_object_end(json);
    }
    nx_json_array_end(json);
}

static void write_instances(const nx_kserve_model *model, uint32_t workers, nx_json *json)
{
    const char *provider = nx_session_provider(model->session);
    bool cpu = strcmp(provider, "CPUExecutionProvider") == 0;
    nx_json_key(json, "instance_group");
    nx_json_array_begin(json);
    nx_json_object_begin(json);
    nx_json_key_string(json, "name", model->name);
    nx_json_key_string(json, "kind", cpu ? "KIND_CPU" : "KIND_GPU");
    nx_json_key_int(json, "count", workers);
    nx_json_object_end(json);
    nx_json_array_end(json);
}

void nx_kserve_config(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_kserve_model model;
    if (!find_model(api, request, &model)) {
        return;
    }
    uint32_t max_batch = nx_kserve_max_batch(&model);
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "name", model.name);
    nx_json_key_string(&json, "platform", platform(&model));
    nx_json_key_string(&json, "backend", model.pictures ? "nexus" : "onnxruntime");
    nx_json_key_int(&json, "max_batch_size", max_batch);
    size_t count = 0;
    const nx_tensor *ports = inputs_of(&model, &count);
    write_config_ports("input", ports, count, max_batch > 0, &json);
    ports = nx_kserve_outputs(&model, &count);
    write_config_ports("output", ports, count, max_batch > 0, &json);
    write_instances(&model, nx_engine_get_stats(api->deps.engine).workers, &json);
    nx_json_object_end(&json);
    nx_kserve_release(&model);
    nx_http_reply(request, 200, "application/json", &out);
}

/* --- statistics ---------------------------------------------------------------------------------
 */

static void begin_stats(nx_buffer *out, nx_json *json)
{
    *json = nx_json_begin(out);
    nx_json_object_begin(json);
    nx_json_key(json, "model_stats");
    nx_json_array_begin(json);
}

static void reply_stats(nx_http_request *request, nx_buffer *out, nx_json *json)
{
    nx_json_array_end(json);
    nx_json_object_end(json);
    nx_http_add_header(request, "Cache-Control", "no-store");
    nx_http_reply(request, 200, "application/json", out);
}

void nx_kserve_model_stats(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_kserve_model model;
    if (!find_model(api, request, &model)) {
        return;
    }
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json;
    begin_stats(&out, &json);
    nx_kserve_stats_write(api->kserve_stats, model.name, model.version, &json);
    nx_kserve_release(&model);
    reply_stats(request, &out, &json);
}

/* Both faces of a model. */
static void write_both_stats(nx_api *api, const char *name, const char *version, nx_json *json)
{
    char pictures[128];
    snprintf(pictures, sizeof pictures, "%.100s" PICTURES_SUFFIX, name);
    nx_kserve_stats_write(api->kserve_stats, name, version, json);
    nx_kserve_stats_write(api->kserve_stats, pictures, version, json);
}

void nx_kserve_all_stats(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json;
    begin_stats(&out, &json);
    nx_registry_entry *entries = NULL;
    size_t count = 0;
    nx_error err = {0};
    if (nx_registry_list(api->deps.registry, &entries, &count, &err) != NX_OK) {
        out.failed = true;
    }
    for (size_t i = 0; i < count; i++) {
        char version[16];
        snprintf(version, sizeof version, "%u", entries[i].version);
        if (entries[i].kind == NX_STORED_DETECTOR && entries[i].state == NX_MODEL_READY &&
            nx_api_model_visible(api, request, entries[i].name)) {
            write_both_stats(api, entries[i].name, version, &json);
        }
    }
    free(entries);
    reply_stats(request, &out, &json);
}
