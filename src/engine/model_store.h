/*
 * Models on disk, in the layout of Triton's model repository:
 *
 *     DATA_DIR/models/NAME.onnx                 version 1 of NAME
 *     DATA_DIR/models/NAME/VERSION/model.onnx   a detector
 *     DATA_DIR/models/NAME/VERSION/encoder.onnx and decoder.onnx, of a model that segments (SAM)
 *     DATA_DIR/models/NAME/active               the version that is used, when not the highest
 *     DATA_DIR/models/NAME/VERSION/shared       what several servers share (jobs/shared_models.h)
 *
 * What is added is written into a folder beside the others, synced and renamed, so that a crash or
 * a full disk leaves nothing half. A store has no state but its folder: any number of threads and
 * processes may use it at once, and a change made by one is seen by the next look of another.
 */
#ifndef NX_ENGINE_MODEL_STORE_H
#define NX_ENGINE_MODEL_STORE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_MODEL_NAME_MAX    64
#define NX_MODEL_VERSION_MAX 999999999U
#define NX_MODEL_MAX_STORED                                                                        \
    ((size_t)1000) /* names, and versions of one name; what is beyond is not seen */

typedef struct nx_model_store nx_model_store;

typedef enum nx_stored_kind {
    NX_STORED_DETECTOR, /* model.onnx: whatever runs alone, segmentation and pose heads included */
    NX_STORED_SAM,      /* encoder.onnx and decoder.onnx */
} nx_stored_kind;

typedef struct nx_stored_version {
    uint32_t version;
    nx_stored_kind kind;
    bool flat;       /* NAME.onnx */
    bool shared;     /* there is a file `shared` beside it */
    uint64_t bytes;  /* of its files */
    int64_t added_s; /* seconds since 1970 */
    uint64_t mark;   /* another one when its files are others, whatever their size and second */
} nx_stored_version;

/* Plain data; freed by nx_stored_model_free or nx_stored_models_free. */
typedef struct nx_stored_model {
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t active; /* what `active` names, when that version is there; else the highest */
    bool pinned;     /* `active` names it */
    nx_stored_version *versions; /* ascending, at least one */
    size_t count;
} nx_stored_model;

/* 1 to 64 of letters, digits, '.', '_' and '-', beginning with a letter or digit, not ending with
 * ".onnx": no path can be made of it. Errors: NX_ERR_INVALID with what is allowed. */
nx_status nx_model_name_check(const char *name, nx_error *err);

/* "NAME" or "NAME:VERSION" apart; version is 0 when there is none. name takes NX_MODEL_NAME_MAX + 1
 * bytes. Errors: NX_ERR_INVALID. */
nx_status nx_model_reference_parse(const char *text, char *name, uint32_t *version, nx_error *err);

/* data_dir need not exist. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_model_store_new(const char *data_dir, nx_model_store **out, nx_error *err);
void nx_model_store_free(nx_model_store *store);
const char *nx_model_store_folder(const nx_model_store *store); /* DATA_DIR/models */

/* All models by name; what does not follow the layout is passed over. A folder that is not there
 * holds none. Errors: NX_ERR_NO_MEMORY, NX_ERR_IO. */
nx_status nx_model_store_list(const nx_model_store *store, nx_stored_model **out, size_t *count,
                              nx_error *err);
void nx_stored_models_free(nx_stored_model *models, size_t count);

/* One model. Errors: NX_ERR_INVALID (no usable name), NX_ERR_NOT_FOUND with the models that are
 * there, NX_ERR_IO (no more files may be open), NX_ERR_NO_MEMORY. */
nx_status nx_model_store_find(const nx_model_store *store, const char *name, nx_stored_model *out,
                              nx_error *err);
void nx_stored_model_free(nx_stored_model *model);

/* NULL when the model has no such version. version 0: the active one. */
const nx_stored_version *nx_stored_model_version(const nx_stored_model *model, uint32_t version);

/* Where a file of a version lies; the caller frees it. file: "model.onnx", "encoder.onnx" or
 * "decoder.onnx". Errors: NX_ERR_NO_MEMORY. */
nx_status nx_model_store_path(const nx_model_store *store, const char *name,
                              const nx_stored_version *version, const char *file, char **out,
                              nx_error *err);

/* --- adding -------------------------------------------------------------------------------------
 *
 *     nx_model_store_begin(store, &folder, err);      an empty folder beside the models
 *     ... write model.onnx (or encoder.onnx and decoder.onnx) into it, try whether it works ...
 *     nx_model_store_commit(store, folder, name, &version, err), or nx_model_store_discard(folder)
 */

/* The caller frees *folder. What others left behind over a day ago is removed on the way.
 * Errors: NX_ERR_IO (a full disk, no permission), NX_ERR_NO_MEMORY. */
nx_status nx_model_store_begin(const nx_model_store *store, char **folder, nx_error *err);

/* Copies a regular file (path) into the folder under the name of `file`. Errors: NX_ERR_NOT_FOUND,
 * NX_ERR_INVALID (not a file), NX_ERR_TOO_LARGE (over max_bytes), NX_ERR_IO. */
nx_status nx_model_store_copy(const char *folder, const char *file, const char *path,
                              uint64_t max_bytes, nx_error *err);

/* Syncs the files and makes the folder the next version of name, which becomes the active one: a
 * pin is taken away. After a failure the folder is still there, and the model is as it was. Errors:
 * NX_ERR_INVALID (the name, not the files of a model, or of another kind than the name's versions),
 * NX_ERR_IO, NX_ERR_NO_MEMORY. */
nx_status nx_model_store_commit(const nx_model_store *store, const char *folder, const char *name,
                                uint32_t *version, nx_error *err);

/* The same, but the version that was active stays so: it is pinned. *version says which it is to
 * become, or 0 for the next; NX_ERR_CONFLICT when there is one of that number. */
nx_status nx_model_store_install(const nx_model_store *store, const char *folder, const char *name,
                                 uint32_t *version, nx_error *err);

/* Puts `name` in place of a path in a message: whoever gave the file never saw that path. */
void nx_model_store_rename_in(nx_error *err, const char *path, const char *name);

/* Removes the folder and what is in it. NULL is fine. */
void nx_model_store_discard(const char *folder);

/* --- changing ----------------------------------------------------------------------------------
 */

/* Removes one version, or with 0 the whole model; after a failure all is still there. Errors:
 * NX_ERR_NOT_FOUND, NX_ERR_IO, NX_ERR_NO_MEMORY. */
nx_status nx_model_store_remove(const nx_model_store *store, const char *name, uint32_t version,
                                nx_error *err);

/* Makes a version the active one, restarts included; after a failure the one before is it. Errors:
 * NX_ERR_NOT_FOUND, NX_ERR_IO, NX_ERR_NO_MEMORY. */
nx_status nx_model_store_activate(const nx_model_store *store, const char *name, uint32_t version,
                                  nx_error *err);

#endif
