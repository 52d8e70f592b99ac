/* One limit of several hosts: limiters with tables of their own on one real Redis. */
#include "redis_fixture.h"

#include "auth/rate_limit.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

/* Nothing comes back while a test runs. */
#define HOUR_S 3600

/* A limiter as a host has one. */
typedef struct host {
    nx_redis *redis;
    nx_rate_limiter *limiter;
} host;

static bool answers(const host *h)
{
    const nx_redis_arg ping[] = {NX_REDIS_WORD("PING")};
    nx_redis_reply reply;
    nx_error err = {0};
    nx_status status = nx_redis_run(h->redis, ping, 1, &reply, &err);
    nx_redis_reply_free(&reply);
    return status == NX_OK;
}

static host open_host(const nx_redis_options *client, const char *rate)
{
    host h = {.redis = redis_open(client)};
    nx_rate rates[NX_RATE_CLASSES];
    nx_error err = {0};
    redis_eventually(answers(&h)); /* as a server asks at its start */
    for (size_t i = 0; i < NX_COUNT(rates); i++) {
        nx_assert_ok(nx_rate_parse(rate, &rates[i], &err), err);
    }
    const nx_rate_limiter_options options = {.redis = h.redis};
    nx_assert_ok(nx_rate_limiter_new(rates, &options, &h.limiter, &err), err);
    return h;
}

static void close_host(host *h)
{
    nx_rate_limiter_free(h->limiter);
    nx_redis_free(h->redis);
}

static nx_rate_subject stranger(const char *text)
{
    static const nx_identity nobody = {.kind = NX_IDENTITY_ANONYMOUS};
    nx_address address;
    assert_true(nx_address_parse(text, strlen(text), &address));
    return nx_rate_subject_of(&nobody, &address, NX_RATE_CLASS_READ);
}

typedef struct asking {
    nx_rate_wait wait; /* first */
    nx_rate_answer answer;
    nx_rate_state state;
    sem_t decided;
} asking;

static void decided(nx_rate_wait *wait, nx_rate_answer answer, const nx_rate_state *state)
{
    asking *self = (asking *)wait;
    self->answer = answer;
    self->state = *state;
    sem_post(&self->decided);
}

/* As a request does: at once, or after it has waited. */
static nx_rate_answer ask(host *h, const nx_rate_subject *subject, nx_rate_state *out)
{
    asking self = {
        .wait = {.rate_class = NX_RATE_CLASS_READ, .subject = *subject, .decided = decided}};
    self.answer =
        nx_rate_try(h->limiter, NX_RATE_CLASS_READ, subject, nx_clock_now_ns(), &self.state);
    if (self.answer == NX_RATE_LATER) {
        sem_init(&self.decided, 0, 0);
        assert_true(nx_rate_later(h->limiter, &self.wait));
        while (sem_wait(&self.decided) != 0) {
        }
        sem_destroy(&self.decided);
    }
    *out = self.state;
    return self.answer;
}

static uint64_t known(const host *h)
{
    const nx_rate_stats stats = nx_rate_get_stats(h->limiter);
    return stats.told + stats.alone;
}

/* Asks, and waits until the others can know what came of it. */
static nx_rate_answer ask_and_tell(host *h, const nx_rate_subject *subject, nx_rate_state *out)
{
    uint64_t before = known(h);
    nx_rate_answer answer = ask(h, subject, out);
    if (answer == NX_RATE_ALLOWED) {
        redis_eventually(known(h) > before);
    }
    return answer;
}

static void hosts_have_one_limit(void **state)
{
    REDIS_NEED_SERVER();
    const nx_redis_options client = redis_patient(*state);
    host a = open_host(&client, "10/h");
    host b = open_host(&client, "10/h");
    const nx_rate_subject one = stranger("192.0.2.1");
    const nx_rate_subject other = stranger("2001:db8::1");
    nx_rate_state now;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(ask_and_tell(&a, &one, &now), NX_RATE_ALLOWED);
        assert_int_equal(now.remaining, 9 - i);
    }
    assert_int_equal(ask(&a, &one, &now), NX_RATE_REFUSED);
    /* the other has heard nothing yet: it may be ahead by its share, and then knows */
    assert_int_equal(ask_and_tell(&b, &one, &now), NX_RATE_ALLOWED);
    assert_int_equal(ask(&b, &one, &now), NX_RATE_REFUSED);
    assert_int_equal(now.limit, 10);
    assert_int_equal(now.remaining, 0);
    /* which is a debt: two tokens have to come back */
    assert_in_range(now.retry_after_s, 2 * HOUR_S / 10 - 60, 2 * HOUR_S / 10);
    assert_in_range(now.reset_s, 11 * HOUR_S / 10 - 60, 11 * HOUR_S / 10);
    /* others are not touched */
    assert_int_equal(ask(&b, &other, &now), NX_RATE_ALLOWED);
    assert_int_equal(now.remaining, 9);
    assert_int_equal(nx_rate_get_stats(a.limiter).told, 10);
    assert_int_equal(nx_rate_get_stats(a.limiter).alone, 0);
    close_host(&a);
    close_host(&b);
}

