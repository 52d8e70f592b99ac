/* Between mqtt.c, which delivers, and mqtt_streams.c, which tells of the streams themselves. */
#ifndef NX_JOBS_MQTT_INTERNAL_H
#define NX_JOBS_MQTT_INTERNAL_H

#include "base/buffer.h"
#include "base/json_writer.h"
#include "base/uuid.h"
#include "jobs/mqtt.h"
#include "jobs/mqtt_url.h"
#include "store/streams.h"
#include "store/webhooks.h"

#include <mosquitto.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_MQTT_AT_ONCE     16
#define NX_MQTT_MOST_STREAM 1000

/* A delivery that is not acknowledged yet. */
typedef struct nx_mqtt_flight {
    nx_arena arena;
    nx_webhook delivery;
    int mid;
    int64_t begin_ns;
    bool acknowledged; /* under the lock */
} nx_mqtt_flight;

/* A zone or line that Home Assistant was told of. */
typedef struct nx_mqtt_place {
    uint64_t name; /* its hash */
    bool line;
} nx_mqtt_place;

/* A stream that the broker was told of. */
typedef struct nx_mqtt_known {
    char id[NX_UUID_SIZE];
    uint64_t told;   /* a hash of what was told of its state; 0: nothing */
    uint64_t counts; /* and of its counts */
    int64_t version; /* that Home Assistant was told of; 0: none */
    nx_mqtt_place *places;
    size_t place_count;
    bool seen; /* in this round */
} nx_mqtt_known;

struct nx_mqtt {
    nx_mqtt_options options;
    char *prefix, *discovery;
    nx_mqtt_url url;
    struct mosquitto *client;
    pthread_t thread;
    pthread_t network; /* runs the library */
    bool has_network;  /* the thread's own until it ends */

    /* the thread's own: */
    nx_mqtt_flight *flights[NX_MQTT_AT_ONCE]; /* read by the library's thread under the lock */
    size_t count;
    nx_mqtt_known *known; /* NX_MQTT_MOST_STREAM */
    size_t known_count;
    bool store_failed;

    pthread_mutex_t counts_lock; /* held while they are asked for */
    nx_mqtt_counts counts;
    void *counts_user;

    /* Its own, for the library calls on_log under one of its locks, which publishing takes, too. */
    pthread_mutex_t trouble_lock;
    char trouble[2][200]; /* what was logged last of connecting; not said again */

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool connected;
    bool fresh;   /* a connection that was told nothing yet */
    bool doubted; /* somebody else has said "offline" */
    bool stopping;
};

/* Publishes with QoS 1 under the lock; mid may be NULL. False: there is no connection. */
bool nx_mqtt_publish(nx_mqtt *self, int *mid, const char *topic, const void *bytes, size_t size,
                     bool retain);

uint64_t nx_mqtt_hash(const void *bytes, size_t size); /* never 0 */

/* A stream's device, and where the configuration of one of its entities is. */
void nx_mqtt_write_device(const nx_stream *stream, nx_json *json);
void nx_mqtt_config_topic(const nx_mqtt *self, const char *component, const char *stream,
                          const char *what, char *topic, size_t room);

/* Tells Home Assistant of a stream's zones and lines, and takes back those that are gone. False:
 * not all was told. */
bool nx_mqtt_tell_places(nx_mqtt *self, const nx_stream *stream, nx_mqtt_known *known);
/* All of them, and the counts. */
void nx_mqtt_take_places_back(nx_mqtt *self, nx_mqtt_known *known);
/* The counts that have changed. */
void nx_mqtt_tell_counts(nx_mqtt *self);

/* Tells of streams that are new, changed or gone. all: the broker knows nothing. */
void nx_mqtt_tell_streams(nx_mqtt *self, bool all);

#endif
