/*
 * The engine: a bounded queue in front of worker threads that run models. One engine a process;
 * requests, jobs and the command line all submit tasks to it.
 *
 * A worker takes the oldest task, lets it fill the input tensor (prepare), runs the model, lets it
 * read the output in place (consume) and reports (done). Parallel single-threaded Runs are the
 * fastest way to use a CPU (docs/performance.md), so `workers` defaults to the number of cores.
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
    int64_t queue;
    int64_t prepare;
    int64_t run;
    int64_t consume;
} nx_engine_timings;

/* Who is served first. A lower class that waits is not starved by the higher ones. */
typedef enum nx_priority {
    NX_PRIORITY_INTERACTIVE, /* somebody waits for the answer */
    NX_PRIORITY_STREAM,      /* frames of a live camera */
    NX_PRIORITY_BATCH,       /* files and folders */
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
    bool queued;
};

typedef struct nx_engine_options {
    uint32_t workers;    /* 0: number of cores */
    uint32_t queue_size; /* 0: 256 */
    nx_runtime *runtime; /* borrowed; its unused memory is given back when idle; may be NULL */
    /* Called after each Run with its duration and batch size; may be NULL. */
    void (*on_run)(int64_t run_ns, uint32_t batch, void *user);
    void *user;
} nx_engine_options;

/* Starts the workers. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread could be started). */
nx_status nx_engine_new(const nx_engine_options *options, nx_engine **out, nx_error *err);

/* Thread-safe, never blocks. Errors (done is then not called): NX_ERR_BUSY (queue full),
 * NX_ERR_UNAVAILABLE (draining). */
nx_status nx_engine_submit(nx_engine *engine, nx_engine_task *task, nx_error *err);

/* Takes a waiting task out: calls its done with NX_ERR_CANCELLED and returns true. Returns false,
 * and does nothing, when it runs or has run. Thread-safe. */
bool nx_engine_cancel(nx_engine *engine, nx_engine_task *task);

typedef struct nx_engine_stats {
    uint32_t workers;
    uint32_t queue_size;
    uint32_t queued;        /* waiting now */
    uint32_t running;       /* on a worker now */
    int64_t run_ns_average; /* moving average of prepare + run + consume; 0 before the first */
} nx_engine_stats;
nx_engine_stats nx_engine_get_stats(nx_engine *engine);

/* Refuses new tasks and waits until the accepted ones are done, at most until deadline_ns (0: as
 * long as it takes). Returns whether all were done. */
bool nx_engine_drain(nx_engine *engine, int64_t deadline_ns);

/* Cancels what still waits, lets running tasks finish, joins the workers. NULL is fine. */
void nx_engine_free(nx_engine *engine);

#endif
