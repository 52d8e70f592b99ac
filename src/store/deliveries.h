/*
 * What somebody is still to be told: webhooks of jobs (store/webhooks.h), webhooks and MQTT
 * messages of events (store/event_deliveries.h), looked at together.
 *
 * Thread-safe. Errors as in store.h.
 */
#ifndef NX_STORE_DELIVERIES_H
#define NX_STORE_DELIVERIES_H

#include "store/store.h"

#include <stdint.h>

typedef enum nx_delivery_target {
    NX_DELIVERY_JOB_WEBHOOK,
    NX_DELIVERY_EVENT_WEBHOOK,
    NX_DELIVERY_MQTT,
    NX_DELIVERY_TARGETS,
} nx_delivery_target;

const char *nx_delivery_target_name(nx_delivery_target target); /* "job_webhook" */

/* By target. */
typedef struct nx_deliveries_waiting {
    int64_t count[NX_DELIVERY_TARGETS];
    int64_t oldest_ms[NX_DELIVERY_TARGETS]; /* how long that one has waited; 0: none waits */
} nx_deliveries_waiting;

nx_status nx_store_deliveries_waiting(nx_store *store, nx_deliveries_waiting *out, nx_error *err);

#endif
