#include "store/pool.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#define MIN_BACKOFF_MS 100
#define MAX_BACKOFF_MS 5000

/* A connection that was used so lately is not asked whether it works. */
#define FRESH_NS NX_NS_PER_SEC

typedef struct idle {
    nx_pg *pg;
    int64_t since_ns;
} idle;

struct nx_pool {
    char *url;
    int size, overflow, timeout_ms;
    int64_t recycle_ns;
    bool pre_ping, echo;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    idle *idle; /* the one given back last is taken first, so that the rest can grow old */
    int idle_count;
    int total;      /* idle, in use, and being connected */
    int connecting; /* of total */
    int waiting;
    int64_t timeouts, connects, lost;
    int64_t retry_ns; /* not before this is the next attempt; 0: the last one succeeded */
    int backoff_ms;
    nx_error failure; /* of the last attempt */
};

nx_status nx_pool_new(const nx_store_options *options, nx_pool **out, nx_error *err)
{
    *out = NULL;
    nx_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the database pool");
    }
    pool->size = options->pool_size > 0 ? options->pool_size : 1;
    pool->overflow = options->max_overflow > 0 ? options->max_overflow : 0;
    pool->timeout_ms = options->timeout_ms;
    pool->recycle_ns = options->recycle_s * NX_NS_PER_SEC;
    pool->pre_ping = options->pre_ping;
    pool->echo = options->echo;
    pool->url = strdup(options->url);
    pool->idle = calloc((size_t)pool->size, sizeof *pool->idle);
    if (pool->url == NULL || pool->idle == NULL) {
        free(pool->url);
        free(pool->idle);
        free(pool);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the database pool");
    }
    pthread_mutex_init(&pool->lock, NULL);
    nx_condition_init(&pool->changed);
    *out = pool;
    return NX_OK;
}

void nx_pool_free(nx_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    for (int i = 0; i < pool->idle_count; i++) {
        nx_pg_close(pool->idle[i].pg);
    }
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->idle);
    free(pool->url);
    free(pool);
}

/* --- the state of the server, with the lock held --- */

/* Half of the time in any case, the other half by chance. */
static int jittered(int ms)
{
    uint32_t noise = 0;
    if (getrandom(&noise, sizeof noise, GRND_NONBLOCK) != (ssize_t)sizeof noise) {
        noise = (uint32_t)nx_clock_now_ns();
    }
    return ms / 2 + (int)(noise % (uint32_t)(ms / 2 + 1));
}

static void note_failure(nx_pool *pool, const nx_error *err)
{
    pool->backoff_ms = pool->backoff_ms == 0 ? MIN_BACKOFF_MS : 2 * pool->backoff_ms;
    pool->backoff_ms = pool->backoff_ms < MAX_BACKOFF_MS ? pool->backoff_ms : MAX_BACKOFF_MS;
    if (pool->retry_ns == 0) {
        nx_log_warn("store", "%s; trying again", err->message);
    }
    pool->retry_ns = nx_clock_now_ns() + jittered(pool->backoff_ms) * NX_NS_PER_MS;
    pool->failure = *err;
}

static void note_success(nx_pool *pool)
{
    if (pool->retry_ns != 0) {
        nx_log_info("store", "PostgreSQL is reachable again");
    }
    pool->retry_ns = 0;
    pool->backoff_ms = 0;
    pool->connects++;
}

/* Waits for a change, at most until at_ns; false when that has passed. */
static bool wait_until(nx_pool *pool, int64_t at_ns)
{
    pool->waiting++;
    int failure = nx_condition_wait(&pool->changed, &pool->lock, at_ns);
    pool->waiting--;
    return failure != ETIMEDOUT;
}

static nx_status timed_out(nx_pool *pool, nx_error *err)
{
    pool->timeouts++;
    if (pool->retry_ns != 0) {
        if (err != NULL) {
            *err = pool->failure;
        }
        return pool->failure.status;
    }
    return nx_error_set(err, NX_ERR_BUSY,
                        "all %d database connections have been in use for %g s; try again, or "
                        "raise DB_POOL_SIZE or DB_MAX_OVERFLOW",
                        pool->size + pool->overflow, pool->timeout_ms / 1000.0);
}

/* --- taking and giving --- */

