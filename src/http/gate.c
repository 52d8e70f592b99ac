/* The gate: where a request waits until it is known who asks. README.md tells how. */
#include "http/internal.h"

nx_http_gate_result nx_http_gate_ask(nx_http_request *request)
{
    nx_http_server *server = request->server;
    if (server->options.gate == NULL) {
        return NX_HTTP_GATE_PASS;
    }
    if (!nx_http_pending_take(server)) {
        nx_problem problem =
            nx_problem_make(503, "Try another server.", "the server is shutting down");
        nx_http_reply_problem(request, &problem);
        return NX_HTTP_GATE_ANSWERED;
    }
    request->at_gate = true;
    nx_http_gate_result result = server->options.gate(request, server->options.user);
    if (result != NX_HTTP_GATE_WAIT) {
        request->at_gate = false;
        nx_http_pending_release(server);
    }
    return result;
}

enum MHD_Result nx_http_gate_wait(nx_http_request *request)
{
    nx_http_server *server = request->server;
    struct MHD_Connection *connection = request->connection;
    (void)nx_watch_received(request->conn); /* if it was shut down, libmicrohttpd will notice */
    MHD_suspend_connection(connection);
    nx_request_state decided = NX_REQUEST_WORKING;
    if (!atomic_compare_exchange_strong(&request->state, &decided, NX_REQUEST_SUSPENDED)) {
        /* decided in the meantime, by one who saw no sleeping connection */
        MHD_resume_connection(connection);
        nx_http_pending_release(server);
    }
    return MHD_YES; /* called again, as if for the first time, after the connection was resumed */
}

nx_http_gate_result nx_http_gate_leave(nx_http_request *request)
{
    request->at_gate = false;
    nx_request_state passed = NX_REQUEST_PASSED;
    return atomic_compare_exchange_strong(&request->state, &passed, NX_REQUEST_WORKING)
               ? NX_HTTP_GATE_PASS
               : NX_HTTP_GATE_ANSWERED;
}

void nx_http_gate_done(nx_http_request *request)
{
    nx_http_wake(request, NX_REQUEST_PASSED);
}
