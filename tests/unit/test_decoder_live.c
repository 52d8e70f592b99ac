/* Cameras over HTTP, played by a thread of the test: frames, silence, ends, lies and redirections.
 */
#include "testing.h"

#include "base/clock.h"
#include "media/codec.h"
#include "media/decoder.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define WIDTH  320
#define HEIGHT 240
#define LONG   (60 * NX_NS_PER_SEC)
#define SHORT  (NX_NS_PER_SEC / 2)

#define HEAD                                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=frame\r\n"                \
    "Connection: close\r\n\r\n"

/* What the camera does once it is asked. */
typedef struct camera {
    const char *head; /* the answer's header */
    int frames;       /* so many pictures follow */
    const char *tail; /* then this, or NULL */
    bool stays;       /* and then it hangs; else it closes */
    uint16_t port;
    int socket;
    pthread_t thread;
    atomic_bool over;
    char request[1024];
    char url[128];
} camera;

static void send_all(int to, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = send(to, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return; /* whoever asked has gone */
        }
        at += sent;
        size -= (size_t)sent;
    }
}

static void send_picture(int to, int number)
{
    uint8_t *pixels = malloc((size_t)3 * WIDTH * HEIGHT);
    char head[128];
    nx_buffer jpeg = NX_BUFFER_INIT;
    nx_error err = {0};
    assert_non_null(pixels);
    memset(pixels, number * 16, (size_t)3 * WIDTH * HEIGHT);
    const nx_image image = {
        .pixels = pixels, .width = WIDTH, .height = HEIGHT, .stride = (size_t)3 * WIDTH};
    nx_assert_ok(nx_image_encode_jpeg(&image, 90, &jpeg, &err), err);
    snprintf(head, sizeof head,
             "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %zu\r\n\r\n", jpeg.size);
    send_all(to, head, strlen(head));
    send_all(to, jpeg.data, jpeg.size);
    send_all(to, "\r\n", 2);
    nx_buffer_free(&jpeg);
    free(pixels);
}

static void serve_one(camera *self, int peer)
{
    size_t got = 0;
    while (got < sizeof self->request - 1 && strstr(self->request, "\r\n\r\n") == NULL) {
        ssize_t more = recv(peer, self->request + got, sizeof self->request - 1 - got, 0);
        if (more <= 0) {
            return;
        }
        got += (size_t)more;
    }
    send_all(peer, self->head, strlen(self->head));
    for (int i = 0; i < self->frames; i++) {
        send_picture(peer, i);
    }
    if (self->tail != NULL) {
        send_all(peer, self->tail, strlen(self->tail));
    }
    char rest[64];
    while (self->stays && recv(peer, rest, sizeof rest, 0) > 0) {
    }
}

static void *serve(void *user)
{
    camera *self = user;
    for (;;) {
        int peer = accept(self->socket, NULL, NULL);
        if (peer < 0 || atomic_load(&self->over)) {
            return NULL;
        }
        memset(self->request, 0, sizeof self->request);
        serve_one(self, peer);
        close(peer);
    }
}

static void camera_start(camera *self)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    self->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(self->socket >= 0);
    assert_int_equal(bind(self->socket, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(self->socket, 4), 0);
    assert_int_equal(getsockname(self->socket, (struct sockaddr *)&address, &size), 0);
    self->port = ntohs(address.sin_port);
    snprintf(self->url, sizeof self->url, "http://me:secret@127.0.0.1:%u/video", self->port);
    assert_int_equal(pthread_create(&self->thread, NULL, serve, self), 0);
}

static void camera_stop(camera *self)
{
    atomic_store(&self->over, true);
    shutdown(self->socket, SHUT_RDWR);
    pthread_join(self->thread, NULL);
    close(self->socket);
}

static nx_decoder_live live_of(const camera *self, int64_t silence_ns)
{
    return (nx_decoder_live){.url = self->url, .connect_ns = LONG, .silence_ns = silence_ns};
}

static nx_decoder *open_camera(const nx_decoder_live *live)
{
    nx_decoder *decoder = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_decoder_open_live(live, "gate", NULL, &decoder, &err), err);
    return decoder;
}

