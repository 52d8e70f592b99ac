#include "http/internal.h"

#include <netinet/in.h>
#include <string.h>

#define RETRY_AFTER_S 1

static nx_http_client client_of(struct MHD_Connection *connection)
{
    nx_http_client client = {{0}};
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info != NULL ? info->client_addr : NULL;
    if (address != NULL && address->sa_family == AF_INET) {
        const struct in_addr *ip = &((const struct sockaddr_in *)address)->sin_addr;
        client.bytes[10] = client.bytes[11] = 0xff;
        memcpy(&client.bytes[12], ip, 4);
    } else if (address != NULL && address->sa_family == AF_INET6) {
        const struct in6_addr *ip = &((const struct sockaddr_in6 *)address)->sin6_addr;
        /* a host commonly owns its whole /64, and could use a new address for each request */
        memcpy(client.bytes, ip, IN6_IS_ADDR_V4MAPPED(ip) ? 16 : 8);
    }
    return client;
}

/* The lock is held. */
static uint32_t count_client(const nx_http_server *server, const nx_http_client *client)
{
    uint32_t count = 0;
    for (const nx_http_request *r = server->clients; r != NULL; r = r->next) {
        count += memcmp(&r->client, client, sizeof *client) == 0;
    }
    return count;
}

static bool take_client(nx_http_request *request, nx_problem *problem)
{
    nx_http_server *server = request->server;
    uint32_t limit = server->options.limit_per_client;
    if (!request->route->per_client || limit == 0) {
        return true;
    }
    request->client = client_of(request->connection);
    pthread_mutex_lock(&server->lock);
    bool allowed = count_client(server, &request->client) < limit;
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
                                   "Wait for answers before sending more. Behind a proxy, raise "
                                   "LIMIT_CONCURRENCY_PER_CLIENT: all clients look like one there.",
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
    if (atomic_fetch_add(&server->limited, 1) >= server->options.limit_concurrency) {
        *problem = nx_problem_make(503, "Try again in a moment.",
                                   "the server has %u requests in flight already",
                                   server->options.limit_concurrency);
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
