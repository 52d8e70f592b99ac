#include "store/event_deliveries.h"

#include "store/outbox.h"

#include <string.h>

#define PART(target)                                                                               \
    NX_OUTBOX("event_deliveries", "event_attempts", "event_id", "delivery_id",                     \
              " AND target = '" target "'")
static const nx_outbox webhooks = PART("webhook");
static const nx_outbox mqtt = PART("mqtt");

static void read_secret(const nx_row *row, void *item, nx_arena *arena)
{
    *(const char **)item = nx_row_copy(row, 0, arena);
}

nx_status nx_store_event_webhook_secret(nx_store *store, const nx_webhook *delivery,
                                        nx_arena *arena, const char **secret, nx_error *err)
{
    static const nx_sql get =
        NX_SQL("SELECT webhook_secret FROM streams WHERE id ="
               " (SELECT stream_id FROM events WHERE id = $1) AND webhook_url = $2");
    const char *colon = strrchr(delivery->id, ':');
    *secret = NULL;
    if (colon == NULL || strcmp(colon, NX_EVENT_OWN_DELIVERY) != 0) {
        return NX_OK;
    }
    nx_rows rows = {
        .read = read_secret, .items = secret, .size = sizeof *secret, .limit = 1, .arena = arena};
    const nx_call call = NX_CALL(&get, nx_db_text(delivery->job_id), nx_db_text(delivery->url));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    return status == NX_OK && rows.count == 0
               ? nx_error_set(err, NX_ERR_NOT_FOUND,
                              "the stream whose webhook it was is gone, or has another one")
               : status;
}

nx_status nx_store_event_webhooks_take(nx_store *store, size_t limit, int64_t attempt_ms,
                                       nx_arena *arena, nx_webhook *out, size_t *count,
                                       nx_error *err)
{
    return nx_outbox_take(store, &webhooks, limit, attempt_ms, arena, out, count, err);
}

nx_status nx_store_event_mqtt_take(nx_store *store, size_t limit, int64_t attempt_ms,
                                   nx_arena *arena, nx_webhook *out, size_t *count, nx_error *err)
{
    return nx_outbox_take(store, &mqtt, limit, attempt_ms, arena, out, count, err);
}

nx_status nx_store_event_webhooks_settle(nx_store *store, int64_t attempt_ms,
                                         const nx_job_retry_policy *policy, nx_error *err)
{
    return nx_outbox_settle(store, &webhooks, attempt_ms, policy, err);
}

nx_status nx_store_event_mqtt_settle(nx_store *store, int64_t attempt_ms,
                                     const nx_job_retry_policy *policy, nx_error *err)
{
    return nx_outbox_settle(store, &mqtt, attempt_ms, policy, err);
}

/* The other statements are the same of both parts. */
nx_status nx_store_event_delivery_note(nx_store *store, const nx_webhook *delivery,
                                       const nx_webhook_outcome *outcome,
                                       const nx_job_retry_policy *policy, int64_t max_attempts,
                                       nx_webhook_state *became, nx_error *err)
{
    return nx_outbox_note(store, &webhooks, delivery, outcome, policy, max_attempts, became, err);
}

nx_status nx_store_event_deliveries_list(nx_store *store, const char *event, size_t limit,
                                         nx_arena *arena, nx_webhook *out, size_t *count,
                                         nx_error *err)
{
    return nx_outbox_list(store, &webhooks, event, limit, arena, out, count, err);
}

nx_status nx_store_event_attempts(nx_store *store, const char *delivery, size_t limit,
                                  nx_arena *arena, nx_webhook_attempt *out, size_t *count,
                                  nx_error *err)
{
    return nx_outbox_attempts(store, &webhooks, delivery, limit, arena, out, count, err);
}
