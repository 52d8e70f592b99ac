/* Bytes of a request that go into a file instead of memory. Used by one connection thread. */
#ifndef NX_HTTP_SPOOL_H
#define NX_HTTP_SPOOL_H

#include "http/problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_http_spool {
    char *path; /* NULL: nothing was written yet */
    int fd;     /* valid while it is open */
    uint64_t size;
    bool open;
} nx_http_spool;

/* Appends; the file is made in the folder (and the folder, when need be) by the first call, also
 * for no bytes. False fills problem: 507 for a full disk, 500 for another failure. */
bool nx_http_spool_write(nx_http_spool *spool, const char *folder, const char *bytes, size_t size,
                         nx_problem *problem);

/* All is written. False fills problem. */
bool nx_http_spool_finish(nx_http_spool *spool, nx_problem *problem);

/* Removes the file, unless it was renamed meanwhile. */
void nx_http_spool_free(nx_http_spool *spool);

#endif
