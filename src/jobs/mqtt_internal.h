/* Between mqtt.c, which delivers, and mqtt_streams.c, which tells of the streams themselves. */
#ifndef NX_JOBS_MQTT_INTERNAL_H
#define NX_JOBS_MQTT_INTERNAL_H

#include "base/buffer.h"
#include "base/uuid.h"
#include "jobs/mqtt.h"
#include "jobs/mqtt_url.h"
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

/* A stream that the broker was told of. */
typedef struct nx_mqtt_known {
    char id[NX_UUID_SIZE];
    uint64_t told; /* a hash of what was told of its state */
    bool seen;     /* in this round */
} nx_mqtt_known;

struct nx_mqtt {
    nx_mqtt_options options;
    char *prefix, *discovery;
    nx_mqtt_url url;
    struct mosquitto *client;
    pthread_t thread;

    /* the thread's own: */
    nx_mqtt_flight *flights[NX_MQTT_AT_ONCE]; /* read by the library's thread under the lock */
    size_t count;
    nx_mqtt_known *known; /* NX_MQTT_MOST_STREAM */
    size_t known_count;
    bool store_failed;

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

/* Tells of streams that are new, changed or gone. all: the broker knows nothing. */
void nx_mqtt_tell_streams(nx_mqtt *self, bool all);

#endif
