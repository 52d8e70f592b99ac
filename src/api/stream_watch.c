/* GET /api/v1/streams/{id}/events, .../live.mjpeg and .../live.mp4: answers that go on, all written
 * by one thread from the streams' hubs, so that whoever looks on costs a stream nothing. */
#include "api/storage.h"
#include "api/streams.h"
#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_WATCHERS 256
#define LOOK_NS       (NX_NS_PER_SEC / 2)
#define PACED_NS      (20 * NX_NS_PER_MS)
#define HEARTBEAT_NS  (15 * NX_NS_PER_SEC)
/* Who reads nothing for so long while there is something reads no more. */
#define STUCK_NS (30 * NX_NS_PER_SEC)

/* Belongs to its request and to the thread: whoever lets go last frees it. */
typedef struct watcher {
    struct watcher *next;
    nx_api_watchers *watchers;
    nx_http_stream *stream;
    nx_stream_hub *hub;  /* a reference */
    nx_api_video *video; /* owned; NULL: it is no viewer of the video itself */
    atomic_int holders;
    atomic_bool gone;     /* nobody listens */
    bool pictures;        /* else events */
    uint64_t after;       /* the last that was written */
    nx_stream_jpeg *jpeg; /* a reference; NULL: no picture is being written */
    size_t jpeg_sent;     /* bytes of it that are */
    int64_t written_ns;
} watcher;

struct nx_api_watchers {
    nx_streams *streams;
    pthread_t thread;

    pthread_mutex_t lock; /* guards the rest */
    watcher *fresh;       /* new ones, which the thread takes over */
    uint32_t count;
    bool ending;
};

static void let_go(void *user)
{
    watcher *one = user;
    if (atomic_fetch_sub(&one->holders, 1) == 1) {
        nx_stream_jpeg_release(one->jpeg);
        nx_stream_hub_release(one->hub);
        nx_api_video_free(one->video);
        free(one);
    }
}

/* The client has left, or the server stops. */
static void leave(void *user)
{
    watcher *one = user;
    atomic_store(&one->gone, true);
    nx_streams_wake(one->watchers->streams);
}

/* --- writing ------------------------------------------------------------------------------------
 */

static size_t room_for(const watcher *one)
{
    size_t waiting = nx_http_stream_waiting(one->stream);
    return waiting < NX_HTTP_STREAM_MAX ? NX_HTTP_STREAM_MAX - waiting : 0;
}

/* False: the answer is to be ended. */
static bool write_out(watcher *one, const void *bytes, size_t size, int64_t now_ns)
{
    one->written_ns = now_ns;
    return size == 0 || nx_http_stream_write(one->stream, bytes, size);
}

/* As many as there is room for: who is slow gets them later, or misses what is forgotten by then.
 */
static bool write_events(watcher *one, int64_t now_ns)
{
    nx_buffer out = NX_BUFFER_INIT;
    bool good = true;
    one->after = nx_stream_hub_read(one->hub, one->after, room_for(one), &out);
    if (out.size == 0 && one->after < nx_stream_hub_last(one->hub)) {
        good = now_ns - one->written_ns < STUCK_NS;
    } else if (out.size == 0 && now_ns - one->written_ns >= HEARTBEAT_NS) {
        nx_buffer_append_str(&out, ": still there\n\n");
    }
    if (out.size > 0 || out.failed) {
        good = !out.failed && write_out(one, out.data, out.size, now_ns);
    }
    nx_buffer_free(&out);
    return good;
}

/* A piece of the picture that is being written, which may be larger than an answer has room for.
 * Behind it comes the boundary at once: browsers wait for that to show it. */
static bool write_piece(watcher *one, int64_t now_ns)
{
    static const char boundary[] = "\r\n--nexus\r\n";
    const nx_buffer *bytes = &one->jpeg->bytes;
    size_t left = bytes->size - one->jpeg_sent;
    size_t room = room_for(one);
    size_t size = left < room ? left : room;
    bool good = true;
    if (size > 0) {
        good = write_out(one, bytes->data + one->jpeg_sent, size, now_ns);
        one->jpeg_sent += size;
    } else if (left > 0) {
        good = now_ns - one->written_ns < STUCK_NS;
    }
    if (good && size == left && room - size >= sizeof boundary) {
        good = write_out(one, boundary, sizeof boundary - 1, now_ns);
        nx_stream_jpeg_release(one->jpeg);
        one->jpeg = NULL;
    }
    return good;
}