/* Takes what comes; returns how it ended, and how many frames there were. */
static nx_status take_all(nx_decoder *decoder, uint64_t *frames, bool *end, nx_error *err)
{
    nx_status status = NX_OK;
    int64_t last_ns = -1;
    *frames = 0;
    for (;;) {
        nx_decoder_frame frame;
        status = nx_decoder_next(decoder, &frame, end, err);
        if (status != NX_OK || *end) {
            return status;
        }
        assert_true(frame.pts_ns > last_ns);
        assert_true(frame.arrived_ns > INT64_C(1600000000) * NX_NS_PER_SEC);
        assert_int_equal(frame.width, WIDTH);
        last_ns = frame.pts_ns;
        (*frames)++;
    }
}

static void frames_come_until_the_camera_ends(void **state)
{
    (void)state;
    camera self = {.head = HEAD, .frames = 10};
    camera_start(&self);
    nx_decoder_live live = live_of(&self, LONG);
    live.host = "camera.example:8080";
    nx_decoder *decoder = open_camera(&live);
    const nx_decoder_info *info = nx_decoder_get_info(decoder);
    assert_string_equal(info->container, "mpjpeg");
    assert_string_equal(info->codec, "mjpeg");
    assert_int_equal(info->width, WIDTH);
    assert_int_equal(info->height, HEIGHT);
    uint64_t frames = 0;
    bool end = false;
    nx_error err = {0};
    nx_assert_ok(take_all(decoder, &frames, &end, &err), err);
    assert_true(end);
    assert_true(frames >= 8 && frames <= 10); /* the last one has no boundary behind it */
    nx_decoder_free(decoder);
    camera_stop(&self);
    assert_non_null(strstr(self.request, "Host: camera.example:8080\r\n"));
    assert_non_null(strstr(self.request, "GET /video HTTP/1.1\r\n"));
}

static void a_camera_that_hangs_is_noticed(void **state)
{
    (void)state;
    camera self = {.head = HEAD, .frames = 10, .stays = true};
    camera_start(&self);
    const nx_decoder_live live = live_of(&self, SHORT);
    nx_decoder *decoder = open_camera(&live);
    uint64_t frames = 0;
    bool end = false;
    nx_error err = {0};
    assert_int_equal(take_all(decoder, &frames, &end, &err), NX_ERR_TIMEOUT);
    assert_true(frames >= 8);
    assert_non_null(strstr(err.message, "gate: nothing came for 0.5 s"));
    assert_null(strstr(err.message, "secret"));
    nx_decoder_free(decoder);
    camera_stop(&self);
}

static nx_status open_fails(camera *self, nx_error *err)
{
    nx_decoder *decoder = NULL;
    camera_start(self);
    nx_decoder_live live = live_of(self, LONG);
    live.connect_ns = self->stays ? SHORT : LONG;
    nx_status status = nx_decoder_open_live(&live, "gate", NULL, &decoder, err);
    assert_null(decoder);
    assert_null(strstr(err->message, "secret"));
    camera_stop(self);
    return status;
}

