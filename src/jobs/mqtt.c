#include "jobs/mqtt.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "jobs/event_message.h"
#include "jobs/mqtt_internal.h"
#include "store/event_deliveries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS      1000
#define ATTEMPT_MS   30000
#define MARGIN_MS    10000 /* by which the database waits longer than we do */
#define RETRY_MS     2000
#define LAST_MS      600000
#define MAX_ATTEMPTS 12
#define KEEPALIVE_S  20
#define RECONNECT_S  10 /* the longest wait between two attempts to connect */
#define QOS          1
#define TOPIC_MAX    400
#define STREAMS_NS   (2 * NX_NS_PER_SEC) /* between two looks at the streams' states */

/* --- what the library tells, on its thread ------------------------------------------------------
 */

static void wake(nx_mqtt *self)
{
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static void on_connect(struct mosquitto *client, void *user, int code)
{
    nx_mqtt *self = user;
    char topic[TOPIC_MAX];
    if (code != 0) {
        nx_log_warn("jobs", "the MQTT broker refuses: %s", mosquitto_connack_string(code));
        return;
    }
    nx_log_info("jobs", "connected to the MQTT broker %s:%u", self->url.host, self->url.port);
    snprintf(topic, sizeof topic, "%.200s/status", self->prefix);
    (void)mosquitto_subscribe(client, NULL, topic, QOS);
    pthread_mutex_lock(&self->lock);
    self->connected = true;
    self->fresh = true;
    wake(self);
}

static void on_disconnect(struct mosquitto *client, void *user, int code)
{
    nx_mqtt *self = user;
    (void)client;
    pthread_mutex_lock(&self->lock);
    bool was = self->connected;
    self->connected = false;
    wake(self);
    if (was && code != 0) {
        nx_log_warn("jobs", "the connection to the MQTT broker is lost: %s",
                    mosquitto_strerror(code));
    }
}

static void on_publish(struct mosquitto *client, void *user, int mid)
{
    nx_mqtt *self = user;
    (void)client;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < self->count; i++) {
        self->flights[i]->acknowledged =
            self->flights[i]->acknowledged || self->flights[i]->mid == mid;
    }
    wake(self);
}

/* Of PREFIX/status alone. */
static void on_message(struct mosquitto *client, void *user,
                       const struct mosquitto_message *message)
{
    nx_mqtt *self = user;
    (void)client;
    if (message->payloadlen == 7 && memcmp(message->payload, "offline", 7) == 0) {
        pthread_mutex_lock(&self->lock);
        self->doubted = true;
        wake(self);
    }
}

/* --- publishing ---------------------------------------------------------------------------------
 */

bool nx_mqtt_publish(nx_mqtt *self, int *mid, const char *topic, const void *bytes, size_t size,
                     bool retain)
{
    int code = mosquitto_publish(self->client, mid, topic, (int)size, bytes, QOS, retain);
    return code == MOSQ_ERR_SUCCESS;
}

static void say_status(nx_mqtt *self, const char *status)
{
    char topic[TOPIC_MAX];
    snprintf(topic, sizeof topic, "%.200s/status", self->prefix);
    (void)nx_mqtt_publish(self, NULL, topic, status, strlen(status), true);
}

static nx_status compose(nx_mqtt *self, nx_mqtt_flight *one, char topic[TOPIC_MAX], nx_buffer *out,
                         nx_error *err)
{
    nx_event_row event = {0};
    nx_status status =
        nx_store_event_get(self->options.store, one->delivery.job_id, &one->arena, &event, err);
    if (status != NX_OK) {
        return status;
    }
    snprintf(topic, TOPIC_MAX, "%.200s/streams/%.40s/event", self->prefix, event.stream_id);
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "event_type", event.kind);
    nx_json_key_string(&json, "delivery_id", one->delivery.id);
    nx_json_key(&json, "stream_event");
    nx_event_json(&event, &json);
    nx_json_object_end(&json);
    return out->failed ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for MQTT") : NX_OK;
}

/* --- deliveries ---------------------------------------------------------------------------------
 */

static void free_flight(nx_mqtt_flight *one)
{
    if (one != NULL) {
        nx_arena_free(&one->arena);
        free(one);
    }
}

/* What can't be noted is due again when its attempt's time is over. error NULL: delivered. */
static void note(nx_mqtt *self, const nx_mqtt_flight *one, const char *error)
{
    static const nx_job_retry_policy policy = {.first_ms = RETRY_MS, .most_ms = LAST_MS};
    nx_error err = {0};
    nx_webhook_state became = NX_WEBHOOK_PENDING;
    const nx_webhook_outcome outcome = {
        .error = error,
        .duration_ms = (nx_clock_now_ns() - one->begin_ns) / NX_NS_PER_MS,
    };
    nx_status status = nx_store_event_delivery_note(self->options.store, &one->delivery, &outcome,
                                                    &policy, MAX_ATTEMPTS, &became, &err);
    if (status != NX_OK) {
        nx_log_warn("jobs", "the outcome of %s is not noted: %s", one->delivery.id, err.message);
    } else if (became == NX_WEBHOOK_FAILED) {
        nx_log_warn("jobs", "%s is given up after %lld attempts: %s", one->delivery.id,
                    (long long)one->delivery.attempts, error);
    }
}

