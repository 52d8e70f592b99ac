/* SIGHUP: the configuration is read again, and what can be taken while the process runs is taken.
 */
#ifndef NX_CLI_RELOAD_H
#define NX_CLI_RELOAD_H

#include "api/api.h"
#include "base/share.h"
#include "cli/background.h"
#include "cli/cli.h"

#include <signal.h>

/* Made before threads start, on the thread that waits for signals; the rest is that thread's too.
 * Plain owner. */
typedef struct nx_reload {
    const nx_cli_args *args;
    nx_config *config;  /* what the process runs with; NULL: args' own */
    nx_store *database; /* for the audit log; borrowed; NULL: it notes nothing */
    nx_share share;     /* of several processes: the one that watches over them has told the log */
    bool has_terminal;  /* a SIGHUP may say that it was closed */
} nx_reload;

nx_reload nx_reload_begin(const nx_cli_args *args, nx_store *database, nx_share share);

/* Waits for a signal that is to end the process; returns it. On SIGHUP the file, the environment
 * and the command line are read again (the environment is the one at the start, but the files that
 * it names may have changed). A configuration with a mistake changes nothing, and the log says what
 * is wrong; otherwise it says what has changed, and what needs a restart for that; the audit log
 * has the names of these settings. When the terminal that the process was started from is closed,
 * SIGHUP ends it; one of several processes waits to be told by the one that watches over them. api
 * may be NULL. */
int nx_reload_wait(nx_reload *reload, const sigset_t *signals, nx_api *api,
                   const nx_background *background);

/* For the process that watches over those: reads the configuration again and tells the log. False:
 * there is a mistake in it, and nobody is to take it. */
bool nx_reload_for_all(nx_reload *reload);

/* What the process runs with now. */
const nx_config *nx_reload_config(const nx_reload *reload);

/* The process ends in peace; from here on the default action applies to the next of signals. Not to
 * SIGHUP: a terminal's end is told by the kernel, and by the shell again. */
void nx_reload_let_end(const sigset_t *signals);

/* Is there a terminal that the process belongs to? */
bool nx_reload_has_terminal(void);
/* Is a SIGHUP that came a wish to read again, and not the end of the terminal? */
bool nx_reload_is_wanted(bool had_terminal);

/* "SIGTERM"; of SIGHUP, what it meant. */
const char *nx_reload_signal_name(int number);

void nx_reload_end(nx_reload *reload);

#endif
