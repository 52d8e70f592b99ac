/* A webhook's span in the trace of what it tells of: opentelemetry.io/docs/specs/semconv/http/
 * http-spans, "HTTP client". */
#include "base/clock.h"
#include "jobs/webhook_message.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

/* Host and port, and the URL with nothing of its path, which is often the secret. */
static void set_receiver(nx_span *span, const char *url)
{
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    char shown[400];
    if (parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
        nx_span_set_text(span, "server.address", host);
        nx_span_set_number(span, "server.port", strtol(port, NULL, 10));
        snprintf(shown, sizeof shown, "%s://%s:%s/REDACTED", scheme, host, port);
        nx_span_set_text(span, "url.full", shown);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parts);
}

void nx_webhook_trace(nx_tracer *tracer, const nx_trace *trace, const nx_webhook *webhook,
                      const nx_webhook_outcome *outcome, int64_t began_ns)
{
    char status[24];
    nx_span span;
    if (!nx_tracer_keeps(tracer, trace)) {
        return;
    }
    nx_span_begin(&span, trace, NX_SPAN_CLIENT, "POST", began_ns);
    nx_span_set_text(&span, "http.request.method", "POST");
    set_receiver(&span, webhook->url);
    if (outcome->status != 0) {
        nx_span_set_number(&span, "http.response.status_code", outcome->status);
    }
    if (webhook->attempts > 1) {
        nx_span_set_number(&span, "http.request.resend_count", webhook->attempts - 1);
    }
    nx_span_set_text(&span, "nexus.delivery.id", webhook->id);
    span.failed = outcome->error != NULL;
    if (span.failed) {
        snprintf(status, sizeof status, "%lld", (long long)outcome->status);
        nx_span_set_text(&span, "error.type",
                         outcome->status != 0 ? status : nx_webhook_failure_name(outcome->failure));
    }
    nx_tracer_end(tracer, &span, nx_clock_now_ns());
}
