#include "auth/rate_limit.h"
#include "base/clock.h"
#include "testing.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define START (INT64_C(1000) * NX_NS_PER_SEC)
#define MS    NX_NS_PER_MS

static nx_rate_limiter *make(const char *text)
{
    nx_rate rates[NX_RATE_CLASSES];
    nx_rate_limiter *limiter = NULL;
    nx_error err = {0};
    for (size_t i = 0; i < NX_COUNT(rates); i++) {
        nx_assert_ok(nx_rate_parse(text, &rates[i], &err), err);
    }
    nx_assert_ok(nx_rate_limiter_new(rates, NULL, &limiter, &err), err);
    return limiter;
}

static nx_address address_of(const char *text)
{
    nx_address out;
    assert_true(nx_address_parse(text, strlen(text), &out));
    return out;
}

static nx_rate_subject stranger(const char *text)
{
    static const nx_identity nobody = {.kind = NX_IDENTITY_ANONYMOUS};
    const nx_address address = address_of(text);
    return nx_rate_subject_of(&nobody, &address, NX_RATE_CLASS_READ);
}

static nx_rate_state ask(nx_rate_limiter *limiter, const nx_rate_subject *subject, int64_t now_ns,
                         nx_rate_answer expected)
{
    nx_rate_state state;
    assert_int_equal(nx_rate_take(limiter, NX_RATE_CLASS_READ, subject, now_ns, &state), expected);
    return state;
}

static void test_a_bucket(void **state)
{
    (void)state;
    nx_rate_limiter *limiter = make("10/s burst 3");
    const nx_rate_subject one = stranger("192.0.2.1");
    nx_rate_state now = ask(limiter, &one, START, NX_RATE_ALLOWED);
    assert_int_equal(now.limit, 3);
    assert_int_equal(now.remaining, 2);
    assert_int_equal(now.reset_s, 1);
    assert_int_equal(now.retry_after_s, 0);
    now = ask(limiter, &one, START, NX_RATE_ALLOWED);
    assert_int_equal(now.remaining, 1);
    now = ask(limiter, &one, START, NX_RATE_ALLOWED);
    assert_int_equal(now.remaining, 0);
    for (int i = 0; i < 5; i++) { /* being refused costs nothing */
        now = ask(limiter, &one, START, NX_RATE_REFUSED);
        assert_int_equal(now.remaining, 0);
        assert_int_equal(now.retry_after_s, 1);
    }
    (void)ask(limiter, &one, START + 99 * MS, NX_RATE_REFUSED);
    (void)ask(limiter, &one, START + 100 * MS, NX_RATE_ALLOWED);
    (void)ask(limiter, &one, START + 100 * MS, NX_RATE_REFUSED);
    now = ask(limiter, &one, START + 10000 * MS, NX_RATE_ALLOWED); /* never more than the burst */
    assert_int_equal(now.remaining, 2);
    assert_int_equal(nx_rate_get_stats(limiter).refused[NX_RATE_CLASS_READ], 7);
    assert_int_equal(nx_rate_get_stats(limiter).refused[NX_RATE_CLASS_AUTH], 0);
    nx_rate_limiter_free(limiter);
}

static void test_slow_rates(void **state)
{
    (void)state;
    nx_rate_limiter *limiter = make("1/h burst 2");
    const nx_rate_subject one = stranger("192.0.2.1");
    (void)ask(limiter, &one, START, NX_RATE_ALLOWED);
    nx_rate_state now = ask(limiter, &one, START, NX_RATE_ALLOWED);
    assert_int_equal(now.reset_s, 7200);
    now = ask(limiter, &one, START + 1800 * NX_NS_PER_SEC, NX_RATE_REFUSED);
    assert_int_equal(now.retry_after_s, 1800);
    assert_int_equal(now.reset_s, 5400);
    nx_rate_limiter_free(limiter);
}

