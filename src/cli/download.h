/*
 * One file over HTTP, with a progress bar, resumed where an interrupted download ended. For
 * `nexus models pull`.
 */
#ifndef NX_CLI_DOWNLOAD_H
#define NX_CLI_DOWNLOAD_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Of SHA-512. */
#define NX_DOWNLOAD_HASH_BYTES 64

typedef struct nx_download {
    const char *url;
    const char *label; /* for the bar and messages */
    const char *path;  /* PATH.part while it is not complete and right */
    uint64_t max_bytes;
    unsigned char sha512[NX_DOWNLOAD_HASH_BYTES];
} nx_download;

/*
 * Has the file at path, with the hash that is given; what is there and right is not downloaded. A
 * part that an interrupted download left is gone on with (HTTP Range), and is left in its turn when
 * this one is interrupted or the connection breaks. A whole file with another hash is removed.
 * Errors: NX_ERR_CANCELLED (SIGINT or SIGTERM came, while nx_download_watch_signals is on),
 * NX_ERR_UNAVAILABLE (no network, an HTTP status), NX_ERR_CORRUPT (another hash), NX_ERR_TOO_LARGE,
 * NX_ERR_IO (a full disk), NX_ERR_NO_MEMORY.
 */
nx_status nx_download_run(const nx_download *download, nx_error *err);

/* From now on SIGINT and SIGTERM end a download instead of the process. Once, before the first. */
void nx_download_watch_signals(void);

/* Has one of them come? */
bool nx_download_interrupted(void);

#endif
