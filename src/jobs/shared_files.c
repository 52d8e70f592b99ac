/* Files of shared models: read, marked, stored for other hosts, and fetched from there. */
#include "base/buffer.h"
#include "base/file.h"
#include "base/log.h"
#include "base/uuid.h"
#include "jobs/shared_models_internal.h"
#include "store/object_uses.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK     ((size_t)1 << 20)
#define MARK      "shared"
#define MOST_MARK ((size_t)4096)

static const char *const file_names[][2] = {
    [NX_STORED_DETECTOR] = {"model.onnx", NULL},
    [NX_STORED_SAM] = {"encoder.onnx", "decoder.onnx"},
};

/* --- reading ------------------------------------------------------------------------------------
 */

typedef nx_status (*take_bytes)(const void *bytes, size_t size, void *user, nx_error *err);

/* Reads from the descriptor's beginning to its end; take may be NULL. */
static nx_status read_through(int fd, const char *name, take_bytes take, void *user,
                              char sha256[NX_OBJECT_NAME_SIZE], int64_t *size, nx_error *err)
{
    crypto_hash_sha256_state state;
    unsigned char digest[crypto_hash_sha256_BYTES];
    char *chunk = malloc(CHUNK);
    nx_status status = NX_OK;
    ssize_t got = 1;
    *size = 0;
    if (chunk == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read %s", name);
    }
    (void)crypto_hash_sha256_init(&state);
    while (status == NX_OK && got != 0) {
        got = pread(fd, chunk, CHUNK, *size);
        if (got < 0 && errno != EINTR) {
            status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", name);
        } else if (got > 0) {
            (void)crypto_hash_sha256_update(&state, (const unsigned char *)chunk,
                                            (unsigned long long)got);
            *size += got;
            status = take != NULL ? take(chunk, (size_t)got, user, err) : NX_OK;
        }
    }
    free(chunk);
    (void)crypto_hash_sha256_final(&state, digest);
    (void)sodium_bin2hex(sha256, NX_OBJECT_NAME_SIZE, digest, sizeof digest);
    return status;
}

static nx_status open_file(const char *path, int *fd, nx_error *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd >= 0 ? NX_OK
                    : nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO, errno,
                                         "cannot open %s", path);
}

/* SHA-256 and size of a file. Errors: NX_ERR_NOT_FOUND, NX_ERR_IO, NX_ERR_NO_MEMORY. */
static nx_status hash_file(const char *path, char sha256[NX_OBJECT_NAME_SIZE], int64_t *size,
                           nx_error *err)
{
    int fd = -1;
    nx_status status = open_file(path, &fd, err);
    if (status == NX_OK) {
        status = read_through(fd, path, NULL, NULL, sha256, size, err);
        close(fd);
    }
    return status;
}

/* --- the mark -----------------------------------------------------------------------------------
 */

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the models");
}

/* "service ID" and, as sha256sum writes it, a line for each file. */
static nx_status write_mark(const nx_shared_models *self, const char *folder,
                            const nx_shared_upload *files, nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    char *path = NULL;
    nx_buffer_printf(&text, "service %s\n", self->service);
    for (size_t i = 0; i < files->count; i++) {
        nx_buffer_printf(&text, "%s  %s\n", files->files[i].sha256, files->files[i].name);
    }
    nx_status status = NX_OK;
    if (text.failed || asprintf(&path, "%s/" MARK, folder) < 0) {
        path = NULL;
        status = no_memory(err);
    } else {
        status = nx_file_write(path, text.data, text.size, err);
    }
    free(path);
    nx_buffer_free(&text);
    return status;
}

/* The folder of a version that is not flat; the caller frees it. */
static char *folder_of(const nx_shared_models *self, const char *name, uint32_t version)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s/%u", nx_model_store_folder(self->store), name, version) < 0
               ? NULL
               : path;
}

bool nx_shared_is_marked(const nx_shared_models *self, const char *name,
                         const nx_stored_version *version)
{
    char wanted[NX_MODEL_SERVICE_SIZE + 16];
    char *path = NULL;
    nx_buffer text = NX_BUFFER_INIT;
    if (!version->shared || asprintf(&path, "%s/%s/%u/" MARK, nx_model_store_folder(self->store),
                                     name, version->version) < 0) {
        return false;
    }
    int length = snprintf(wanted, sizeof wanted, "service %s\n", self->service);
    bool marked = nx_file_read(path, MOST_MARK, &text, NULL) == NX_OK &&
                  strncmp(nx_buffer_cstr(&text), wanted, (size_t)length) == 0;
    nx_buffer_free(&text);
    free(path);
    return marked;
}

/* --- storing ------------------------------------------------------------------------------------
 */

static nx_status put_bytes(const void *bytes, size_t size, void *user, nx_error *err)
{
    return nx_object_writer_put(user, bytes, size, err);
}

