#include "http/watch.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_EVENTS       64
#define LINGER_NS        (2 * NX_NS_PER_SEC)
#define LINGER_BYTES     (INT64_C(64) << 20)
#define MAX_LINGERING    64
#define LINGER_READ_SIZE (1 << 20)

/* Each phase has its list. Within a list all deadlines are the same time after `since_ns`, so the
 * oldest member, at the front, is the next to expire. */
typedef enum conn_phase {
    PHASE_IDLE,      /* between requests, or in the middle of a header */
    PHASE_RECEIVING, /* a body is coming in */
    PHASE_WAITING,   /* for whoever answers; no limit here, jobs have their own */
    PHASE_SENDING,   /* the answer is going out */
    PHASE_LATE,      /* was told 408; has a moment to leave */
    PHASE_LEAVING,   /* as idle or receiving, but the client will send no more */
    PHASE_SHUT,      /* was shut down; libmicrohttpd is about to close it */
    PHASE_LINGERING, /* a descriptor of our own, read until the client is done */
    PHASE_COUNT,
} conn_phase;

typedef struct list_node {
    struct list_node *next, *previous;
} list_node;

struct nx_watch_conn {
    list_node node; /* first, so that a node is its connection */
    nx_watch *watch;
    int fd;
    conn_phase phase;
    int64_t since_ns;
    uint32_t serial; /* tells this connection from an earlier one with the same descriptor */
    bool listed;     /* fd is in the watch's epoll set */
    bool gone;       /* the client has closed its side, or more */
    bool armed;      /* cancel may be called */
    bool streams;    /* armed for an answer that goes on */
    bool linger;
    int64_t lingered; /* bytes */
    void *request;
    void (*cancel)(void *user);
    void *user;
};

struct nx_watch {
    nx_watch_options options;
    int64_t limits_ns[PHASE_COUNT]; /* 0: none */
    pthread_t thread;
    int epoll_fd;
    int wake_fd;

    pthread_mutex_t lock;         /* guards everything below and every connection */
    pthread_cond_t called;        /* a cancel callback has returned */
    list_node lists[PHASE_COUNT]; /* circular, oldest first */
    nx_watch_conn **by_fd;        /* those in the epoll set */
    size_t by_fd_size;
    nx_watch_conn *calling; /* whose cancel callback is being called */
    uint32_t next_serial;
    uint32_t count;
    uint32_t lingering;
    int64_t wakes_at_ns; /* when the thread will look at the deadlines; INT64_MAX: not at all */
    bool check_waiting;  /* a request that is to be cancelled was armed */
    bool cancelling;     /* all of them are */
    bool ending_streams; /* those that stream are */
    bool stopping;
};

/* --- lists and deadlines; the lock is held ------------------------------------------------------
 */

static void wake(nx_watch *watch)
{
    uint64_t one = 1;
    /* it can only fail when the counter is full, and then the thread is awake anyway */
    ssize_t ignored = write(watch->wake_fd, &one, sizeof one);
    (void)ignored;
}

static void leave_list(nx_watch_conn *conn)
{
    conn->node.previous->next = conn->node.next;
    conn->node.next->previous = conn->node.previous;
}

static void join_list(nx_watch_conn *conn, conn_phase phase)
{
    nx_watch *watch = conn->watch;
    list_node *head = &watch->lists[phase];
    conn->phase = phase;
    conn->since_ns = nx_clock_now_ns();
    conn->node.next = head;
    conn->node.previous = head->previous;
    head->previous->next = &conn->node;
    head->previous = &conn->node;
    int64_t limit = watch->limits_ns[phase];
    if (limit > 0 && conn->since_ns + limit < watch->wakes_at_ns) {
        watch->wakes_at_ns = conn->since_ns + limit; /* so that the next one need not wake it too */
        wake(watch);
    }
}

static void enter(nx_watch_conn *conn, conn_phase phase)
{
    leave_list(conn);
    join_list(conn, phase);
}

static nx_watch_conn *oldest(nx_watch *watch, conn_phase phase)
{
    list_node *head = &watch->lists[phase];
    return head->next != head ? (nx_watch_conn *)head->next : NULL;
}

static void shut_down(nx_watch_conn *conn)
{
    shutdown(conn->fd, SHUT_RDWR);
    enter(conn, PHASE_SHUT);
}

/* --- the epoll set; the lock is held ------------------------------------------------------------
 */

static bool remember_fd(nx_watch *watch, nx_watch_conn *conn)
{
    size_t index = (size_t)conn->fd;
    if (index >= watch->by_fd_size) {
        size_t size = watch->by_fd_size > 0 ? watch->by_fd_size : 64;
        while (size <= index) {
            size *= 2;
        }
        nx_watch_conn **grown = realloc(watch->by_fd, size * sizeof(nx_watch_conn *));
        if (grown == NULL) {
            return false;
        }
        memset(&grown[watch->by_fd_size], 0, (size - watch->by_fd_size) * sizeof(nx_watch_conn *));
        watch->by_fd = grown;
        watch->by_fd_size = size;
    }
    watch->by_fd[index] = conn;
    return true;
}

