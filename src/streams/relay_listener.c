#include "streams/relay_listener.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_PEERS   256
#define MOST_UNKNOWN 32 /* of them that have not proved who they are */
#define BACKLOG      64
#define LOOK_MS      500
#define PACED_MS     20
#define SOCKETS      2
#define WAKE         SOCKETS
#define FIRST_PEER   (SOCKETS + 1)

struct nx_relay_listener {
    nx_relay_source source;
    nx_relay_place place;
    uint8_t token[NX_RELAY_TOKEN];
    int fds[SOCKETS]; /* of this host, of others; -1: none */
    int wake_fd;
    pthread_t thread;
    bool has_thread;
    atomic_bool ending;
    atomic_uint looking; /* peers; read by whoever has news */
    /* the thread's own */
    nx_relay_peer *peers[MOST_PEERS];
    size_t count;
    bool full; /* the system had no room for another one: it waits for the next look */
};

/* --- the thread ---------------------------------------------------------------------------------
 */

static void accept_from(nx_relay_listener *self, int fd)
{
    size_t unknown = 0;
    for (size_t i = 0; i < self->count; i++) {
        unknown += nx_relay_peer_is_known(self->peers[i]) ? 0 : 1;
    }
    for (int i = 0; i < BACKLOG; i++) {
        int one = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (one < 0) {
            self->full = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
            return;
        }
        if (self->count == MOST_PEERS || unknown == MOST_UNKNOWN) {
            close(one);
            continue;
        }
        nx_relay_peer *peer = nx_relay_peer_new(one, &self->source, self->token, nx_clock_now_ns());
        if (peer != NULL) {
            self->peers[self->count++] = peer;
            unknown++;
            atomic_store(&self->looking, (unsigned)self->count);
        }
    }
}

/* Returns whether somebody wants to be looked at soon. */
static bool step_all(nx_relay_listener *self, const struct pollfd *polls, size_t polled)
{
    bool paced = false;
    size_t left = 0;
    for (size_t i = 0; i < self->count; i++) {
        nx_relay_peer *peer = self->peers[i];
        bool readable = i < polled && polls[FIRST_PEER + i].revents != 0;
        if (nx_relay_peer_step(peer, readable, nx_clock_now_ns())) {
            paced = paced || nx_relay_peer_is_paced(peer);
            self->peers[left++] = peer;
        } else {
            nx_relay_peer_free(peer);
        }
    }
    self->count = left;
    atomic_store(&self->looking, (unsigned)left);
    return paced;
}

static void *serve(void *user)
{
    nx_relay_listener *self = user;
    bool paced = false;
    while (!atomic_load(&self->ending)) {
        struct pollfd polls[FIRST_PEER + MOST_PEERS];
        size_t count = self->count;
        for (int i = 0; i < SOCKETS; i++) {
            polls[i] = (struct pollfd){.fd = self->full ? -1 : self->fds[i], .events = POLLIN};
        }
        self->full = false;
        polls[WAKE] = (struct pollfd){.fd = self->wake_fd, .events = POLLIN};
        for (size_t i = 0; i < count; i++) {
            bool writing = nx_relay_peer_is_writing(self->peers[i]);
            polls[FIRST_PEER + i] =
                (struct pollfd){.fd = nx_relay_peer_fd(self->peers[i]),
                                .events = (short)(POLLIN | (writing ? POLLOUT : 0))};
        }
        (void)poll(polls, FIRST_PEER + count, paced ? PACED_MS : LOOK_MS);
        uint64_t ignored = 0;
        (void)!read(self->wake_fd, &ignored, sizeof ignored);
        for (int i = 0; i < SOCKETS; i++) {
            if (polls[i].revents != 0) {
                accept_from(self, self->fds[i]);
            }
        }
        paced = step_all(self, polls, count);
    }
    return NULL;
}

void nx_relay_listener_wake(nx_relay_listener *listener)
{
    static const uint64_t one = 1;
    if (listener != NULL && atomic_load(&listener->looking) > 0) {
        (void)!write(listener->wake_fd, &one, sizeof one);
    }
}

/* --- sockets ------------------------------------------------------------------------------------
 */

bool nx_relay_address_split(const char *text, char *host, size_t host_size, char port[6])
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text) {
        return false;
    }
    size_t digits = strlen(colon + 1);
    const char *begin = text;
    size_t size = (size_t)(colon - text);
    if (text[0] == '[' && size > 2 && text[size - 1] == ']') {
        begin++;
        size -= 2;
    } else if (memchr(text, ':', size) != NULL) {
        return false; /* IPv6 stands in brackets */
    }
    if (digits == 0 || digits > 5 || strspn(colon + 1, "0123456789") != digits ||
        strtoul(colon + 1, NULL, 10) > 65535 || size >= host_size) {
        return false;
    }
    memcpy(host, begin, size);
    host[size] = '\0';
    memcpy(port, colon + 1, digits + 1);
    return true;
}

static int open_path(nx_relay_place *place)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    uint8_t noise[12];
    char text[2 * sizeof noise + 1];
    randombytes_buf(noise, sizeof noise);
    sodium_bin2hex(text, sizeof text, noise, sizeof noise);
    snprintf(place->path, sizeof place->path, "nexus-relay-%d-%s", (int)getpid(), text);
    size_t size = strlen(place->path);
    memcpy(name.sun_path + 1, place->path, size); /* abstract: a NUL comes first */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size);
    if (fd >= 0 &&
        (bind(fd, (const struct sockaddr *)&name, length) != 0 || listen(fd, BACKLOG) != 0)) {
        int problem = errno;
        close(fd);
        errno = problem;
        return -1;
    }
    return fd;
}

