/* Events told to a real MQTT broker, mosquitto on a free port, which is killed and comes back. */
#include "store_fixture.h"

#include "jobs/mqtt.h"
#include "jobs/mqtt_url.h"
#include "store/events.h"
#include "store/streams.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <mosquitto.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

#define BROKER    "/usr/sbin/mosquitto"
#define MOST_IDS  64
#define MOST_KEPT 64

/* --- the broker ---------------------------------------------------------------------------------
 */

typedef struct broker {
    char folder[64];
    int port;
    pid_t pid;
} broker;

#define NEED_BROKER()                                                                              \
    do {                                                                                           \
        if (access(BROKER, X_OK) != 0) {                                                           \
            fprintf(stderr, "SKIPPED %s: no mosquitto (scripts/bootstrap test)\n", __func__);      \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* Is somebody there who takes connections? */
static bool answers(int port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                        .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    bool good = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return good;
}

static void start_broker(broker *b)
{
    char config[128];
    char log[128];
    snprintf(config, sizeof config, "%s/mosquitto.conf", b->folder);
    snprintf(log, sizeof log, "%s/log", b->folder);
    pid_t parent = getpid();
    b->pid = fork();
    assert_true(b->pid >= 0);
    if (b->pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fd < 0 || getppid() != parent || dup2(fd, 1) != 1 || dup2(fd, 2) != 2) {
            _exit(126);
        }
        execl(BROKER, BROKER, "-c", config, (char *)NULL);
        _exit(127);
    }
    while (!answers(b->port)) {
        if (waitpid(b->pid, NULL, WNOHANG) != 0) {
            const store_fixture shown = {.folder = ""};
            store_fixture it = shown;
            snprintf(it.folder, sizeof it.folder, "%s", b->folder);
            store_show_log(&it);
            fail_msg("mosquitto did not start");
        }
        usleep(10000);
    }
}

/* As in a crash. */
static void kill_broker(broker *b)
{
    if (b->pid > 0) {
        kill(b->pid, SIGKILL);
        waitpid(b->pid, NULL, 0);
        b->pid = 0;
    }
}

/* What it has taken is on its disk at once, so that a crash loses nothing that it acknowledged. */
static broker make_broker(void)
{
    broker b = {.port = free_port()};
    char path[128];
    char text[400];
    nx_error err = {0};
    snprintf(b.folder, sizeof b.folder, "/tmp/nexus-mqtt-XXXXXX");
    assert_non_null(mkdtemp(b.folder));
    int size = snprintf(text, sizeof text,
                        "listener %d 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n"
                        "persistence_location %s/\nautosave_on_changes true\nautosave_interval 1\n",
                        b.port, b.folder);
    snprintf(path, sizeof path, "%s/mosquitto.conf", b.folder);
    nx_assert_ok(nx_file_write(path, text, (size_t)size, &err), err);
    start_broker(&b);
    return b;
}

static void end_broker(broker *b)
{
    kill_broker(b);
    (void)nftw(b->folder, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* --- who listens --------------------------------------------------------------------------------
 */

typedef struct listener {
    struct mosquitto *client;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool subscribed;
    char ids[MOST_IDS][100]; /* of deliveries, each once */
    size_t count;
    struct {
        char topic[200];
        char text[1500];
    } kept[MOST_KEPT]; /* the last message of each topic that is no event */
    size_t kept_count;
    size_t offline;
    char last_event[1500];
} listener;

static listener there;

static void on_subscribe(struct mosquitto *client, void *user, int mid, int count, const int *qos)
{
    (void)client;
    (void)user;
    (void)mid;
    (void)count;
    (void)qos;
    pthread_mutex_lock(&there.lock);
    there.subscribed = true;
    pthread_cond_broadcast(&there.changed);
    pthread_mutex_unlock(&there.lock);
}

static void keep_event(const char *text)
{
    json_t *body = json_loads(text, 0, NULL);
    const char *id = json_string_value(json_object_get(body, "delivery_id"));
    bool known = id == NULL;
    for (size_t i = 0; i < there.count && !known; i++) {
        known = strcmp(there.ids[i], id) == 0;
    }
    if (!known && there.count < MOST_IDS) {
        snprintf(there.ids[there.count++], sizeof there.ids[0], "%.90s", id);
    }
    snprintf(there.last_event, sizeof there.last_event, "%s", text);
    json_decref(body);
}

static void keep_other(const char *topic, const char *text)
{
    size_t at = 0;
    while (at < there.kept_count && strcmp(there.kept[at].topic, topic) != 0) {
        at++;
    }
    if (at < MOST_KEPT) {
        there.kept_count += at == there.kept_count;
        snprintf(there.kept[at].topic, sizeof there.kept[at].topic, "%s", topic);
        snprintf(there.kept[at].text, sizeof there.kept[at].text, "%s", text);
    }
    there.offline += strcmp(text, "offline") == 0;
}

static void on_message(struct mosquitto *client, void *user,
                       const struct mosquitto_message *message)
{
    (void)client;
    (void)user;
    char text[1500];
    const char *slash = strrchr(message->topic, '/');
    snprintf(text, sizeof text, "%.*s", message->payloadlen,
             message->payload != NULL ? (const char *)message->payload : "");
    pthread_mutex_lock(&there.lock);
    if (slash != NULL && strcmp(slash, "/event") == 0) {
        keep_event(text);
    } else {
        keep_other(message->topic, text);
    }
    pthread_cond_broadcast(&there.changed);
    pthread_mutex_unlock(&there.lock);
}

static void on_connect(struct mosquitto *client, void *user, int code)
{
    (void)user;
    if (code == 0) {
        (void)mosquitto_subscribe(client, NULL, "#", 1);
    }
}

/* Its session outlives connections and, on the broker's disk, the broker. */
static void listen_to(const broker *b)
{
    memset(&there, 0, sizeof there);
    pthread_mutex_init(&there.lock, NULL);
    pthread_cond_init(&there.changed, NULL);
    mosquitto_lib_init();
    there.client = mosquitto_new("listener", false, NULL);
    assert_non_null(there.client);
    mosquitto_connect_callback_set(there.client, on_connect);
    mosquitto_subscribe_callback_set(there.client, on_subscribe);
    mosquitto_message_callback_set(there.client, on_message);
    mosquitto_reconnect_delay_set(there.client, 1, 1, false);
    assert_int_equal(mosquitto_connect(there.client, "127.0.0.1", b->port, 20), 0);
    assert_int_equal(mosquitto_loop_start(there.client), 0);
    pthread_mutex_lock(&there.lock);
    while (!there.subscribed) {
        pthread_cond_wait(&there.changed, &there.lock);
    }
    pthread_mutex_unlock(&there.lock);
}

static void stop_listening(void)
{
    mosquitto_disconnect(there.client);
    mosquitto_loop_stop(there.client, false);
    mosquitto_destroy(there.client);
    pthread_cond_destroy(&there.changed);
    pthread_mutex_destroy(&there.lock);
}

/* Waits until ready says so, of what has come. */
static void wait_until(bool (*ready)(const void *what), const void *what)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 120; /* only a broken sender lets it pass */
    pthread_mutex_lock(&there.lock);
    while (!ready(what)) {
        if (pthread_cond_timedwait(&there.changed, &there.lock, &end) != 0) {
            pthread_mutex_unlock(&there.lock);
            fail_msg("nothing came");
        }
    }
    pthread_mutex_unlock(&there.lock);
}

static bool has_ids(const void *what)
{
    return there.count >= *(const size_t *)what;
}

static void wait_for_ids(size_t count)
{
    wait_until(has_ids, &count);
}

/* {topic, part of the text}: the last message of the topic holds that; "" is an empty one. */
static bool has_kept(const void *what)
{
    const char *const *pair = what;
    for (size_t i = 0; i < there.kept_count; i++) {
        if (strcmp(there.kept[i].topic, pair[0]) == 0) {
            return pair[1][0] == '\0' ? there.kept[i].text[0] == '\0'
                                      : strstr(there.kept[i].text, pair[1]) != NULL;
        }
    }
    return false;
}

static void wait_for_message(const char *topic, const char *part)
{
    const char *const pair[] = {topic, part};
    wait_until(has_kept, pair);
}

static bool was_offline(const void *what)
{
    return there.offline >= *(const size_t *)what;
}

/* --- tests --------------------------------------------------------------------------------------
 */

static nx_mqtt *start(store_fixture *fixture, const broker *b)
{
    char url[64];
    nx_mqtt *mqtt = NULL;
    nx_error err = {0};
    snprintf(url, sizeof url, "mqtt://127.0.0.1:%d", b->port);
    const nx_mqtt_options options = {.store = fixture->store,
                                     .url = url,
                                     .prefix = "nexus",
                                     .discovery = "homeassistant",
                                     .poll_ms = 20,
                                     .attempt_ms = 2000};
    nx_assert_ok(nx_mqtt_start(&options, &mqtt, &err), err);
    return mqtt;
}

static void add_events(store_fixture *fixture, const char *stream, size_t count)
{
    nx_error err = {0};
    const nx_event_targets targets = {.mqtt = true};
    for (size_t i = 0; i < count; i++) {
        char id[NX_UUID_SIZE];
        nx_assert_ok(nx_uuid_make(id, &err), err);
        const nx_event_row event = {.id = id,
                                    .stream_id = stream,
                                    .stream_name = "yard",
                                    .kind = "loitering",
                                    .rule = "waits",
                                    .zone = "door",
                                    .at = 1700000000000,
                                    .details = "{\"duration_s\":3}"};
        nx_assert_ok(nx_store_event_add(fixture->store, &event, &targets, NULL, &err), err);
    }
}

/* Noted is what the broker has acknowledged, a moment after it was told. */
static void wait_until_delivered(store_fixture *fixture, int64_t count)
{
    while (STORE_NUMBER(fixture->store, "SELECT count(*) FROM event_deliveries"
                                        " WHERE state = 'delivered'") < count) {
        usleep(10000);
    }
}

static void a_broker_that_is_killed_loses_no_event(void **state)
{
    STORE_FIXTURE(state);
    NEED_BROKER();
    broker b = make_broker();
    listen_to(&b);
    nx_mqtt *mqtt = start(fixture, &b);
    add_events(fixture, "s1", 5);
    wait_for_ids(5);
    wait_until_delivered(fixture, 5);
    pthread_mutex_lock(&there.lock);
    nx_assert_contains(there.last_event, "{\"event_type\":\"loitering\",\"delivery_id\":\"");
    nx_assert_contains(there.last_event, "\"details\":{\"duration_s\":3}");
    pthread_mutex_unlock(&there.lock);
    for (int round = 1; round <= 2; round++) {
        kill_broker(&b);
        add_events(fixture, "s1", 5);
        start_broker(&b);
        add_events(fixture, "s1", 5);
        wait_for_ids(5 + 10 * (size_t)round);
        wait_until_delivered(fixture, 5 + 10 * round);
    }
    nx_mqtt_stop(mqtt);
    stop_listening();
    end_broker(&b);
}

static void streams_are_shown_to_home_assistant(void **state)
{
    STORE_FIXTURE(state);
    NEED_BROKER();
    char topic[200];
    char config[200];
    nx_stream stream;
    const nx_stream_request request = {
        .name = "yard", .url = "rtsp://127.0.0.1/x", .options = "{}", .created_by = "test"};
    nx_assert_ok(nx_store_stream_add(fixture->store, &request, &fixture->arena, &stream, &err),
                 err);
    broker b = make_broker();
    listen_to(&b);
    nx_mqtt *mqtt = start(fixture, &b);
    snprintf(topic, sizeof topic, "nexus/streams/%s/state", stream.id);
    wait_for_message("nexus/status", "online");
    wait_for_message(topic, "\"name\":\"yard\",\"state\":\"stopped\"");
    snprintf(config, sizeof config, "homeassistant/sensor/nexus_%s/state/config", stream.id);
    wait_for_message(config, topic);
    snprintf(config, sizeof config, "homeassistant/event/nexus_%s/events/config", stream.id);
    wait_for_message(config, "\"event_types\":[\"line_crossed\",");
    wait_for_message(config, "\"availability_topic\":\"nexus/status\"");
    kill_broker(&b); /* what it kept is told again */
    pthread_mutex_lock(&there.lock);
    there.kept_count = 0;
    pthread_mutex_unlock(&there.lock);
    start_broker(&b);
    wait_for_message(topic, "\"state\":\"stopped\"");
    nx_assert_ok(nx_store_stream_remove(fixture->store, stream.id, &err), err);
    wait_for_message(config, "");
    wait_for_message(topic, "");
    nx_mqtt_stop(mqtt);
    wait_for_message("nexus/status", "offline");
    stop_listening();
    end_broker(&b);
}

/* What a stream has counted, for who asks: of the one whose id user is. */
static bool write_counts(const char *stream, nx_buffer *out, void *user)
{
    nx_buffer_append_str(out,
                         "{\"zones\":[{\"name\":\"the \\\"door\\\"\",\"inside\":2}],\"lines\":[]}");
    return strcmp(stream, user) == 0;
}

/* Of sensors whose topic begins so: how many there are, and of them how many that are taken back.
 */
static void count_sensors(const char *begin, size_t *all, size_t *gone)
{
    *all = *gone = 0;
    for (size_t i = 0; i < there.kept_count; i++) {
        if (strncmp(there.kept[i].topic, begin, strlen(begin)) == 0) {
            (*all)++;
            *gone += there.kept[i].text[0] == '\0';
        }
    }
}

/* {topic's beginning, how many sensors, how many of them gone} */
typedef struct sensor_counts {
    char topic[150];
    size_t all, gone;
} sensor_counts;

static bool has_sensors(const void *what)
{
    const sensor_counts *want = what;
    size_t all = 0;
    size_t gone = 0;
    count_sensors(want->topic, &all, &gone);
    return all == want->all && gone == want->gone;
}

static void zones_and_lines_are_sensors(void **state)
{
    STORE_FIXTURE(state);
    NEED_BROKER();
    char topic[200];
    nx_stream stream;
    nx_stream_request request = {
        .name = "yard",
        .url = "rtsp://127.0.0.1/x",
        .options = "{\"zones\":[{\"name\":\"the \\\"door\\\"\"}],\"lines\":[{\"name\":\"gate\"}]}",
        .created_by = "test"};
    nx_assert_ok(nx_store_stream_add(fixture->store, &request, &fixture->arena, &stream, &err),
                 err);
    broker b = make_broker();
    listen_to(&b);
    nx_mqtt *mqtt = start(fixture, &b);
    sensor_counts zone = {.all = 2};
    sensor_counts line = {.all = 2};
    snprintf(zone.topic, sizeof zone.topic, "homeassistant/sensor/nexus_%s/zone_", stream.id);
    snprintf(line.topic, sizeof line.topic, "homeassistant/sensor/nexus_%s/line_", stream.id);
    wait_until(has_sensors, &zone);
    wait_until(has_sensors, &line);
    nx_mqtt_set_counts(mqtt, write_counts, (void *)stream.id);
    snprintf(topic, sizeof topic, "nexus/streams/%s/counts", stream.id);
    wait_for_message(topic, "\"inside\":2");
    nx_mqtt_set_counts(mqtt, NULL, NULL);
    request.options = "{\"zones\":[{\"name\":\"the \\\"door\\\"\"}],\"lines\":[]}";
    nx_assert_ok(nx_store_stream_change(fixture->store, stream.id, stream.version, &request,
                                        &fixture->arena, &stream, &err),
                 err);
    line.gone = 2;
    wait_until(has_sensors, &line);
    wait_until(has_sensors, &zone);
    nx_assert_ok(nx_store_stream_remove(fixture->store, stream.id, &err), err);
    zone.gone = 2;
    wait_until(has_sensors, &zone);
    wait_for_message(topic, "");
    nx_mqtt_stop(mqtt);
    stop_listening();
    end_broker(&b);
}

static void who_stays_says_so_when_another_goes(void **state)
{
    STORE_FIXTURE(state);
    NEED_BROKER();
    broker b = make_broker();
    listen_to(&b);
    nx_mqtt *one = start(fixture, &b);
    wait_for_message("nexus/status", "online");
    nx_mqtt *two = start(fixture, &b);
    add_events(fixture, "s1", 20);
    wait_for_ids(20);
    wait_until_delivered(fixture, 20);
    nx_mqtt_stop(one);
    const size_t once = 1;
    wait_until(was_offline, &once);
    wait_for_message("nexus/status", "online");
    nx_mqtt_stop(two);
    wait_for_message("nexus/status", "offline");
    stop_listening();
    end_broker(&b);
}

static void urls_are_read(void **state)
{
    (void)state;
    nx_mqtt_url url;
    nx_error err = {0};
    nx_assert_ok(nx_mqtt_url_parse("mqtt://broker", &url, &err), err);
    assert_string_equal(url.host, "broker");
    assert_true(url.port == 1883 && !url.tls && url.user[0] == '\0' && url.password[0] == '\0');
    nx_assert_ok(nx_mqtt_url_parse("mqtts://me:a%40b%2Fc@[::1]:9883/", &url, &err), err);
    assert_true(url.port == 9883 && url.tls);
    assert_string_equal(url.host, "::1");
    assert_string_equal(url.user, "me");
    assert_string_equal(url.password, "a@b/c");
    static const char *const bad[] = {
        "",
        "broker",
        "http://broker",
        "mqtt://",
        "mqtt://broker:99999",
        "mqtt://broker/topic",
        "mqtt://broker?x=1",
        "mqtt://secret:secret%zz@broker:x",
    };
    for (size_t i = 0; i < NX_COUNT(bad); i++) {
        assert_int_equal(nx_mqtt_url_parse(bad[i], &url, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, "MQTT_URL: ");
        assert_null(strstr(err.message, "secret"));
    }
    nx_mqtt *mqtt = NULL;
    nx_mqtt_options options = {.url = "mqtt://broker", .prefix = "a/#", .discovery = ""};
    assert_int_equal(nx_mqtt_start(&options, &mqtt, &err), NX_ERR_INVALID);
    options.prefix = "nexus";
    options.url = "mqtts://broker";
    options.ca_file = "/nowhere.pem";
    assert_int_equal(nx_mqtt_start(&options, &mqtt, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "MQTT_CA_FILE: /nowhere.pem can't be read");
    options.url = "broker";
    assert_int_equal(nx_mqtt_start(&options, &mqtt, &err), NX_ERR_INVALID);
    nx_mqtt_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(a_broker_that_is_killed_loses_no_event),
        store_test(streams_are_shown_to_home_assistant),
        store_test(zones_and_lines_are_sensors),
        store_test(who_stays_says_so_when_another_goes),
        cmocka_unit_test(urls_are_read),
    };
    return store_run_on_both(tests);
}