static void liars_are_refused(void **state)
{
    (void)state;
    nx_error err = {0};
    camera text = {.head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 39"
                           "\r\n\r\n",
                   .tail = "this is no video, and never will be one"};
    assert_int_equal(open_fails(&text, &err), NX_ERR_UNSUPPORTED);
    camera missing = {.head = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"};
    assert_int_equal(open_fails(&missing, &err), NX_ERR_IO);
    assert_non_null(strstr(err.message, "404"));
    camera silent = {.head = "", .stays = true};
    assert_int_equal(open_fails(&silent, &err), NX_ERR_TIMEOUT);
    assert_non_null(strstr(err.message, "while connecting"));
}

/* To where nothing should be asked: the camera itself would be found there. */
static void redirections_are_not_followed(void **state)
{
    (void)state;
    char head[256];
    nx_error err = {0};
    camera other = {.head = HEAD, .frames = 10};
    camera_start(&other);
    snprintf(head, sizeof head,
             "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%u/\r\nContent-Length: 0\r\n\r\n",
             other.port);
    camera self = {.head = head};
    assert_int_not_equal(open_fails(&self, &err), NX_OK);
    camera_stop(&other);
    assert_string_equal(other.request, "");
}

/* RTSP's are libavformat's own business, which asks nobody whether to follow them. */
static void redirections_of_rtsp_are_not_followed(void **state)
{
    (void)state;
    char head[256];
    nx_error err = {0};
    nx_decoder *decoder = NULL;
    camera other = {.head = HEAD, .frames = 10};
    camera_start(&other);
    snprintf(head, sizeof head,
             "RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: rtsp://127.0.0.1:%u/\r\n\r\n", other.port);
    camera self = {.head = head, .stays = true};
    camera_start(&self);
    snprintf(self.url, sizeof self.url, "rtsp://me:secret@127.0.0.1:%u/video", self.port);
    nx_decoder_live live = live_of(&self, LONG);
    live.connect_ns = LONG;
    assert_int_not_equal(nx_decoder_open_live(&live, "gate", NULL, &decoder, &err), NX_OK);
    assert_null(strstr(err.message, "secret"));
    camera_stop(&self);
    camera_stop(&other);
    nx_assert_contains(self.request, "OPTIONS");
    assert_string_equal(other.request, "");
}

/* A playlist whose pieces lie on another host. */
static void playlists_stay_at_home(void **state)
{
    (void)state;
    char head[512];
    nx_error err = {0};
    camera other = {.head = HEAD, .frames = 10};
    camera_start(&other);
    snprintf(head, sizeof head,
             "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n"
             "Connection: close\r\n\r\n#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
             "http://127.0.0.1:%u/a.ts\n#EXT-X-ENDLIST\n",
             other.port);
    camera self = {.head = head};
    assert_int_not_equal(open_fails(&self, &err), NX_OK);
    camera_stop(&other);
    assert_string_equal(other.request, "");
}

static void *stop_soon(void *user)
{
    usleep(50000); /* either before or while it waits: both must end */
    atomic_store((atomic_bool *)user, true);
    return NULL;
}

static void waiting_can_be_stopped(void **state)
{
    (void)state;
    pthread_t thread;
    atomic_bool stop = false;
    camera self = {.head = "", .stays = true};
    nx_decoder *decoder = NULL;
    nx_error err = {0};
    camera_start(&self);
    const nx_decoder_live live = live_of(&self, LONG);
    const nx_decoder_options options = {.stop = &stop};
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, &stop), 0);
    assert_int_equal(nx_decoder_open_live(&live, "gate", &options, &decoder, &err),
                     NX_ERR_CANCELLED);
    pthread_join(thread, NULL);
    camera_stop(&self);
}

/* There is no V4L2 device where tests run: this is how far one goes without. */
static void what_is_no_device_is_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {"/dev/null", "/dev/video4242"};
    for (size_t i = 0; i < NX_COUNT(paths); i++) {
        const nx_decoder_live live = {
            .url = paths[i], .device = true, .connect_ns = LONG, .silence_ns = LONG};
        nx_decoder *decoder = NULL;
        nx_error err = {0};
        nx_status status = nx_decoder_open_live(&live, "desk", NULL, &decoder, &err);
        assert_null(decoder);
        if (status == NX_ERR_UNSUPPORTED && strstr(err.message, "libavdevice") != NULL) {
            skip(); /* the library is not installed, and that is what is said */
        }
        assert_int_equal(status, NX_ERR_IO);
        assert_non_null(strstr(err.message, "desk: the device cannot be opened ("));
    }
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_device_is_refused),
        cmocka_unit_test(frames_come_until_the_camera_ends),
        cmocka_unit_test(a_camera_that_hangs_is_noticed),
        cmocka_unit_test(liars_are_refused),
        cmocka_unit_test(redirections_are_not_followed),
        cmocka_unit_test(redirections_of_rtsp_are_not_followed),
        cmocka_unit_test(playlists_stay_at_home),
        cmocka_unit_test(waiting_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
