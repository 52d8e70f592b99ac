#include "streams/event_clips.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "base/uuid.h"
#include "store/object_uses.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How often pictures are taken over; a ring keeps them for longer. */
#define LOOK_NS (NX_NS_PER_SEC / 4)
/* Between two tries to enter a clip, and for how long it is tried. */
#define PAUSE_NS NX_NS_PER_SEC
#define TRIES_NS (300 * NX_NS_PER_SEC)
/* So late the last picture may be. */
#define PATIENCE_NS (5 * NX_NS_PER_SEC)
/* Events of one stream that lie so near share a clip. */
#define NEAR_NS NX_NS_PER_SEC

typedef struct member {
    char id[NX_UUID_SIZE];
    int64_t time_ns;
    bool given;
} member;

/* Under the lock while its pictures come; then whoever enters it has taken it out of a list. */
typedef struct clip {
    struct clip *next;
    const nx_media_ring *ring; /* to tell it from others */
    nx_media_view view;
    member members[NX_EVENT_CLIP_EVENTS];
    size_t count;
    int64_t until_ns;  /* of the stream: the last picture that belongs to it */
    int64_t latest_ns; /* by the clock: then it ends */
    nx_media_piece **pieces;
    size_t piece_count, room;
    size_t bytes;
    nx_buffer file;
    int64_t begin_ns; /* of the stream: what is shown first */
    int64_t try_ns, give_up_ns;
    char object[NX_OBJECT_NAME_SIZE];
    char holder[NX_UUID_SIZE]; /* "": it is no object yet */
    int64_t size;
    bool counted; /* its bytes, with an event */
} clip;

struct nx_event_clips {
    nx_event_clips_options options;
    pthread_t gatherer; /* waits for nothing but time: a ring soon forgets */
    pthread_t enterer;  /* waits for the database and for the place of objects */
    bool failing;       /* the enterer's: the log has said so */

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t begun; /* there is a clip to gather for, or no more time */
    pthread_cond_t ready; /* there is a clip to enter, or there are no more */
    clip *gathering;
    clip *entering; /* the first one has waited longest */
    size_t making;  /* in both, and the one that is being entered */
    uint64_t entered, lost;
    bool stopping;
    bool gathered; /* all of them: nothing comes to be entered any more */
};

static void clip_free(clip *one)
{
    for (size_t i = 0; i < one->piece_count; i++) {
        nx_media_piece_release(one->pieces[i]);
    }
    free(one->pieces);
    nx_media_view_close(&one->view);
    nx_buffer_free(&one->file);
    free(one);
}

/* Under the lock. */
static void append(clip **list, clip *one)
{
    while (*list != NULL) {
        list = &(*list)->next;
    }
    one->next = NULL;
    *list = one;
}

/* --- events -------------------------------------------------------------------------------------
 */

static void add_members(clip *one, int64_t time_ns, const nx_event_row *events, size_t count)
{
    for (size_t i = 0; i < count && one->count < NX_EVENT_CLIP_EVENTS; i++) {
        member *next = &one->members[one->count++];
        *next = (member){.time_ns = time_ns};
        snprintf(next->id, sizeof next->id, "%.36s", events[i].id);
    }
}

/* Under the lock: the clip of an event that was a moment ago. */
static clip *find_near(nx_event_clips *self, const nx_media_ring *ring, int64_t time_ns,
                       size_t count)
{
    clip *one = self->gathering;
    while (one != NULL &&
           (one->ring != ring || one->count + count > NX_EVENT_CLIP_EVENTS ||
            time_ns < one->members[0].time_ns || time_ns > one->members[0].time_ns + NEAR_NS)) {
        one = one->next;
    }
    return one;
}

static clip *new_clip(const nx_event_clips *self, nx_media_ring *ring, int64_t time_ns)
{
    clip *one = calloc(1, sizeof *one);
    if (one == NULL || !nx_media_view_open(ring, time_ns - self->options.clip_ns, &one->view)) {
        free(one);
        return NULL;
    }
    one->ring = ring;
    return one;
}

