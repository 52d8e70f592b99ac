/*
 * A worker: takes jobs of the kind "video" from the queue (store/jobs.h) and does them, some at
 * once, until it is told to stop. Any number of workers, in any processes and on any hosts, share
 * one database and one object store.
 *
 * Whatever happens to a worker, nothing is lost: each checkpoint is in the database, and the part
 * of the record that belongs to it is an object, so that the next lease, here or elsewhere, goes on
 * behind it and ends with the same bytes.
 *
 * What a job ends with: result = {"files":[{"name","type","size","object"}],"summary":{...}}, where
 * object is a name in the object store and summary is summary.json. A damaged video fails its job
 * and has results as far as it goes; other failures have none. What a machine may lack (memory, the
 * disk, the database, S3) is tried again later, anything else fails at once.
 */
#ifndef NX_JOBS_WORKER_H
#define NX_JOBS_WORKER_H

#include "base/error.h"
#include "base/tracer.h"
#include "engine/engine.h"
#include "engine/registry.h"
#include "jobs/shared_models.h"
#include "store/jobs.h"
#include "store/objects.h"
#include "store/store.h"
#include "vision/postprocess.h"

#include <stdint.h>

#define NX_WORKER_KIND         "video"
#define NX_WORKER_MOST_AT_ONCE 256

typedef struct nx_worker nx_worker;

/* Pointers are borrowed until nx_worker_stop has returned, strings copied. */
typedef struct nx_worker_options {
    nx_store *store;
    nx_objects *objects;
    nx_registry *registry;
    nx_shared_models *shared; /* says who may use which model; NULL: everybody may */
    nx_engine *engine;
    const char *data_dir;               /* jobs/ in it is for what is under way */
    nx_postprocess_options postprocess; /* thresholds where a job has none */
    uint64_t max_pixels;                /* of a frame */
    uint32_t concurrency;               /* jobs at once, a thread for each; 1.. */
    uint32_t prefetch;                  /* times concurrency: jobs that it holds; 1.. */
    int64_t lease_ms;                   /* 0: 30 seconds */
    nx_tracer *tracer;                  /* NULL: no traces are kept */
    /* Hooks, on the worker's threads; NULL: none. A checkpoint was saved behind so many frames; a
     * job was let go of, however it ended. */
    void (*on_checkpoint)(const char *id, uint64_t frames, void *user);
    void (*on_end)(const char *id, void *user);
    void *user;
} nx_worker_options;

/* Starts the threads. Errors: NX_ERR_INVALID (a count), NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no
 * thread). */
nx_status nx_worker_start(const nx_worker_options *options, nx_worker **out, nx_error *err);

/* What jobs that begin from now on go by; as in the options. Any thread. */
typedef struct nx_worker_rules {
    nx_postprocess_options postprocess;
    uint64_t max_pixels;
} nx_worker_rules;
void nx_worker_set_rules(nx_worker *worker, const nx_worker_rules *rules);

/* From now on it takes no jobs, and those that it has go back into the queue. Does not wait; any
 * thread, hooks included. */
void nx_worker_ask_stop(nx_worker *worker);

/* Asks, waits until everything is given back (seconds), and frees. NULL is fine. */
void nx_worker_stop(nx_worker *worker);

#endif
