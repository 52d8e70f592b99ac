/* What the two files of the registry share: registry.c has the tables, registry_loader.c the thread
 * that changes them. Included by nobody else. */
#ifndef NX_ENGINE_REGISTRY_INTERNAL_H
#define NX_ENGINE_REGISTRY_INTERNAL_H

#include "engine/registry.h"

#include <pthread.h>
#include <stdatomic.h>

/* Tells whether a file is still the one that was looked at. */
typedef struct nx_file_stamp {
    uint64_t bytes;
    int64_t changed_s;
} nx_file_stamp;

/* A model in memory. */
struct nx_registry_handle {
    nx_registry *registry;
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t version;
    nx_model *model;
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
    uint32_t max_loaded;
    char default_name[NX_MODEL_NAME_MAX + 1];
    uint32_t default_version; /* 0: the one that serves */
    char *fixed_path;         /* the default model's file, when it was given so */
    pthread_t loader;
    const char *_Atomic device; /* of the last model that was loaded; static */

    pthread_mutex_t lock; /* guards all below, and what the structs above say */
    pthread_cond_t wake;  /* the loader has something to do */
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
/* A reference to what is in memory, or NULL. */
nx_registry_handle *nx_registry_take(nx_registry *registry, const char *name, uint32_t version);
/* Does the default model depend on it? */
bool nx_slot_is_default(nx_registry *registry, const nx_slot *slot);

/* --- registry_loader.c --------------------------------------------------------------------------
 */

void *nx_registry_load_loop(void *user);
/* NULL is fine. */
void nx_handle_free(nx_registry_handle *handle);

/* Is this the default model, given as a path? */
bool nx_registry_is_fixed(const nx_registry *registry, const char *name);

#endif
