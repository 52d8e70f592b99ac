#include "http/internal.h"

#include <string.h>

#define RETRY_AFTER_S 1

/* The lock is held. */
static uint32_t count_client(const nx_http_server *server, const nx_address *network)
{
    uint32_t count = 0;
    for (const nx_http_request *r = server->clients; r != NULL; r = r->next) {
        count += nx_address_equal(&r->network, network);
    }
    return count;
}

static bool take_client(nx_http_request *request, nx_problem *problem)
{
    nx_http_server *server = request->server;
    uint32_t limit = server->limits.per_client;
    if (!request->route->per_client || limit == 0) {
        return true;
    }
    request->network = nx_address_network(&request->client);
    pthread_mutex_lock(&server->lock);
    bool allowed = count_client(server, &request->network) < limit;
    if (allowed) {
        request->next = server->clients;
        if (server->clients != NULL) {
            server->clients->previous = request;
        }
        server->clients = request;
        request->in_clients = true;
    }
    pthread_mutex_unlock(&server->lock);
    if (!allowed) {
        *problem = nx_problem_make(429,
                                   "Wait for answers before sending more. Behind a proxy that "
                                   "TRUSTED_PROXIES does not name all clients look like one.",
                                   "this client has %u requests in flight already", limit);
        problem->retry_after_s = RETRY_AFTER_S;
    }
    return allowed;
}

bool nx_http_limits_take(nx_http_request *request, nx_problem *problem)
{
    nx_http_server *server = request->server;
    if (request->route->always) {
        return true;
    }
    request->in_limits = true;
    uint32_t limit = server->limits.concurrency;
    if (atomic_fetch_add(&server->limited, 1) >= limit) {
        *problem = nx_problem_make(503, "Try again in a moment.",
                                   "the server has %u requests in flight already", limit);
        problem->retry_after_s = RETRY_AFTER_S;
        return false;
    }
    return take_client(request, problem);
}

static void release_client(nx_http_request *request)
{
    nx_http_server *server = request->server;
    pthread_mutex_lock(&server->lock);
    if (request->previous != NULL) {
        request->previous->next = request->next;
    } else {
        server->clients = request->next;
    }
    if (request->next != NULL) {
        request->next->previous = request->previous;
    }
    request->in_clients = false;
    pthread_mutex_unlock(&server->lock);
}

void nx_http_limits_release(nx_http_request *request)
{
    if (request->in_limits) {
        atomic_fetch_sub(&request->server->limited, 1);
        request->in_limits = false;
    }
    if (request->in_clients) {
        release_client(request);
    }
}