/* So many a second, however they are spread, and no more. */
static void test_the_rate_holds(void **state)
{
    (void)state;
    nx_rate_limiter *limiter = make("100/s burst 20");
    const nx_rate_subject one = stranger("192.0.2.1");
    int allowed = 0;
    for (int i = 0; i < 10000; i++) { /* ten seconds, a request each millisecond */
        nx_rate_state now;
        allowed += nx_rate_take(limiter, NX_RATE_CLASS_READ, &one, START + i * MS, &now) ==
                   NX_RATE_ALLOWED;
    }
    assert_in_range(allowed, 1018, 1020);
    nx_rate_limiter_free(limiter);
}

static void test_each_has_a_bucket(void **state)
{
    (void)state;
    nx_rate_limiter *limiter = make("1/s");
    const nx_address address = address_of("2001:db8:1:2::1");
    const nx_address near = address_of("2001:db8:1:2:ffff::1");
    const nx_address far = address_of("2001:db8:1:3::1");
    const nx_identity nobody = {.kind = NX_IDENTITY_ANONYMOUS};
    const nx_identity ann = {.kind = NX_IDENTITY_SESSION, .user_id = "1", .name = "ann"};
    const nx_identity bob = {.kind = NX_IDENTITY_SESSION, .user_id = "2", .name = "bob"};
    const nx_identity key = {.kind = NX_IDENTITY_KEY, .user_id = "1", .key_id = "k"};
    const nx_identity same_id = {.kind = NX_IDENTITY_KEY, .user_id = "1", .key_id = "1"};
    const nx_rate_class kind = NX_RATE_CLASS_READ;
    const nx_rate_subject subjects[] = {
        nx_rate_subject_of(&nobody, &address, kind), nx_rate_subject_of(&nobody, &far, kind),
        nx_rate_subject_of(&ann, &address, kind),    nx_rate_subject_of(&bob, &address, kind),
        nx_rate_subject_of(&key, &address, kind),    nx_rate_subject_of(&same_id, &address, kind),
    };
    for (size_t i = 0; i < NX_COUNT(subjects); i++) {
        (void)ask(limiter, &subjects[i], START, NX_RATE_ALLOWED);
        (void)ask(limiter, &subjects[i], START, NX_RATE_REFUSED);
    }
    const nx_rate_subject again = nx_rate_subject_of(&nobody, &near, kind);
    (void)ask(limiter, &again, START, NX_RATE_REFUSED); /* of the same network */
    const nx_rate_subject moved = nx_rate_subject_of(&ann, &far, kind);
    (void)ask(limiter, &moved, START, NX_RATE_REFUSED); /* wherever a user comes from */
    /* signing in is by network, and each class has its own bucket */
    nx_rate_state now;
    const nx_rate_subject in = nx_rate_subject_of(&ann, &address, NX_RATE_CLASS_AUTH);
    const nx_rate_subject in_too = nx_rate_subject_of(&bob, &near, NX_RATE_CLASS_AUTH);
    assert_int_equal(nx_rate_take(limiter, NX_RATE_CLASS_AUTH, &in, START, &now), NX_RATE_ALLOWED);
    assert_int_equal(nx_rate_take(limiter, NX_RATE_CLASS_AUTH, &in_too, START, &now),
                     NX_RATE_REFUSED);
    nx_rate_limiter_free(limiter);
}

/* However many strangers come, nobody's bucket becomes full by it. */
static void test_a_flood_resets_nothing(void **state)
{
    (void)state;
    nx_rate_limiter *limiter = make("1/h");
    const nx_rate_subject victim = stranger("192.0.2.1");
    const nx_identity ann = {.kind = NX_IDENTITY_SESSION, .user_id = "1"};
    const nx_address address = address_of("192.0.2.1");
    const nx_rate_subject user = nx_rate_subject_of(&ann, &address, NX_RATE_CLASS_READ);
    (void)ask(limiter, &victim, START, NX_RATE_ALLOWED);
    int64_t refused = 0;
    for (uint32_t i = 0; i < 40000; i++) {
        char text[NX_ADDRESS_TEXT];
        snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        const nx_rate_subject other = stranger(text);
        nx_rate_state now;
        refused +=
            nx_rate_take(limiter, NX_RATE_CLASS_READ, &other, START, &now) == NX_RATE_REFUSED;
    }
    assert_true(refused > 20000); /* they share what is left */
    assert_true(nx_rate_get_stats(limiter).crowded >= 30000);
    (void)ask(limiter, &victim, START, NX_RATE_REFUSED);
    (void)ask(limiter, &user, START, NX_RATE_ALLOWED); /* people are not touched by strangers */
    /* an hour later every bucket is full, and there is room for all */
    const nx_rate_subject late = stranger("172.16.0.1");
    (void)ask(limiter, &late, START + 3601 * NX_NS_PER_SEC, NX_RATE_ALLOWED);
    nx_rate_limiter_free(limiter);
}

