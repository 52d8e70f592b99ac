#include "streams/relay_link.h"

#include "base/clock.h"
#include "streams/relay_listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sodium.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Bytes that are read at once. */
#define PIECE ((size_t)64 << 10)
/* Memory beyond this is given back. */
#define MOST_KEPT ((size_t)2 << 20)

struct nx_relay_link {
    int fd, wake_fd;
    nx_relay_seal asked, told;
    nx_buffer in;
    size_t taken; /* of in, by the message that was given out last */
    nx_buffer out;
};

/* --- waiting ------------------------------------------------------------------------------------
 */

/* Until the socket can be read or written. Errors: NX_ERR_TIMEOUT, NX_ERR_CANCELLED (woken). */
static nx_status wait_for(int fd, short events, int wake_fd, int64_t until_ns, nx_error *err)
{
    struct pollfd polls[2] = {{.fd = fd, .events = events}, {.fd = wake_fd, .events = POLLIN}};
    for (;;) {
        int64_t left_ns = until_ns - nx_clock_now_ns();
        int ms = left_ns <= 0 ? 0 : (int)(left_ns / NX_NS_PER_MS) + 1;
        int ready = poll(polls, 2, ms);
        if (ready > 0) {
            return polls[0].revents != 0 ? NX_OK
                                         : nx_error_set(err, NX_ERR_CANCELLED, "somebody wakes it");
        }
        if (left_ns <= 0 || (ready < 0 && errno != EINTR)) {
            return nx_error_set(err, NX_ERR_TIMEOUT, "it does not answer");
        }
    }
}

static nx_status read_exactly(nx_relay_link *link, uint8_t *out, size_t size, int64_t until_ns,
                              nx_error *err)
{
    while (size > 0) {
        ssize_t got = recv(link->fd, out, size, 0);
        if (got > 0) {
            out += got;
            size -= (size_t)got;
        } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            nx_status status = wait_for(link->fd, POLLIN, link->wake_fd, until_ns, err);
            if (status != NX_OK) {
                return status;
            }
        } else {
            return nx_error_set(err, NX_ERR_UNAVAILABLE, "it ends the connection");
        }
    }
    return NX_OK;
}

/* What is asked is little, and fits into any socket. */
static nx_status write_all(nx_relay_link *link, const void *bytes, size_t size, nx_error *err)
{
    ssize_t sent = send(link->fd, bytes, size, MSG_NOSIGNAL);
    return sent == (ssize_t)size
               ? NX_OK
               : nx_error_set(err, NX_ERR_UNAVAILABLE, "it takes nothing any more");
}

/* --- connecting ---------------------------------------------------------------------------------
 */

static nx_status connect_to(nx_relay_link *link, int family, const struct sockaddr *at,
                            socklen_t size, int64_t until_ns, nx_error *err)
{
    int problem = 0;
    socklen_t length = sizeof problem;
    nx_status status = NX_OK;
    link->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) {
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno, "no socket");
    }
    if (connect(link->fd, at, size) != 0) {
        problem = errno;
        if (problem ==
            EINPROGRESS) { /* a local socket's EAGAIN: those who wait there are too many */
            status = wait_for(link->fd, POLLOUT, link->wake_fd, until_ns, err);
            if (status == NX_OK) {
                (void)getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &problem, &length);
            }
        }
    }
    if (status == NX_OK && problem != 0) {
        status = nx_error_set_errno(err, NX_ERR_UNAVAILABLE, problem, "it cannot be reached");
    }
    if (status != NX_OK) {
        close(link->fd);
        link->fd = -1;
    }
    return status;
}

static nx_status connect_path(nx_relay_link *link, const char *path, int64_t until_ns,
                              nx_error *err)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof name.sun_path) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "it listens nowhere");
    }
    memcpy(name.sun_path + 1, path, size);
    return connect_to(link, AF_UNIX, (const struct sockaddr *)&name,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size), until_ns,
                      err);
}

