#include "testing.h"

#include "api/flights.h"

#include <pthread.h>

/* A claimant that remembers how it was woken, and may abandon when it is made to lead. */
typedef struct claimant {
    nx_flight_claim claim;
    nx_flights *flights;
    bool gives_up;
    int woken, led;
    const void *outcome;
    nx_status status;
} claimant;

static void wake(nx_flight_claim *claim, const void *outcome, nx_status status, const nx_error *err)
{
    claimant *self = (claimant *)claim;
    (void)err;
    self->woken++;
    self->outcome = outcome;
    self->status = status;
    if (status == NX_OK && outcome == NULL) {
        self->led++;
        if (self->gives_up) {
            nx_flights_abandon(self->flights, claim);
        }
    }
}

static claimant claimant_of(nx_flights *flights, uint8_t key)
{
    claimant made = {.flights = flights, .claim = {.wake = wake}};
    memset(made.claim.key, key, sizeof made.claim.key);
    return made;
}

static nx_flight_role claim(claimant *c)
{
    return nx_flights_claim(c->flights, &c->claim);
}

static int make(void **state)
{
    *state = nx_flights_new();
    return *state != NULL ? 0 : -1;
}

static int end(void **state)
{
    nx_flights_free(*state);
    return 0;
}

static void the_first_leads_and_the_others_get_its_outcome(void **state)
{
    nx_flights *flights = *state;
    claimant leader = claimant_of(flights, 1);
    claimant other = claimant_of(flights, 2);
    claimant followers[3] = {claimant_of(flights, 1), claimant_of(flights, 1),
                             claimant_of(flights, 1)};
    assert_int_equal(claim(&leader), NX_FLIGHT_LEADS);
    assert_int_equal(claim(&other), NX_FLIGHT_LEADS);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(claim(&followers[i]), NX_FLIGHT_WAITS);
    }
    nx_flights_publish(flights, &leader.claim, "found");
    assert_int_equal(leader.woken, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(followers[i].woken, 1);
        assert_string_equal(followers[i].outcome, "found");
        assert_false(nx_flights_withdraw(flights, &followers[i].claim));
    }
    assert_int_equal(nx_flights_joined(flights), 3);
    assert_int_equal(claim(&leader), NX_FLIGHT_LEADS); /* it is over: work begins anew */
    nx_flights_abandon(flights, &leader.claim);
    nx_flights_publish(flights, &other.claim, "nobody");
}

static void keys_with_one_beginning_are_two(void **state)
{
    nx_flights *flights = *state;
    claimant a = claimant_of(flights, 7);
    claimant b = claimant_of(flights, 7);
    b.claim.key[NX_FLIGHT_KEY - 1] = 8;
    claimant also_a = claimant_of(flights, 7);
    assert_int_equal(claim(&a), NX_FLIGHT_LEADS);
    assert_int_equal(claim(&b), NX_FLIGHT_LEADS);
    assert_int_equal(claim(&also_a), NX_FLIGHT_WAITS);
    nx_flights_publish(flights, &b.claim, "b");
    assert_int_equal(also_a.woken, 0);
    nx_flights_publish(flights, &a.claim, "a");
    assert_string_equal(also_a.outcome, "a");
}

static void an_error_of_everybody_reaches_everybody(void **state)
{
    nx_flights *flights = *state;
    claimant leader = claimant_of(flights, 1);
    claimant follower = claimant_of(flights, 1);
    nx_error err = {0};
    claim(&leader);
    claim(&follower);
    nx_flights_fail(flights, &leader.claim, nx_error_set(&err, NX_ERR_CORRUPT, "cut short"), &err);
    assert_int_equal(follower.woken, 1);
    assert_int_equal(follower.status, NX_ERR_CORRUPT);
    assert_null(follower.outcome);
}

static void who_leaves_cancels_only_itself(void **state)
{
    nx_flights *flights = *state;
    claimant leader = claimant_of(flights, 1);
    claimant c[3] = {claimant_of(flights, 1), claimant_of(flights, 1), claimant_of(flights, 1)};
    claim(&leader);
    for (size_t i = 0; i < 3; i++) {
        claim(&c[i]);
    }
    assert_true(nx_flights_withdraw(flights, &c[1].claim)); /* from the middle */
    assert_false(nx_flights_withdraw(flights, &c[1].claim));
    assert_false(nx_flights_withdraw(flights, &leader.claim));
    nx_flights_abandon(flights, &leader.claim); /* its client left, too */
    assert_int_equal(c[0].led, 1);
    assert_int_equal(c[2].woken, 0);
    assert_true(nx_flights_withdraw(flights, &c[2].claim));
    nx_flights_publish(flights, &c[0].claim, "found");
    assert_int_equal(c[1].woken + c[2].woken, 0);
}

