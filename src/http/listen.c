#include "http/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static nx_status explain(int problem, const char *host, uint16_t port, nx_error *err)
{
    const char *where = host[0] != '\0' ? host : "any address";
    switch (problem) {
    case EADDRINUSE:
        return nx_error_set(err, NX_ERR_UNAVAILABLE,
                            "port %u on %s is in use by another program; choose another with "
                            "--port or NEXUS_PORT",
                            port, where);
    case EACCES:
        return nx_error_set(err, NX_ERR_UNAVAILABLE,
                            "no permission to listen on port %u on %s; ports below 1024 need "
                            "root or CAP_NET_BIND_SERVICE, or choose another with --port or "
                            "NEXUS_PORT",
                            port, where);
    case EADDRNOTAVAIL:
        return nx_error_set(err, NX_ERR_UNAVAILABLE,
                            "this machine has no address %s; choose another with --host or "
                            "NEXUS_HOST (127.0.0.1 for this machine only, 0.0.0.0 for all)",
                            where);
    default:
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, problem,
                                  "cannot listen on port %u on %s", port, where);
    }
}

/* Returns the descriptor, or -1 with errno set. */
static int open_and_bind(const struct addrinfo *address, int backlog)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    int off = 0;
    /* without it a restart would wait for the last server's connections to time out */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (address->ai_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, backlog) == 0) {
        return fd;
    }
    int problem = errno;
    close(fd);
    errno = problem;
    return -1;
}

static int bind_first(const struct addrinfo *list, bool any_address, int backlog)
{
    int problem = EADDRNOTAVAIL;
    /* IPv6 first for "any", since its socket takes IPv4 too */
    for (int round = 0; round < 2; round++) {
        for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
            bool first_choice = !any_address || a->ai_family == AF_INET6;
            if (first_choice != (round == 0)) {
                continue;
            }
            int fd = open_and_bind(a, backlog);
            if (fd >= 0) {
                return fd;
            }
            problem = errno;
            if (problem == EADDRINUSE || problem == EACCES) {
                errno = problem;
                return -1;
            }
        }
    }
    errno = problem;
    return -1;
}

uint16_t nx_http_listening_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.v6 = {0}};
    socklen_t size = sizeof address;
    if (getsockname(fd, &address.any, &size) != 0) {
        return 0;
    }
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

nx_status nx_http_listen(const char *host, uint16_t port, int backlog, int *out_fd,
                         uint16_t *out_port, nx_error *err)
{
    *out_fd = -1;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int result = getaddrinfo(host[0] != '\0' ? host : NULL, service, &hints, &list);
    if (result != 0) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE,
                            "cannot listen on '%s': %s; choose an address with --host or "
                            "NEXUS_HOST",
                            host, gai_strerror(result));
    }
    int fd = bind_first(list, host[0] == '\0', backlog);
    int problem = errno;
    freeaddrinfo(list);
    if (fd < 0) {
        return explain(problem, host, port, err);
    }
    *out_fd = fd;
    *out_port = nx_http_listening_port(fd);
    return NX_OK;
}
