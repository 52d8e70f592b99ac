#include "streams/tunnel.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections at once: HLS takes a few, RTSP one. */
#define LINKS 8
/* Before the next is taken in, where there is no descriptor for one. */
#define REST_MS 100
#define BLOCK   ((size_t)32 << 10)
/* Of connecting, the handshake included. */
#define CONNECT_MS 10000L

/* Bytes on their way. */
typedef struct pipe_half {
    uint8_t bytes[BLOCK];
    size_t first, end; /* those from first on are to be written */
} pipe_half;

typedef struct tunnel_link {
    CURL *curl; /* NULL: a free place */
    curl_socket_t far;
    int near;
    pipe_half out, in; /* to the camera, from it */
} tunnel_link;

struct nx_tunnel {
    char url[320], resolve[400];
    char *ca_file;
    const atomic_bool *stop;
    uint16_t port;
    int listener;
    int wake[2]; /* its writing end is closed for the thread to end */
    CURL *first; /* the connection that was made at the beginning */
    pthread_t thread;
    bool has_thread;
    atomic_bool over;
    tunnel_link links[LINKS]; /* the thread's */
};

/* --- the camera's side --------------------------------------------------------------------------
 */

static int look_for_stop(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const nx_tunnel *tunnel = user;
    (void)a, (void)b, (void)c, (void)d;
    bool stops = tunnel->stop != NULL && atomic_load(tunnel->stop);
    return stops || atomic_load(&tunnel->over);
}

static nx_status refused(CURLcode code, const char *reason, nx_error *err)
{
    switch ((int)code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return nx_error_set(err, NX_ERR_CANCELLED, "stopped");
    case CURLE_OPERATION_TIMEDOUT:
        return nx_error_set(err, NX_ERR_TIMEOUT, "the camera does not answer to TLS");
    case CURLE_OUT_OF_MEMORY:
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a camera's connection");
    case CURLE_PEER_FAILED_VERIFICATION:
        return nx_error_set(err, NX_ERR_IO, "the camera's certificate is not good: %.200s", reason);
    case CURLE_SSL_CACERT_BADFILE:
        return nx_error_set(err, NX_ERR_IO, "STREAM_CA_FILE cannot be read");
    default:
        return nx_error_set(err, NX_ERR_IO, "the camera cannot be connected to: %.200s", reason);
    }
}