/* Copies the file into an upload of the objects, reading its hash on the way, and keeps it. */
static nx_status store_file(nx_shared_models *self, const char *path, const char *holder,
                            char sha256[NX_OBJECT_NAME_SIZE], int64_t *size, nx_error *err)
{
    char id[NX_UUID_SIZE];
    char name[NX_OBJECT_NAME_SIZE];
    nx_object_writer *writer = NULL;
    int fd = -1;
    nx_status status = nx_uuid_make(id, err);
    if (status == NX_OK) {
        status = open_file(path, &fd, err);
    }
    if (status == NX_OK) {
        status = nx_objects_write(self->objects, id, 0, &writer, err);
    }
    if (status == NX_OK) {
        status = read_through(fd, path, put_bytes, writer, sha256, size, err);
    }
    nx_object_writer_close(writer);
    if (fd >= 0) {
        close(fd);
    }
    if (status == NX_OK) {
        status = nx_store_keep_upload(self->database, self->objects, id, holder, name, size, err);
    }
    if (status == NX_OK && strcmp(name, sha256) != 0) {
        status = nx_error_set(err, NX_ERR_IO, "%s changed while it was stored", path);
    }
    if (writer != NULL) {
        (void)nx_objects_discard(self->objects, id, NULL); /* else the sweeper does */
    }
    return status;
}

nx_status nx_shared_upload_take(nx_shared_models *self, const char *const paths[2],
                                nx_shared_upload *out, nx_error *err)
{
    *out = (nx_shared_upload){.kind = paths[1] != NULL ? NX_STORED_SAM : NX_STORED_DETECTOR,
                              .stored = self->across};
    nx_status status = self->across ? nx_uuid_make(out->holder, err) : NX_OK;
    for (size_t i = 0; i < 2 && paths[i] != NULL && status == NX_OK; i++) {
        snprintf(out->files[i].name, sizeof out->files[i].name, "%s", file_names[out->kind][i]);
        status = self->across ? store_file(self, paths[i], out->holder, out->files[i].sha256,
                                           &out->files[i].size, err)
                              : hash_file(paths[i], out->files[i].sha256, &out->files[i].size, err);
        out->count++;
    }
    return status;
}

nx_status nx_shared_upload_prepare(nx_shared_models *self, const char *folder,
                                   nx_shared_upload *out, nx_error *err)
{
    char *paths[2] = {NULL, NULL};
    nx_status status = NX_OK;
    *out = (nx_shared_upload){.count = 0};
    if (asprintf(&paths[0], "%s/model.onnx", folder) < 0) {
        paths[0] = NULL;
    } else if (access(paths[0], F_OK) != 0) {
        free(paths[0]);
        if (asprintf(&paths[0], "%s/encoder.onnx", folder) < 0) {
            paths[0] = NULL;
        }
        if (asprintf(&paths[1], "%s/decoder.onnx", folder) < 0) {
            paths[1] = NULL;
            status = no_memory(err);
        }
    }
    if (paths[0] == NULL) {
        status = no_memory(err);
    }
    if (status == NX_OK) {
        status = nx_shared_upload_take(self, (const char *const *)paths, out, err);
    }
    if (status == NX_ERR_NOT_FOUND) {
        status = nx_error_set(err, NX_ERR_INVALID, "the upload has no files of a model");
    }
    if (status == NX_OK) {
        status = write_mark(self, folder, out, err);
    }
    free(paths[0]);
    free(paths[1]);
    return status;
}

void nx_shared_upload_end(nx_shared_models *self, nx_shared_upload *upload)
{
    if (upload->holder[0] != '\0') {
        /* its time ends by itself, and then the sweeper takes away what nobody has entered */
        (void)nx_store_object_release(self->database, upload->holder, NULL);
        upload->holder[0] = '\0';
    }
}

/* --- fetching -----------------------------------------------------------------------------------
 */

static nx_status write_bytes(const void *bytes, size_t size, void *user, nx_error *err)
{
    const int fd = *(const int *)user;
    for (size_t put = 0; put < size;) {
        ssize_t step = write(fd, (const char *)bytes + put, size - put);
        if (step < 0 && errno != EINTR) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write a model");
        }
        put += step > 0 ? (size_t)step : 0;
    }
    return NX_OK;
}

static nx_status fetch_file(nx_shared_models *self, const nx_model_version *version,
                            const nx_model_file *file, const char *folder, nx_error *err)
{
    char sha256[NX_OBJECT_NAME_SIZE];
    char path[PATH_MAX];
    int64_t size = 0;
    int from = -1;
    nx_status status = nx_objects_fetch(self->objects, file->sha256, &from, err);
    if (status != NX_OK) {
        return status;
    }
    snprintf(path, sizeof path, "%s/%.15s", folder, file->file);
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (to < 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", path);
    } else {
        status = read_through(from, file->sha256, write_bytes, &to, sha256, &size, err);
        if (close(to) != 0 && status == NX_OK) {
            status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", path);
        }
    }
    close(from);
    if (status == NX_OK && strcmp(sha256, file->sha256) != 0) {
        status = nx_error_set(err, NX_ERR_CORRUPT,
                              "%s of version %lld is damaged in the object store: its SHA-256 is "
                              "%.16s..., not %.16s...",
                              file->file, (long long)version->version, sha256, file->sha256);
    }
    return status;
}

