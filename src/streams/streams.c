#include "streams/streams.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "base/uuid.h"
#include "streams/relay_listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define USUAL_LEASE_MS INT64_C(15000)
#define BEAT_NS        NX_NS_PER_SEC

/* A stream that is held. Made and freed by the keeper thread alone. */
typedef struct held {
    struct held *next;
    char id[NX_UUID_SIZE];
    char name[NX_STREAM_NAME_MAX + 1];
    int64_t fence, version;
    nx_stream_run *run;
    uint64_t round; /* of renewals, the last that it was in; the keeper's own */
    /* under the lock */
    int64_t until_ns; /* when it is to be stopped, unless its lease is renewed */
    char reason[128]; /* why it is stopped */
    bool stopping;
} held;

struct nx_streams {
    nx_streams_options options;
    nx_stream_hooks hooks;
    char *files_dir, *ca_file, *relay_address;
    nx_relay *relay;
    char name[NX_STREAM_OWNER_MAX];
    pthread_t keeper, guard;
    bool has_keeper, has_guard;
    uint64_t round; /* the keeper's own */

    pthread_mutex_t lock;  /* guards what is below; never held while something is waited for */
    pthread_cond_t woken;  /* the keeper is to look */
    pthread_cond_t leases; /* the guard is */
    nx_postprocess_options postprocess;
    uint64_t max_pixels;
    held *list;
    bool look, stopping, kept; /* kept: the keeper has ended */
    nx_streams_stats ended;    /* of those that are not run any more */

    pthread_mutex_t news_lock; /* guards the rest */
    pthread_cond_t news;
    uint64_t told;
    nx_relay_listener *listener; /* from the start on; NULL: no stream is run here */
};

/* --- what is new --------------------------------------------------------------------------------
 */

void nx_streams_wake(nx_streams *streams)
{
    pthread_mutex_lock(&streams->news_lock);
    streams->told++;
    pthread_cond_broadcast(&streams->news);
    nx_relay_listener *listener = streams->listener;
    pthread_mutex_unlock(&streams->news_lock);
    nx_relay_listener_wake(listener);
}

static void note_news(void *user)
{
    nx_streams_wake(user);
}

uint64_t nx_streams_wait(nx_streams *streams, uint64_t seen, int64_t until_ns)
{
    int result = 0;
    pthread_mutex_lock(&streams->news_lock);
    while (streams->told == seen && result != ETIMEDOUT) {
        result = nx_condition_wait(&streams->news, &streams->news_lock, until_ns);
    }
    uint64_t told = streams->told;
    pthread_mutex_unlock(&streams->news_lock);
    return told;
}

/* --- those that are held ------------------------------------------------------------------------
 */

/* Under the lock. */
static void stop(held *one, const char *reason)
{
    if (!one->stopping) {
        one->stopping = true;
        snprintf(one->reason, sizeof one->reason, "%s", reason);
        nx_stream_run_ask_stop(one->run, reason);
    }
}

/* By when a lease that is asked for now must have been renewed: somewhat before it is over, since
 * a stream that is told to stop still takes a moment. */
static int64_t lease_end(const nx_streams *streams)
{
    return nx_clock_now_ns() + streams->options.lease_ms * NX_NS_PER_MS / 10 * 9;
}

static void write_report(const nx_stream_status *status, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_stream_status_json(status, &json);
    nx_json_object_end(&json);
}

/* What came of a try to renew a lease. */
static void note_renewal(nx_streams *streams, held *one, const nx_error *err, int64_t until_ns,
                         bool enabled, bool changed)
{
    pthread_mutex_lock(&streams->lock);
    if (err->status == NX_ERR_NOT_FOUND) {
        stop(one, "it was removed");
    } else if (err->status == NX_ERR_CONFLICT) {
        stop(one, "another server runs it");
    } else if (err->status == NX_OK && !enabled) {
        stop(one, "it is switched off");
    } else if (err->status == NX_OK && changed) {
        stop(one, "it was changed, and begins anew");
    } else if (err->status == NX_OK) {
        one->until_ns = until_ns;
    }
    pthread_cond_signal(&streams->leases);
    pthread_mutex_unlock(&streams->lock);
}

