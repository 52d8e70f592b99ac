/* What the senders of webhooks and MQTT messages count for /metrics. How many wait is the
 * database's to say (api/storage_metrics.c). */
#ifndef NX_CLI_DELIVERY_METRICS_H
#define NX_CLI_DELIVERY_METRICS_H

#include "jobs/webhook.h"
#include "ops/metrics.h"

/* All NULL counts nothing. */
typedef struct nx_delivery_metrics {
    nx_metric *sent, *failed, *given_up;
} nx_delivery_metrics;

/* Before threads start. */
void nx_delivery_metrics_register(nx_metrics *registry, nx_delivery_metrics *out);

/* A hook of the senders; user is the nx_delivery_metrics, which outlive them. */
void nx_delivery_metrics_count(nx_delivery_target target, const nx_webhook_outcome *outcome,
                               nx_webhook_state became, void *user);

#endif
