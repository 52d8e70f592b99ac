/*
 * Threads for what a connection thread must not wait for: the database, the objects, a look into a
 * video. Two bounded pools of them: quick work (a few statements) does not queue behind slow work
 * (reading gigabytes).
 */
#ifndef NX_API_WORK_H
#define NX_API_WORK_H

#include "api/internal.h"

typedef struct nx_api_pool nx_api_pool;

/* Embedded in what is to be done; lives until run was called, which may free it. */
typedef struct nx_api_work {
    struct nx_api_work *next;
    void (*run)(struct nx_api_work *work);
} nx_api_work;

/* most: what may wait. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no threads). */
nx_status nx_api_pool_new(uint32_t threads, uint32_t most, nx_api_pool **out, nx_error *err);

/* Does what waits, and ends. NULL is fine. */
void nx_api_pool_free(nx_api_pool *pool);

/* How much waits now. Thread-safe. */
uint32_t nx_api_pool_waiting(nx_api_pool *pool);

/* Thread-safe. False: too much waits, and run will not be called. */
bool nx_api_pool_put(nx_api_pool *pool, nx_api_work *work);

/* work_wait_seconds{work}: how long requests wait for such a thread. */
void nx_api_work_metrics_register(nx_api *api);

/* Answers a request; on a thread of a pool, where it may wait. */
typedef void (*nx_api_answer)(nx_api *api, nx_http_request *request);

/* On a thread of this pool. False: too much waits already, and the request is still to be answered.
 */
bool nx_api_try_in(nx_api_pool *pool, nx_api *api, nx_http_request *request, nx_api_answer answer);

/* Have a request answered so. Answered 503 instead when the server has no database, or too much
 * waits already. From a handler; the request must not be touched afterwards. */
void nx_api_answer_quickly(nx_api *api, nx_http_request *request, nx_api_answer answer);
void nx_api_answer_slowly(nx_api *api, nx_http_request *request, nx_api_answer answer);
/* What may wait for another process. */
void nx_api_answer_live(nx_api *api, nx_http_request *request, nx_api_answer answer);
/* What calculates with passwords. */
void nx_api_answer_with_password(nx_api *api, nx_http_request *request, nx_api_answer answer);

#endif