/* The newest picture, once the one before has been read: who is slow sees fewer. */
static bool write_picture(watcher *one, int64_t now_ns)
{
    char head[96];
    nx_error err = {0};
    if (one->jpeg != NULL) {
        return write_piece(one, now_ns);
    }
    if (nx_stream_hub_picture(one->hub) == one->after) {
        return true;
    }
    if (nx_http_stream_waiting(one->stream) > 0) {
        return now_ns - one->written_ns < STUCK_NS;
    }
    if (nx_stream_hub_jpeg(one->hub, one->after, &one->jpeg, &err) != NX_OK) {
        return true; /* the next one may work */
    }
    int length =
        snprintf(head, sizeof head, "%sContent-Type: image/jpeg\r\nContent-Length: %zu\r\n\r\n",
                 one->after == 0 ? "--nexus\r\n" : "", one->jpeg->bytes.size);
    one->after = one->jpeg->number;
    one->jpeg_sent = 0;
    return write_out(one, head, (size_t)length, now_ns) && write_piece(one, now_ns);
}

/* False: nobody listens any more, or the stream has ended and everything was told. */
static bool look_at(watcher *one)
{
    int64_t now_ns = nx_clock_now_ns();
    if (atomic_load(&one->gone)) {
        return false;
    }
    if (one->video != NULL) {
        return nx_api_video_write(one->video, one->stream, now_ns);
    }
    bool ended = nx_stream_hub_ended(one->hub); /* before reading: nothing comes after it */
    bool stays = one->pictures ? write_picture(one, now_ns) : write_events(one, now_ns);
    bool all = one->pictures ? one->jpeg == NULL : one->after >= nx_stream_hub_last(one->hub);
    return stays && !(ended && all);
}

/* --- the thread ---------------------------------------------------------------------------------
 */

/* False: the end. New watchers join the list. */
static bool take_over(nx_api_watchers *watchers, watcher **list)
{
    pthread_mutex_lock(&watchers->lock);
    while (watchers->fresh != NULL) {
        watcher *one = watchers->fresh;
        watchers->fresh = one->next;
        one->next = *list;
        *list = one;
    }
    bool ending = watchers->ending;
    pthread_mutex_unlock(&watchers->lock);
    return !ending;
}

static void end_stream(nx_api_watchers *watchers, watcher *one)
{
    nx_http_stream_end(one->stream);
    let_go(one);
    pthread_mutex_lock(&watchers->lock);
    watchers->count--;
    pthread_mutex_unlock(&watchers->lock);
}

static void *write_all(void *user)
{
    nx_api_watchers *watchers = user;
    watcher *list = NULL;
    uint64_t seen = 0;
    bool going = true;
    bool paced = false;
    while (going) {
        int64_t until_ns = nx_clock_now_ns() + (paced ? PACED_NS : LOOK_NS);
        seen = nx_streams_wait(watchers->streams, seen, until_ns);
        going = take_over(watchers, &list);
        paced = false;
        for (watcher **at = &list; *at != NULL;) {
            watcher *one = *at;
            if (going && look_at(one)) {
                paced = paced || (one->video != NULL && nx_api_video_is_paced(one->video));
                at = &one->next;
            } else {
                *at = one->next;
                end_stream(watchers, one);
            }
        }
    }
    return NULL;
}

nx_status nx_api_watchers_new(nx_streams *streams, nx_api_watchers **out, nx_error *err)
{
    *out = NULL;
    nx_api_watchers *watchers = calloc(1, sizeof *watchers);
    if (watchers == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the viewers of streams");
    }
    watchers->streams = streams;
    pthread_mutex_init(&watchers->lock, NULL);
    int failure = pthread_create(&watchers->thread, NULL, write_all, watchers);
    if (failure != 0) {
        pthread_mutex_destroy(&watchers->lock);
        free(watchers);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                  "cannot start the thread for the viewers of streams");
    }
    *out = watchers;
    return NX_OK;
}

void nx_api_watchers_free(nx_api_watchers *watchers)
{
    if (watchers == NULL) {
        return;
    }
    pthread_mutex_lock(&watchers->lock);
    watchers->ending = true;
    pthread_mutex_unlock(&watchers->lock);
    nx_streams_wake(watchers->streams);
    pthread_join(watchers->thread, NULL);
    pthread_mutex_destroy(&watchers->lock);
    free(watchers);
}

