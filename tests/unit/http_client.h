/* An HTTP client that sends and reads byte by byte, so that a test sees all that a server does. */
#ifndef NX_TESTS_HTTP_CLIENT_H
#define NX_TESTS_HTTP_CLIENT_H

#include "base/buffer.h"
#include "testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MS 10000 /* far above what any answer takes; only a broken server lets it pass */
#define HOST      "Host: localhost\r\n"

static inline int nx_dial(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static inline void say_n(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return; /* the server has hung up; what it said is what the test looks at */
        }
        bytes += sent;
        size -= (size_t)sent;
    }
}

static inline void say(int fd, const char *text)
{
    say_n(fd, text, strlen(text));
}

/* Reads some bytes; 0 at the end of the connection. Fails the test when nothing comes. */
static inline size_t hear(int fd, char *out, size_t size)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, ANSWER_MS) != 1) {
        fail_msg("no answer within %d ms", ANSWER_MS);
    }
    ssize_t got = recv(fd, out, size, 0);
    return got > 0 ? (size_t)got : 0;
}

/* Everything until the server closes, NUL-terminated, to be freed. */
static inline char *hear_all(int fd)
{
    nx_buffer out = NX_BUFFER_INIT;
    char piece[4096];
    for (size_t got = hear(fd, piece, sizeof piece); got > 0; got = hear(fd, piece, sizeof piece)) {
        nx_buffer_append(&out, piece, got);
    }
    assert_non_null(nx_buffer_cstr(&out));
    return out.data;
}

/* One answer with a Content-Length; the connection stays open. To be freed. */
static inline char *hear_one(int fd)
{
    nx_buffer out = NX_BUFFER_INIT;
    for (;;) {
        const char *text = nx_buffer_cstr(&out);
        const char *end = strstr(text, "\r\n\r\n");
        const char *length = strstr(text, "Content-Length: ");
        if (end != NULL && (length == NULL || length > end)) {
            break;
        }
        if (end != NULL && out.size >= (size_t)(end + 4 - text) + strtoul(length + 16, NULL, 10)) {
            break;
        }
        char c[4096];
        size_t got = hear(fd, c, 1);
        if (got == 0) {
            break;
        }
        nx_buffer_append(&out, c, got);
    }
    assert_non_null(nx_buffer_cstr(&out));
    return out.data;
}

static inline int status_of(const char *answer)
{
    int status = 0;
    return sscanf(answer, "HTTP/1.1 %d", &status) == 1 ? status : 0;
}

static inline void assert_status(char *answer, int status)
{
    if (status_of(answer) != status) {
        fail_msg("expected %d, got: %s", status, answer);
    }
}

/* The ways of a client to go. */
static inline void nx_leave_by_close(int fd)
{
    close(fd);
}

static inline void nx_leave_by_half_close(int fd)
{
    shutdown(fd, SHUT_WR);
}

static inline void nx_leave_by_reset(int fd)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

#endif
