/*
 * What state a stream is in, and why: a machine of five states with the pauses between its tries to
 * connect. Plain data and pure functions; times are nx_clock_now_ns()'s.
 *
 *     connecting --frame--> live --silence--> stalled --another try--> reconnecting --frame--> live
 *                             \------loss---------------------------->/
 *
 * A try that fails before the first frame ever is a loss, too: a camera that is not there yet is
 * waited for like one that has gone.
 */
#ifndef NX_STREAMS_MONITOR_H
#define NX_STREAMS_MONITOR_H

#include "base/error.h"
#include "store/streams.h"

#include <stdint.h>

#define NX_MONITOR_FIRST_NS INT64_C(1000000000)  /* the first pause */
#define NX_MONITOR_MOST_NS  INT64_C(30000000000) /* the longest */
/* So long a stream must have been live for its pauses to begin anew: one that gives a frame and
 * breaks is asked less and less often. */
#define NX_MONITOR_STEADY_NS INT64_C(4000000000)

typedef struct nx_monitor {
    nx_stream_state state;
    char reason[256];
    int64_t since_ns;    /* of this state */
    uint32_t failures;   /* since it was steady */
    uint64_t reconnects; /* times that it was live again, but for the first */
    uint64_t lives;
} nx_monitor;

void nx_monitor_start(nx_monitor *monitor, int64_t now_ns);

/* Each of them returns whether state or reason is another now. */
bool nx_monitor_frame(nx_monitor *monitor, int64_t now_ns); /* one has come */
/* The camera was lost, or could not be reached. why's NX_ERR_TIMEOUT of a live stream is a stall.
 */
bool nx_monitor_lost(nx_monitor *monitor, const nx_error *why, int64_t now_ns);
bool nx_monitor_retry(nx_monitor *monitor, int64_t now_ns); /* it is tried again */
bool nx_monitor_stop(nx_monitor *monitor, const char *reason, int64_t now_ns);
/* Is to go on after a stop. */
bool nx_monitor_resume(nx_monitor *monitor, int64_t now_ns);

/* How long to wait before the next try: twice as long each time, by up to half shorter by chance,
 * so that cameras behind one switch are not asked at once. noise: any number. */
int64_t nx_monitor_pause(const nx_monitor *monitor, uint32_t noise);

#endif
