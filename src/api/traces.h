/* What a request looks like in a trace, where traces are kept. */
#ifndef NX_API_TRACES_H
#define NX_API_TRACES_H

#include "api/internal.h"
#include "results/results.h"

/* For the server: decides whether a request's trace is kept; user is the nx_api. */
void nx_api_trace_begin(const nx_http_request *request, nx_trace *trace, void *user);

/* A request has ended: its own span. */
void nx_api_trace_request(nx_api *api, const nx_http_access *access);

/* The model has just run for a request. stages: its stages get spans of their own, laid end to end
 * as timings_ms has them; not for one picture of many. */
void nx_api_trace_inference(nx_api *api, const nx_http_request *request, const char *model,
                            const char *device, const nx_timings *timings, bool stages);

/* otlp_spans_exported_total and otlp_spans_dropped_total. */
void nx_api_trace_metrics_register(nx_api *api);
void nx_api_trace_metrics_read(nx_api *api);

#endif
