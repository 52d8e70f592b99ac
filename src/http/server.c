#include "http/server.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "http/internal.h"
#include "http/listen.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Descriptors for everything but connections: models, logs, epoll sets, lingering sockets. */
#define SPARE_DESCRIPTORS 256
/* For each connection. libmicrohttpd clears all of it after each request and keeps it while the
 * connection idles, so that more would cost memory and the speed of small requests; 16 to 48 KB
 * made no difference to uploads. Above 32 KB it is mapped, and goes back to the system with its
 * connection: 2,000 closed ones left 64 MB behind in malloc before. */
#define CONNECTION_MEMORY 36864
#define MAX_THREADS       4
#define BACKSTOP_S        10
/* How long clients of open connections get to see that the server ends, and how often it looks. */
#define LEAVE_MS 1000
#define LOOK_MS  20

/* --- callbacks ----------------------------------------------------------------------------------
 */

__attribute__((format(printf, 2, 0))) static void log_message(void *cls, const char *format,
                                                              va_list args)
{
    (void)cls;
    if (!nx_log_enabled(NX_LOG_DEBUG)) {
        return;
    }
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    nx_log_debug("http", "%s", text);
}

/* Connections that libmicrohttpd was given and has not begun with. */
static void count_opening(nx_http_server *server, int32_t change)
{
    pthread_mutex_lock(&server->lock);
    server->opening += change;
    if (server->opening == 0) {
        pthread_cond_broadcast(&server->quiet);
    }
    pthread_mutex_unlock(&server->lock);
}

static void note_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                            enum MHD_ConnectionNotificationCode code)
{
    nx_http_server *server = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *socket_context = info != NULL ? nx_watch_open(server->watch, info->connect_fd) : NULL;
        count_opening(server, -1);
        return;
    }
    if (*socket_context != NULL) {
        nx_watch_close(*socket_context);
        *socket_context = NULL;
    }
    nx_acceptor_closed(server->acceptor);
}

/* The acceptor's thread; libmicrohttpd spreads connections over its threads, and closes what it
 * does not take. */
static bool hand_over(int fd, const struct sockaddr *address, socklen_t size, void *user)
{
    nx_http_server *server = user;
    count_opening(server, 1);
    bool taken = MHD_add_connection(server->daemon, fd, address, size) == MHD_YES;
    if (!taken) {
        count_opening(server, -1);
    }
    return taken;
}

/* A body took longer than request_timeout_s; the watch's thread, with its lock held. */
static void answer_late(int fd, void *user)
{
    nx_http_request *request = user;
    nx_problem problem = nx_problem_make(
        408, "Send it again over a better connection, or send less.",
        "the body did not arrive within %u s", (unsigned)request->server->limits.request_timeout_s);
    nx_http_respond_raw(request, fd, &problem);
}

/* --- starting -----------------------------------------------------------------------------------
 */

/* Raises the limit on descriptors as far as needed and allowed; returns how many connections fit.
 */
static uint32_t fit_connections(uint32_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return wanted;
    }
    rlim_t needed = (rlim_t)wanted + SPARE_DESCRIPTORS;
    if (limit.rlim_cur < needed) {
        limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
        /* when it fails the soft limit stands, which is read again below */
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
            return wanted;
        }
    }
    if (limit.rlim_cur >= needed) {
        return wanted;
    }
    rlim_t spare =
        limit.rlim_cur > (rlim_t)2 * SPARE_DESCRIPTORS ? SPARE_DESCRIPTORS : limit.rlim_cur / 2;
    uint32_t fitting = (uint32_t)(limit.rlim_cur - spare);
    nx_log_warn("http",
                "only %u connections fit into this process's limit of %llu open files (ulimit -n)",
                fitting, (unsigned long long)limit.rlim_cur);
    return fitting;
}

static uint32_t thread_count(uint32_t wanted)
{
    if (wanted > 0) {
        return wanted;
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores < MAX_THREADS ? (uint32_t)cores : MAX_THREADS;
}

static nx_http_server *new_server(const nx_http_server_options *options)
{
    nx_http_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        return NULL;
    }
    server->options = *options;
    server->limits.request_timeout_s = options->request_timeout_s;
    server->limits.concurrency = options->limit_concurrency;
    server->limits.per_client = options->limit_per_client;
    server->limits.inflight_body = options->max_inflight_body;
    randombytes_buf(&server->id_seed, sizeof server->id_seed);
    pthread_mutex_init(&server->lock, NULL);
    pthread_mutex_init(&server->kept_bodies.lock, NULL);
    nx_condition_init(&server->quiet);
    return server;
}

