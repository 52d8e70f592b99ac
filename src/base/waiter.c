#include "base/waiter.h"

void nx_waiter_init(nx_waiter *waiter)
{
    *waiter = (nx_waiter){.finished = false};
    pthread_mutex_init(&waiter->lock, NULL);
    pthread_cond_init(&waiter->ended, NULL);
}

void nx_waiter_finish(nx_waiter *waiter, nx_status status, const nx_error *err)
{
    pthread_mutex_lock(&waiter->lock);
    waiter->finished = true;
    waiter->status = status;
    if (err != NULL) {
        waiter->err = *err;
    }
    /* under the lock: who waits destroys both as soon as it has it */
    pthread_cond_signal(&waiter->ended);
    pthread_mutex_unlock(&waiter->lock);
}

nx_status nx_waiter_end(nx_waiter *waiter, nx_status started, nx_error *err)
{
    nx_status status = started;
    if (started == NX_OK) {
        pthread_mutex_lock(&waiter->lock);
        while (!waiter->finished) {
            pthread_cond_wait(&waiter->ended, &waiter->lock);
        }
        pthread_mutex_unlock(&waiter->lock);
        status = waiter->status;
        if (status != NX_OK && err != NULL) {
            *err = waiter->err;
        }
    }
    pthread_cond_destroy(&waiter->ended);
    pthread_mutex_destroy(&waiter->lock);
    return status;
}