static void test_other_rates(void **state)
{
    (void)state;
    nx_rate_limiter *limiter = make("1/h burst 2");
    const nx_rate_subject one = stranger("192.0.2.1");
    nx_rate rates[NX_RATE_CLASSES];
    nx_error err = {0};
    (void)ask(limiter, &one, START, NX_RATE_ALLOWED);
    (void)ask(limiter, &one, START, NX_RATE_ALLOWED);
    (void)ask(limiter, &one, START, NX_RATE_REFUSED);
    for (size_t i = 0; i < NX_COUNT(rates); i++) {
        nx_assert_ok(
            nx_rate_parse(i == NX_RATE_CLASS_READ ? "1/s burst 1" : "off", &rates[i], &err), err);
    }
    nx_rate_limiter_set(limiter, rates);
    /* what the slow rate has written into the bucket would keep it empty for hours */
    assert_int_equal(ask(limiter, &one, START, NX_RATE_ALLOWED).limit, 1);
    (void)ask(limiter, &one, START, NX_RATE_REFUSED);
    nx_rate_state now;
    assert_int_equal(nx_rate_take(limiter, NX_RATE_CLASS_INFER, &one, START, &now), NX_RATE_OFF);
    nx_rate_limiter_set(limiter, rates); /* the same ones: nothing begins anew */
    (void)ask(limiter, &one, START, NX_RATE_REFUSED);
    nx_rate_limiter_free(limiter);
}

static void test_off(void **state)
{
    (void)state;
    nx_rate_limiter *limiter = make("off");
    const nx_rate_subject one = stranger("192.0.2.1");
    for (int i = 0; i < 100; i++) {
        (void)ask(limiter, &one, START, NX_RATE_OFF);
    }
    nx_rate_limiter_free(limiter);
    nx_rate_limiter_free(NULL);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < NX_RATE_CLASSES; i++) {
        assert_int_equal(nx_rate_class_of(nx_rate_class_name((nx_rate_class)i)), i);
    }
    assert_int_equal(nx_rate_class_of("open"), NX_RATE_CLASSES);
    assert_int_equal(nx_rate_class_of(NULL), NX_RATE_CLASSES);
}

#define THREADS 4
#define EACH    2000

typedef struct racer {
    nx_rate_limiter *limiter;
    atomic_int allowed;
} racer;

static void *race(void *user)
{
    racer *self = user;
    const nx_rate_subject one = stranger("192.0.2.1");
    for (int i = 0; i < EACH; i++) {
        nx_rate_state now;
        if (nx_rate_take(self->limiter, NX_RATE_CLASS_READ, &one, START, &now) == NX_RATE_ALLOWED) {
            atomic_fetch_add(&self->allowed, 1);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    racer self = {.limiter = make("1000/s")};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race, &self), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&self.allowed), 1000);
    nx_rate_limiter_free(self.limiter);
}

/* --- several processes ---------------------------------------------------------------------------
 */

#define PROCESSES 4

static nx_rate_limiter *make_in(nx_rate_memory *memory, const char *text)
{
    const nx_rate_limiter_options options = {.memory = memory};
    nx_rate rates[NX_RATE_CLASSES];
    nx_rate_limiter *limiter = NULL;
    nx_error err = {0};
    for (size_t i = 0; i < NX_COUNT(rates); i++) {
        nx_assert_ok(nx_rate_parse(text, &rates[i], &err), err);
    }
    nx_assert_ok(nx_rate_limiter_new(rates, &options, &limiter, &err), err);
    return limiter;
}

