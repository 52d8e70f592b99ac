/* POST /api/v1/inference/segment: one picture, or the id of one that was here before, and points or
 * boxes in; masks out. */
#include "api/inference.h"
#include "api/model_use.h"
#include "api/payload.h"
#include "api/segment_options.h"
#include "api/traces.h"
#include "base/clock.h"
#include "http/negotiate.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* What the client gets. */
typedef enum answer_kind { ANSWER_JSON, ANSWER_MASK, ANSWER_PICTURE } answer_kind;

/* One request, from its handler until it is put away. */
typedef struct segmentation {
    nx_model_use use; /* first */
    nx_api *api;
    nx_http_request *request;
    _Atomic(nx_segment_job *) job; /* NULL while the model is loaded */
    nx_buffer decoded;             /* the picture, when it came as base64 */
    nx_segment_options options;
    answer_kind answer;
    const void *bytes; /* of the picture; NULL when it came by id */
    size_t size;
} segmentation;

static void free_segmentation(void *context)
{
    segmentation *self = context;
    nx_segment_job_free(atomic_load(&self->job));
    nx_model_use_release(&self->use); /* after the job, which borrows its model */
    nx_buffer_free(&self->decoded);
    nx_api_inference_ends(self->api);
    free(self);
}

/* --- the request --------------------------------------------------------------------------------
 */

typedef struct option_walk {
    nx_segment_options *options;
    nx_problem *problem;
} option_walk;

static bool take_pair(const char *name, const char *value, void *user)
{
    option_walk *walk = user;
    return nx_segment_options_set(walk->options, name, value, walk->problem);
}

static bool read_query(segmentation *self, nx_problem *problem)
{
    option_walk walk = {&self->options, problem};
    nx_segment_options_next_source(&self->options);
    return nx_http_each_query(self->request, take_pair, &walk);
}

/* The file, which need not be there, and the fields. */
static bool read_form(segmentation *self, nx_problem *problem)
{
    size_t count = 0;
    const nx_http_part *parts = nx_http_parts(self->request, &count);
    nx_segment_options_next_source(&self->options);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].filename != NULL) { /* one at most: the route sees to it */
            self->bytes = parts[i].data;
            self->size = parts[i].size;
        } else if (!nx_segment_options_set(&self->options, parts[i].name, parts[i].data, problem)) {
            return false;
        }
    }
    return true;
}

static bool read_members(segmentation *self, const json_t *object, nx_problem *problem)
{
    const char *name;
    json_t *value;
    nx_segment_options_next_source(&self->options);
    json_object_foreach((json_t *)object, name, value)
    {
        if (strcmp(name, "image") != 0) {
            if (!nx_segment_options_set_json(&self->options, name, value, problem)) {
                return false;
            }
        } else if (json_is_string(value)) {
            if (!nx_payload_base64("image", json_string_value(value), json_string_length(value),
                                   &self->decoded, problem)) {
                return false;
            }
            self->bytes = self->decoded.data;
            self->size = self->decoded.size;
        } else if (!json_is_null(value)) {
            *problem = nx_problem_make(400, "Send {\"image\": \"<base64>\", \"points\": [...]}.",
                                       "image must be a string of base64");
            return false;
        }
    }
    return true;
}

static bool read_json(segmentation *self, nx_problem *problem)
{
    size_t size = 0;
    const char *text = nx_http_body(self->request, &size);
    json_t *object = NULL;
    if (!nx_payload_parse(text, size, &object, problem)) {
        return false;
    }
    bool read = read_members(self, object, problem);
    json_decref(object);
    return read;
}

