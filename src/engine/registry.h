/*
 * The models of a running server: which are in memory, which version of a name serves, and how they
 * change while requests go on.
 *
 * A handle is a reference to a model in memory. Whoever runs a model holds one; the model is freed
 * when it has been replaced or unloaded and its last handle is released. So a swap never disturbs a
 * request: it ends on the version that it began with.
 *
 * Everything that takes long (loading, the trial, removing files, freeing) is done by one loader
 * thread, one task after the other. A second thread only ends the tasks whose deadline passes while
 * they wait, so that they need not wait for the loader to say so. One lock guards the tables and
 * the queue of tasks; it is held for look-ups and pointer changes alone, never while something is
 * loaded, freed or called back.
 */
#ifndef NX_ENGINE_REGISTRY_H
#define NX_ENGINE_REGISTRY_H

#include "base/error.h"
#include "engine/model.h"
#include "engine/model_store.h"
#include "engine/sam.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_registry nx_registry;
typedef struct nx_registry_handle nx_registry_handle;
typedef struct nx_registry_task nx_registry_task;

typedef struct nx_registry_options {
    nx_runtime *runtime;         /* borrowed */
    const nx_model_store *store; /* borrowed */
    /* "NAME", "NAME:VERSION" or the path of an .onnx file, which is then known by the file's name
     * and can't be changed through the registry. Never unloaded to make room. */
    const char *default_model;
    nx_model_options model; /* for every detector; name is not used */
    /* "NAME" or "NAME:VERSION" of the model that segments, which need not be there; NULL: none */
    const char *sam_model;
    nx_sam_options sam; /* for every model that segments; name is not used */
    /* Detectors in memory, and as many that segment; at least 1. While a model is being loaded it
     * is one more: the others make room when it has turned out to work. */
    uint32_t max_loaded;
} nx_registry_options;

/* Starts the two threads; loads nothing yet. Errors: NX_ERR_INVALID (a default's name),
 * NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_registry_new(const nx_registry_options *options, nx_registry **out, nx_error *err);

/* Cancels the tasks that wait, lets the running one finish, and frees every model: all handles must
 * have been released. NULL is fine. */
void nx_registry_free(nx_registry *registry);

/* Is this the default model, given as a path? Then it can't be changed. */
bool nx_registry_is_fixed(const nx_registry *registry, const char *name);

/* Which version of a name serves, of those in memory; 0: none is. Thread-safe. */
uint32_t nx_registry_serving(nx_registry *registry, const char *name);

/* The default model's name, without its version. */
const char *nx_registry_default(const nx_registry *registry);

/* That of the model that segments when none is named; "": there is none. */
const char *nx_registry_default_sam(const nx_registry *registry);

/* What runs the models ("cpu", "cuda", "tensorrt"): the last that was loaded, and before the first
 * what will be tried first. Thread-safe. */
const char *nx_registry_device(const nx_registry *registry);

/* --- handles ------------------------------------------------------------------------------------
 */

/*
 * A detector that is in memory, at once. name NULL: the default model; version 0: the one that
 * serves. Thread-safe; looks at the disk only when the model is not in memory.
 * Errors: NX_ERR_UNAVAILABLE (installed, but not in memory: submit a task), NX_ERR_NOT_FOUND,
 * NX_ERR_UNSUPPORTED (it segments), NX_ERR_INVALID (no usable name), NX_ERR_NO_MEMORY.
 */
nx_status nx_registry_acquire(nx_registry *registry, const char *name, uint32_t version,
                              nx_registry_handle **out, nx_error *err);

/*
 * The same for a model that segments (SAM): name NULL is nx_registry_options.sam_model, version 0
 * the store's active one. It looks into that model's folder each time, so that what another process
 * installs, removes or makes active is noticed here: what was in memory goes with its last handle,
 * and its embeddings with it. Errors: as above; NX_ERR_UNSUPPORTED (it is a detector).
 */
nx_status nx_registry_acquire_sam(nx_registry *registry, const char *name, uint32_t version,
                                  nx_registry_handle **out, nx_error *err);

/* Thread-safe, never blocks. NULL is fine. */
void nx_registry_release(nx_registry_handle *handle);

nx_model *nx_registry_model(const nx_registry_handle *handle); /* NULL: it segments */
nx_sam *nx_registry_sam(const nx_registry_handle *handle);     /* NULL: a detector */
const char *nx_registry_name(const nx_registry_handle *handle);
uint32_t nx_registry_version(const nx_registry_handle *handle);

/* Counts inferences that were served with it. Thread-safe. */
void nx_registry_count(nx_registry_handle *handle, uint64_t inferences);

/* --- tasks --------------------------------------------------------------------------------------
 */

