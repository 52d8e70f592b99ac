/* POST /api/v1/inference/image: one picture as a form file, as the raw body or as base64. */
#include "api/inference.h"
#include "api/model_use.h"
#include "api/payload.h"
#include "api/predictions.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "http/negotiate.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct picture_bytes {
    const void *bytes;
    size_t size;
} picture_bytes;

/* One request, from its handler until it is put away. */
typedef struct inference {
    nx_model_use use; /* first */
    nx_api *api;
    nx_http_request *request;
    _Atomic(nx_image_job *) job; /* cancelling may look at it any time */
    json_t *document;            /* the body, when it was JSON */
    nx_option_rules rules;
    nx_buffer decoded;  /* the picture, when it came as base64 */
    const char *source; /* its file name; NULL when it has none */
    nx_api_options options;
    nx_annotate annotate;
    picture_bytes picture;
    nx_prediction prediction;
    int64_t began_ns;
} inference;

static void free_inference(void *context)
{
    inference *self = context;
    nx_image_job_free(self->job);
    nx_model_use_release(&self->use);
    json_decref(self->document);
    nx_buffer_free(&self->decoded);
    nx_api_inference_ends(self->api);
    free(self);
}

/* --- the picture --------------------------------------------------------------------------------
 */

static bool find_in_form(inference *self, picture_bytes *out, nx_problem *problem)
{
    size_t count = 0;
    size_t files = 0;
    const nx_http_part *parts = nx_http_parts(self->request, &count);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].filename != NULL) {
            *out = (picture_bytes){parts[i].data, parts[i].size};
            self->source = parts[i].filename[0] != '\0' ? parts[i].filename : NULL;
            files++;
        }
    }
    if (files != 1) {
        *problem = nx_problem_make(
            400,
            files == 0 ? "Send the picture as a file field named image: curl -F image=@bus.jpg"
                       : "Send several pictures to /api/v1/inference/batch.",
            files == 0 ? "the form has no file" : "the form has more than one file");
    }
    return files == 1;
}

static bool decode_member(inference *self, const json_t *object, nx_problem *problem)
{
    const json_t *image = json_object_get(object, "image");
    if (!json_is_string(image)) {
        *problem = nx_problem_make(400, "Send {\"image\": \"<base64>\"}.",
                                   image == NULL ? "the JSON has no member 'image'"
                                                 : "image must be a string of base64");
        return false;
    }
    return nx_payload_base64("image", json_string_value(image), json_string_length(image),
                             &self->decoded, problem);
}

static bool find_in_json(inference *self, picture_bytes *out, nx_problem *problem)
{
    bool found = nx_api_options_from_json(&self->options, self->document, "image", problem) &&
                 decode_member(self, self->document, problem);
    json_decref(self->document);
    self->document = NULL;
    *out = (picture_bytes){self->decoded.data, self->decoded.size};
    return found;
}

/* Reads options and picture, wherever they are. */
static bool read_request(inference *self, picture_bytes *out, nx_problem *problem)
{
    if (!nx_api_options_from_query(&self->options, self->request, problem)) {
        return false;
    }
    bool found = false;
    if (nx_http_content_type_is(self->request, "multipart/form-data")) {
        found = find_in_form(self, out, problem) &&
                nx_api_options_from_fields(&self->options, self->request, problem);
    } else if (nx_http_content_type_is(self->request, "application/json")) {
        found = find_in_json(self, out, problem);
    } else {
        out->bytes = nx_http_body(self->request, &out->size);
        found = true;
    }
    if (found && out->size == 0) {
        *problem = nx_problem_make(400, "Send the bytes of a JPEG, PNG or WebP file.",
                                   "the picture is empty (0 bytes)");
        return false;
    }
    return found;
}

/* --- the answer ---------------------------------------------------------------------------------
 */

static const char *const format_types[] = {
    [NX_FORMAT_NEXUS] = "application/json",
    [NX_FORMAT_COCO] = "application/json",
    [NX_FORMAT_YOLO] = "text/plain",
    [NX_FORMAT_CSV] = "text/csv",
};

