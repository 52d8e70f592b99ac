/*
 * Spans as OTLP's JSON has them (opentelemetry.io/docs/specs/otlp, "JSON Protobuf encoding": names
 * in lowerCamelCase, ids as hexadecimal digits, 64-bit numbers as texts), and the lists of
 * "name=value" that OpenTelemetry's environment variables hold.
 */
#ifndef NX_OPS_OTLP_JSON_H
#define NX_OPS_OTLP_JSON_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/tracer.h"

#include <stddef.h>

#define NX_OTLP_MAX_PAIR 4096

/* Takes one pair; the strings live while the call lasts. False ends the walk. */
typedef bool (*nx_otlp_pair)(const char *name, const char *value, void *user);

/* Walks "a=1,b=2": spaces around names and values are no part of them, and values are
 * percent-decoded (W3C Baggage). Errors: NX_ERR_INVALID, which shows no value, for they may be
 * secrets; NX_ERR_CANCELLED when each has ended it. */
nx_status nx_otlp_pairs(const char *text, nx_otlp_pair each, void *user, nx_error *err);

/* Who sends: the attributes of the resource, as a JSON array. attributes: pairs that go before; one
 * of ours with the same name is left out then. Errors: those of nx_otlp_pairs; NX_ERR_NO_MEMORY. */
nx_status nx_otlp_write_resource(const char *service, const char *attributes, nx_buffer *out,
                                 nx_error *err);

/* A whole message (ExportTraceServiceRequest), appended. */
void nx_otlp_write(const nx_buffer *resource, const nx_span *spans, size_t count, nx_buffer *out);

#endif
