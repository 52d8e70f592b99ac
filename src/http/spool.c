#include "http/spool.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool refuse(const nx_http_spool *spool, const char *folder, int failure, nx_problem *problem)
{
    char reason[128];
    bool full = failure == ENOSPC || failure == EDQUOT || failure == EFBIG;
    *problem = nx_problem_make(full ? 507 : 500,
                               full ? "Free some space on the server's disk, then send it again."
                                    : "Look for the folder in the server's log.",
                               "the body cannot be stored: %s",
                               strerror_r(failure, reason, sizeof reason));
    nx_log_error("http", "a body cannot be stored in %s: %s",
                 spool->path != NULL ? spool->path : folder,
                 strerror_r(failure, reason, sizeof reason));
    return false;
}

static int open_file(nx_http_spool *spool, const char *folder)
{
    nx_error err;
    errno = 0;
    if (nx_file_make_dirs(folder, &err) != NX_OK) {
        return errno != 0 ? errno : EIO;
    }
    char *path = NULL;
    if (asprintf(&path, "%s/.upload.XXXXXX", folder) < 0) {
        return ENOMEM;
    }
    spool->fd = mkostemp(path, O_CLOEXEC);
    if (spool->fd < 0) {
        int failure = errno;
        free(path);
        return failure;
    }
    spool->path = path;
    spool->open = true;
    return fchmod(spool->fd, 0644) == 0 ? 0 : errno;
}

bool nx_http_spool_write(nx_http_spool *spool, const char *folder, const char *bytes, size_t size,
                         nx_problem *problem)
{
    int failure = spool->path == NULL ? open_file(spool, folder) : 0;
    while (failure == 0 && size > 0) {
        ssize_t put = write(spool->fd, bytes, size);
        if (put >= 0) {
            bytes += put;
            size -= (size_t)put;
            spool->size += (uint64_t)put;
        } else if (errno != EINTR) {
            failure = errno;
        }
    }
    return failure == 0 || refuse(spool, folder, failure, problem);
}

bool nx_http_spool_finish(nx_http_spool *spool, nx_problem *problem)
{
    if (!spool->open) {
        return true;
    }
    spool->open = false;
    return close(spool->fd) == 0 || refuse(spool, "", errno, problem);
}

void nx_http_spool_free(nx_http_spool *spool)
{
    if (spool->open) {
        close(spool->fd);
    }
    if (spool->path != NULL) {
        (void)unlink(spool->path); /* fails when it was renamed, which is what was wanted */
        free(spool->path);
    }
    *spool = (nx_http_spool){0};
}