/* Takes them out of the list first: noting may wait. */
static void finish_those_done(nx_mqtt *self)
{
    const int64_t limit_ns = self->options.attempt_ms * NX_NS_PER_MS;
    for (;;) {
        nx_mqtt_flight *one = NULL;
        pthread_mutex_lock(&self->lock);
        for (size_t i = 0; i < self->count && one == NULL; i++) {
            if (self->flights[i]->acknowledged ||
                nx_clock_now_ns() - self->flights[i]->begin_ns > limit_ns) {
                one = self->flights[i];
                self->flights[i] = self->flights[--self->count];
            }
        }
        pthread_mutex_unlock(&self->lock);
        if (one == NULL) {
            return;
        }
        note(self, one, one->acknowledged ? NULL : "the broker did not acknowledge it");
        free_flight(one);
    }
}

/* NULL: none is due, or the database did not say. */
static nx_mqtt_flight *take_one(nx_mqtt *self)
{
    nx_error err = {0};
    size_t count = 0;
    nx_mqtt_flight *one = calloc(1, sizeof *one);
    if (one == NULL) {
        return NULL;
    }
    one->arena = nx_arena_make(0);
    nx_status status =
        nx_store_event_mqtt_take(self->options.store, 1, self->options.attempt_ms + MARGIN_MS,
                                 &one->arena, &one->delivery, &count, &err);
    if (status != NX_OK && !self->store_failed) {
        nx_log_warn("jobs", "MQTT waits for the database: %s", err.message);
    }
    self->store_failed = status != NX_OK;
    if (count == 0) {
        free_flight(one);
        return NULL;
    }
    one->begin_ns = nx_clock_now_ns();
    return one;
}

/* False: none is due. */
static bool begin_one(nx_mqtt *self)
{
    char topic[TOPIC_MAX];
    nx_error err = {0};
    nx_buffer body = NX_BUFFER_INIT;
    nx_mqtt_flight *one = take_one(self);
    if (one == NULL) {
        return false;
    }
    nx_status status = compose(self, one, topic, &body, &err);
    if (status == NX_OK) {
        /* the acknowledgement waits for the lock, and so until the flight is in the list */
        pthread_mutex_lock(&self->lock);
        if (nx_mqtt_publish(self, &one->mid, topic, body.data, body.size, false)) {
            self->flights[self->count++] = one;
        } else {
            status = nx_error_set(&err, NX_ERR_UNAVAILABLE, "there is no connection to the broker");
        }
        pthread_mutex_unlock(&self->lock);
    }
    nx_buffer_free(&body);
    if (status != NX_OK) {
        note(self, one, err.message);
        free_flight(one);
    }
    return true;
}

/* --- the thread ---------------------------------------------------------------------------------
 */

typedef struct news {
    bool stopping, connected, fresh, doubted;
} news;

/* Waits until there is something to do. */
static news wait_for_news(nx_mqtt *self, int64_t until_ns)
{
    pthread_mutex_lock(&self->lock);
    for (;;) {
        bool acknowledged = false;
        for (size_t i = 0; i < self->count; i++) {
            acknowledged = acknowledged || self->flights[i]->acknowledged;
        }
        if (self->stopping || self->fresh || self->doubted || acknowledged ||
            nx_clock_now_ns() >= until_ns) {
            break;
        }
        (void)nx_condition_wait(&self->changed, &self->lock, until_ns);
    }
    const news what = {self->stopping, self->connected, self->fresh, self->doubted};
    self->fresh = self->doubted = false;
    pthread_mutex_unlock(&self->lock);
    return what;
}

static void *run(void *user)
{
    nx_mqtt *self = user;
    int64_t look_ns = 0;
    int64_t streams_ns = 0;
    /* here, for it looks up the name */
    int code = mosquitto_connect_async(self->client, self->url.host, self->url.port, KEEPALIVE_S);
    if (code != MOSQ_ERR_SUCCESS) {
        nx_log_warn("jobs", "the MQTT broker %s:%u is not there yet: %s", self->url.host,
                    self->url.port, mosquitto_strerror(code));
    }
    (void)mosquitto_loop_start(self->client);
    for (;;) {
        const news what = wait_for_news(self, look_ns);
        if (what.stopping) {
            return NULL;
        }
        finish_those_done(self);
        if (what.connected && (what.fresh || what.doubted)) {
            say_status(self, "online");
        }
        if (what.connected && (what.fresh || nx_clock_now_ns() >= streams_ns)) {
            nx_mqtt_tell_streams(self, what.fresh);
            streams_ns = nx_clock_now_ns() + STREAMS_NS;
        }
        while (what.connected && self->count < NX_MQTT_AT_ONCE && begin_one(self)) {
        }
        look_ns = nx_clock_now_ns() + self->options.poll_ms * NX_NS_PER_MS;
    }
}