typedef enum nx_registry_op {
    /* Loads the version unless it is in memory, and hands out a handle. What failed before for
     * its file fails at once, as long as that is the same; what failed for want of memory or open
     * files is tried again. */
    NX_REGISTRY_ACQUIRE,
    /* Loads the version and makes it the one that serves, restarts included; 0: the active one of
     * the store. What served before goes when its last handle does. */
    NX_REGISTRY_LOAD,
    /* The same, but 0 is the version that served before, or the one below. */
    NX_REGISTRY_ROLLBACK,
    /* Takes the version out of memory; 0: all versions. */
    NX_REGISTRY_UNLOAD,
    /* Tries the files in `folder` (nx_model_store_begin), installs them as the next version and
     * makes it the one that serves. */
    NX_REGISTRY_ADD,
    /* Removes the version from memory and disk; 0: all versions. When the default model's serving
     * version is removed, another takes over first. */
    NX_REGISTRY_REMOVE,
} nx_registry_op;

/*
 * Embedded in the submitter's own struct and filled by it before submitting; the registry touches
 * it from submit until done has been called, and never after. A task that fails changes nothing:
 * not what is on disk, nor which version is the active one, nor what serves or is in memory.
 *
 * Errors: NX_ERR_NOT_FOUND, NX_ERR_INVALID, NX_ERR_CONFLICT (the default model would go; there is
 * nothing to roll back to; it is served from a path), NX_ERR_UNAVAILABLE (MAX_LOADED_MODELS leaves
 * no room; the registry ends), NX_ERR_TIMEOUT (it waited until its deadline), NX_ERR_CANCELLED,
 * NX_ERR_IO and NX_ERR_NO_MEMORY (the machine lacks something: ask again), those of nx_model_open,
 * nx_model_store_commit and nx_model_store_remove.
 */
struct nx_registry_task {
    nx_registry_op op;
    char name[NX_MODEL_NAME_MAX + 1]; /* "": the default model */
    uint32_t version;                 /* in: which; out: which it was */
    nx_stored_kind kind;              /* ACQUIRE: which it must be; else NX_ERR_UNSUPPORTED */
    const char *folder;               /* ADD: borrowed; after success it is there no more */
    /* Both may be NULL; on the loader thread. What they refuse does not happen.
     * number: of what is to be added, when its files have turned out to work; version is the number
     * that would be the next here, and is left or raised. Asked again when it has been taken. */
    nx_status (*number)(nx_registry_task *task, nx_error *err);
    /* confirm: of LOAD, ROLLBACK, UNLOAD, ADD and REMOVE, when nothing else can refuse and before
     * anything serves or goes; version (0: all) and, of REMOVE, successor are known by now. */
    nx_status (*confirm)(nx_registry_task *task, nx_error *err);
    uint32_t successor; /* out, of REMOVE: the version that is active afterwards; 0: none is left */
    /* nx_clock_now_ns() scale; 0 for none. When it still waits then, it ends at once with
     * NX_ERR_TIMEOUT; what has begun goes on. */
    int64_t deadline_ns;
    /* Exactly once, on one of the registry's threads (or on the thread that cancels). */
    void (*done)(nx_registry_task *task, nx_status status, const nx_error *err);
    nx_registry_handle *handle; /* ACQUIRE: out; the submitter releases it */

    nx_registry_task *next; /* the registry's own */
};

/* Thread-safe, never waits. Errors (done is then not called): NX_ERR_BUSY (too many tasks wait),
 * NX_ERR_UNAVAILABLE (the registry ends). */
nx_status nx_registry_submit(nx_registry *registry, nx_registry_task *task, nx_error *err);

/* Takes a waiting task out: calls its done with NX_ERR_CANCELLED and returns true. Returns false,
 * and does nothing, when it runs or has run. Thread-safe. */
bool nx_registry_cancel(nx_registry *registry, nx_registry_task *task);

/* Submits and waits; done is not used. Not on the registry's threads. */
nx_status nx_registry_run(nx_registry *registry, nx_registry_task *task, nx_error *err);

/* --- looking ------------------------------------------------------------------------------------
 */

typedef enum nx_registry_state {
    NX_MODEL_UNLOADED,
    NX_MODEL_LOADING,
    NX_MODEL_READY,
    NX_MODEL_FAILED,
} nx_registry_state;

/* "ready", and so on. */
const char *nx_registry_state_name(nx_registry_state state);

/* One version of one model; plain data. */
typedef struct nx_registry_entry {
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t version;
    nx_stored_kind kind;
    nx_registry_state state;
    bool serves;           /* requests that name no version get this one; not loaded: would get */
    bool is_default;       /* requests that name no model get this one */
    bool shared;           /* other servers have it as well (jobs/shared_models.h) */
    char reason[256];      /* of NX_MODEL_FAILED; else "" */
    uint64_t file_bytes;   /* 0: it is no more on disk */
    uint64_t memory_bytes; /* by how much the process grew while it was loaded: an estimate */
    int64_t added_s;       /* seconds since 1970 */
    char added_by[65];     /* a user's name; "" by the registry, which knows none */
    int64_t loaded_s;      /* 0: not in memory */
    uint64_t inferences;   /* since it was first loaded */
    uint32_t users;        /* handles that are out */
} nx_registry_entry;

/* All versions of all models, installed or in memory, by name and version; the caller frees *out.
 * Thread-safe. Errors: NX_ERR_NO_MEMORY, NX_ERR_IO. */
nx_status nx_registry_list(nx_registry *registry, nx_registry_entry **out, size_t *count,
                           nx_error *err);

#endif
