/*
 * Which traces are kept, and a bounded queue of their spans until somebody sends them (ops/otlp.h).
 * The samplers are those of OpenTelemetry (opentelemetry.io/docs/specs/otel/trace/sdk, "sampling").
 *
 * Thread-safe but for a span, which is its maker's. Nothing here waits, but for nx_tracer_take.
 * Every function takes NULL as a tracer that keeps nothing.
 */
#ifndef NX_BASE_TRACER_H
#define NX_BASE_TRACER_H

#include "base/error.h"
#include "base/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_tracer nx_tracer;

typedef enum nx_sampler {
    NX_SAMPLER_ALWAYS_ON,
    NX_SAMPLER_ALWAYS_OFF,
    NX_SAMPLER_RATIO, /* by the trace's id, so that all who take part decide alike */
    /* what the caller has decided; the rest is for traces that begin here */
    NX_SAMPLER_PARENT_ON,
    NX_SAMPLER_PARENT_OFF,
    NX_SAMPLER_PARENT_RATIO,
} nx_sampler;

/* By OpenTelemetry's name, "parentbased_traceidratio". False: there is none of that name. */
bool nx_sampler_parse(const char *name, nx_sampler *out);

/* As OTLP numbers them. */
typedef enum nx_span_kind {
    NX_SPAN_INTERNAL = 1,
    NX_SPAN_SERVER = 2,
    NX_SPAN_CLIENT = 3,
    NX_SPAN_CONSUMER = 5,
} nx_span_kind;

#define NX_SPAN_MAX_ATTRIBUTES 14
#define NX_SPAN_TEXT           768

typedef struct nx_span_attribute {
    const char *key; /* a literal */
    int64_t number;
    uint16_t text; /* where in the span's text; NX_SPAN_TEXT: it is the number */
} nx_span_attribute;

/* Made by nx_span_begin, filled by nx_span_set..., ended by nx_tracer_end. */
typedef struct nx_span {
    char trace[NX_TRACE_ID_SIZE];
    char id[NX_SPAN_ID_SIZE];
    char parent[NX_SPAN_ID_SIZE]; /* "": it is the first */
    nx_span_kind kind;
    bool failed;
    int64_t began_ns, ended_ns; /* since 1970 */
    size_t attribute_count;
    size_t text_size;
    nx_span_attribute attributes[NX_SPAN_MAX_ATTRIBUTES];
    char text[NX_SPAN_TEXT]; /* the name, then texts of attributes, each with its NUL */
} nx_span;

/* The span that a trace stands at. began_ns: by nx_clock_now_ns. */
void nx_span_begin(nx_span *span, const nx_trace *trace, nx_span_kind kind, const char *name,
                   int64_t began_ns);
/* A span of its own below the one that a trace stands at. */
void nx_span_begin_child(nx_span *span, const nx_trace *trace, nx_span_kind kind, const char *name,
                         int64_t began_ns);
/* What finds no room is left out, or cut. NULL is left out. */
void nx_span_set_text(nx_span *span, const char *key, const char *text);
void nx_span_set_number(nx_span *span, const char *key, int64_t number);

/* capacity: of the queue, in spans. batch: as many wake who takes. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_tracer_new(nx_sampler sampler, double ratio, size_t capacity, size_t batch,
                        nx_tracer **out, nx_error *err);
void nx_tracer_free(nx_tracer *tracer);

/* Says in the trace whether it is kept, from what it came with. NULL leaves what it came with. */
void nx_tracer_decide(const nx_tracer *tracer, nx_trace *trace);

/* Whether its spans are to be made. */
bool nx_tracer_keeps(const nx_tracer *tracer, const nx_trace *trace);

/* Ends it at ended_ns (by nx_clock_now_ns) and queues a copy; counts it as dropped when there is no
 * room. */
void nx_tracer_end(nx_tracer *tracer, nx_span *span, int64_t ended_ns);

/* Takes up to limit of the oldest, when a batch is there or at until_ns (by nx_clock_now_ns), or
 * once nx_tracer_wake was called. */
size_t nx_tracer_take(nx_tracer *tracer, nx_span *out, size_t limit, int64_t until_ns);

/* From now on nobody waits in nx_tracer_take. */
void nx_tracer_wake(nx_tracer *tracer);

/* Spans that found no room. */
uint64_t nx_tracer_dropped(nx_tracer *tracer);

#endif
