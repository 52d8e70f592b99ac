#include "api/audit.h"

#include <stdio.h>
#include <string.h>

/* Room for what an entry of a request borrows. */
typedef struct space {
    char address[NX_ADDRESS_TEXT];
    char object[NX_AUDIT_TEXT_MAX + 1];
    char details[80];
} space;

static nx_audit_entry entry_of(const nx_http_request *request, const nx_api_event *event,
                               space *room)
{
    static const nx_identity anonymous = {.kind = NX_IDENTITY_ANONYMOUS};
    const nx_identity *who = nx_http_identity(request);
    nx_audit_entry entry = {
        .action = event->action,
        .result = event->outcome == NX_OK ? "ok" : "failed",
        .details = event->details,
        .request_id = nx_http_request_id(request),
    };
    nx_audit_actor(who != NULL ? who : &anonymous, &entry);
    entry.actor = event->actor != NULL ? event->actor : entry.actor;
    nx_http_client_text(request, room->address);
    entry.address = room->address;
    if (event->kind != NULL) {
        snprintf(room->object, sizeof room->object, "%s:%s", event->kind, event->name);
        entry.object = room->object;
    }
    if (event->outcome != NX_OK) {
        snprintf(room->details, sizeof room->details, "{\"error\":\"%s\"}",
                 nx_status_name(event->outcome));
        entry.details = room->details;
    }
    return entry;
}

void nx_api_audit(nx_api *api, const nx_http_request *request, const nx_api_event *event)
{
    space room;
    if (api->audit != NULL) {
        const nx_audit_entry entry = entry_of(request, event, &room);
        nx_error err = {0};
        /* what is done is done: the row waits, and the process's log says so */
        (void)nx_audit_write(api->audit, &entry, &err);
    }
}

void nx_api_audit_soon(nx_api *api, const nx_http_request *request, const nx_api_event *event)
{
    space room;
    if (api->audit != NULL) {
        const nx_audit_entry entry = entry_of(request, event, &room);
        nx_audit_post(api->audit, &entry);
    }
}

void nx_api_audit_stranger(nx_api *api, const nx_http_request *request, const nx_api_event *event)
{
    space room;
    if (api->audit != NULL) {
        const nx_address client = nx_http_client(request);
        const nx_audit_entry entry = entry_of(request, event, &room);
        nx_audit_note(api->audit, &client, &entry);
    }
}

void nx_api_audit_refused(nx_api *api, const nx_http_request *request, int status)
{
    space room;
    char details[40];
    if (api->audit == NULL) {
        return;
    }
    const nx_api_event event = {
        .action = "access.refused", .kind = nx_http_method(request), .name = nx_http_path(request)};
    const nx_address client = nx_http_client(request);
    nx_audit_entry entry = entry_of(request, &event, &room);
    snprintf(details, sizeof details, "{\"status\":%d}", status);
    entry.result = "refused";
    entry.details = details;
    nx_audit_note(api->audit, &client, &entry);
}

void nx_api_note(nx_api *api, const char *action, nx_status outcome, const char *details)
{
    if (api->audit != NULL) {
        const nx_audit_entry entry = {.actor_kind = "system",
                                      .action = action,
                                      .result = outcome == NX_OK ? "ok" : "failed",
                                      .details = details};
        nx_audit_post(api->audit, &entry);
    }
}

/* --- metrics ------------------------------------------------------------------------------------
 */

static double read_waiting(void *user)
{
    const nx_api *api = user;
    return (double)nx_audit_get_stats(api->audit).waiting;
}

void nx_api_audit_metrics_register(nx_api *api)
{
    static const char *const outcomes[] = {"written", "lost", "counted"};
    const nx_label label = {"outcome", outcomes, sizeof outcomes / sizeof outcomes[0], 0};
    if (api->audit == NULL) {
        return;
    }
    nx_metrics *registry = nx_service_metrics_registry(api->deps.metrics);
    api->audit_rows = nx_metrics_counter(
        registry, "audit_rows_total",
        "What happened: in the audit log, in the process's log alone, or as part of a count.",
        &label, 1);
    nx_metrics_gauge_read(registry, "audit_rows_waiting",
                          "Rows that wait to be written into the audit log.", read_waiting, api);
}

static void show(nx_api *api, size_t outcome, uint64_t total)
{
    nx_metric_show(api->audit_rows, nx_metric_series(api->audit_rows, outcome, 0, 0), total);
}

void nx_api_audit_metrics_read(nx_api *api)
{
    if (api->audit != NULL) {
        const nx_audit_stats stats = nx_audit_get_stats(api->audit);
        show(api, 0, stats.written);
        show(api, 1, stats.lost);
        show(api, 2, stats.counted);
    }
}
