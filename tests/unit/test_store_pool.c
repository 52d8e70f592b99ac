/* The pool of connections, on a real PostgreSQL that is stopped, started and shot at. */
#include "store_fixture.h"

#include "base/clock.h"
#include "store/pool.h"

#include <pthread.h>
#include <sched.h>

static nx_pool *new_pool(const nx_store_options *options)
{
    nx_pool *pool = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_pool_new(options, &pool, &err), err);
    return pool;
}

static nx_pg *take(nx_pool *pool)
{
    nx_pg *pg = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_pool_take(pool, &pg, &err), err);
    return pg;
}

static int64_t backend_pid(nx_pg *pg)
{
    static const nx_sql sql = NX_SQL("SELECT pg_backend_pid()");
    int64_t pid = 0;
    nx_error err = {0};
    const nx_call call = {.sql = &sql, .each = store_take_number, .user = &pid};
    nx_assert_ok(nx_db_run(nx_pg_db(pg), &call, NULL, &err), err);
    return pid;
}

static void kill_backend(nx_pool *pool, int64_t pid)
{
    static const nx_sql sql = NX_SQL("SELECT pg_terminate_backend(CAST($1 AS int), 5000)");
    nx_error err = {0};
    nx_pg *pg = take(pool);
    const nx_call call = NX_CALL(&sql, nx_db_int(pid));
    nx_assert_ok(nx_db_run(nx_pg_db(pg), &call, NULL, &err), err);
    nx_pool_give(pool, pg);
}

static void connections_are_used_again(void **state)
{
    STORE_FIXTURE(state);
    nx_store_options options = store_options(fixture);
    nx_pool *pool = new_pool(&options);
    nx_pg *first = take(pool);
    int64_t pid = backend_pid(first);
    nx_pool_give(pool, first);
    nx_pg *second = take(pool);
    assert_int_equal(backend_pid(second), pid);
    nx_store_stats stats = nx_pool_get_stats(pool);
    assert_int_equal(stats.in_use, 1);
    assert_int_equal(stats.idle, 0);
    assert_int_equal(stats.connects, 1);
    nx_pool_give(pool, second);
    nx_pool_free(pool);
    nx_pool_free(NULL);
}

static void overflow_is_bounded_counted_and_closed(void **state)
{
    STORE_FIXTURE(state);
    nx_store_options options = store_options(fixture);
    options.pool_size = 2;
    options.max_overflow = 1;
    options.timeout_ms = 50;
    nx_pool *pool = new_pool(&options);
    nx_pg *held[3];
    for (size_t i = 0; i < 3; i++) {
        held[i] = take(pool);
    }
    nx_store_stats stats = nx_pool_get_stats(pool);
    assert_int_equal(stats.in_use, 3);
    assert_int_equal(stats.overflow, 1);

    nx_pg *none = NULL;
    int64_t started = nx_clock_now_ns();
    assert_int_equal(nx_pool_take(pool, &none, &err), NX_ERR_BUSY);
    assert_true(nx_clock_now_ns() - started >= 50 * NX_NS_PER_MS); /* it did wait */
    assert_null(none);
    nx_assert_contains(err.message, "all 3 database connections have been in use for 0.05 s");
    nx_assert_contains(err.message, "DB_POOL_SIZE");
    assert_int_equal(nx_pool_get_stats(pool).timeouts, 1);

    for (size_t i = 0; i < 3; i++) {
        nx_pool_give(pool, held[i]);
    }
    stats = nx_pool_get_stats(pool);
    assert_int_equal(stats.in_use, 0);
    assert_int_equal(stats.idle, 2);
    assert_int_equal(stats.overflow, 0);
    nx_pool_free(pool);
}

/* --- who waits gets what is given back --- */

typedef struct waiter {
    nx_pool *pool;
    nx_pg *got;
    nx_status status;
    nx_error err;
} waiter;

static void *wait_for_one(void *user)
{
    waiter *self = user;
    self->status = nx_pool_take(self->pool, &self->got, &self->err);
    return NULL;
}

