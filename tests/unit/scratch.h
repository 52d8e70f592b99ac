/* A folder under /tmp that a test fills and that is gone afterwards. */
#ifndef NX_TESTS_SCRATCH_H
#define NX_TESTS_SCRATCH_H

#include "testing.h"

#include <ftw.h>
#include <limits.h>

/* Group setup and teardown; *state is the folder's path. */
static inline int scratch_make(void **state)
{
    static char folder[] = "/tmp/nexus-test-XXXXXX";
    *state = mkdtemp(folder);
    return *state != NULL ? 0 : -1;
}

static inline int scratch_remove_entry(const char *path, const struct stat *info, int kind,
                                       struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline int scratch_remove(void **state)
{
    return nftw(*state, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path in the folder, in a static buffer of the calling thread; the next call overwrites it. */
static inline const char *scratch_path(void **state, const char *name)
{
    static _Thread_local char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", (const char *)*state, name);
    return path;
}

/* Writes a file of the folder and returns its path, as scratch_path does. */
static inline const char *scratch_write(void **state, const char *name, const void *bytes,
                                        size_t size)
{
    const char *path = scratch_path(state, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

#endif
