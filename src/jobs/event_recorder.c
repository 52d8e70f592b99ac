#include "jobs/event_recorder.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "media/codec.h"
#include "store/object_uses.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUALITY      85
#define TICK_NS      NX_NS_PER_SEC
#define MOST_CLASHES 3

/* Events of one frame. */
typedef struct batch {
    struct batch *next;
    nx_arena arena;
    nx_event_row *events;
    size_t count;
    nx_image picture; /* empty: none, or it is kept already */
    size_t bytes;
    char (*ids)[NX_UUID_SIZE];
    size_t entered; /* of the events; the rest is tried again */
    unsigned clashes;
    char snapshot[NX_OBJECT_NAME_SIZE];
    int64_t snapshot_bytes;
    char holder[NX_UUID_SIZE]; /* of the snapshot; "": nobody holds it */
} batch;

struct nx_event_recorder {
    nx_event_recorder_options options;
    char *webhook;
    pthread_t thread;
    bool failing; /* the thread's: the log has said so */

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    batch *first, *last;
    size_t queued;
    size_t bytes;
    uint64_t entered, lost;
    bool stopping;
};

nx_event_recorder_options nx_event_recorder_options_of(const nx_config *config, nx_store *store,
                                                       nx_objects *objects)
{
    return (nx_event_recorder_options){
        .store = store,
        .objects = objects,
        .webhook = nx_config_string(config, NX_CONFIG_EVENT_WEBHOOK_URL),
        .mqtt = nx_config_string(config, NX_CONFIG_MQTT_URL)[0] != '\0',
        .clip_ns = nx_config_int(config, NX_CONFIG_EVENT_CLIP_SECONDS) * NX_NS_PER_SEC,
    };
}

/* --- batches ------------------------------------------------------------------------------------
 */

static void free_batch(batch *one)
{
    if (one != NULL) {
        nx_image_free(&one->picture);
        nx_arena_free(&one->arena);
        free(one);
    }
}