/* --- life ---------------------------------------------------------------------------------------
 */

nx_mqtt_options nx_mqtt_options_of(const nx_config *config, nx_store *store)
{
    return (nx_mqtt_options){
        .store = store,
        .url = nx_config_string(config, NX_CONFIG_MQTT_URL),
        .prefix = nx_config_string(config, NX_CONFIG_MQTT_PREFIX),
        .discovery = nx_config_string(config, NX_CONFIG_MQTT_DISCOVERY),
    };
}

static void free_all(nx_mqtt *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free_flight(self->flights[i]);
    }
    if (self->client != NULL) {
        mosquitto_destroy(self->client);
    }
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free(self->known);
    free(self->prefix);
    free(self->discovery);
    free(self);
}

static bool is_topic(const char *text, bool may_be_empty)
{
    size_t size = strlen(text);
    return (size > 0 || may_be_empty) && size <= 200 && strpbrk(text, "+#") == NULL;
}

/* The will, the user and TLS. */
static nx_status set_up_client(nx_mqtt *self, nx_error *err)
{
    char id[NX_UUID_SIZE];
    char name[64];
    char topic[TOPIC_MAX];
    nx_status status = nx_uuid_make(id, err);
    if (status != NX_OK) {
        return status;
    }
    snprintf(name, sizeof name, "nexus-%s", id);
    snprintf(topic, sizeof topic, "%.200s/status", self->prefix);
    self->client = mosquitto_new(name, true, self);
    if (self->client == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for MQTT");
    }
    mosquitto_connect_callback_set(self->client, on_connect);
    mosquitto_disconnect_callback_set(self->client, on_disconnect);
    mosquitto_publish_callback_set(self->client, on_publish);
    mosquitto_message_callback_set(self->client, on_message);
    int code = mosquitto_will_set(self->client, topic, 7, "offline", QOS, true);
    if (code == MOSQ_ERR_SUCCESS && self->url.user[0] != '\0') {
        code = mosquitto_username_pw_set(self->client, self->url.user, self->url.password);
    }
    if (code == MOSQ_ERR_SUCCESS && self->url.tls) {
        code = mosquitto_tls_set(self->client, NULL, "/etc/ssl/certs", NULL, NULL, NULL);
    }
    if (code == MOSQ_ERR_SUCCESS) {
        code = mosquitto_reconnect_delay_set(self->client, 1, RECONNECT_S, true);
    }
    return code == MOSQ_ERR_SUCCESS
               ? NX_OK
               : nx_error_set(err, NX_ERR_INVALID, "MQTT: %s", mosquitto_strerror(code));
}

nx_status nx_mqtt_start(const nx_mqtt_options *options, nx_mqtt **out, nx_error *err)
{
    *out = NULL;
    (void)mosquitto_lib_init();
    if (!is_topic(options->prefix, false) || !is_topic(options->discovery, true)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "MQTT_PREFIX and MQTT_DISCOVERY are topics of at most 200 bytes, "
                            "without + and #");
    }
    nx_mqtt *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for MQTT");
    }
    self->options = *options;
    self->options.poll_ms = options->poll_ms > 0 ? options->poll_ms : POLL_MS;
    self->options.attempt_ms = options->attempt_ms > 0 ? options->attempt_ms : ATTEMPT_MS;
    self->prefix = strdup(options->prefix);
    self->discovery = strdup(options->discovery);
    self->known = calloc(NX_MQTT_MOST_STREAM, sizeof *self->known);
    pthread_mutex_init(&self->lock, NULL);
    nx_condition_init(&self->changed);
    nx_status status = nx_mqtt_url_parse(options->url, &self->url, err);
    if (status == NX_OK &&
        (self->prefix == NULL || self->discovery == NULL || self->known == NULL)) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for MQTT");
    }
    if (status == NX_OK) {
        status = set_up_client(self, err);
    }
    int failure = status == NX_OK ? pthread_create(&self->thread, NULL, run, self) : 0;
    if (failure != 0) {
        status = nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure, "no thread for MQTT");
    }
    if (status != NX_OK) {
        free_all(self);
        return status;
    }
    *out = self;
    return NX_OK;
}

void nx_mqtt_stop(nx_mqtt *mqtt)
{
    if (mqtt == NULL) {
        return;
    }
    pthread_mutex_lock(&mqtt->lock);
    mqtt->stopping = true;
    bool connected = mqtt->connected;
    wake(mqtt);
    (void)pthread_join(mqtt->thread, NULL);
    if (connected) {
        say_status(mqtt, "offline");
    }
    (void)mosquitto_disconnect(mqtt->client);
    /* one that is about to connect may wait for a host that does not answer */
    (void)mosquitto_loop_stop(mqtt->client, !connected);
    free_all(mqtt);
}
