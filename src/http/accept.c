#include "http/accept.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* How many connections are accepted before the thread looks whether it is to stop. */
#define AT_ONCE 64
/* Without a free descriptor, or memory, this passes before the next attempt. */
#define PAUSE_MS     100
#define FINISH_MS    100 /* longer than the way there and back */
#define TCP_FLAGS_AT 13
#define COMPLAINT_NS (10 * NX_NS_PER_SEC) /* from one line of the log to the next */

enum { LISTENS = 1, WAKES = 2 };

struct nx_acceptor {
    nx_acceptor_options options;
    pthread_t thread;
    bool running; /* of the stopping thread */
    int epoll_fd;
    int wake_fd;
    _Atomic uint32_t open;
    _Atomic bool full; /* the thread wants to be woken when a connection closes */
    _Atomic bool stopping;

    /* the thread's own */
    bool listens; /* the socket is in the epoll set */
    int64_t complained_ns;
};

static void wake(nx_acceptor *acceptor)
{
    uint64_t one = 1;
    /* it can only fail when the counter is full, and then the thread is awake anyway */
    ssize_t ignored = write(acceptor->wake_fd, &one, sizeof one);
    (void)ignored;
}

static bool add_to_epoll(nx_acceptor *acceptor, int fd, uint32_t events, uint64_t what)
{
    struct epoll_event event = {.events = events, .data.u64 = what};
    return epoll_ctl(acceptor->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void stop_listening(nx_acceptor *acceptor)
{
    if (acceptor->listens) {
        (void)epoll_ctl(acceptor->epoll_fd, EPOLL_CTL_DEL, acceptor->options.fd, NULL);
        acceptor->listens = false;
    }
}

/* Exclusive: the kernel wakes one of the processes for a connection, not all of them. */
static void start_listening(nx_acceptor *acceptor)
{
    if (!acceptor->listens) {
        acceptor->listens =
            add_to_epoll(acceptor, acceptor->options.fd, EPOLLIN | EPOLLEXCLUSIVE, LISTENS);
    }
}

/* Also asks to be woken when there is none. */
static bool has_room(nx_acceptor *acceptor)
{
    if (atomic_load(&acceptor->open) < acceptor->options.most) {
        return true;
    }
    atomic_store(&acceptor->full, true);
    /* sequentially consistent: either this sees that one has closed, or who closes it sees `full`
     */
    return atomic_load(&acceptor->open) < acceptor->options.most;
}

static void complain(nx_acceptor *acceptor, int problem)
{
    int64_t now = nx_clock_now_ns();
    if (acceptor->complained_ns == 0 || now - acceptor->complained_ns > COMPLAINT_NS) {
        acceptor->complained_ns = now;
        nx_log_warn("http", "cannot accept connections for now: %s; %u are open",
                    strerrordesc_np(problem), atomic_load(&acceptor->open));
    }
}

/* False: the kernel has none, or can't give it. */
static bool accept_one(nx_acceptor *acceptor, bool *short_of)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    int fd = accept4(acceptor->options.fd, (struct sockaddr *)&address, &size,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        switch (errno) {
        case EAGAIN: /* another process took it */
            return false;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
        case EINVAL: /* not listening, and nothing that could be tried but again */
        case EBADF:
            complain(acceptor, errno);
            *short_of = true;
            return false;
        default: /* of this one connection, which has gone (accept(2)) */
            return true;
        }
    }
    atomic_fetch_add(&acceptor->open, 1);
    if (!acceptor->options.take(fd, (struct sockaddr *)&address, size, acceptor->options.user)) {
        atomic_fetch_sub(&acceptor->open, 1);
    }
    return true;
}

/* True: nothing can be accepted for a moment. */
static bool accept_some(nx_acceptor *acceptor)
{
    bool short_of = false;
    uint32_t most = acceptor->options.shared ? 1 : AT_ONCE;
    for (uint32_t i = 0; i < most && has_room(acceptor); i++) {
        if (!accept_one(acceptor, &short_of)) {
            break;
        }
    }
    if (acceptor->options.shared) {
        /* to the end of the kernel's queue of waiters, which never turns by itself */
        stop_listening(acceptor);
    }
    return short_of;
}

static void *run(void *argument)
{
    nx_acceptor *acceptor = argument;
    bool pause = false;
    while (!atomic_load(&acceptor->stopping)) {
        if (!pause && has_room(acceptor)) {
            start_listening(acceptor);
        } else {
            stop_listening(acceptor);
        }
        struct epoll_event events[2];
        int timeout = acceptor->listens ? -1 : pause ? PAUSE_MS : -1;
        int count = epoll_wait(acceptor->epoll_fd, events, 2, timeout);
        pause = false;
        for (int i = 0; i < count; i++) {
            if (events[i].data.u64 == WAKES) {
                uint64_t wakes;
                ssize_t ignored = read(acceptor->wake_fd, &wakes, sizeof wakes);
                (void)ignored;
            } else {
                pause = accept_some(acceptor);
            }
        }
    }
    return NULL;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static nx_status start(nx_acceptor *acceptor, nx_error *err)
{
    acceptor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    acceptor->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ready = acceptor->epoll_fd >= 0 && acceptor->wake_fd >= 0 &&
                 add_to_epoll(acceptor, acceptor->wake_fd, EPOLLIN, WAKES);
    int problem = errno;
    if (ready) {
        problem = pthread_create(&acceptor->thread, NULL, run, acceptor);
        ready = problem == 0;
    }
    acceptor->running = ready;
    return ready ? NX_OK
                 : nx_error_set_errno(err, NX_ERR_UNAVAILABLE, problem,
                                      "cannot start the thread that accepts connections");
}

nx_status nx_acceptor_new(const nx_acceptor_options *options, nx_acceptor **out, nx_error *err)
{
    nx_acceptor *acceptor = calloc(1, sizeof *acceptor);
    *out = acceptor;
    if (acceptor == NULL) {
        close(options->fd);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the HTTP server");
    }
    acceptor->options = *options;
    nx_status status = start(acceptor, err);
    if (status != NX_OK) {
        nx_acceptor_free(acceptor);
        *out = NULL;
    }
    return status;
}

void nx_acceptor_closed(nx_acceptor *acceptor)
{
    atomic_fetch_sub(&acceptor->open, 1);
    if (atomic_load(&acceptor->full) && atomic_exchange(&acceptor->full, false)) {
        wake(acceptor);
    }
}

void nx_acceptor_stop(nx_acceptor *acceptor)
{
    if (acceptor->running) {
        atomic_store(&acceptor->stopping, true);
        wake(acceptor);
        pthread_join(acceptor->thread, NULL);
        acceptor->running = false;
    }
    /* before the socket, which would stay in the set as long as another process has it open */
    stop_listening(acceptor);
    close_fd(&acceptor->options.fd);
}

/* A listening socket that is closed resets whom the kernel has answered and nobody has accepted. So
 * no new ones are answered (packets with SYN in the thirteenth byte of TCP's header, RFC 9293, are
 * dropped), and the thread goes on for a moment longer than an answer is on its way. */
static bool answer_nobody_new(int fd)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_AT),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog filter = {.len = sizeof steps / sizeof steps[0], .filter = steps};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0;
}

void nx_acceptor_finish(nx_acceptor *acceptor)
{
    if (!acceptor->options.shared && acceptor->running && answer_nobody_new(acceptor->options.fd)) {
        const struct timespec moment = {.tv_nsec = FINISH_MS * NX_NS_PER_MS};
        (void)nanosleep(&moment, NULL);
    }
    nx_acceptor_stop(acceptor);
}

void nx_acceptor_free(nx_acceptor *acceptor)
{
    if (acceptor == NULL) {
        return;
    }
    nx_acceptor_stop(acceptor);
    close_fd(&acceptor->epoll_fd);
    close_fd(&acceptor->wake_fd);
    free(acceptor);
}