/* Renews a lease and hears what is wanted of the stream by now. False: the database is away. */
static bool renew(nx_streams *streams, held *one)
{
    const nx_stream_lease lease = {.id = one->id, .fence = one->fence};
    nx_stream_status now;
    nx_buffer text = NX_BUFFER_INIT;
    nx_buffer counts = NX_BUFFER_INIT;
    nx_error err = {0};
    int64_t version = one->version;
    bool enabled = true;
    int64_t until_ns = lease_end(streams);
    nx_stream_run_status(one->run, &now);
    write_report(&now, &text);
    nx_stream_run_places(one->run, &counts);
    const nx_stream_report report = {
        .state = now.monitor.state,
        .reason = now.monitor.reason,
        .status = nx_buffer_cstr(&text),
        .counts = counts.size > 0 && !counts.failed ? nx_buffer_cstr(&counts) : NULL,
    };
    err.status = nx_store_stream_hold(streams->options.store, &lease, streams->options.lease_ms,
                                      &report, &version, &enabled, &err);
    nx_buffer_free(&text);
    nx_buffer_free(&counts);
    note_renewal(streams, one, &err, until_ns, enabled, version != one->version);
    bool away = err.status == NX_ERR_UNAVAILABLE || err.status == NX_ERR_BUSY;
    if (away ||
        (err.status != NX_OK && err.status != NX_ERR_NOT_FOUND && err.status != NX_ERR_CONFLICT)) {
        nx_log_warn("streams", "the lease of stream %s is not renewed: %s", one->name, err.message);
    }
    return !away;
}

static void add_up(nx_streams_stats *sum, const nx_stream_status *status)
{
    nx_stream_counts_add(&sum->counts, &status->counts);
    sum->reconnects += status->monitor.reconnects;
    sum->fragments += status->fragments;
    sum->encodings += status->encodings;
}

/* Takes those that have ended out of the list. *left: how many are in it. */
static held *take_out(nx_streams *streams, size_t *left)
{
    held *over = NULL;
    *left = 0;
    pthread_mutex_lock(&streams->lock);
    for (held **at = &streams->list; *at != NULL;) {
        held *one = *at;
        if (one->stopping && nx_stream_run_is_over(one->run)) {
            nx_stream_status status;
            nx_stream_run_status(one->run, &status);
            add_up(&streams->ended, &status);
            *at = one->next;
            one->next = over;
            over = one;
        } else {
            at = &one->next;
            (*left)++;
        }
    }
    pthread_mutex_unlock(&streams->lock);
    return over;
}

/* Gives back those that have ended. Without a database their leases just run out: it is asked once,
 * and not again after a failure (*there). Returns how many are left. */
static size_t sweep(nx_streams *streams, bool *there)
{
    size_t left = 0;
    held *over = take_out(streams, &left);
    while (over != NULL) {
        held *one = over;
        const nx_stream_lease lease = {.id = one->id, .fence = one->fence};
        over = one->next;
        if (*there) {
            nx_status status =
                nx_store_stream_release(streams->options.store, &lease, one->reason, NULL);
            *there = status != NX_ERR_UNAVAILABLE && status != NX_ERR_BUSY;
        }
        nx_stream_run_free(one->run);
        free(one);
    }
    return left;
}

static nx_status hold(nx_streams *streams, const nx_stream *stream, int64_t until_ns, nx_error *err)
{
    held *one = calloc(1, sizeof *one);
    if (one == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a stream");
    }
    pthread_mutex_lock(&streams->lock);
    const nx_stream_run_options options = {
        .engine = streams->options.engine,
        .registry = streams->options.registry,
        .shared = streams->options.shared,
        .postprocess = streams->postprocess,
        .max_pixels = streams->max_pixels,
        .files_dir = streams->files_dir,
        .ca_file = streams->ca_file,
        .allow_loopback = streams->options.allow_loopback,
        .clip_ns = streams->options.clip_ns,
        .stream = stream,
        .hooks = streams->hooks,
        .told = note_news,
        .user = streams,
    };
    pthread_mutex_unlock(&streams->lock);
    nx_status status = nx_stream_run_start(&options, &one->run, err);
    if (status != NX_OK) {
        free(one);
        return status;
    }
    snprintf(one->id, sizeof one->id, "%s", stream->id);
    snprintf(one->name, sizeof one->name, "%s", stream->name);
    one->fence = stream->fence;
    one->version = stream->version;
    one->until_ns = until_ns;
    pthread_mutex_lock(&streams->lock);
    one->next = streams->list;
    streams->list = one;
    pthread_cond_signal(&streams->leases);
    pthread_mutex_unlock(&streams->lock);
    return NX_OK;
}

