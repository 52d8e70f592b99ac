/*
 * What a handler sees of a request, and how it answers.
 *
 * A handler runs on a connection thread and must not wait. It either answers before it returns, or
 * keeps the request and answers later from any thread: the connection sleeps meanwhile (README.md).
 * Each request is answered exactly once; afterwards the answerer must not touch it.
 */
#ifndef NX_HTTP_REQUEST_H
#define NX_HTTP_REQUEST_H

#include "base/address.h"
#include "base/buffer.h"
#include "base/log.h"
#include "base/trace.h"
#include "http/problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_http_request nx_http_request;

/* --- reading; every pointer lives as long as the request ----------------------------------------
 */

const char *nx_http_method(const nx_http_request *request);
const char *nx_http_path(const nx_http_request *request); /* decoded, without the query */
/* The segment, decoded, that "{name}" matched in the pattern; "" when the pattern has no such.
 * Never empty otherwise, and never with a "/" in it: an encoded one ends a segment as a plain one
 * does. */
const char *nx_http_path_param(const nx_http_request *request, const char *name);
/* The X-Request-Id: the client's when it was sane, else a new one. */
const char *nx_http_request_id(const nx_http_request *request);
/* Its span, in the trace of its traceparent or in a new one. */
const nx_trace *nx_http_trace(const nx_http_request *request);
/* What lines about it say of it: of the server's own threads while they call a handler or the gate.
 * Other threads take a copy, which may outlive the request. */
const nx_log_context *nx_http_log_context(const nx_http_request *request);
/* The first header of that name (case ignored), or NULL. */
const char *nx_http_header(const nx_http_request *request, const char *name);
/* Has the one media type of Content-Type (parameters and case ignored)? */
bool nx_http_content_type_is(const nx_http_request *request, const char *type);
/* Whose request it is: the other end of the connection or, when that is one of trusted_proxies,
 * what X-Forwarded-For says of it (http/forwarded.h). nx_address_network is what to count by. */
nx_address nx_http_client(const nx_http_request *request);
void nx_http_client_text(const nx_http_request *request, char out[NX_ADDRESS_TEXT]);
/* Did the client come by https? So says X-Forwarded-Proto of a trusted proxy; nobody else is
 * believed, and the server itself speaks plain HTTP. */
bool nx_http_is_secure(const nx_http_request *request);
/* Is the client certainly a program on this machine: the connection is from a loopback address that
 * is not a trusted proxy's, and no header says that the request was forwarded? A proxy on this
 * machine that adds no such header looks the same. */
bool nx_http_is_local(const nx_http_request *request);
/* nx_clock_now_ns() when the header was complete. */
int64_t nx_http_started_ns(const nx_http_request *request);

/* value is NULL for a name without "=". Returning false ends the walk. */
typedef bool (*nx_http_each)(const char *name, const char *value, void *user);
/* The query's pairs in their order, decoded. Returns false when the walk was ended. */
bool nx_http_each_query(const nx_http_request *request, nx_http_each each, void *user);

/* The raw body; NULL and 0 when there is none or when it was a form. */
const void *nx_http_body(const nx_http_request *request, size_t *size);
/* The file that holds the raw body on a route with a spool_dir, and its size; NULL when there is
 * none or when it was a form. The file is removed when the request ends: rename it to keep it. */
const char *nx_http_body_file(const nx_http_request *request, uint64_t *size);
/* Frees the raw body before the request ends, for who has taken what is needed out of it. */
void nx_http_drop_body(nx_http_request *request);

/* One part of a multipart/form-data body. data is followed by a NUL. */
typedef struct nx_http_part {
    const char *name;     /* "" when it had none */
    const char *filename; /* NULL: an ordinary field */
    const char *data;     /* NULL when it lies in a file */
    size_t size;
    const char *path; /* of a file, on a route with a spool_dir; else NULL. As nx_http_body_file. */
} nx_http_part;
/* The parts in their order; NULL and 0 when the body was not a form. */
const nx_http_part *nx_http_parts(const nx_http_request *request, size_t *count);

/* --- who asks -----------------------------------------------------------------------------------
 */

#define NX_HTTP_MAX_IDENTITY 256 /* bytes */

