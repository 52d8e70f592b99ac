/* Models between the disk and memory: where a version lies, opening, trying and freeing it. */
#include "base/clock.h"
#include "base/log.h"
#include "engine/registry_internal.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- finding ------------------------------------------------------------------------------------
 */

static nx_status find_fixed(const nx_registry *registry, uint32_t version, nx_registry_source *out,
                            nx_error *err)
{
    struct stat info;
    if (version > 1) {
        return nx_error_set(err, NX_ERR_NOT_FOUND, "model %s has no version %u",
                            registry->default_name, version);
    }
    out->version = 1;
    out->active = true;
    out->path = strdup(registry->fixed_path);
    if (stat(registry->fixed_path, &info) == 0) {
        out->stamp = (nx_file_stamp){
            .bytes = (uint64_t)info.st_size,
            .changed_s = info.st_mtim.tv_sec,
        };
    }
    return out->path != NULL ? NX_OK : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
}

static nx_status find_paths(const nx_registry *registry, const char *name,
                            const nx_stored_version *version, nx_registry_source *out,
                            nx_error *err)
{
    bool sam = version->kind == NX_STORED_SAM;
    nx_status status = nx_model_store_path(registry->store, name, version,
                                           sam ? "encoder.onnx" : "model.onnx", &out->path, err);
    if (status == NX_OK && sam) {
        status =
            nx_model_store_path(registry->store, name, version, "decoder.onnx", &out->decoder, err);
    }
    return status;
}

static nx_status find_stored(const nx_registry *registry, const char *name, uint32_t version,
                             nx_registry_source *out, nx_error *err)
{
    nx_stored_model model = {0};
    nx_status status = nx_model_store_find(registry->store, name, &model, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_stored_version *found = nx_stored_model_version(&model, version);
    if (found == NULL) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "model %s has no version %u", name, version);
    } else {
        out->version = found->version;
        out->kind = found->kind;
        out->active = found->version == model.active;
        out->stamp = (nx_file_stamp){found->bytes, found->added_s, found->mark};
        status = find_paths(registry, name, found, out, err);
    }
    nx_stored_model_free(&model);
    return status;
}

nx_status nx_registry_find(const nx_registry *registry, const char *name, uint32_t version,
                           nx_registry_source *out, nx_error *err)
{
    *out = (nx_registry_source){0};
    snprintf(out->name, sizeof out->name, "%s", name);
    nx_status status = nx_registry_is_fixed(registry, name)
                           ? find_fixed(registry, version, out, err)
                           : find_stored(registry, name, version, out, err);
    snprintf(out->label, sizeof out->label, "%s:%u", out->name, out->version);
    return status;
}

void nx_registry_source_end(nx_registry_source *from)
{
    free(from->path);
    free(from->decoder);
    from->path = NULL;
    from->decoder = NULL;
}

/* --- opening ------------------------------------------------------------------------------------
 */

static uint64_t resident_bytes(void)
{
    char line[128] = "";
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        if (fgets(line, sizeof line, file) == NULL) {
            line[0] = '\0';
        }
        (void)fclose(file);
    }
    char *second = line; /* the first number is the address space */
    (void)strtoull(line, &second, 10);
    return strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static nx_status open_detector(nx_registry *registry, const nx_registry_source *from,
                               nx_model **out, nx_error *err)
{
    nx_model_options options = registry->model;
    options.name = from->name;
    nx_status status = nx_model_open(registry->runtime, from->path, &options, out, err);
    if (status == NX_OK) {
        atomic_store(&registry->device, nx_model_get_spec(*out)->device);
    } else {
        nx_model_store_rename_in(err, from->path,
                                 from->label[0] != '\0' ? from->label : "the file");
    }
    return status;
}

static nx_status open_sam(nx_registry *registry, const nx_registry_source *from, bool prove,
                          nx_sam **out, nx_error *err)
{
    nx_sam_options options = registry->sam;
    options.name = from->name;
    nx_status status = nx_sam_new(registry->runtime, from->path, from->decoder, &options, out, err);
    if (status == NX_OK) {
        status = nx_sam_open(*out, err);
    }
    if (status == NX_OK && prove) {
        status = nx_sam_try(*out, err);
    }
    if (status != NX_OK) {
        char label[sizeof from->label + 16];
        const char *of = from->label[0] != '\0' ? "/" : "";
        snprintf(label, sizeof label, "%s%sencoder.onnx", from->label, of);
        nx_model_store_rename_in(err, from->path, label);
        snprintf(label, sizeof label, "%s%sdecoder.onnx", from->label, of);
        nx_model_store_rename_in(err, from->decoder, label);
        nx_sam_free(*out);
        *out = NULL;
    }
    nx_runtime_trim(registry->runtime);
    return status;
}

