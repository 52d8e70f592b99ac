/* What this process changes of shared models, told to the database. */
#include "base/log.h"
#include "jobs/shared_models_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

nx_status nx_shared_models_number(nx_shared_models *shared, const char *name, uint32_t *version,
                                  nx_error *err)
{
    int64_t number = 0;
    nx_status status = nx_store_model_number(shared->database, name, *version, &number, err);
    if (status == NX_OK && number > (int64_t)NX_MODEL_VERSION_MAX) {
        status = nx_error_set(err, NX_ERR_CONFLICT, "model %s has no number left", name);
    }
    *version = status == NX_OK ? (uint32_t)number : *version;
    return status;
}

nx_status nx_shared_models_publish(nx_shared_models *shared, const char *name, uint32_t version,
                                   const nx_shared_upload *upload, const char *by, nx_error *err)
{
    nx_model_version row = {
        .name = name,
        .version = version,
        .kind = upload->kind == NX_STORED_SAM ? "sam" : "detector",
        .stored = upload->stored,
        .added_by = by,
        .file_count = upload->count,
    };
    for (size_t i = 0; i < upload->count; i++) {
        row.files[i] = (nx_model_file){.file = upload->files[i].name,
                                       .sha256 = upload->files[i].sha256,
                                       .size = upload->files[i].size};
    }
    nx_status status = nx_store_model_publish(shared->database, &row, err);
    if (status == NX_OK) {
        nx_shared_models_poke(shared);
    }
    return status;
}

/* What the database says of a name and a version. */
typedef struct knowledge {
    bool name;
    int64_t active;
    bool version; /* it is there */
} knowledge;

static nx_status ask(nx_shared_models *shared, const char *name, uint32_t version, knowledge *out,
                     nx_error *err)
{
    nx_models_known known = {0};
    nx_arena arena = nx_arena_make(0);
    nx_status status = nx_store_models_load(shared->database, INT64_MAX, &arena, &known, err);
    *out = (knowledge){.name = false};
    for (size_t i = 0; i < known.name_count && status == NX_OK; i++) {
        if (strcmp(known.names[i].name, name) == 0) {
            out->name = true;
            out->active = known.names[i].active;
        }
    }
    for (size_t i = 0; i < known.version_count && status == NX_OK; i++) {
        out->version |= strcmp(known.versions[i].name, name) == 0 &&
                        known.versions[i].version == version && !known.versions[i].removed;
    }
    nx_arena_free(&arena);
    return status;
}

/* A version of this host's own becomes one that all hosts have. */
static nx_status enter(nx_shared_models *shared, const char *name, uint32_t version, const char *by,
                       nx_error *err)
{
    nx_stored_model model = {0};
    char *paths[2] = {NULL, NULL};
    nx_shared_upload upload = {.count = 0};
    nx_status status = nx_model_store_find(shared->store, name, &model, err);
    const nx_stored_version *found =
        status == NX_OK ? nx_stored_model_version(&model, version) : NULL;
    if (status == NX_OK && found == NULL) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "model %s has no version %u", name, version);
    }
    bool sam = found != NULL && found->kind == NX_STORED_SAM;
    if (status == NX_OK) {
        status = nx_model_store_path(shared->store, name, found,
                                     sam ? "encoder.onnx" : "model.onnx", &paths[0], err);
    }
    if (status == NX_OK && sam) {
        status = nx_model_store_path(shared->store, name, found, "decoder.onnx", &paths[1], err);
    }
    if (status == NX_OK) {
        status = nx_shared_upload_take(shared, (const char *const *)paths, &upload, err);
    }
    if (status == NX_OK) {
        status = nx_shared_models_publish(shared, name, version, &upload, by, err);
    }
    nx_shared_upload_end(shared, &upload);
    free(paths[0]);
    free(paths[1]);
    nx_stored_model_free(&model);
    return status;
}

nx_status nx_shared_models_activate(nx_shared_models *shared, const char *name, uint32_t version,
                                    bool wanted, const char *by, nx_error *err)
{
    knowledge known;
    nx_status status = ask(shared, name, version, &known, err);
    bool nothing = known.name && known.active == version;
    /* another host may not have this name at all */
    bool own = shared->across && !known.name && !wanted;
    if (status != NX_OK || nothing || own) {
        return status;
    }
    status = shared->across && !known.version
                 ? enter(shared, name, version, by, err)
                 : nx_store_model_activate(shared->database, name, version, err);
    if (status == NX_OK) {
        nx_shared_models_poke(shared);
    }
    return status;
}

nx_status nx_shared_models_unload(nx_shared_models *shared, const char *name, uint32_t version,
                                  nx_error *err)
{
    nx_status status = nx_store_model_unload(shared->database, name, version, err);
    if (status == NX_OK) {
        nx_shared_models_poke(shared);
    }
    return status;
}

nx_status nx_shared_models_remove(nx_shared_models *shared, const char *name, uint32_t version,
                                  uint32_t successor, nx_error *err)
{
    knowledge known;
    nx_status status = ask(shared, name, version, &known, err);
    bool told = !shared->across || known.active != 0; /* else each host's disk says what serves */
    if (status == NX_OK) {
        status = nx_store_model_remove(shared->database, name, version, told ? successor : 0, err);
    }
    if (status == NX_OK) {
        nx_shared_models_poke(shared);
    }
    return status;
}
