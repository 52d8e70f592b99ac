#include "http/internal.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* Nothing that is not a page of ours may load or embed anything. */
#define STRICT_POLICY "default-src 'none'; frame-ancestors 'none'"

static void add_headers(const nx_http_request *request, struct MHD_Response *response)
{
    const nx_http_answer *answer = &request->answer;
    bool has_policy = false;
    for (size_t i = 0; i < answer->header_count; i++) {
        MHD_add_response_header(response, answer->headers[i].name, answer->headers[i].value);
        has_policy |= strcmp(answer->headers[i].name, "Content-Security-Policy") == 0;
    }
    if (answer->content_type != NULL) {
        MHD_add_response_header(response, "Content-Type", answer->content_type);
    }
    char trace[NX_TRACE_SIZE];
    nx_trace_write(&request->trace, trace);
    MHD_add_response_header(response, "X-Request-Id", request->id);
    MHD_add_response_header(response, "traceparent", trace);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    if (!has_policy) {
        MHD_add_response_header(response, "Content-Security-Policy", STRICT_POLICY);
    }
    if (atomic_load_explicit(&request->server->closing, memory_order_relaxed)) {
        MHD_add_response_header(response, "Connection", "close");
    }
}

static struct MHD_Response *make_response(nx_http_request *request)
{
    nx_http_answer *answer = &request->answer;
    if (answer->file != NULL) {
        return nx_http_file_response(request);
    }
    if (answer->stream != NULL) {
        return nx_http_stream_response(answer->stream);
    }
    if (answer->body.data == NULL) {
        return MHD_create_response_from_buffer(answer->size, (void *)answer->bytes,
                                               MHD_RESPMEM_PERSISTENT);
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->body.size, answer->body.data, MHD_RESPMEM_MUST_FREE);
    if (response != NULL) {
        answer->body = (nx_buffer)NX_BUFFER_INIT; /* the response frees it */
    }
    return response;
}

static void tell_writer(void *user)
{
    nx_http_stream_gone(user);
}

enum MHD_Result nx_http_respond(nx_http_request *request)
{
    struct MHD_Response *response = make_response(request);
    if (response == NULL) {
        return MHD_NO;
    }
    add_headers(request, response);
    if (request->answer.stream != NULL) {
        nx_watch_arm_stream(request->conn, tell_writer, request->answer.stream);
    } else {
        nx_watch_sending(request->conn);
    }
    request->sent_status = request->answer.status;
    enum MHD_Result queued =
        MHD_queue_response(request->connection, (unsigned)request->answer.status, response);
    MHD_destroy_response(response);
    return queued;
}

/* Is the path the prefix, or below it? */
static bool is_below(const char *path, const char *prefix)
{
    size_t size = prefix != NULL ? strlen(prefix) : 0;
    return size > 0 && strncmp(path, prefix, size) == 0 &&
           (path[size] == '\0' || path[size] == '/');
}

const char *nx_http_write_problem(const nx_http_request *request, const nx_problem *problem,
                                  nx_buffer *out)
{
    bool plain = is_below(request->path, request->server->options.plain_errors);
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    if (plain) {
        nx_json_key_string(&json, "error", problem->detail);
    } else {
        nx_problem_json_members(problem, request->path, request->id, &json);
        nx_json_key_string(&json, "trace_id", request->trace.id);
    }
    nx_json_object_end(&json);
    return plain ? "application/json" : "application/problem+json";
}

static void append_raw_answer(const nx_http_request *request, const nx_problem *problem,
                              nx_buffer *out)
{
    nx_buffer body = NX_BUFFER_INIT;
    const char *type = nx_http_write_problem(request, problem, &body);
    char date[64];
    time_t now = time(NULL);
    struct tm utc;
    char trace[NX_TRACE_SIZE];
    nx_trace_write(&request->trace, trace);
    gmtime_r(&now, &utc);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    nx_buffer_printf(out,
                     "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\n"
                     "Content-Type: %s\r\nX-Request-Id: %s\r\ntraceparent: %s\r\n"
                     "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
                     "Cross-Origin-Resource-Policy: same-origin\r\n"
                     "Content-Security-Policy: " STRICT_POLICY "\r\n",
                     problem->status, nx_http_status_title(problem->status), date, type,
                     request->id, trace);
    if (problem->retry_after_s > 0) {
        nx_buffer_printf(out, "Retry-After: %d\r\n", problem->retry_after_s);
    }
    nx_buffer_printf(out, "Content-Length: %zu\r\n\r\n", body.size);
    nx_buffer_append(out, body.data, body.size);
    out->failed |= body.failed;
    nx_buffer_free(&body);
}

void nx_http_respond_raw(nx_http_request *request, int fd, const nx_problem *problem)
{
    nx_buffer text = NX_BUFFER_INIT;
    append_raw_answer(request, problem, &text);
    if (!text.failed) {
        /* nothing else was sent for this request, so the socket's buffer has room; and when it has
         * not, closing the connection is answer enough */
        ssize_t ignored = send(fd, text.data, text.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)ignored;
    }
    nx_buffer_free(&text);
    request->sent_status = problem->status;
}