static void add_to_epoll(nx_watch_conn *conn, uint32_t events)
{
    nx_watch *watch = conn->watch;
    conn->serial = watch->next_serial++;
    if (!remember_fd(watch, conn)) {
        return;
    }
    struct epoll_event event = {.events = events,
                                .data.u64 = (uint64_t)conn->serial << 32 | (uint32_t)conn->fd};
    if (epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) != 0) {
        watch->by_fd[conn->fd] = NULL;
        return;
    }
    conn->listed = true;
}

static void remove_from_epoll(nx_watch_conn *conn)
{
    if (conn->listed) {
        epoll_ctl(conn->watch->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
        conn->watch->by_fd[conn->fd] = NULL;
        conn->listed = false;
    }
}

/* The connection that an event is about, or NULL when it has gone in the meantime. */
static nx_watch_conn *find(nx_watch *watch, uint64_t data)
{
    size_t fd = (size_t)(data & UINT32_MAX);
    nx_watch_conn *conn = fd < watch->by_fd_size ? watch->by_fd[fd] : NULL;
    return conn != NULL && conn->serial == (uint32_t)(data >> 32) ? conn : NULL;
}

/* --- the thread ---------------------------------------------------------------------------------
 */

/* The lock is held, and released for the length of the call. */
static void call_cancel(nx_watch_conn *conn)
{
    nx_watch *watch = conn->watch;
    void (*cancel)(void *) = conn->cancel;
    void *user = conn->user;
    conn->armed = false;
    watch->calling = conn;
    pthread_mutex_unlock(&watch->lock);
    cancel(user);
    pthread_mutex_lock(&watch->lock);
    watch->calling = NULL;
    pthread_cond_broadcast(&watch->called);
}

static void end_lingering(nx_watch_conn *conn)
{
    remove_from_epoll(conn);
    leave_list(conn);
    conn->watch->lingering--;
    close(conn->fd);
    free(conn);
}

/* Throws away what a refused client still sends. */
static void drain(nx_watch_conn *conn)
{
    /* MSG_TRUNC lets the kernel drop the bytes without copying them (tcp(7)) */
    ssize_t got = recv(conn->fd, NULL, LINGER_READ_SIZE, MSG_TRUNC | MSG_DONTWAIT);
    if (got > 0) {
        conn->lingered += got;
    }
    bool later = got < 0 && (errno == EAGAIN || errno == EINTR);
    if ((got <= 0 && !later) || conn->lingered > LINGER_BYTES) {
        end_lingering(conn);
    }
}

/* The client has closed its side. What it sent before is still served, if it does not take long;
 * but nobody is there for an answer that has yet to be worked out. */
static void note_departure(nx_watch_conn *conn)
{
    conn->gone = true;
    if (conn->armed) {
        call_cancel(conn);
    } else if (conn->phase == PHASE_IDLE || conn->phase == PHASE_RECEIVING) {
        enter(conn, PHASE_LEAVING);
    }
}

static void handle_event(nx_watch *watch, const struct epoll_event *event)
{
    if (event->data.u64 == UINT64_MAX) {
        uint64_t count;
        ssize_t ignored = read(watch->wake_fd, &count, sizeof count);
        (void)ignored;
        return;
    }
    nx_watch_conn *conn = find(watch, event->data.u64);
    if (conn == NULL) {
        return;
    }
    if (conn->phase == PHASE_LINGERING) {
        drain(conn);
    } else {
        note_departure(conn);
    }
}

static void expire(nx_watch_conn *conn)
{
    switch (conn->phase) {
    case PHASE_RECEIVING:
        conn->watch->options.on_late(conn->fd, conn->request);
        conn->linger = true;
        /* only our side: the client may still be writing and should get to read the answer */
        shutdown(conn->fd, SHUT_WR);
        enter(conn, PHASE_LATE);
        break;
    case PHASE_LINGERING:
        end_lingering(conn);
        break;
    default:
        shut_down(conn);
        break;
    }
}

/* Expires what is due in one list; returns when the next one is, or INT64_MAX. */
static int64_t expire_list(nx_watch *watch, conn_phase phase, int64_t now)
{
    const list_node *head = &watch->lists[phase];
    for (list_node *at = head->next; at != head;) {
        nx_watch_conn *conn = (nx_watch_conn *)at;
        int64_t due = conn->since_ns + watch->limits_ns[phase];
        if (due > now) {
            return due;
        }
        at = at->next;
        expire(conn);
    }
    return INT64_MAX;
}

static void expire_all(nx_watch *watch)
{
    int64_t now = nx_clock_now_ns();
    int64_t next = INT64_MAX;
    for (int i = 0; i < PHASE_COUNT; i++) {
        if (watch->limits_ns[i] > 0) {
            int64_t due = expire_list(watch, (conn_phase)i, now);
            next = due < next ? due : next;
        }
    }
    watch->wakes_at_ns = next;
}

static bool is_cancelled(const nx_watch_conn *conn)
{
    const nx_watch *watch = conn->watch;
    return conn->gone || watch->cancelling || (conn->streams && watch->ending_streams);
}

static void cancel_armed(nx_watch *watch)
{
    watch->check_waiting = false;
    list_node *head = &watch->lists[PHASE_WAITING];
    list_node *at = head->next;
    while (at != head) {
        nx_watch_conn *conn = (nx_watch_conn *)at;
        at = at->next;
        if (conn->armed && is_cancelled(conn)) {
            call_cancel(conn);
            at = head->next; /* the list may have changed meanwhile */
        }
    }
}

static int milliseconds_until(int64_t when_ns)
{
    if (when_ns == INT64_MAX) {
        return -1;
    }
    int64_t left = when_ns - nx_clock_now_ns();
    int64_t rounded = (left + NX_NS_PER_MS - 1) / NX_NS_PER_MS;
    return left <= 0 ? 0 : rounded < INT_MAX ? (int)rounded : INT_MAX;
}

static void *run(void *argument)
{
    nx_watch *watch = argument;
    struct epoll_event events[MAX_EVENTS];
    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        expire_all(watch);
        if (watch->check_waiting) {
            cancel_armed(watch);
        }
        int timeout = milliseconds_until(watch->wakes_at_ns);
        pthread_mutex_unlock(&watch->lock);
        int count = epoll_wait(watch->epoll_fd, events, MAX_EVENTS, timeout);
        pthread_mutex_lock(&watch->lock);
        for (int i = 0; i < count; i++) {
            handle_event(watch, &events[i]);
        }
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static bool open_descriptors(nx_watch *watch)
{
    watch->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    watch->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
    return watch->epoll_fd >= 0 && watch->wake_fd >= 0 &&
           epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, watch->wake_fd, &event) == 0;
}

static void release(nx_watch *watch)
{
    if (watch->epoll_fd >= 0) {
        close(watch->epoll_fd);
    }
    if (watch->wake_fd >= 0) {
        close(watch->wake_fd);
    }
    pthread_cond_destroy(&watch->called);
    pthread_mutex_destroy(&watch->lock);
    free(watch->by_fd);
    free(watch);
}

nx_status nx_watch_new(const nx_watch_options *options, nx_watch **out, nx_error *err)
{
    *out = NULL;
    nx_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the HTTP server");
    }
    watch->options = *options;
    watch->limits_ns[PHASE_IDLE] = options->idle_ns;
    watch->limits_ns[PHASE_RECEIVING] = options->receive_ns;
    watch->limits_ns[PHASE_SENDING] = options->send_ns;
    watch->limits_ns[PHASE_LATE] = LINGER_NS;
    watch->limits_ns[PHASE_LEAVING] = LINGER_NS;
    watch->limits_ns[PHASE_LINGERING] = LINGER_NS;
    watch->wakes_at_ns = INT64_MAX;
    for (int i = 0; i < PHASE_COUNT; i++) {
        watch->lists[i].next = watch->lists[i].previous = &watch->lists[i];
    }
    pthread_mutex_init(&watch->lock, NULL);
    pthread_cond_init(&watch->called, NULL);
    if (!open_descriptors(watch) || pthread_create(&watch->thread, NULL, run, watch) != 0) {
        int problem = errno;
        release(watch);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, problem,
                                  "cannot start the thread that watches connections");
    }
    *out = watch;
    return NX_OK;
}

