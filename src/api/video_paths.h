/* Videos that lie on the server's own disk, in the folders of VIDEO_FOLDERS. */
#ifndef NX_API_VIDEO_PATHS_H
#define NX_API_VIDEO_PATHS_H

#include "base/error.h"

#include <stdint.h>

#define NX_API_VIDEO_PATH_MAX 4095 /* bytes */

/*
 * Opens a file for reading that a client names. folders: absolute ones with ':' between them, those
 * that it may lie in; path: absolute, and beginning with one of them. Nothing leads out of that
 * folder, no link and no "..": the kernel sees to it (openat2, RESOLVE_BENEATH), so that nobody can
 * exchange a part of the path in between. Whether something is there is not told of other places.
 * *fd is the caller's to close. Thread-safe.
 * Errors: NX_ERR_CONFLICT (not in such a folder), NX_ERR_NOT_FOUND, NX_ERR_INVALID (no path, or not
 * a file), NX_ERR_TOO_LARGE (over most bytes), NX_ERR_IO.
 */
nx_status nx_api_video_path_open(const char *folders, const char *path, uint64_t most, int *fd,
                                 nx_error *err);

#endif