static void who_waits_gets_the_next_one(void **state)
{
    STORE_FIXTURE(state);
    nx_store_options options = store_options(fixture);
    options.pool_size = 1;
    options.max_overflow = 0;
    nx_pool *pool = new_pool(&options);
    nx_pg *held = take(pool);
    waiter self = {.pool = pool};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wait_for_one, &self), 0);
    while (nx_pool_get_stats(pool).waiting == 0) {
        sched_yield();
    }
    nx_pool_give(pool, held);
    pthread_join(thread, NULL);
    nx_assert_ok(self.status, self.err);
    nx_pool_give(pool, self.got);
    assert_int_equal(nx_pool_get_stats(pool).connects, 1);
    nx_pool_free(pool);
}

/* --- connections that break --- */

static void a_dead_idle_connection_is_replaced(void **state)
{
    STORE_FIXTURE(state);
    nx_store_options options = store_options(fixture);
    nx_pool *pool = new_pool(&options);
    nx_pg *victim = take(pool);
    nx_pg *other = take(pool);
    int64_t pid = backend_pid(victim);
    nx_pool_give(pool, victim);
    nx_pool_give(pool, other); /* on top: it does the killing */
    kill_backend(pool, pid);
    nx_pg *one = take(pool);
    nx_pg *two = take(pool);
    assert_int_not_equal(backend_pid(one), pid);
    assert_int_not_equal(backend_pid(two), pid);
    assert_int_equal(nx_pool_get_stats(pool).lost, 1);
    assert_int_equal(nx_pool_get_stats(pool).connects, 3);
    nx_pool_give(pool, one);
    nx_pool_give(pool, two);
    nx_pool_free(pool);
}

static void old_connections_are_replaced(void **state)
{
    STORE_FIXTURE(state);
    nx_store_options options = store_options(fixture);
    options.recycle_s = 1;
    nx_pool *pool = new_pool(&options);
    nx_pg *pg = take(pool);
    int64_t pid = backend_pid(pg);
    while (nx_clock_now_ns() - nx_pg_made_ns(pg) <= NX_NS_PER_SEC) {
        usleep(10000); /* until it is old */
    }
    nx_pool_give(pool, pg);
    assert_int_equal(nx_pool_get_stats(pool).idle, 0);
    pg = take(pool);
    assert_int_not_equal(backend_pid(pg), pid);
    assert_int_equal(nx_pool_get_stats(pool).lost, 0); /* age is no failure */
    nx_pool_give(pool, pg);
    nx_pool_free(pool);
}

typedef struct shot {
    nx_pool *pool;
    int calls;
} shot;

static nx_status die_half_way(nx_db *db, void *user, nx_error *err)
{
    static const nx_sql insert =
        NX_SQL("INSERT INTO uploads (id, owner, metadata, created_at, expires_at)"
               " VALUES ('shot', '', '', 0, 0)");
    static const nx_sql self = NX_SQL("SELECT pg_backend_pid()");
    shot *what = user;
    int64_t pid = 0;
    what->calls++;
    const nx_call look = {.sql = &self, .each = store_take_number, .user = &pid};
    const nx_call change = {.sql = &insert};
    nx_status status = nx_db_run(db, &look, NULL, err);
    if (status == NX_OK) {
        status = nx_db_run(db, &change, NULL, err);
    }
    if (status == NX_OK) {
        kill_backend(what->pool, pid);
        status = nx_db_run(db, &look, NULL, err);
    }
    return status;
}

static void a_connection_lost_in_a_transaction_undoes_it(void **state)
{
    STORE_FIXTURE(state);
    nx_store_options options = store_options(fixture);
    shot what = {.pool = new_pool(&options)};
    assert_int_equal(nx_store_transact(fixture->store, NX_TX_WRITE, die_half_way, &what, &err),
                     NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, "the connection to PostgreSQL was lost");
    assert_int_equal(what.calls, 1); /* not tried again behind the caller's back */
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM uploads"), 0);
    assert_int_equal(nx_store_get_stats(fixture->store).lost, 1);
    nx_pool_free(what.pool);
}

