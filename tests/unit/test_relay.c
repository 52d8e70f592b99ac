/*
 * A stream that one process runs and another looks at: listener, connection and mirror, over real
 * sockets and a real database. What runs is a hub and a ring of video without a camera behind them.
 */
#include "store_fixture.h"
#include "testing.h"

#include "base/clock.h"
#include "store/streams.h"
#include "streams/relay.h"
#include "streams/relay_link.h"
#include "streams/relay_listener.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PATIENCE_NS (120 * NX_NS_PER_SEC)
#define LEASE_MS    INT64_C(600000)
#define UUID        "01890000-0000-7000-8000-000000000000"
#define BYTES       1000

/* A process that runs a stream. */
typedef struct runner {
    nx_stream_hub *hub;
    nx_media_ring *media;
    const char *codec; /* of a camera whose video can't be shown; NULL: it can */
    nx_relay_listener *listener;
} runner;

static nx_stream_hub *hub_of(const char *id, void *user)
{
    const runner *self = user;
    (void)id;
    return self->hub != NULL ? nx_stream_hub_retain(self->hub) : NULL;
}

static nx_media_ring *media_of(const char *id, void *user)
{
    const runner *self = user;
    (void)id;
    return nx_media_ring_retain(self->media);
}

static void unfit_of(const char *id, char codec[NX_RELAY_CODEC], void *user)
{
    const runner *self = user;
    (void)id;
    snprintf(codec, NX_RELAY_CODEC, "%s", self->codec != NULL ? self->codec : "");
}

static void wake(void *user)
{
    const runner *self = user;
    nx_relay_listener_wake(self->listener);
}

static void runner_open(runner *self, const char *address)
{
    const nx_relay_source source = {
        .hub = hub_of, .media = media_of, .unfit = unfit_of, .user = self};
    const nx_media_ring_options media = {
        .most_bytes = 1 << 20, .keep_ns = 10 * NX_NS_PER_SEC, .told = wake, .user = self};
    nx_error err = {0};
    *self = (runner){.hub = nx_stream_hub_new(), .media = nx_media_ring_new(&media)};
    assert_non_null(self->hub);
    assert_non_null(self->media);
    nx_assert_ok(nx_relay_listener_start(address, &source, &self->listener, &err), err);
}

static void runner_close(runner *self)
{
    nx_relay_listener_free(self->listener);
    nx_stream_hub_release(self->hub);
    nx_media_ring_release(self->media);
}

static uint64_t tell(runner *self, const char *text)
{
    uint64_t number = nx_stream_hub_tell(self->hub, "frame", text, strlen(text));
    nx_relay_listener_wake(self->listener);
    return number;
}

static void show(runner *self)
{
    uint8_t *pixels = calloc(3, (size_t)16 * 8);
    assert_non_null(pixels);
    free(nx_stream_hub_show(self->hub, pixels, 16, 8));
    nx_relay_listener_wake(self->listener);
}

/* --- the connection -----------------------------------------------------------------------------
 */

static int64_t soon(void)
{
    return nx_clock_now_ns() + PATIENCE_NS;
}

static nx_relay_link *link_to(const nx_relay_place *place, const char *path)
{
    nx_relay_link *link = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_relay_link_open(path, place->address, place->token, -1, soon(), &link, &err),
                 err);
    return link;
}

static void ask(nx_relay_link *link, const nx_relay_message *message)
{
    nx_error err = {0};
    nx_assert_ok(nx_relay_link_ask(link, message, &err), err);
}

static void ask_open(nx_relay_link *link, uint64_t after)
{
    ask(link,
        &(nx_relay_message){.kind = NX_RELAY_OPEN, .numbers = {after}, .bytes = UUID, .size = 36});
}

/* The next message but for signs of life; 0: the connection is lost. */
static nx_relay_kind next(nx_relay_link *link, nx_relay_message *message)
{
    nx_error err = {0};
    bool there = false;
    do {
        if (nx_relay_link_next(link, soon(), message, &there, &err) != NX_OK) {
            return 0;
        }
        assert_true(there);
    } while (message->kind == NX_RELAY_ALIVE);
    return message->kind;
}