/* One at a time: of several processes that start at once none takes all. False: there is none. */
static bool take_one(nx_streams *streams)
{
    nx_arena arena = nx_arena_make(0);
    nx_error err = {0};
    nx_stream stream;
    size_t count = 0;
    int64_t until_ns = lease_end(streams);
    const nx_relay_place *place = nx_relay_listener_place(streams->listener);
    const nx_stream_runner runner = {.name = streams->name,
                                     .path = place->path,
                                     .address = place->address,
                                     .token = place->token};
    nx_status status =
        nx_store_streams_take(streams->options.store, &runner, 1, streams->options.lease_ms, &arena,
                              &stream, &count, &err);
    if (status == NX_OK && count == 1) {
        status = hold(streams, &stream, until_ns, &err);
        if (status != NX_OK) {
            const nx_stream_lease lease = {.id = stream.id, .fence = stream.fence};
            (void)nx_store_stream_release(streams->options.store, &lease, err.message, NULL);
        }
    }
    if (status != NX_OK) {
        nx_log_warn("streams", "no stream can be taken: %s", err.message);
    }
    nx_arena_free(&arena);
    return status == NX_OK && count == 1;
}

/* --- the keeper ---------------------------------------------------------------------------------
 */

static void stop_all(nx_streams *streams, const char *reason)
{
    pthread_mutex_lock(&streams->lock);
    for (held *one = streams->list; one != NULL; one = one->next) {
        stop(one, reason);
    }
    pthread_mutex_unlock(&streams->lock);
}

/* Of those that were not asked for in this round, the one whose lease ends first; NULL: none. */
static held *next_lease(nx_streams *streams)
{
    held *first = NULL;
    pthread_mutex_lock(&streams->lock);
    for (held *one = streams->list; one != NULL; one = one->next) {
        if (!one->stopping && one->round != streams->round &&
            (first == NULL || one->until_ns < first->until_ns)) {
            first = one;
        }
    }
    pthread_mutex_unlock(&streams->lock);
    return first;
}

/* Renews the leases, until the first that can't be: the others would wait in vain, too. */
static bool renew_all(nx_streams *streams)
{
    bool there = true;
    held *one = NULL;
    streams->round++;
    while (there && (one = next_lease(streams)) != NULL) {
        one->round = streams->round;
        there = renew(streams, one);
    }
    return there;
}

/* How long it is until somebody is to look again. */
static void rest(nx_streams *streams, bool stopping, int64_t until_ns)
{
    int result = 0;
    pthread_mutex_lock(&streams->lock);
    while (!streams->look && (stopping || !streams->stopping) && result != ETIMEDOUT) {
        result = nx_condition_wait(&streams->woken, &streams->lock, until_ns);
    }
    pthread_mutex_unlock(&streams->lock);
}

static void *keep(void *user)
{
    nx_streams *streams = user;
    bool there = true;
    for (;;) {
        pthread_mutex_lock(&streams->lock);
        bool stopping = streams->stopping;
        streams->look = false;
        pthread_mutex_unlock(&streams->lock);
        if (stopping) {
            stop_all(streams, "the server stops");
        } else {
            there = renew_all(streams);
        }
        size_t left = sweep(streams, &there);
        if (stopping && left == 0) {
            return NULL;
        }
        bool took = !stopping && there && left < streams->options.most && take_one(streams);
        /* who has taken one looks for the next soon; who stops looks whether all have ended */
        rest(streams, stopping, nx_clock_now_ns() + (took || stopping ? BEAT_NS / 20 : BEAT_NS));
    }
}

/* Stops what has no lease any more, whatever the keeper is waiting for: another process may run it
 * by then. */
static void *watch_leases(void *user)
{
    nx_streams *streams = user;
    pthread_mutex_lock(&streams->lock);
    while (!streams->kept) {
        int64_t now_ns = nx_clock_now_ns();
        int64_t next_ns = INT64_MAX;
        for (held *one = streams->list; one != NULL; one = one->next) {
            if (!one->stopping && now_ns >= one->until_ns) {
                nx_log_warn("streams", "the lease of stream %s was not renewed in time", one->name);
                stop(one, "its lease was not renewed in time");
                streams->look = true;
                pthread_cond_signal(&streams->woken);
            } else if (!one->stopping && one->until_ns < next_ns) {
                next_ns = one->until_ns;
            }
        }
        (void)nx_condition_wait(&streams->leases, &streams->lock, next_ns);
    }
    pthread_mutex_unlock(&streams->lock);
    return NULL;
}

