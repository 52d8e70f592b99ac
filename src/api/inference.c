#include "api/inference.h"

#include "api/traces.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* Whole seconds until the engine will have worked off its queue, for Retry-After. */
static int retry_after_s(nx_api *api)
{
    nx_engine_stats stats = nx_engine_get_stats(api->deps.engine);
    double workers = stats.workers > 0 ? stats.workers : 1;
    double seconds = (double)stats.queued * (double)stats.run_ns_average / NX_NS_PER_SEC / workers;
    return seconds < 1 ? 1 : seconds > 60 ? 60 : (int)(seconds + 0.999);
}

nx_problem nx_api_problem_of(nx_api *api, const nx_http_request *request, nx_status status,
                             const nx_error *err)
{
    static const struct {
        int http;
        const char *advice;
        bool retry;
    } answers[] = {
        [NX_ERR_INVALID] = {422, "Check the picture and the options.", false},
        [NX_ERR_UNSUPPORTED] = {415, "Convert it to JPEG, PNG or WebP.", false},
        [NX_ERR_CORRUPT] = {422, "Send the whole file; check that the upload was not cut short.",
                            false},
        [NX_ERR_TOO_LARGE] = {413, "Scale the picture down.", false},
        [NX_ERR_NOT_FOUND] = {404, "Check the name.", false},
        [NX_ERR_NO_MEMORY] = {503, "Try again later, or send a smaller picture.", true},
        [NX_ERR_IO] = {500, "Look for the request_id in the server's log.", false},
        [NX_ERR_BUSY] = {503, "Try again after the seconds in Retry-After.", true},
        [NX_ERR_TIMEOUT] = {503, "Try again after the seconds in Retry-After.", true},
        [NX_ERR_CANCELLED] = {499, "Keep the connection open until the answer comes.", false},
        [NX_ERR_UNAVAILABLE] = {503, "Try another server, or this one in a moment.", true},
        [NX_ERR_CONFLICT] = {409, "Change what stands in the way, and try again.", false},
        [NX_ERR_INTERNAL] = {500, "Look for the request_id in the server's log.", false},
    };
    bool known = (size_t)status < sizeof answers / sizeof answers[0] && answers[status].http != 0;
    size_t index = known ? (size_t)status : NX_ERR_INTERNAL;
    nx_problem problem =
        nx_problem_make(answers[index].http, answers[index].advice, "%s", err->message);
    if (answers[index].retry) {
        problem.retry_after_s = retry_after_s(api);
    }
    if (problem.status == 500) {
        const nx_log_context *before = nx_log_set_context(nx_http_log_context(request));
        nx_log_error("api", "%s", err->message);
        (void)nx_log_set_context(before);
    }
    return problem;
}

static void inference_begins(nx_api *api)
{
    pthread_mutex_lock(&api->lock);
    api->inferences++;
    pthread_mutex_unlock(&api->lock);
}

void nx_api_inference_ends(nx_api *api)
{
    pthread_mutex_lock(&api->lock);
    if (--api->inferences == 0) {
        pthread_cond_broadcast(&api->quiet);
    }
    pthread_mutex_unlock(&api->lock);
}

void *nx_api_inference_new(nx_api *api, nx_http_request *request, size_t size,
                           void (*end)(void *context))
{
    void *context = calloc(1, size);
    if (context == NULL) {
        const nx_problem problem =
            nx_problem_make(503, "Try again later.", "no memory for the request");
        nx_http_reply_problem(request, &problem);
        return NULL;
    }
    inference_begins(api);
    nx_http_set_context(request, context, end);
    return context;
}

void nx_api_admit_inference(nx_http_request *request, void *user)
{
    nx_api *api = user;
    if (atomic_load(&api->refuses)) {
        nx_problem problem = nx_problem_make(503, "Try another server, or this one in a moment.",
                                             "the server is shutting down");
        problem.retry_after_s = 1;
        nx_http_reply_problem(request, &problem);
    }
}

nx_status nx_api_new_job(nx_api *api, nx_model *model, const nx_api_options *options,
                         nx_annotate annotate, nx_priority priority, const void *bytes, size_t size,
                         nx_image_job **out, nx_error *err)
{
    const nx_image_job_options job = {
        .postprocess = options->postprocess,
        .annotate = annotate,
        .priority = priority,
        .max_pixels = api->max_pixels,
        .deadline_ns = nx_clock_now_ns() + api->timeout_ns,
    };
    return nx_image_job_new(model, bytes, size, &job, out, err);
}

void nx_api_record_stages(nx_api *api, const nx_timings *timings)
{
    nx_service_metrics *metrics = api->deps.metrics;
    nx_service_metrics_stage(metrics, NX_STAGE_QUEUE, timings->queue);
    nx_service_metrics_stage(metrics, NX_STAGE_DECODE, timings->decode);
    nx_service_metrics_stage(metrics, NX_STAGE_PREPROCESS, timings->preprocess);
    nx_service_metrics_stage(metrics, NX_STAGE_INFERENCE, timings->inference);
    nx_service_metrics_stage(metrics, NX_STAGE_POSTPROCESS, timings->postprocess);
}

void nx_api_record(nx_api *api, const nx_http_request *request, nx_status status,
                   const nx_result *result, bool alone)
{
    if (status != NX_OK) {
        nx_service_metrics_failure(api->deps.metrics, status);
        return;
    }
    nx_api_record_stages(api, &result->timings);
    nx_api_trace_inference(api, request, result->model, result->device, &result->timings, alone);
}

/* --- options ------------------------------------------------------------------------------------
 */

typedef struct option_walk {
    nx_api_options *options;
    nx_problem *problem;
} option_walk;

static bool take_pair(const char *name, const char *value, void *user)
{
    option_walk *walk = user;
    return nx_api_options_set(walk->options, name, value, walk->problem);
}

bool nx_api_options_from_query(nx_api_options *options, const nx_http_request *request,
                               nx_problem *problem)
{
    option_walk walk = {options, problem};
    nx_api_options_next_source(options);
    return nx_http_each_query(request, take_pair, &walk);
}

bool nx_api_options_from_fields(nx_api_options *options, const nx_http_request *request,
                                nx_problem *problem)
{
    size_t count = 0;
    const nx_http_part *parts = nx_http_parts(request, &count);
    nx_api_options_next_source(options);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].filename == NULL &&
            !nx_api_options_set(options, parts[i].name, parts[i].data, problem)) {
            return false;
        }
    }
    return true;
}

bool nx_api_options_from_json(nx_api_options *options, const json_t *object, const char *except,
                              nx_problem *problem)
{
    const char *name;
    json_t *value;
    nx_api_options_next_source(options);
    json_object_foreach((json_t *)object, name, value)
    {
        if (strcmp(name, except) != 0 && !nx_api_options_set_json(options, name, value, problem)) {
            return false;
        }
    }
    return true;
}
