/* POST /v2/models/{name}/infer: reading the request, and writing the answer. */
#include "api/inference.h"
#include "api/kserve.h"
#include "api/model_access.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void free_call(void *context)
{
    nx_kserve_call *call = context;
    if (call->free_work != NULL) {
        call->free_work(call->work);
    }
    nx_kserve_request_free(&call->parsed);
    nx_kserve_release(&call->model);
    nx_buffer_free(&call->answer);
    nx_api_inference_ends(call->api);
    free(call);
}

/* --- the answer ---------------------------------------------------------------------------------
 */

static bool is_binary(const nx_kserve_call *call, size_t index)
{
    const nx_kserve_request *parsed = &call->parsed;
    return parsed->output_count > 0 ? parsed->outputs[index].binary : parsed->binary_output;
}

static void write_output(const nx_tensor *output, bool binary, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "name", output->name);
    nx_json_key_string(json, "datatype", nx_kserve_datatype_of(output->type)->name);
    nx_json_key(json, "shape");
    nx_json_array_begin(json);
    for (uint32_t d = 0; d < output->rank; d++) {
        nx_json_int(json, output->dims[d]);
    }
    nx_json_array_end(json);
    if (binary) {
        nx_json_key(json, "parameters");
        nx_json_object_begin(json);
        nx_json_key_int(json, "binary_data_size", (int64_t)output->bytes);
        nx_json_object_end(json);
    } else {
        nx_json_key(json, "data");
        nx_kserve_write_json(output, json);
    }
    nx_json_object_end(json);
}

static nx_status check_output(const nx_tensor *output, bool binary, nx_error *err)
{
    if (output->type == NX_TYPE_OTHER) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the output '%.200s' is of a type that cannot be sent; ask for others",
                            output->name);
    }
    if (output->type == NX_TYPE_FLOAT16 && !binary) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the output '%.200s' is FP16, which has no form in JSON here: ask for "
                            "it with \"binary_data\": true",
                            output->name);
    }
    return NX_OK;
}

nx_status nx_kserve_write_answer(nx_kserve_call *call, const nx_tensor *outputs, size_t count,
                                 nx_error *err)
{
    bool any_binary = false;
    size_t binary_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        nx_status status = check_output(&outputs[i], is_binary(call, i), err);
        if (status != NX_OK) {
            return status;
        }
        any_binary |= is_binary(call, i);
        binary_bytes += is_binary(call, i) ? outputs[i].bytes : 0;
    }
    nx_buffer *out = &call->answer;
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    if (call->parsed.id != NULL) {
        nx_json_key_string(&json, "id", call->parsed.id);
    }
    nx_json_key_string(&json, "model_name", call->model.name);
    nx_json_key_string(&json, "model_version", call->model.version);
    nx_json_key(&json, "outputs");
    nx_json_array_begin(&json);
    for (size_t i = 0; i < count; i++) {
        write_output(&outputs[i], is_binary(call, i), &json);
    }
    nx_json_array_end(&json);
    nx_json_object_end(&json);
    call->answer_header = any_binary ? out->size : 0;
    nx_buffer_reserve(out, binary_bytes); /* at once, for growing would copy megabytes */
    for (size_t i = 0; i < count; i++) {
        if (is_binary(call, i) && outputs[i].bytes > 0) {
            nx_buffer_append(out, outputs[i].data, outputs[i].bytes);
        }
    }
    return out->failed ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the answer") : NX_OK;
}

void nx_kserve_finish(nx_kserve_call *call, nx_status status, const nx_error *err,
                      const nx_kserve_sample *sample)
{
    nx_api *api = call->api;
    nx_kserve_sample counted = *sample;
    counted.failed = status != NX_OK;
    counted.total_ns = nx_clock_now_ns() - nx_http_started_ns(call->request);
    nx_kserve_stats_add(api->kserve_stats, call->model.name, call->model.version, &counted);
    if (status != NX_OK) {
        nx_service_metrics_failure(api->deps.metrics, status);
        nx_kserve_fail(api, call->request, status, err);
        return;
    }
    nx_registry_count(call->model.handle, (uint64_t)sample->batch * sample->executions);
    if (call->answer_header > 0) {
        char size[24];
        snprintf(size, sizeof size, "%zu", call->answer_header);
        nx_http_add_header(call->request, "Inference-Header-Content-Length", size);
    }
    nx_http_reply(call->request, 200,
                  call->answer_header > 0 ? "application/octet-stream" : "application/json",
                  &call->answer);
}

/* --- the request --------------------------------------------------------------------------------
 */

void nx_kserve_admit_infer(nx_http_request *request, void *user)
{
    const char *coding = nx_http_header(request, "Content-Encoding");
    if (coding != NULL && strcasecmp(coding, "identity") != 0) {
        nx_problem problem = nx_problem_make(
            415, NULL, "bodies with Content-Encoding '%.40s' are not read: send it as it is",
            coding);
        nx_http_reply_problem(request, &problem);
        return;
    }
    nx_api_admit_inference(request, user);
}

