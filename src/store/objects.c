#include "store/objects_backend.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_CHUNK ((size_t)256 * 1024)
#define MAX_ID     64

struct nx_objects {
    nx_objects_backend *backend;
    char *uploads; /* the folder */
    char place[512];
};

struct nx_object_writer {
    int fd;
    int64_t size;
    char id[MAX_ID + 1];
};

nx_objects_options nx_objects_options_of(const nx_config *config, const char *data_dir)
{
    return (nx_objects_options){
        .data_dir = data_dir,
        .url = nx_config_string(config, NX_CONFIG_OBJECTS_URL),
        .endpoint = nx_config_string(config, NX_CONFIG_S3_ENDPOINT),
        .region = nx_config_string(config, NX_CONFIG_S3_REGION),
        .access_key = nx_config_string(config, NX_CONFIG_S3_ACCESS_KEY),
        .secret_key = nx_config_string(config, NX_CONFIG_S3_SECRET_KEY),
    };
}

nx_status nx_objects_open(const nx_objects_options *options, nx_objects **out, nx_error *err)
{
    *out = NULL;
    nx_objects *objects = calloc(1, sizeof *objects);
    if (objects == NULL || asprintf(&objects->uploads, "%s/uploads", options->data_dir) < 0) {
        free(objects);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the object store");
    }
    nx_status status = sodium_init() >= 0
                           ? nx_file_make_dirs(objects->uploads, err)
                           : nx_error_set(err, NX_ERR_INTERNAL, "libsodium does not start");
    if (status == NX_OK) {
        status = options->url[0] == '\0'
                     ? nx_objects_disk_open(options, objects->place, &objects->backend, err)
                     : nx_objects_s3_open(options, objects->place, &objects->backend, err);
    }
    if (status != NX_OK) {
        nx_objects_close(objects);
        return status;
    }
    *out = objects;
    return NX_OK;
}

void nx_objects_close(nx_objects *objects)
{
    if (objects != NULL) {
        if (objects->backend != NULL) {
            objects->backend->ops->close(objects->backend);
        }
        free(objects->uploads);
        free(objects);
    }
}

const char *nx_objects_place(const nx_objects *objects)
{
    return objects->place;
}

bool nx_objects_are_shared(const nx_objects *objects)
{
    return strncmp(objects->place, "s3://", 5) == 0;
}

nx_status nx_objects_check(nx_objects *objects, nx_error *err)
{
    return objects->backend->ops->check(objects->backend, err);
}

int nx_objects_write_all(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t put = write(fd, at, size);
        if (put < 0 && errno != EINTR) {
            return errno;
        }
        if (put > 0) {
            at += put;
            size -= (size_t)put;
        }
    }
    return 0;
}

int64_t nx_objects_read_all(int fd, void *buffer, size_t size, int64_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(fd, (char *)buffer + done, size - done, offset + (int64_t)done);
        if (got < 0 && errno != EINTR) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return (int64_t)done;
}

/* --- names --- */

/* An id or name from outside becomes part of a path: nothing in it may act there. */
static nx_status check_id(const char *id, nx_error *err)
{
    size_t length = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
    if (length == 0 || length > MAX_ID || id[length] != '\0') {
        return nx_error_set(err, NX_ERR_INVALID, "'%.80s' is no name of an upload", id);
    }
    return NX_OK;
}

static nx_status check_name(const char *name, nx_error *err)
{
    size_t length = strspn(name, "0123456789abcdef");
    if (length != NX_OBJECT_NAME_SIZE - 1 || name[length] != '\0') {
        return nx_error_set(err, NX_ERR_INVALID, "'%.80s' is no name of an object (a SHA-256)",
                            name);
    }
    return NX_OK;
}

static nx_status upload_path(const nx_objects *objects, const char *id, char path[PATH_MAX],
                             nx_error *err)
{
    nx_status status = check_id(id, err);
    if (status == NX_OK &&
        snprintf(path, PATH_MAX, "%s/%s.part", objects->uploads, id) >= PATH_MAX) {
        status = nx_error_set(err, NX_ERR_INVALID, "the path of the uploads is too long");
    }
    return status;
}

/* --- coming in --- */

/* Takes the lock, which the kernel takes back from who dies. Between opening and locking another
 * process may have discarded the file, or made it an object: then it is not the upload any more. */