static nx_status connect_address(nx_relay_link *link, const char *address, int64_t until_ns,
                                 nx_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    const int on = 1;
    struct addrinfo *list = NULL;
    char host[NX_RELAY_ADDRESS_SIZE];
    char port[6];
    if (!nx_relay_address_split(address, host, sizeof host, port)) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "it listens at no address");
    }
    int failure = getaddrinfo(host, port, &hints, &list);
    if (failure != 0) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "%.100s cannot be looked up: %s", host,
                            gai_strerror(failure));
    }
    nx_status status = nx_error_set(err, NX_ERR_UNAVAILABLE, "%.100s has no address", host);
    for (const struct addrinfo *at = list; at != NULL && link->fd < 0; at = at->ai_next) {
        status = connect_to(link, at->ai_family, at->ai_addr, at->ai_addrlen, until_ns, err);
        if (status == NX_ERR_CANCELLED) {
            break;
        }
    }
    freeaddrinfo(list);
    if (status == NX_OK) {
        (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    return status;
}

/* Each proves to the other that it knows the token: we now, the runner with its first message. */
static nx_status greet(nx_relay_link *link, const uint8_t token[NX_RELAY_TOKEN], int64_t until_ns,
                       nx_error *err)
{
    uint8_t greeting[NX_RELAY_GREETING];
    uint8_t answer[NX_RELAY_ANSWER];
    nx_relay_seals seals;
    const size_t name = sizeof NX_RELAY_NAME - 1;
    nx_status status = read_exactly(link, greeting, sizeof greeting, until_ns, err);
    if (status != NX_OK) {
        return status;
    }
    if (memcmp(greeting, NX_RELAY_NAME, name) != 0) {
        return nx_error_set(err, NX_ERR_CORRUPT, "what is there is no Nexus of this kind");
    }
    randombytes_buf(answer, NX_RELAY_NONCE);
    nx_relay_agree(token, greeting + name, answer, &seals);
    memcpy(answer + NX_RELAY_NONCE, seals.proof, sizeof seals.proof);
    link->asked = seals.asked;
    link->told = seals.told;
    return write_all(link, answer, sizeof answer, err);
}

nx_status nx_relay_link_open(const char *path, const char *address, const char *token, int wake_fd,
                             int64_t until_ns, nx_relay_link **out, nx_error *err)
{
    uint8_t secret[NX_RELAY_TOKEN];
    *out = NULL;
    if (!nx_relay_token_read(token, secret)) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "it lets nobody look at it");
    }
    nx_relay_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a connection");
    }
    link->fd = -1;
    link->wake_fd = wake_fd;
    nx_status status = connect_path(link, path != NULL ? path : "", until_ns, err);
    if (status == NX_ERR_UNAVAILABLE && address != NULL && address[0] != '\0') {
        status = connect_address(link, address, until_ns, err);
    }
    if (status == NX_OK) {
        status = greet(link, secret, until_ns, err);
    }
    if (status != NX_OK) {
        nx_relay_link_close(link);
        return status;
    }
    *out = link;
    return NX_OK;
}

void nx_relay_link_close(nx_relay_link *link)
{
    if (link == NULL) {
        return;
    }
    if (link->fd >= 0) {
        close(link->fd);
    }
    nx_buffer_free(&link->in);
    nx_buffer_free(&link->out);
    sodium_memzero(link, sizeof *link);
    free(link);
}

/* --- messages -----------------------------------------------------------------------------------
 */

nx_status nx_relay_link_ask(nx_relay_link *link, const nx_relay_message *message, nx_error *err)
{
    nx_buffer_clear(&link->out);
    nx_relay_seal_message(&link->asked, message, &link->out);
    if (link->out.failed) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "no memory for a message");
    }
    return write_all(link, link->out.data, link->out.size, err);
}

static void drop_taken(nx_relay_link *link)
{
    link->in.size -= link->taken;
    if (link->taken > 0 && link->in.size > 0) {
        memmove(link->in.data, link->in.data + link->taken, link->in.size);
    }
    link->taken = 0;
    if (link->in.size == 0 && link->in.capacity > MOST_KEPT) {
        nx_buffer_free(&link->in);
    }
}

/* Memory grows with what has come, not with what is said to come. False: it is lost. */
static bool read_some(nx_relay_link *link, bool *nothing)
{
    *nothing = false;
    if (!nx_buffer_reserve(&link->in, PIECE)) {
        return false;
    }
    ssize_t got = recv(link->fd, link->in.data + link->in.size, PIECE, 0);
    if (got > 0) {
        link->in.size += (size_t)got;
        return true;
    }
    *nothing = got < 0 && (errno == EAGAIN || errno == EINTR);
    return *nothing;
}

nx_status nx_relay_link_next(nx_relay_link *link, int64_t until_ns, nx_relay_message *out,
                             bool *there, nx_error *err)
{
    *there = false;
    drop_taken(link);
    for (;;) {
        bool nothing = false;
        nx_status status = nx_relay_open_frame(&link->told, (uint8_t *)link->in.data, link->in.size,
                                               NX_RELAY_MOST_TOLD, &link->taken, out, err);
        if (status != NX_OK || link->taken > 0) {
            *there = status == NX_OK;
            return status;
        }
        if (!read_some(link, &nothing)) {
            return nx_error_set(err, NX_ERR_UNAVAILABLE, "the connection is lost");
        }
        if (nothing) {
            status = wait_for(link->fd, POLLIN, link->wake_fd, until_ns, NULL);
            if (status != NX_OK) {
                return NX_OK; /* nothing is there */
            }
        }
    }
}