static int open_address(const struct addrinfo *at)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    const int on = 1;
    const int off = 0;
    const unsigned patience_ms = NX_RELAY_PATIENCE_MS;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* those that are accepted have these two, too */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
    if (at->ai_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int problem = errno;
        close(fd);
        errno = problem;
        return -1;
    }
    return fd;
}

/* At a host's address; where that is a name, or "", at all. errno says why there is no socket. */
static int open_port(const char *host, unsigned port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char service[8];
    int fd = -1;
    int problem = EADDRNOTAVAIL;
    snprintf(service, sizeof service, "%u", port);
    /* a name that is looked up here may well be 127.0.1.1, whatever others take it for */
    if ((host[0] != '\0' && getaddrinfo(host, service, &hints, &list) == 0) ||
        getaddrinfo(NULL, service, &hints, &list) == 0) {
        for (int round = 0; round < 2 && fd < 0; round++) { /* IPv6's "all" takes IPv4, too */
            for (const struct addrinfo *at = list; at != NULL && fd < 0; at = at->ai_next) {
                if ((at->ai_family == AF_INET6) == (round == 0)) {
                    fd = open_address(at);
                    problem = fd < 0 ? errno : 0;
                    if (problem == EADDRINUSE) {
                        break;
                    }
                }
            }
            if (problem == EADDRINUSE) {
                break;
            }
        }
        freeaddrinfo(list);
    }
    errno = problem;
    return fd;
}

static unsigned port_of(int fd)
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

/* The first free port; behind a translation HOST is no address of ours, and *at becomes "". */
static int open_first(const char **at, unsigned first)
{
    int fd = -1;
    for (unsigned i = 0; fd < 0 && i < NX_RELAY_PORTS && first + i <= 65535; i++) {
        fd = open_port(*at, first + i);
        if (fd < 0 && errno == EADDRNOTAVAIL && (*at)[0] != '\0') {
            *at = "";
            fd = open_port(*at, first + i);
        }
        if (fd < 0 && errno != EADDRINUSE) {
            break;
        }
    }
    return fd;
}

static nx_status open_for_hosts(nx_relay_listener *self, const char *text, nx_error *err)
{
    char full[NX_RELAY_ADDRESS_SIZE];
    char host[NX_RELAY_ADDRESS_SIZE - 16];
    char name[65] = "";
    char port[6];
    if (text[0] == ':') { /* by the machine's own name */
        (void)gethostname(name, sizeof name - 1);
    }
    snprintf(full, sizeof full, "%s%s", name, text);
    if (!nx_relay_address_split(full, host, sizeof host, port)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "STREAM_RELAY: '%.100s' is not the HOST:PORT by which other hosts "
                            "reach this one",
                            text);
    }
    const char *at = host;
    int fd = open_first(&at, (unsigned)strtoul(port, NULL, 10));
    if (fd < 0) {
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno,
                                  "STREAM_RELAY: cannot listen at %.100s", text);
    }
    self->fds[1] = fd;
    bool v6 = strchr(host, ':') != NULL;
    snprintf(self->place.address, sizeof self->place.address, "%s%s%s:%u", v6 ? "[" : "", host,
             v6 ? "]" : "", port_of(fd));
    nx_log_info("streams", "other hosts reach the streams of this one at %s", self->place.address);
    return NX_OK;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static nx_status open_all(nx_relay_listener *self, const char *address, nx_error *err)
{
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->fds[0] = self->wake_fd >= 0 ? open_path(&self->place) : -1;
    if (self->fds[0] < 0) {
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno,
                                  "no socket for those who look at streams");
    }
    if (address[0] != '\0') {
        nx_status status = open_for_hosts(self, address, err);
        if (status != NX_OK) {
            return status;
        }
    }
    int failure = pthread_create(&self->thread, NULL, serve, self);
    self->has_thread = failure == 0;
    return failure == 0 ? NX_OK
                        : nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                             "no thread for those who look at streams");
}

nx_status nx_relay_listener_start(const char *address, const nx_relay_source *source,
                                  nx_relay_listener **out, nx_error *err)
{
    *out = NULL;
    nx_relay_listener *self = sodium_init() >= 0 ? calloc(1, sizeof *self) : NULL;
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for those who look at streams");
    }
    self->source = *source;
    self->fds[0] = self->fds[1] = self->wake_fd = -1;
    nx_relay_token_make(self->token, self->place.token);
    nx_status status = open_all(self, address, err);
    if (status != NX_OK) {
        nx_relay_listener_free(self);
        return status;
    }
    *out = self;
    return NX_OK;
}

void nx_relay_listener_free(nx_relay_listener *listener)
{
    static const uint64_t one = 1;
    if (listener == NULL) {
        return;
    }
    if (listener->has_thread) {
        atomic_store(&listener->ending, true);
        (void)!write(listener->wake_fd, &one, sizeof one);
        pthread_join(listener->thread, NULL);
    }
    for (size_t i = 0; i < listener->count; i++) {
        nx_relay_peer_free(listener->peers[i]);
    }
    for (int i = 0; i < SOCKETS; i++) {
        if (listener->fds[i] >= 0) {
            close(listener->fds[i]);
        }
    }
    if (listener->wake_fd >= 0) {
        close(listener->wake_fd);
    }
    sodium_memzero(listener->token, sizeof listener->token);
    free(listener);
}

const nx_relay_place *nx_relay_listener_place(const nx_relay_listener *listener)
{
    return &listener->place;
}