/* Exactly one of a picture and an id. */
static bool check_picture(const segmentation *self, nx_problem *problem)
{
    bool has_picture = self->size > 0;
    if (has_picture && self->options.has_image_id) {
        *problem = nx_problem_make(400, "Send one of them.",
                                   "the request has both a picture and an image_id");
    } else if (!has_picture && !self->options.has_image_id) {
        *problem = nx_problem_make(400,
                                   "Send the bytes of a JPEG, PNG or WebP file, or the image_id "
                                   "of an earlier answer.",
                                   "the request has no picture and no image_id");
    } else if (!has_picture && self->answer == ANSWER_PICTURE) {
        *problem = nx_problem_make(422, "Send the picture, or accept image/png for the mask alone.",
                                   "a picture that came by image_id cannot be drawn on");
    } else {
        return true;
    }
    return false;
}

/* Reads options and picture, wherever they are. */
static bool read_request(segmentation *self, nx_problem *problem)
{
    bool read = read_query(self, problem);
    if (!read) {
        return false;
    }
    if (nx_http_content_type_is(self->request, "multipart/form-data")) {
        read = read_form(self, problem);
    } else if (nx_http_content_type_is(self->request, "application/json")) {
        read = read_json(self, problem);
    } else {
        self->bytes = nx_http_body(self->request, &self->size);
    }
    return read && nx_segment_options_check(&self->options, problem) &&
           check_picture(self, problem);
}

static bool choose_answer(segmentation *self, nx_problem *problem)
{
    static const char *const offers[] = {"application/json", "image/png", "image/jpeg"};
    const char *accept = nx_http_header(self->request, "Accept");
    int chosen = nx_negotiate_type(accept, offers, 3);
    if (chosen < 0) {
        *problem = nx_problem_make(406,
                                   "Accept application/json, image/png for the mask, or "
                                   "image/jpeg for the picture with the mask drawn.",
                                   "cannot answer with %.100s", accept);
        return false;
    }
    self->answer = (answer_kind)chosen;
    return true;
}

/* --- the answer ---------------------------------------------------------------------------------
 */

static void fail(segmentation *self, nx_status status, const nx_error *err)
{
    nx_service_metrics_failure(self->api->deps.metrics, status);
    nx_problem problem = nx_api_problem_of(self->api, self->request, status, err);
    nx_http_reply_problem(self->request, &problem);
}

static void record(const segmentation *self, const nx_segment_result *result)
{
    nx_service_metrics *metrics = self->api->deps.metrics;
    const nx_segment_timings *timings = &result->timings;
    const char *decoder = nx_sam_decoder_name(nx_registry_sam(self->use.handle));
    for (size_t i = 0; i < result->masks->runs; i++) { /* the encoder's is counted by the engine */
        nx_service_metrics_run(metrics, decoder, result->masks->runs_ns[i], 1);
    }
    nx_registry_count(self->use.handle, 1);
    const nx_timings stages = {
        .queue = timings->queue,
        .decode = timings->decode,
        .preprocess = timings->preprocess,
        .inference = timings->encoder + timings->decoder,
        .postprocess = timings->postprocess,
        .total = timings->total,
    };
    nx_api_record_stages(self->api, &stages);
    nx_api_trace_inference(self->api, self->request, decoder, NULL, &stages, true);
    nx_api_count_embedding(self->api, result->origin != NX_EMBEDDING_COMPUTED);
}

/* A picture has no room for what else is to be said: headers have. */
static void reply_picture(segmentation *self, nx_segment_job *job, const nx_segment_result *result)
{
    char count[24];
    snprintf(count, sizeof count, "%zu", result->masks->count);
    nx_http_add_header(self->request, "X-Nexus-Image-Id", result->image_id);
    nx_http_add_header(self->request, "X-Nexus-Masks", count);
    bool mask = self->answer == ANSWER_MASK;
    nx_buffer bytes = mask ? nx_segment_job_take_mask_png(job) : nx_segment_job_take_picture(job);
    nx_http_reply(self->request, 200, mask ? "image/png" : "image/jpeg", &bytes);
}

