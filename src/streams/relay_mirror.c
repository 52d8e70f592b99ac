#include "streams/relay_mirror.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "base/uuid.h"
#include "store/streams.h"
#include "streams/relay_link.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CONNECT_NS (3 * NX_NS_PER_SEC)
/* Between two looks for the runner, and at what is wanted. */
#define RETRY_NS (NX_NS_PER_SEC / 2)
#define LOOK_NS  (NX_NS_PER_SEC / 2)
/* So long who asks waits for a runner; then each is told at once that there is none. */
#define HOPE_NS     (4 * NX_NS_PER_SEC)
#define PATIENCE_NS (NX_RELAY_PATIENCE_MS * NX_NS_PER_MS)
/* As a stream that is run here keeps it. */
#define MEDIA_BYTES ((size_t)32 << 20)
#define MEDIA_NS    NX_NS_PER_SEC

typedef enum stage { SEEKING, THERE, ENDED } stage;

struct nx_relay_mirror {
    nx_relay_mirror_options options;
    char id[NX_UUID_SIZE];
    nx_stream_hub *hub;
    nx_media_ring *media;
    int wake_fd;
    pthread_t thread;
    atomic_bool ending;
    atomic_bool want_picture; /* set under the hub's lock, too */
    atomic_bool connected;    /* to a runner that has opened the stream */

    /* the thread's own */
    nx_relay_link *link;
    uint64_t last;       /* the message with which everything is known that there was */
    bool opened, pulled; /* pulled: a picture was asked for and has not come */
    bool refused;        /* the one that was asked for last can't be had */
    bool video_asked;
    int64_t heard_ns;
    bool gone; /* the stream is, or its numbers make no sense: this mirror ends */

    pthread_mutex_t lock; /* guards the rest; never held while something is waited for */
    pthread_cond_t changed;
    stage stage;
    int64_t seeking_ns; /* since when */
    nx_error failure;   /* why there is no runner */
    int64_t used_ns, video_used_ns;
    bool want_video;
    bool no_video; /* the runner says so; of this codec */
    char codec[32];
};

static void wake(nx_relay_mirror *self)
{
    static const uint64_t one = 1;
    (void)!write(self->wake_fd, &one, sizeof one);
}

/* The hub's, when somebody wants a picture. */
static void want_picture(void *user)
{
    nx_relay_mirror *self = user;
    atomic_store(&self->want_picture, true);
    if (atomic_load(
            &self->connected)) { /* who connects is not to be disturbed, and asks after it */
        wake(self);
    }
}

