/* The life of a request as libmicrohttpd calls for it; README.md tells it as a whole. */
#include "base/clock.h"
#include "base/log.h"
#include "http/internal.h"

#include <string.h>

#define MAX_FIELDS 100

/* --- the header ---------------------------------------------------------------------------------
 */

typedef struct field_list {
    nx_http_field items[MAX_FIELDS];
    size_t count;
    bool too_many;
    bool folded;
} field_list;

/*
 * libmicrohttpd 0.9.75 glues a folded line (RFC 9112 section 5.2) onto the *name* of the line
 * before it, so that "Content-Leng: 9\r\n th" would become Content-Length. Name and value of an
 * honest line lie in one piece of memory with nothing but whitespace between them.
 */
static bool is_one_line(const char *name, size_t name_size, const char *value)
{
    if (value == NULL || value <= name + name_size) {
        return false;
    }
    for (const char *c = name + name_size + 1; c < value; c++) {
        if (*c != ' ' && *c != '\t') {
            return false;
        }
    }
    return true;
}

static enum MHD_Result collect_field(void *cls, enum MHD_ValueKind kind, const char *name,
                                     size_t name_size, const char *value, size_t value_size)
{
    (void)kind;
    field_list *list = cls;
    if (list->count == MAX_FIELDS) {
        list->too_many = true;
        return MHD_NO;
    }
    list->folded = list->folded || !is_one_line(name, name_size, value);
    list->items[list->count++] = (nx_http_field){name, name_size, value, value_size};
    return MHD_YES;
}

static bool check_framing(nx_http_request *request, const char *version, nx_problem *problem)
{
    field_list list;
    list.count = 0;
    list.too_many = list.folded = false;
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, collect_field, &list);
    if (list.too_many) {
        *problem = nx_problem_make(431, "Send fewer headers.", "there are more than %d headers",
                                   MAX_FIELDS);
        return false;
    }
    nx_error err = {0};
    if (list.folded) {
        nx_error_set(&err, NX_ERR_INVALID, "a header line is folded onto the next");
    } else if (nx_framing_check(list.items, list.count, strcmp(version, "HTTP/1.0") == 0,
                                &request->framing, &err) == NX_OK) {
        return true;
    }
    *problem =
        nx_problem_make(400, "Send a well-formed HTTP/1.1 request (RFC 9112).", "%s", err.message);
    return false;
}

/* Limits, and what else can refuse a request with a route before its body; it is answered then. */
static void admit(nx_http_request *request)
{
    nx_problem problem;
    if (!nx_http_limits_take(request, &problem) || !nx_http_body_begin(request, &problem)) {
        nx_http_reply_problem(request, &problem);
    } else if (request->route->admit != NULL) {
        request->route->admit(request, request->server->options.user);
    }
}

static bool is_answered(const nx_http_request *request)
{
    return atomic_load(&request->state) == NX_REQUEST_ANSWERED;
}

/* The end of the header: answered, or on to the body or the handler. */
static enum MHD_Result leave_header(nx_http_request *request, bool framed)
{
    if (!is_answered(request)) {
        if (request->framing.has_body) {
            nx_watch_receiving(request->conn, request);
        }
        return MHD_YES;
    }
    if (framed && !request->framing.has_body) {
        return MHD_YES; /* answered at the end, which lets the connection live */
    }
    /* An answer this early makes libmicrohttpd close the connection, and drop what follows. */
    nx_watch_linger(request->conn);
    return nx_http_respond(request);
}

static enum MHD_Result pass_gate(nx_http_request *request, nx_http_gate_result result)
{
    if (result == NX_HTTP_GATE_PASS) {
        admit(request);
    }
    return leave_header(request, true);
}

static enum MHD_Result take_header(nx_http_request *request, const char *version)
{
    nx_problem problem;
    bool framed = check_framing(request, version, &problem);
    request->route = framed ? nx_http_route_find(request, &problem) : NULL;
    if (request->route == NULL) {
        nx_http_reply_problem(request, &problem);
        return leave_header(request, framed);
    }
    nx_http_gate_result result = nx_http_gate_ask(request);
    return result == NX_HTTP_GATE_WAIT ? nx_http_gate_wait(request) : pass_gate(request, result);
}

/* --- the body -----------------------------------------------------------------------------------
 */

