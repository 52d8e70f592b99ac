#include "http/internal.h"

#include <string.h>
#include <strings.h>

/* REQUEST_TIMEOUT begins again with each piece of this size of a body that is not kept in memory.
 */
#define STEP (UINT64_C(8) << 20)

/* What a body's memory is at the beginning, at most, whatever length is declared; the same is the
 * most that is kept of one that has been. For less than KEPT_LEAST malloc is as fast. */
#define KEPT_MOST  ((size_t)1 << 20)
#define KEPT_LEAST ((size_t)32 << 10)

static bool type_is_listed(const nx_http_request *request, const char *const *types)
{
    const char *value = nx_http_header(request, "Content-Type");
    for (; value != NULL && *types != NULL; types++) {
        size_t size = strlen(*types);
        bool family = (*types)[size - 1] == '/';
        if (family ? strncasecmp(value, *types, size) == 0
                   : nx_http_content_type_is(request, *types)) {
            return true;
        }
    }
    return false;
}

static nx_problem too_large(const nx_http_request *request)
{
    return nx_problem_make(413, "Send less at once, or raise the server's limit on bodies.",
                           "the body is larger than the %llu bytes that are allowed",
                           (unsigned long long)request->route->max_body);
}

/* What can be said from the header alone. */
bool nx_http_body_begin(nx_http_request *request, nx_problem *problem)
{
    const nx_http_route *route = request->route;
    if (!request->framing.has_body) {
        if (route->max_body > 0 && !route->body_optional) {
            *problem = nx_problem_make(400, route->types_text, "the request has no body");
            return false;
        }
        return true;
    }
    if (route->max_body == 0) {
        *problem = nx_problem_make(400, "Leave the body out.", "%s %s takes no body",
                                   request->method, route->pattern);
        return false;
    }
    if (request->framing.length > route->max_body) {
        *problem = too_large(request);
        return false;
    }
    if (route->types != NULL && !type_is_listed(request, route->types)) {
        const char *type = nx_http_header(request, "Content-Type");
        *problem = type != NULL
                       ? nx_problem_make(415, route->types_text,
                                         "bodies of type '%.80s' are not read here", type)
                       : nx_problem_make(415, route->types_text, "the request has no Content-Type");
        return false;
    }
    if (nx_http_content_type_is(request, "multipart/form-data")) {
        request->form = nx_http_form_new(request->connection, route, problem);
        return request->form != NULL;
    }
    return true;
}

/* --- memory -------------------------------------------------------------------------------------
 */

/* Room for what is declared, so that the body does not move while it grows. */
static void begin_memory(nx_http_request *request)
{
    nx_http_kept_bodies *kept = &request->server->kept_bodies;
    size_t wanted = request->framing.length < KEPT_MOST ? request->framing.length : KEPT_MOST - 1;
    if (wanted >= KEPT_LEAST) {
        pthread_mutex_lock(&kept->lock);
        if (kept->count > 0) {
            request->body = kept->items[--kept->count];
        }
        pthread_mutex_unlock(&kept->lock);
    }
    (void)nx_buffer_reserve(&request->body, wanted + 1); /* and for the NUL of nx_buffer_cstr */
}

static void end_memory(nx_http_request *request)
{
    nx_http_kept_bodies *kept = &request->server->kept_bodies;
    nx_buffer *body = &request->body;
    if (body->capacity >= KEPT_LEAST && body->capacity <= KEPT_MOST) {
        nx_buffer_clear(body);
        pthread_mutex_lock(&kept->lock);
        if (kept->count < NX_HTTP_KEPT_BODIES) {
            kept->items[kept->count++] = *body;
            *body = (nx_buffer)NX_BUFFER_INIT;
        }
        pthread_mutex_unlock(&kept->lock);
    }
    nx_buffer_free(body);
}

void nx_http_kept_bodies_free(nx_http_kept_bodies *kept)
{
    while (kept->count > 0) {
        nx_buffer_free(&kept->items[--kept->count]);
    }
}

/* --- the body -----------------------------------------------------------------------------------
 */

bool nx_http_body_feed(nx_http_request *request, const char *bytes, size_t size,
                       nx_problem *problem)
{
    nx_http_server *server = request->server;
    const nx_http_route *route = request->route;
    if (request->received + size > route->max_body) {
        *problem = too_large(request);
        return false;
    }
    /* a large upload may take its time, as long as it comes on */
    bool receives = route->receive != NULL && request->form == NULL;
    if ((route->spool_dir != NULL || receives) &&
        request->received / STEP != (request->received + size) / STEP) {
        nx_watch_receiving(request->conn, request);
    }
    request->received += size;
    if (receives) {
        return route->receive(request, bytes, size, problem, server->options.user);
    }
    if (route->spool_dir != NULL) {
        return request->form != NULL
                   ? nx_http_form_feed(request->form, bytes, size, problem)
                   : nx_http_spool_write(&request->spool, route->spool_dir, bytes, size, problem);
    }
    request->counted += size;
    uint64_t before = atomic_fetch_add(&server->in_flight_body, size);
    if (before + size > server->limits.inflight_body) {
        *problem = nx_problem_make(503, "Try again in a moment.",
                                   "the server has no room for more request bodies now");
        problem->retry_after_s = 1;
        return false;
    }
    if (request->form != NULL) {
        return nx_http_form_feed(request->form, bytes, size, problem);
    }
    if (request->body.data == NULL) {
        begin_memory(request);
    }
    nx_buffer_append(&request->body, bytes, size);
    if (request->body.failed) {
        *problem = nx_problem_make(503, "Try again later.", "no memory for the body");
        return false;
    }
    return true;
}

bool nx_http_body_finish(nx_http_request *request, nx_problem *problem)
{
    return request->form != NULL ? nx_http_form_finish(request->form, problem)
                                 : nx_http_spool_finish(&request->spool, problem);
}

void nx_http_body_free(nx_http_request *request)
{
    atomic_fetch_sub(&request->server->in_flight_body, request->counted);
    request->received = 0;
    request->counted = 0;
    nx_http_spool_free(&request->spool);
    end_memory(request);
    nx_http_form_free(request->form);
    request->form = NULL;
}