/* Ties a plain value to the request, copied: who asks, as the server's gate has found. From the
 * gate, or before it is told. Aligned for anything. */
void nx_http_set_identity(nx_http_request *request, const void *bytes, size_t size);
/* The user's name for the log; from the same places. */
void nx_http_set_user(nx_http_request *request, const char *name);
/* NULL: none was set. */
const void *nx_http_identity(const nx_http_request *request);

/* A gate that has answered NX_HTTP_GATE_WAIT (http/server.h) lets the request pass: once, from any
 * thread, and without touching it afterwards. To refuse it, answer it instead. */
void nx_http_gate_done(nx_http_request *request);

/* --- keeping ------------------------------------------------------------------------------------
 */

/* Ties a value to the request; free_context (may be NULL) is called once, on a connection thread,
 * after the answer was sent or the client was lost, and after a cancel callback has returned. */
void nx_http_set_context(nx_http_request *request, void *context, void (*free_context)(void *));
void *nx_http_context(const nx_http_request *request);

/*
 * cancel is called, at most once and on another thread, when the client goes away (or the server
 * stops) before the answer. It asks for an early end; the request must still be answered, by
 * cancel itself or by whoever works on it. Set it inside the handler.
 */
void nx_http_on_gone(nx_http_request *request, void (*cancel)(nx_http_request *, void *),
                     void *user);

/* --- answering ----------------------------------------------------------------------------------
 */

/* Adds a header to the coming answer. name must be a literal; value is copied. At most 16. */
void nx_http_add_header(nx_http_request *request, const char *name, const char *value);

/* Answers with body's bytes, which move to the request (body is left empty). content_type must
 * be a literal. A body that ran out of memory is answered as 500. */
void nx_http_reply(nx_http_request *request, int status, const char *content_type, nx_buffer *body);

/* Answers with bytes that outlive the server (embedded files, literals). content_type may be NULL
 * for an answer without a body. */
void nx_http_reply_static(nx_http_request *request, int status, const char *content_type,
                          const void *bytes, size_t size);

void nx_http_reply_problem(nx_http_request *request, const nx_problem *problem);

/*
 * Answers with a file, or with the one range of it that is asked for: 200, 206, 304 or 416 by the
 * request's Range, If-Range and If-None-Match (RFC 9110 sections 13 and 14). fd is a regular file
 * and moves to the request; size is how much of it the answer holds, so that the file may go on
 * growing. etag is strong, with its quotes, and copied; NULL: none. content_type must be a literal.
 * The connection thread reads piece by piece and waits for the disk.
 */
void nx_http_reply_file(nx_http_request *request, const char *content_type, const char *etag,
                        int fd, uint64_t size);

/* As nx_http_reply_file, with bytes that move to the request (body is left empty). */
void nx_http_reply_content(nx_http_request *request, const char *content_type, const char *etag,
                           nx_buffer *body);

/* --- answers that go on -------------------------------------------------------------------------
 */

/* What a stream holds for a client that reads slower than is written. */
#define NX_HTTP_STREAM_MAX ((size_t)256 << 10)

typedef struct nx_http_stream nx_http_stream;

/*
 * Answers 200 with a body that is written while things happen, such as Server-Sent Events. gone is
 * called once, on another thread, when the client goes away or the server stops, unless the stream
 * was ended before: it is still to be ended then. It takes the place of nx_http_on_gone's callback,
 * and may come before this function has returned. user must live as long as the request: tie it to
 * that with nx_http_set_context. NULL: no memory, and the request was answered so.
 */
nx_http_stream *nx_http_reply_stream(nx_http_request *request, const char *content_type,
                                     void (*gone)(void *user), void *user);

/* Thread-safe, does not wait. False: nobody reads any more, or so slowly that NX_HTTP_STREAM_MAX
 * bytes would wait; all that is left is to end the stream. */
bool nx_http_stream_write(nx_http_stream *stream, const void *bytes, size_t size);

/* Bytes that were written and not sent yet. Thread-safe. */
size_t nx_http_stream_waiting(nx_http_stream *stream);

/* What was written is still sent. Once; the stream is gone afterwards. */
void nx_http_stream_end(nx_http_stream *stream);

#endif
