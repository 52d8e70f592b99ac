/* A progress bar on standard error, when that is a terminal; silent otherwise. */
#ifndef NX_CLI_PROGRESS_H
#define NX_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_progress {
    size_t total;
    int64_t started_ns;
    int64_t drawn_ns;
    bool visible;
} nx_progress;

/* total: how many steps there are; fewer than two show no bar. */
nx_progress nx_progress_begin(size_t total);

/* Redraws at most ten times a second, and always when the bar has been wiped. */
void nx_progress_update(nx_progress *progress, size_t done);

/* Wipes the bar, so that the next line starts clean. */
void nx_progress_end(nx_progress *progress);

#endif