static void free_server(nx_http_server *server)
{
    nx_acceptor_free(server->acceptor);
    nx_watch_free(server->watch);
    nx_http_kept_bodies_free(&server->kept_bodies);
    pthread_mutex_destroy(&server->kept_bodies.lock);
    pthread_cond_destroy(&server->quiet);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

static nx_status start_watch(nx_http_server *server, uint32_t connections, nx_error *err)
{
    const nx_http_server_options *options = &server->options;
    uint32_t margin = connections / 16 > 2 ? connections / 16 : 2;
    const nx_watch_options watch = {
        .idle_ns = options->keepalive_s * NX_NS_PER_SEC,
        .receive_ns = options->request_timeout_s * NX_NS_PER_SEC,
        .send_ns = options->request_timeout_s * NX_NS_PER_SEC,
        .high_water = connections - margin,
        .on_late = answer_late,
    };
    return nx_watch_new(&watch, &server->watch, err);
}

static nx_status start_daemon(nx_http_server *server, uint32_t connections, nx_error *err)
{
    const nx_http_server_options *options = &server->options;
    uint32_t threads = thread_count(options->threads);
    /* the watch is stricter and answers where it can; this is for the case that it fails */
    unsigned backstop_s = BACKSTOP_S + (options->keepalive_s > options->request_timeout_s
                                            ? options->keepalive_s
                                            : options->request_timeout_s);
    const struct MHD_OptionItem pool[] = {
        {MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    /* a pool of one is no pool to libmicrohttpd */
    const struct MHD_OptionItem *extra = threads > 1 ? pool : &pool[1];
    /* The acceptor keeps to the limit. libmicrohttpd would divide it among its threads, and 0.9.75
     * forgets to give a lock back when a thread is beyond its part: each gets room for all. */
    unsigned room = (connections + 1) * threads;
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
            MHD_USE_ERROR_LOG,
        0, NULL, NULL, nx_http_dispatch, server, MHD_OPTION_EXTERNAL_LOGGER, log_message, NULL,
        MHD_OPTION_CONNECTION_LIMIT, room, MHD_OPTION_CONNECTION_TIMEOUT, backstop_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED,
        nx_http_completed, server, MHD_OPTION_NOTIFY_CONNECTION, note_connection, server,
        MHD_OPTION_UNESCAPE_CALLBACK, nx_http_unescape, NULL, MHD_OPTION_ARRAY, extra,
        MHD_OPTION_END);
    if (server->daemon == NULL) {
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno,
                                  "cannot start %u connection threads", threads);
    }
    return NX_OK;
}

nx_status nx_http_server_start(const nx_http_server_options *options, nx_http_server **out,
                               nx_error *err)
{
    *out = NULL;
    nx_http_server *server = sodium_init() >= 0 ? new_server(options) : NULL;
    if (server == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the HTTP server");
    }
    uint32_t connections = fit_connections(options->max_connections);
    int fd = options->shared_socket > 0 ? options->shared_socket : -1;
    nx_status status = start_watch(server, connections, err);
    if (status == NX_OK && fd >= 0) {
        server->port = nx_http_listening_port(fd);
    } else if (status == NX_OK) {
        status = nx_http_listen(options->host, options->port, (int)options->backlog, &fd,
                                &server->port, err);
    }
    if (status == NX_OK) {
        status = start_daemon(server, connections, err);
    }
    if (status == NX_OK) {
        const nx_acceptor_options accept = {
            .fd = fd,
            .shared = options->shared_socket > 0,
            .most = connections,
            .take = hand_over,
            .user = server,
        };
        fd = -1; /* the acceptor's, whatever comes */
        status = nx_acceptor_new(&accept, &server->acceptor, err);
    }
    if (status != NX_OK) {
        if (server->daemon != NULL) {
            MHD_stop_daemon(server->daemon);
        }
        if (fd >= 0) {
            close(fd);
        }
        free_server(server);
        return status;
    }
    *out = server;
    return NX_OK;
}

void nx_http_server_set_limits(nx_http_server *server, const nx_http_limits *limits)
{
    int64_t timeout_ns = limits->request_timeout_s * NX_NS_PER_SEC;
    server->limits.request_timeout_s = limits->request_timeout_s;
    server->limits.concurrency = limits->concurrency;
    server->limits.per_client = limits->per_client;
    server->limits.inflight_body = limits->inflight_body;
    nx_watch_set_limits(server->watch, timeout_ns, timeout_ns);
}

uint16_t nx_http_server_port(const nx_http_server *server)
{
    return server->port;
}

nx_http_stats nx_http_server_get_stats(nx_http_server *server)
{
    return (nx_http_stats){
        .connections = nx_watch_count(server->watch),
        .requests = atomic_load(&server->requests),
        .body_bytes = atomic_load(&server->in_flight_body),
    };
}

/* --- stopping -----------------------------------------------------------------------------------
 */

void nx_http_server_announce_stop(nx_http_server *server)
{
    atomic_store(&server->closing, true);
}

void nx_http_server_close_door(nx_http_server *server)
{
    const struct timespec moment = {.tv_nsec = LOOK_MS * NX_NS_PER_MS};
    nx_acceptor_finish(server->acceptor);
    int64_t until = nx_clock_now_ns() + LEAVE_MS * NX_NS_PER_MS;
    while (nx_watch_count(server->watch) > 0 && nx_clock_now_ns() < until) {
        (void)nanosleep(&moment, NULL);
    }
}

bool nx_http_pending_take(nx_http_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool taken = !server->refusing;
    server->pending += taken;
    pthread_mutex_unlock(&server->lock);
    return taken;
}

void nx_http_pending_add(nx_http_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->pending++;
    pthread_mutex_unlock(&server->lock);
}

void nx_http_pending_release(nx_http_server *server)
{
    pthread_mutex_lock(&server->lock);
    if (--server->pending == 0) {
        pthread_cond_broadcast(&server->quiet);
    }
    pthread_mutex_unlock(&server->lock);
}

void nx_http_request_ended(nx_http_server *server)
{
    /* sequentially consistent: either stop sees the count at 0, or this sees that it stops */
    if (atomic_fetch_sub(&server->requests, 1) == 1 && atomic_load(&server->stopping)) {
        pthread_mutex_lock(&server->lock);
        pthread_cond_broadcast(&server->quiet);
        pthread_mutex_unlock(&server->lock);
    }
}

/* libmicrohttpd looks at its list of new connections without its lock when it is stopped. */
static void wait_for_opening(nx_http_server *server, int64_t deadline_ns)
{
    int result = 0;
    pthread_mutex_lock(&server->lock);
    while (server->opening > 0 && result != ETIMEDOUT) {
        result = nx_condition_wait(&server->quiet, &server->lock, deadline_ns);
    }
    pthread_mutex_unlock(&server->lock);
}

/* Lets the requests in flight end, until the deadline. */
static void wait_for_requests(nx_http_server *server, int64_t deadline_ns)
{
    int result = 0;
    pthread_mutex_lock(&server->lock);
    while (atomic_load(&server->requests) > 0 && result != ETIMEDOUT) {
        result = nx_condition_wait(&server->quiet, &server->lock, deadline_ns);
    }
    pthread_mutex_unlock(&server->lock);
}

/* libmicrohttpd must not be stopped with a connection suspended: cancels what waits for an answer,
 * and sees it all answered. */
static void end_pending(nx_http_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->refusing = true;
    pthread_mutex_unlock(&server->lock);
    nx_watch_cancel_all(server->watch);
    pthread_mutex_lock(&server->lock);
    while (server->pending > 0) {
        pthread_cond_wait(&server->quiet, &server->lock);
    }
    pthread_mutex_unlock(&server->lock);
}

void nx_http_server_stop(nx_http_server *server, int64_t deadline_ns)
{
    if (server == NULL) {
        return;
    }
    nx_http_server_announce_stop(server);
    atomic_store(&server->stopping, true);
    nx_acceptor_stop(server->acceptor);
    wait_for_opening(server, deadline_ns);
    nx_watch_cancel_streams(server->watch); /* they would not end by themselves */
    wait_for_requests(server, deadline_ns);
    end_pending(server);
    MHD_stop_daemon(server->daemon);
    free_server(server);
}