void nx_event_clips_add(nx_event_clips *clips, nx_media_ring *ring, int64_t time_ns,
                        const nx_event_row *events, size_t count)
{
    int64_t clip_ns = clips->options.clip_ns;
    pthread_mutex_lock(&clips->lock);
    bool full = clips->making >= NX_EVENT_CLIPS_MOST || clips->stopping;
    clip *one = find_near(clips, ring, time_ns, count);
    if (one == NULL && !full) {
        one = new_clip(clips, ring, time_ns);
        if (one != NULL) { /* else the camera sends nothing that can be copied */
            append(&clips->gathering, one);
            clips->making++;
        }
    } else if (one == NULL) {
        clips->lost++;
    }
    if (one != NULL) {
        add_members(one, time_ns, events, count);
        one->until_ns = time_ns + clip_ns;
        one->latest_ns = nx_clock_now_ns() + clip_ns + PATIENCE_NS;
        pthread_cond_signal(&clips->begun);
    }
    pthread_mutex_unlock(&clips->lock);
    if (one == NULL && full) {
        nx_log_warn("streams", "%zu events have no clip: %d are being made", count,
                    NX_EVENT_CLIPS_MOST);
    }
}

/* --- pictures -----------------------------------------------------------------------------------
 */

static bool add_piece(clip *one, nx_media_piece *piece)
{
    if (one->piece_count == one->room) {
        size_t room = one->room > 0 ? 2 * one->room : 256;
        nx_media_piece **pieces = realloc(one->pieces, room * sizeof(nx_media_piece *));
        if (pieces == NULL) {
            return false;
        }
        one->pieces = pieces;
        one->room = room;
    }
    one->pieces[one->piece_count++] = piece;
    one->bytes += piece->sample.size;
    return true;
}

/* True: the last one has come, or none comes any more. */
static bool gather(clip *one, bool last_chance)
{
    for (;;) {
        nx_media_piece *piece = NULL;
        nx_media_news news = nx_media_view_next(&one->view, &piece);
        if (news == NX_MEDIA_ENDED) {
            return true;
        }
        if (piece == NULL) {
            return last_chance || nx_clock_now_ns() >= one->latest_ns;
        }
        bool over = piece->pts_ns > one->until_ns && one->piece_count > 0;
        if (over || one->bytes + piece->sample.size > NX_EVENT_CLIP_BYTES ||
            !add_piece(one, piece)) {
            nx_media_piece_release(piece);
            return true;
        }
    }
}

/* Under the lock, for events are added to what is not full yet. */
static void gather_all(nx_event_clips *self, bool last_chance)
{
    clip **at = &self->gathering;
    while (*at != NULL) {
        clip *one = *at;
        if (!gather(one, last_chance)) {
            at = &one->next;
            continue;
        }
        *at = one->next;
        nx_media_view_close(&one->view);
        append(&self->entering, one);
        pthread_cond_signal(&self->ready);
    }
}

