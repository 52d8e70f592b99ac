#include "store/event_deliveries.h"

#include "store/outbox.h"

#define PART(target)                                                                               \
    NX_OUTBOX("event_deliveries", "event_attempts", "event_id", "delivery_id",                     \
              " AND target = '" target "'")
static const nx_outbox webhooks = PART("webhook");
static const nx_outbox mqtt = PART("mqtt");

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
