#include "engine/model_store.h"

#include "engine/model_store_internal.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/suggest.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- names --------------------------------------------------------------------------------------
 */

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text);
    size_t size = strlen(ending);
    return length > size && strcmp(text + length - size, ending) == 0;
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool name_is_sound(const char *name)
{
    size_t length = 0;
    for (; name[length] != '\0'; length++) {
        char c = name[length];
        bool inner = length > 0 && (c == '.' || c == '_' || c == '-');
        if (length == NX_MODEL_NAME_MAX || (!is_alnum(c) && !inner)) {
            return false;
        }
    }
    return length > 0 && !ends_with(name, NX_MODEL_STORE_ENDING);
}

nx_status nx_model_name_check(const char *name, nx_error *err)
{
    if (name_is_sound(name)) {
        return NX_OK;
    }
    return nx_error_set(err, NX_ERR_INVALID,
                        "'%.80s' can't name a model: use 1 to %d letters, digits, '.', '_' and "
                        "'-', beginning with a letter or digit, without %s at the end",
                        name, NX_MODEL_NAME_MAX, NX_MODEL_STORE_ENDING);
}

/* A version is written in one way only: "1", not "01" or "+1". 0 when it is not one. */
static uint32_t parse_version(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length > 9 || text[0] == '0' || text[strspn(text, "0123456789")] != '\0') {
        return 0;
    }
    return (uint32_t)strtoul(text, NULL, 10);
}

nx_status nx_model_reference_parse(const char *text, char *name, uint32_t *version, nx_error *err)
{
    const char *colon = strchr(text, ':');
    size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);
    *version = 0;
    if (colon != NULL) {
        *version = parse_version(colon + 1);
        if (*version == 0) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "'%.80s' has no version behind the colon: write NAME:VERSION, as "
                                "in yolov8n:2",
                                text);
        }
    }
    size_t kept = length < NX_MODEL_NAME_MAX + 1 ? length : NX_MODEL_NAME_MAX + 1;
    char copy[NX_MODEL_NAME_MAX + 2]; /* a name that is too long stays so */
    memcpy(copy, text, kept);
    copy[kept] = '\0';
    nx_status status = nx_model_name_check(copy, err);
    if (status == NX_OK) {
        memcpy(name, copy, kept + 1);
    }
    return status;
}

/* --- paths --------------------------------------------------------------------------------------
 */

char *nx_model_store_join(const char *format, ...)
{
    char *path = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&path, format, args);
    va_end(args);
    return length < 0 ? NULL : path;
}

nx_status nx_model_store_new(const char *data_dir, nx_model_store **out, nx_error *err)
{
    *out = NULL;
    nx_model_store *store = calloc(1, sizeof *store);
    char *folder = nx_model_store_join("%s/models", data_dir);
    if (store == NULL || folder == NULL) {
        free(store);
        free(folder);
        return nx_model_store_no_memory(err);
    }
    store->folder = folder;
    *out = store;
    return NX_OK;
}

void nx_model_store_free(nx_model_store *store)
{
    if (store != NULL) {
        free(store->folder);
        free(store);
    }
}

const char *nx_model_store_folder(const nx_model_store *store)
{
    return store->folder;
}

nx_status nx_model_store_path(const nx_model_store *store, const char *name,
                              const nx_stored_version *version, const char *file, char **out,
                              nx_error *err)
{
    *out = version->flat
               ? nx_model_store_join("%s/%s" NX_MODEL_STORE_ENDING, store->folder, name)
               : nx_model_store_join("%s/%s/%u/%s", store->folder, name, version->version, file);
    return *out != NULL ? NX_OK : nx_model_store_no_memory(err);
}

/* --- looking ------------------------------------------------------------------------------------
 */

static bool add_file(const char *folder, const char *file, nx_stored_version *out)
{
    struct stat info;
    char *path = nx_model_store_join("%s/%s", folder, file);
    bool there = path != NULL && stat(path, &info) == 0 && S_ISREG(info.st_mode);
    free(path);
    if (there) {
        out->bytes += (uint64_t)info.st_size;
        out->added_s = info.st_mtim.tv_sec;
        out->mark = 31 * out->mark + ((uint64_t)info.st_ino << 30 ^ (uint64_t)info.st_mtim.tv_nsec);
    }
    return there;
}

static bool has_mark(const char *folder)
{
    char *path = nx_model_store_join("%s/" NX_MODEL_STORE_SHARED, folder);
    bool there = path != NULL && access(path, F_OK) == 0;
    free(path);
    return there;
}