/* On an engine thread. The answer may free self before it returns. */
static void finished(nx_segment_job *job, nx_status status, const nx_error *err, void *user)
{
    segmentation *self = user;
    if (status != NX_OK) {
        fail(self, status, err);
        return;
    }
    const nx_segment_result result = nx_segment_job_result(job);
    record(self, &result);
    if (self->answer == ANSWER_JSON) {
        nx_buffer text = nx_segment_job_take_json(job);
        nx_http_reply(self->request, 200, "application/json", &text);
    } else {
        reply_picture(self, job, &result);
    }
}

static void cancel(nx_http_request *request, void *user)
{
    (void)request;
    segmentation *self = user;
    nx_segment_job *job = NULL;
    if (!nx_model_use_cancel(&self->use)) {
        job = atomic_load(&self->job);
    }
    if (job != NULL) {
        (void)nx_segment_job_cancel(job);
    }
}

/* --- the handler --------------------------------------------------------------------------------
 */

static nx_status new_job(segmentation *self, nx_segment_job **out, nx_error *err)
{
    nx_api *api = self->api;
    nx_sam *sam = nx_registry_sam(self->use.handle);
    const nx_segment_job_options options = {
        .prompt = self->options.prompt,
        .mask_png = self->answer == ANSWER_MASK,
        .annotate = self->answer == ANSWER_PICTURE ? NX_ANNOTATE_JPEG : NX_ANNOTATE_NONE,
        .json = {.wanted = self->answer == ANSWER_JSON,
                 .format = self->options.mask_format,
                 .name = "request_id",
                 .value = nx_http_request_id(self->request)},
        .priority = NX_PRIORITY_INTERACTIVE,
        .max_pixels = api->max_pixels,
        .deadline_ns = nx_clock_now_ns() + api->timeout_ns,
    };
    return self->bytes != NULL && self->size > 0
               ? nx_segment_job_new(sam, api->deps.engine, self->bytes, self->size, &options, out,
                                    err)
               : nx_segment_job_new_by_id(sam, api->deps.engine, &self->options.image_id, &options,
                                          out, err);
}

/* A picture that was given up, or was seen by a version that serves no more, in its own words. */
static void refuse(segmentation *self, nx_status status, const nx_error *err)
{
    nx_problem problem;
    if (status != NX_ERR_NOT_FOUND) {
        fail(self, status, err);
        return;
    }
    nx_service_metrics_failure(self->api->deps.metrics, status);
    nx_api_count_embedding(self->api, false);
    problem = nx_problem_make(404, "Send the picture itself: the answer has its image_id.", "%s",
                              err->message);
    nx_http_reply_problem(self->request, &problem);
}

/* The model is there. On the request's thread, or on the registry's. */
static void start(nx_model_use *use, const nx_problem *refusal)
{
    segmentation *self = (segmentation *)use;
    nx_error err = {0};
    if (refusal != NULL) {
        if (refusal->status == 503) {
            nx_service_metrics_failure(self->api->deps.metrics, NX_ERR_UNAVAILABLE);
        }
        nx_http_reply_problem(self->request, refusal);
        return;
    }
    nx_segment_job *job = NULL;
    nx_status status = new_job(self, &job, &err);
    if (status != NX_OK) {
        refuse(self, status, &err);
        return;
    }
    atomic_store(&self->job, job);
    status = nx_model_use_check(use, &err);
    if (status == NX_OK) {
        status = nx_segment_job_submit(job, finished, self, &err);
    }
    if (status != NX_OK) {
        fail(self, status, &err);
    }
}

void nx_api_infer_segment(nx_http_request *request, void *user)
{
    nx_api *api = user;
    segmentation *self = nx_api_inference_new(api, request, sizeof *self, free_segmentation);
    nx_problem problem;
    if (self == NULL) {
        return;
    }
    self->api = api;
    self->request = request;
    if (choose_answer(self, &problem) && read_request(self, &problem)) {
        nx_http_on_gone(request, cancel, self);
        nx_model_use_begin_sam(&self->use, api, request, self->options.model, start);
    } else {
        nx_http_reply_problem(request, &problem);
    }
}
