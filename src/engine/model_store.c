#include "engine/model_store.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/suggest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MODEL_FILE       "model.onnx"
#define ENCODER_FILE     "encoder.onnx"
#define DECODER_FILE     "decoder.onnx"
#define ACTIVE_FILE      "active"
#define ENDING           ".onnx"
#define INCOMING         ".incoming."
#define REMOVED          ".removed."
#define UPLOAD           ".upload." /* files that the HTTP server writes here */
#define STALE_S          (24L * 3600)
#define COPY_BYTES       ((size_t)1 << 20)
#define COMMIT_TRIES     100
#define MAX_LISTED_404   20
#define MAX_ACTIVE_BYTES ((size_t)64)

struct nx_model_store {
    char *folder;
};

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
    return length > 0 && !ends_with(name, ENDING);
}

nx_status nx_model_name_check(const char *name, nx_error *err)
{
    if (name_is_sound(name)) {
        return NX_OK;
    }
    return nx_error_set(err, NX_ERR_INVALID,
                        "'%.80s' can't name a model: use 1 to %d letters, digits, '.', '_' and "
                        "'-', beginning with a letter or digit, without %s at the end",
                        name, NX_MODEL_NAME_MAX, ENDING);
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

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the models");
}

static char *join(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *join(const char *format, ...)
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
    char *folder = join("%s/models", data_dir);
    if (store == NULL || folder == NULL) {
        free(store);
        free(folder);
        return no_memory(err);
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
    *out = version->flat ? join("%s/%s" ENDING, store->folder, name)
                         : join("%s/%s/%u/%s", store->folder, name, version->version, file);
    return *out != NULL ? NX_OK : no_memory(err);
}

/* --- looking ------------------------------------------------------------------------------------
 */

static bool add_file(const char *folder, const char *file, nx_stored_version *out)
{
    struct stat info;
    char *path = join("%s/%s", folder, file);
    bool there = path != NULL && stat(path, &info) == 0 && S_ISREG(info.st_mode);
    free(path);
    if (there) {
        out->bytes += (uint64_t)info.st_size;
        out->added_s = info.st_mtim.tv_sec;
        out->mark = 31 * out->mark + ((uint64_t)info.st_ino << 30 ^ (uint64_t)info.st_mtim.tv_nsec);
    }
    return there;
}

/* Tells by its files what a version's folder holds. */
static bool recognise(const char *folder, nx_stored_version *out)
{
    if (add_file(folder, MODEL_FILE, out)) {
        out->kind = NX_STORED_DETECTOR;
        return true;
    }
    out->kind = NX_STORED_SAM;
    return add_file(folder, ENCODER_FILE, out) && add_file(folder, DECODER_FILE, out);
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
    char *path = join("%s/" ACTIVE_FILE, folder);
    nx_buffer text = NX_BUFFER_INIT;
    bool there = path != NULL && access(path, F_OK) == 0;
    nx_status status = path == NULL ? no_memory(err) : NX_OK;
    if (there) {
        status = nx_file_read(path, MAX_ACTIVE_BYTES, &text, err);
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
        char *path = join("%s/%s", folder, entry->d_name);
        if (path == NULL || (recognise(path, &found) && !add_version(model, &found))) {
            enough = false;
        }
        free(path);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return enough ? NX_OK : no_memory(err);
}

/* All of a model; count stays 0 when there is nothing. */
static nx_status scan_model(const nx_model_store *store, const char *name, nx_stored_model *out,
                            nx_error *err)
{
    *out = (nx_stored_model){0};
    snprintf(out->name, sizeof out->name, "%s", name);
    char *folder = join("%s/%s", store->folder, name);
    char file[NX_MODEL_NAME_MAX + sizeof ENDING];
    snprintf(file, sizeof file, "%s" ENDING, name);
    nx_stored_version flat = {.version = 1, .kind = NX_STORED_DETECTOR, .flat = true};
    nx_status status = folder != NULL ? scan_versions(folder, out, err) : no_memory(err);
    if (status == NX_OK && nx_stored_model_version(out, 1) == NULL &&
        add_file(store->folder, file, &flat) && !add_version(out, &flat)) {
        status = no_memory(err);
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
    length -= ends_with(entry, ENDING) ? strlen(ENDING) : 0;
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
        return no_memory(err);
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
    status = models != NULL ? NX_OK : no_memory(err);
    for (size_t i = 0; i < name_count && status == NX_OK; i++) {
        status = scan_model(store, names[i], &models[found], err);
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
        const char *names[MAX_LISTED_404];
        size_t shown = count < MAX_LISTED_404 ? count : MAX_LISTED_404;
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
        status = scan_model(store, name, out, err);
    }
    if (status == NX_OK && out->count == 0) {
        status = not_found(store, name, err);
    }
    return status;
}

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
            char *path = join("%s/%s", store->folder, entry->d_name);
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
    char *path = join("%s/" INCOMING "XXXXXX", store->folder);
    if (path == NULL) {
        return no_memory(err);
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
        return no_memory(err);
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
    char *target = join("%s/%s", folder, file);
    nx_status status = NX_OK;
    if (target == NULL) {
        status = no_memory(err);
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
        [NX_STORED_DETECTOR] = {MODEL_FILE, NULL},
        [NX_STORED_SAM] = {ENCODER_FILE, DECODER_FILE},
    };
    nx_status status = NX_OK;
    for (size_t i = 0; i < 2 && files[kind][i] != NULL && status == NX_OK; i++) {
        char *path = join("%s/%s", folder, files[kind][i]);
        status = path != NULL ? sync_path(path, err) : no_memory(err);
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
        *target = join("%s/%u", model_folder, *version);
        if (*target == NULL) {
            return no_memory(err);
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
    char *path = join("%s/" ACTIVE_FILE, model_folder);
    if (path == NULL) {
        return no_memory(err);
    }
    nx_buffer before = NX_BUFFER_INIT;
    nx_status status = nx_file_read(path, MAX_ACTIVE_BYTES, &before, err);
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
    if (status == NX_OK && !recognise(folder, &files)) {
        status = nx_error_set(
            err, NX_ERR_INVALID,
            "%s holds neither " MODEL_FILE " nor " ENCODER_FILE " and " DECODER_FILE, folder);
    }
    if (status == NX_OK) {
        status = sync_files(folder, files.kind, err);
    }
    if (status == NX_OK) {
        status = scan_model(store, name, model, err);
    }
    if (status == NX_OK && model->count > 0 &&
        model->versions[model->count - 1].kind != files.kind) {
        status = nx_error_set(
            err, NX_ERR_INVALID, "%s is the name of a model that %s: choose another name", name,
            files.kind == NX_STORED_SAM ? "detects" : "segments by points and boxes");
    }
    return status;
}

/* keep_pin: else the pin is taken away. */
static nx_status install(const nx_model_store *store, const char *folder, const char *name,
                         bool keep_pin, uint32_t *version, nx_error *err)
{
    nx_stored_model model = {0};
    char *target = NULL;
    char *model_folder = join("%s/%s", store->folder, name);
    nx_status status =
        model_folder != NULL ? look_before(store, folder, name, &model, err) : no_memory(err);
    bool made = status == NX_OK && model.count == 0;
    if (status == NX_OK) {
        status = nx_file_make_dirs(model_folder, err);
    }
    if (status == NX_OK) {
        *version = model.count > 0 ? model.versions[model.count - 1].version + 1 : 1;
        status = take_version(folder, model_folder, version, &target, err);
    }
    if (status == NX_OK) {
        status = sync_path(model_folder, err);
    }
    if (status == NX_OK) {
        status = sync_path(store->folder, err);
    }
    if (status == NX_OK && !keep_pin) {
        status = write_active(model_folder, NULL, err);
    }
    if (status != NX_OK && target != NULL) {
        (void)rename(target, folder); /* nobody is to find what may not last */
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
    return install(store, folder, name, false, version, err);
}

/* --- changing ----------------------------------------------------------------------------------
 */

/* Out of sight in one step, into a new folder whose name the caller frees. */
static nx_status put_aside(const nx_model_store *store, const char *path, bool flat, char **aside,
                           nx_error *err)
{
    char *folder = join("%s/" REMOVED "XXXXXX", store->folder);
    bool made = folder != NULL && mkdtemp(folder) != NULL;
    char *target = made && flat ? join("%s/" MODEL_FILE, folder) : NULL;
    nx_status status = NX_OK;
    if (folder == NULL || (made && flat && target == NULL)) {
        status = no_memory(err);
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
    char *file = flat ? join("%s/" MODEL_FILE, aside) : NULL;
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
    nx_status status = asides != NULL && paths != NULL ? NX_OK : no_memory(err);
    for (size_t i = 0; i < model->count && status == NX_OK; i++) {
        const nx_stored_version *one = &model->versions[i];
        if (version != 0 && one->version != version) {
            continue;
        }
        paths[i] = one->flat ? join("%s/%s" ENDING, store->folder, model->name)
                             : join("%s/%s/%u", store->folder, model->name, one->version);
        status = paths[i] != NULL ? put_aside(store, paths[i], one->flat, &asides[i], err)
                                  : no_memory(err);
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
    for (size_t i = 0; i < model->count && i < MAX_LISTED_404; i++) {
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
    char *folder = join("%s/%s", store->folder, name);
    char *active = join("%s/%s/" ACTIVE_FILE, store->folder, name);
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
    char *folder = join("%s/%s", store->folder, name);
    if (folder == NULL) {
        status = no_memory(err);
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