static void who_knows_the_token_hears_everything(void **state)
{
    (void)state;
    runner one;
    nx_relay_message message;
    runner_open(&one, "127.0.0.1:0");
    const nx_relay_place *place = nx_relay_listener_place(one.listener);
    assert_non_null(strstr(place->address, "127.0.0.1:"));
    const char *const paths[] = {place->path,
                                 "nobody-listens-here"}; /* then the address is taken */
    uint64_t first = tell(&one, "{\"a\":1}");
    for (size_t i = 0; i < 2; i++) {
        nx_relay_link *link = link_to(place, paths[i]);
        ask_open(link, 0);
        assert_int_equal(next(link, &message), NX_RELAY_OPENED);
        assert_int_equal(message.numbers[0], first);
        uint64_t last = message.numbers[1];
        for (uint64_t number = first; number <= last; number++) {
            assert_int_equal(next(link, &message), NX_RELAY_EVENT);
            assert_int_equal(message.numbers[0], number);
        }
        tell(&one, "{}");
        assert_int_equal(next(link, &message), NX_RELAY_EVENT);
        assert_int_equal(message.numbers[0], last + 1);
        assert_non_null(memmem(message.bytes, message.size, "event: frame\ndata: {}\n\n", 23));
        show(&one);
        assert_int_equal(next(link, &message), NX_RELAY_SHOWN);
        uint64_t shown = message.numbers[0];
        uint64_t encodings = nx_stream_hub_encodings(one.hub);
        assert_int_equal(encodings, i); /* nobody has wanted this one */
        ask(link, &(nx_relay_message){.kind = NX_RELAY_PULL});
        assert_int_equal(next(link, &message), NX_RELAY_PICTURE);
        assert_int_equal(message.numbers[0], shown);
        ask(link, &(nx_relay_message){.kind = NX_RELAY_PULL});
        assert_int_equal(next(link, &message), NX_RELAY_PICTURE);
        assert_int_equal(nx_stream_hub_encodings(one.hub), encodings + 1);
        if (i == 1) {
            nx_stream_hub_end(one.hub);
            nx_relay_listener_wake(one.listener);
            assert_int_equal(next(link, &message), NX_RELAY_ENDED);
            assert_int_equal(next(link, &message), 0);
        }
        nx_relay_link_close(link);
    }
    runner_close(&one);
}

static void who_does_not_know_it_hears_nothing(void **state)
{
    (void)state;
    runner one;
    nx_relay_message message;
    nx_relay_link *link = NULL;
    nx_error err = {0};
    runner_open(&one, "");
    nx_relay_place place = *nx_relay_listener_place(one.listener);
    assert_string_equal(place.address, "");
    place.token[0] = place.token[0] == '0' ? '1' : '0';
    link = link_to(&place, place.path); /* which is not told yet */
    (void)nx_relay_link_ask(link, &(nx_relay_message){.kind = NX_RELAY_PULL}, NULL);
    assert_int_equal(next(link, &message), 0);
    nx_relay_link_close(link);
    assert_int_equal(nx_relay_link_open(place.path, "", "no token", -1, soon(), &link, &err),
                     NX_ERR_UNAVAILABLE);
    assert_int_equal(nx_relay_link_open("nobody", NULL, place.token, -1, soon(), &link, &err),
                     NX_ERR_UNAVAILABLE);
    runner_close(&one);
}

static void who_says_what_makes_no_sense_is_let_go(void **state)
{
    (void)state;
    runner one;
    nx_relay_message message;
    runner_open(&one, "");
    const nx_relay_place *place = nx_relay_listener_place(one.listener);
    static const nx_relay_kind wrong[] = {NX_RELAY_PULL,
                                          NX_RELAY_EVENT}; /* too early; a runner's */
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        nx_relay_link *link = link_to(place, place->path);
        ask(link, &(nx_relay_message){.kind = wrong[i]});
        assert_int_equal(next(link, &message), 0);
        nx_relay_link_close(link);
    }
    one.hub = (nx_stream_hub_release(one.hub), NULL); /* the stream has gone elsewhere */
    nx_relay_link *link = link_to(place, place->path);
    ask_open(link, 0);
    assert_int_equal(next(link, &message), NX_RELAY_REFUSED);
    assert_int_equal(next(link, &message), 0);
    nx_relay_link_close(link);
    runner_close(&one);
}

