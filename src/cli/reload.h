/* SIGHUP: the configuration is read again, and what can be taken while the process runs is taken.
 */
#ifndef NX_CLI_RELOAD_H
#define NX_CLI_RELOAD_H

#include "api/api.h"
#include "cli/background.h"
#include "cli/cli.h"

#include <signal.h>

/* Made before threads start, on the thread that waits for signals; the rest is that thread's too.
 * Plain owner. */
typedef struct nx_reload {
    const nx_cli_args *args;
    nx_config *config;  /* what the process runs with; NULL: args' own */
    nx_store *database; /* for the audit log; borrowed */
    bool has_terminal;  /* a SIGHUP may say that it was closed */
} nx_reload;

nx_reload nx_reload_begin(const nx_cli_args *args, nx_store *database);

/* Waits for a signal that is to end the process; returns it. On SIGHUP the file, the environment
 * and the command line are read again (the environment is the one at the start, but the files that
 * it names may have changed). A configuration with a mistake changes nothing, and the log says what
 * is wrong; otherwise it says what has changed, and what needs a restart for that; the audit log
 * has the names of these settings. When the terminal that the process was started from is closed,
 * SIGHUP ends it. api may be NULL. */
int nx_reload_wait(nx_reload *reload, const sigset_t *signals, nx_api *api,
                   const nx_background *background);

/* Is there a terminal that the process belongs to? */
bool nx_reload_has_terminal(void);
/* Is a SIGHUP that came a wish to read again, and not the end of the terminal? */
bool nx_reload_is_wanted(bool had_terminal);

/* "SIGTERM"; of SIGHUP, what it meant. */
const char *nx_reload_signal_name(int number);

void nx_reload_end(nx_reload *reload);

#endif
