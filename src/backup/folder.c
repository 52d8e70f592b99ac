/* The backups of a folder: which there are, what they hold, and those that go. */
#include "backup/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_MANIFEST ((size_t)1 << 30)

void nx_backup_rows_path(const char *id, char out[NX_VAULT_PATH_SIZE])
{
    snprintf(out, NX_VAULT_PATH_SIZE, "backups/%s/database.jsonl.zst", id);
}

void nx_backup_manifest_path(const char *id, char out[NX_VAULT_PATH_SIZE])
{
    snprintf(out, NX_VAULT_PATH_SIZE, "backups/%s/manifest.json", id);
}

/* --- listing --- */

typedef char backup_id[NX_BACKUP_ID_SIZE];

typedef struct listing {
    nx_vault *vault;
    backup_id *ids;
    size_t count;
    bool whole; /* those with a manifest, or those without */
} listing;

static nx_status take_id(void *user, const char *name, nx_error *err)
{
    listing *all = user;
    char path[NX_VAULT_PATH_SIZE];
    int64_t size = 0;
    if (!nx_manifest_is_id(name)) {
        return NX_OK;
    }
    nx_backup_manifest_path(name, path);
    if (nx_vault_size(all->vault, path, &size) != all->whole) {
        return NX_OK;
    }
    backup_id *more = realloc(all->ids, (all->count + 1) * sizeof *more);
    if (more == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the list of backups");
    }
    all->ids = more;
    snprintf(more[all->count++], sizeof *more, "%s", name);
    return NX_OK;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

static nx_status list(nx_vault *vault, bool whole, backup_id **ids, size_t *count, nx_error *err)
{
    listing all = {.vault = vault, .whole = whole};
    nx_status status = nx_vault_list(vault, "backups", take_id, &all, err);
    if (status != NX_OK) {
        free(all.ids);
        all = (listing){0};
    }
    if (all.count > 0) {
        qsort(all.ids, all.count, sizeof *all.ids, by_id);
    }
    *ids = all.ids;
    *count = all.count;
    return status;
}

nx_status nx_backup_list(nx_vault *vault, char (**ids)[NX_BACKUP_ID_SIZE], size_t *count,
                         nx_error *err)
{
    return list(vault, true, ids, count, err);
}

/* --- manifests --- */

static nx_status read_manifest(nx_vault *vault, const char *id, nx_manifest *out, nx_error *err)
{
    char path[NX_VAULT_PATH_SIZE];
    nx_buffer text = NX_BUFFER_INIT;
    nx_vault_reader *file = NULL;
    size_t got = 1;
    nx_backup_manifest_path(id, path);
    nx_status status = nx_vault_read(vault, path, &file, err);
    while (status == NX_OK && got > 0) {
        if (text.size > MOST_MANIFEST || !nx_buffer_reserve(&text, 65536)) {
            status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the manifest of %s", id);
            break;
        }
        status = nx_vault_get(file, text.data + text.size, 65536, &got, err);
        text.size += got;
    }
    nx_vault_read_end(file);
    if (status == NX_OK) {
        status = nx_manifest_read(text.data, text.size, out, err);
        if (status == NX_OK && strcmp(out->id, id) != 0) {
            nx_manifest_free(out);
            status = nx_error_set(err, NX_ERR_CORRUPT, "the manifest is that of another backup");
        }
    }
    nx_buffer_free(&text);
    return status == NX_OK ? NX_OK : nx_error_prefix(err, "backup %s", id);
}

nx_status nx_backup_manifest(nx_vault *vault, const char *id, nx_manifest *out, nx_error *err)
{
    backup_id *ids = NULL;
    size_t count = 0;
    const char *found = NULL;
    *out = (nx_manifest){0};
    nx_status status = nx_backup_list(vault, &ids, &count, err);
    for (size_t i = 0; i < count; i++) {
        if (id == NULL || strcmp(ids[i], id) == 0) {
            found = ids[i];
        }
    }
    if (status == NX_OK && found == NULL) {
        status = id == NULL ? nx_error_set(err, NX_ERR_NOT_FOUND, "there is no backup in %s yet",
                                           nx_vault_place(vault))
                            : nx_error_set(err, NX_ERR_NOT_FOUND,
                                           "there is no backup %.40s in %s; --list shows which "
                                           "there are",
                                           id, nx_vault_place(vault));
    }
    if (status == NX_OK) {
        status = read_manifest(vault, found, out, err);
    }
    free(ids);
    return status;
}

/* --- what goes --- */

static void remove_backup(nx_vault *vault, const char *id)
{
    char path[NX_VAULT_PATH_SIZE];
    nx_backup_manifest_path(id, path); /* first: without it there is no backup */
    nx_vault_remove(vault, path);
    snprintf(path, sizeof path, "backups/%s", id);
    nx_vault_remove(vault, path);
}

nx_status nx_backup_tidy(nx_vault *vault, nx_error *err)
{
    backup_id *halves = NULL;
    size_t count = 0;
    nx_vault_remove(vault, "tmp");
    nx_status status = list(vault, false, &halves, &count, err);
    for (size_t i = 0; i < count; i++) {
        remove_backup(vault, halves[i]);
    }
    free(halves);
    return status;
}

typedef char path_text[NX_VAULT_PATH_SIZE];

/* Where the objects are that backups name, in order and each once. */
typedef struct used_paths {
    nx_vault *vault;
    path_text *paths;
    size_t count;
    char folder[NX_VAULT_PATH_SIZE]; /* that is being looked at */
} used_paths;

static int by_path(const void *a, const void *b)
{
    return strcmp(a, b);
}

static nx_status add_used(used_paths *used, const nx_manifest *manifest, nx_error *err)
{
    size_t most = used->count + manifest->object_count + manifest->file_count;
    size_t kept = 0;
    path_text *more = realloc(used->paths, (most + 1) * sizeof *more);
    if (more == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the names of the objects");
    }
    used->paths = more;
    for (size_t i = 0; i < manifest->object_count; i++) {
        nx_vault_object_path(used->vault, manifest->objects[i].sha256, more[used->count++]);
    }
    for (size_t i = 0; i < manifest->file_count; i++) {
        nx_vault_object_path(used->vault, manifest->files[i].content.sha256, more[used->count++]);
    }
    if (used->count > 0) {
        qsort(more, used->count, sizeof *more, by_path);
    }
    for (size_t i = 0; i < used->count; i++) {
        if (i == 0 || strcmp(more[i], more[kept - 1]) != 0) {
            memmove(more[kept++], more[i], sizeof *more);
        }
    }
    used->count = kept;
    return NX_OK;
}

static nx_status remove_unused(void *user, const char *name, nx_error *err)
{
    const used_paths *used = user;
    path_text path;
    (void)err;
    if (snprintf(path, sizeof path, "%s/%s", used->folder, name) < (int)sizeof path &&
        (used->count == 0 ||
         bsearch(path, used->paths, used->count, sizeof path, by_path) == NULL)) {
        nx_vault_remove(used->vault, path);
    }
    return NX_OK;
}

static nx_status look_into(void *user, const char *name, nx_error *err)
{
    used_paths *used = user;
    return snprintf(used->folder, sizeof used->folder, "objects/%s", name) <
                   (int)sizeof used->folder
               ? nx_vault_list(used->vault, used->folder, remove_unused, used, err)
               : NX_OK;
}

nx_status nx_backup_prune(nx_vault *vault, size_t keep, size_t *removed, nx_error *err)
{
    backup_id *ids = NULL;
    size_t count = 0;
    used_paths used = {.vault = vault};
    nx_status status = nx_backup_list(vault, &ids, &count, err);
    size_t first = keep > 0 && count > keep ? count - keep : 0;
    *removed = 0;
    for (size_t i = first; i < count && status == NX_OK; i++) {
        nx_manifest manifest = {0};
        status = read_manifest(vault, ids[i], &manifest, err);
        if (status == NX_OK) {
            status = add_used(&used, &manifest, err);
            nx_manifest_free(&manifest);
        }
    }
    for (size_t i = 0; i < first && status == NX_OK; i++) {
        remove_backup(vault, ids[i]);
        (*removed)++;
    }
    if (status == NX_OK) {
        status = nx_vault_list(vault, "objects", look_into, &used, err);
    }
    free(used.paths);
    free(ids);
    return status;
}
