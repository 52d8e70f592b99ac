#include "http_client.h"
#include "testing.h"

#include "base/condition.h"
#include "http/accept.h"
#include "http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MOST_TAKEN 256

/* What an acceptor hands its connections to. */
typedef struct taker {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int fds[MOST_TAKEN];
    int count;
    int open;      /* taken and not given back */
    int most_open; /* ever */
    int refusals;  /* still to come */
    int refused;
} taker;

static void init_taker(taker *t)
{
    *t = (taker){.count = 0};
    pthread_mutex_init(&t->lock, NULL);
    nx_condition_init(&t->changed);
}

static void end_taker(taker *t)
{
    for (int i = 0; i < t->count; i++) {
        close(t->fds[i]);
    }
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
}

static bool take(int fd, const struct sockaddr *address, socklen_t size, void *user)
{
    taker *t = user;
    assert_int_equal(address->sa_family, AF_INET);
    assert_int_equal(size, sizeof(struct sockaddr_in));
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    pthread_mutex_lock(&t->lock);
    bool takes = t->refusals == 0;
    if (takes) {
        assert_true(t->count < MOST_TAKEN);
        t->fds[t->count++] = fd;
        t->open++;
        t->most_open = t->open > t->most_open ? t->open : t->most_open;
    } else {
        t->refusals--;
        t->refused++;
        close(fd);
    }
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    return takes;
}

static int wait_for(taker *t, const int *number, int least)
{
    int64_t until = nx_clock_now_ns() + ANSWER_MS * NX_NS_PER_MS;
    int result = 0;
    pthread_mutex_lock(&t->lock);
    while (*number < least && result == 0) {
        result = nx_condition_wait(&t->changed, &t->lock, until);
    }
    int reached = *number;
    pthread_mutex_unlock(&t->lock);
    return reached;
}

static void give_back(taker *t, nx_acceptor *acceptor)
{
    pthread_mutex_lock(&t->lock);
    t->open--;
    pthread_mutex_unlock(&t->lock);
    nx_acceptor_closed(acceptor);
}

static int listen_somewhere(uint16_t *port)
{
    int fd = -1;
    nx_error err = {0};
    nx_assert_ok(nx_http_listen("127.0.0.1", 0, 256, &fd, port, &err), err);
    return fd;
}

static nx_acceptor *accept_from(int fd, taker *t, uint32_t most, bool shared)
{
    const nx_acceptor_options options = {
        .fd = fd, .shared = shared, .most = most, .take = take, .user = t};
    nx_acceptor *acceptor = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_acceptor_new(&options, &acceptor, &err), err);
    return acceptor;
}

static void those_beyond_the_limit_wait(void **state)
{
    (void)state;
    taker t;
    init_taker(&t);
    uint16_t port = 0;
    nx_acceptor *acceptor = accept_from(listen_somewhere(&port), &t, 3, false);
    int clients[40];
    for (int i = 0; i < 40; i++) {
        clients[i] = nx_dial(port); /* the kernel answers, whoever accepts */
    }
    for (int i = 3; i < 40; i++) {
        assert_int_equal(wait_for(&t, &t.count, i), i);
        give_back(&t, acceptor);
    }
    assert_int_equal(wait_for(&t, &t.count, 40), 40);
    assert_int_equal(t.most_open, 3);
    nx_acceptor_free(acceptor);
    for (int i = 0; i < 40; i++) {
        close(clients[i]);
    }
    end_taker(&t);
}

static void it_stops_while_it_is_full(void **state)
{
    (void)state;
    taker t;
    init_taker(&t);
    uint16_t port = 0;
    nx_acceptor *acceptor = accept_from(listen_somewhere(&port), &t, 1, false);
    int first = nx_dial(port);
    assert_int_equal(wait_for(&t, &t.count, 1), 1);
    int second = nx_dial(port);
    nx_acceptor_stop(acceptor);
    nx_acceptor_stop(acceptor);
    char byte;
    assert_int_equal(hear(second, &byte, 1), 0); /* refused, instead of waiting for ever */
    give_back(&t, acceptor);
    nx_acceptor_free(acceptor);
    nx_acceptor_free(NULL);
    assert_int_equal(t.count, 1);
    close(first);
    close(second);
    end_taker(&t);
}

/* Connects until nobody listens; how often somebody did. */
static void *come_and_come(void *argument)
{
    const uint16_t *port = argument;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    intptr_t connected = 0;
    while (connected < MOST_TAKEN) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        int result = connect(fd, (const struct sockaddr *)&address, sizeof address);
        close(fd); /* who was connected has been, whether or not it stays */
        if (result != 0) {
            assert_int_equal(errno, ECONNREFUSED);
            break;
        }
        connected++;
        const struct timespec pace = {.tv_nsec = NX_NS_PER_MS};
        (void)nanosleep(&pace, NULL);
    }
    return (
        void *)connected; // NOLINT(performance-no-int-to-ptr): a number, as pthread_join gives it
}