/* Checks an idle connection without the lock; it is the caller's. */
static bool still_good(const nx_pool *pool, const idle *found)
{
    int64_t now = nx_clock_now_ns();
    return nx_pg_seems_alive(found->pg) &&
           (!pool->pre_ping || now - found->since_ns < FRESH_NS || nx_pg_ping(found->pg));
}

static bool too_old(const nx_pool *pool, const nx_pg *pg)
{
    return pool->recycle_ns > 0 && nx_clock_now_ns() - nx_pg_made_ns(pg) > pool->recycle_ns;
}

/* Takes an idle one out and looks at it. Called with the lock held and returns so. NULL: it was no
 * good and is closed. */
static nx_pg *take_idle(nx_pool *pool)
{
    idle found = pool->idle[--pool->idle_count];
    pthread_mutex_unlock(&pool->lock);
    bool old = too_old(pool, found.pg);
    bool good = !old && still_good(pool, &found);
    if (!good) {
        nx_pg_close(found.pg);
    }
    pthread_mutex_lock(&pool->lock);
    if (!good) {
        pool->total--;
        pool->lost += !old;
        pthread_cond_broadcast(&pool->changed);
    }
    return good ? found.pg : NULL;
}

/* Makes a new one. Called with the lock held and returns so. */
static nx_pg *connect_one(nx_pool *pool)
{
    nx_error err = {0};
    nx_pg *pg = NULL;
    pool->total++;
    pool->connecting++;
    pthread_mutex_unlock(&pool->lock);
    nx_status status = nx_pg_connect(pool->url, pool->echo, &pg, &err);
    pthread_mutex_lock(&pool->lock);
    pool->connecting--;
    if (status == NX_OK) {
        note_success(pool);
    } else {
        pool->total--;
        note_failure(pool, &err);
    }
    pthread_cond_broadcast(&pool->changed);
    return pg;
}

/* May a connection be made now? After a failure one attempt at a time is enough. */
static bool may_connect(const nx_pool *pool)
{
    return pool->total < pool->size + pool->overflow &&
           (pool->retry_ns == 0 || (pool->connecting == 0 && nx_clock_now_ns() >= pool->retry_ns));
}

nx_status nx_pool_take(nx_pool *pool, nx_pg **out, nx_error *err)
{
    *out = NULL;
    nx_status status = NX_OK;
    int64_t deadline = nx_clock_now_ns() + pool->timeout_ms * NX_NS_PER_MS;
    pthread_mutex_lock(&pool->lock);
    while (*out == NULL && status == NX_OK) {
        if (pool->idle_count > 0) {
            *out = take_idle(pool);
        } else if (may_connect(pool)) {
            *out = connect_one(pool);
            if (*out == NULL && nx_clock_now_ns() >= deadline) {
                status = timed_out(pool, err);
            }
        } else {
            bool backing_off = pool->retry_ns != 0 && pool->connecting == 0;
            int64_t until = backing_off && pool->retry_ns < deadline ? pool->retry_ns : deadline;
            if (!wait_until(pool, until) && until == deadline) {
                status = timed_out(pool, err);
            }
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return status;
}

void nx_pool_give(nx_pool *pool, nx_pg *pg)
{
    bool broken = nx_pg_is_broken(pg);
    bool close = broken || too_old(pool, pg);
    pthread_mutex_lock(&pool->lock);
    close |= pool->total > pool->size && pool->waiting == 0;
    close |= pool->idle_count >= pool->size; /* more than fit, while those who wait take theirs */
    if (close) {
        pool->total--;
        pool->lost += broken;
    } else {
        pool->idle[pool->idle_count++] = (idle){.pg = pg, .since_ns = nx_clock_now_ns()};
    }
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    if (close) {
        nx_pg_close(pg);
    }
}

nx_store_stats nx_pool_get_stats(nx_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    nx_store_stats stats = {
        .in_use = pool->total - pool->idle_count,
        .idle = pool->idle_count,
        .overflow = pool->total > pool->size ? pool->total - pool->size : 0,
        .waiting = pool->waiting,
        .timeouts = pool->timeouts,
        .connects = pool->connects,
        .lost = pool->lost,
    };
    pthread_mutex_unlock(&pool->lock);
    return stats;
}