/* How many of 60 it gets: the child's exit code. */
static int take_some(nx_rate_memory *memory)
{
    nx_rate_limiter *limiter = make_in(memory, "1/h burst 100");
    const nx_rate_subject one = stranger("192.0.2.1");
    int allowed = 0;
    for (int i = 0; i < 60; i++) {
        nx_rate_state now;
        allowed += nx_rate_take(limiter, NX_RATE_CLASS_READ, &one, START, &now) == NX_RATE_ALLOWED;
    }
    nx_rate_limiter_free(limiter);
    return allowed;
}

static void test_processes_share(void **state)
{
    (void)state;
    nx_rate_memory *memory = NULL;
    nx_error err = {0};
    pid_t children[PROCESSES];
    int allowed = 0;
    nx_assert_ok(nx_rate_memory_new(&memory, &err), err);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            _exit(take_some(memory));
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        allowed += WEXITSTATUS(status);
    }
    assert_int_equal(allowed, 100);
    nx_rate_memory_free(memory);
    nx_rate_memory_free(NULL);
}

/* Killed at any point, also with a lock in its hands, a process leaves the others at work. */
static void test_a_killed_process(void **state)
{
    (void)state;
    nx_rate_memory *memory = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_rate_memory_new(&memory, &err), err);
    nx_rate_limiter *limiter = make_in(memory, "1000000/s");
    const nx_rate_subject one = stranger("192.0.2.1");
    for (int i = 0; i < 50; i++) {
        int ready[2];
        char byte = 0;
        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            nx_rate_state now;
            (void)!write(ready[1], "x", 1);
            for (int64_t at = START;; at++) {
                (void)nx_rate_take(limiter, NX_RATE_CLASS_READ, &one, at, &now);
            }
        }
        assert_int_equal(read(ready[0], &byte, 1), 1);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        close(ready[0]);
        close(ready[1]);
        (void)ask(limiter, &one, START * 10, NX_RATE_ALLOWED);
    }
    nx_rate_limiter_free(limiter);
    nx_rate_memory_free(memory);
}

static void test_what_is_held_comes_back(void **state)
{
    (void)state;
    nx_rate_limiter *limiter = make("1/h burst 2");
    const nx_rate_subject one = stranger("192.0.2.1");
    const nx_rate_class kind = NX_RATE_CLASS_READ;
    nx_rate_state now;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(nx_rate_hold(limiter, kind, &one, START, &now), NX_RATE_ALLOWED);
        assert_int_equal(now.remaining, 1);
        nx_rate_give_back(limiter, kind, &one);
    }
    assert_int_equal(nx_rate_hold(limiter, kind, &one, START, &now), NX_RATE_ALLOWED);
    nx_rate_pay(limiter, kind, &one);
    assert_int_equal(nx_rate_hold(limiter, kind, &one, START, &now), NX_RATE_ALLOWED);
    assert_int_equal(nx_rate_hold(limiter, kind, &one, START, &now), NX_RATE_REFUSED);
    (void)ask(limiter, &one, START, NX_RATE_REFUSED);
    nx_rate_give_back(limiter, kind, &one);
    (void)ask(limiter, &one, START, NX_RATE_ALLOWED);
    /* without Redis nobody is ever told to come later */
    assert_int_equal(nx_rate_try(limiter, kind, &one, START, &now), NX_RATE_REFUSED);
    nx_rate_limiter_free(limiter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bucket),
        cmocka_unit_test(test_slow_rates),
        cmocka_unit_test(test_the_rate_holds),
        cmocka_unit_test(test_each_has_a_bucket),
        cmocka_unit_test(test_a_flood_resets_nothing),
        cmocka_unit_test(test_other_rates),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_processes_share),
        cmocka_unit_test(test_a_killed_process),
        cmocka_unit_test(test_what_is_held_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
