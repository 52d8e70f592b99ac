/* The folder of models changed: versions added, removed and pinned, whole or not at all. */
#include "engine/model_store.h"

#include "engine/model_store_internal.h"

#include "base/buffer.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define INCOMING     ".incoming."
#define REMOVED      ".removed."
#define UPLOAD       ".upload." /* files that the HTTP server writes here */
#define STALE_S      (24L * 3600)
#define COPY_BYTES   ((size_t)1 << 20)
#define COMMIT_TRIES 100

/* --- adding -------------------------------------------------------------------------------------
 */

static void remove_flat_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        (void)unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." refuse */
    }
    closedir(dir);
    (void)rmdir(folder);
}

void nx_model_store_discard(const char *folder)
{
    if (folder != NULL) {
        remove_flat_folder(folder);
    }
}

void nx_model_store_rename_in(nx_error *err, const char *path, const char *name)
{
    char before[sizeof err->message];
    size_t length = strlen(path);
    char *at = length > 0 ? strstr(err->message, path) : NULL;
    while (at != NULL) {
        snprintf(before, sizeof before, "%s", at + length);
        size_t room = sizeof err->message - (size_t)(at - err->message);
        int used = snprintf(at, room, "%s", name);
        at += used > 0 && (size_t)used < room ? (size_t)used : room - 1;
        snprintf(at, sizeof err->message - (size_t)(at - err->message), "%s", before);
        at = strstr(at, path);
    }
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* What a process that was killed left behind. */
static void remove_stale(const nx_model_store *store)
{
    DIR *dir = opendir(store->folder);
    for (struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL;
         entry = readdir(dir)) {
        struct stat info;
        bool folder = has_prefix(entry->d_name, INCOMING) || has_prefix(entry->d_name, REMOVED);
        if ((!folder && !has_prefix(entry->d_name, UPLOAD)) ||
            fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
            time(NULL) - info.st_mtim.tv_sec < STALE_S) {
            continue;
        }
        if (!folder) {
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        } else if (S_ISDIR(info.st_mode)) {
            char *path = nx_model_store_join("%s/%s", store->folder, entry->d_name);
            nx_model_store_discard(path);
            free(path);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

nx_status nx_model_store_begin(const nx_model_store *store, char **folder, nx_error *err)
{
    *folder = NULL;
    nx_status status = nx_file_make_dirs(store->folder, err);
    if (status != NX_OK) {
        return status;
    }
    remove_stale(store);
    char *path = nx_model_store_join("%s/" INCOMING "XXXXXX", store->folder);
    if (path == NULL) {
        return nx_model_store_no_memory(err);
    }
    if (mkdtemp(path) == NULL || chmod(path, 0755) != 0) {
        status =
            nx_error_set_errno(err, NX_ERR_IO, errno, "cannot make a folder in %s", store->folder);
        free(path);
        return status;
    }
    *folder = path;
    return NX_OK;
}

/* Copies until the end; 0, or an errno, or -1 for more than max_bytes. */
static int copy_bytes(int from, int to, uint64_t max_bytes, char *room)
{
    uint64_t total = 0;
    for (;;) {
        ssize_t got = read(from, room, COPY_BYTES);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? errno : 0;
        }
        total += (uint64_t)got;
        if (total > max_bytes) {
            return -1;
        }
        for (ssize_t put = 0; put < got;) {
            ssize_t step = write(to, room + put, (size_t)(got - put));
            if (step < 0 && errno != EINTR) {
                return errno;
            }
            put += step > 0 ? step : 0;
        }
    }
}

static nx_status copy_file(int from, const char *target, const char *path, uint64_t max_bytes,
                           nx_error *err)
{
    char *room = malloc(COPY_BYTES);
    int to = room != NULL ? open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644) : -1;
    nx_status status = NX_OK;
    if (room == NULL) {
        return nx_model_store_no_memory(err);
    }
    if (to < 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", target);
    } else {
        int failure = copy_bytes(from, to, max_bytes, room);
        if (close(to) != 0 && failure == 0) {
            failure = errno;
        }
        if (failure < 0) {
            status =
                nx_error_set(err, NX_ERR_TOO_LARGE, "%s is larger than the limit of %llu bytes",
                             path, (unsigned long long)max_bytes);
        } else if (failure > 0) {
            status =
                nx_error_set_errno(err, NX_ERR_IO, failure, "cannot copy %s to %s", path, target);
        }
    }
    free(room);
    return status;
}

nx_status nx_model_store_copy(const char *folder, const char *file, const char *path,
                              uint64_t max_bytes, nx_error *err)
{
    /* O_NONBLOCK: a named pipe is refused below instead of waiting for a writer */
    int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    if (from < 0 || fstat(from, &info) != 0) {
        nx_status status = nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO,
                                              errno, "cannot open %s", path);
        if (from >= 0) {
            close(from);
        }
        return status;
    }
    char *target = nx_model_store_join("%s/%s", folder, file);
    nx_status status = NX_OK;
    if (target == NULL) {
        status = nx_model_store_no_memory(err);
    } else if (!S_ISREG(info.st_mode)) {
        status = nx_error_set(err, NX_ERR_INVALID, "%s is not a regular file", path);
    } else {
        status = copy_file(from, target, path, max_bytes, err);
    }
    free(target);
    close(from);
    return status;
}

/* fsync of a file, or of a folder for the names in it. */
static nx_status sync_path(const char *path, nx_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int failure = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return failure == 0 ? NX_OK
                        : nx_error_set_errno(err, NX_ERR_IO, failure, "cannot sync %s", path);
}

static nx_status sync_files(const char *folder, nx_stored_kind kind, nx_error *err)
{
    static const char *const files[][2] = {
        [NX_STORED_DETECTOR] = {NX_MODEL_STORE_MODEL, NULL},
        [NX_STORED_SAM] = {NX_MODEL_STORE_ENCODER, NX_MODEL_STORE_DECODER},
    };
    nx_status status = NX_OK;
    for (size_t i = 0; i < 2 && files[kind][i] != NULL && status == NX_OK; i++) {
        char *path = nx_model_store_join("%s/%s", folder, files[kind][i]);
        status = path != NULL ? sync_path(path, err) : nx_model_store_no_memory(err);
        free(path);
    }
    return status == NX_OK ? sync_path(folder, err) : status;
}

/* Renames the folder to the first free version from `version` on: another process may have taken
 * it since it was looked up. *target is where it lies then; the caller frees it. */
static nx_status take_version(const char *folder, const char *model_folder, uint32_t *version,
                              char **target, nx_error *err)
{
    for (int i = 0; i < COMMIT_TRIES && *version <= NX_MODEL_VERSION_MAX; i++, (*version)++) {
        *target = nx_model_store_join("%s/%u", model_folder, *version);
        if (*target == NULL) {
            return nx_model_store_no_memory(err);
        }
        int failure = rename(folder, *target) == 0 ? 0 : errno;
        if (failure == 0) {
            return NX_OK;
        }
        free(*target);
        *target = NULL;
        if (failure != EEXIST && failure != ENOTEMPTY && failure != ENOTDIR) {
            return nx_error_set_errno(err, NX_ERR_IO, failure, "cannot put the model into %s",
                                      model_folder);
        }
    }
    return nx_error_set(err, NX_ERR_IO, "%s has no version left", model_folder);
}

static nx_status put_active(const char *path, const char *line, nx_error *err)
{
    if (line != NULL) {
        return nx_file_write(path, line, strlen(line), err);
    }
    return unlink(path) == 0 || errno == ENOENT
               ? NX_OK
               : nx_error_set_errno(err, NX_ERR_IO, errno, "cannot remove %s", path);
}

/* Makes `active` say this, restarts included; NULL: it is to be gone. After a failure it says what
 * it said before. */
static nx_status write_active(const char *model_folder, const char *line, nx_error *err)
{
    char *path = nx_model_store_join("%s/" NX_MODEL_STORE_ACTIVE, model_folder);
    if (path == NULL) {
        return nx_model_store_no_memory(err);
    }
    nx_buffer before = NX_BUFFER_INIT;
    nx_status status = nx_file_read(path, NX_MODEL_STORE_MAX_ACTIVE_BYTES, &before, err);
    bool there = status == NX_OK;
    if (there || status == NX_ERR_NOT_FOUND) {
        status = there || line != NULL ? put_active(path, line, err) : NX_OK;
        if (status == NX_OK && line != NULL) {
            status = sync_path(path, err);
        }
        if (status == NX_OK && (there || line != NULL)) {
            status = sync_path(model_folder, err);
        }
        if (status != NX_OK) {
            (void)put_active(path, there ? nx_buffer_cstr(&before) : NULL, NULL);
        }
    }
    nx_buffer_free(&before);
    free(path);
    return status;
}

/* What a folder that is to be a version holds, and what the model has so far. */
static nx_status look_before(const nx_model_store *store, const char *folder, const char *name,
                             nx_stored_model *model, nx_error *err)
{
    nx_stored_version files = {0};
    nx_status status = nx_model_name_check(name, err);
    if (status == NX_OK && !nx_model_store_recognise(folder, &files)) {
        status = nx_error_set(err, NX_ERR_INVALID,
                              "%s holds neither " NX_MODEL_STORE_MODEL
                              " nor " NX_MODEL_STORE_ENCODER " and " NX_MODEL_STORE_DECODER,
                              folder);
    }
    if (status == NX_OK) {
        status = sync_files(folder, files.kind, err);
    }
    if (status == NX_OK) {
        status = nx_model_store_scan(store, name, model, err);
    }
    if (status == NX_OK && model->count > 0 &&
        model->versions[model->count - 1].kind != files.kind) {
        status = nx_error_set(
            err, NX_ERR_INVALID, "%s is the name of a model that %s: choose another name", name,
            files.kind == NX_STORED_SAM ? "detects" : "segments by points and boxes");
    }
    return status;
}

/* Renames the folder to this version and to no other. */
static nx_status take_exactly(const char *folder, const char *model_folder, uint32_t version,
                              char **target, nx_error *err)
{
    uint32_t taken = version;
    nx_stored_version there = {0};
    char *path = nx_model_store_join("%s/%u", model_folder, version);
    if (path == NULL) {
        return nx_model_store_no_memory(err);
    }
    bool is_there = nx_model_store_recognise(path, &there);
    free(path);
    nx_status status = is_there ? NX_OK : take_version(folder, model_folder, &taken, target, err);
    if (status == NX_OK && taken != version) {
        (void)rename(*target, folder);
        free(*target);
        *target = NULL;
    }
    return status != NX_OK || (!is_there && taken == version)
               ? status
               : nx_error_set(err, NX_ERR_CONFLICT, "%s has a version %u already", model_folder,
                              version);
}

/* Which version is active before the new one comes. */
static nx_status pin(const char *model_folder, const nx_stored_model *model, nx_error *err)
{
    char line[16];
    snprintf(line, sizeof line, "%u\n", model->active);
    return model->count > 0 && !model->pinned ? write_active(model_folder, line, err) : NX_OK;
}

/* stays: what was active is active afterwards; else the new one is. *version 0: the next. */
static nx_status install(const nx_model_store *store, const char *folder, const char *name,
                         bool stays, uint32_t *version, nx_error *err)
{
    nx_stored_model model = {0};
    char *target = NULL;
    char *model_folder = nx_model_store_join("%s/%s", store->folder, name);
    nx_status status = model_folder != NULL ? look_before(store, folder, name, &model, err)
                                            : nx_model_store_no_memory(err);
    bool made = status == NX_OK && model.count == 0;
    bool pins = stays && status == NX_OK && made == false && !model.pinned;
    bool flat = *version == 1 && nx_stored_model_version(&model, 1) != NULL;
    if (status == NX_OK) {
        status = nx_file_make_dirs(model_folder, err);
    }
    if (status == NX_OK && stays) {
        status = pin(model_folder, &model, err);
    }
    if (status == NX_OK && *version != 0) {
        status = flat ? nx_error_set(err, NX_ERR_CONFLICT, "%s has a version 1 already", name)
                      : take_exactly(folder, model_folder, *version, &target, err);
    } else if (status == NX_OK) {
        *version = model.count > 0 ? model.versions[model.count - 1].version + 1 : 1;
        status = take_version(folder, model_folder, version, &target, err);
    }
    if (status == NX_OK) {
        status = sync_path(model_folder, err);
    }
    if (status == NX_OK) {
        status = sync_path(store->folder, err);
    }
    if (status == NX_OK && !stays) {
        status = write_active(model_folder, NULL, err);
    }
    if (status != NX_OK && target != NULL) {
        (void)rename(target, folder); /* nobody is to find what may not last */
    }
    if (status != NX_OK && pins) {
        (void)write_active(model_folder, NULL, NULL);
    }
    if (status != NX_OK && made) {
        (void)rmdir(model_folder); /* made in vain */
    }
    free(target);
    free(model_folder);
    nx_stored_model_free(&model);
    return status;
}

nx_status nx_model_store_install(const nx_model_store *store, const char *folder, const char *name,
                                 uint32_t *version, nx_error *err)
{
    return install(store, folder, name, true, version, err);
}

nx_status nx_model_store_commit(const nx_model_store *store, const char *folder, const char *name,
                                uint32_t *version, nx_error *err)
{
    *version = 0;
    return install(store, folder, name, false, version, err);
}

/* --- changing ----------------------------------------------------------------------------------
 */

/* Out of sight in one step, into a new folder whose name the caller frees. */
static nx_status put_aside(const nx_model_store *store, const char *path, bool flat, char **aside,
                           nx_error *err)
{
    char *folder = nx_model_store_join("%s/" REMOVED "XXXXXX", store->folder);
    bool made = folder != NULL && mkdtemp(folder) != NULL;
    char *target = made && flat ? nx_model_store_join("%s/" NX_MODEL_STORE_MODEL, folder) : NULL;
    nx_status status = NX_OK;
    if (folder == NULL || (made && flat && target == NULL)) {
        status = nx_model_store_no_memory(err);
    } else if (!made || rename(path, flat ? target : folder) != 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot remove %s", path);
    }
    if (status != NX_OK && made) {
        (void)rmdir(folder);
    }
    if (status != NX_OK) {
        free(folder);
        folder = NULL;
    }
    free(target);
    *aside = folder;
    return status;
}

static void put_back(const char *path, bool flat, const char *aside)
{
    char *file = flat ? nx_model_store_join("%s/" NX_MODEL_STORE_MODEL, aside) : NULL;
    if (!flat) {
        (void)rename(aside, path);
    } else if (file != NULL && rename(file, path) == 0) {
        (void)rmdir(aside);
    }
    free(file);
}

/* One version, or with 0 all of them; after a failure each lies where it lay. */
static nx_status remove_versions(const nx_model_store *store, const nx_stored_model *model,
                                 uint32_t version, nx_error *err)
{
    char **asides = calloc(model->count, sizeof *asides);
    char **paths = calloc(model->count, sizeof *paths);
    nx_status status = asides != NULL && paths != NULL ? NX_OK : nx_model_store_no_memory(err);
    for (size_t i = 0; i < model->count && status == NX_OK; i++) {
        const nx_stored_version *one = &model->versions[i];
        if (version != 0 && one->version != version) {
            continue;
        }
        paths[i] =
            one->flat
                ? nx_model_store_join("%s/%s" NX_MODEL_STORE_ENDING, store->folder, model->name)
                : nx_model_store_join("%s/%s/%u", store->folder, model->name, one->version);
        status = paths[i] != NULL ? put_aside(store, paths[i], one->flat, &asides[i], err)
                                  : nx_model_store_no_memory(err);
    }
    for (size_t i = 0; i < model->count && asides != NULL && paths != NULL; i++) {
        if (status == NX_OK) {
            nx_model_store_discard(asides[i]);
        } else if (asides[i] != NULL) {
            put_back(paths[i], model->versions[i].flat, asides[i]);
        }
        free(asides[i]);
        free(paths[i]);
    }
    free(asides);
    free(paths);
    return status;
}

static nx_status no_version(const nx_stored_model *model, uint32_t version, nx_error *err)
{
    nx_buffer there = NX_BUFFER_INIT;
    for (size_t i = 0; i < model->count && i < NX_MODEL_STORE_MAX_LISTED; i++) {
        nx_buffer_printf(&there, "%s%u", i > 0 ? ", " : "", model->versions[i].version);
    }
    nx_status status =
        nx_error_set(err, NX_ERR_NOT_FOUND, "model %s has no version %u; there: %.200s",
                     model->name, version, nx_buffer_cstr(&there));
    nx_buffer_free(&there);
    return status;
}

nx_status nx_model_store_remove(const nx_model_store *store, const char *name, uint32_t version,
                                nx_error *err)
{
    nx_stored_model model = {0};
    nx_status status = nx_model_store_find(store, name, &model, err);
    if (status != NX_OK) {
        return status;
    }
    if (version != 0 && nx_stored_model_version(&model, version) == NULL) {
        status = no_version(&model, version, err);
    }
    if (status == NX_OK) {
        status = remove_versions(store, &model, version, err);
    }
    char *folder = nx_model_store_join("%s/%s", store->folder, name);
    char *active = nx_model_store_join("%s/%s/" NX_MODEL_STORE_ACTIVE, store->folder, name);
    bool all = version == 0 || model.count == 1;
    if (status == NX_OK && active != NULL && (all || (model.pinned && model.active == version))) {
        (void)unlink(active); /* it would name nothing */
    }
    if (status == NX_OK && folder != NULL) {
        (void)rmdir(folder); /* refuses while there is anything in it */
    }
    free(folder);
    free(active);
    nx_stored_model_free(&model);
    return status;
}

nx_status nx_model_store_activate(const nx_model_store *store, const char *name, uint32_t version,
                                  nx_error *err)
{
    nx_stored_model model = {0};
    nx_status status = nx_model_store_find(store, name, &model, err);
    if (status != NX_OK) {
        return status;
    }
    char *folder = nx_model_store_join("%s/%s", store->folder, name);
    if (folder == NULL) {
        status = nx_model_store_no_memory(err);
    } else if (nx_stored_model_version(&model, version) == NULL) {
        status = no_version(&model, version, err);
    } else {
        char line[16];
        bool highest = model.versions[model.count - 1].version == version; /* is it by itself */
        snprintf(line, sizeof line, "%u\n", version);
        status = write_active(folder, highest ? NULL : line, err);
    }
    free(folder);
    nx_stored_model_free(&model);
    return status;
}
