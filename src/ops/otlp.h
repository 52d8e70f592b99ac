/*
 * Sends the spans of a tracer (base/tracer.h) to a collector by OTLP/HTTP with JSON
 * (opentelemetry.io/docs/specs/otlp): batches, on one thread, each a POST with a time limit. What
 * is answered with 429, 502, 503 or 504, or not at all, is tried again with growing, shortened-at-
 * random waits or after Retry-After, a few times; meanwhile the tracer's queue fills, and what
 * finds no room there is dropped and counted. Nobody who makes spans ever waits.
 *
 * It belongs to one process: it is made after a fork.
 */
#ifndef NX_OPS_OTLP_H
#define NX_OPS_OTLP_H

#include "base/config.h"
#include "base/error.h"
#include "base/tracer.h"

#include <stdint.h>

typedef struct nx_otlp nx_otlp;

/* Borrowed while nx_otlp_start lasts. Zeros take what stands behind them. */
typedef struct nx_otlp_options {
    const char *endpoint;        /* "http://collector:4318"; "/v1/traces" is added */
    const char *traces_endpoint; /* as it is; stronger than endpoint. Both "": nothing is sent */
    const char *headers;         /* "name=value,name=value", values percent-encoded */
    const char *ca_file;         /* "": the system's */
    const char *service;
    const char *attributes; /* of the resource, as headers */
    nx_sampler sampler;
    double ratio;
    int timeout_ms;     /* of a POST; 10 s */
    int delay_ms;       /* for a batch to fill; 5 s */
    int first_retry_ms; /* 1 s; the waits double up to half a minute */
} nx_otlp_options;

/* Errors: NX_ERR_INVALID (an endpoint or pair that is none), as nx_otlp_start would say. */
nx_status nx_otlp_check(const nx_otlp_options *options, nx_error *err);

/* What the configuration says; strings are borrowed from it. */
nx_otlp_options nx_otlp_options_of(const nx_config *config);

/* *out is NULL, which every function takes as one that sends nothing, when there is no endpoint.
 * Errors: NX_ERR_INVALID, NX_ERR_NO_MEMORY, NX_ERR_INTERNAL (libcurl or the thread). */
nx_status nx_otlp_start(const nx_otlp_options *options, nx_otlp **out, nx_error *err);

/* An endpoint as logs may have it: without a user, a password or a query, which may hold tokens. */
void nx_otlp_shown(const char *url, char *out, size_t size);

/* NULL of NULL. */
nx_tracer *nx_otlp_tracer(nx_otlp *otlp);

typedef enum nx_otlp_loss {
    NX_OTLP_QUEUE_FULL,
    NX_OTLP_REFUSED,     /* by the collector */
    NX_OTLP_UNREACHABLE, /* it did not take them in several tries */
    NX_OTLP_SHUTDOWN,    /* there was no time left */
    NX_OTLP_LOSSES,
} nx_otlp_loss;

const char *nx_otlp_loss_name(nx_otlp_loss loss); /* "queue_full" */

/* Spans since the start. */
typedef struct nx_otlp_stats {
    uint64_t exported;
    uint64_t dropped[NX_OTLP_LOSSES];
} nx_otlp_stats;

nx_otlp_stats nx_otlp_get_stats(nx_otlp *otlp);

/* Sends what is queued until deadline_ns (by nx_clock_now_ns), once; whoever makes spans has ended.
 * The tracer is gone with it. */
void nx_otlp_stop(nx_otlp *otlp, int64_t deadline_ns);

#endif
