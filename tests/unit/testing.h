/* What every unit test shares: cmocka with its needed headers, and the way to the shared data. */
#ifndef NX_TESTS_TESTING_H
#define NX_TESTS_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NX_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Path of a file in the shared data folder, in a static buffer of the calling thread. */
static inline const char *nx_shared_path(const char *relative)
{
    static _Thread_local char path[4096];
    const char *root = getenv("NEXUS_SHARED");
    snprintf(path, sizeof path, "%s/%s", root != NULL ? root : "../shared", relative);
    return path;
}

/* Skips the running test, loudly, when the shared data is not there. */
#define NX_NEED_SHARED()                                                                           \
    do {                                                                                           \
        if (access(nx_shared_path("DATA.md"), R_OK) != 0) {                                        \
            fprintf(stderr, "SKIPPED %s: no shared data at %s (set NEXUS_SHARED)\n", __func__,     \
                    nx_shared_path(""));                                                           \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

/* Asserts that a call succeeded, and shows its error message when it did not. */
#define nx_assert_ok(outcome, err)                                                                 \
    do {                                                                                           \
        if ((outcome) != NX_OK) {                                                                  \
            fail_msg("%s: %s", nx_status_name((err).status), (err).message);                       \
        }                                                                                          \
    } while (0)

/* Asserts that text holds part. */
#define nx_assert_contains(text, part)                                                             \
    do {                                                                                           \
        if (strstr((text), (part)) == NULL) {                                                      \
            fail_msg("'%s' does not contain '%s'", (text), (part));                                \
        }                                                                                          \
    } while (0)

#endif
