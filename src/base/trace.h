/*
 * Where something stands in a trace, as W3C's Trace Context has it (w3.org/TR/trace-context): what
 * came in from a caller, and what is told to those that are called. Ids are lower-case hexadecimal
 * digits.
 */
#ifndef NX_BASE_TRACE_H
#define NX_BASE_TRACE_H

#include <stdbool.h>

#define NX_TRACE_ID_SIZE 33 /* with its NUL */
#define NX_SPAN_ID_SIZE  17
#define NX_TRACE_SIZE    56 /* of the header's value, "00-TRACE-SPAN-FLAGS", with its NUL */

typedef struct nx_trace {
    char id[NX_TRACE_ID_SIZE];    /* "": there is no trace */
    char span[NX_SPAN_ID_SIZE];   /* of what happens here */
    char parent[NX_SPAN_ID_SIZE]; /* of what it happens for; "": it is the first */
    bool sampled;                 /* the caller keeps it */
} nx_trace;

/* Reads a traceparent: id, parent and sampled are its own, span is still "". False: it is none, and
 * out is empty. NULL is none. */
bool nx_trace_parse(const char *text, nx_trace *out);

/* A trace of its own, with a span. Any thread; waits for nothing. */
nx_trace nx_trace_begin(void);

/* A new span in the trace that a traceparent names; in a new trace when it names none. */
nx_trace nx_trace_continue(const char *text);

/* A span of its own for a part of what happens at trace. */
nx_trace nx_trace_below(const nx_trace *trace);

/* The traceparent for those that are called from here. */
void nx_trace_write(const nx_trace *trace, char out[NX_TRACE_SIZE]);

#endif
