#include "base/clock.h"
#include "http/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- making -------------------------------------------------------------------------------------
 */

/* Its length, or 0 when it is not fit to be repeated in headers, bodies and logs. */
static size_t sane_id_size(const char *id)
{
    size_t size = 0;
    for (; id[size] != '\0'; size++) {
        char c = id[size];
        bool allowed = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '_' || c == '.';
        if (!allowed || size == NX_HTTP_MAX_ID) {
            return 0;
        }
    }
    return size;
}

/* Unique in this process and unlikely to meet another's: splitmix64 (Steele, Lea and Flood, 2014)
 * maps the counter one to one, starting at a random place. */
static uint64_t new_id(nx_http_server *server)
{
    uint64_t count = atomic_fetch_add_explicit(&server->id_count, 1, memory_order_relaxed);
    uint64_t z = server->id_seed + count * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void set_id(nx_http_request *request)
{
    const char *given = nx_http_header(request, "X-Request-Id");
    size_t size = given != NULL ? sane_id_size(given) : 0;
    if (size > 0) {
        memcpy(request->id, given, size + 1);
        return;
    }
    static const char digits[] = "0123456789abcdef";
    uint64_t id = new_id(request->server);
    for (int i = 0; i < 16; i++) {
        request->id[i] = digits[id >> (60 - 4 * i) & 15];
    }
    request->id[16] = '\0';
}

static enum MHD_Result count_traceparent(void *cls, enum MHD_ValueKind kind, const char *name,
                                         const char *value)
{
    (void)kind, (void)value;
    *(int *)cls += strcasecmp(name, "traceparent") == 0;
    return MHD_YES;
}

/* Goes on with the caller's trace. Two of them are none (W3C Trace Context, section 3.2.1). */
static void set_trace(nx_http_request *request)
{
    const char *given = nx_http_header(request, "traceparent");
    int count = 0;
    if (given != NULL) {
        MHD_get_connection_values(request->connection, MHD_HEADER_KIND, count_traceparent, &count);
    }
    request->trace = nx_trace_continue(count == 1 ? given : NULL);
    const nx_http_server_options *options = &request->server->options;
    if (options->on_trace != NULL) {
        options->on_trace(request, &request->trace, options->user);
    }
    memcpy(request->log.request_id, request->id, sizeof request->id);
    memcpy(request->log.trace_id, request->trace.id, sizeof request->trace.id);
}

/* RFC 9112 section 3.2.2: a server must accept the absolute form of a target. */
static const char *strip_authority(const char *path)
{
    if (strncasecmp(path, "http://", 7) != 0) {
        return path;
    }
    const char *slash = strchr(path + 7, '/');
    return slash != NULL ? slash : "/";
}

nx_http_request *nx_http_request_new(nx_http_server *server, struct MHD_Connection *connection,
                                     const char *method, const char *path)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info == NULL || info->socket_context == NULL) {
        return NULL; /* memory was short when the connection was accepted */
    }
    nx_http_request *request = calloc(1, sizeof *request);
    if (request == NULL) {
        return NULL;
    }
    request->server = server;
    request->connection = connection;
    request->conn = info->socket_context;
    request->method = method;
    request->path = strip_authority(path);
    request->started_ns = nx_clock_now_ns();
    set_id(request);
    set_trace(request);
    nx_http_find_client(request);
    atomic_fetch_add(&server->requests, 1);
    return request;
}

void nx_http_request_free(nx_http_request *request)
{
    nx_http_server *server = request->server;
    if (request->free_context != NULL) {
        request->free_context(request->context);
    }
    nx_http_limits_release(request);
    nx_http_body_free(request);
    nx_buffer_free(&request->answer.body);
    nx_http_file_free(request->answer.file);
    nx_http_stream_release(request->answer.stream);
    for (size_t i = 0; i < request->answer.header_count; i++) {
        free(request->answer.headers[i].value);
    }
    free(request->path_copy);
    free(request);
    nx_http_request_ended(server);
}

/* --- reading ------------------------------------------------------------------------------------
 */

const char *nx_http_method(const nx_http_request *request)
{
    return request->method;
}

const char *nx_http_path(const nx_http_request *request)
{
    return request->path;
}

const char *nx_http_request_id(const nx_http_request *request)
{
    return request->id;
}

const nx_trace *nx_http_trace(const nx_http_request *request)
{
    return &request->trace;
}

const nx_log_context *nx_http_log_context(const nx_http_request *request)
{
    return &request->log;
}

int64_t nx_http_started_ns(const nx_http_request *request)
{
    return request->started_ns;
}

