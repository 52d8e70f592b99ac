/*
 * Several processes that do the same work, and one that watches over them. It has no threads and
 * does nothing else, so that it can fork at any time.
 *
 * A process that dies is started again, ever later; when one dies again and again right after its
 * start, or ends with an error before it was ever ready, all are ended. SIGTERM and SIGINT end all
 * in peace, a second one at once; so does the end of the terminal, which may tell of it again.
 * SIGHUP goes to all when reload agrees. When the supervisor itself is killed its processes get
 * SIGTERM.
 */
#ifndef NX_CLI_SUPERVISOR_H
#define NX_CLI_SUPERVISOR_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct nx_supervisor_options {
    uint32_t count;   /* of processes, at most NX_SUPERVISOR_MOST */
    int64_t drain_ns; /* they get so long to end before they are killed */
    /* In a new process: works until SIGTERM, which is blocked and to be waited for, and returns its
     * exit code. Calls nx_supervisor_ready with ready_fd once it can do its work. again: one before
     * it with that index was ready. */
    int (*work)(uint32_t index, bool again, int ready_fd, void *user);
    void (*ready)(void *user);  /* all are, for the first time */
    bool (*reload)(void *user); /* on SIGHUP: true when all are to get it */
    /* One has ended, however; expected: it was told to. */
    void (*lost)(uint32_t index, bool expected, void *user);
    void (*ending)(void *user); /* all are about to be told to end */
    void *user;
} nx_supervisor_options;

#define NX_SUPERVISOR_MOST 64

/* A process says that it is ready. */
void nx_supervisor_ready(int ready_fd, uint32_t index);

/* Runs them until all have ended; no thread may exist. *exit_code is the process's own: 0 after a
 * signal, that of the one which failed otherwise. Errors: NX_ERR_UNAVAILABLE (no process or
 * descriptor can be had). */
nx_status nx_supervise(const nx_supervisor_options *options, int *exit_code, nx_error *err);

#endif
