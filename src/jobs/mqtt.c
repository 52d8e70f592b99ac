#include "jobs/mqtt.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "jobs/event_message.h"
#include "jobs/mqtt_internal.h"
#include "store/event_deliveries.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS        1000
#define ATTEMPT_MS     30000
#define MARGIN_MS      10000 /* by which the database waits longer than we do */
#define RETRY_MS       2000
#define LAST_MS        600000
#define MAX_ATTEMPTS   12
#define KEEPALIVE_S    20
#define RECONNECT_S    10 /* the longest wait between two attempts to connect */
#define QOS            1
#define BAD_USER       4 /* as a CONNACK says; brokers mean the password with either */
#define NOT_AUTHORIZED 5
#define TOPIC_MAX      400
#define STREAMS_NS     (2 * NX_NS_PER_SEC) /* between two looks at the streams' states */
#define COUNTS_NS      NX_NS_PER_SEC       /* and at their counts */
#define SETTLE_NS      (30 * NX_NS_PER_SEC)
#define AGAIN_NS       (2 * NX_NS_PER_SEC) /* until a connection is tried that can't be */

/* --- what the library tells, on the network's thread --------------------------------------------
 */

/* The network's thread is cancelled at the end if it waits for a host that does not answer, but
 * never with a lock in its hands: the log has one, too. */
