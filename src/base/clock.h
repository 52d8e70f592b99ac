/* Time, in one unit: nanoseconds. */
#ifndef NX_BASE_CLOCK_H
#define NX_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NX_NS_PER_MS  INT64_C(1000000)
#define NX_NS_PER_SEC INT64_C(1000000000)

/* Monotonic time for durations and deadlines; its zero has no meaning. */
static inline int64_t nx_clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NX_NS_PER_SEC + now.tv_nsec;
}

/* Since 1970, for what is told to people and to other machines. */
static inline int64_t nx_clock_unix_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * NX_NS_PER_SEC + now.tv_nsec;
}

static inline int64_t nx_clock_unix_ms(void)
{
    return nx_clock_unix_ns() / NX_NS_PER_MS;
}

static inline double nx_clock_ms(int64_t ns)
{
    return (double)ns / (double)NX_NS_PER_MS;
}

#endif