static void who_has_connected_is_taken_before_it_ends(void **state)
{
    (void)state;
    taker t;
    init_taker(&t);
    uint16_t port = 0;
    nx_acceptor *acceptor = accept_from(listen_somewhere(&port), &t, MOST_TAKEN, false);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, come_and_come, &port), 0);
    assert_true(wait_for(&t, &t.count, 5) >= 5);
    nx_acceptor_finish(acceptor);
    void *connected = NULL;
    assert_int_equal(pthread_join(thread, &connected), 0);
    assert_int_equal(t.count, (intptr_t)connected);
    nx_acceptor_free(acceptor);
    end_taker(&t);
}

static void what_is_not_taken_does_not_count(void **state)
{
    (void)state;
    taker t;
    init_taker(&t);
    t.refusals = 3;
    uint16_t port = 0;
    nx_acceptor *acceptor = accept_from(listen_somewhere(&port), &t, 1, false);
    int clients[4];
    for (int i = 0; i < 4; i++) {
        clients[i] = nx_dial(port);
    }
    assert_int_equal(wait_for(&t, &t.refused, 3), 3);
    assert_int_equal(wait_for(&t, &t.count, 1), 1);
    nx_acceptor_free(acceptor);
    for (int i = 0; i < 4; i++) {
        close(clients[i]);
    }
    end_taker(&t);
}

static void it_goes_on_when_there_are_descriptors_again(void **state)
{
    (void)state;
    taker t;
    init_taker(&t);
    uint16_t port = 0;
    nx_acceptor *acceptor = accept_from(listen_somewhere(&port), &t, 1, false);
    int first = nx_dial(port);
    assert_int_equal(wait_for(&t, &t.count, 1), 1);
    int second = nx_dial(port); /* waits, for the limit is 1 */

    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit low = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int held[64];
    size_t count = 0;
    while (count < NX_COUNT(held) && (held[count] = dup(first)) >= 0) {
        count++;
    }
    assert_int_equal(dup(first), -1);
    give_back(&t, acceptor); /* there is room, but no descriptor */
    pthread_mutex_lock(&t.lock);
    assert_int_equal(t.count, 1);
    pthread_mutex_unlock(&t.lock);
    while (count > 0) {
        close(held[--count]);
    }
    assert_int_equal(wait_for(&t, &t.count, 2), 2);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    nx_acceptor_free(acceptor);
    close(first);
    close(second);
    end_taker(&t);
}

static void those_who_share_a_socket_take_turns(void **state)
{
    (void)state;
    taker one;
    taker other;
    init_taker(&one);
    init_taker(&other);
    uint16_t port = 0;
    int fd = listen_somewhere(&port);
    int again = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* as a child has it */
    nx_acceptor *first = accept_from(fd, &one, MOST_TAKEN, true);
    nx_acceptor *second = accept_from(again, &other, MOST_TAKEN, true);
    int clients[200];
    for (int i = 0; i < 200; i++) {
        clients[i] = nx_dial(port);
        int got = 0;
        while (got <= i) { /* one at a time: each finds both waiting, or nearly */
            pthread_mutex_lock(&one.lock);
            got = one.count;
            pthread_mutex_unlock(&one.lock);
            pthread_mutex_lock(&other.lock);
            got += other.count;
            pthread_mutex_unlock(&other.lock);
            sched_yield(); /* to them, where there are few cores for many */
        }
    }
    assert_int_equal(one.count + other.count, 200);
    assert_in_range(one.count, 20, 180); /* without turns the first to wait would have them all */
    /* when one ends the other has them all */
    int before = other.count;
    nx_acceptor_free(first);
    int last = nx_dial(port);
    assert_int_equal(wait_for(&other, &other.count, before + 1), before + 1);
    nx_acceptor_free(second);
    close(last);
    for (int i = 0; i < 200; i++) {
        close(clients[i]);
    }
    end_taker(&one);
    end_taker(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_beyond_the_limit_wait),
        cmocka_unit_test(it_stops_while_it_is_full),
        cmocka_unit_test(what_is_not_taken_does_not_count),
        cmocka_unit_test(who_has_connected_is_taken_before_it_ends),
        cmocka_unit_test(it_goes_on_when_there_are_descriptors_again),
        cmocka_unit_test(those_who_share_a_socket_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
