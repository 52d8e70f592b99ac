/*
 * Tells events of streams to an MQTT broker (MQTT 3.1.1, OASIS 2014): takes what is due out of the
 * database (store/event_deliveries.h) while there is a connection, publishes it with QoS 1, and
 * notes it as delivered when the broker has acknowledged it. A broker that is away costs no
 * attempts; what it has not acknowledged is told again, so that it is told at least once.
 *
 *   PREFIX/status                    "online" or "offline", retained; the last will of each process
 *   PREFIX/streams/ID/event          {"event_type": "line_crossed", "stream_event": {...}}
 *   PREFIX/streams/ID/state          {"name", "state", "reason", "status"}, retained
 *   DISCOVERY/event/nexus_ID/events/config, DISCOVERY/sensor/nexus_ID/state/config: what Home
 *   Assistant needs to know of a stream (home-assistant.io/integrations/mqtt), retained
 *
 * A stream that is gone has its retained messages taken back by those who knew it. Any number of
 * processes may share a database and a broker: one that goes away has the others say that they are
 * online.
 */
#ifndef NX_JOBS_MQTT_H
#define NX_JOBS_MQTT_H

#include "base/config.h"
#include "base/error.h"
#include "store/jobs.h"
#include "store/store.h"

typedef struct nx_mqtt nx_mqtt;

/* Strings are copied. */
typedef struct nx_mqtt_options {
    nx_store *store; /* borrowed */
    const char *url; /* jobs/mqtt_url.h */
    const char *prefix;
    const char *discovery; /* "": Home Assistant is not told */
    int poll_ms;           /* between looks into the database; 0: a second */
    int attempt_ms;        /* so long an acknowledgement is waited for; 0: half a minute */
} nx_mqtt_options;

/* What the configuration says; strings are borrowed from it. */
nx_mqtt_options nx_mqtt_options_of(const nx_config *config, nx_store *store);

/* Connects as soon as it can. Errors: NX_ERR_INVALID (the URL or a topic), NX_ERR_NO_MEMORY,
 * NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_mqtt_start(const nx_mqtt_options *options, nx_mqtt **out, nx_error *err);
/* Says that it goes, and ends. NULL is fine. */
void nx_mqtt_stop(nx_mqtt *mqtt);

#endif