/* *out: connected, its certificate checked. */
static nx_status connect_far(nx_tunnel *tunnel, CURL **out, nx_error *err)
{
    char reason[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    struct curl_slist *resolve =
        tunnel->resolve[0] != '\0' ? curl_slist_append(NULL, tunnel->resolve) : NULL;
    CURLcode code = curl == NULL || (tunnel->resolve[0] != '\0' && resolve == NULL)
                        ? CURLE_OUT_OF_MEMORY
                        : CURLE_OK;
    *out = NULL;
    if (code == CURLE_OK) {
        (void)curl_easy_setopt(curl, CURLOPT_URL, tunnel->url);
        (void)curl_easy_setopt(curl, CURLOPT_RESOLVE, resolve);
        (void)curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
        (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
        (void)curl_easy_setopt(curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
        (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
        (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_for_stop);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, tunnel);
        if (tunnel->ca_file != NULL && tunnel->ca_file[0] != '\0') {
            (void)curl_easy_setopt(curl, CURLOPT_CAINFO, tunnel->ca_file);
            (void)curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
        }
        code = curl_easy_perform(curl);
        (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
        (void)curl_easy_setopt(curl, CURLOPT_RESOLVE, NULL);
    }
    curl_slist_free_all(resolve);
    if (code != CURLE_OK) {
        nx_status status =
            refused(code, reason[0] != '\0' ? reason : curl_easy_strerror(code), err);
        curl_easy_cleanup(curl);
        return status;
    }
    *out = curl;
    return NX_OK;
}

/* --- links --------------------------------------------------------------------------------------
 */

static void unlink_both(tunnel_link *link)
{
    if (link->curl != NULL) {
        curl_easy_cleanup(link->curl);
        close(link->near);
        link->curl = NULL;
    }
}

/* False: there is no descriptor for it; it is there in a while, too. */
static bool take_in(nx_tunnel *tunnel)
{
    tunnel_link *link = tunnel->links;
    nx_error err = {0};
    int near = accept4(tunnel->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (link < tunnel->links + LINKS && link->curl != NULL) {
        link++;
    }
    if (near < 0) {
        return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
    }
    CURL *curl = tunnel->first;
    tunnel->first = NULL;
    if (link == tunnel->links + LINKS ||
        (curl == NULL && connect_far(tunnel, &curl, &err) != NX_OK)) {
        close(near); /* which the child tells of */
        return true;
    }
    *link = (tunnel_link){.curl = curl, .near = near, .far = CURL_SOCKET_BAD};
    if (curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &link->far) != CURLE_OK ||
        link->far == CURL_SOCKET_BAD) {
        unlink_both(link);
    }
    return true;
}

static bool is_empty(const pipe_half *half)
{
    return half->first == half->end;
}

/* Moves what can be moved. False: one side has ended, or failed. */
static bool move_out(tunnel_link *link)
{
    pipe_half *out = &link->out;
    size_t sent = 0;
    if (is_empty(out)) {
        ssize_t got = recv(link->near, out->bytes, BLOCK, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            return false;
        }
        out->first = 0;
        out->end = got > 0 ? (size_t)got : 0;
    }
    if (is_empty(out)) {
        return true;
    }
    CURLcode code =
        curl_easy_send(link->curl, out->bytes + out->first, out->end - out->first, &sent);
    out->first += code == CURLE_OK ? sent : 0;
    return code == CURLE_OK || code == CURLE_AGAIN;
}

static bool move_in(tunnel_link *link)
{
    pipe_half *in = &link->in;
    for (;;) { /* what TLS has in its own buffers, no poll tells of */
        if (is_empty(in)) {
            size_t got = 0;
            CURLcode code = curl_easy_recv(link->curl, in->bytes, BLOCK, &got);
            if (code == CURLE_AGAIN) {
                return true;
            }
            if (code != CURLE_OK || got == 0) {
                return false;
            }
            in->first = 0;
            in->end = got;
        }
        ssize_t sent = send(link->near, in->bytes + in->first, in->end - in->first, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        in->first += (size_t)sent;
    }
}

/* A side that is read when there is room, and written to when there is something. When there is
 * neither it is left out: poll would tell of its end again and again. */
static struct pollfd entry_of(int fd, const pipe_half *from, const pipe_half *to)
{
    short events = (short)((is_empty(from) ? POLLIN : 0) | (is_empty(to) ? 0 : POLLOUT));
    return (struct pollfd){.fd = events != 0 ? fd : -1, .events = events};
}

static void *relay(void *user)
{
    nx_tunnel *tunnel = user;
    struct pollfd entries[2 + 2 * LINKS];
    bool rests = false; /* the listener */
    while (!atomic_load(&tunnel->over)) {
        nfds_t count = 2;
        entries[0] = (struct pollfd){.fd = tunnel->wake[0], .events = POLLIN};
        entries[1] = (struct pollfd){.fd = rests ? -1 : tunnel->listener, .events = POLLIN};
        for (size_t i = 0; i < LINKS; i++) {
            tunnel_link *link = &tunnel->links[i];
            if (link->curl != NULL && !(move_out(link) && move_in(link))) {
                unlink_both(link);
            }
            if (link->curl != NULL) {
                entries[count++] = entry_of(link->near, &link->out, &link->in);
                entries[count++] = entry_of(link->far, &link->in, &link->out);
            }
        }
        bool asked =
            poll(entries, count, rests ? REST_MS : -1) > 0 && (entries[1].revents & POLLIN) != 0;
        rests = asked && !take_in(tunnel);
    }
    for (size_t i = 0; i < LINKS; i++) {
        unlink_both(&tunnel->links[i]);
    }
    return NULL;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static nx_status listen_near(nx_tunnel *tunnel, nx_error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    tunnel->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (tunnel->listener < 0 || pipe2(tunnel->wake, O_CLOEXEC) != 0 ||
        bind(tunnel->listener, (struct sockaddr *)&address, size) != 0 ||
        listen(tunnel->listener, LINKS) != 0 ||
        getsockname(tunnel->listener, (struct sockaddr *)&address, &size) != 0) {
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno,
                                  "no port for a camera's connections");
    }
    tunnel->port = ntohs(address.sin_port);
    return NX_OK;
}

nx_status nx_tunnel_open(const nx_tunnel_options *options, nx_tunnel **out, nx_error *err)
{
    *out = NULL;
    nx_tunnel *tunnel = calloc(1, sizeof *tunnel);
    char *ca_file = strdup(options->ca_file);
    if (tunnel == NULL || ca_file == NULL) {
        free(tunnel);
        free(ca_file);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a camera's connection");
    }
    tunnel->ca_file = ca_file;
    tunnel->stop = options->stop;
    tunnel->listener = tunnel->wake[0] = tunnel->wake[1] = -1;
    snprintf(tunnel->url, sizeof tunnel->url, "https://%s:%u/", options->name, options->port);
    if (strcmp(options->name, options->address) != 0) {
        snprintf(tunnel->resolve, sizeof tunnel->resolve, "%s:%u:%s", options->name, options->port,
                 options->address);
    }
    nx_status status = connect_far(tunnel, &tunnel->first, err);
    if (status == NX_OK) {
        status = listen_near(tunnel, err);
    }
    if (status == NX_OK) {
        int failure = pthread_create(&tunnel->thread, NULL, relay, tunnel);
        tunnel->has_thread = failure == 0;
        status = failure == 0 ? NX_OK
                              : nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                                   "no thread for a camera's connections");
    }
    if (status != NX_OK) {
        nx_tunnel_free(tunnel);
        return status;
    }
    *out = tunnel;
    return NX_OK;
}

uint16_t nx_tunnel_port(const nx_tunnel *tunnel)
{
    return tunnel->port;
}

static void close_one(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

void nx_tunnel_free(nx_tunnel *tunnel)
{
    if (tunnel == NULL) {
        return;
    }
    atomic_store(&tunnel->over, true);
    close_one(tunnel->wake[1]);
    if (tunnel->has_thread) {
        pthread_join(tunnel->thread, NULL);
    }
    if (tunnel->first != NULL) {
        curl_easy_cleanup(tunnel->first);
    }
    close_one(tunnel->listener);
    close_one(tunnel->wake[0]);
    free(tunnel->ca_file);
    free(tunnel);
}
