#include "cli/backups.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void nx_stages_show(void *user, const char *stage, size_t done, size_t total)
{
    nx_stages *stages = user;
    if (stages->stage == NULL || strcmp(stages->stage, stage) != 0 || stages->bar.total != total) {
        bool is_new = stages->stage == NULL || strcmp(stages->stage, stage) != 0;
        nx_stages_end(stages);
        if (is_new && isatty(STDERR_FILENO)) {
            fprintf(stderr, "%s\n", stage);
        }
        stages->stage = stage;
        stages->bar = nx_progress_begin(total);
    }
    nx_progress_update(&stages->bar, done);
}

void nx_stages_end(nx_stages *stages)
{
    if (stages->stage != NULL) {
        nx_progress_end(&stages->bar);
        stages->stage = NULL;
    }
}