static void who_is_gone_already_does_not_wait(void **state)
{
    nx_flights *flights = *state;
    atomic_bool gone = true;
    claimant leader = claimant_of(flights, 1);
    claimant late = claimant_of(flights, 1);
    late.claim.gone = &gone;
    claim(&leader);
    assert_int_equal(claim(&late), NX_FLIGHT_ALONE);
    assert_null(late.claim.flight);
    nx_flights_publish(flights, &leader.claim, "found");
    assert_int_equal(late.woken, 0);
}

static void leaders_that_give_up_at_once_take_no_stack(void **state)
{
    enum { COUNT = 100000 };
    nx_flights *flights = *state;
    claimant *all = calloc(COUNT, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < COUNT; i++) {
        all[i] = claimant_of(flights, 1);
        all[i].gives_up = i < COUNT - 1;
        claim(&all[i]);
    }
    nx_flights_abandon(flights, &all[0].claim);
    for (size_t i = 1; i < COUNT; i++) {
        assert_int_equal(all[i].led, 1);
    }
    nx_flights_publish(flights, &all[COUNT - 1].claim, "at last");
    free(all);
}

/* --- many threads -------------------------------------------------------------------------------
 */

enum { THREADS = 4, ROUNDS = 5000 };

typedef struct shared {
    nx_flights *flights;
    _Atomic int runs, answers, withdrawn;
} shared;

typedef struct work {
    nx_flight_claim claim;
    shared *all;
    int round;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool over;
} work;

static void finish(work *self)
{
    pthread_mutex_lock(&self->lock);
    self->over = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

/* A third of the leaders give up. */
static void lead(work *self)
{
    atomic_fetch_add(&self->all->runs, 1);
    if (self->round % 3 == 0) {
        nx_flights_abandon(self->all->flights, &self->claim);
    } else {
        nx_flights_publish(self->all->flights, &self->claim, "found");
    }
    atomic_fetch_add(&self->all->answers, 1);
    finish(self);
}

static void wake_work(nx_flight_claim *claim, const void *outcome, nx_status status,
                      const nx_error *err)
{
    work *self = (work *)claim;
    (void)err;
    if (status == NX_OK && outcome == NULL) {
        lead(self);
        return;
    }
    atomic_fetch_add(&self->all->answers, 1);
    finish(self);
}

static void *claim_much(void *user)
{
    shared *all = user;
    for (int round = 0; round < ROUNDS; round++) {
        work self = {.all = all, .round = round, .claim = {.wake = wake_work}};
        memset(self.claim.key, round % 2, sizeof self.claim.key);
        pthread_mutex_init(&self.lock, NULL);
        pthread_cond_init(&self.changed, NULL);
        bool waits = nx_flights_claim(all->flights, &self.claim) == NX_FLIGHT_WAITS;
        if (!waits) {
            lead(&self);
        } else if (round % 5 == 0 && nx_flights_withdraw(all->flights, &self.claim)) {
            atomic_fetch_add(&all->withdrawn, 1);
            self.over = true;
        }
        pthread_mutex_lock(&self.lock);
        while (!self.over) {
            pthread_cond_wait(&self.changed, &self.lock);
        }
        pthread_mutex_unlock(&self.lock);
        pthread_cond_destroy(&self.changed);
        pthread_mutex_destroy(&self.lock);
    }
    return NULL;
}

static void every_claim_of_many_threads_ends_once(void **state)
{
    shared all = {.flights = *state};
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, claim_much, &all), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(all.answers + all.withdrawn, THREADS * ROUNDS);
    assert_true(all.runs > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_leads_and_the_others_get_its_outcome),
        cmocka_unit_test(keys_with_one_beginning_are_two),
        cmocka_unit_test(an_error_of_everybody_reaches_everybody),
        cmocka_unit_test(who_leaves_cancels_only_itself),
        cmocka_unit_test(who_is_gone_already_does_not_wait),
        cmocka_unit_test(leaders_that_give_up_at_once_take_no_stack),
        cmocka_unit_test(every_claim_of_many_threads_ends_once),
    };
    return cmocka_run_group_tests(tests, make, end);
}
