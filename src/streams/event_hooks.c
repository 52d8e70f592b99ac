#include "streams/event_hooks.h"

#include "analytics/zones_parse.h"
#include "base/clock.h"
#include "base/log.h"
#include "jobs/event_watch.h"
#include "streams/event_clips.h"
#include "streams/streams.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A stream that runs. */
typedef struct watched {
    char id[NX_UUID_SIZE]; /* "": a free place */
    nx_event_watch *watch; /* of frames; NULL: it has no rules, or no frame was seen yet */
    bool tried;            /* to make it, with this tracker */
    uint64_t track_number;
    /* Of the camera, which is watched before its first frame and whatever its frames are seen with;
     * NULL: it has no rules. */
    nx_event_watch *camera;
    nx_stream_state state;
    char reason[128]; /* why it is not live */
} watched;

struct nx_stream_events {
    nx_event_recorder *recorder;
    nx_event_clips *clips; /* NULL: there are none */
    nx_store *store;
    nx_stream_hooks next;
    pthread_mutex_t lock; /* guards the rest; rules take microseconds */
    watched streams[NX_STREAMS_MOST_AT_ONCE];
};

static void forget_watch(watched *one)
{
    nx_event_watch_free(one->watch);
    one->watch = NULL;
    one->tried = false;
}

static watched *find(nx_stream_events *self, const char *id)
{
    for (size_t i = 0; i < NX_STREAMS_MOST_AT_ONCE; i++) {
        if (strcmp(self->streams[i].id, id) == 0) {
            return &self->streams[i];
        }
    }
    return NULL;
}

static void tell_camera(watched *one)
{
    nx_error err = {0};
    if (one->camera != NULL && one->state != NX_STREAM_STOPPED &&
        nx_event_watch_camera(one->camera, nx_clock_now_ns(), nx_clock_unix_ms(),
                              one->state == NX_STREAM_LIVE, one->reason, &err) != NX_OK) {
        nx_log_warn("streams", "the camera of stream %s is not watched: %s", one->id, err.message);
    }
}

/* The rules of a stream at its first frame, and when what it is seen with is another. */
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
    one->tried = true;
    one->track_number = result->track_number;
    if (nx_event_watch_new(&options, &one->watch, &err) != NX_OK) {
        nx_log_warn("streams", "stream %s has no events: %s", result->name, err.message);
    }
}

typedef struct moment {
    nx_event_clips *clips;
    const nx_stream_result *result;
} moment;

static void want_clip(const nx_event_row *events, size_t count, void *user)
{
    const moment *now = user;
    nx_event_clips_add(now->clips, now->result->media, now->result->record->time_ns, events, count);
}

static void see(nx_stream_events *self, watched *one, const nx_stream_result *result)
{
    nx_error err = {0};
    if (!one->tried || one->track_number != result->track_number) {
        make_watch(self, one, result);
    }
    if (one->watch == NULL) {
        return;
    }
    const nx_event_picture picture = {result->pixels, result->picture_width,
                                      result->picture_height};
    moment now = {.clips = self->clips, .result = result};
    nx_event_frame frame = {
        .time_ns = result->record->time_ns,
        .at_ms = result->at_ns / NX_NS_PER_MS,
        .zones = nx_video_track_zones(result->track),
        .names = result->names,
        .picture = result->pixels != NULL ? &picture : NULL,
        .kept = self->clips != NULL && result->media != NULL ? want_clip : NULL,
        .user = &now,
    };
    frame.tracks = nx_video_track_tracks(result->track, &frame.track_count);
    if (nx_event_watch_frame(one->watch, &frame, &err) != NX_OK) {
        nx_log_warn("streams", "the rules of stream %s begin anew: %s", result->name, err.message);
        forget_watch(one); /* as with another track: its time has begun anew */
    }
}

/* --- hooks --------------------------------------------------------------------------------------
 */