static int keep_from_cancel(void)
{
    int before = PTHREAD_CANCEL_ENABLE;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static void let_cancel(int before)
{
    (void)pthread_setcancelstate(before, NULL);
}

static void wake(nx_mqtt *self)
{
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

/* Why there is no connection: each reason once, for it is tried again and again. */
static void tell_trouble(nx_mqtt *self, const char *what, const char *hint)
{
    pthread_mutex_lock(&self->trouble_lock);
    bool news = strncmp(self->trouble[0], what, sizeof self->trouble[0] - 1) != 0 &&
                strncmp(self->trouble[1], what, sizeof self->trouble[1] - 1) != 0;
    if (news) { /* OpenSSL says two things of one failure */
        memcpy(self->trouble[1], self->trouble[0], sizeof self->trouble[0]);
        snprintf(self->trouble[0], sizeof self->trouble[0], "%s", what);
    }
    pthread_mutex_unlock(&self->trouble_lock);
    if (news) {
        nx_log_warn("jobs", "no connection to the MQTT broker %s:%u: %s%s", self->url.host,
                    self->url.port, what, hint);
    }
}

/* What OpenSSL finds wrong reaches us in no other way. */
static void on_log(struct mosquitto *client, void *user, int level, const char *text)
{
    (void)client;
    if (level == MOSQ_LOG_ERR || level == MOSQ_LOG_WARNING) {
        int before = keep_from_cancel();
        tell_trouble(
            user, text,
            strstr(text, "verif") != NULL
                ? "; its certificate is not trusted: it may have ended; else name the file of "
                  "its CA with MQTT_CA_FILE, and the broker in MQTT_URL as its "
                  "certificate does"
                : "");
        let_cancel(before);
    }
}

static void note_connected(nx_mqtt *self, struct mosquitto *client)
{
    char topic[TOPIC_MAX];
    nx_log_info("jobs", "connected to the MQTT broker %s:%u", self->url.host, self->url.port);
    snprintf(topic, sizeof topic, "%.200s/status", self->prefix);
    (void)mosquitto_subscribe(client, NULL, topic, QOS);
    pthread_mutex_lock(&self->trouble_lock);
    self->trouble[0][0] = self->trouble[1][0] = '\0';
    pthread_mutex_unlock(&self->trouble_lock);
    pthread_mutex_lock(&self->lock);
    self->connected = true;
    self->fresh = true;
    wake(self);
}

static void on_connect(struct mosquitto *client, void *user, int code)
{
    nx_mqtt *self = user;
    int before = keep_from_cancel();
    if (code == 0) {
        note_connected(self, client);
    } else {
        tell_trouble(self, mosquitto_connack_string(code),
                     code == BAD_USER || code == NOT_AUTHORIZED
                         ? " Look at the user and the password of MQTT_URL"
                         : "");
    }
    let_cancel(before);
}

static void on_disconnect(struct mosquitto *client, void *user, int code)
{
    nx_mqtt *self = user;
    int before = keep_from_cancel();
    (void)client;
    pthread_mutex_lock(&self->lock);
    bool was = self->connected;
    self->connected = false;
    wake(self);
    if (was && code != 0) {
        nx_log_warn("jobs", "the connection to the MQTT broker is lost: %s",
                    mosquitto_strerror(code));
    }
    let_cancel(before);
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

static const nx_job_retry_policy policy = {.first_ms = RETRY_MS, .most_ms = LAST_MS};

/* What can't be noted is due again when its attempt's time is over. error NULL: delivered. */
static void note(nx_mqtt *self, const nx_mqtt_flight *one, const char *error,
                 nx_webhook_failure failure)
{
    nx_error err = {0};
    nx_webhook_state became = NX_WEBHOOK_PENDING;
    const nx_webhook_outcome outcome = {
        .error = error,
        .failure = failure,
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
    if (status == NX_OK && self->options.noted != NULL) {
        self->options.noted(NX_DELIVERY_MQTT, &outcome, became, self->options.user);
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
        note(self, one, one->acknowledged ? NULL : "the broker did not acknowledge it",
             NX_WEBHOOK_NO_ANSWER);
        free_flight(one);
    }
}

static int64_t attempt_ms(const nx_mqtt *self)
{
    return self->options.attempt_ms + MARGIN_MS;
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
    nx_status status = nx_store_event_mqtt_take(self->options.store, 1, attempt_ms(self),
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
        note(self, one, err.message, NX_WEBHOOK_NOT_SENT);
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

/* The library ends for what it takes for fatal: a certificate that is not trusted, a broker that
 * was killed amid TLS. Both get better while we run. What it leaves in errno would end it again. */
static void *run_network(void *user)
{
    nx_mqtt *self = user;
    bool stopping = false;
    while (!stopping) {
        errno = 0;
        (void)mosquitto_loop_forever(self->client, -1, 1);
        int before = keep_from_cancel();
        int64_t until_ns = nx_clock_now_ns() + AGAIN_NS;
        pthread_mutex_lock(&self->lock);
        while (!self->stopping && nx_clock_now_ns() < until_ns) {
            (void)nx_condition_wait(&self->changed, &self->lock, until_ns);
        }
        stopping = self->stopping;
        pthread_mutex_unlock(&self->lock);
        let_cancel(before);
    }
    return NULL;
}

static void *run(void *user)
{
    nx_mqtt *self = user;
    int64_t look_ns = 0;
    int64_t streams_ns = 0;
    int64_t counts_ns = 0;
    int64_t settle_ns = 0;
    /* here, for it looks up the name */
    int code = mosquitto_connect_async(self->client, self->url.host, self->url.port, KEEPALIVE_S);
    if (code != MOSQ_ERR_SUCCESS) {
        nx_log_warn("jobs", "the MQTT broker %s:%u is not there yet: %s", self->url.host,
                    self->url.port, mosquitto_strerror(code));
    }
    code = pthread_create(&self->network, NULL, run_network, self);
    self->has_network = code == 0;
    if (code != 0) {
        nx_log_error("jobs", "no thread for MQTT: nothing is told to the broker");
    }
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
        if (what.connected && (what.fresh || nx_clock_now_ns() >= counts_ns)) {
            nx_mqtt_tell_counts(self);
            counts_ns = nx_clock_now_ns() + COUNTS_NS;
        }
        if (nx_clock_now_ns() >= settle_ns) { /* when it fails, the next look tells */
            (void)nx_store_event_mqtt_settle(self->options.store, attempt_ms(self), &policy, NULL);
            settle_ns = nx_clock_now_ns() + SETTLE_NS;
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
        .ca_file = nx_config_string(config, NX_CONFIG_MQTT_CA_FILE),
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
    pthread_mutex_destroy(&self->counts_lock);
    pthread_mutex_destroy(&self->trouble_lock);
    for (size_t i = 0; i < self->known_count; i++) {
        free(self->known[i].places);
    }
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

static nx_status set_up_tls(const nx_mqtt *self, nx_error *err)
{
    const char *file = self->options.ca_file;
    bool own = file != NULL && file[0] != '\0';
    int code = mosquitto_tls_set(self->client, own ? file : NULL, own ? NULL : "/etc/ssl/certs",
                                 NULL, NULL, NULL);
    if (code == MOSQ_ERR_SUCCESS) {
        return NX_OK;
    }
    return own ? nx_error_set(err, NX_ERR_INVALID,
                              "MQTT_CA_FILE: %s can't be read; name a file (PEM) with the "
                              "certificate of the broker's CA",
                              file)
               : nx_error_set(err, NX_ERR_INVALID, "MQTT: %s", mosquitto_strerror(code));
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
    mosquitto_log_callback_set(self->client, on_log);
    (void)mosquitto_threaded_set(self->client, true);
    int code = mosquitto_will_set(self->client, topic, 7, "offline", QOS, true);
    if (code == MOSQ_ERR_SUCCESS && self->url.user[0] != '\0') {
        code = mosquitto_username_pw_set(self->client, self->url.user, self->url.password);
    }
    if (code == MOSQ_ERR_SUCCESS) {
        code = mosquitto_reconnect_delay_set(self->client, 1, RECONNECT_S, true);
    }
    if (code != MOSQ_ERR_SUCCESS) {
        return nx_error_set(err, NX_ERR_INVALID, "MQTT: %s", mosquitto_strerror(code));
    }
    return self->url.tls ? set_up_tls(self, err) : NX_OK;
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
    pthread_mutex_init(&self->counts_lock, NULL);
    pthread_mutex_init(&self->trouble_lock, NULL);
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

/* Without a connection it may wait for a host that does not answer; it is given time to end by
 * itself all the same, for a thread that is cancelled may hold what the library needs. */
static void end_network(nx_mqtt *self, bool connected)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    if (!connected) {
        if (pthread_clockjoin_np(self->network, NULL, CLOCK_MONOTONIC, &until) == 0) {
            return;
        }
        (void)pthread_cancel(self->network);
    }
    (void)pthread_join(self->network, NULL);
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
    if (mqtt->has_network) {
        end_network(mqtt, connected);
    }
    free_all(mqtt);
}
