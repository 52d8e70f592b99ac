/* JSON request bodies and the base64 in them. Pure functions on memory; thread-safe. */
#ifndef NX_API_PAYLOAD_H
#define NX_API_PAYLOAD_H

#include "base/buffer.h"
#include "http/problem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Reads one JSON object (RFC 8259): valid UTF-8, no name twice, bounded depth, and at most 10,000
 * values, since a small value costs jansson forty times the bytes that it takes in the body.
 * The caller owns *out. False fills problem (400, or 413 for too many values).
 */
bool nx_payload_parse(const char *text, size_t size, json_t **out, nx_problem *problem);

/*
 * Decodes base64 (RFC 4648: standard or URL-safe alphabet, padding may be left out, white space is
 * skipped), with or without a "data:...;base64," in front, and appends it to out.
 * what names the member in messages. False fills problem (400, or 503 without memory).
 */
bool nx_payload_base64(const char *what, const char *text, size_t size, nx_buffer *out,
                       nx_problem *problem);

#endif