/* --- requests -----------------------------------------------------------------------------------
 */

static bool take_place(nx_api_watchers *watchers)
{
    pthread_mutex_lock(&watchers->lock);
    bool room = watchers->count < MOST_WATCHERS && !watchers->ending;
    watchers->count += room ? 1 : 0;
    pthread_mutex_unlock(&watchers->lock);
    return room;
}

static void give_place(nx_api_watchers *watchers)
{
    pthread_mutex_lock(&watchers->lock);
    watchers->count--;
    pthread_mutex_unlock(&watchers->lock);
}

static watcher *new_watcher(nx_api_watchers *watchers, nx_stream_hub *hub, bool pictures)
{
    if (!take_place(watchers)) {
        return NULL;
    }
    watcher *one = calloc(1, sizeof *one);
    if (one == NULL) {
        give_place(watchers);
        return NULL;
    }
    one->watchers = watchers;
    one->hub = hub;
    one->pictures = pictures;
    one->written_ns = nx_clock_now_ns();
    atomic_init(&one->holders, 2);
    return one;
}

/* The hub's reference and the video are the watcher's from here on. */
static void watch(nx_api *api, nx_http_request *request, nx_stream_hub *hub, bool pictures,
                  nx_api_video *video, uint64_t after)
{
    nx_api_watchers *watchers = api->watchers;
    watcher *one = new_watcher(watchers, hub, pictures);
    if (one == NULL) {
        nx_stream_hub_release(hub);
        nx_api_video_free(video);
        nx_problem problem = nx_problem_make(503, "Ask for .../frame.jpeg now and then.",
                                             "too many look on already");
        problem.retry_after_s = 5;
        nx_http_reply_problem(request, &problem);
        return;
    }
    const char *type = video != NULL ? nx_api_video_type(video)
                       : pictures    ? "multipart/x-mixed-replace; boundary=nexus"
                                     : "text/event-stream";
    one->after = after;
    one->video = video;
    nx_http_set_context(request, one, let_go);
    one->stream = nx_http_reply_stream(request, type, leave, one);
    if (one->stream == NULL) {
        give_place(watchers);
        let_go(one);
        return;
    }
    pthread_mutex_lock(&watchers->lock);
    one->next = watchers->fresh;
    watchers->fresh = one;
    pthread_mutex_unlock(&watchers->lock);
    nx_streams_wake(watchers->streams);
}

/* From which message on: behind Last-Event-ID, or the newest. False: that is none. */
static bool read_last(const nx_http_request *request, nx_stream_hub *hub, uint64_t *out)
{
    const char *text = nx_http_header(request, "Last-Event-ID");
    char *end = NULL;
    *out = nx_stream_hub_last(hub);
    if (text == NULL) {
        *out -= 1; /* what is the state of things */
        return true;
    }
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || text[0] == '-') {
        return false;
    }
    *out = number < *out ? number : *out;
    return true;
}

static void answer_events(nx_api *api, nx_http_request *request)
{
    uint64_t after = 0;
    nx_stream_hub *hub = nx_api_find_hub(api, request, nx_api_live_deadline());
    if (hub == NULL) {
        return;
    }
    if (!read_last(request, hub, &after)) {
        nx_stream_hub_release(hub);
        nx_problem problem = nx_problem_make(400, "Send the id of the last event that came.",
                                             "Last-Event-ID is not the number of an event");
        nx_http_reply_problem(request, &problem);
        return;
    }
    watch(api, request, hub, false, NULL, after);
}

void nx_api_streams_events(nx_http_request *request, void *user)
{
    nx_api_answer_watched(user, request, answer_events);
}

static void answer_live(nx_api *api, nx_http_request *request)
{
    nx_stream_hub *hub = nx_api_find_hub(api, request, nx_api_live_deadline());
    if (hub != NULL) {
        watch(api, request, hub, true, NULL, 0);
    }
}

void nx_api_watch_video(nx_api *api, nx_http_request *request, nx_stream_hub *hub,
                        nx_api_video *video)
{
    watch(api, request, hub, false, video, 0);
}

void nx_api_streams_live(nx_http_request *request, void *user)
{
    nx_api_answer_watched(user, request, answer_live);
}
