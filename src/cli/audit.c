#include "cli/audit.h"

#include "base/log.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

static void write_row(nx_store *store, const nx_cli_event *event, const char *actor_kind,
                      const char *actor)
{
    char object[NX_AUDIT_TEXT_MAX + 1];
    char details[80];
    nx_error err = {0};
    nx_audit_entry entry = {
        .actor_kind = actor_kind,
        .actor = actor,
        .action = event->action,
        .result = event->outcome == NX_OK ? "ok" : "failed",
        .details = event->details,
    };
    if (event->kind != NULL) {
        snprintf(object, sizeof object, "%s:%s", event->kind, event->name);
        entry.object = object;
    }
    if (event->outcome != NX_OK && event->details == NULL) {
        snprintf(details, sizeof details, "{\"error\":\"%s\"}", nx_status_name(event->outcome));
        entry.details = details;
    }
    if (nx_store_audit_append(store, &entry, 1, &err) != NX_OK) {
        nx_log_error("audit", "not in the audit log (%s): %s %s %s %s %s %s", err.message,
                     actor_kind, actor, event->action, entry.object != NULL ? entry.object : "",
                     entry.result, entry.details != NULL ? entry.details : "");
    }
}

void nx_cli_audit(nx_store *store, const nx_cli_event *event)
{
    char name[NX_AUDIT_TEXT_MAX + 1];
    char space[4096];
    struct passwd entry;
    struct passwd *found = NULL;
    uid_t uid = getuid();
    if (getpwuid_r(uid, &entry, space, sizeof space, &found) == 0 && found != NULL) {
        snprintf(name, sizeof name, "%s", found->pw_name);
    } else {
        snprintf(name, sizeof name, "%lld", (long long)uid); /* containers have such users */
    }
    write_row(store, event, "command", name);
}

void nx_cli_audit_system(nx_store *store, const nx_cli_event *event)
{
    write_row(store, event, "system", "");
}
