/* "Did you mean ...?" */
#ifndef NX_BASE_SUGGEST_H
#define NX_BASE_SUGGEST_H

#include <stddef.h>

/*
 * The candidate nearest to word by Damerau-Levenshtein distance (optimal string alignment, case
 * ignored), or NULL when none is near enough to be a likely slip. Words over 63 bytes get none.
 */
const char *nx_suggest(const char *word, const char *const *candidates, size_t count);

#endif
