#include "api/work.h"

#include "base/clock.h"

#include <stdlib.h>

#define MOST_THREADS 8

struct nx_api_pool {
    uint32_t most;
    uint32_t count; /* of threads */
    pthread_t threads[MOST_THREADS];

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    nx_api_work *first;
    nx_api_work **last; /* where the next one goes */
    uint32_t waiting;
    bool ending;
};

/* NULL: the end. */
static nx_api_work *next_work(nx_api_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->first == NULL && !pool->ending) {
        pthread_cond_wait(&pool->changed, &pool->lock);
    }
    nx_api_work *work = pool->first;
    if (work != NULL) {
        pool->first = work->next;
        pool->last = pool->first != NULL ? pool->last : &pool->first;
        pool->waiting--;
    }
    pthread_mutex_unlock(&pool->lock);
    return work;
}

static void *work_on(void *user)
{
    nx_api_pool *pool = user;
    nx_api_work *work = NULL;
    while ((work = next_work(pool)) != NULL) {
        work->run(work);
    }
    return NULL;
}

nx_status nx_api_pool_new(uint32_t threads, uint32_t most, nx_api_pool **out, nx_error *err)
{
    *out = NULL;
    nx_api_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the API's threads");
    }
    pool->most = most;
    pool->last = &pool->first;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    while (pool->count < threads && pool->count < MOST_THREADS) {
        int failure = pthread_create(&pool->threads[pool->count], NULL, work_on, pool);
        if (failure != 0) {
            nx_api_pool_free(pool);
            return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                      "cannot start the API's threads");
        }
        pool->count++;
    }
    *out = pool;
    return NX_OK;
}

void nx_api_pool_free(nx_api_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->count; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

bool nx_api_pool_put(nx_api_pool *pool, nx_api_work *work)
{
    work->next = NULL;
    pthread_mutex_lock(&pool->lock);
    bool room = pool->waiting < pool->most;
    if (room) {
        *pool->last = work;
        pool->last = &work->next;
        pool->waiting++;
        pthread_cond_signal(&pool->changed);
    }
    pthread_mutex_unlock(&pool->lock);
    return room;
}

uint32_t nx_api_pool_waiting(nx_api_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    uint32_t waiting = pool->waiting;
    pthread_mutex_unlock(&pool->lock);
    return waiting;
}

/* --- requests -----------------------------------------------------------------------------------
 */

typedef struct kept_request {
    nx_api_work work; /* first */
    nx_api *api;
    nx_http_request *request;
    nx_api_answer answer;
    bool slow;
    int64_t since_ns;
} kept_request;

void nx_api_work_metrics_register(nx_api *api)
{
    static const char *const kinds[] = {"quick", "slow"};
    static const double seconds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                     0.25,  0.5,    1,     2.5,  5,     10,   30};
    const nx_label work = {"work", kinds, sizeof kinds / sizeof kinds[0], 0};
    api->work_wait = nx_metrics_histogram(
        nx_service_metrics_registry(api->deps.metrics), "work_wait_seconds",
        "How long requests waited for a thread that may wait for the database or the disk.",
        seconds, sizeof seconds / sizeof seconds[0], &work, 1);
}

static void answer_kept(nx_api_work *work)
{
    const kept_request kept = *(kept_request *)work;
    free(work);
    nx_metric_observe(kept.api->work_wait, nx_metric_series(kept.api->work_wait, kept.slow, 0, 0),
                      (double)(nx_clock_now_ns() - kept.since_ns) / (double)NX_NS_PER_SEC);
    /* a copy: the request may be gone once it is answered */
    const nx_log_context log = *nx_http_log_context(kept.request);
    (void)nx_log_set_context(&log);
    kept.answer(kept.api, kept.request);
    (void)nx_log_set_context(NULL);
}

bool nx_api_try_in(nx_api_pool *pool, nx_api *api, nx_http_request *request, nx_api_answer answer)
{
    kept_request *kept = malloc(sizeof *kept);
    if (kept == NULL) {
        return false;
    }
    *kept = (kept_request){
        .work = {.run = answer_kept},
        .api = api,
        .request = request,
        .answer = answer,
        .slow = pool == api->slow,
        .since_ns = nx_clock_now_ns(),
    };
    bool room = nx_api_pool_put(pool, &kept->work);
    if (!room) {
        free(kept);
    }
    return room;
}

static void answer_in(nx_api_pool *pool, nx_api *api, nx_http_request *request,
                      nx_api_answer answer)
{
    nx_problem problem;
    if (pool == NULL) {
        problem = nx_problem_make(503, "Ask a server that was started with 'nexus serve'.",
                                  "this server has no database");
        nx_http_reply_problem(request, &problem);
    } else if (!nx_api_try_in(pool, api, request, answer)) {
        problem = nx_problem_make(503, "Try again after the seconds in Retry-After.",
                                  "too many requests wait for the database and the videos");
        problem.retry_after_s = 1;
        nx_http_reply_problem(request, &problem);
    }
}

void nx_api_answer_quickly(nx_api *api, nx_http_request *request, nx_api_answer answer)
{
    answer_in(api->quick, api, request, answer);
}

void nx_api_answer_live(nx_api *api, nx_http_request *request, nx_api_answer answer)
{
    answer_in(api->live, api, request, answer);
}

void nx_api_answer_with_password(nx_api *api, nx_http_request *request, nx_api_answer answer)
{
    answer_in(api->passwords, api, request, answer);
}

void nx_api_answer_slowly(nx_api *api, nx_http_request *request, nx_api_answer answer)
{
    answer_in(api->slow, api, request, answer);
}
