#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Room for one read of a pipe; a regular file is read in one go. */
#define READ_SIZE ((size_t)64 * 1024)

static nx_status open_for_reading(const char *path, int flags, int *out_fd, struct stat *info,
                                  nx_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0) {
        return nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO, errno,
                                  "cannot open %s", path);
    }
    if (fstat(fd, info) != 0) {
        nx_status status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot stat %s", path);
        close(fd);
        return status;
    }
    if (S_ISDIR(info->st_mode)) {
        close(fd);
        return nx_error_set(err, NX_ERR_INVALID, "%s is a folder, not a file", path);
    }
    *out_fd = fd;
    return NX_OK;
}

nx_status nx_file_map_open(const char *path, nx_file_map *out, nx_error *err)
{
    *out = (nx_file_map){0};
    int fd = -1;
    struct stat info;
    /* O_NONBLOCK: a named pipe is refused below instead of waiting for someone to write into it */
    nx_status status = open_for_reading(path, O_NONBLOCK, &fd, &info, err);
    if (status != NX_OK) {
        return status;
    }
    if (!S_ISREG(info.st_mode)) {
        close(fd);
        return nx_error_set(err, NX_ERR_INVALID, "%s is not a regular file", path);
    }
    if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot map %s", path);
        } else {
            *out = (nx_file_map){.data = data, .size = (size_t)info.st_size};
        }
    }
    close(fd);
    return status;
}

void nx_file_unmap(nx_file_map *map)
{
    if (map != NULL && map->data != NULL) {
        munmap((void *)(uintptr_t)map->data, map->size);
        *map = (nx_file_map){0};
    }
}

static nx_status read_all(int fd, const char *path, size_t max_size, nx_buffer *out, nx_error *err)
{
    for (;;) {
        if (!nx_buffer_reserve(out, READ_SIZE)) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read %s", path);
        }
        size_t room = out->capacity - out->size;
        ssize_t got = read(fd, out->data + out->size, room);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", path);
        }
        if (got == 0) {
            return NX_OK;
        }
        out->size += (size_t)got;
        if (out->size > max_size) {
            return nx_error_set(err, NX_ERR_TOO_LARGE, "%s is larger than the limit of %zu bytes",
                                path, max_size);
        }
    }
}

nx_status nx_file_read(const char *path, size_t max_size, nx_buffer *out, nx_error *err)
{
    nx_buffer_clear(out);
    if (strcmp(path, "-") == 0) {
        return read_all(STDIN_FILENO, "standard input", max_size, out, err);
    }
    int fd = -1;
    struct stat info;
    nx_status status = open_for_reading(path, 0, &fd, &info, err);
    if (status != NX_OK) {
        return status;
    }
    if (S_ISREG(info.st_mode) && (uintmax_t)info.st_size > max_size) {
        status = nx_error_set(err, NX_ERR_TOO_LARGE, "%s is larger than the limit of %zu bytes",
                              path, max_size);
    } else {
        if (S_ISREG(info.st_mode)) { /* one allocation and one read for the usual case */
            (void)nx_buffer_reserve(out, (size_t)info.st_size + READ_SIZE);
        }
        status = read_all(fd, path, max_size, out, err);
    }
    close(fd);
    return status;
}

static int write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t put = write(fd, bytes, size);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return errno;
        }
        bytes += put;
        size -= (size_t)put;
    }
    return 0;
}

/* A pipe, a device or a link such as /dev/stdout is written into: a rename would put a plain file
 * in its place, for every program on the machine. */
static bool is_special(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

static nx_status write_in_place(const char *path, const void *bytes, size_t size, nx_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int failure = fd < 0 ? errno : write_all(fd, bytes, size);
    if (fd >= 0 && close(fd) != 0 && failure == 0) {
        failure = errno;
    }
    return failure == 0 ? NX_OK
                        : nx_error_set_errno(err, NX_ERR_IO, failure, "cannot write %s", path);
}

nx_status nx_file_write(const char *path, const void *bytes, size_t size, nx_error *err)
{
    char temporary[PATH_MAX];
    if (is_special(path)) {
        return write_in_place(path, bytes, size, err);
    }
    int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof temporary) {
        return nx_error_set(err, NX_ERR_INVALID, "the path is too long: %.100s...", path);
    }
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", path);
    }
    int failure = write_all(fd, bytes, size);
    if (failure == 0 && fchmod(fd, 0644) != 0) {
        failure = errno;
    }
    if (close(fd) != 0 && failure == 0) {
        failure = errno;
    }
    if (failure == 0 && rename(temporary, path) != 0) {
        failure = errno;
    }
    if (failure != 0) {
        unlink(temporary);
        return nx_error_set_errno(err, NX_ERR_IO, failure, "cannot write %s", path);
    }
    return NX_OK;
}

nx_status nx_file_make_dirs(const char *path, nx_error *err)
{
    char partial[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof partial) {
        return nx_error_set(err, NX_ERR_INVALID, "not a usable folder name: '%.100s'", path);
    }
    memcpy(partial, path, length + 1);
    for (char *p = partial + 1;; p++) {
        if (*p != '/' && *p != '\0') {
            continue;
        }
        char kept = *p;
        *p = '\0';
        struct stat info;
        if (mkdir(partial, 0777) != 0 &&
            !(errno == EEXIST && stat(partial, &info) == 0 && S_ISDIR(info.st_mode))) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot make the folder %s", partial);
        }
        *p = kept;
        if (kept == '\0') {
            return NX_OK;
        }
    }
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    (void)remove(path);
    return 0;
}

void nx_file_remove_tree(const char *path)
{
    (void)nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}