const char *nx_http_header(const nx_http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

bool nx_http_content_type_is(const nx_http_request *request, const char *type)
{
    const char *value = nx_http_header(request, "Content-Type");
    size_t size = value != NULL ? strcspn(value, "; \t") : 0;
    return value != NULL && size == strlen(type) && strncasecmp(value, type, size) == 0;
}

typedef struct query_walk {
    nx_http_each each;
    void *user;
    bool ended;
} query_walk;

static enum MHD_Result walk_query(void *cls, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    (void)kind;
    query_walk *walk = cls;
    walk->ended = !walk->each(name, value, walk->user);
    return walk->ended ? MHD_NO : MHD_YES;
}

bool nx_http_each_query(const nx_http_request *request, nx_http_each each, void *user)
{
    query_walk walk = {.each = each, .user = user};
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, walk_query, &walk);
    return !walk.ended;
}

const void *nx_http_body(const nx_http_request *request, size_t *size)
{
    *size = request->body.size;
    return request->body.data;
}

const char *nx_http_body_file(const nx_http_request *request, uint64_t *size)
{
    *size = request->spool.size;
    return request->spool.path;
}

void nx_http_drop_body(nx_http_request *request)
{
    nx_buffer_free(&request->body);
}

const nx_http_part *nx_http_parts(const nx_http_request *request, size_t *count)
{
    *count = 0;
    return request->form != NULL ? nx_http_form_parts(request->form, count) : NULL;
}

/* --- who asks -----------------------------------------------------------------------------------
 */

void nx_http_set_user(nx_http_request *request, const char *name)
{
    snprintf(request->log.user, sizeof request->log.user, "%s", name);
}

void nx_http_set_identity(nx_http_request *request, const void *bytes, size_t size)
{
    if (size <= sizeof request->identity) {
        memcpy(request->identity, bytes, size);
        request->identity_size = size;
    }
}

const void *nx_http_identity(const nx_http_request *request)
{
    return request->identity_size > 0 ? request->identity : NULL;
}

const nx_http_route *nx_http_request_route(const nx_http_request *request)
{
    return request->route;
}

/* --- keeping ------------------------------------------------------------------------------------
 */

void nx_http_set_context(nx_http_request *request, void *context, void (*free_context)(void *))
{
    request->context = context;
    request->free_context = free_context;
}

void *nx_http_context(const nx_http_request *request)
{
    return request->context;
}

void nx_http_on_gone(nx_http_request *request, void (*cancel)(nx_http_request *, void *),
                     void *user)
{
    request->cancel = cancel;
    request->cancel_user = user;
}

/* --- answering ----------------------------------------------------------------------------------
 */

void nx_http_add_header(nx_http_request *request, const char *name, const char *value)
{
    nx_http_answer *answer = &request->answer;
    if (answer->header_count < NX_HTTP_MAX_REPLY_HEADERS) {
        char *copy = strdup(value);
        if (copy != NULL) {
            answer->headers[answer->header_count].name = name;
            answer->headers[answer->header_count].value = copy;
            answer->header_count++;
        }
    }
}

/* When the connection sleeps, it is for us to wake it: from there on the request may be freed at
 * any moment. */
void nx_http_wake(nx_http_request *request, nx_request_state next)
{
    nx_http_server *server = request->server;
    struct MHD_Connection *connection = request->connection;
    if (atomic_exchange(&request->state, next) == NX_REQUEST_SUSPENDED) {
        MHD_resume_connection(connection);
        nx_http_pending_release(server);
    }
}

void nx_http_publish(nx_http_request *request)
{
    nx_http_wake(request, NX_REQUEST_ANSWERED);
}

void nx_http_reply(nx_http_request *request, int status, const char *content_type, nx_buffer *body)
{
    if (body->failed) {
        nx_buffer_free(body);
        nx_problem problem = nx_problem_make(500, "Try again later.", "no memory for the answer");
        nx_http_reply_problem(request, &problem);
        return;
    }
    request->answer.status = status;
    request->answer.content_type = content_type;
    request->answer.body = *body;
    *body = (nx_buffer)NX_BUFFER_INIT;
    nx_http_publish(request);
}

void nx_http_reply_static(nx_http_request *request, int status, const char *content_type,
                          const void *bytes, size_t size)
{
    request->answer.status = status;
    request->answer.content_type = content_type;
    request->answer.bytes = bytes;
    request->answer.size = size;
    nx_http_publish(request);
}

void nx_http_reply_problem(nx_http_request *request, const nx_problem *problem)
{
    nx_buffer body = NX_BUFFER_INIT;
    const char *type = nx_http_write_problem(request, problem, &body);
    if (problem->retry_after_s > 0) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d", problem->retry_after_s);
        nx_http_add_header(request, "Retry-After", seconds);
    }
    if (problem->allow[0] != '\0') {
        nx_http_add_header(request, "Allow", problem->allow);
    }
    if (body.failed) { /* answer all the same: the status says most of it */
        nx_buffer_free(&body);
        nx_http_reply_static(request, problem->status, NULL, NULL, 0);
        return;
    }
    nx_http_reply(request, problem->status, type, &body);
}
