/* A process that may open no more files than a test allows. */
#ifndef NX_TESTS_OPEN_FILES_H
#define NX_TESTS_OPEN_FILES_H

#include "scratch.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

#define OPEN_FILES_MAX 256

typedef struct open_files {
    struct rlimit before;
    int fillers[OPEN_FILES_MAX]; /* where gaps were among the open files */
    size_t count;
    rlim_t open; /* with them */
} open_files;

static inline void open_files_begin(open_files *self)
{
    int last = 2;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &self->before), 0);
    for (int fd = 0; fd < OPEN_FILES_MAX; fd++) {
        last = fcntl(fd, F_GETFD) != -1 ? fd : last;
    }
    for (self->count = 0; self->count < OPEN_FILES_MAX; self->count++) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd > last) {
            close(fd);
            break;
        }
        self->fillers[self->count] = fd;
    }
    self->open = (rlim_t)last + 1;
}

/* So many more may be opened. */
static inline void open_files_allow(const open_files *self, rlim_t more)
{
    const struct rlimit limit = {.rlim_cur = self->open + more, .rlim_max = self->before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static inline void open_files_allow_all(const open_files *self)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &self->before), 0);
}

static inline void open_files_end(open_files *self)
{
    open_files_allow_all(self);
    while (self->count > 0) {
        close(self->fillers[--self->count]);
    }
}

#endif