/* What is in Redis ends by itself, with the bucket. */
static void what_is_in_redis_ends(void **state)
{
    REDIS_NEED_SERVER();
    const nx_redis_options client = redis_patient(*state);
    host a = open_host(&client, "10/h");
    const nx_rate_subject one = stranger("192.0.2.1");
    nx_rate_state now;
    nx_redis_reply reply;
    assert_int_equal(ask_and_tell(&a, &one, &now), NX_RATE_ALLOWED);
    redis_do(*state, (const char *const[]){"KEYS", "nexus:rate:*", NULL}, &reply);
    assert_int_equal(reply.count, 1);
    assert_string_equal(reply.items[0].bytes, "nexus:rate:read:10/3600000000000/10:a"
                                              "00000000000000000000ffffc0000201");
    nx_redis_reply left;
    redis_do(*state, (const char *const[]){"PTTL", reply.items[0].bytes, NULL}, &left);
    assert_in_range(left.integer, 300 * 1000, 360 * 1000 + 1);
    nx_redis_reply_free(&reply);
    close_host(&a);
}

/* --- many at once ---------------------------------------------------------------------------- */

typedef struct crowd {
    host *h;
    nx_rate_subject subject;
    int asks;
    atomic_int allowed;
} crowd;

static void *ask_often(void *user)
{
    crowd *self = user;
    for (int i = 0; i < self->asks; i++) {
        nx_rate_state now;
        atomic_fetch_add(&self->allowed, ask(self->h, &self->subject, &now) == NX_RATE_ALLOWED);
    }
    return NULL;
}

/* Three hosts with three threads each, all at once: never more than a share each over the limit. */
static void check_crowd(const redis_fixture *fixture, const char *rate, int limit, int share)
{
    const nx_redis_options client = redis_patient(fixture);
    host hosts[3];
    crowd crowds[3];
    pthread_t threads[9];
    int allowed = 0;
    for (int i = 0; i < 3; i++) {
        hosts[i] = open_host(&client, rate);
        crowds[i] = (crowd){.h = &hosts[i], .subject = stranger("192.0.2.1"), .asks = limit};
    }
    for (int i = 0; i < 9; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &crowds[i / 3]), 0);
    }
    for (int i = 0; i < 9; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < 3; i++) {
        allowed += atomic_load(&crowds[i].allowed);
        assert_int_equal(nx_rate_get_stats(hosts[i].limiter).alone, 0);
        close_host(&hosts[i]);
    }
    assert_in_range(allowed, limit, limit + 3 * share);
}

static void crowds_have_one_limit(void **state)
{
    REDIS_NEED_SERVER();
    check_crowd(*state, "1/h burst 20", 20, 1);
    check_crowd(*state, "1/h burst 640", 640, 10);
}

/* --- without Redis --------------------------------------------------------------------------- */

static void a_redis_that_hangs_stops_nobody(void **state)
{
    REDIS_NEED_SERVER();
    const nx_redis_options client = redis_hasty(*state);
    host a = open_host(&client, "1/h burst 3");
    const nx_rate_subject one = stranger("192.0.2.1");
    nx_rate_state now;
    redis_pause(*state);
    for (int i = 0; i < 3; i++) { /* the second waits, and then is let through all the same */
        assert_int_equal(ask(&a, &one, &now), NX_RATE_ALLOWED);
        assert_int_equal(now.remaining, 2 - i);
    }
    assert_int_equal(ask(&a, &one, &now), NX_RATE_REFUSED);
    redis_eventually(nx_rate_get_stats(a.limiter).alone == 3);
    assert_int_equal(nx_rate_get_stats(a.limiter).told, 0);
    redis_continue(*state);
    close_host(&a);
}

