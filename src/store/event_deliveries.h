/*
 * Who is still to be told of events (store/events.h): one delivery for each event and target, and
 * the log of the attempts. As store/webhooks.h says of jobs: taken for an attempt under a fence,
 * due again after a failure, given up in the end; at least once. An nx_webhook is a delivery here,
 * and its job_id is the event's id.
 *
 * Thread-safe, and safe between processes and hosts. Errors as in store/webhooks.h.
 */
#ifndef NX_STORE_EVENT_DELIVERIES_H
#define NX_STORE_EVENT_DELIVERIES_H

#include "store/webhooks.h"

/* The end of the id of a delivery to the webhook of the event's own stream. */
#define NX_EVENT_OWN_DELIVERY ":stream"

/* What signs a delivery to the webhook of its event's own stream; NULL: that has none of its own,
 * or it is a delivery to somebody else. Errors: NX_ERR_NOT_FOUND (the stream is gone). */
nx_status nx_store_event_webhook_secret(nx_store *store, const nx_webhook *delivery,
                                        nx_arena *arena, const char **secret, nx_error *err);

/* Takes up to limit that are due, each for an attempt of so long. */
nx_status nx_store_event_webhooks_take(nx_store *store, size_t limit, int64_t attempt_ms,
                                       nx_arena *arena, nx_webhook *out, size_t *count,
                                       nx_error *err);
/* Those for MQTT. */
nx_status nx_store_event_mqtt_take(nx_store *store, size_t limit, int64_t attempt_ms,
                                   nx_arena *arena, nx_webhook *out, size_t *count, nx_error *err);

/* As nx_store_webhooks_settle, of each. */
nx_status nx_store_event_webhooks_settle(nx_store *store, int64_t attempt_ms,
                                         const nx_job_retry_policy *policy, nx_error *err);
nx_status nx_store_event_mqtt_settle(nx_store *store, int64_t attempt_ms,
                                     const nx_job_retry_policy *policy, nx_error *err);

/* Of both. */
nx_status nx_store_event_delivery_note(nx_store *store, const nx_webhook *delivery,
                                       const nx_webhook_outcome *outcome,
                                       const nx_job_retry_policy *policy, int64_t max_attempts,
                                       nx_webhook_state *became, nx_error *err);

/* Those of an event. */
nx_status nx_store_event_deliveries_list(nx_store *store, const char *event, size_t limit,
                                         nx_arena *arena, nx_webhook *out, size_t *count,
                                         nx_error *err);
nx_status nx_store_event_attempts(nx_store *store, const char *delivery, size_t limit,
                                  nx_arena *arena, nx_webhook_attempt *out, size_t *count,
                                  nx_error *err);

#endif
