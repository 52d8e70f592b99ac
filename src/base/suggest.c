#include "base/suggest.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#define LONGEST 63

static int lower(char c)
{
    return tolower((unsigned char)c);
}

static uint8_t least(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours. */
static uint8_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    uint8_t rows[3][LONGEST + 1];
    uint8_t *before = rows[0];
    uint8_t *previous = rows[1];
    uint8_t *current = rows[2];
    for (size_t j = 0; j <= b_length; j++) {
        previous[j] = (uint8_t)j;
        before[j] = 0;
    }
    for (size_t i = 1; i <= a_length; i++) {
        current[0] = (uint8_t)i;
        for (size_t j = 1; j <= b_length; j++) {
            uint8_t cost = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
            current[j] = least(least((uint8_t)(previous[j] + 1), (uint8_t)(current[j - 1] + 1)),
                               (uint8_t)(previous[j - 1] + cost));
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1])) {
                current[j] = least(current[j], (uint8_t)(before[j - 2] + 1));
            }
        }
        uint8_t *recycled = before;
        before = previous;
        previous = current;
        current = recycled;
    }
    return previous[b_length];
}

const char *nx_suggest(const char *word, const char *const *candidates, size_t count)
{
    size_t length = strlen(word);
    const char *best = NULL;
    /* a third of the letters may be wrong, at least one */
    size_t limit = length / 3 > 0 ? length / 3 : 1;
    if (length == 0 || length > LONGEST) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        size_t candidate_length = strlen(candidates[i]);
        if (candidate_length > LONGEST) {
            continue;
        }
        size_t found = distance(word, length, candidates[i], candidate_length);
        size_t longer = length > candidate_length ? length : candidate_length;
        /* at the full distance the two have nothing in common */
        if (found <= limit && found < longer) {
            best = candidates[i];
            if (found == 0) {
                break;
            }
            limit = found - 1;
        }
    }
    return best;
}
