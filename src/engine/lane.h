/*
 * A lane: one batch on its way through the engine, and the memory that it lies in, which the next
 * batch uses again. No lock: the engine's guards every field, but the bytes of a slot belong to
 * the thread that prepares it, and a batch that runs to the thread that runs it.
 */
#ifndef NX_ENGINE_LANE_H
#define NX_ENGINE_LANE_H

#include "engine/engine.h"

typedef enum nx_lane_state {
    NX_LANE_FREE,
    NX_LANE_FORMING,   /* pictures are being prepared, or it waits for a permit */
    NX_LANE_RUNNING,   /* one thread has it */
    NX_LANE_CONSUMING, /* the outputs are there; any thread may read a picture's */
} nx_lane_state;

typedef struct nx_slot {
    nx_engine_task *task; /* NULL: a hole, where preparing failed */
    int64_t ready_ns;     /* when it was prepared */
    nx_status status;     /* of consuming */
    nx_error err;
} nx_slot;

typedef struct nx_lane {
    nx_lane_state state;
    const nx_backend *backend; /* NULL: a single task that executes */
    uint32_t width, height;
    uint32_t capacity;  /* slots of this batch; 0: there was no memory for them */
    uint32_t used;      /* slots up to the last with a task */
    uint32_t count;     /* tasks in it */
    uint32_t preparing; /* of them */
    bool permit;        /* it may run as soon as nothing in it is being prepared */
    bool background;    /* it was opened for a task of the background */
    uint64_t number;    /* in the order of opening */
    uint64_t newest;    /* sequence of the last task that may join */
    int64_t due_ns;     /* until then it waits for more, although it may run; 0: it does not wait */

    /* NX_LANE_CONSUMING */
    const nx_tensor *outputs;
    size_t output_count;
    uint32_t next_consumed;
    uint32_t consuming; /* threads */

    nx_slot *slots; /* owned; room for `limit` */
    uint32_t limit;
    unsigned char *data;           /* owned, 64-byte aligned */
    void (*release)(void *memory); /* how `data` is freed */
    size_t bytes;
    size_t slot_bytes;
} nx_lane;

/* Allocates room for batches of up to `limit`; false: no memory. */
bool nx_lane_init(nx_lane *lane, uint32_t limit);
void nx_lane_free(nx_lane *lane);

/* Begins a batch of tasks like this one, without it, of at most `most`. Memory is asked for once
 * for the largest batch: what is not touched costs nothing. */
void nx_lane_open(nx_lane *lane, const nx_engine_task *task, uint32_t most);

/* Puts a task into the first free slot and returns which one. There must be one, but for the first
 * task. */
uint32_t nx_lane_add(nx_lane *lane, nx_engine_task *task);

/* Takes out a task that could not be prepared. */
void nx_lane_drop(nx_lane *lane, uint32_t slot);

void *nx_lane_slot(const nx_lane *lane, uint32_t slot);

/* Moves pictures from the end into the holes, so that `count` slots lie one behind the other. */
void nx_lane_compact(nx_lane *lane);

#endif