static nx_status lock_upload(int fd, const char *path, const char *id, nx_error *err)
{
    struct stat ours;
    struct stat there;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK
                   ? nx_error_set(err, NX_ERR_BUSY, "another request writes into upload %s", id)
                   : nx_error_set_errno(err, NX_ERR_IO, errno, "cannot lock upload %s", id);
    }
    if (fstat(fd, &ours) != 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "upload %s", id);
    }
    if (stat(path, &there) != 0 || ours.st_ino != there.st_ino || ours.st_dev != there.st_dev) {
        return nx_error_set(err, NX_ERR_NOT_FOUND, "upload %s is gone", id);
    }
    return NX_OK;
}

nx_status nx_objects_claim(nx_objects *objects, const char *id, bool make, nx_object_writer **out,
                           nx_error *err)
{
    char path[PATH_MAX];
    *out = NULL;
    nx_status status = upload_path(objects, id, path, err);
    if (status == NX_OK) {
        status = nx_file_make_dirs(objects->uploads, err);
    }
    if (status != NX_OK) {
        return status;
    }
    nx_object_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for an upload");
    }
    snprintf(writer->id, sizeof writer->id, "%s", id);
    writer->fd = open(path, O_WRONLY | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
    if (writer->fd < 0) {
        status = nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO, errno,
                                    "cannot open upload %s", id);
    } else {
        status = lock_upload(writer->fd, path, id, err);
    }
    if (status != NX_OK) {
        nx_object_writer_close(writer);
        return status;
    }
    *out = writer;
    return NX_OK;
}

nx_status nx_object_writer_begin(nx_object_writer *writer, int64_t offset, nx_error *err)
{
    struct stat info;
    const char *id = writer->id;
    if (fstat(writer->fd, &info) != 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "upload %s", id);
    }
    if (info.st_nlink > 1) { /* objects_disk.c gave the same bytes another name */
        return nx_error_set(err, NX_ERR_CONFLICT, "upload %s is kept as an object already", id);
    }
    if (info.st_size < offset) {
        return nx_error_set(err, NX_ERR_CONFLICT, "upload %s has %lld bytes, not yet %lld", id,
                            (long long)info.st_size, (long long)offset);
    }
    if ((info.st_size > offset && ftruncate(writer->fd, offset) != 0) ||
        lseek(writer->fd, offset, SEEK_SET) < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "upload %s", id);
    }
    writer->size = offset;
    return NX_OK;
}

nx_status nx_objects_write(nx_objects *objects, const char *id, int64_t offset,
                           nx_object_writer **out, nx_error *err)
{
    *out = NULL;
    if (offset < 0) {
        return nx_error_set(err, NX_ERR_INVALID, "an upload has no offset below 0");
    }
    nx_status status = nx_objects_claim(objects, id, offset == 0, out, err);
    if (status == NX_OK) {
        status = nx_object_writer_begin(*out, offset, err);
    }
    if (status != NX_OK) {
        nx_object_writer_close(*out);
        *out = NULL;
    }
    return status;
}

nx_status nx_object_writer_put(nx_object_writer *writer, const void *bytes, size_t size,
                               nx_error *err)
{
    int failure = nx_objects_write_all(writer->fd, bytes, size);
    if (failure != 0) {
        return nx_error_set_errno(err, NX_ERR_IO, failure, "cannot write upload %s", writer->id);
    }
    writer->size += (int64_t)size;
    return NX_OK;
}

nx_status nx_object_writer_sync(nx_object_writer *writer, int64_t *size, nx_error *err)
{
    if (fdatasync(writer->fd) != 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write upload %s", writer->id);
    }
    *size = writer->size;
    return NX_OK;
}

void nx_object_writer_close(nx_object_writer *writer)
{
    if (writer != NULL) {
        if (writer->fd >= 0) {
            close(writer->fd);
        }
        free(writer);
    }
}

static nx_status hash_file(int fd, const char *id, char name[NX_OBJECT_NAME_SIZE], int64_t *size,
                           nx_error *err)
{
    crypto_hash_sha256_state state;
    unsigned char digest[crypto_hash_sha256_BYTES];
    unsigned char *chunk = malloc(HASH_CHUNK);
    if (chunk == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read upload %s", id);
    }
    int64_t got = 0;
    *size = 0;
    (void)crypto_hash_sha256_init(&state);
    do {
        got = nx_objects_read_all(fd, chunk, HASH_CHUNK, *size);
        if (got > 0) {
            (void)crypto_hash_sha256_update(&state, chunk, (unsigned long long)got);
            *size += got;
        }
    } while (got == (int64_t)HASH_CHUNK);
    free(chunk);
    if (got < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read upload %s", id);
    }
    (void)crypto_hash_sha256_final(&state, digest);
    (void)sodium_bin2hex(name, NX_OBJECT_NAME_SIZE, digest, sizeof digest);
    return NX_OK;
}