static void broadcast(nx_relay_mirror *self)
{
    pthread_mutex_lock(&self->lock);
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static void set_stage(nx_relay_mirror *self, stage next)
{
    pthread_mutex_lock(&self->lock);
    if (self->stage == THERE && next == SEEKING) {
        self->seeking_ns = nx_clock_now_ns();
    }
    self->stage = next;
    self->no_video = false;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

bool nx_relay_mirror_is_idle(nx_relay_mirror *mirror)
{
    bool used = nx_stream_hub_is_shared(mirror->hub) || nx_media_ring_is_watched(mirror->media);
    int64_t now_ns = nx_clock_now_ns();
    pthread_mutex_lock(&mirror->lock);
    if (used) {
        mirror->used_ns = now_ns;
    }
    bool idle = now_ns - mirror->used_ns >= mirror->options.linger_ns;
    pthread_mutex_unlock(&mirror->lock);
    return idle;
}

/* --- what the runner tells ----------------------------------------------------------------------
 */

static bool take_track(nx_relay_mirror *self, const nx_relay_message *message)
{
    nx_mp4_track track = {.config_size = (uint32_t)message->size};
    uint32_t *const members[] = {&track.hevc,        &track.width,        &track.height,
                                 &track.shown_width, &track.shown_height, &track.rotation};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (message->numbers[i] > UINT32_MAX) {
            return false;
        }
        *members[i] = (uint32_t)message->numbers[i];
    }
    memcpy(track.config, message->bytes, message->size);
    if (!nx_mp4_track_is_sane(&track)) {
        return false;
    }
    pthread_mutex_lock(&self->lock);
    self->no_video = false;
    pthread_mutex_unlock(&self->lock);
    nx_media_ring_begin(self->media);
    nx_media_ring_track(self->media, &track);
    nx_media_ring_place(self->media, 0);
    return true;
}

static void take_fragment(nx_relay_mirror *self, const nx_relay_message *message)
{
    const nx_media_fragment fragment = {
        .block = malloc(message->size),
        .size = message->size,
        .key = message->numbers[0] == 1,
        .dts = message->numbers[1],
        .pts_ns = (int64_t)message->numbers[2],
    };
    if (fragment.block !=
        NULL) { /* else it is missed, and looks damaged until the next key frame */
        memcpy(fragment.block, message->bytes, message->size);
        nx_media_ring_put_fragment(self->media, &fragment);
    }
}

static void note_no_video(nx_relay_mirror *self, const nx_relay_message *message)
{
    pthread_mutex_lock(&self->lock);
    self->no_video = true;
    snprintf(self->codec, sizeof self->codec, "%.*s", (int)message->size,
             (const char *)message->bytes);
    pthread_mutex_unlock(&self->lock);
}

/* False: it is nothing that a runner says now, and the connection ends. */
static bool take_message(nx_relay_mirror *self, const nx_relay_message *message)
{
    const uint64_t *numbers = message->numbers;
    if (message->kind == NX_RELAY_OPENED || message->kind == NX_RELAY_REFUSED) {
        if (self->opened || message->kind == NX_RELAY_REFUSED) {
            return false;
        }
        self->opened = true;
        atomic_store(&self->connected, true);
        self->last = numbers[1];
        self->gone = !nx_stream_hub_follow(self->hub, numbers[0], numbers[1], numbers[2]);
        return !self->gone;
    }
    if (!self->opened) {
        return false;
    }
    switch (message->kind) {
    case NX_RELAY_EVENT:
        return nx_stream_hub_put(self->hub, numbers[0], message->bytes, message->size);
    case NX_RELAY_SHOWN:
        nx_stream_hub_note_picture(self->hub, numbers[0]);
        self->pulled = self->pulled && !self->refused;
        return true;
    case NX_RELAY_PICTURE:
    case NX_RELAY_NO_PICTURE:
        self->refused = message->kind == NX_RELAY_NO_PICTURE;
        self->pulled = self->refused; /* the same one would be refused again */
        (void)nx_stream_hub_put_jpeg(self->hub, numbers[0], message->bytes, message->size);
        return true;
    case NX_RELAY_TRACK:
        return take_track(self, message);
    case NX_RELAY_FRAGMENT:
        take_fragment(self, message);
        return true;
    case NX_RELAY_NO_VIDEO:
        note_no_video(self, message);
        return true;
    case NX_RELAY_CUT:
        nx_media_ring_cut(self->media);
        return true;
    case NX_RELAY_ALIVE:
        return true;
    default:
        return false; /* NX_RELAY_ENDED among them */
    }
}

/* --- asking the runner --------------------------------------------------------------------------
 */

/* Does somebody look at the video, or has asked for it of late? */
static bool wants_video(nx_relay_mirror *self)
{
    bool watched = nx_media_ring_is_watched(self->media);
    int64_t now_ns = nx_clock_now_ns();
    pthread_mutex_lock(&self->lock);
    if (watched) {
        self->video_used_ns = now_ns;
    }
    self->want_video = self->want_video && now_ns - self->video_used_ns < self->options.linger_ns;
    bool wanted = self->want_video;
    pthread_mutex_unlock(&self->lock);
    return wanted;
}

static bool ask(nx_relay_mirror *self, const nx_relay_message *message)
{
    return nx_relay_link_ask(self->link, message, NULL) == NX_OK;
}

static bool ask_for_all(nx_relay_mirror *self)
{
    bool good = true;
    if (!self->opened) {
        return true;
    }
    if (!self->pulled && atomic_exchange(&self->want_picture, false)) {
        self->pulled = true;
        good = ask(self, &(nx_relay_message){.kind = NX_RELAY_PULL});
    }
    bool video = wants_video(self);
    if (good && video != self->video_asked) {
        self->video_asked = video;
        good = ask(self, &(nx_relay_message){.kind = NX_RELAY_VIDEO, .numbers = {video ? 1 : 0}});
        if (!video) {
            nx_media_ring_begin(self->media); /* lets go of what there is */
        }
    }
    return good;
}

/* What woke it is looked at after this. */
static void drain(nx_relay_mirror *self)
{
    uint64_t ignored = 0;
    (void)!read(self->wake_fd, &ignored, sizeof ignored);
}

static bool is_over(nx_relay_mirror *self)
{
    return atomic_load(&self->ending) || self->gone;
}

/* Ends it where nobody looks any more. */
static void look_for_viewers(nx_relay_mirror *self)
{
    if (nx_relay_mirror_is_idle(self) && self->options.let_go(self, false, self->options.user)) {
        self->gone = true;
    }
}

/* Until the connection ends. */
static void follow(nx_relay_mirror *self)
{
    nx_relay_message message = {.kind = NX_RELAY_OPEN,
                                .numbers = {nx_stream_hub_last(self->hub)},
                                .bytes = self->id,
                                .size = NX_UUID_SIZE - 1};
    bool good = ask(self, &message);
    bool here = false;
    int64_t looked_ns = nx_clock_now_ns();
    self->opened = self->pulled = self->refused = self->video_asked = false;
    self->heard_ns = looked_ns;
    while (good && !is_over(self)) {
        bool there = false;
        good = nx_relay_link_next(self->link, nx_clock_now_ns() + LOOK_NS, &message, &there,
                                  NULL) == NX_OK;
        int64_t now_ns = nx_clock_now_ns();
        if (good && there) {
            self->heard_ns = now_ns;
            good = take_message(self, &message);
            if (good && self->opened && !here && nx_stream_hub_last(self->hub) >= self->last) {
                here = true;
                set_stage(self, THERE);
            }
            broadcast(self);
            self->options.told(self->options.user);
        } else {
            drain(self);
            good = good && now_ns - self->heard_ns < PATIENCE_NS;
        }
        if (now_ns - looked_ns >= LOOK_NS) { /* however much the runner tells */
            looked_ns = now_ns;
            look_for_viewers(self);
        }
        good = good && ask_for_all(self);
    }
    atomic_store(&self->connected, false);
    nx_media_ring_cut(self->media);
}

/* --- finding the runner -------------------------------------------------------------------------
 */

static bool is_elsewhere(const char *owner)
{
    char host[65] = "";
    (void)gethostname(host, sizeof host - 1);
    size_t size = strlen(host);
    return strncmp(owner, host, size) != 0 || owner[size] != ':';
}

static nx_status connect_to(nx_relay_mirror *self, const nx_stream *stream, nx_error *err)
{
    if (!stream->leased) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE,
                            "the stream waits for a server that has room for it");
    }
    nx_status status =
        nx_relay_link_open(stream->relay_path, stream->relay_address, stream->relay_token,
                           self->wake_fd, nx_clock_now_ns() + CONNECT_NS, &self->link, err);
    bool known = stream->relay_address != NULL && stream->relay_address[0] != '\0';
    if (status == NX_ERR_UNAVAILABLE && !known && is_elsewhere(stream->lease_owner)) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE,
                            "the stream is run by %.100s, on another host, which does not say "
                            "where others can look at it: STREAM_RELAY is to be set there",
                            stream->lease_owner);
    }
    return status == NX_OK
               ? status
               : nx_error_prefix(err, "the stream is run by %.100s%s%.100s", stream->lease_owner,
                                 known ? " at " : "", known ? stream->relay_address : "");
}

