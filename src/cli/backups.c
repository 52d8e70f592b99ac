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

nx_status nx_backup_of(nx_vault *vault, const nx_setup *setup, nx_stages *stages, char **models,
                       nx_backup *out, nx_error *err)
{
    if (asprintf(models, "%s/models", setup->data_dir) < 0) {
        *models = NULL;
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a path");
    }
    *out = (nx_backup){
        .vault = vault,
        .store = setup->database,
        .objects = setup->objects,
        .files = *models,
        .nexus = NX_VERSION,
        .progress = nx_stages_show,
        .user = stages,
    };
    return NX_OK;
}