static enum MHD_Result take_body(nx_http_request *request, const char *bytes, size_t *size)
{
    nx_problem problem;
    if (nx_http_body_feed(request, bytes, *size, &problem)) {
        *size = 0;
        return MHD_YES;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != NULL && nx_watch_received(request->conn)) {
        nx_http_respond_raw(request, info->connect_fd, &problem);
    }
    nx_watch_linger(request->conn);
    return MHD_NO;
}

/* --- the answer ---------------------------------------------------------------------------------
 */

static void cancel_request(void *user)
{
    nx_http_request *request = user;
    request->cancel(request, request->cancel_user);
}

/* The handler keeps the request: let the connection sleep until it answers. */
static enum MHD_Result wait_for_answer(nx_http_request *request)
{
    nx_http_server *server = request->server;
    struct MHD_Connection *connection = request->connection;
    if (request->cancel != NULL) {
        nx_watch_arm(request->conn, cancel_request, request);
    }
    MHD_suspend_connection(connection);
    nx_request_state expected = NX_REQUEST_WORKING;
    if (!atomic_compare_exchange_strong(&request->state, &expected, NX_REQUEST_SUSPENDED)) {
        /* answered in the meantime, by one who saw no sleeping connection */
        MHD_resume_connection(connection);
        nx_http_pending_release(server);
    }
    return MHD_YES; /* called again after the connection was resumed */
}

/* Calls the handler, or answers in its place. Returns whether it was called. */
static bool handle(nx_http_request *request)
{
    nx_http_server *server = request->server;
    nx_problem problem;
    if (!nx_http_body_finish(request, &problem)) {
        nx_http_reply_problem(request, &problem);
        return false;
    }
    if (!nx_http_pending_take(server)) {
        problem = nx_problem_make(503, "Try another server.", "the server is shutting down");
        nx_http_reply_problem(request, &problem);
        return false;
    }
    request->route->handle(request, server->options.user);
    return true;
}

static enum MHD_Result take_end(nx_http_request *request)
{
    if (!is_answered(request)) {
        if (request->framing.has_body && !nx_watch_received(request->conn)) {
            return MHD_NO; /* it came too late, and was told so */
        }
        bool handled = handle(request);
        if (!is_answered(request)) {
            return wait_for_answer(request);
        }
        if (handled) {
            nx_http_pending_release(request->server);
        }
    } else if (request->cancel != NULL) {
        nx_watch_disarm(request->conn);
    }
    return nx_http_respond(request);
}

static enum MHD_Result go_on(nx_http_request *request, const char *upload_data,
                             size_t *upload_data_size)
{
    if (request->at_gate) {
        return pass_gate(request, nx_http_gate_leave(request));
    }
    if (*upload_data_size > 0) {
        return take_body(request, upload_data, upload_data_size);
    }
    return take_end(request);
}

enum MHD_Result nx_http_dispatch(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload_data,
                                 size_t *upload_data_size, void **slot)
{
    nx_http_request *request = *slot;
    bool begins = request == NULL;
    if (begins) {
        *slot = request = nx_http_request_new(cls, connection, method, url);
        if (request == NULL) {
            return MHD_NO;
        }
    }
    /* it lives until nx_http_completed, on this same thread */
    (void)nx_log_set_context(&request->log);
    enum MHD_Result result =
        begins ? take_header(request, version) : go_on(request, upload_data, upload_data_size);
    (void)nx_log_set_context(NULL);
    return result;
}

void nx_http_completed(void *cls, struct MHD_Connection *connection, void **request_slot,
                       enum MHD_RequestTerminationCode code)
{
    (void)connection, (void)code;
    nx_http_server *server = cls;
    nx_http_request *request = *request_slot;
    if (request == NULL) {
        return;
    }
    *request_slot = NULL;
    if (request->cancel != NULL || request->answer.stream != NULL) {
        /* a server that stops may not come past take_end again */
        nx_watch_disarm(request->conn);
    }
    if (request->answer.stream != NULL) { /* the watch need not have noticed first */
        nx_http_stream_gone(request->answer.stream);
    }
    nx_watch_idle(request->conn);
    nx_http_access access = {
        .request = request,
        .method = request->method,
        .route = request->route,
        .request_id = request->id,
        .status = request->sent_status,
        .duration_ns = nx_clock_now_ns() - request->started_ns,
    };
    (void)nx_log_set_context(&request->log);
    nx_log_debug("http", "%s %s %d %.3f ms", access.method, request->path, access.status,
                 nx_clock_ms(access.duration_ns));
    if (server->options.on_access != NULL) {
        server->options.on_access(&access, server->options.user);
    }
    (void)nx_log_set_context(NULL);
    nx_http_request_free(request);
}
