#include "cli/audit.h"

#include "base/log.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

static void write_row(nx_store *store, const nx_cli_event *event, nx_audit_entry *entry)
{
    char object[NX_AUDIT_TEXT_MAX + 1];
    char details[80];
    nx_error err = {0};
    entry->action = event->action;
    entry->result = event->outcome == NX_OK ? "ok" : "failed";
    entry->details = event->details;
    if (event->kind != NULL) {
        snprintf(object, sizeof object, "%s:%s", event->kind, event->name);
        entry->object = object;
    }
    if (event->outcome != NX_OK && event->details == NULL) {
        snprintf(details, sizeof details, "{\"error\":\"%s\"}", nx_status_name(event->outcome));
        entry->details = details;
    }
    if (nx_store_audit_append(store, entry, 1, &err) != NX_OK) {
        nx_log_error("audit", "not in the audit log (%s): %s %s %s %s %s %s", err.message,
                     entry->actor_kind, entry->actor != NULL ? entry->actor : "", entry->action,
                     entry->object != NULL ? entry->object : "", entry->result,
                     entry->details != NULL ? entry->details : "");
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
    nx_audit_entry row = {.actor_kind = "command", .actor = name};
    write_row(store, event, &row);
}

void nx_cli_audit_system(nx_store *store, const nx_cli_event *event)
{
    nx_audit_entry row = {.actor_kind = "system"};
    write_row(store, event, &row);
}
