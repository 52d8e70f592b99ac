#include "cli/delivery_metrics.h"

void nx_delivery_metrics_register(nx_metrics *registry, nx_delivery_metrics *out)
{
    const char *targets[NX_DELIVERY_TARGETS];
    const char *reasons[NX_WEBHOOK_FAILURES];
    for (int i = 0; i < NX_DELIVERY_TARGETS; i++) {
        targets[i] = nx_delivery_target_name((nx_delivery_target)i);
    }
    for (int i = 0; i < NX_WEBHOOK_FAILURES; i++) {
        reasons[i] = nx_webhook_failure_name((nx_webhook_failure)i);
    }
    const nx_label labels[] = {{"target", targets, NX_DELIVERY_TARGETS, 0},
                               {"reason", reasons, NX_WEBHOOK_FAILURES, 0}};
    out->sent =
        nx_metrics_counter(registry, "deliveries_sent_total",
                           "Webhooks and MQTT messages that were taken by who is told.", labels, 1);
    out->failed = nx_metrics_counter(registry, "deliveries_failed_total",
                                     "Attempts to send one that failed, by reason.", labels, 2);
    out->given_up =
        nx_metrics_counter(registry, "deliveries_given_up_total",
                           "Those that were given up after their last attempt.", labels, 1);
    nx_metric_show_zeros(out->sent);
    nx_metric_show_zeros(out->failed);
    nx_metric_show_zeros(out->given_up);
}

void nx_delivery_metrics_count(nx_delivery_target target, const nx_webhook_outcome *outcome,
                               nx_webhook_state became, void *user)
{
    const nx_delivery_metrics *metrics = user;
    if (outcome->error == NULL) {
        nx_metric_add(metrics->sent, nx_metric_series(metrics->sent, target, 0, 0), 1);
        return;
    }
    nx_metric_add(metrics->failed, nx_metric_series(metrics->failed, target, outcome->failure, 0),
                  1);
    if (became == NX_WEBHOOK_FAILED) {
        nx_metric_add(metrics->given_up, nx_metric_series(metrics->given_up, target, 0, 0), 1);
    }
}
