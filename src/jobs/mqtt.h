/*
 * Tells events of streams to an MQTT broker (MQTT 3.1.1, OASIS 2014): takes what is due out of the
 * database (store/event_deliveries.h) while there is a connection, publishes it with QoS 1, and
 * notes it as delivered when the broker has acknowledged it. A broker that is away costs no
 * attempts; what it has not acknowledged is told again, so that it is told at least once.
 *
 *   PREFIX/status                    "online" or "offline", retained; the last will of each process
 *   PREFIX/streams/ID/event          {"event_type": "line_crossed", "stream_event": {...}}
 *   PREFIX/streams/ID/state          {"name", "state", "reason", "status"}, retained
 *   PREFIX/streams/ID/counts         of zones and lines, as the API shows them, retained; from the
 *                                    process that runs the stream, when they change
 *   DISCOVERY/event/nexus_ID/events/config, DISCOVERY/sensor/nexus_ID/state/config: what Home
 *   Assistant needs to know of a stream (home-assistant.io/integrations/mqtt), retained
 *
 * A stream that is gone has its retained messages taken back by those who knew it. Any number of
 * processes may share a database and a broker: one that goes away has the others say that they are
 * online.
 */
#ifndef NX_JOBS_MQTT_H
#define NX_JOBS_MQTT_H

#include "base/buffer.h"
#include "base/config.h"
#include "base/error.h"
#include "jobs/webhook.h"
#include "store/jobs.h"
#include "store/store.h"

typedef struct nx_mqtt nx_mqtt;

/* Strings are copied. */
typedef struct nx_mqtt_options {
    nx_store *store;     /* borrowed */
    const char *url;     /* jobs/mqtt_url.h */
    const char *ca_file; /* of the broker's certificate; NULL or "": those of /etc/ssl/certs */
    const char *prefix;
    const char *discovery;   /* "": Home Assistant is not told */
    int poll_ms;             /* between looks into the database; 0: a second */
    int attempt_ms;          /* so long an acknowledgement is waited for; 0: half a minute */
    nx_delivery_noted noted; /* on its thread; may be NULL */
    void *user;
} nx_mqtt_options;

/* What the configuration says; strings are borrowed from it. */
nx_mqtt_options nx_mqtt_options_of(const nx_config *config, nx_store *store);

/* Connects as soon as it can. Errors: NX_ERR_INVALID (the URL or a topic), NX_ERR_NO_MEMORY,
 * NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_mqtt_start(const nx_mqtt_options *options, nx_mqtt **out, nx_error *err);
/* Appends what a stream's zones and lines have counted, as JSON. False: it is not run here. */
typedef bool (*nx_mqtt_counts)(const char *stream, nx_buffer *out, void *user);
/* Who is asked for counts, at most once a second for each stream, from another thread. NULL: nobody
 * any more, and nobody is being asked once this returns. mqtt may be NULL. */
void nx_mqtt_set_counts(nx_mqtt *mqtt, nx_mqtt_counts counts, void *user);

/* Says that it goes, and ends. NULL is fine. */
void nx_mqtt_stop(nx_mqtt *mqtt);

#endif
