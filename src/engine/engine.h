/*
 * The engine: a bounded queue, and threads that make batches of what waits and run models on them.
 * One engine a process; requests, jobs and the command line all submit tasks to it.
 *
 * A picture's task writes its input straight into its slot of a batch (prepare), the batch is run,
 * the task reads its part of the output in place (consume) and hears of it (done). A batch holds
 * tasks of one backend and one input size.
 *
 * `workers` batches run at once. Parallel single-threaded Runs are the fastest way to use a CPU
 * (docs/performance.md), so that is the number of cores there, and tasks are spread over idle
 * workers before they share a batch. Up to `prefetch` more batches are prepared while those run,
 * which is for a GPU. The engine never waits for a batch to fill unless it is given a delay: a
 * batch that may run takes what waits when it is begun, one that has to wait takes what comes until
 * it is full or its turn.
 *
 * Threads: max(workers + prefetch, preparers), all alike. Each takes what is most urgent: reading
 * a picture of a batch that has run, running a batch that is ready, preparing a picture for a
 * batch. One lock guards the queue and the batches' bookkeeping and is held for none of these. So
 * with one picture in each batch and no prefetch a thread does all of a picture on its own core;
 * with larger batches several threads fill and read one.
 *
 * The lock is held, though, while a batch gets its memory (nx_backend's allocate, after the release
 * of what was too small). That happens when the place of the batch has none yet, or too little, or
 * of another kind, and after an idle while; whoever submits then waits for that long.
 */
#ifndef NX_ENGINE_ENGINE_H
#define NX_ENGINE_ENGINE_H

#include "base/error.h"
#include "engine/backend.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_runtime nx_runtime;
typedef struct nx_engine nx_engine;
typedef struct nx_engine_task nx_engine_task;

/* Nanoseconds. */
typedef struct nx_engine_timings {
    int64_t queue; /* before prepare, and until its batch ran */
    int64_t prepare;
    int64_t run; /* of the whole batch */
    int64_t consume;
} nx_engine_timings;

/*
 * Who is served first. A lower class that waits is not starved by the higher ones. The background,
 * of which there is always more, leaves half of the queue to the others, and for a second after
 * somebody has waited for an answer one batch that it does not begin (where there are several): a
 * Run that goes on can't be taken back from it.
 */
typedef enum nx_priority {
    NX_PRIORITY_INTERACTIVE, /* somebody waits for the answer */
    NX_PRIORITY_STREAM,      /* frames of a live camera */
    NX_PRIORITY_BATCH,       /* files and folders */
    NX_PRIORITY_BACKGROUND,  /* jobs of a queue */
    NX_PRIORITY_COUNT,
} nx_priority;

/*
 * Embedded in the submitter's own struct and filled by it before submitting. The engine touches it
 * from submit until done has been called, and never after.
 *
 * Either a picture for a model: backend, its input size, prepare and consume. Or any other work
 * that takes a core for a while: execute alone, and backend is NULL.
 */
struct nx_engine_task {
    const nx_backend *backend; /* borrowed until done */
    uint32_t input_width;      /* of the model input, in pixels */
    uint32_t input_height;
    nx_priority priority;
    int64_t deadline_ns; /* nx_clock_now_ns() scale; 0 for none: later it is not started */

    /* On an engine thread: write this picture's input, backend->slot_bytes at this size. */
    nx_status (*prepare)(nx_engine_task *task, void *slot, nx_error *err);
    /* On an engine thread: read the picture `slot` of the batch in place (dimension 0 of each
     * output). The outputs are gone after the call. */
    nx_status (*consume)(nx_engine_task *task, const nx_tensor *outputs, size_t count,
                         uint32_t slot, nx_error *err);
    /* On an engine thread, instead of the two above. */
    nx_status (*execute)(nx_engine_task *task, nx_error *err);
    /* Exactly once, on an engine thread (or on the thread that cancels or frees the engine). */
    void (*done)(nx_engine_task *task, nx_status status, const nx_error *err);

    nx_engine_timings timings; /* filled before done; of execute: queue and run */

    /* the engine's own */
    nx_engine_task *next, *previous;
    int64_t submitted_ns;
    uint64_t sequence;
    bool queued;
};

/* Most pictures in one batch. */
#define NX_ENGINE_MAX_BATCH 256

typedef struct nx_engine_options {
    uint32_t workers;       /* batches that run at once; 0: number of cores */
    uint32_t prefetch;      /* batches prepared beyond those */
    uint32_t preparers;     /* least threads, for many preparing one batch */
    uint32_t batch_size;    /* most pictures in a batch; 0: as many as the backend does best */
    uint32_t queue_size;    /* 0: 256 */
    int64_t batch_delay_ns; /* so long a batch that may run waits until it is full; 0: not at all */
    nx_runtime *runtime;    /* borrowed; its unused memory is given back when idle; may be NULL */
    /* Called after each Run with its duration and batch size; may be NULL. */
    void (*on_run)(const nx_backend *backend, int64_t run_ns, uint32_t batch, void *user);
    void *user;
} nx_engine_options;

/* Starts the threads. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread could be started). */
nx_status nx_engine_new(const nx_engine_options *options, nx_engine **out, nx_error *err);

/* Thread-safe; never waits for room in the queue or for a Run. Errors (done is then not called):
 * NX_ERR_BUSY (queue full, or half full for the background), NX_ERR_UNAVAILABLE (draining). */
nx_status nx_engine_submit(nx_engine *engine, nx_engine_task *task, nx_error *err);

/* Takes a waiting task out: calls its done with NX_ERR_CANCELLED and returns true. Returns false,
 * and does nothing, when it runs or has run. Thread-safe. */
bool nx_engine_cancel(nx_engine *engine, nx_engine_task *task);

typedef struct nx_engine_stats {
    uint32_t workers;
    uint32_t queue_size;
    uint32_t queued;        /* waiting now */
    uint32_t running;       /* tasks taken out of the queue and not done yet */
    int64_t run_ns_average; /* moving average of what a task costs: prepare, its share of the run,
                               consume; 0 before the first */
} nx_engine_stats;
nx_engine_stats nx_engine_get_stats(nx_engine *engine);

/* How many tasks of this backend one submitter keeps in the engine so that it never runs dry. */
uint32_t nx_engine_window(const nx_engine *engine, const nx_backend *backend);

/* Refuses new tasks and waits until the accepted ones are done, at most until deadline_ns (0: as
 * long as it takes). Returns whether all were done. */
bool nx_engine_drain(nx_engine *engine, int64_t deadline_ns);

/* Cancels what still waits, lets running tasks finish, joins the threads. NULL is fine. */
void nx_engine_free(nx_engine *engine);

#endif
