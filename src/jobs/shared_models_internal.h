/* What the files of nx_shared_models share: shared_models.c has the thread and what it tells,
 * shared_follow.c does what the database says, shared_files.c reads, marks, stores and fetches
 * files, shared_change.c tells the database, shared_access.c keeps who may use a model. Included by
 * nobody else. */
#ifndef NX_JOBS_SHARED_MODELS_INTERNAL_H
#define NX_JOBS_SHARED_MODELS_INTERNAL_H

#include "jobs/shared_models.h"

#include <pthread.h>
#include <stdatomic.h>

/* How far a name is followed. */
typedef struct nx_followed {
    struct nx_followed *next;
    char name[NX_MODEL_NAME_MAX + 1];
    int64_t done;        /* generation of its last change that was followed */
    int64_t active_done; /* of the last change of its active version */
    bool looked;         /* at its files, since the start */
    uint32_t failures;   /* in a row */
    int64_t retry_ns;
    char problem[256];
} nx_followed;

typedef struct nx_access_table nx_access_table;

struct nx_shared_models {
    nx_store *database;
    nx_objects *objects;
    const nx_model_store *store;
    char *progress_path; /* DATA_DIR/models.generation */
    int64_t period_ns;
    bool across;           /* other hosts have disks of their own */
    nx_registry *registry; /* NULL while it is opened */

    char service[NX_MODEL_SERVICE_SIZE];

    /* of who looks: the opening thread, then the follower */
    int64_t start;     /* the generation that this disk was at when we started */
    int64_t written;   /* the one that the disk is said to be at */
    int64_t unloads;   /* generation of the last unload that was followed */
    bool out_of_sight; /* the database could not be asked the last time */
    nx_followed *names;

    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool stop;
    bool poked;
    nx_shared_entry *entries;
    size_t entry_count;
    nx_shared_models_stats stats;

    pthread_rwlock_t access_lock; /* of the table */
    nx_access_table *access;
};

/* --- shared_files.c --- */

/* Reads files at these paths (the second may be NULL) under their names in a version; with objects
 * that are shared stores them as well. */
nx_status nx_shared_upload_take(nx_shared_models *self, const char *const paths[2],
                                nx_shared_upload *out, nx_error *err);

/* Whether a version on the disk has the mark of this database. */
bool nx_shared_is_marked(const nx_shared_models *self, const char *name,
                         const nx_stored_version *version);

/* Makes sure that a version of the database is on this disk with the very files that it knows.
 * Errors: NX_ERR_CONFLICT (other files are in its place), NX_ERR_CORRUPT (its object is damaged),
 * NX_ERR_NOT_FOUND (its files are nowhere), those of nx_objects_fetch and the disk. */
nx_status nx_shared_bring(nx_shared_models *self, const nx_model_version *version,
                          const nx_stored_version *there, nx_error *err);

/* --- shared_follow.c --- */

/* Does what the database says; to be called again. Errors: the database can't be asked. */
nx_status nx_shared_look(nx_shared_models *self, nx_error *err);
/* Reads which generation the disk is at. */
void nx_shared_read_progress(nx_shared_models *self);

/* --- shared_access.c --- */

nx_status nx_shared_load_access(nx_shared_models *self, nx_error *err);
void nx_access_table_free(nx_access_table *table);

#endif