/* A handle with one reference, which is the caller's, and no version yet. */
static nx_status open_handle(nx_registry *registry, const nx_registry_source *from, bool prove,
                             nx_registry_handle **out, nx_error *err)
{
    *out = NULL;
    nx_registry_handle *handle = calloc(1, sizeof *handle);
    if (handle == NULL) {
        nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
        return NX_ERR_NO_MEMORY;
    }
    *handle = (nx_registry_handle){.registry = registry, .refs = 1};
    memcpy(handle->name, from->name, sizeof handle->name);
    uint64_t before = resident_bytes();
    int64_t start = nx_clock_now_ns();
    nx_status status = from->kind == NX_STORED_SAM
                           ? open_sam(registry, from, prove, &handle->sam, err)
                           : open_detector(registry, from, &handle->model, err);
    if (status != NX_OK) {
        free(handle);
        return status;
    }
    uint64_t after = resident_bytes();
    handle->memory_bytes = after > before ? after - before : 0;
    handle->loaded_s = time(NULL);
    handle->load_ns = nx_clock_now_ns() - start;
    *out = handle;
    return NX_OK;
}

nx_status nx_registry_open(nx_registry *registry, nx_registry_source *from, bool prove,
                           nx_registry_handle **out, nx_error *err)
{
    nx_registry_handle *handle = from->tried;
    nx_status status = NX_OK;
    *out = NULL;
    if (handle == NULL) {
        status = open_handle(registry, from, prove, &handle, err);
    } else if (handle->sam != NULL) {
        status = nx_sam_moved(handle->sam, from->path, from->decoder, err);
    } else {
        status = nx_model_moved(handle->model, from->path, err);
    }
    if (status != NX_OK) {
        return status;
    }
    from->tried = NULL;
    handle->version = from->version;
    handle->stamp = from->stamp;
    nx_log_info("engine", "model %s is in memory (%.0f ms)", from->label,
                nx_clock_ms(handle->load_ns));
    *out = handle;
    return NX_OK;
}

/* --- trying -------------------------------------------------------------------------------------
 */

static char *path_in(const char *folder, const char *file)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, file) < 0 ? NULL : path;
}

nx_status nx_registry_try(nx_registry *registry, const char *name, const char *folder,
                          nx_registry_handle **out, nx_error *err)
{
    nx_registry_source from = {.kind = NX_STORED_DETECTOR, .path = path_in(folder, "model.onnx")};
    nx_status status = NX_OK;
    *out = NULL;
    snprintf(from.name, sizeof from.name, "%s", name);
    if (from.path != NULL && access(from.path, F_OK) != 0) {
        free(from.path);
        from.kind = NX_STORED_SAM;
        from.path = path_in(folder, "encoder.onnx");
        from.decoder = path_in(folder, "decoder.onnx");
    }
    if (from.path == NULL || (from.kind == NX_STORED_SAM && from.decoder == NULL)) {
        nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
        status = NX_ERR_NO_MEMORY;
    } else {
        status = open_handle(registry, &from, true, out, err);
    }
    nx_registry_source_end(&from);
    nx_runtime_trim(registry->runtime);
    return status;
}

/* --- freeing ------------------------------------------------------------------------------------
 */

void nx_handle_free(nx_registry_handle *handle)
{
    if (handle != NULL) {
        nx_model_free(handle->model);
        nx_sam_free(handle->sam);
        free(handle);
    }
}

/*
 * malloc_trim gives back what is free inside a thread's heap, but not its end (glibc: heap_trim),
 * where a graph that was read and freed leaves as much as its file holds. Freeing a piece of over
 * 64 kB makes malloc look at that end, and the threshold decides. Setting it ends its adapting;
 * afterwards it is half of what it could have become.
 */
static void trim_heap_end(void)
{
    mallopt(M_TRIM_THRESHOLD, 0);
    void *volatile piece = malloc((size_t)100 << 10); /* volatile: not to be optimised away */
    free(piece);
    mallopt(M_TRIM_THRESHOLD, 32 << 20);
}

void nx_registry_free_trash(nx_registry *registry)
{
    pthread_mutex_lock(&registry->lock);
    nx_registry_handle *list = registry->trash;
    registry->trash = NULL;
    pthread_mutex_unlock(&registry->lock);
    bool any = list != NULL;
    while (list != NULL) {
        nx_registry_handle *handle = list;
        list = handle->next;
        nx_log_info("engine", "model %s:%u is out of memory", handle->name, handle->version);
        nx_handle_free(handle);
    }
    if (any) {
        nx_runtime_trim(registry->runtime);
        malloc_trim(0); /* the graph's many small pieces would else stay with the process */
        trim_heap_end();
    }
}