static bool choose_answer(inference *self, nx_problem *problem)
{
    const char *accept = nx_http_header(self->request, "Accept");
    const char *const offers[] = {format_types[self->options.format], "image/jpeg", "image/png"};
    static const nx_annotate annotates[] = {NX_ANNOTATE_NONE, NX_ANNOTATE_JPEG, NX_ANNOTATE_PNG};
    int chosen = nx_negotiate_type(accept, offers, 3);
    if (chosen < 0) {
        *problem = nx_problem_make(406,
                                   "Accept application/json, image/jpeg or image/png; format=csv "
                                   "gives text/csv and format=yolo text/plain.",
                                   "cannot answer with %.100s", accept);
        return false;
    }
    self->annotate = annotates[chosen];
    return true;
}

static void write_nexus(const inference *self, const nx_result *result, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "request_id", nx_http_request_id(self->request));
    nx_json_key_bool(&json, "cached",
                     self->prediction.origin == NX_PREDICTION_HIT ||
                         self->prediction.origin == NX_PREDICTION_JOIN);
    nx_result_json_members(result, &json);
    nx_json_object_end(&json);
}

static void write_coco(const nx_result *result, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_array_begin(&json);
    nx_result_coco(result, 0, result->source, NULL, &json);
    nx_json_array_end(&json);
}

static void reply_result(inference *self, const nx_result *result)
{
    nx_buffer out = NX_BUFFER_INIT;
    const char *origin = nx_prediction_origin_name(self->prediction.origin);
    if (origin != NULL) {
        nx_http_add_header(self->request, "X-Cache", origin);
    }
    switch (self->options.format) {
    case NX_FORMAT_NEXUS:
        write_nexus(self, result, &out);
        break;
    case NX_FORMAT_COCO:
        write_coco(result, &out);
        break;
    case NX_FORMAT_YOLO:
        nx_result_yolo(result, &out);
        nx_http_reply(self->request, 200, "text/plain; charset=utf-8", &out);
        return;
    case NX_FORMAT_CSV:
        nx_result_csv_header(&out);
        nx_result_csv(result, &out);
        nx_http_reply(self->request, 200, "text/csv; charset=utf-8", &out);
        return;
    }
    nx_http_reply(self->request, 200, "application/json", &out);
}

static void reply_picture(inference *self, const nx_result *result)
{
    char count[24];
    snprintf(count, sizeof count, "%zu", result->count);
    nx_http_add_header(self->request, "X-Nexus-Detections", count);
    nx_buffer bytes = nx_image_job_take_picture(self->job);
    nx_http_reply(self->request, 200,
                  self->annotate == NX_ANNOTATE_PNG ? "image/png" : "image/jpeg", &bytes);
}

static void refuse(inference *self, nx_status status, const nx_error *err)
{
    nx_api_record(self->api, self->request, status, NULL, true);
    nx_problem problem = nx_api_problem_of(self->api, self->request, status, err);
    nx_http_reply_problem(self->request, &problem);
}

/* The model did not run for it. The answer may free self before this returns. */
static void fail(inference *self, nx_status status, const nx_error *err)
{
    nx_prediction_did_not_run(&self->prediction, status, err);
    refuse(self, status, err);
}

/* On an engine thread. The answer may free self before it returns. */
static void finished(nx_image_job *job, nx_status status, const nx_error *err, void *user)
{
    inference *self = user;
    if (status != NX_OK) {
        fail(self, status, err);
        return;
    }
    nx_result result = nx_image_job_result(job);
    result.source = self->source;
    nx_registry_count(self->use.handle, 1);
    nx_api_record(self->api, self->request, status, &result, true);
    nx_prediction_ran(&self->prediction, &result);
    if (self->annotate != NX_ANNOTATE_NONE) {
        reply_picture(self, &result);
    } else {
        reply_result(self, &result);
    }
}

static void cancel(nx_http_request *request, void *user)
{
    (void)request;
    inference *self = user;
    nx_image_job *job = NULL;
    if (nx_model_use_cancel(&self->use)) {
        return;
    }
    if (nx_prediction_withdraw(&self->prediction)) {
        nx_error err;
        refuse(self, nx_error_set(&err, NX_ERR_CANCELLED, "the client left"), &err);
        return;
    }
    job = atomic_load(&self->job);
    if (job != NULL) {
        nx_image_job_cancel(job, self->api->deps.engine);
    }
}