void nx_watch_free(nx_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    wake(watch);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    const list_node *head = &watch->lists[PHASE_LINGERING];
    for (list_node *at = head->next; at != head;) {
        nx_watch_conn *conn = (nx_watch_conn *)at;
        at = at->next;
        end_lingering(conn);
    }
    release(watch);
}

void nx_watch_set_limits(nx_watch *watch, int64_t receive_ns, int64_t send_ns)
{
    pthread_mutex_lock(&watch->lock);
    watch->limits_ns[PHASE_RECEIVING] = receive_ns;
    watch->limits_ns[PHASE_SENDING] = send_ns;
    wake(watch); /* which looks at all deadlines again */
    pthread_mutex_unlock(&watch->lock);
}

nx_watch_conn *nx_watch_open(nx_watch *watch, int fd)
{
    nx_watch_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
        return NULL;
    }
    conn->watch = watch;
    conn->fd = fd;
    pthread_mutex_lock(&watch->lock);
    if (++watch->count > watch->options.high_water) {
        nx_watch_conn *victim = oldest(watch, PHASE_IDLE);
        if (victim != NULL) {
            shut_down(victim);
        }
    }
    join_list(conn, PHASE_IDLE);
    /* without it a client that leaves is noticed only by its deadlines, which is no fault */
    add_to_epoll(conn, EPOLLRDHUP | EPOLLONESHOT);
    pthread_mutex_unlock(&watch->lock);
    return conn;
}

