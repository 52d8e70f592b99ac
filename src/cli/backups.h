/* What 'nexus backup' and 'nexus restore' have in common: how far they are, on a terminal. */
#ifndef NX_CLI_BACKUPS_H
#define NX_CLI_BACKUPS_H

#include "cli/progress.h"

/* Plain data; all zero at first. */
typedef struct nx_stages {
    const char *stage; /* that is shown */
    nx_progress bar;
} nx_stages;

/* nx_backup_progress with an nx_stages as user. */
void nx_stages_show(void *user, const char *stage, size_t done, size_t total);
void nx_stages_end(nx_stages *stages);

#endif
