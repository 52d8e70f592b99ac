/* What commands change, noted in the audit log: by whom on this machine, and what came of it. */
#ifndef NX_CLI_AUDIT_H
#define NX_CLI_AUDIT_H

#include "store/audit.h"

/* One action on one thing; strings are borrowed. */
typedef struct nx_cli_event {
    const char *action;  /* "user.add" */
    const char *kind;    /* of the thing: "user"; NULL: no thing */
    const char *name;    /* its name or id */
    const char *details; /* a JSON object; NULL: none, or what failed */
    nx_status outcome;   /* NX_OK, or why it failed */
} nx_cli_event;

/* Of a person at the command line: actor_kind "command", actor is the name of the real user id.
 * Returns when the row is on the disk. What is done is done: a row that can't be written goes to
 * the log of the process, at level error. */
void nx_cli_audit(nx_store *store, const nx_cli_event *event);

/* The same of the process itself: actor_kind "system". */
void nx_cli_audit_system(nx_store *store, const nx_cli_event *event);

#endif