/* A listener that is no Nexus, or says that more comes than may. */
static void *lie(void *user)
{
    int server = *(int *)user;
    int fd = accept(server, NULL, NULL);
    uint8_t greeting[NX_RELAY_GREETING] = NX_RELAY_NAME;
    uint8_t answer[NX_RELAY_ANSWER];
    static const uint8_t huge[4] = {0xFF, 0xFF, 0xFF, 0x7F};
    assert_int_equal(send(fd, greeting, sizeof greeting, MSG_NOSIGNAL), sizeof greeting);
    assert_int_equal(recv(fd, answer, sizeof answer, MSG_WAITALL), sizeof answer);
    assert_int_equal(send(fd, huge, sizeof huge, MSG_NOSIGNAL), sizeof huge);
    (void)!recv(fd, answer, sizeof answer, 0); /* until the other one has had enough */
    close(fd);
    fd = accept(server, NULL, NULL);
    memset(greeting, 'x', sizeof greeting);
    assert_int_equal(send(fd, greeting, sizeof greeting, MSG_NOSIGNAL), sizeof greeting);
    (void)!recv(fd, answer, sizeof answer, 0);
    close(fd);
    return NULL;
}

static void a_lying_runner_is_not_believed(void **state)
{
    (void)state;
    static const char path[] = "nexus-relay-test-liar";
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    nx_relay_message message;
    nx_relay_link *link = NULL;
    nx_error err = {0};
    bool there = false;
    char token[NX_RELAY_TOKEN_TEXT];
    pthread_t thread;
    memset(token, 'a', sizeof token - 1);
    token[sizeof token - 1] = '\0';
    memcpy(name.sun_path + 1, path, sizeof path - 1);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server, (const struct sockaddr *)&name,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof path)),
                     0);
    assert_int_equal(listen(server, 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, lie, &server), 0);
    nx_assert_ok(nx_relay_link_open(path, "", token, -1, soon(), &link, &err), err);
    assert_int_equal(nx_relay_link_next(link, soon(), &message, &there, &err), NX_ERR_CORRUPT);
    nx_relay_link_close(link);
    assert_int_equal(nx_relay_link_open(path, "", token, -1, soon(), &link, &err), NX_ERR_CORRUPT);
    pthread_join(thread, NULL);
    /* one that says nothing at all: it is given up in time */
    assert_int_equal(
        nx_relay_link_open(path, "", token, -1, nx_clock_now_ns() + 50 * NX_NS_PER_MS, &link, &err),
        NX_ERR_TIMEOUT);
    close(server);
}

/* Who reads nothing holds up nobody, and misses what is forgotten meanwhile. */
static void a_slow_reader_costs_no_more_than_its_room(void **state)
{
    (void)state;
    runner one;
    nx_relay_message message;
    runner_open(&one, "");
    const nx_relay_place *place = nx_relay_listener_place(one.listener);
    nx_relay_link *slow = link_to(place, place->path);
    nx_relay_link *quick = link_to(place, place->path);
    char *text = malloc(NX_HUB_MESSAGE_MAX);
    assert_non_null(text);
    memset(text, '1', NX_HUB_MESSAGE_MAX - 1);
    text[NX_HUB_MESSAGE_MAX - 1] = '\0';
    uint64_t first = tell(&one, "{}");
    uint64_t last = first;
    ask_open(slow, first - 1);
    ask_open(quick, first);
    assert_int_equal(next(slow, &message), NX_RELAY_OPENED);
    assert_int_equal(next(quick, &message), NX_RELAY_OPENED);
    for (int i = 0; i < 3 * NX_HUB_MESSAGES; i++) {
        last = tell(&one, text);
        do {
            assert_int_equal(next(quick, &message), NX_RELAY_EVENT);
        } while (message.numbers[0] < last);
    }
    uint64_t missed = 0;
    for (uint64_t number = first - 1; number < last;) {
        assert_int_equal(next(slow, &message), NX_RELAY_EVENT);
        assert_true(message.numbers[0] > number);
        missed += message.numbers[0] - number - 1;
        number = message.numbers[0];
    }
    assert_true(missed > NX_HUB_MESSAGES);
    free(text);
    nx_relay_link_close(slow);
    nx_relay_link_close(quick);
    runner_close(&one);
}

