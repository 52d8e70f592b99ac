#include "api/traces.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- requests -----------------------------------------------------------------------------------
 */

/* What asks every few seconds whether the server lives, and would be most of all traces. */
static bool is_probe(const char *path)
{
    return strncmp(path, "/health", 7) == 0 || strcmp(path, "/metrics") == 0;
}

void nx_api_trace_begin(const nx_http_request *request, nx_trace *trace, void *user)
{
    nx_api *api = user;
    nx_tracer *tracer = nx_otlp_tracer(api->deps.otlp);
    if (tracer != NULL && trace->parent[0] == '\0' && is_probe(nx_http_path(request))) {
        trace->sampled = false;
        return;
    }
    nx_tracer_decide(tracer, trace);
}

/* A key that somebody wrote into a path by mistake is none of a trace's business. */
static bool holds_secret(const char *path)
{
    return strstr(path, "nxk_") != NULL || strstr(path, "nxs_") != NULL ||
           strstr(path, "nxi_") != NULL;
}

/* Of HTTP's methods; others could have any length and number. */
static const char *known_method(const char *method)
{
    static const char *const known[] = {"GET",    "HEAD",    "POST",  "PUT",    "PATCH",
                                        "DELETE", "OPTIONS", "TRACE", "CONNECT"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i], method) == 0) {
            return known[i];
        }
    }
    return "_OTHER";
}

/* "nexus.example:8000", "[::1]:8000" or without a port. */
static void set_server(nx_span *span, const char *host)
{
    char name[256];
    const char *colon = strrchr(host, ':');
    bool port = colon != NULL && strchr(colon, ']') == NULL &&
                (host[0] == '[' || strchr(host, ':') == colon);
    size_t size = port ? (size_t)(colon - host) : strlen(host);
    if (size == 0 || size >= sizeof name) {
        return;
    }
    memcpy(name, host, size);
    name[size] = '\0';
    nx_span_set_text(span, "server.address", name);
    if (port) {
        nx_span_set_number(span, "server.port", strtol(colon + 1, NULL, 10));
    }
}

/* opentelemetry.io/docs/specs/semconv/http/http-spans, "HTTP server" */
void nx_api_trace_request(nx_api *api, const nx_http_access *access)
{
    nx_tracer *tracer = nx_otlp_tracer(api->deps.otlp);
    const nx_http_request *request = access->request;
    const nx_trace *trace = nx_http_trace(request);
    if (!nx_tracer_keeps(tracer, trace)) {
        return;
    }
    nx_span span;
    char name[128];
    char text[NX_ADDRESS_TEXT];
    const char *method = known_method(access->method);
    const char *path = nx_http_path(request);
    const char *route = access->route != NULL ? access->route->pattern : NULL;
    const char *host = nx_http_header(request, "Host");
    const int64_t began = nx_http_started_ns(request);
    snprintf(name, sizeof name, "%s%s%s", method[0] == '_' ? "HTTP" : method,
             route != NULL ? " " : "", route != NULL ? route : "");
    nx_span_begin(&span, trace, NX_SPAN_SERVER, name, began);
    nx_span_set_text(&span, "http.request.method", method);
    nx_span_set_text(&span, "url.scheme", nx_http_is_secure(request) ? "https" : "http");
    nx_span_set_text(&span, "http.route", route);
    if (access->status != 0) {
        nx_span_set_number(&span, "http.response.status_code", access->status);
    }
    if (access->status == 0 || access->status >= 500) {
        snprintf(text, sizeof text, "%d", access->status);
        nx_span_set_text(&span, "error.type", access->status == 0 ? "client_gone" : text);
        span.failed = access->status >= 500;
    }
    nx_http_client_text(request, text);
    nx_span_set_text(&span, "client.address", text);
    if (host != NULL) {
        set_server(&span, host);
    }
    nx_span_set_text(&span, "nexus.request_id", access->request_id);
    /* the last one, for it may be long */
    nx_span_set_text(&span, "url.path", !holds_secret(path) ? path : route != NULL ? route : "/");
    nx_tracer_end(tracer, &span, began + access->duration_ns);
}

/* --- inferences ---------------------------------------------------------------------------------
 */

static int64_t ns_of(double ms)
{
    return (int64_t)(ms * (double)NX_NS_PER_MS);
}

void nx_api_trace_inference(nx_api *api, const nx_http_request *request, const char *model,
                            const char *device, const nx_timings *timings, bool stages)
{
    nx_tracer *tracer = nx_otlp_tracer(api->deps.otlp);
    if (!nx_tracer_keeps(tracer, nx_http_trace(request))) {
        return;
    }
    const struct {
        const char *name;
        double ms;
    } parts[] = {
        {"queue", timings->queue},
        {"decode", timings->decode},
        {"preprocess", timings->preprocess},
        {"inference", timings->inference},
        {"postprocess", timings->postprocess},
    };
    const int64_t now = nx_clock_now_ns();
    int64_t at = now - ns_of(timings->total);
    nx_span span;
    const nx_trace whole = nx_trace_below(nx_http_trace(request));
    nx_span_begin(&span, &whole, NX_SPAN_INTERNAL, "infer", at);
    nx_span_set_text(&span, "nexus.model", model);
    nx_span_set_text(&span, "nexus.device", device);
    nx_tracer_end(tracer, &span, now);
    for (size_t i = 0; stages && i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].ms > 0) {
            nx_span_begin_child(&span, &whole, NX_SPAN_INTERNAL, parts[i].name, at);
            at += ns_of(parts[i].ms);
            nx_tracer_end(tracer, &span, at);
        }
    }
}

/* --- metrics ------------------------------------------------------------------------------------
 */

void nx_api_trace_metrics_register(nx_api *api)
{
    if (api->deps.otlp == NULL) {
        return;
    }
    nx_metrics *registry = nx_service_metrics_registry(api->deps.metrics);
    const char *reasons[NX_OTLP_LOSSES];
    for (int i = 0; i < NX_OTLP_LOSSES; i++) {
        reasons[i] = nx_otlp_loss_name((nx_otlp_loss)i);
    }
    const nx_label reason = {"reason", reasons, NX_OTLP_LOSSES, 0};
    api->spans_exported = nx_metrics_counter(registry, "otlp_spans_exported_total",
                                             "Spans of traces that the collector took.", NULL, 0);
    api->spans_dropped =
        nx_metrics_counter(registry, "otlp_spans_dropped_total",
                           "Spans of traces that it did not get, by reason.", &reason, 1);
    nx_metric_show_zeros(api->spans_dropped);
}

void nx_api_trace_metrics_read(nx_api *api)
{
    const nx_otlp_stats stats = nx_otlp_get_stats(api->deps.otlp);
    nx_metric_show(api->spans_exported, 0, stats.exported);
    for (size_t i = 0; i < NX_OTLP_LOSSES; i++) {
        nx_metric_show(api->spans_dropped, nx_metric_series(api->spans_dropped, i, 0, 0),
                       stats.dropped[i]);
    }
}