/* Where the JSON ends; SIZE_MAX: at the end of the body. */
static nx_status header_size(const nx_http_request *request, size_t *out, nx_error *err)
{
    const char *text = nx_http_header(request, "Inference-Header-Content-Length");
    *out = SIZE_MAX;
    if (text == NULL) {
        return NX_OK;
    }
    size_t value = 0;
    bool valid = *text != '\0';
    for (const char *c = text; valid && *c != '\0'; c++) {
        valid = *c >= '0' && *c <= '9' && !__builtin_mul_overflow(value, 10, &value) &&
                !__builtin_add_overflow(value, (size_t)(*c - '0'), &value);
    }
    if (!valid || value == SIZE_MAX) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "Inference-Header-Content-Length '%.40s' is no length", text);
    }
    *out = value;
    return NX_OK;
}

static nx_status read_call(nx_kserve_call *call, nx_error *err)
{
    size_t header = 0;
    nx_status status = header_size(call->request, &header, err);
    if (status != NX_OK) {
        return status;
    }
    size_t size = 0;
    const char *body = nx_http_body(call->request, &size);
    status = nx_kserve_request_parse(body != NULL ? body : "", size, header, &call->parsed, err);
    call->deadline_ns = nx_clock_now_ns() + call->api->timeout_ns;
    int64_t given = 0;
    if (call->parsed.timeout_us > 0 &&
        !__builtin_mul_overflow(call->parsed.timeout_us, INT64_C(1000), &given) &&
        given < call->api->timeout_ns) {
        call->deadline_ns = nx_clock_now_ns() + given;
    }
    return status;
}

/* The picture input where the graph would have its own: a request for NAME.image. */
static bool asks_for_pictures(const nx_kserve_call *call)
{
    const nx_kserve_input *input = call->parsed.inputs;
    return call->model.pictures ||
           (call->parsed.input_count == 1 && input->datatype == nx_kserve_datatype_bytes() &&
            strcmp(input->name, "image") == 0);
}

/* The model is there and the request is read. On the request's thread, or on the registry's. */
static void start(nx_kserve_call *call)
{
    if (asks_for_pictures(call)) {
        nx_kserve_start_pictures(call);
    } else {
        nx_kserve_start_graph(call);
    }
}

nx_status nx_kserve_check_gone(const nx_kserve_call *call, nx_error *err)
{
    return atomic_load(&call->gone)
               ? nx_error_set(err, NX_ERR_CANCELLED, "the client left before its inference began")
               : NX_OK;
}

/* On the registry's thread, or on the one that cancels. */
static void loaded(nx_registry_task *task, nx_status status, const nx_error *err)
{
    nx_kserve_call *call = (nx_kserve_call *)task;
    nx_error own = {0};
    switch (status) {
    case NX_OK:
        nx_kserve_adopt(&call->model, task->handle);
        status = nx_kserve_check_gone(call, &own);
        if (status == NX_OK) {
            start(call);
            return;
        }
        err = &own;
        break;
    case NX_ERR_INVALID: /* what is wrong with an installed file is not the client's fault */
    case NX_ERR_CORRUPT:
    case NX_ERR_UNSUPPORTED:
    case NX_ERR_IO:
        status = NX_ERR_UNAVAILABLE;
        break;
    default:
        break;
    }
    nx_kserve_fail(call->api, call->request, status, err);
}

/* Has the registry load the model while the request waits. */
static nx_status load(nx_kserve_call *call, nx_error *err)
{
    call->load = (nx_registry_task){.op = NX_REGISTRY_ACQUIRE,
                                    .version = call->model.wanted,
                                    .deadline_ns = call->deadline_ns,
                                    .done = loaded};
    memcpy(call->load.name, call->model.base, sizeof call->load.name);
    return nx_registry_submit(call->api->deps.registry, &call->load, err);
}

static void cancel(nx_http_request *request, void *user)
{
    (void)request;
    nx_kserve_call *call = user;
    atomic_store(&call->gone, true);
    if (!nx_registry_cancel(call->api->deps.registry, &call->load)) {
        void (*cancel_work)(void *) = atomic_load(&call->cancel_work);
        if (cancel_work != NULL) {
            cancel_work(call->work);
        }
    }
}

void nx_kserve_infer(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_error err = {0};
    nx_kserve_call *call = nx_api_inference_new(api, request, sizeof *call, free_call);
    if (call == NULL) {
        return;
    }
    call->api = api;
    call->request = request;
    nx_http_on_gone(request, cancel, call);
    nx_problem problem;
    char base[NX_MODEL_NAME_MAX + 1];
    nx_status found = nx_kserve_acquire_path(api, request, &call->model, &err);
    nx_status status = found;
    snprintf(base, sizeof base, "%s", call->model.base);
    if ((found == NX_OK || found == NX_ERR_UNAVAILABLE) &&
        !nx_api_model_usable(api, request, base, &problem)) {
        nx_http_reply_problem(request, &problem);
        return;
    }
    if (found == NX_OK || found == NX_ERR_UNAVAILABLE) {
        status = read_call(call, &err);
    }
    if (status == NX_OK && found == NX_ERR_UNAVAILABLE) {
        status = load(call, &err);
        if (status == NX_OK) {
            return; /* the call may be gone */
        }
    }
    if (status == NX_OK) {
        start(call);
    } else if (found == NX_OK) {
        nx_kserve_finish(call, status, &err, &(nx_kserve_sample){0});
    } else {
        nx_kserve_fail(api, request, status, &err);
    }
}