/* Tells by its files what a version's folder holds. */
bool nx_model_store_recognise(const char *folder, nx_stored_version *out)
{
    out->shared = has_mark(folder);
    if (add_file(folder, NX_MODEL_STORE_MODEL, out)) {
        out->kind = NX_STORED_DETECTOR;
        return true;
    }
    out->kind = NX_STORED_SAM;
    return add_file(folder, NX_MODEL_STORE_ENCODER, out) &&
           add_file(folder, NX_MODEL_STORE_DECODER, out);
}

static bool add_version(nx_stored_model *model, const nx_stored_version *version)
{
    if ((model->count & (model->count - 1)) == 0) { /* full at each power of two */
        size_t capacity = model->count > 0 ? model->count * 2 : 1;
        nx_stored_version *grown = realloc(model->versions, capacity * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        model->versions = grown;
    }
    model->versions[model->count++] = *version;
    return true;
}

static int by_version(const void *a, const void *b)
{
    uint32_t first = ((const nx_stored_version *)a)->version;
    uint32_t second = ((const nx_stored_version *)b)->version;
    return first < second ? -1 : first > second;
}

/* Without files or memory to look with, nothing can be said of what is there. */
static bool is_passing(int failure)
{
    return failure == EMFILE || failure == ENFILE || failure == ENOMEM;
}

static nx_status read_active(const char *folder, nx_stored_model *model, nx_error *err)
{
    model->active = model->versions[model->count - 1].version;
    char *path = nx_model_store_join("%s/" NX_MODEL_STORE_ACTIVE, folder);
    nx_buffer text = NX_BUFFER_INIT;
    bool there = path != NULL && access(path, F_OK) == 0;
    nx_status status = path == NULL ? nx_model_store_no_memory(err) : NX_OK;
    if (there) {
        status = nx_file_read(path, NX_MODEL_STORE_MAX_ACTIVE_BYTES, &text, err);
    }
    if (there && status == NX_OK) {
        char line[65];
        snprintf(line, sizeof line, "%s", nx_buffer_cstr(&text));
        line[strcspn(line, "\r\n \t")] = '\0';
        uint32_t version = parse_version(line);
        if (version != 0 && nx_stored_model_version(model, version) != NULL) {
            model->active = version;
            model->pinned = true;
        }
    }
    nx_buffer_free(&text);
    free(path);
    /* what is no file, or too large, pins nothing */
    return status == NX_ERR_IO || status == NX_ERR_NO_MEMORY ? status : NX_OK;
}

/* The versions in NAME/. */
static nx_status scan_versions(const char *folder, nx_stored_model *model, nx_error *err)
{
    DIR *dir = opendir(folder);
    bool enough = true;
    if (dir == NULL && is_passing(errno)) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot look into %s", folder);
    }
    for (struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL && enough;
         entry = readdir(dir)) {
        nx_stored_version found = {.version = parse_version(entry->d_name)};
        if (found.version == 0 || model->count == NX_MODEL_MAX_STORED) {
            continue;
        }
        char *path = nx_model_store_join("%s/%s", folder, entry->d_name);
        if (path == NULL ||
            (nx_model_store_recognise(path, &found) && !add_version(model, &found))) {
            enough = false;
        }
        free(path);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return enough ? NX_OK : nx_model_store_no_memory(err);
}

/* All of a model; count stays 0 when there is nothing. */
nx_status nx_model_store_scan(const nx_model_store *store, const char *name, nx_stored_model *out,
                              nx_error *err)
{
    *out = (nx_stored_model){0};
    snprintf(out->name, sizeof out->name, "%s", name);
    char *folder = nx_model_store_join("%s/%s", store->folder, name);
    char file[NX_MODEL_NAME_MAX + sizeof NX_MODEL_STORE_ENDING];
    snprintf(file, sizeof file, "%s" NX_MODEL_STORE_ENDING, name);
    nx_stored_version flat = {.version = 1, .kind = NX_STORED_DETECTOR, .flat = true};
    nx_status status =
        folder != NULL ? scan_versions(folder, out, err) : nx_model_store_no_memory(err);
    if (status == NX_OK && nx_stored_model_version(out, 1) == NULL &&
        add_file(store->folder, file, &flat) && !add_version(out, &flat)) {
        status = nx_model_store_no_memory(err);
    }
    if (status == NX_OK && out->count > 0) {
        qsort(out->versions, out->count, sizeof *out->versions, by_version);
        status = read_active(folder, out, err);
    }
    free(folder);
    if (status != NX_OK) {
        nx_stored_model_free(out);
    }
    return status;
}

const nx_stored_version *nx_stored_model_version(const nx_stored_model *model, uint32_t version)
{
    uint32_t wanted = version != 0 ? version : model->active;
    for (size_t i = 0; i < model->count; i++) {
        if (model->versions[i].version == wanted) {
            return &model->versions[i];
        }
    }
    return NULL;
}

void nx_stored_model_free(nx_stored_model *model)
{
    if (model != NULL) {
        free(model->versions);
        *model = (nx_stored_model){0};
    }
}

void nx_stored_models_free(nx_stored_model *models, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        nx_stored_model_free(&models[i]);
    }
    free(models);
}