/* --- the prediction -----------------------------------------------------------------------------
 */

static inference *of_prediction(nx_prediction *prediction)
{
    return (inference *)((char *)prediction - offsetof(inference, prediction));
}

/* The model has to run. */
static void run(nx_prediction *prediction)
{
    inference *self = of_prediction(prediction);
    nx_error err = {0};
    nx_image_job *job = NULL;
    nx_status status = nx_api_new_job(self->api, nx_model_use_model(&self->use), &self->options,
                                      self->annotate, NX_PRIORITY_INTERACTIVE, self->picture.bytes,
                                      self->picture.size, &job, &err);
    atomic_store(&self->job, job);
    if (status == NX_OK) {
        status = nx_model_use_check(&self->use, &err);
    }
    if (status == NX_OK) {
        status = nx_image_job_submit(job, self->api->deps.engine, finished, self, &err);
    }
    if (status != NX_OK) {
        fail(self, status, &err);
    }
}

/* Somebody found it before, or meanwhile: what is missing is this request's own. */
static void found(nx_prediction *prediction, const nx_result *what)
{
    inference *self = of_prediction(prediction);
    const nx_model_spec *spec = nx_model_get_spec(nx_model_use_model(&self->use));
    const double total = nx_clock_ms(nx_clock_now_ns() - self->began_ns);
    nx_result result = *what;
    result.source = self->source;
    result.model = spec->name;
    result.device = spec->device;
    result.names = spec->names;
    result.timings =
        (nx_timings){.queue = prediction->origin == NX_PREDICTION_JOIN ? total : 0, .total = total};
    reply_result(self, &result);
}

/* What another failed of, this one would too. */
static void failed(nx_prediction *prediction, nx_status status, const nx_error *err)
{
    refuse(of_prediction(prediction), status, err);
}

/* The model is there. On the request's thread, or on the registry's. */
static void begin(nx_model_use *use, const nx_problem *refusal)
{
    inference *self = (inference *)use;
    nx_problem problem;
    if (refusal != NULL) {
        nx_http_reply_problem(self->request, refusal);
        return;
    }
    self->began_ns = nx_clock_now_ns();
    self->rules = nx_model_use_rules(use, true);
    self->options = nx_api_options_start(&self->rules);
    if (!read_request(self, &self->picture, &problem) || !choose_answer(self, &problem)) {
        nx_http_reply_problem(self->request, &problem);
        return;
    }
    if (self->annotate != NX_ANNOTATE_NONE) { /* to be drawn on it is decoded and run again */
        self->prediction.policy.read = false;
    }
    const nx_prediction_question question = {
        .model = nx_model_get_spec(nx_model_use_model(use)),
        .version = nx_registry_version(use->handle),
        .options = &self->options.postprocess,
        .max_pixels = self->api->max_pixels,
    };
    nx_prediction_begin(&self->prediction, &question, self->picture.bytes, self->picture.size);
}

/* False: the body claims to be JSON and is not. */
static bool read_document(inference *self, nx_problem *problem)
{
    size_t size = 0;
    const char *text = nx_http_body(self->request, &size);
    return !nx_http_content_type_is(self->request, "application/json") ||
           nx_payload_parse(text, size, &self->document, problem);
}

void nx_api_infer_image(nx_http_request *request, void *user)
{
    nx_api *api = user;
    inference *self = nx_api_inference_new(api, request, sizeof *self, free_inference);
    nx_problem problem;
    if (self == NULL) {
        return;
    }
    self->api = api;
    self->request = request;
    self->decoded = (nx_buffer)NX_BUFFER_INIT;
    if (!read_document(self, &problem)) {
        nx_http_reply_problem(request, &problem);
        return;
    }
    self->prediction.run = run;
    self->prediction.found = found;
    self->prediction.failed = failed;
    nx_prediction_prepare(&self->prediction, api->predictions, nx_prediction_policy_of(request),
                          &self->use.gone);
    nx_http_on_gone(request, cancel, self);
    nx_model_use_begin(&self->use, api, request, self->document, begin);
}