/* An upload for reading. */
static nx_status open_upload(const nx_objects *objects, const char *id, char path[PATH_MAX],
                             int *fd, nx_error *err)
{
    nx_status status = upload_path(objects, id, path, err);
    if (status != NX_OK) {
        return status;
    }
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd >= 0 ? NX_OK
                    : nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO, errno,
                                         "cannot open upload %s", id);
}

nx_status nx_objects_name(nx_objects *objects, const char *id, char name[NX_OBJECT_NAME_SIZE],
                          int64_t *size, nx_error *err)
{
    char path[PATH_MAX];
    int fd = -1;
    nx_status status = open_upload(objects, id, path, &fd, err);
    if (status == NX_OK) {
        status = hash_file(fd, id, name, size, err);
        close(fd);
    }
    return status;
}

nx_status nx_objects_put(nx_objects *objects, const char *id, const char *name, int64_t size,
                         nx_error *err)
{
    char path[PATH_MAX];
    int fd = -1;
    nx_status status = check_name(name, err);
    if (status == NX_OK) {
        status = open_upload(objects, id, path, &fd, err);
    }
    if (status == NX_OK) {
        status = objects->backend->ops->keep(objects->backend, name, path, fd, size, err);
        close(fd);
    }
    return status;
}

nx_status nx_objects_keep(nx_objects *objects, const char *id, char name[NX_OBJECT_NAME_SIZE],
                          int64_t *size, nx_error *err)
{
    nx_status status = nx_objects_name(objects, id, name, size, err);
    return status == NX_OK ? nx_objects_put(objects, id, name, *size, err) : status;
}

nx_status nx_objects_discard(nx_objects *objects, const char *id, nx_error *err)
{
    char path[PATH_MAX];
    nx_status status = upload_path(objects, id, path, err);
    if (status == NX_OK && unlink(path) != 0 && errno != ENOENT) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot remove upload %s", id);
    }
    return status;
}

/* --- going out --- */

nx_status nx_objects_size(nx_objects *objects, const char *name, int64_t *size, nx_error *err)
{
    nx_status status = check_name(name, err);
    return status != NX_OK ? status
                           : objects->backend->ops->size(objects->backend, name, size, err);
}

nx_status nx_objects_read(nx_objects *objects, const char *name, int64_t offset, void *buffer,
                          size_t size, size_t *got, nx_error *err)
{
    *got = 0;
    nx_status status = check_name(name, err);
    if (status == NX_OK && offset < 0) {
        status = nx_error_set(err, NX_ERR_INVALID, "an object has no offset below 0");
    }
    if (status != NX_OK || size == 0) {
        return status;
    }
    return objects->backend->ops->read(objects->backend, name, offset, buffer, size, got, err);
}

nx_status nx_objects_fetch(nx_objects *objects, const char *name, int *fd, nx_error *err)
{
    *fd = -1;
    nx_status status = check_name(name, err);
    if (status == NX_OK) {
        status = nx_file_make_dirs(objects->uploads, err);
    }
    return status != NX_OK
               ? status
               : objects->backend->ops->fetch(objects->backend, name, objects->uploads, fd, err);
}

nx_status nx_objects_nameless(const char *folder, int *fd, nx_error *err)
{
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s/fetch.XXXXXX", folder);
    *fd = mkostemp(file, O_CLOEXEC);
    if (*fd < 0 || unlink(file) != 0) {
        nx_status status =
            nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write into %s", folder);
        if (*fd >= 0) {
            close(*fd);
            *fd = -1;
        }
        return status;
    }
    return NX_OK;
}

nx_status nx_objects_scratch(nx_objects *objects, int *fd, nx_error *err)
{
    *fd = -1;
    nx_status status = nx_file_make_dirs(objects->uploads, err);
    return status == NX_OK ? nx_objects_nameless(objects->uploads, fd, err) : status;
}

nx_status nx_objects_remove(nx_objects *objects, const char *name, nx_error *err)
{
    nx_status status = check_name(name, err);
    return status != NX_OK ? status : objects->backend->ops->remove(objects->backend, name, err);
}
