/*
 * Many pictures through the engine, results in the order of the inputs: a window of jobs is kept in
 * flight, so that workers never wait and memory stays bounded. Used by detect and eval.
 */
#ifndef NX_CLI_PICTURES_H
#define NX_CLI_PICTURES_H

#include "jobs/image_job.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* One picture's outcome; everything is borrowed for the call. result is set when status is NX_OK.
 */
typedef struct nx_picture_outcome {
    size_t index;
    const char *path;
    nx_status status;
    const nx_error *err;
    bool unread; /* the file could not be read: err's message names it already */
    const nx_result *result;
    const nx_buffer *annotated; /* empty unless asked for */
} nx_picture_outcome;

/* Called on the thread of nx_pictures_run, in order. Anything but NX_OK ends the run. */
typedef nx_status (*nx_picture_visit)(const nx_picture_outcome *outcome, void *user, nx_error *err);

/*
 * Runs all paths ("-" reads standard input). stop, when it becomes non-zero, ends the run early
 * with NX_ERR_CANCELLED after the pictures in flight; it may be NULL. After an error of visit the
 * pictures that wait are dropped. Errors: what visit returns, NX_ERR_NO_MEMORY, NX_ERR_CANCELLED. A
 * picture that fails is not one.
 */
nx_status nx_pictures_run(nx_engine *engine, nx_model *model, char *const *paths, size_t count,
                          const nx_image_job_options *options, const atomic_int *stop,
                          nx_picture_visit visit, void *user, nx_error *err);

#endif