/* The model that an entry of the folder belongs to; false when it belongs to none. */
static bool name_of_entry(const char *entry, char *name)
{
    size_t length = strlen(entry);
    length -= ends_with(entry, NX_MODEL_STORE_ENDING) ? strlen(NX_MODEL_STORE_ENDING) : 0;
    if (length > NX_MODEL_NAME_MAX) {
        return false;
    }
    memcpy(name, entry, length);
    name[length] = '\0';
    return name_is_sound(name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

typedef char stored_name[NX_MODEL_NAME_MAX + 1];

/* Every name once, sorted; the caller frees *out. */
static nx_status list_names(const nx_model_store *store, stored_name **out, size_t *count,
                            nx_error *err)
{
    *out = NULL;
    *count = 0;
    DIR *dir = opendir(store->folder);
    if (dir == NULL) {
        return errno == ENOENT ? NX_OK
                               : nx_error_set_errno(err, NX_ERR_IO, errno, "cannot look into %s",
                                                    store->folder);
    }
    stored_name *names = calloc(2 * NX_MODEL_MAX_STORED, sizeof *names);
    if (names == NULL) {
        closedir(dir);
        return nx_model_store_no_memory(err);
    }
    size_t found = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL && found < 2 * NX_MODEL_MAX_STORED;
         entry = readdir(dir)) {
        found += name_of_entry(entry->d_name, names[found]);
    }
    closedir(dir);
    qsort(names, found, sizeof *names, by_name);
    size_t kept = 0;
    for (size_t i = 0; i < found; i++) {
        if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0) {
            memmove(names[kept++], names[i], sizeof *names);
        }
    }
    *out = names;
    *count = kept < NX_MODEL_MAX_STORED ? kept : NX_MODEL_MAX_STORED;
    return NX_OK;
}

nx_status nx_model_store_list(const nx_model_store *store, nx_stored_model **out, size_t *count,
                              nx_error *err)
{
    *out = NULL;
    *count = 0;
    stored_name *names = NULL;
    size_t name_count = 0;
    nx_status status = list_names(store, &names, &name_count, err);
    if (status != NX_OK || name_count == 0) {
        free(names);
        return status;
    }
    size_t found = 0;
    nx_stored_model *models = calloc(name_count, sizeof *models);
    status = models != NULL ? NX_OK : nx_model_store_no_memory(err);
    for (size_t i = 0; i < name_count && status == NX_OK; i++) {
        status = nx_model_store_scan(store, names[i], &models[found], err);
        found += status == NX_OK && models[found].count > 0;
    }
    free(names);
    if (status != NX_OK) {
        nx_stored_models_free(models, found);
        return status;
    }
    *out = models;
    *count = found;
    return NX_OK;
}

static nx_status not_found(const nx_model_store *store, const char *name, nx_error *err)
{
    nx_stored_model *models = NULL;
    size_t count = 0;
    const char *near = NULL;
    nx_buffer there = NX_BUFFER_INIT;
    if (nx_model_store_list(store, &models, &count, NULL) == NX_OK) {
        const char *names[NX_MODEL_STORE_MAX_LISTED];
        size_t shown = count < NX_MODEL_STORE_MAX_LISTED ? count : NX_MODEL_STORE_MAX_LISTED;
        for (size_t i = 0; i < shown; i++) {
            names[i] = models[i].name;
            nx_buffer_printf(&there, "%s%s", i > 0 ? ", " : "", names[i]);
        }
        near = nx_suggest(name, names, shown);
    }
    nx_status status =
        nx_error_set(err, NX_ERR_NOT_FOUND, "there is no model '%.64s'%s%s%s; there: %.200s", name,
                     near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                     near != NULL ? "'?" : "", there.size > 0 ? nx_buffer_cstr(&there) : "none");
    nx_buffer_free(&there);
    nx_stored_models_free(models, count);
    return status;
}

nx_status nx_model_store_find(const nx_model_store *store, const char *name, nx_stored_model *out,
                              nx_error *err)
{
    *out = (nx_stored_model){0};
    nx_status status = nx_model_name_check(name, err);
    if (status == NX_OK) {
        status = nx_model_store_scan(store, name, out, err);
    }
    if (status == NX_OK && out->count == 0) {
        status = not_found(store, name, err);
    }
    return status;
}
