/* The threads for what a connection thread must not wait for. */
#include "api/work.h"
#include "testing.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    int entered; /* that wait before the gate, or came through */
    int done;
} gate;

typedef struct step {
    nx_api_work work; /* first */
    gate *gate;
} step;

static void pass(nx_api_work *work)
{
    gate *g = ((step *)work)->gate;
    free(work);
    pthread_mutex_lock(&g->lock);
    g->entered++;
    pthread_cond_broadcast(&g->changed);
    while (!g->open) {
        pthread_cond_wait(&g->changed, &g->lock);
    }
    g->done++;
    pthread_mutex_unlock(&g->lock);
}

static void init(gate *g, bool open)
{
    *g = (gate){.open = open};
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, NULL);
}

static void destroy(gate *g)
{
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
}

static bool put(nx_api_pool *pool, gate *g)
{
    step *one = calloc(1, sizeof *one);
    assert_non_null(one);
    one->work.run = pass;
    one->gate = g;
    bool room = nx_api_pool_put(pool, &one->work);
    if (!room) {
        free(one);
    }
    return room;
}

static void wait_entered(gate *g, int count)
{
    pthread_mutex_lock(&g->lock);
    while (g->entered < count) {
        pthread_cond_wait(&g->changed, &g->lock);
    }
    pthread_mutex_unlock(&g->lock);
}

static void what_waits_is_bounded_and_done_before_the_end(void **state)
{
    (void)state;
    gate g;
    nx_error err = {0};
    nx_api_pool *pool = NULL;
    init(&g, false);
    nx_assert_ok(nx_api_pool_new(2, 3, &pool, &err), err);
    assert_true(put(pool, &g));
    assert_true(put(pool, &g));
    wait_entered(&g, 2); /* both threads are busy */
    for (int i = 0; i < 3; i++) {
        assert_true(put(pool, &g));
    }
    assert_false(put(pool, &g));
    pthread_mutex_lock(&g.lock);
    g.open = true;
    pthread_cond_broadcast(&g.changed);
    pthread_mutex_unlock(&g.lock);
    nx_api_pool_free(pool);
    assert_int_equal(g.done, 5);
    destroy(&g);
}

typedef struct feeder {
    nx_api_pool *pool;
    gate *gate;
    int taken;
} feeder;

static void *feed(void *user)
{
    feeder *f = user;
    for (int i = 0; i < 1000; i++) {
        f->taken += put(f->pool, f->gate) ? 1 : 0;
    }
    return NULL;
}

static void what_is_taken_is_done_once(void **state)
{
    (void)state;
    gate g;
    nx_error err = {0};
    nx_api_pool *pool = NULL;
    pthread_t threads[4];
    feeder feeders[4];
    int taken = 0;
    init(&g, true);
    nx_assert_ok(nx_api_pool_new(4, 16, &pool, &err), err);
    for (int i = 0; i < 4; i++) {
        feeders[i] = (feeder){.pool = pool, .gate = &g};
        assert_int_equal(pthread_create(&threads[i], NULL, feed, &feeders[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        taken += feeders[i].taken;
    }
    nx_api_pool_free(pool);
    assert_true(taken > 0);
    assert_int_equal(g.done, taken);
    destroy(&g);
}

static void no_pool_is_fine(void **state)
{
    (void)state;
    nx_api_pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_is_bounded_and_done_before_the_end),
        cmocka_unit_test(what_is_taken_is_done_once),
        cmocka_unit_test(no_pool_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