/* A name of a file from the database becomes part of a path. */
static bool is_proper(const nx_model_version *version, nx_stored_kind kind)
{
    bool proper = version->file_count == (kind == NX_STORED_SAM ? 2 : 1);
    for (size_t i = 0; i < version->file_count && proper; i++) {
        proper = strcmp(version->files[i].file, file_names[kind][i]) == 0;
    }
    return proper;
}

static nx_stored_kind kind_of(const nx_model_version *version)
{
    return strcmp(version->kind, "sam") == 0 ? NX_STORED_SAM : NX_STORED_DETECTOR;
}

static void describe(const nx_model_version *version, nx_shared_upload *out)
{
    *out = (nx_shared_upload){.kind = kind_of(version), .count = version->file_count};
    for (size_t i = 0; i < version->file_count; i++) {
        snprintf(out->files[i].name, sizeof out->files[i].name, "%.15s", version->files[i].file);
        snprintf(out->files[i].sha256, sizeof out->files[i].sha256, "%.64s",
                 version->files[i].sha256);
        out->files[i].size = version->files[i].size;
    }
}

static nx_status fetch(nx_shared_models *self, const nx_model_version *version, nx_error *err)
{
    char *folder = NULL;
    nx_shared_upload files;
    uint32_t number = (uint32_t)version->version;
    if (!is_proper(version, kind_of(version))) {
        return nx_error_set(err, NX_ERR_CORRUPT, "the database knows no files of version %lld",
                            (long long)version->version);
    }
    describe(version, &files);
    nx_status status = nx_model_store_begin(self->store, &folder, err);
    for (size_t i = 0; i < version->file_count && status == NX_OK; i++) {
        status = fetch_file(self, version, &version->files[i], folder, err);
    }
    if (status == NX_OK) {
        status = write_mark(self, folder, &files, err);
    }
    if (status == NX_OK) {
        status = nx_model_store_install(self->store, folder, version->name, &number, err);
    }
    if (status == NX_OK) {
        nx_log_info("models", "%s:%u is fetched", version->name, number);
    } else {
        nx_model_store_discard(folder);
    }
    free(folder);
    /* another process of this disk was faster, or somebody put another one there: the next look
     * tells */
    return status == NX_ERR_CONFLICT ? NX_ERR_BUSY : status;
}

/* What lies there without a mark: is it this version all the same? */
static nx_status compare(nx_shared_models *self, const nx_model_version *version,
                         const nx_stored_version *there, nx_error *err)
{
    nx_shared_upload files;
    nx_status status = NX_OK;
    bool same = kind_of(version) == there->kind && is_proper(version, there->kind);
    for (size_t i = 0; i < version->file_count && same && status == NX_OK; i++) {
        char sha256[NX_OBJECT_NAME_SIZE] = "";
        char *path = NULL;
        int64_t size = 0;
        status = nx_model_store_path(self->store, version->name, there, version->files[i].file,
                                     &path, err);
        if (status == NX_OK) {
            status = hash_file(path, sha256, &size, err);
            same = strcmp(sha256, version->files[i].sha256) == 0;
        }
        free(path);
    }
    if (status != NX_OK) {
        return status;
    }
    if (!same) {
        return nx_error_set(err, NX_ERR_CONFLICT,
                            "version %lld in %.100s is another file than the one that the servers "
                            "share; remove it there ('nexus models remove %s:%lld') and it is "
                            "fetched",
                            (long long)version->version, nx_model_store_folder(self->store),
                            version->name, (long long)version->version);
    }
    char *folder = there->flat ? NULL : folder_of(self, version->name, there->version);
    if (folder != NULL) {
        describe(version, &files);
        status = write_mark(self, folder, &files, err);
        free(folder);
    }
    return status;
}

nx_status nx_shared_bring(nx_shared_models *self, const nx_model_version *version,
                          const nx_stored_version *there, nx_error *err)
{
    if (there != NULL) {
        return nx_shared_is_marked(self, version->name, there) ? NX_OK
                                                               : compare(self, version, there, err);
    }
    if (version->stored) {
        return fetch(self, version, err);
    }
    return nx_error_set(err, NX_ERR_NOT_FOUND,
                        "version %lld is not in %.100s, and was never stored anywhere else",
                        (long long)version->version, nx_model_store_folder(self->store));
}