static void a_redis_that_is_gone_is_told_later(void **state)
{
    REDIS_NEED_SERVER();
    const nx_redis_options client = redis_patient(*state);
    host a = open_host(&client, "1/h burst 10");
    host b = open_host(&client, "1/h burst 10");
    const nx_rate_subject one = stranger("192.0.2.1");
    nx_rate_state now;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ask_and_tell(&a, &one, &now), NX_RATE_ALLOWED);
    }
    redis_kill(*state);
    for (int i = 0; i < 3; i++) { /* each by itself */
        assert_int_equal(ask_and_tell(&a, &one, &now), NX_RATE_ALLOWED);
        assert_int_equal(now.remaining, 5 - i);
    }
    assert_int_equal(nx_rate_get_stats(a.limiter).alone, 3);
    redis_start(*state, NULL); /* empty */
    redis_eventually(answers(&a));
    /* its first word tells all that this host knows: 8 of 10 */
    assert_int_equal(ask_and_tell(&a, &one, &now), NX_RATE_ALLOWED);
    assert_int_equal(nx_rate_get_stats(a.limiter).told, 5);
    redis_eventually(answers(&b)); /* its old connection is found to be broken */
    assert_int_equal(ask_and_tell(&b, &one, &now), NX_RATE_ALLOWED);
    assert_int_equal(ask_and_tell(&b, &one, &now), NX_RATE_ALLOWED);
    assert_int_equal(now.remaining, 0);
    assert_int_equal(ask(&b, &one, &now), NX_RATE_REFUSED);
    close_host(&a);
    close_host(&b);
}

static void who_waits_at_the_end_is_decided_for(void **state)
{
    REDIS_NEED_SERVER();
    const nx_redis_options client = redis_hasty(*state);
    host a = open_host(&client, "1/h burst 10");
    const nx_rate_subject one = stranger("192.0.2.1");
    asking self = {.wait = {.rate_class = NX_RATE_CLASS_READ, .subject = one, .decided = decided}};
    redis_pause(*state);
    sem_init(&self.decided, 0, 0);
    assert_int_equal(
        nx_rate_take(a.limiter, NX_RATE_CLASS_READ, &one, nx_clock_now_ns(), &self.state),
        NX_RATE_ALLOWED);
    bool waits = nx_rate_later(a.limiter, &self.wait);
    nx_rate_limiter_free(a.limiter);
    assert_true(waits);
    assert_int_equal(sem_trywait(&self.decided), 0);
    assert_int_equal(self.answer, NX_RATE_ALLOWED);
    sem_destroy(&self.decided);
    nx_redis_free(a.redis);
    redis_continue(*state);
}

/* --- tokens that may cost nothing ------------------------------------------------------------- */

static void what_is_held_is_told_when_it_is_paid(void **state)
{
    REDIS_NEED_SERVER();
    const nx_redis_options client = redis_patient(*state);
    host a = open_host(&client, "1/h burst 2");
    host b = open_host(&client, "1/h burst 2");
    const nx_rate_subject one = stranger("192.0.2.1");
    nx_rate_state now;
    int64_t at_ns = nx_clock_now_ns();
    for (int i = 0; i < 10; i++) {
        assert_int_equal(nx_rate_hold(a.limiter, NX_RATE_CLASS_READ, &one, at_ns, &now),
                         NX_RATE_ALLOWED);
        nx_rate_give_back(a.limiter, NX_RATE_CLASS_READ, &one);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(nx_rate_hold(a.limiter, NX_RATE_CLASS_READ, &one, at_ns, &now),
                         NX_RATE_ALLOWED);
        nx_rate_pay(a.limiter, NX_RATE_CLASS_READ, &one);
    }
    assert_int_equal(nx_rate_hold(a.limiter, NX_RATE_CLASS_READ, &one, at_ns, &now),
                     NX_RATE_REFUSED);
    redis_eventually(nx_rate_get_stats(a.limiter).told == 2);
    assert_int_equal(ask_and_tell(&b, &one, &now), NX_RATE_ALLOWED); /* its share */
    assert_int_equal(ask(&b, &one, &now), NX_RATE_REFUSED);
    close_host(&a);
    close_host(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        redis_test(hosts_have_one_limit),
        redis_test(what_is_in_redis_ends),
        redis_test(crowds_have_one_limit),
        redis_test(a_redis_that_hangs_stops_nobody),
        redis_test(a_redis_that_is_gone_is_told_later),
        redis_test(who_waits_at_the_end_is_decided_for),
        redis_test(what_is_held_is_told_when_it_is_paid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
