/* The inside of the engine: what its threads share, and what they do. For engine.c alone. */
#ifndef NX_ENGINE_BATCHER_H
#define NX_ENGINE_BATCHER_H

#include "base/clock.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/queue.h"

#include <pthread.h>

struct nx_engine {
    nx_engine_options options; /* with the defaults filled in; immutable */
    pthread_t *threads;
    uint32_t thread_count;
    nx_lane *lanes; /* workers + prefetch */
    uint32_t lane_count;

    pthread_mutex_t lock;    /* guards everything below, and the lanes */
    pthread_cond_t work;     /* there may be something to do for a thread that waits */
    pthread_cond_t consumed; /* the last picture of a batch was read */
    pthread_cond_t done;     /* the last accepted task ended */
    nx_task_queue queue;
    nx_engine_task *expired; /* taken out of the queue, to be reported */
    uint32_t active;         /* tasks out of the queue and not done */
    uint32_t permits;        /* workers that no lane holds */
    uint32_t free_lanes;
    uint32_t background_lanes; /* opened for the background and not free */
    int64_t waited_for_ns;     /* until then the background leaves a lane to who waits */
    uint64_t opened;           /* lanes, ever */
    int64_t run_ns_average;
    bool draining; /* no new tasks */
    bool stopping; /* threads leave when there is nothing to do */
    bool trimmed;
};

/* A thread of the engine, which is its argument; leaves when the engine is stopping. */
void *nx_batcher_thread(void *argument);

/* The most pictures in a batch of this backend. */
uint32_t nx_batcher_limit(const nx_engine_options *options, const nx_backend *backend);

/* So long after somebody waited for an answer a lane is kept for the next one. */
#define NX_BATCHER_KEPT_NS NX_NS_PER_SEC

/* Counts `tasks` as done. The lock is held. */
void nx_batcher_done(nx_engine *engine, uint32_t tasks);

#endif