/* --- the mirror ---------------------------------------------------------------------------------
 */

typedef struct news {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t count;
} news;

static news heard = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void hear(void *user)
{
    news *self = user;
    pthread_mutex_lock(&self->lock);
    self->count++;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

/* Looks again with each news, and now and then, until a condition holds. */
#define wait_until(condition)                                                                      \
    do {                                                                                           \
        int64_t end_ns = soon();                                                                   \
        while (!(condition)) {                                                                     \
            const int64_t at_ns = nx_clock_unix_ns() + 20 * NX_NS_PER_MS;                          \
            const struct timespec at = {at_ns / NX_NS_PER_SEC, at_ns % NX_NS_PER_SEC};             \
            pthread_mutex_lock(&heard.lock);                                                       \
            (void)pthread_cond_timedwait(&heard.changed, &heard.lock, &at);                        \
            pthread_mutex_unlock(&heard.lock);                                                     \
            if (nx_clock_now_ns() > end_ns) {                                                      \
                fail_msg("not in time: %s", #condition);                                           \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static nx_relay *relay_of(store_fixture *fixture, int64_t linger_ns)
{
    const nx_relay_options options = {
        .store = fixture->store, .told = hear, .user = &heard, .linger_ns = linger_ns};
    nx_relay *relay = nx_relay_new(&options);
    assert_non_null(relay);
    return relay;
}

static const char *add_stream(store_fixture *fixture)
{
    const nx_stream_request request = {.name = "gate",
                                       .url = "rtsp://camera/1",
                                       .options = "{}",
                                       .enabled = true,
                                       .created_by = ""};
    nx_stream stream;
    nx_error err = {0};
    nx_assert_ok(nx_store_stream_add(fixture->store, &request, &fixture->arena, &stream, &err),
                 err);
    return stream.id;
}

/* The runner gets the stream's lease. */
static nx_stream_lease take(store_fixture *fixture, const nx_relay_place *place)
{
    const nx_stream_runner who = {.name = "elsewhere:1",
                                  .path = place->path,
                                  .address = place->address,
                                  .token = place->token};
    nx_stream stream;
    size_t count = 0;
    nx_error err = {0};
    nx_assert_ok(nx_store_streams_take(fixture->store, &who, 1, LEASE_MS, &fixture->arena, &stream,
                                       &count, &err),
                 err);
    assert_int_equal(count, 1);
    return (nx_stream_lease){.id = stream.id, .fence = stream.fence};
}

static nx_stream_hub *mirror_of(nx_relay *relay, const char *id)
{
    nx_stream_hub *hub = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_relay_hub(relay, id, soon(), &hub, &err), err);
    return hub;
}

static void a_mirror_says_what_the_runner_says(void **state)
{
    STORE_FIXTURE(state);
    runner one;
    nx_buffer there = NX_BUFFER_INIT;
    nx_buffer here = NX_BUFFER_INIT;
    nx_stream_jpeg *jpeg = NULL;
    runner_open(&one, "");
    for (int i = 0; i < 10; i++) {
        tell(&one, "{\"n\":1}");
    }
    const char *id = add_stream(fixture);
    (void)take(fixture, nx_relay_listener_place(one.listener));
    nx_relay *relay = relay_of(fixture, 0);
    nx_stream_hub *hub = mirror_of(relay, id);
    nx_stream_hub *same = mirror_of(relay, id);
    assert_ptr_equal(hub, same);
    uint64_t last = nx_stream_hub_last(one.hub);
    assert_int_equal(nx_stream_hub_last(hub), last); /* all that there was is there at once */
    assert_int_equal(nx_stream_hub_read(one.hub, last - 10, SIZE_MAX, &there), last);
    assert_int_equal(nx_stream_hub_read(hub, last - 10, SIZE_MAX, &here), last);
    assert_string_equal(nx_buffer_cstr(&here), nx_buffer_cstr(&there));
    last = tell(&one, "{}");
    wait_until(nx_stream_hub_last(hub) == last);

    assert_int_equal(nx_relay_jpeg(relay, id, soon(), &jpeg, &err), NX_ERR_UNAVAILABLE);
    show(&one);
    wait_until(nx_stream_hub_picture(hub) == 1);
    show(&one);
    wait_until(nx_stream_hub_picture(hub) == 2);
    assert_int_equal(nx_stream_hub_encodings(one.hub), 0); /* nobody has wanted one */
    for (int i = 0; i < 20; i++) {
        nx_assert_ok(nx_relay_jpeg(relay, id, soon(), &jpeg, &err), err);
        assert_int_equal(jpeg->number, 2);
        nx_stream_jpeg_release(jpeg);
    }
    assert_int_equal(nx_stream_hub_encodings(one.hub), 1);
    show(&one); /* who looks on takes each as it comes */
    wait_until(nx_stream_hub_picture(hub) == 3);
    wait_until(nx_stream_hub_jpeg(hub, 2, &jpeg, &err) == NX_OK);
    assert_int_equal(jpeg->number, 3);
    nx_stream_jpeg_release(jpeg);
    nx_buffer_free(&here);
    nx_buffer_free(&there);
    nx_stream_hub_release(hub);
    nx_stream_hub_release(same);
    nx_relay_free(relay);
    runner_close(&one);
}

static void a_mirror_goes_where_the_stream_goes(void **state)
{
    STORE_FIXTURE(state);
    runner one;
    runner two;
    nx_stream_jpeg *jpeg = NULL;
    runner_open(&one, "");
    const char *id = add_stream(fixture);
    const nx_stream_lease lease = take(fixture, nx_relay_listener_place(one.listener));
    nx_relay *relay = relay_of(fixture, 0);
    uint64_t first = tell(&one, "{}");
    show(&one);
    nx_stream_hub *hub = mirror_of(relay, id);
    assert_int_equal(nx_stream_hub_last(hub), first);
    nx_assert_ok(nx_relay_jpeg(relay, id, soon(), &jpeg, &err), err);
    nx_stream_jpeg_release(jpeg);
    runner_close(&one); /* as one that is killed */

    nx_assert_ok(nx_store_stream_release(fixture->store, &lease, "", &err), err);
    runner_open(&two, "127.0.0.1:0");
    nx_relay_place place = *nx_relay_listener_place(two.listener);
    snprintf(place.path, sizeof place.path, "of another host");
    (void)take(fixture, &place);
    uint64_t second = tell(&two, "{}");
    show(&two);
    wait_until(nx_stream_hub_last(hub) == second);
    assert_true(second > first);
    assert_false(nx_stream_hub_ended(hub));
    wait_until(nx_stream_hub_picture(hub) == 2); /* the numbers go on */
    nx_assert_ok(nx_relay_jpeg(relay, id, soon(), &jpeg, &err), err);
    assert_int_equal(jpeg->number, 2);
    nx_stream_jpeg_release(jpeg);

    nx_assert_ok(nx_store_stream_remove(fixture->store, id, &err), err);
    nx_stream_hub_end(two.hub);
    nx_relay_listener_wake(two.listener);
    wait_until(nx_stream_hub_ended(hub));
    nx_stream_hub_release(hub);
    nx_relay_free(relay);
    runner_close(&two);
}

static void a_mirror_that_nobody_looks_at_ends(void **state)
{
    STORE_FIXTURE(state);
    runner one;
    runner_open(&one, "");
    const char *id = add_stream(fixture);
    (void)take(fixture, nx_relay_listener_place(one.listener));
    nx_relay *relay = relay_of(fixture, 1);
    nx_stream_hub *hub = mirror_of(relay, id);
    tell(&one, "{}");
    wait_until(nx_stream_hub_last(hub) == nx_stream_hub_last(one.hub));
    assert_true(nx_stream_hub_is_shared(one.hub)); /* by the connection */
    nx_stream_hub_release(hub);
    /* a runner that has something to tell all the time keeps no mirror */
    wait_until((tell(&one, "{}"), !nx_stream_hub_is_shared(one.hub)));
    hub = mirror_of(relay, id); /* and comes again when somebody does */
    nx_stream_hub_release(hub);
    nx_relay_free(relay);
    runner_close(&one);
}

static void who_can_not_look_is_told_why(void **state)
{
    STORE_FIXTURE(state);
    nx_stream_hub *hub = NULL;
    nx_relay *relay = relay_of(fixture, 0);
    const char *id = add_stream(fixture);
    const int64_t short_ns = 300 * NX_NS_PER_MS;
    assert_int_equal(nx_relay_hub(relay, id, nx_clock_now_ns() + short_ns, &hub, &err),
                     NX_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "waits for a server"));
    nx_relay_free(relay);
    nx_relay_place place = {.path = "nobody-listens-here"};
    memset(place.token, 'a', sizeof place.token - 1);
    const nx_stream_lease lease = take(fixture, &place);
    relay = relay_of(fixture, 0);
    assert_int_equal(nx_relay_hub(relay, id, nx_clock_now_ns() + short_ns, &hub, &err),
                     NX_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "elsewhere:1"));
    assert_non_null(strstr(err.message, "STREAM_RELAY"));
    nx_relay_free(relay);
    nx_assert_ok(nx_store_stream_release(fixture->store, &lease, "", &err), err);
    snprintf(place.address, sizeof place.address, "127.0.0.1:1");
    (void)take(fixture, &place);
    relay = relay_of(fixture, 0);
    assert_int_equal(nx_relay_hub(relay, id, nx_clock_now_ns() + short_ns, &hub, &err),
                     NX_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "at 127.0.0.1:1: it cannot be reached"));
    nx_relay_free(relay);
}

/* --- video --- */

static const nx_mp4_track track = {.width = 64,
                                   .height = 48,
                                   .shown_width = 64,
                                   .shown_height = 48,
                                   .config_size = 8,
                                   .config = {1, 0x64, 0, 0x1F}};

static void put(runner *self, int i)
{
    const nx_media_sample sample = {.block = calloc(1, NX_MP4_FRAGMENT_HEAD + BYTES),
                                    .size = BYTES,
                                    .key = i % 10 == 0,
                                    .dts_ns = i * 40 * NX_NS_PER_MS,
                                    .pts_ns = (i + 1) * 40 * NX_NS_PER_MS};
    assert_non_null(sample.block);
    sample.block[NX_MP4_FRAGMENT_HEAD] = (uint8_t)i;
    nx_media_ring_put(self->media, &sample);
}

static void the_video_is_mirrored_when_somebody_wants_it(void **state)
{
    STORE_FIXTURE(state);
    runner one;
    nx_media_ring *ring = NULL;
    nx_media_view view;
    nx_media_piece *piece = NULL;
    runner_open(&one, "");
    one.codec = "mjpeg";
    const char *id = add_stream(fixture);
    (void)take(fixture, nx_relay_listener_place(one.listener));
    nx_relay *relay = relay_of(fixture, 0);
    assert_int_equal(nx_relay_media(relay, id, soon(), &ring, &err), NX_ERR_UNSUPPORTED);
    assert_string_equal(err.message, "mjpeg");
    nx_relay_free(relay);

    one.codec = NULL;
    relay = relay_of(fixture, 0);
    assert_int_equal(nx_relay_media(relay, id, soon(), &ring, &err), NX_ERR_UNAVAILABLE);
    nx_media_ring_begin(one.media);
    nx_media_ring_track(one.media, &track);
    nx_media_ring_place(one.media, NX_NS_PER_SEC);
    for (int i = 0; i < 16; i++) {
        put(&one, i);
    }
    nx_relay_listener_wake(one.listener);
    wait_until(nx_relay_media(relay, id, soon(), &ring, &err) == NX_OK);
    wait_until(nx_media_view_open(ring, INT64_MAX, &view));
    assert_memory_equal(&view.track, &track, sizeof track);
    for (int i = 10; i < 25; i++) { /* from the newest key frame on */
        wait_until(nx_media_view_next(&view, &piece) == NX_MEDIA_PIECE);
        assert_int_equal(piece->block[NX_MP4_FRAGMENT_HEAD], i);
        assert_int_equal(piece->size, NX_MP4_FRAGMENT_HEAD + BYTES);
        assert_int_equal(piece->sample.key, i % 10 == 0);
        assert_int_equal(piece->dts_ns, NX_NS_PER_SEC + i * 40 * NX_NS_PER_MS);
        assert_int_equal(piece->pts_ns, NX_NS_PER_SEC + (i + 1) * 40 * NX_NS_PER_MS);
        nx_media_piece_release(piece);
        put(&one, i + 6);
    }
    nx_media_ring_cut(one.media); /* the camera is gone: what is left, and the end */
    nx_media_news last = NX_MEDIA_NOTHING;
    wait_until((last = nx_media_view_next(&view, &piece)) == NX_MEDIA_ENDED ||
               (last == NX_MEDIA_PIECE && (nx_media_piece_release(piece), false)));
    nx_media_view_close(&view);
    nx_media_ring_release(ring);
    nx_relay_free(relay);
    runner_close(&one);
}

static void an_address_is_host_and_port(void **state)
{
    (void)state;
    char host[32];
    char port[6];
    assert_true(nx_relay_address_split("db.local:7440", host, sizeof host, port));
    assert_string_equal(host, "db.local");
    assert_string_equal(port, "7440");
    assert_true(nx_relay_address_split("[::1]:0", host, sizeof host, port));
    assert_string_equal(host, "::1");
    static const char *const wrong[] = {
        "", ":1", "host", "host:", "h:1x", "host:65536", "::1:80", "host:123456"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(nx_relay_address_split(wrong[i], host, sizeof host, port));
    }
}

/* Several processes of a host have one setting. */
static void the_next_free_port_is_taken(void **state)
{
    (void)state;
    runner one;
    runner two;
    char host[32];
    char first[6];
    char second[6];
    runner_open(&one, "127.0.0.1:0");
    const char *address = nx_relay_listener_place(one.listener)->address;
    runner_open(&two, address);
    assert_true(nx_relay_address_split(address, host, sizeof host, first));
    assert_true(nx_relay_address_split(nx_relay_listener_place(two.listener)->address, host,
                                       sizeof host, second));
    assert_in_range(atoi(second), atoi(first) + 1, atoi(first) + NX_RELAY_PORTS - 1);
    runner_close(&one);
    runner_close(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_host_and_port),
        cmocka_unit_test(the_next_free_port_is_taken),
        cmocka_unit_test(who_knows_the_token_hears_everything),
        cmocka_unit_test(who_does_not_know_it_hears_nothing),
        cmocka_unit_test(who_says_what_makes_no_sense_is_let_go),
        cmocka_unit_test(a_lying_runner_is_not_believed),
        cmocka_unit_test(a_slow_reader_costs_no_more_than_its_room),
        store_test(a_mirror_says_what_the_runner_says),
        store_test(a_mirror_goes_where_the_stream_goes),
        store_test(a_mirror_that_nobody_looks_at_ends),
        store_test(who_can_not_look_is_told_why),
        store_test(the_video_is_mirrored_when_somebody_wants_it),
    };
    return cmocka_run_group_tests_name("sqlite", tests, store_group_sqlite, store_group_end);
}
