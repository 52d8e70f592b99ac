/* Objects on the disk: DATA_DIR/objects/ab/cd/abcd.... A name appears when all its bytes are on the
 * disk, and never before. */
#include "store/objects_backend.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct disk {
    nx_objects_backend base;
    char *folder;
} disk;

static nx_status path_of(const disk *self, const char *name, char path[PATH_MAX], nx_error *err)
{
    int length = snprintf(path, PATH_MAX, "%s/%.2s/%.2s/%s", self->folder, name, name + 2, name);
    return length < PATH_MAX
               ? NX_OK
               : nx_error_set(err, NX_ERR_INVALID, "the path of the objects is too long");
}

/* What was made or renamed in a folder is there after a power cut only once the folder is synced.
 */
static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failure = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return failure;
}

/* The folder of path and the two above it, which may be new. */
static int sync_folders(const char *path)
{
    char folder[PATH_MAX];
    int failure = 0;
    snprintf(folder, sizeof folder, "%s", path);
    for (int i = 0; i < 3 && failure == 0; i++) {
        *strrchr(folder, '/') = '\0';
        failure = sync_folder(folder);
    }
    return failure;
}

static nx_status check(nx_objects_backend *base, nx_error *err)
{
    const disk *self = (const disk *)base;
    return access(self->folder, R_OK | W_OK | X_OK) == 0 || errno == ENOENT
               ? NX_OK
               : nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write into %s", self->folder);
}

/* A second name for the upload's bytes, so that whoever dies before it is entered in the database
 * finds the upload and does the same again. Where there are no links the upload is moved. */
static int give_name(const char *from, const char *to)
{
    if (link(from, to) == 0 || errno == EEXIST) {
        return 0;
    }
    if (errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK) {
        return errno;
    }
    return rename(from, to) == 0 ? 0 : errno;
}

static nx_status keep(nx_objects_backend *base, const char *name, const char *path, int fd,
                      int64_t size, nx_error *err)
{
    char place[PATH_MAX];
    char folder[PATH_MAX];
    (void)size;
    nx_status status = path_of((disk *)base, name, place, err);
    if (status != NX_OK) {
        return status;
    }
    snprintf(folder, sizeof folder, "%s", place);
    *strrchr(folder, '/') = '\0';
    status = nx_file_make_dirs(folder, err);
    if (status != NX_OK) {
        return status;
    }
    int failure = fsync(fd) == 0 ? give_name(path, place) : errno;
    if (failure == 0) {
        failure = sync_folders(place);
    }
    return failure == 0
               ? NX_OK
               : nx_error_set_errno(err, NX_ERR_IO, failure, "cannot keep object %s", name);
}

static nx_status open_object(const disk *self, const char *name, int *fd, nx_error *err)
{
    char path[PATH_MAX];
    nx_status status = path_of(self, name, path, err);
    if (status != NX_OK) {
        return status;
    }
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) {
        return errno == ENOENT
                   ? nx_error_set(err, NX_ERR_NOT_FOUND, "there is no object %s", name)
                   : nx_error_set_errno(err, NX_ERR_IO, errno, "cannot open object %s", name);
    }
    return NX_OK;
}

static nx_status size_of(nx_objects_backend *base, const char *name, int64_t *size, nx_error *err)
{
    int fd = -1;
    struct stat info;
    nx_status status = open_object((disk *)base, name, &fd, err);
    if (status != NX_OK) {
        return status;
    }
    if (fstat(fd, &info) != 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot look at object %s", name);
    } else {
        *size = info.st_size;
    }
    close(fd);
    return status;
}

static nx_status read_range(nx_objects_backend *base, const char *name, int64_t offset,
                            void *buffer, size_t size, size_t *got, nx_error *err)
{
    int fd = -1;
    nx_status status = open_object((disk *)base, name, &fd, err);
    if (status != NX_OK) {
        return status;
    }
    int64_t count = nx_objects_read_all(fd, buffer, size, offset);
    if (count < 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read object %s", name);
    } else {
        *got = (size_t)count;
    }
    close(fd);
    return status;
}

static nx_status fetch(nx_objects_backend *base, const char *name, const char *folder, int *fd,
                       nx_error *err)
{
    (void)folder;
    return open_object((disk *)base, name, fd, err);
}

static nx_status remove_object(nx_objects_backend *base, const char *name, nx_error *err)
{
    char path[PATH_MAX];
    nx_status status = path_of((disk *)base, name, path, err);
    if (status == NX_OK && unlink(path) != 0 && errno != ENOENT) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot remove object %s", name);
    }
    return status;
}

static void close_backend(nx_objects_backend *base)
{
    disk *self = (disk *)base;
    free(self->folder);
    free(self);
}

static const nx_objects_ops ops = {
    .check = check,
    .keep = keep,
    .size = size_of,
    .read = read_range,
    .fetch = fetch,
    .remove = remove_object,
    .close = close_backend,
};

nx_status nx_objects_disk_open(const nx_objects_options *options, char place[512],
                               nx_objects_backend **out, nx_error *err)
{
    disk *self = calloc(1, sizeof *self);
    if (self == NULL || asprintf(&self->folder, "%s/objects", options->data_dir) < 0) {
        free(self);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the object store");
    }
    self->base.ops = &ops;
    snprintf(place, 512, "the disk at %s", self->folder);
    *out = &self->base;
    return NX_OK;
}
