#include "api/video_paths.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What of path is behind the folder (of size bytes); NULL: it does not begin with it. */
static const char *behind(const char *path, const char *folder, size_t size)
{
    while (size > 1 && folder[size - 1] == '/') {
        size--;
    }
    if (size == 0 || folder[0] != '/' || strncmp(path, folder, size) != 0) {
        return NULL;
    }
    const char *rest = path + size;
    if (*rest != '/' && size > 1) {
        return NULL; /* "/media/videos2" does not lie in "/media/videos" */
    }
    rest += strspn(rest, "/");
    return *rest != '\0' ? rest : NULL;
}

/* Negative with errno; EXDEV: it leads out of the folder. */
static int open_beneath(const char *folder, size_t size, const char *rest)
{
    char name[NX_API_VIDEO_PATH_MAX + 1];
    const struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, /* no waiting at a FIFO */
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    if (size >= sizeof name) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(name, folder, size);
    name[size] = '\0';
    int parent = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) {
        return -1;
    }
    long fd = syscall(SYS_openat2, parent, rest, &how, sizeof how);
    int failure = errno;
    close(parent);
    errno = failure;
    return (int)fd;
}

static nx_status explain(const char *path, int failure, nx_error *err)
{
    switch (failure) {
    case EXDEV:
        return nx_error_set(err, NX_ERR_CONFLICT, "%.200s leads out of the folders for videos",
                            path);
    case ENOENT:
    case ENOTDIR:
        return nx_error_set(err, NX_ERR_NOT_FOUND, "there is no file %.200s", path);
    case ENXIO:
    case ELOOP:
    case ENAMETOOLONG:
        return nx_error_set_errno(err, NX_ERR_INVALID, failure, "cannot read %.200s", path);
    default:
        return nx_error_set_errno(err, NX_ERR_IO, failure, "cannot read %.200s", path);
    }
}

static nx_status check_file(int fd, const char *path, uint64_t most, nx_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %.200s", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return nx_error_set(err, NX_ERR_INVALID, "%.200s is not a file", path);
    }
    if ((uint64_t)info.st_size > most) {
        return nx_error_set(err, NX_ERR_TOO_LARGE,
                            "%.200s has %lld bytes, over MAX_VIDEO_BYTES, which is %llu", path,
                            (long long)info.st_size, (unsigned long long)most);
    }
    return NX_OK;
}

nx_status nx_api_video_path_open(const char *folders, const char *path, uint64_t most, int *fd,
                                 nx_error *err)
{
    *fd = -1;
    if (path == NULL || path[0] != '/' || strlen(path) > NX_API_VIDEO_PATH_MAX) {
        return nx_error_set(err, NX_ERR_INVALID, "send an absolute path of at most %d bytes",
                            NX_API_VIDEO_PATH_MAX);
    }
    for (const char *at = folders; *at != '\0';) {
        size_t size = strcspn(at, ":");
        const char *rest = behind(path, at, size);
        if (rest != NULL) {
            *fd = open_beneath(at, size, rest);
            nx_status status =
                *fd < 0 ? explain(path, errno, err) : check_file(*fd, path, most, err);
            if (status != NX_OK && *fd >= 0) {
                close(*fd);
                *fd = -1;
            }
            return status;
        }
        at += size + (at[size] == ':' ? 1 : 0);
    }
    return nx_error_set(err, NX_ERR_CONFLICT, "%.200s is not in a folder that VIDEO_FOLDERS names",
                        path);
}
