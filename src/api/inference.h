/* What single pictures and batches have in common. */
#ifndef NX_API_INFERENCE_H
#define NX_API_INFERENCE_H

#include "api/internal.h"

/* How an error of a picture or of the engine is answered. A fault of ours is logged, with the
 * request's id. */
nx_problem nx_api_problem_of(nx_api *api, const nx_http_request *request, nx_status status,
                             const nx_error *err);

/*
 * The context of an inference request, zeroed, and counted until nx_api_inference_ends, for
 * nx_api_stop to wait for. The request owns it: `end` frees it and calls nx_api_inference_ends.
 * NULL: the request is answered.
 */
void *nx_api_inference_new(nx_api *api, nx_http_request *request, size_t size,
                           void (*end)(void *context));
void nx_api_inference_ends(nx_api *api);

/* The job of one picture with these options and the server's limits. Errors: as nx_image_job_new.
 */
nx_status nx_api_new_job(nx_api *api, nx_model *model, const nx_api_options *options,
                         nx_annotate annotate, nx_priority priority, const void *bytes, size_t size,
                         nx_image_job **out, nx_error *err);

/* Records how one inference of a request went, in metrics and its trace. result is NULL after a
 * failure. alone: it is not one of several of the request. */
void nx_api_record(nx_api *api, const nx_http_request *request, nx_status status,
                   const nx_result *result, bool alone);
/* Its stages, in metrics alone. */
void nx_api_record_stages(nx_api *api, const nx_timings *timings);

/* Options from the query, then from the form's fields. False fills problem. */
bool nx_api_options_from_query(nx_api_options *options, const nx_http_request *request,
                               nx_problem *problem);
bool nx_api_options_from_fields(nx_api_options *options, const nx_http_request *request,
                                nx_problem *problem);
/* Options from every member of a JSON object but `except`. False fills problem. */
bool nx_api_options_from_json(nx_api_options *options, const json_t *object, const char *except,
                              nx_problem *problem);

#endif