/* Turns a closing connection into a lingering one on a descriptor of its own. The lock is held. */
static bool start_lingering(nx_watch_conn *conn)
{
    nx_watch *watch = conn->watch;
    int fd = watch->lingering < MAX_LINGERING ? fcntl(conn->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd < 0) {
        return false;
    }
    int old = conn->fd;
    conn->fd = fd;
    add_to_epoll(conn, EPOLLIN | EPOLLRDHUP);
    if (!conn->listed) {
        close(fd);
        conn->fd = old;
        return false;
    }
    watch->lingering++;
    enter(conn, PHASE_LINGERING);
    return true;
}

void nx_watch_close(nx_watch_conn *conn)
{
    nx_watch *watch = conn->watch;
    pthread_mutex_lock(&watch->lock);
    watch->count--;
    remove_from_epoll(conn);
    bool kept = conn->linger && start_lingering(conn);
    if (!kept) {
        leave_list(conn);
        free(conn);
    }
    pthread_mutex_unlock(&watch->lock);
}

/* --- phases -------------------------------------------------------------------------------------
 */

/* A connection that was shut down or answered by the watch keeps its phase until it is closed. */
static bool move(nx_watch_conn *conn, conn_phase phase)
{
    pthread_mutex_lock(&conn->watch->lock);
    bool alive = conn->phase != PHASE_LATE && conn->phase != PHASE_SHUT;
    if (alive) {
        bool leaving = conn->gone && (phase == PHASE_IDLE || phase == PHASE_RECEIVING);
        enter(conn, leaving ? PHASE_LEAVING : phase);
    }
    pthread_mutex_unlock(&conn->watch->lock);
    return alive;
}

void nx_watch_receiving(nx_watch_conn *conn, void *request)
{
    conn->request = request;
    move(conn, PHASE_RECEIVING);
}

bool nx_watch_received(nx_watch_conn *conn)
{
    return move(conn, PHASE_WAITING);
}

void nx_watch_sending(nx_watch_conn *conn)
{
    move(conn, PHASE_SENDING);
}

void nx_watch_idle(nx_watch_conn *conn)
{
    move(conn, PHASE_IDLE);
}

static void arm(nx_watch_conn *conn, void (*cancel)(void *user), void *user, bool streams)
{
    nx_watch *watch = conn->watch;
    pthread_mutex_lock(&watch->lock);
    conn->cancel = cancel;
    conn->user = user;
    conn->streams = streams;
    enter(conn, PHASE_WAITING);
    conn->armed = true;
    if (is_cancelled(conn)) {
        watch->check_waiting = true;
        wake(watch);
    }
    pthread_mutex_unlock(&watch->lock);
}

void nx_watch_arm(nx_watch_conn *conn, void (*cancel)(void *user), void *user)
{
    arm(conn, cancel, user, false);
}

void nx_watch_arm_stream(nx_watch_conn *conn, void (*cancel)(void *user), void *user)
{
    arm(conn, cancel, user, true);
}

void nx_watch_disarm(nx_watch_conn *conn)
{
    nx_watch *watch = conn->watch;
    pthread_mutex_lock(&watch->lock);
    while (watch->calling == conn) {
        pthread_cond_wait(&watch->called, &watch->lock);
    }
    conn->armed = false;
    pthread_mutex_unlock(&watch->lock);
}

void nx_watch_linger(nx_watch_conn *conn)
{
    pthread_mutex_lock(&conn->watch->lock);
    conn->linger = true;
    pthread_mutex_unlock(&conn->watch->lock);
}

static void cancel_from_now(nx_watch *watch, bool *which)
{
    pthread_mutex_lock(&watch->lock);
    *which = true;
    watch->check_waiting = true;
    wake(watch);
    pthread_mutex_unlock(&watch->lock);
}

void nx_watch_cancel_streams(nx_watch *watch)
{
    cancel_from_now(watch, &watch->ending_streams);
}

void nx_watch_cancel_all(nx_watch *watch)
{
    cancel_from_now(watch, &watch->cancelling);
}

uint32_t nx_watch_count(nx_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    uint32_t count = watch->count;
    pthread_mutex_unlock(&watch->lock);
    return count;
}
