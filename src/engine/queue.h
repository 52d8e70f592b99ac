/*
 * The tasks that wait, in classes of priority, first in first out within each. No lock: the
 * engine's guards it.
 *
 * The best task is the first of the highest class, unless a lower one was passed over
 * NX_QUEUE_PATIENCE times in a row while it waited: that one is next. So of three busy classes the
 * lower two get a tenth each, and none is starved. The background can be held: it has no turn then.
 */
#ifndef NX_ENGINE_QUEUE_H
#define NX_ENGINE_QUEUE_H

#include "engine/engine.h"

#define NX_QUEUE_PATIENCE 8

typedef struct nx_task_class {
    nx_engine_task *first, *last;
    uint32_t passed; /* tasks of higher classes taken since one of this class was, or came */
} nx_task_class;

/* All zero is an empty queue. */
typedef struct nx_task_queue {
    nx_task_class classes[NX_PRIORITY_COUNT];
    uint32_t count;
    uint64_t sequence; /* of the task that came last; the first has 1 */
    bool hold_background;
} nx_task_queue;

/* Which tasks may join a batch. */
typedef struct nx_task_filter {
    const nx_backend *backend;
    uint32_t width, height;
    uint64_t newest; /* sequence of the last one that may */
} nx_task_filter;

bool nx_task_fits(const nx_engine_task *task, const nx_task_filter *filter);

/* Puts a task at the end of its class and numbers it. */
void nx_task_queue_push(nx_task_queue *queue, nx_engine_task *task);

/*
 * The best task that fits (filter NULL: any), which stays where it is; NULL when there is none.
 * Tasks that it comes by and whose deadline has passed are taken out and put before those in
 * *expired (linked by next). Of each class it looks at no more than the first 256.
 */
nx_engine_task *nx_task_queue_best(nx_task_queue *queue, const nx_task_filter *filter,
                                   int64_t now_ns, nx_engine_task **expired);

/* Takes a task out because it is its turn: what waits in lower classes has been passed over. */
void nx_task_queue_take(nx_task_queue *queue, nx_engine_task *task);

/* Takes a task out for another reason. */
void nx_task_queue_remove(nx_task_queue *queue, nx_engine_task *task);

#endif
