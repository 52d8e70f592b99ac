/* `nexus decoder`: the child of a decoder. See decoder_wire.h for what it says and is told. */
#include "base/clock.h"
#include "media/decoder_sandbox.h"
#include "media/decoder_wire.h"
#include "media/video_pixels.h"
#include "media/video_source.h"

#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* How often the parent hears that decoding goes on. */
#define ALIVE_EVERY_NS (50 * NX_NS_PER_MS)

typedef struct child {
    nx_decoder_options options;
    nx_wire_kind kind;
    bool media; /* the parent wants the video itself */
    char url[NX_DECODER_MOST_URL + 1];
    char host[256];
    int64_t file_size;
    struct AVFormatContext *device; /* until the source has it */
    nx_video_source *source;
    nx_video_pixels *pixels;
    uint8_t *ring;
    uint64_t slot_bytes;
    uint32_t width, height;
    bool taken[NX_DECODER_MOST_SLOTS]; /* slots that hold a frame which the parent may look at */
    int64_t heard_ns;                  /* when the parent was last told something */
} child;

/* --- messages -----------------------------------------------------------------------------------
 */

/* Who has no parent has nothing to do. */
static void tell(child *self, nx_wire_to_parent *news, int flags)
{
    ssize_t sent = 0;
    if (self->source != NULL) {
        news->damaged = nx_video_source_damaged(self->source);
    }
    do {
        sent = send(NX_WIRE_CONTROL, news, sizeof *news, MSG_NOSIGNAL | flags);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN) {
        _exit(1);
    }
    self->heard_ns = nx_clock_now_ns();
}

static void tell_alive(void *user)
{
    child *self = user;
    if (nx_clock_now_ns() - self->heard_ns >= ALIVE_EVERY_NS) {
        nx_wire_to_parent news = {.news = NX_WIRE_ALIVE};
        tell(self, &news, MSG_DONTWAIT); /* a parent that does not read has enough to read */
    }
}

/* Nothing is freed: the process ends. */
static void fail(child *self, nx_status status, const nx_error *err) __attribute__((noreturn));

static void fail(child *self, nx_status status, const nx_error *err)
{
    nx_wire_to_parent news = {.news = NX_WIRE_FAILURE};
    news.failure = *err;
    news.failure.status = status;
    tell(self, &news, 0);
    _exit(0);
}

