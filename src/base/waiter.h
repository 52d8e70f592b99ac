/* Waiting on one thread for what another one ends. */
#ifndef NX_BASE_WAITER_H
#define NX_BASE_WAITER_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>

/* On the stack of whoever waits. Fields are the waiter's own. */
typedef struct nx_waiter {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool finished;
    nx_status status;
    nx_error err;
} nx_waiter;

void nx_waiter_init(nx_waiter *waiter);

/* Any thread, once. err may be NULL with NX_OK. The waiter may be gone when this returns. */
void nx_waiter_finish(nx_waiter *waiter, nx_status status, const nx_error *err);

/*
 * Ends the waiter. started: what beginning the work returned; unless it is NX_OK nobody finishes
 * and it is the result. Otherwise waits for nx_waiter_finish, and returns its status with *err (may
 * be NULL) filled after a failure.
 */
nx_status nx_waiter_end(nx_waiter *waiter, nx_status started, nx_error *err);

#endif
