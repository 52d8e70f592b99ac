/* Whole files, read and written with clear errors. */
#ifndef NX_BASE_FILE_H
#define NX_BASE_FILE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* A read-only mapping of a file. Plain data; release with nx_file_unmap. */
typedef struct nx_file_map {
    const uint8_t *data; /* NULL for an empty file */
    size_t size;
} nx_file_map;

/* Maps a regular file. Errors: NX_ERR_NOT_FOUND, NX_ERR_INVALID (a folder, a device), NX_ERR_IO. */
nx_status nx_file_map_open(const char *path, nx_file_map *out, nx_error *err);
void nx_file_unmap(nx_file_map *map);

/* Reads a file, a pipe or ("-") standard input into out (cleared first), at most max_size bytes.
 * Errors: as above, and NX_ERR_TOO_LARGE. */
nx_status nx_file_read(const char *path, size_t max_size, nx_buffer *out, nx_error *err);

/* Writes a whole file beside its place, syncs nothing, and renames it: readers see all or nothing.
 * A link, a pipe or a device (/dev/stdout) is written into instead, and stays what it is.
 * Errors: NX_ERR_IO with the path and the reason (a full disk, no permission). */
nx_status nx_file_write(const char *path, const void *bytes, size_t size, nx_error *err);

/* Makes a folder and its parents, as mkdir -p does. */
nx_status nx_file_make_dirs(const char *path, nx_error *err);

/* Removes a file, or a folder with everything in it, following no link. None is as good, and what
 * can't be removed is left. */
void nx_file_remove_tree(const char *path);

#endif
