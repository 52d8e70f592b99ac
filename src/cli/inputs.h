/* The pictures that a command line names: files, folders, patterns and standard input. */
#ifndef NX_CLI_INPUTS_H
#define NX_CLI_INPUTS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct nx_inputs {
    char **paths; /* owned; "-" is standard input */
    size_t count;
    size_t capacity;
} nx_inputs;

/*
 * Expands operands in their order: a folder gives its .jpg, .jpeg, .png and .webp files (and those
 * of its subfolders when recursive; links to folders are not followed, hidden names are left out),
 * sorted; a word with *, ? or [ that is no file is a pattern, and a folder that it matches counts
 * as if it were named. What does not exist and what cannot be listed is kept: it fails when its
 * turn comes, and the others are served.
 * Errors: NX_ERR_NOT_FOUND (a pattern or folder without a match), NX_ERR_INVALID ("-" twice),
 * NX_ERR_NO_MEMORY. Nothing has to be freed after an error.
 */
nx_status nx_inputs_expand(char *const *operands, int count, bool recursive, nx_inputs *out,
                           nx_error *err);
void nx_inputs_free(nx_inputs *inputs);

/* Whether path is one of the inputs, or a folder that one of them lies in, by whatever names: what
 * is written there could overwrite it. */
bool nx_inputs_at(const nx_inputs *inputs, const char *path);

#endif