/* NULL: it has none, or they can't be watched, which is logged. */
static nx_event_watch *watch_camera(nx_stream_events *self, const char *stream, const char *name,
                                    const nx_stream_spec *spec)
{
    static const nx_class_names unknown = {0};
    nx_zones_spec places = {0};
    nx_event_watch *camera = NULL;
    nx_error err = {0};
    nx_status status = NX_OK;
    if (spec->rules == NULL) {
        return NULL;
    }
    if (spec->video.places != NULL) {
        status = nx_zones_parse(spec->video.places, strlen(spec->video.places), "zones and lines",
                                unknown, &places, &err);
    }
    if (status == NX_OK) {
        const nx_event_watch_options options = {
            .recorder = self->recorder,
            .stream_id = stream,
            .stream_name = name,
            .rules = spec->rules,
            .places = &places,
        };
        status = nx_event_watch_new(&options, &camera, &err);
    }
    if (status == NX_OK) {
        status = nx_event_watch_recall(camera, self->store, nx_clock_now_ns(), &err);
    }
    if (status != NX_OK) { /* with a camera it may still be watched, and be told of once more */
        nx_log_warn("streams", "what was told of the camera of stream %s: %s", name, err.message);
    }
    nx_zones_spec_free(&places);
    return camera;
}

/* There is a place for each: no more can run at once. */
static void on_begin(const char *stream, const char *name, const nx_stream_spec *spec, void *user)
{
    nx_stream_events *self = user;
    nx_event_watch *camera = watch_camera(self, stream, name, spec);
    pthread_mutex_lock(&self->lock);
    watched *one = find(self, "");
    if (one != NULL) {
        *one = (watched){.camera = camera, .state = NX_STREAM_CONNECTING};
        snprintf(one->id, sizeof one->id, "%.36s", stream);
        camera = NULL;
    }
    pthread_mutex_unlock(&self->lock);
    nx_event_watch_free(camera);
    if (self->next.begin != NULL) {
        self->next.begin(stream, name, spec, self->next.user);
    }
}

static void on_end(const char *stream, void *user)
{
    nx_stream_events *self = user;
    if (self->next.end != NULL) {
        self->next.end(stream, self->next.user);
    }
    pthread_mutex_lock(&self->lock);
    watched *one = find(self, stream);
    if (one != NULL) {
        forget_watch(one);
        nx_event_watch_free(one->camera);
        *one = (watched){.camera = NULL};
    }
    pthread_mutex_unlock(&self->lock);
}

static void on_result(const nx_stream_result *result, void *user)
{
    nx_stream_events *self = user;
    pthread_mutex_lock(&self->lock);
    watched *one = find(self, result->stream);
    if (one != NULL && result->spec->rules != NULL) {
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
    if (one != NULL) {
        one->state = state;
        snprintf(one->reason, sizeof one->reason, "%s", reason);
        tell_camera(one);
    }
    if (one != NULL && state == NX_STREAM_STOPPED) { /* by somebody's will: nothing is lost */
        forget_watch(one);
        if (one->camera != NULL) {
            nx_event_watch_pause(one->camera);
        }
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
        if (self->streams[i].state != NX_STREAM_LIVE) {
            tell_camera(&self->streams[i]);
        }
    }
    pthread_mutex_unlock(&self->lock);
}

static nx_event_recorder_stats count_events(void *user)
{
    const nx_stream_events *self = user;
    return nx_event_recorder_get_stats(self->recorder);
}

nx_stream_hooks nx_stream_events_hooks(nx_stream_events *events)
{
    return (nx_stream_hooks){.begin = on_begin,
                             .end = on_end,
                             .result = on_result,
                             .state = on_state,
                             .events = count_events,
                             .user = events};
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
    self->store = options->store;
    pthread_mutex_init(&self->lock, NULL);
    nx_event_recorder_options with_tick = *options;
    with_tick.tick = on_tick;
    with_tick.user = self;
    nx_status status = nx_event_recorder_start(&with_tick, &self->recorder, err);
    if (status == NX_OK && options->clip_ns > 0) {
        const nx_event_clips_options clips = {
            .store = options->store, .objects = options->objects, .clip_ns = options->clip_ns};
        status = nx_event_clips_start(&clips, &self->clips, err);
    }
    if (status != NX_OK) {
        nx_stream_events_stop(self);
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
    nx_event_clips_stop(events->clips); /* whose events are entered by now */
    for (size_t i = 0; i < NX_STREAMS_MOST_AT_ONCE; i++) {
        forget_watch(&events->streams[i]);
        nx_event_watch_free(events->streams[i].camera);
    }
    pthread_mutex_destroy(&events->lock);
    free(events);
}
