#include "streams/event_hooks.h"

#include "base/clock.h"
#include "base/log.h"
#include "jobs/event_watch.h"
#include "streams/streams.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A stream that has told something. */
typedef struct watched {
    char id[NX_UUID_SIZE]; /* "": a free place */
    nx_event_watch *watch; /* NULL: it has no rules, or no frame was seen yet */
    char *rules;           /* of which watch was made, or of which it could not be */
    const nx_video_track *track;
    bool live;
    char reason[128]; /* why it is not */
} watched;

struct nx_stream_events {
    nx_event_recorder *recorder;
    nx_stream_hooks next;
    pthread_mutex_t lock; /* guards the rest; rules take microseconds */
    watched streams[NX_STREAMS_MOST_AT_ONCE];
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / NX_NS_PER_MS;
}

static void forget_watch(watched *one)
{
    nx_event_watch_free(one->watch);
    free(one->rules);
    one->watch = NULL;
    one->rules = NULL;
    one->track = NULL;
}

/* NULL: there are more than can run at once. */
static watched *find(nx_stream_events *self, const char *id)
{
    watched *place = NULL;
    for (size_t i = 0; i < NX_STREAMS_MOST_AT_ONCE; i++) {
        if (strcmp(self->streams[i].id, id) == 0) {
            return &self->streams[i];
        }
        if (self->streams[i].id[0] == '\0' && place == NULL) {
            place = &self->streams[i];
        }
    }
    if (place != NULL) {
        *place = (watched){.live = false};
        snprintf(place->id, sizeof place->id, "%.36s", id);
    }
    return place;
}

static void tell_camera(watched *one)
{
    nx_error err = {0};
    if (one->watch != NULL && nx_event_watch_camera(one->watch, nx_clock_now_ns(), now_ms(),
                                                    one->live, one->reason, &err) != NX_OK) {
        nx_log_warn("streams", "the camera of stream %s is not watched: %s", one->id, err.message);
    }
}

/* The rules of a stream at its first frame, and when they, or what it is seen with, are others. */
static void make_watch(nx_stream_events *self, watched *one, const nx_stream_result *result)
{
    nx_error err = {0};
    const nx_event_watch_options options = {
        .recorder = self->recorder,
        .stream_id = result->stream,
        .stream_name = result->name,
        .rules = result->spec->rules,
        .names = result->names,
        .places = nx_video_track_places(result->track),
    };
    forget_watch(one);
    one->rules = strdup(result->spec->rules);
    one->track = result->track;
    nx_status status = one->rules != NULL ? nx_event_watch_new(&options, &one->watch, &err)
                                          : nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory");
    if (status != NX_OK) {
        nx_log_warn("streams", "stream %s has no events: %s", result->name, err.message);
    }
    tell_camera(one);
}

static void see(nx_stream_events *self, watched *one, const nx_stream_result *result)
{
    nx_error err = {0};
    if (one->rules == NULL || one->track != result->track ||
        strcmp(one->rules, result->spec->rules) != 0) {
        make_watch(self, one, result);
    }
    if (one->watch == NULL) {
        return;
    }
    const nx_event_picture picture = {result->pixels, result->picture_width,
                                      result->picture_height};
    nx_event_frame frame = {
        .time_ns = result->record->time_ns,
        .at_ms = result->at_ns / NX_NS_PER_MS,
        .zones = nx_video_track_zones(result->track),
        .names = result->names,
        .picture = result->pixels != NULL ? &picture : NULL,
    };
    frame.tracks = nx_video_track_tracks(result->track, &frame.track_count);
    if (nx_event_watch_frame(one->watch, &frame, &err) != NX_OK) {
        nx_log_warn("streams", "the rules of stream %s begin anew: %s", result->name, err.message);
        forget_watch(one); /* as with another track: its time has begun anew */
    }
}

/* --- hooks --------------------------------------------------------------------------------------
 */

static void on_result(const nx_stream_result *result, void *user)
{
    nx_stream_events *self = user;
    pthread_mutex_lock(&self->lock);
    watched *one = find(self, result->stream);
    if (one != NULL && result->spec->rules == NULL) {
        forget_watch(one);
    } else if (one != NULL) {
        see(self, one, result);
    }
    pthread_mutex_unlock(&self->lock);
    if (self->next.result != NULL) {
        self->next.result(result, self->next.user);
    }
}

static void on_state(const char *stream, nx_stream_state state, const char *reason, void *user)
{
    nx_stream_events *self = user;
    pthread_mutex_lock(&self->lock);
    watched *one = find(self, stream);
    if (one != NULL && state == NX_STREAM_STOPPED) { /* by somebody's will: nothing is lost */
        forget_watch(one);
        one->id[0] = '\0';
    } else if (one != NULL) {
        one->live = state == NX_STREAM_LIVE;
        snprintf(one->reason, sizeof one->reason, "%s", reason);
        tell_camera(one);
    }
    pthread_mutex_unlock(&self->lock);
    if (self->next.state != NULL) {
        self->next.state(stream, state, reason, self->next.user);
    }
}

/* Each second, on the recorder's thread. */
static void on_tick(void *user)
{
    nx_stream_events *self = user;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < NX_STREAMS_MOST_AT_ONCE; i++) {
        if (!self->streams[i].live) {
            tell_camera(&self->streams[i]);
        }
    }
    pthread_mutex_unlock(&self->lock);
}

nx_stream_hooks nx_stream_events_hooks(nx_stream_events *events)
{
    return (nx_stream_hooks){.result = on_result, .state = on_state, .user = events};
}

/* --- life ---------------------------------------------------------------------------------------
 */

nx_status nx_stream_events_start(const nx_event_recorder_options *options,
                                 const nx_stream_hooks *next, nx_stream_events **out, nx_error *err)
{
    *out = NULL;
    nx_stream_events *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the events of streams");
    }
    self->next = *next;
    pthread_mutex_init(&self->lock, NULL);
    nx_event_recorder_options with_tick = *options;
    with_tick.tick = on_tick;
    with_tick.user = self;
    nx_status status = nx_event_recorder_start(&with_tick, &self->recorder, err);
    if (status != NX_OK) {
        pthread_mutex_destroy(&self->lock);
        free(self);
        return status;
    }
    *out = self;
    return NX_OK;
}

void nx_stream_events_stop(nx_stream_events *events)
{
    if (events == NULL) {
        return;
    }
    nx_event_recorder_stop(events->recorder);
    for (size_t i = 0; i < NX_STREAMS_MOST_AT_ONCE; i++) {
        forget_watch(&events->streams[i]);
    }
    pthread_mutex_destroy(&events->lock);
    free(events);
}
