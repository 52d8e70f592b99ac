#include "store/webhooks.h"

#include "store/outbox.h"

static const nx_outbox box = NX_OUTBOX("webhooks", "webhook_attempts", "job_id", "webhook_id", "");

nx_status nx_store_webhooks_take(nx_store *store, size_t limit, int64_t attempt_ms, nx_arena *arena,
                                 nx_webhook *out, size_t *count, nx_error *err)
{
    return nx_outbox_take(store, &box, limit, attempt_ms, arena, out, count, err);
}

nx_status nx_store_webhooks_settle(nx_store *store, int64_t attempt_ms,
                                   const nx_job_retry_policy *policy, nx_error *err)
{
    return nx_outbox_settle(store, &box, attempt_ms, policy, err);
}

nx_status nx_store_webhook_note(nx_store *store, const nx_webhook *webhook,
                                const nx_webhook_outcome *outcome,
                                const nx_job_retry_policy *policy, int64_t max_attempts,
                                nx_webhook_state *became, nx_error *err)
{
    return nx_outbox_note(store, &box, webhook, outcome, policy, max_attempts, became, err);
}

nx_status nx_store_webhooks_list(nx_store *store, const char *job_id, size_t limit, nx_arena *arena,
                                 nx_webhook *out, size_t *count, nx_error *err)
{
    return nx_outbox_list(store, &box, job_id, limit, arena, out, count, err);
}

nx_status nx_store_webhook_attempts(nx_store *store, const char *id, size_t limit, nx_arena *arena,
                                    nx_webhook_attempt *out, size_t *count, nx_error *err)
{
    return nx_outbox_attempts(store, &box, id, limit, arena, out, count, err);
}