static void a_server_that_comes_back_is_found_again(void **state)
{
    STORE_FIXTURE(state);
    nx_store_options options = store_options(fixture);
    options.timeout_ms = 300;
    nx_store *hasty = NULL;
    nx_assert_ok(nx_store_open(&options, &hasty, &err), err);
    store_stop_server(fixture, SIGINT);
    int64_t started = nx_clock_now_ns();
    assert_int_equal(nx_store_ping(hasty, &err), NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, "cannot reach PostgreSQL");
    assert_true(nx_clock_now_ns() - started >= 300 * NX_NS_PER_MS); /* it tried until then */
    assert_int_equal(nx_store_get_stats(hasty).timeouts, 1);
    store_start_server(fixture);
    nx_assert_ok(nx_store_ping(fixture->store, &err), err); /* the one with time waits for it */
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM uploads"), 0);
    nx_store_close(hasty);
}

static void *ping_until_it_works(void *user)
{
    waiter *self = user;
    self->pool = NULL;
    self->status = nx_store_ping((nx_store *)self->got, &self->err);
    return NULL;
}

/* Those who wait through an outage of the server are served once it is back. */
static void an_outage_is_waited_through(void **state)
{
    STORE_FIXTURE(state);
    waiter waiters[6];
    pthread_t threads[6];
    store_stop_server(fixture, SIGQUIT); /* as in a crash */
    for (size_t i = 0; i < 6; i++) {
        waiters[i] = (waiter){.got = (nx_pg *)fixture->store};
        assert_int_equal(pthread_create(&threads[i], NULL, ping_until_it_works, &waiters[i]), 0);
    }
    while (nx_store_get_stats(fixture->store).waiting < 5) {
        sched_yield();
    }
    store_start_server(fixture);
    for (size_t i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        nx_assert_ok(waiters[i].status, waiters[i].err);
    }
    assert_int_equal(nx_store_get_stats(fixture->store).timeouts, 0);
}

/* The reason is the server's own. */
static void a_wrong_name_is_explained(void **state)
{
    STORE_FIXTURE(state);
    nx_store_options options = store_options(fixture);
    char url[300];
    snprintf(url, sizeof url, "postgres://nexus:geheim@/none?host=%s", fixture->folder);
    options.url = url;
    options.timeout_ms = 50;
    nx_store *store = NULL;
    assert_int_equal(nx_store_open(&options, &store, &err), NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, "database \"none\" does not exist");
    assert_null(strstr(err.message, "geheim"));
}

static nx_status log_a_value(nx_db *db, void *user, nx_error *err)
{
    static const nx_sql sql = NX_SQL("SELECT  CAST($1 AS text)\n  AS  told");
    const nx_call call = NX_CALL(&sql, nx_db_text(user));
    return nx_db_run(db, &call, NULL, err);
}

/* DB_ECHO shows statements and keeps what is in them to itself. */
static void echo_shows_statements_without_values(void **state)
{
    STORE_FIXTURE(state);
    nx_store_options options = store_options(fixture);
    nx_store *store = NULL;
    options.echo = true;
    nx_assert_ok(nx_store_open(&options, &store, &err), err);
    FILE *log = tmpfile();
    int kept = dup(STDERR_FILENO);
    char text[4096] = "";
    assert_non_null(log);
    assert_true(dup2(fileno(log), STDERR_FILENO) >= 0);
    nx_status status = nx_store_transact(store, NX_TX_READ, log_a_value, (char[]){"secret"}, &err);
    dup2(kept, STDERR_FILENO);
    close(kept);
    nx_assert_ok(status, err);
    rewind(log);
    assert_true(fread(text, 1, sizeof text - 1, log) > 0);
    fclose(log);
    nx_assert_contains(text, "SELECT CAST($1 AS text) AS told");
    assert_null(strstr(text, "secret"));
    nx_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(connections_are_used_again),
        store_test(overflow_is_bounded_counted_and_closed),
        store_test(who_waits_gets_the_next_one),
        store_test(a_dead_idle_connection_is_replaced),
        store_test(old_connections_are_replaced),
        store_test(a_connection_lost_in_a_transaction_undoes_it),
        store_test(a_server_that_comes_back_is_found_again),
        store_test(an_outage_is_waited_through),
        store_test(a_wrong_name_is_explained),
        store_test(echo_shows_statements_without_values),
    };
    return cmocka_run_group_tests_name("postgres", tests, store_group_postgres, store_group_end);
}