/* Errors: NX_ERR_NOT_FOUND (there is no such stream to look at any more), and why there is no
 * connection. */
static nx_status find_runner(nx_relay_mirror *self, nx_error *err)
{
    nx_arena arena = nx_arena_make(0);
    nx_stream stream;
    nx_status status = nx_store_stream_get(self->options.store, self->id, &arena, &stream, err);
    if (status == NX_OK && !stream.enabled) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "the stream is switched off");
    }
    if (status == NX_OK) {
        status = connect_to(self, &stream, err);
    }
    nx_arena_free(&arena);
    return status;
}

static void note_failure(nx_relay_mirror *self, const nx_error *err)
{
    pthread_mutex_lock(&self->lock);
    self->failure = *err;
    pthread_mutex_unlock(&self->lock);
}

static void rest(nx_relay_mirror *self)
{
    struct pollfd woken = {.fd = self->wake_fd, .events = POLLIN};
    (void)poll(&woken, 1, (int)(RETRY_NS / NX_NS_PER_MS));
    drain(self);
}

static void *mirror(void *user)
{
    nx_relay_mirror *self = user;
    while (!is_over(self)) {
        nx_error err = {0};
        nx_status status = find_runner(self, &err);
        if (status == NX_OK) {
            follow(self);
            nx_relay_link_close(self->link);
            self->link = NULL;
            (void)nx_error_set(&err, NX_ERR_UNAVAILABLE,
                               "the connection to whoever runs the stream was lost");
            set_stage(self, SEEKING);
        }
        note_failure(self, &err);
        self->gone = self->gone || status == NX_ERR_NOT_FOUND;
        look_for_viewers(self);
        if (!is_over(self)) {
            rest(self);
        }
    }
    nx_stream_hub_end(self->hub);
    nx_media_ring_begin(self->media); /* this may lie here for long: its memory may not */
    nx_media_ring_cut(self->media);
    set_stage(self, ENDED);
    self->options.told(self->options.user);
    (void)self->options.let_go(self, true, self->options.user);
    return NULL;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static void discard(nx_relay_mirror *self)
{
    if (self->wake_fd >= 0) {
        close(self->wake_fd);
    }
    nx_stream_hub_release(self->hub);
    nx_media_ring_release(self->media);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

nx_status nx_relay_mirror_start(const nx_relay_mirror_options *options, const char *id,
                                nx_relay_mirror **out, nx_error *err)
{
    *out = NULL;
    nx_relay_mirror *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a stream of another process");
    }
    const nx_media_ring_options media = {.most_bytes = MEDIA_BYTES,
                                         .keep_ns = MEDIA_NS,
                                         .told = options->told,
                                         .user = options->user};
    self->options = *options;
    snprintf(self->id, sizeof self->id, "%s", id);
    pthread_mutex_init(&self->lock, NULL);
    nx_condition_init(&self->changed);
    self->seeking_ns = self->used_ns = nx_clock_now_ns();
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->hub = nx_stream_hub_new_mirror(want_picture, self);
    self->media = nx_media_ring_new(&media);
    int failure = self->wake_fd < 0 ? errno : self->hub == NULL || self->media == NULL ? ENOMEM : 0;
    failure = failure != 0 ? failure : pthread_create(&self->thread, NULL, mirror, self);
    if (failure != 0) {
        discard(self);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                  "a stream of another process cannot be looked at");
    }
    *out = self;
    return NX_OK;
}

