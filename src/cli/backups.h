/* What 'nexus backup' and 'nexus restore' have in common: what they work on, and how far they are,
 * on a terminal. */
#ifndef NX_CLI_BACKUPS_H
#define NX_CLI_BACKUPS_H

#include "backup/backup.h"
#include "cli/progress.h"
#include "cli/setup.h"

/* Plain data; all zero at first. */
typedef struct nx_stages {
    const char *stage; /* that is shown */
    nx_progress bar;
} nx_stages;

/* nx_backup_progress with an nx_stages as user. */
void nx_stages_show(void *user, const char *stage, size_t done, size_t total);
void nx_stages_end(nx_stages *stages);

/* The vault, and the storage that setup has open, with its models; stages shows how far it is.
 * models: their folder, which out names and the caller frees. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_backup_of(nx_vault *vault, const nx_setup *setup, nx_stages *stages, char **models,
                       nx_backup *out, nx_error *err);

#endif