static void *run_gatherer(void *user)
{
    nx_event_clips *self = user;
    bool stopping = false;
    pthread_mutex_lock(&self->lock);
    while (!stopping) {
        int64_t look_ns = self->gathering != NULL ? nx_clock_now_ns() + LOOK_NS : INT64_MAX;
        while (!self->stopping && nx_clock_now_ns() < look_ns) {
            (void)nx_condition_wait(&self->begun, &self->lock, look_ns);
            if (look_ns == INT64_MAX && self->gathering != NULL) {
                look_ns = nx_clock_now_ns() + LOOK_NS;
            }
        }
        stopping = self->stopping;
        gather_all(self, stopping);
    }
    self->gathered = true;
    pthread_cond_signal(&self->ready);
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* Makes a file of the pictures and lets go of them. */
static void make_file(clip *one)
{
    nx_mp4_sample *samples =
        one->piece_count > 0 ? calloc(one->piece_count, sizeof *samples) : NULL;
    for (size_t i = 0; samples != NULL && i < one->piece_count; i++) {
        samples[i] = one->pieces[i]->sample;
        if (i + 1 < one->piece_count) { /* what was missed lets the one before it last longer */
            samples[i].duration =
                (uint32_t)(one->pieces[i + 1]->sample.dts - one->pieces[i]->sample.dts);
        }
    }
    if (samples != NULL) {
        one->begin_ns = one->pieces[0]->pts_ns;
        nx_mp4_write_file(&one->view.track, samples, one->piece_count, &one->file);
    }
    free(samples);
    for (size_t i = 0; i < one->piece_count; i++) {
        nx_media_piece_release(one->pieces[i]);
    }
    one->piece_count = 0;
}

/* --- entering -----------------------------------------------------------------------------------
 */

static nx_status keep_file(nx_event_clips *self, clip *one, nx_error *err)
{
    char holder[NX_UUID_SIZE];
    nx_status status = nx_store_keep_bytes(self->options.store, self->options.objects, &one->file,
                                           holder, one->object, &one->size, err);
    if (status == NX_OK) {
        memcpy(one->holder, holder, sizeof holder);
        nx_buffer_free(&one->file);
    }
    return status;
}

/* Gives it to each of its events. One that is not entered yet is tried again later. Its bytes count
 * with the newest one, so that all others go before it does when there are too many. */
static nx_status enter(nx_event_clips *self, clip *one, nx_error *err)
{
    nx_status status = one->holder[0] == '\0' ? keep_file(self, one, err) : NX_OK;
    nx_status missing = NX_OK;
    for (size_t i = one->count; i > 0 && status == NX_OK; i--) {
        member *event = &one->members[i - 1];
        if (event->given) {
            continue;
        }
        int64_t offset_ms = (event->time_ns - one->begin_ns) / NX_NS_PER_MS;
        status = nx_store_event_set_clip(self->options.store, event->id, one->object,
                                         one->counted ? 0 : one->size, offset_ms, err);
        event->given = status == NX_OK;
        one->counted = one->counted || status == NX_OK;
        missing = status == NX_ERR_NOT_FOUND ? status : missing;
        status = status == NX_ERR_NOT_FOUND ? NX_OK : status;
    }
    return status == NX_OK ? missing : status;
}

/* What is needed is not there, for whatever is entered next as well. */
static bool is_away(nx_status status)
{
    return status == NX_ERR_UNAVAILABLE || status == NX_ERR_BUSY || status == NX_ERR_IO ||
           status == NX_ERR_TIMEOUT;
}

static bool may_mend(nx_status status)
{
    return is_away(status) || status == NX_ERR_NO_MEMORY || status == NX_ERR_NOT_FOUND;
}

/* Its file when it is first tried; NX_ERR_CORRUPT: there is none. */
static nx_status prepare(clip *one, nx_error *err)
{
    if (one->give_up_ns == 0) {
        make_file(one);
        one->give_up_ns = nx_clock_now_ns() + TRIES_NS;
    }
    if (one->holder[0] == '\0' && (one->file.failed || one->file.size == 0)) {
        return nx_error_set(err, NX_ERR_CORRUPT, "%s",
                            one->file.failed ? "no memory" : "no picture came");
    }
    return NX_OK;
}

/* One that time may mend goes back, to be tried again; false: to be tried no more. */
static bool put_back(nx_event_clips *self, clip *one, nx_status status, const nx_error *err)
{
    int64_t now_ns = nx_clock_now_ns();
    if (!may_mend(status) || now_ns >= one->give_up_ns) {
        return false;
    }
    if (!self->failing && status != NX_ERR_NOT_FOUND) {
        nx_log_warn("streams", "a clip of events is not entered: %s", err->message);
        self->failing = true;
    }
    one->try_ns = now_ns + PAUSE_NS;
    pthread_mutex_lock(&self->lock);
    append(&self->entering, one);
    pthread_mutex_unlock(&self->lock);
    return true;
}

static void finish(nx_event_clips *self, clip *one, bool good)
{
    pthread_mutex_lock(&self->lock);
    self->entered += good ? 1 : 0;
    self->lost += good ? 0 : 1;
    self->making--;
    pthread_mutex_unlock(&self->lock);
    clip_free(one);
}

static nx_status try_enter(nx_event_clips *self, clip *one, bool last_chance)
{
    nx_error err = {0};
    nx_status status = prepare(one, &err);
    if (status == NX_OK) {
        status = enter(self, one, &err);
    }
    if (status != NX_OK && !last_chance && put_back(self, one, status, &err)) {
        return status;
    }
    if (status != NX_OK) {
        nx_log_warn("streams", "a clip of %zu events is lost: %s", one->count, err.message);
    }
    if (one->holder[0] != '\0' && !is_away(status)) { /* else its time ends */
        (void)nx_store_object_release(self->options.store, one->holder, NULL);
    }
    self->failing = is_away(status);
    finish(self, one, status == NX_OK);
    return status;
}

/* Waits for one whose time has come, which it has for all at the end. NULL: no more come. */
static clip *take_next(nx_event_clips *self, bool *last_chance)
{
    clip **at = NULL;
    pthread_mutex_lock(&self->lock);
    for (;;) {
        int64_t now_ns = nx_clock_now_ns();
        int64_t wake_ns = INT64_MAX;
        at = &self->entering;
        while (*at != NULL && !self->gathered && (*at)->try_ns > now_ns) {
            wake_ns = (*at)->try_ns < wake_ns ? (*at)->try_ns : wake_ns;
            at = &(*at)->next;
        }
        if (*at != NULL || self->gathered) {
            break;
        }
        (void)nx_condition_wait(&self->ready, &self->lock, wake_ns);
    }
    clip *one = *at;
    if (one != NULL) {
        *at = one->next;
    }
    *last_chance = self->gathered;
    pthread_mutex_unlock(&self->lock);
    return one;
}

static bool is_stopping(nx_event_clips *self)
{
    pthread_mutex_lock(&self->lock);
    bool stopping = self->stopping;
    pthread_mutex_unlock(&self->lock);
    return stopping;
}

/* Whoever stops waits once for a database, or a place of objects, that is away. */
static void *run_enterer(void *user)
{
    nx_event_clips *self = user;
    bool hopeless = false;
    bool last_chance = false;
    size_t dropped = 0;
    clip *one = NULL;
    while ((one = take_next(self, &last_chance)) != NULL) {
        if (hopeless) {
            finish(self, one, false);
            dropped++;
        } else {
            hopeless = is_away(try_enter(self, one, last_chance)) && is_stopping(self);
        }
    }
    if (dropped > 0) {
        nx_log_warn("streams", "%zu clips of events are lost: they could not be entered", dropped);
    }
    return NULL;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static void end_gatherer(nx_event_clips *self)
{
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_signal(&self->begun);
    pthread_mutex_unlock(&self->lock);
    (void)pthread_join(self->gatherer, NULL);
}

static void free_clips(nx_event_clips *self)
{
    pthread_cond_destroy(&self->ready);
    pthread_cond_destroy(&self->begun);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

nx_status nx_event_clips_start(const nx_event_clips_options *options, nx_event_clips **out,
                               nx_error *err)
{
    *out = NULL;
    nx_event_clips *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for clips of events");
    }
    self->options = *options;
    pthread_mutex_init(&self->lock, NULL);
    nx_condition_init(&self->begun);
    nx_condition_init(&self->ready);
    int failure = pthread_create(&self->gatherer, NULL, run_gatherer, self);
    if (failure == 0) {
        failure = pthread_create(&self->enterer, NULL, run_enterer, self);
        if (failure != 0) {
            end_gatherer(self);
        }
    }
    if (failure != 0) {
        free_clips(self);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                  "no thread for clips of events");
    }
    *out = self;
    return NX_OK;
}

void nx_event_clips_stop(nx_event_clips *clips)
{
    if (clips == NULL) {
        return;
    }
    end_gatherer(clips); /* which lets the other one end */
    (void)pthread_join(clips->enterer, NULL);
    free_clips(clips);
}

nx_event_clips_stats nx_event_clips_get_stats(nx_event_clips *clips)
{
    pthread_mutex_lock(&clips->lock);
    const nx_event_clips_stats stats = {
        .entered = clips->entered, .lost = clips->lost, .making = clips->making};
    pthread_mutex_unlock(&clips->lock);
    return stats;
}
