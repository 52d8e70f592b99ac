/* What the files of the registry share: registry.c has the tables, registry_queue.c the tasks that
 * wait, registry_loader.c the thread that does them and changes the tables, registry_open.c what is
 * done with files, registry_sam.c the models that segment. Included by nobody else. */
#ifndef NX_ENGINE_REGISTRY_INTERNAL_H
#define NX_ENGINE_REGISTRY_INTERNAL_H

#include "engine/registry.h"

#include <pthread.h>
#include <stdatomic.h>

/* Tells whether a file is still the one that was looked at. */
typedef struct nx_file_stamp {
    uint64_t bytes;
    int64_t changed_s;
    uint64_t mark; /* nx_stored_version.mark */
} nx_file_stamp;

static inline bool nx_file_stamp_same(nx_file_stamp a, nx_file_stamp b)
{
    return a.bytes == b.bytes && a.changed_s == b.changed_s && a.mark == b.mark;
}

/* A model in memory: of a detector, or of the two networks that segment. */
struct nx_registry_handle {
    nx_registry *registry;
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t version;
    nx_model *model; /* NULL for one that segments */
    nx_sam *sam;     /* NULL for a detector */
    nx_file_stamp stamp;
    uint64_t memory_bytes;
    int64_t loaded_s;
    int64_t load_ns; /* how long that took */
    _Atomic uint64_t inferences;
    uint32_t refs;            /* guarded by the registry's lock */
    nx_registry_handle *next; /* of those to be freed */
};

/* What is known of one version that is or was in memory. */
typedef struct nx_slot {
    struct nx_slot *next;
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t version;
    nx_registry_state state;
    nx_registry_handle *handle; /* the registry's own reference; NULL: not in memory */
    int64_t used_ns;
    uint64_t inferences;  /* of handles that are gone */
    nx_file_stamp failed; /* the file that failed ... */
    nx_error failure;     /* ... and why */
} nx_slot;

/* Which version of a name serves. */
typedef struct nx_family {
    struct nx_family *next;
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t serving; /* 0: none is in memory */
} nx_family;

struct nx_registry {
    nx_runtime *runtime;
    const nx_model_store *store;
    nx_model_options model;
    nx_sam_options sam;
    uint32_t max_loaded;
    char sam_name[NX_MODEL_NAME_MAX + 1]; /* "": there is no default for segmenting */
    uint32_t sam_version;                 /* 0: the store's active one */
    char default_name[NX_MODEL_NAME_MAX + 1];
    uint32_t default_version; /* 0: the one that serves */
    char *fixed_path;         /* the default model's file, when it was given so */
    pthread_t loader;
    pthread_t clock;            /* ends the tasks that wait too long */
    const char *_Atomic device; /* of the last model that was loaded; static */

    pthread_mutex_t lock; /* guards all below, and what the structs above say */
    pthread_cond_t wake;  /* the loader has something to do */
    pthread_cond_t hurry; /* there may be an earlier deadline; on the monotonic clock */
    nx_slot *slots;
    nx_family *families;
    nx_registry_task *first, **last; /* waiting */
    uint32_t waiting;
    nx_registry_handle *trash; /* to be freed by the loader */
    bool ending;
};

/* --- registry.c; the lock is held ---------------------------------------------------------------
 */

nx_slot *nx_slot_find(nx_registry *registry, const char *name, uint32_t version);
/* Also makes it; NULL when memory is short. */
nx_slot *nx_slot_get(nx_registry *registry, const char *name, uint32_t version);
nx_family *nx_family_find(nx_registry *registry, const char *name);
nx_family *nx_family_get(nx_registry *registry, const char *name);
/* Lets go of the registry's own reference. */
void nx_slot_drop(nx_slot *slot);
void nx_handle_unref(nx_registry_handle *handle);
/* A reference to what is in memory and of this kind, or NULL. */
nx_registry_handle *nx_registry_take(nx_registry *registry, const char *name, uint32_t version,
                                     nx_stored_kind kind);
/* From here on requests get this version; what served before goes with its last handle, unless it
 * is the default. False: no memory. */
bool nx_family_serve(nx_registry *registry, const char *name, uint32_t version);
/* Does the default model depend on it? */
bool nx_slot_is_default(nx_registry *registry, const nx_slot *slot);

/* --- registry_queue.c; without the lock ---------------------------------------------------------
 */

/* Waits for the loader's next task; NULL when there is other work to do. */
nx_registry_task *nx_registry_take_task(nx_registry *registry, bool *ending);
/* Ends a task that was taken out when its deadline has passed; true: it is gone. */
bool nx_registry_end_if_late(nx_registry_task *task);
/* Ends the tasks that wait for what is in memory by now. */
void nx_registry_serve_waiting(nx_registry *registry);
void *nx_registry_clock_loop(void *user);

/* --- registry_loader.c --------------------------------------------------------------------------
 */

void *nx_registry_load_loop(void *user);

/* Why a model of this kind is not what was asked for. label: NAME or NAME:VERSION.
 * NX_ERR_UNSUPPORTED. */
nx_status nx_registry_wrong_kind(const char *label, nx_stored_kind kind, nx_error *err);

/* --- registry_open.c; on the loader thread, without the lock ------------------------------------
 */

/* Where a version is to be loaded from. */
typedef struct nx_registry_source {
    char name[NX_MODEL_NAME_MAX + 1];
    char label[NX_MODEL_NAME_MAX + 16]; /* "NAME:VERSION", for messages */
    uint32_t version;
    nx_stored_kind kind;
    bool active; /* the store's active version */
    nx_file_stamp stamp;
    char *path;                /* model.onnx, or encoder.onnx */
    char *decoder;             /* decoder.onnx, or NULL */
    nx_registry_handle *tried; /* in memory already since its trial; or NULL */
} nx_registry_source;

/* version 0: the active one. nx_registry_source_end(out) also after a failure. */
nx_status nx_registry_find(const nx_registry *registry, const char *name, uint32_t version,
                           nx_registry_source *out, nx_error *err);
void nx_registry_source_end(nx_registry_source *from);

/* A handle with one reference, which is the caller's. prove: also let both networks of a model that
 * segments run once; a detector does anyway. What was tried is taken from `from`. */
nx_status nx_registry_open(nx_registry *registry, nx_registry_source *from, bool prove,
                           nx_registry_handle **out, nx_error *err);
/* NULL is fine. */
void nx_handle_free(nx_registry_handle *handle);

/* Opens the files of a folder that is to be installed and lets them run, so that what is broken
 * changes nothing. They stay open (*out, without a version), for they are going to serve. Messages
 * name the files, not the folder. */
nx_status nx_registry_try(nx_registry *registry, const char *name, const char *folder,
                          nx_registry_handle **out, nx_error *err);

/* Gives the memory of models that nobody uses any more back to the system. */
void nx_registry_free_trash(nx_registry *registry);

#endif
