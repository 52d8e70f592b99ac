/*
 * Models that all processes of one database share: which versions there are, of which files, and
 * which one is active. The files themselves are in the object store, or on the disk that the
 * processes share. A version that lies on one host's disk alone has no row, but may be active.
 *
 * Every change takes the next generation in the transaction that makes it, one after the other: who
 * has seen a generation can see every change up to it. So a process that follows asks for one
 * number, and looks closer only when it has grown.
 *
 * Thread-safe, and safe between processes and hosts. Errors as in store.h besides those named.
 */
#ifndef NX_STORE_MODELS_H
#define NX_STORE_MODELS_H

#include "base/arena.h"
#include "store/objects.h"
#include "store/store.h"

#include <stddef.h>

#define NX_MODEL_SERVICE_SIZE 33 /* tells one database from another */
#define NX_MODEL_MOST_FILES   2

typedef struct nx_model_file {
    const char *file; /* "model.onnx", "encoder.onnx", "decoder.onnx" */
    const char *sha256;
    int64_t size;
} nx_model_file;

typedef struct nx_model_version {
    const char *name;
    int64_t version;
    const char *kind; /* "detector" or "sam" */
    bool stored;      /* its files are objects */
    const char *added_by;
    int64_t added_at;
    bool removed;
    nx_model_file files[NX_MODEL_MOST_FILES];
    size_t file_count; /* 0 once it is removed */
} nx_model_version;

typedef struct nx_model_name {
    const char *name;
    int64_t active; /* 0: what each host's disk says */
    int64_t changed;
    int64_t active_changed; /* generations */
} nx_model_name;

typedef struct nx_model_unload {
    const char *name;
    int64_t version; /* 0: all */
    int64_t generation;
} nx_model_unload;

/* Where the database is: one short read. */
nx_status nx_store_models_generation(nx_store *store, char service[NX_MODEL_SERVICE_SIZE],
                                     int64_t *generation, nx_error *err);

/* All that is known, in the arena; unloads only those after a generation. */
typedef struct nx_models_known {
    int64_t generation; /* the rows are of this one or later */
    nx_model_name *names;
    size_t name_count;
    nx_model_version *versions; /* by name and version */
    size_t version_count;
    nx_model_unload *unloads;
    size_t unload_count;
} nx_models_known;
nx_status nx_store_models_load(nx_store *store, int64_t unloads_after, nx_arena *arena,
                               nx_models_known *out, nx_error *err);

/* A number for the next version of a name, at least `least`, which nobody else gets. */
nx_status nx_store_model_number(nx_store *store, const char *name, int64_t least, int64_t *version,
                                nx_error *err);

/*
 * Enters a version, or again one that was removed, and makes it the active one. The objects of a
 * stored one are held (store/object_uses.h). added_at and removed are not looked at. The same once
 * more is no error. Errors: NX_ERR_CONFLICT (this version is there with other files).
 */
nx_status nx_store_model_publish(nx_store *store, const nx_model_version *version, nx_error *err);

/* Makes a version the active one; of a name that is not known too. */
nx_status nx_store_model_activate(nx_store *store, const char *name, int64_t version,
                                  nx_error *err);

/* Takes a version (0: all of the name) out, from every process's memory as well; active is what
 * serves then (0: nothing known). Versions without a row too. Objects that nothing needs any more
 * are left to who collects them. */
nx_status nx_store_model_remove(nx_store *store, const char *name, int64_t version, int64_t active,
                                nx_error *err);

/* Every process is to take the version (0: all) out of its memory. */
nx_status nx_store_model_unload(nx_store *store, const char *name, int64_t version, nx_error *err);

#endif
