/* Condition variables whose time is nx_clock_now_ns()'s. */
#ifndef NX_BASE_CONDITION_H
#define NX_BASE_CONDITION_H

#include "base/clock.h"

#include <pthread.h>

/* To be destroyed with pthread_cond_destroy. */
static inline void nx_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* pthread_cond_timedwait for one that was made so: 0, or ETIMEDOUT from deadline_ns on. */
static inline int nx_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock,
                                    int64_t deadline_ns)
{
    const struct timespec until = {.tv_sec = deadline_ns / NX_NS_PER_SEC,
                                   .tv_nsec = deadline_ns % NX_NS_PER_SEC};
    return pthread_cond_timedwait(condition, lock, &until);
}

#endif