void nx_relay_mirror_free(nx_relay_mirror *mirror)
{
    if (mirror != NULL) {
        atomic_store(&mirror->ending, true);
        wake(mirror);
        pthread_join(mirror->thread, NULL);
        discard(mirror);
    }
}

const char *nx_relay_mirror_id(const nx_relay_mirror *mirror)
{
    return mirror->id;
}

/* --- looking on ---------------------------------------------------------------------------------
 */

/* Under the lock. False: the time has come, or will soon. */
static bool wait_for_news(nx_relay_mirror *self, int64_t until_ns)
{
    return nx_condition_wait(&self->changed, &self->lock, until_ns) != ETIMEDOUT;
}

/* Under the lock. */
static nx_status wait_for_runner(nx_relay_mirror *self, int64_t until_ns, nx_error *err)
{
    self->used_ns = nx_clock_now_ns();
    int64_t hope_ns = self->seeking_ns + HOPE_NS;
    int64_t end_ns = until_ns < hope_ns ? until_ns : hope_ns;
    while (self->stage == SEEKING && nx_clock_now_ns() < end_ns && wait_for_news(self, end_ns)) {
    }
    if (self->stage == THERE) {
        return NX_OK;
    }
    if (self->failure.status == NX_OK) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "whoever runs the stream does not answer");
    }
    return nx_error_set(err, NX_ERR_UNAVAILABLE, "%s", self->failure.message);
}

nx_status nx_relay_mirror_hub(nx_relay_mirror *mirror, int64_t until_ns, nx_stream_hub **out,
                              nx_error *err)
{
    *out = NULL;
    pthread_mutex_lock(&mirror->lock);
    nx_status status = wait_for_runner(mirror, until_ns, err);
    if (status == NX_OK) {
        *out = nx_stream_hub_retain(mirror->hub);
    }
    pthread_mutex_unlock(&mirror->lock);
    return status;
}

nx_status nx_relay_mirror_jpeg(nx_relay_mirror *mirror, int64_t until_ns, nx_stream_jpeg **out,
                               nx_error *err)
{
    *out = NULL;
    pthread_mutex_lock(&mirror->lock);
    nx_status status = wait_for_runner(mirror, until_ns, err);
    while (status == NX_OK) {
        status = nx_stream_hub_jpeg(mirror->hub, 0, out, err);
        if (status != NX_ERR_BUSY) {
            break;
        }
        status = wait_for_news(mirror, until_ns) && mirror->stage == THERE
                     ? NX_OK
                     : nx_error_set(err, NX_ERR_UNAVAILABLE,
                                    "whoever runs the stream sends no picture of it now");
    }
    pthread_mutex_unlock(&mirror->lock);
    return status;
}

nx_status nx_relay_mirror_media(nx_relay_mirror *mirror, int64_t until_ns, nx_media_ring **out,
                                nx_error *err)
{
    char type[NX_MP4_TYPE_SIZE];
    *out = NULL;
    pthread_mutex_lock(&mirror->lock);
    nx_status status = wait_for_runner(mirror, until_ns, err);
    if (status == NX_OK) {
        mirror->no_video = mirror->no_video && mirror->want_video; /* else it was said long ago */
        mirror->want_video = true;
        mirror->video_used_ns = nx_clock_now_ns();
        wake(mirror);
    }
    bool there = false;
    while (status == NX_OK && !(there = nx_media_ring_type(mirror->media, type))) {
        if (mirror->no_video && mirror->codec[0] != '\0') {
            status = nx_error_set(err, NX_ERR_UNSUPPORTED, "%s", mirror->codec);
        } else if (mirror->no_video || mirror->stage != THERE || !wait_for_news(mirror, until_ns)) {
            status = nx_error_set(err, NX_ERR_UNAVAILABLE, "no video has come yet");
        }
    }
    if (there) {
        *out = nx_media_ring_retain(mirror->media);
    }
    pthread_mutex_unlock(&mirror->lock);
    return status;
}