void nx_streams_poke(nx_streams *streams)
{
    pthread_mutex_lock(&streams->lock);
    streams->look = true;
    pthread_cond_signal(&streams->woken);
    pthread_mutex_unlock(&streams->lock);
}

/* --- other processes that look at them ----------------------------------------------------------
 */

static nx_stream_hub *find_hub(const char *id, void *user)
{
    return nx_streams_hub(user, id);
}

static nx_media_ring *find_media(const char *id, void *user)
{
    return nx_streams_media(user, id);
}

static void find_unfit(const char *id, char codec[NX_RELAY_CODEC], void *user)
{
    nx_streams_unfit(user, id, codec);
}

/* --- life ---------------------------------------------------------------------------------------
 */

nx_status nx_streams_new(const nx_streams_options *options, nx_streams **out, nx_error *err)
{
    char host[65] = "";
    *out = NULL;
    if (options->most > NX_STREAMS_MOST_AT_ONCE) {
        return nx_error_set(err, NX_ERR_INVALID, "at most %d streams are run at once",
                            NX_STREAMS_MOST_AT_ONCE);
    }
    nx_streams *streams = calloc(1, sizeof *streams);
    if (streams == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for streams");
    }
    const nx_relay_options mirrors = {.store = options->store, .told = note_news, .user = streams};
    streams->options = *options;
    streams->options.files_dir = streams->options.ca_file = streams->options.relay = NULL;
    streams->files_dir = strdup(options->files_dir);
    streams->ca_file = strdup(options->ca_file != NULL ? options->ca_file : "");
    streams->relay_address = strdup(options->relay != NULL ? options->relay : "");
    streams->relay = nx_relay_new(&mirrors);
    streams->options.lease_ms = options->lease_ms > 0 ? options->lease_ms : USUAL_LEASE_MS;
    streams->postprocess = options->postprocess;
    streams->max_pixels = options->max_pixels;
    (void)gethostname(host, sizeof host - 1);
    snprintf(streams->name, sizeof streams->name, "%s:%d", host, (int)getpid());
    pthread_mutex_init(&streams->lock, NULL);
    pthread_mutex_init(&streams->news_lock, NULL);
    nx_condition_init(&streams->woken);
    nx_condition_init(&streams->leases);
    nx_condition_init(&streams->news);
    if (streams->files_dir == NULL || streams->ca_file == NULL || streams->relay_address == NULL ||
        streams->relay == NULL) {
        nx_streams_free(streams);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for streams");
    }
    *out = streams;
    return NX_OK;
}

nx_relay *nx_streams_relay(nx_streams *streams)
{
    return streams->relay;
}

nx_stream_hooks nx_streams_get_hooks(const nx_streams *streams)
{
    return streams->hooks;
}

void nx_streams_set_hooks(nx_streams *streams, const nx_stream_hooks *hooks)
{
    pthread_mutex_lock(&streams->lock);
    streams->hooks = *hooks;
    pthread_mutex_unlock(&streams->lock);
}

nx_status nx_streams_start(nx_streams *streams, nx_error *err)
{
    const nx_relay_source source = {
        .hub = find_hub, .media = find_media, .unfit = find_unfit, .user = streams};
    if (streams->options.most == 0) {
        return NX_OK;
    }
    nx_relay_listener *listener = NULL;
    nx_status status = nx_relay_listener_start(streams->relay_address, &source, &listener, err);
    if (status != NX_OK) {
        return status;
    }
    pthread_mutex_lock(&streams->news_lock);
    streams->listener = listener;
    pthread_mutex_unlock(&streams->news_lock);
    int failure = pthread_create(&streams->guard, NULL, watch_leases, streams);
    streams->has_guard = failure == 0;
    if (failure == 0) {
        failure = pthread_create(&streams->keeper, NULL, keep, streams);
        streams->has_keeper = failure == 0;
    }
    return failure == 0 ? NX_OK
                        : nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                             "cannot start the threads for streams");
}

void nx_streams_ask_stop(nx_streams *streams)
{
    pthread_mutex_lock(&streams->lock);
    streams->stopping = true;
    pthread_cond_signal(&streams->woken);
    pthread_mutex_unlock(&streams->lock);
}