static const char *copy_text(nx_arena *arena, const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    char *copy = nx_arena_alloc(arena, size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

static bool copy_picture(batch *one, const nx_event_picture *picture)
{
    if (picture == NULL) {
        return true;
    }
    if (nx_image_alloc(picture->width, picture->height, &one->picture, NULL) != NX_OK) {
        return false;
    }
    for (uint32_t y = 0; y < picture->height; y++) {
        memcpy(one->picture.pixels + y * one->picture.stride,
               picture->pixels + (size_t)y * picture->width * 3, (size_t)picture->width * 3);
    }
    one->bytes += one->picture.stride * picture->height;
    return true;
}

/* NULL: no memory. */
static batch *make_batch(const nx_event_row *events, size_t count, const nx_event_picture *picture)
{
    batch *one = calloc(1, sizeof *one);
    if (one == NULL) {
        return NULL;
    }
    one->arena = nx_arena_make(0);
    one->count = count;
    one->events = nx_arena_calloc(&one->arena, count, sizeof *one->events);
    one->ids = nx_arena_calloc(&one->arena, count, sizeof *one->ids);
    bool good = one->events != NULL && one->ids != NULL && copy_picture(one, picture);
    for (size_t i = 0; good && i < count; i++) {
        nx_event_row *row = &one->events[i];
        *row = events[i];
        row->stream_id = copy_text(&one->arena, row->stream_id);
        row->stream_name = copy_text(&one->arena, row->stream_name);
        row->kind = copy_text(&one->arena, row->kind);
        row->rule = copy_text(&one->arena, row->rule);
        row->class_name = copy_text(&one->arena, row->class_name);
        row->zone = copy_text(&one->arena, row->zone);
        row->details = copy_text(&one->arena, row->details);
        if (row->id != NULL) {
            snprintf(one->ids[i], sizeof one->ids[i], "%.36s", row->id);
        } else {
            good = nx_uuid_make(one->ids[i], NULL) == NX_OK;
        }
        row->id = one->ids[i];
    }
    if (!good || one->arena.failed) {
        free_batch(one);
        return NULL;
    }
    one->bytes += one->arena.used;
    return one;
}

bool nx_event_recorder_put(nx_event_recorder *recorder, const nx_event_row *events, size_t count,
                           const nx_event_picture *picture)
{
    batch *one = make_batch(events, count, picture);
    pthread_mutex_lock(&recorder->lock);
    bool room = one != NULL && recorder->queued < NX_EVENT_RECORDER_BATCHES &&
                recorder->bytes + one->bytes <= NX_EVENT_RECORDER_BYTES && !recorder->stopping;
    if (room) {
        recorder->queued++;
        recorder->bytes += one->bytes;
        *(recorder->last != NULL ? &recorder->last->next : &recorder->first) = one;
        recorder->last = one;
        pthread_cond_signal(&recorder->changed);
    } else {
        recorder->lost += count;
    }
    pthread_mutex_unlock(&recorder->lock);
    if (!room) {
        nx_log_warn("jobs", "%zu events of a stream are lost: too many wait for the database",
                    count);
        free_batch(one);
    }
    return room;
}

void nx_event_recorder_lose(nx_event_recorder *recorder, size_t count)
{
    pthread_mutex_lock(&recorder->lock);
    recorder->lost += count;
    pthread_mutex_unlock(&recorder->lock);
    nx_log_warn("jobs", "%zu events of a stream are lost: too many happened at once", count);
}

/* --- entering -----------------------------------------------------------------------------------
 */

/* The picture becomes an object, held until its events are entered. */
static nx_status keep_picture(nx_event_recorder *self, batch *one, nx_error *err)
{
    nx_buffer jpeg = NX_BUFFER_INIT;
    char holder[NX_UUID_SIZE];
    if (one->picture.pixels == NULL) {
        return NX_OK;
    }
    nx_status status = nx_image_encode_jpeg(&one->picture, QUALITY, &jpeg, err);
    if (status == NX_OK) {
        status = nx_store_keep_bytes(self->options.store, self->options.objects, &jpeg, holder,
                                     one->snapshot, &one->snapshot_bytes, err);
    }
    nx_buffer_free(&jpeg);
    if (status == NX_OK) {
        memcpy(one->holder, holder, sizeof holder);
        nx_image_free(&one->picture);
    }
    return status;
}

/* An event that was refused for it clashes with what is there: is it that itself, for the
 * connection was lost while it was committed? Else it is tried again a few times: transactions
 * clash, too. */
static nx_status resolve(nx_event_recorder *self, batch *one, const char *id, nx_error *err)
{
    nx_arena arena = nx_arena_make(0);
    nx_event_row row;
    nx_error ignored = {0};
    nx_status status = nx_store_event_get(self->options.store, id, &arena, &row, &ignored);
    nx_arena_free(&arena);
    if (status == NX_ERR_NOT_FOUND) {
        status = one->clashes++ < MOST_CLASHES ? NX_ERR_BUSY : NX_ERR_CONFLICT;
    }
    if (status != NX_OK) {
        err->status = status;
    }
    return status;
}

static nx_status enter(nx_event_recorder *self, batch *one, nx_error *err)
{
    const nx_event_targets targets = {.webhook = self->webhook[0] != '\0' ? self->webhook : NULL,
                                      .mqtt = self->options.mqtt};
    nx_status status = keep_picture(self, one, err);
    while (status == NX_OK && one->entered < one->count) {
        nx_event_row *row = &one->events[one->entered];
        row->snapshot = one->holder[0] != '\0' ? one->snapshot : NULL;
        /* counted with the newest one: when there are too many bytes all of these go */
        row->bytes = one->entered + 1 == one->count ? one->snapshot_bytes : 0;
        status = nx_store_event_add(self->options.store, row, &targets, NULL, err);
        if (status == NX_ERR_CONFLICT) {
            status = resolve(self, one, row->id, err);
        }
        one->entered += status == NX_OK;
    }
    if (status == NX_OK && one->holder[0] != '\0') {
        (void)nx_store_object_release(self->options.store, one->holder, NULL); /* its time ends */
    }
    return status;
}

/* What time may mend. */
static bool may_mend(nx_status status)
{
    return status == NX_ERR_UNAVAILABLE || status == NX_ERR_BUSY || status == NX_ERR_IO ||
           status == NX_ERR_NO_MEMORY || status == NX_ERR_TIMEOUT;
}

/* Takes the first one out of the queue. */
static void drop_first(nx_event_recorder *self, bool good)
{
    pthread_mutex_lock(&self->lock);
    batch *one = self->first;
    self->first = one->next;
    self->last = self->first != NULL ? self->last : NULL;
    self->queued--;
    self->bytes -= one->bytes;
    self->entered += one->entered;
    self->lost += one->count - one->entered;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    if (!good) {
        nx_log_warn("jobs", "%zu events of a stream are lost", one->count - one->entered);
    }
    free_batch(one);
}

/* What time may mend stays the first one. */
static nx_status enter_first(nx_event_recorder *self, batch *one)
{
    nx_error err = {0};
    nx_status status = enter(self, one, &err);
    if (status != NX_OK && !self->failing) {
        nx_log_warn("jobs", "events of streams are not entered: %s", err.message);
    }
    self->failing = status != NX_OK;
    if (!may_mend(status)) {
        drop_first(self, status == NX_OK);
    }
    return status;
}

/* The same while somebody waits for the end. What clashes is tried again at once, a few times; a
 * database that lets wait for a connection is away. */
static nx_status enter_at_last(nx_event_recorder *self, batch *one)
{
    nx_status status = NX_ERR_BUSY;
    int64_t begun_ns = nx_clock_now_ns();
    for (int i = 0; i <= MOST_CLASHES && status == NX_ERR_BUSY; i++) {
        if (i == 0 || nx_clock_now_ns() < begun_ns + TICK_NS) {
            status = enter_first(self, one);
        }
    }
    return status;
}

/* Whoever stops waits once for a database that is away. */
static void drop_all(nx_event_recorder *self)
{
    size_t lost = 0;
    pthread_mutex_lock(&self->lock);
    for (const batch *one = self->first; one != NULL; one = one->next) {
        lost += one->count - one->entered;
        self->entered += one->entered;
    }
    self->lost += lost;
    pthread_mutex_unlock(&self->lock);
    if (lost > 0) {
        nx_log_warn("jobs", "%zu events of streams are lost: they could not be entered", lost);
    }
}

static void *run(void *user)
{
    nx_event_recorder *self = user;
    int64_t tick_ns = nx_clock_now_ns() + TICK_NS;
    bool stuck = false;
    for (;;) {
        pthread_mutex_lock(&self->lock);
        while (!self->stopping && (self->first == NULL || stuck) && nx_clock_now_ns() < tick_ns) {
            (void)nx_condition_wait(&self->changed, &self->lock, tick_ns);
        }
        batch *one = self->first;
        bool stopping = self->stopping;
        pthread_mutex_unlock(&self->lock);
        if (stopping && one == NULL) {
            return NULL;
        }
        bool ticks = nx_clock_now_ns() >= tick_ns;
        if (one != NULL && (!stuck || ticks || stopping)) {
            stuck = may_mend(stopping ? enter_at_last(self, one) : enter_first(self, one));
        }
        if (stuck && stopping) {
            drop_all(self);
            return NULL;
        }
        if (ticks) {
            tick_ns = nx_clock_now_ns() + TICK_NS;
            if (self->options.tick != NULL && !stopping) {
                self->options.tick(self->options.user);
            }
        }
    }
}

/* --- life ---------------------------------------------------------------------------------------
 */

static void free_recorder(nx_event_recorder *self)
{
    while (self->first != NULL) {
        batch *next = self->first->next;
        free_batch(self->first);
        self->first = next;
    }
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free(self->webhook);
    free(self);
}

nx_status nx_event_recorder_start(const nx_event_recorder_options *options, nx_event_recorder **out,
                                  nx_error *err)
{
    *out = NULL;
    nx_event_recorder *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the events of streams");
    }
    self->options = *options;
    self->webhook = strdup(options->webhook);
    pthread_mutex_init(&self->lock, NULL);
    nx_condition_init(&self->changed);
    if (self->webhook == NULL) {
        free_recorder(self);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the events of streams");
    }
    int failure = pthread_create(&self->thread, NULL, run, self);
    if (failure != 0) {
        free_recorder(self);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                  "no thread for the events of streams");
    }
    *out = self;
    return NX_OK;
}

void nx_event_recorder_stop(nx_event_recorder *recorder)
{
    if (recorder == NULL) {
        return;
    }
    pthread_mutex_lock(&recorder->lock);
    recorder->stopping = true;
    pthread_cond_broadcast(&recorder->changed);
    pthread_mutex_unlock(&recorder->lock);
    (void)pthread_join(recorder->thread, NULL);
    free_recorder(recorder);
}

nx_event_recorder_stats nx_event_recorder_get_stats(nx_event_recorder *recorder)
{
    pthread_mutex_lock(&recorder->lock);
    const nx_event_recorder_stats stats = {
        .entered = recorder->entered, .lost = recorder->lost, .queued = recorder->queued};
    pthread_mutex_unlock(&recorder->lock);
    return stats;
}
