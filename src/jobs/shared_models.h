/*
 * Models that several processes and hosts serve as one: what one of them adds, activates, unloads
 * or removes is followed by all within a second or two.
 *
 * The database knows the versions, their files by SHA-256 and which one is active
 * (store/models.h). Where the objects are shared between hosts (S3) the files of what is uploaded
 * go there too, and each host fetches what its own disk lacks: checked, written beside its place
 * and renamed. Where they are on the disk, whoever shares the database shares DATA_DIR as well, and
 * the files are not stored twice. A version that comes from the database, or was entered there, has
 * a file `shared` beside it on the disk. All others are this host's own: put there by hand, or by
 * `nexus models`. They serve here as they always did, nobody else touches them, and one that is
 * made active through a server is entered then.
 *
 * A thread asks the database once a second for its generation, and at once when this process has
 * changed something. What can't be followed (a damaged object, a file that does not load here) is
 * logged, counted and tried again with growing pauses; what served goes on serving.
 *
 *     nx_shared_models_open      brings the disk up to date, before any model is loaded
 *     nx_shared_models_follow    from now on, with the registry
 *     nx_shared_models_close     before the registry is freed
 *
 * The changes are called by who changes the registry, from nx_registry_task's hooks or from threads
 * that may wait. Thread-safe.
 */
#ifndef NX_JOBS_SHARED_MODELS_H
#define NX_JOBS_SHARED_MODELS_H

#include "base/error.h"
#include "engine/registry.h"
#include "store/model_access.h"
#include "store/models.h"
#include "store/objects.h"
#include "store/store.h"
#include "store/users.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_shared_models nx_shared_models;

/* All borrowed until the end. */
typedef struct nx_shared_models_options {
    nx_store *database;
    nx_objects *objects;
    const nx_model_store *store;
    const char *data_dir; /* that of both */
    int64_t period_ms;    /* between two looks; 0: a second */
} nx_shared_models_options;

/* Errors: those of the database, NX_ERR_NO_MEMORY. What can't be fetched is no error: it is tried
 * again later. */
nx_status nx_shared_models_open(const nx_shared_models_options *options, nx_shared_models **out,
                                nx_error *err);

/* Starts the thread. Errors: NX_ERR_UNAVAILABLE. */
nx_status nx_shared_models_follow(nx_shared_models *shared, nx_registry *registry, nx_error *err);

/* Waits for what the thread is at. NULL is fine. */
void nx_shared_models_close(nx_shared_models *shared);

/* Has the thread look now instead of within a second. */
void nx_shared_models_poke(nx_shared_models *shared);

typedef struct nx_shared_models_stats {
    int64_t generation; /* of the last look */
    uint64_t failures;  /* changes that could not be followed at once, or looks in vain */
    uint32_t behind;    /* names whose last change is not followed yet */
} nx_shared_models_stats;
nx_shared_models_stats nx_shared_models_get_stats(nx_shared_models *shared);

/* A version that the database knows, as it was at the last look. */
typedef struct nx_shared_entry {
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t version;
    nx_stored_kind kind;
    int64_t bytes;
    int64_t added_s;
    char added_by[NX_USER_NAME_MAX + 1]; /* "" without accounts */
    char problem[256]; /* why this host does not have it yet, or not all of its name; else "" */
} nx_shared_entry;
/* By name and version; the caller frees *out. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_shared_models_list(nx_shared_models *shared, nx_shared_entry **out, size_t *count,
                                nx_error *err);

/* --- changes ------------------------------------------------------------------------------------
 * Each is one transaction, or nothing has happened. Errors: those of the database and the objects.
 */

/* What is known of the files of an upload. */
typedef struct nx_shared_upload {
    char holder[NX_OBJECT_NAME_SIZE]; /* of its objects; "": none are held */
    nx_stored_kind kind;
    bool stored;
    struct {
        char name[16];
        char sha256[NX_OBJECT_NAME_SIZE];
        int64_t size;
    } files[NX_MODEL_MOST_FILES];
    size_t count;
} nx_shared_upload;

/* Reads the files of a folder that is to become a version, stores them where other hosts need them
 * (held, not entered) and marks the folder. Takes as long as that. Ended by
 * nx_shared_upload_end, also after a failure. Errors: NX_ERR_INVALID (no files of a model),
 * NX_ERR_IO. */
nx_status nx_shared_upload_prepare(nx_shared_models *self, const char *folder,
                                   nx_shared_upload *out, nx_error *err);
void nx_shared_upload_end(nx_shared_models *self, nx_shared_upload *upload);

/* Raises *version to a number that nobody else gets. Errors: NX_ERR_CONFLICT (there is none). */
nx_status nx_shared_models_number(nx_shared_models *shared, const char *name, uint32_t *version,
                                  nx_error *err);

/* The prepared files are this version, and it is the active one. */
nx_status nx_shared_models_publish(nx_shared_models *shared, const char *name, uint32_t version,
                                   const nx_shared_upload *upload, const char *by, nx_error *err);

/* A version is made active here. wanted: somebody named it, or rolled back to it; else it is what
 * the disk says, which concerns nobody else as long as nobody else has the name. */
nx_status nx_shared_models_activate(nx_shared_models *shared, const char *name, uint32_t version,
                                    bool wanted, const char *by, nx_error *err);

/* version 0: all. */
nx_status nx_shared_models_unload(nx_shared_models *shared, const char *name, uint32_t version,
                                  nx_error *err);

/* successor: the version that is active on this disk afterwards, 0 for none. */
nx_status nx_shared_models_remove(nx_shared_models *shared, const char *name, uint32_t version,
                                  uint32_t successor, nx_error *err);

/* --- who may use them ---------------------------------------------------------------------------
 */

/* Who asks. */
typedef struct nx_model_subject {
    bool all;         /* may use every model: an admin, or a server without accounts */
    const char *user; /* NULL or "": nobody who is signed in */
    const char *key;  /* NULL or "": none */
} nx_model_subject;

/* By the table in memory, which is a second old at most: no I/O. */
bool nx_shared_models_allow(nx_shared_models *shared, const char *name,
                            const nx_model_subject *subject);

/* Is there any model for everybody? */
bool nx_shared_models_any_public(nx_shared_models *shared);

#endif