/* The parent's next message. False: there is none yet, which waiting rules out. */
static bool hear(nx_wire_to_child *order, bool wait)
{
    ssize_t got = 0;
    do {
        got = recv(NX_WIRE_CONTROL, order, sizeof *order, wait ? 0 : MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN) {
        return false;
    }
    if (got != (ssize_t)sizeof *order) {
        _exit(1);
    }
    return true;
}

static void hear_release(child *self, bool wait)
{
    nx_wire_to_child order;
    while (hear(&order, wait)) {
        if (order.order != NX_WIRE_RELEASE || order.slot >= self->options.slots) {
            _exit(1);
        }
        self->taken[order.slot] = false;
        wait = false;
    }
}

/* --- frames -------------------------------------------------------------------------------------
 */

static uint32_t free_slot(child *self)
{
    hear_release(self, false);
    for (;;) {
        for (uint32_t i = 0; i < self->options.slots; i++) {
            if (!self->taken[i]) {
                return i;
            }
        }
        hear_release(self, true);
    }
}

/* Decided by a frame and the one before it alone, so that it is the same behind a mark. */
static bool is_wanted(const child *self, const nx_video_place *place)
{
    double fps = self->options.fps;
    if (fps > 0) {
        return place->previous_ns < 0 || floor((double)place->pts_ns / 1e9 * fps) !=
                                             floor((double)place->previous_ns / 1e9 * fps);
    }
    return place->index % self->options.stride == 0;
}

static void deliver(child *self, const AVFrame *frame, const nx_video_place *place)
{
    nx_error err = {0};
    uint32_t slot = free_slot(self);
    nx_status status =
        nx_video_pixels_rgb(self->pixels, frame, nx_video_source_info(self->source)->rotation,
                            self->width, self->height, self->ring + slot * self->slot_bytes, &err);
    if (status != NX_OK) {
        (void)nx_error_prefix(&err, "frame %llu (%.3f s)", (unsigned long long)place->index,
                              (double)place->pts_ns / 1e9);
        fail(self, status == NX_ERR_NO_MEMORY ? NX_ERR_TOO_LARGE : status, &err);
    }
    self->taken[slot] = true;
    nx_wire_to_parent news = {
        .news = NX_WIRE_FRAME,
        .slot = slot,
        .index = place->index,
        .pts_ns = place->pts_ns,
        .mark_ns = place->mark_ns,
        .arrived_ns = place->arrived_ns,
        .late = place->late,
    };
    tell(self, &news, 0);
}

static void deliver_all(child *self)
{
    nx_error err = {0};
    for (;;) {
        const AVFrame *frame = NULL;
        nx_video_place place = {0};
        bool end = false;
        nx_status status = nx_video_source_next(self->source, &frame, &place, &end, &err);
        if (status != NX_OK) {
            fail(self, status, &err);
        }
        if (end) {
            nx_wire_to_parent news = {.news = NX_WIRE_END};
            tell(self, &news, 0);
            _exit(0);
        }
        if (is_wanted(self, &place)) {
            deliver(self, frame, &place);
        }
    }
}

/* --- the life of a child ------------------------------------------------------------------------
 */

static void expect(nx_wire_to_child *order, nx_wire_order kind)
{
    if (!hear(order, true) || order->order != kind) {
        _exit(1);
    }
}

static void open_source(child *self)
{
    nx_error err = {0};
    const nx_video_source_options options = {
        .fd = NX_WIRE_VIDEO,
        .size = self->file_size,
        .max_pixels = self->options.max_pixels,
        .max_damaged = self->options.max_damaged,
        .threads = self->options.threads,
        .media = self->media ? NX_WIRE_MEDIA : -1,
        .url = self->kind != NX_WIRE_FILE ? self->url : NULL,
        .host = self->host,
        .udp = self->kind == NX_WIRE_CAMERA_UDP,
        .device = self->device,
        .catch_up = self->options.catch_up,
        .alive = tell_alive,
        .user = self,
    };
    nx_video_source *source = NULL;
    nx_status status = nx_video_source_open(&options, &source, &err);
    if (status != NX_OK) {
        fail(self, status, &err);
    }
    self->source = source;
    nx_wire_to_parent news = {.news = NX_WIRE_INFO, .info = *nx_video_source_info(source)};
    tell(self, &news, 0);
}

static void map_ring(child *self)
{
    nx_wire_to_child start;
    nx_error err = {0};
    expect(&start, NX_WIRE_START);
    self->width = start.width;
    self->height = start.height;
    self->slot_bytes = nx_wire_slot_bytes(start.width, start.height);
    self->pixels = nx_video_pixels_new();
    void *ring = mmap(NULL, self->slot_bytes * self->options.slots, PROT_READ | PROT_WRITE,
                      MAP_SHARED, NX_WIRE_RING, 0);
    if (ring == MAP_FAILED || self->pixels == NULL) {
        fail(self,
             nx_error_set(&err, NX_ERR_TOO_LARGE, "decoding needs more memory than it may have"),
             &err);
    }
    self->ring = ring;
}

static int64_t size_of(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 ? info.st_size : 0;
}

/* A line of the text that names the camera, without its end. */
static const char *take_line(const char *from, char *to, size_t size)
{
    size_t length = strcspn(from, "\n");
    snprintf(to, size, "%.*s", (int)length, from);
    return from + length + (from[length] == '\n' ? 1 : 0);
}

static void read_camera(child *self)
{
    char text[sizeof self->url + sizeof self->host];
    ssize_t got = pread(NX_WIRE_VIDEO, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    const char *rest = take_line(text, self->url, sizeof self->url);
    (void)take_line(rest, self->host, sizeof self->host);
}

static void run(int parent) __attribute__((noreturn));

static void run(int parent)
{
    static const nx_sandbox sandboxes[] = {
        [NX_WIRE_FILE] = NX_SANDBOX_FILE,
        [NX_WIRE_CAMERA] = NX_SANDBOX_ONLINE,
        [NX_WIRE_CAMERA_UDP] = NX_SANDBOX_ONLINE,
        [NX_WIRE_DEVICE] = NX_SANDBOX_DEVICE,
    };
    static child self;
    nx_wire_to_child hello;
    nx_error err = {0};
    /* those who end a whole group of processes mean the parent, which ends this one */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    mallopt(M_ARENA_MAX, 1); /* each thread's own would take 64 MB of the address space */
    expect(&hello, NX_WIRE_HELLO);
    self.options = hello.options;
    self.kind = hello.kind;
    self.media = hello.media;
    self.file_size = size_of(NX_WIRE_VIDEO);
    if (self.kind != NX_WIRE_FILE) {
        read_camera(&self);
    }
    nx_status status =
        nx_sandbox_detach(self.media ? NX_WIRE_DESCRIPTORS : NX_WIRE_MEDIA, parent, &err);
    if (status == NX_OK && self.kind == NX_WIRE_DEVICE) {
        status = nx_video_device_open(self.url, &self.device, &err);
    }
    if (status == NX_OK) {
        status = nx_sandbox_enter(sandboxes[self.kind], self.options.memory_limit, &err);
    }
    if (status != NX_OK) {
        fail(&self, status, &err);
    }
    open_source(&self);
    map_ring(&self);
    if (self.options.resume) {
        status = nx_video_source_go_to(self.source, &self.options.mark, &err);
        if (status != NX_OK) {
            fail(&self, status, &err);
        }
    }
    deliver_all(&self);
    _exit(0);
}

static bool is_control(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

void nx_decoder_dispatch(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], NX_WIRE_COMMAND) != 0) {
        return;
    }
    int parent = argc == 3 ? atoi(argv[2]) : 0; /* NOLINT(cert-err34-c): 0 for what is none */
    if (parent <= 0 || !is_control(NX_WIRE_CONTROL)) {
        fprintf(stderr, "nexus: 'decoder' is what Nexus runs by itself to decode video files\n");
        exit(2);
    }
    run(parent);
}
