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
 * of its subfolders when recursive), sorted; a word with *, ? or [ that is no file is a pattern. A
 * file that does not exist is kept: it fails when its turn comes, and the others are served.
 * Errors: NX_ERR_NOT_FOUND (nothing found at all, or a pattern or folder without a match),
 * NX_ERR_INVALID ("-" twice), NX_ERR_IO, NX_ERR_NO_MEMORY.
 */
nx_status nx_inputs_expand(char *const *operands, int count, bool recursive, nx_inputs *out,
                           nx_error *err);
void nx_inputs_free(nx_inputs *inputs);

#endif
