/* What runs beside the API, or instead of it: a worker of the queue, the senders of webhooks and
 * MQTT, and who clears up behind the dead. */
#ifndef NX_CLI_BACKGROUND_H
#define NX_CLI_BACKGROUND_H

#include "cli/delivery_metrics.h"
#include "cli/setup.h"
#include "jobs/mqtt.h"
#include "jobs/sweeper.h"
#include "jobs/webhook.h"
#include "jobs/worker.h"
#include "streams/event_hooks.h"
#include "streams/streams.h"

/* Plain owner; all zero is none. */
typedef struct nx_background {
    nx_worker *worker; /* NULL: nobody does jobs here */
    nx_webhooks *webhooks;
    nx_mqtt *mqtt; /* NULL: there is no broker */
    nx_sweeper *sweeper;
    nx_stream_events *events; /* of the streams; NULL: none */
    nx_streams *streams;      /* NULL: nobody watches cameras here; its owner's until the start */
} nx_background;

/* What the configuration says of a worker; all of it is borrowed from the two. Its concurrency is
 * this process's part, which may be 0. */
nx_worker_options nx_background_worker_options(const nx_config *config, const nx_setup *setup);

/* Live streams, which are not run yet. What they are for listeners starts before, and ends before,
 * they do. Errors: those of nx_streams_new. */
nx_status nx_background_make_streams(const nx_config *config, const nx_setup *setup,
                                     nx_streams **out, nx_error *err);
/* Runs them, with their events; they end with the rest. Errors: those of nx_streams_start and
 * nx_stream_events_start. */
nx_status nx_background_run_streams(const nx_config *config, const nx_setup *setup,
                                    nx_background *background, nx_streams *streams, nx_error *err);

/* Starts the senders and the sweeper, and the worker unless worker is NULL. setup has its storage
 * and engine, and is borrowed until the end, as deliveries is (NULL: nobody counts them). On
 * failure nothing runs. Errors: those of nx_webhooks_start, nx_mqtt_start, nx_sweeper_start and
 * nx_worker_start. */
nx_status nx_background_start(const nx_config *config, const nx_setup *setup,
                              const nx_worker_options *worker, nx_delivery_metrics *deliveries,
                              nx_background *out, nx_error *err);

/* Takes from a configuration what can be reloaded. Errors: NX_ERR_NO_MEMORY, and nothing has
 * changed. */
nx_status nx_background_reconfigure(const nx_background *background, const nx_config *config,
                                    nx_error *err);

/* From now on no jobs are taken, and those that are held go back into the queue. Does not wait. */
void nx_background_ask_stop(const nx_background *background);

/* Asks, and waits for the end of all (seconds). */
void nx_background_stop(nx_background *background);

#endif
