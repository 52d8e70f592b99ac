#include "store/deliveries.h"

#include "store/db.h"

#include <string.h>

static const char *const target_names[NX_DELIVERY_TARGETS] = {
    [NX_DELIVERY_JOB_WEBHOOK] = "job_webhook",
    [NX_DELIVERY_EVENT_WEBHOOK] = "event_webhook",
    [NX_DELIVERY_MQTT] = "mqtt",
};

/* Both tables have an index of those that are pending alone. */
static const nx_sql waiting =
    NX_SQL("SELECT 'job_webhook', count(*), nx_now() - min(created_at) FROM webhooks"
           " WHERE state = 'pending'"
           " UNION ALL SELECT CASE target WHEN 'webhook' THEN 'event_webhook' ELSE target END,"
           " count(*), nx_now() - min(created_at) FROM event_deliveries WHERE state = 'pending'"
           " GROUP BY target");

const char *nx_delivery_target_name(nx_delivery_target target)
{
    return target_names[target];
}

static nx_status keep(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    nx_deliveries_waiting *out = user;
    for (size_t i = 0; i < NX_DELIVERY_TARGETS; i++) {
        if (strcmp(nx_row_text(row, 0), target_names[i]) == 0) {
            out->count[i] = nx_row_int(row, 1);
            out->oldest_ms[i] = nx_row_int(row, 2); /* of none it is NULL, and 0 here */
        }
    }
    return NX_OK;
}

nx_status nx_store_deliveries_waiting(nx_store *store, nx_deliveries_waiting *out, nx_error *err)
{
    *out = (nx_deliveries_waiting){.count = {0}};
    const nx_call call = {.sql = &waiting, .each = keep, .user = out};
    return nx_store_run(store, NX_TX_READ, &call, NULL, err);
}