void nx_streams_free(nx_streams *streams)
{
    if (streams == NULL) {
        return;
    }
    nx_streams_ask_stop(streams);
    if (streams->has_keeper) {
        pthread_join(streams->keeper, NULL);
    }
    if (streams->has_guard) {
        pthread_mutex_lock(&streams->lock);
        streams->kept = true;
        pthread_cond_signal(&streams->leases);
        pthread_mutex_unlock(&streams->lock);
        pthread_join(streams->guard, NULL);
    }
    nx_relay_free(streams->relay);
    nx_relay_listener_free(streams->listener);
    pthread_cond_destroy(&streams->news);
    pthread_cond_destroy(&streams->leases);
    pthread_cond_destroy(&streams->woken);
    pthread_mutex_destroy(&streams->news_lock);
    pthread_mutex_destroy(&streams->lock);
    free(streams->files_dir);
    free(streams->ca_file);
    free(streams->relay_address);
    free(streams);
}

void nx_streams_set_rules(nx_streams *streams, const nx_postprocess_options *postprocess,
                          uint64_t max_pixels)
{
    pthread_mutex_lock(&streams->lock);
    streams->postprocess = *postprocess;
    streams->max_pixels = max_pixels;
    pthread_mutex_unlock(&streams->lock);
}

bool nx_streams_allow_loopback(const nx_streams *streams)
{
    return streams->options.allow_loopback;
}

/* --- looking ------------------------------------------------------------------------------------
 */

/* Under the lock. NULL: it is not here. */
static const held *find(const nx_streams *streams, const char *id)
{
    const held *one = streams->list;
    while (one != NULL && strcmp(one->id, id) != 0) {
        one = one->next;
    }
    return one;
}

nx_stream_hub *nx_streams_hub(nx_streams *streams, const char *id)
{
    pthread_mutex_lock(&streams->lock);
    const held *one = find(streams, id);
    nx_stream_hub *hub =
        one != NULL && !one->stopping ? nx_stream_hub_retain(nx_stream_run_hub(one->run)) : NULL;
    pthread_mutex_unlock(&streams->lock);
    return hub;
}

nx_media_ring *nx_streams_media(nx_streams *streams, const char *id)
{
    pthread_mutex_lock(&streams->lock);
    const held *one = find(streams, id);
    nx_media_ring *media =
        one != NULL && !one->stopping ? nx_media_ring_retain(nx_stream_run_media(one->run)) : NULL;
    pthread_mutex_unlock(&streams->lock);
    return media;
}

bool nx_streams_status(nx_streams *streams, const char *id, nx_stream_status *out,
                       nx_buffer *places)
{
    pthread_mutex_lock(&streams->lock);
    const held *one = find(streams, id);
    if (one != NULL) {
        nx_stream_run_status(one->run, out);
        if (places != NULL) {
            nx_stream_run_places(one->run, places);
        }
    }
    pthread_mutex_unlock(&streams->lock);
    return one != NULL;
}

void nx_streams_unfit(nx_streams *streams, const char *id, char codec[NX_RELAY_CODEC])
{
    nx_stream_status status;
    bool unfit = nx_streams_status(streams, id, &status, NULL) && status.source.width > 0 &&
                 !nx_decoder_can_copy(&status.source);
    snprintf(codec, NX_RELAY_CODEC, "%.31s", unfit ? status.source.codec : "");
}

void nx_streams_get_stats(nx_streams *streams, nx_streams_stats *out)
{
    pthread_mutex_lock(&streams->lock);
    *out = streams->ended;
    for (const held *one = streams->list; one != NULL; one = one->next) {
        nx_stream_status status;
        nx_stream_run_status(one->run, &status);
        add_up(out, &status);
    }
    const nx_stream_hooks hooks = streams->hooks;
    pthread_mutex_unlock(&streams->lock);
    if (hooks.events != NULL) {
        out->events = hooks.events(hooks.user);
    }
}

void nx_streams_walk(nx_streams *streams, nx_streams_each each, void *user)
{
    pthread_mutex_lock(&streams->lock);
    for (const held *one = streams->list; one != NULL; one = one->next) {
        nx_stream_status status;
        nx_stream_run_status(one->run, &status);
        each(one->id, one->name, &status, user);
    }
    pthread_mutex_unlock(&streams->lock);
}
