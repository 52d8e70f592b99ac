#include "streams/streams.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "base/uuid.h"

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
    int64_t until_ns; /* when the lease is over, by this machine's clock */
    nx_stream_run *run;
    char reason[128]; /* why it is stopped */
    bool stopping;
} held;

struct nx_streams {
    nx_streams_options options;
    nx_stream_hooks hooks;
    char *files_dir;
    char name[NX_STREAM_OWNER_MAX];
    pthread_t keeper;
    bool has_keeper;

    pthread_mutex_t lock; /* guards what is below; never held while something is waited for */
    pthread_cond_t woken; /* the keeper is to look */
    nx_postprocess_options postprocess;
    uint64_t max_pixels;
    held *list;
    bool look, stopping;
    nx_streams_stats ended; /* of those that are not run any more */

    pthread_mutex_t news_lock; /* guards the rest */
    pthread_cond_t news;
    uint64_t told;
};

/* --- what is new --------------------------------------------------------------------------------
 */

void nx_streams_wake(nx_streams *streams)
{
    pthread_mutex_lock(&streams->news_lock);
    streams->told++;
    pthread_cond_broadcast(&streams->news);
    pthread_mutex_unlock(&streams->news_lock);
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

static void stop(held *one, const char *reason)
{
    if (!one->stopping) {
        one->stopping = true;
        snprintf(one->reason, sizeof one->reason, "%s", reason);
        nx_stream_run_ask_stop(one->run, reason);
    }
}

static void write_report(const nx_stream_status *status, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_stream_status_json(status, &json);
    nx_json_object_end(&json);
}

/* Renews a lease and hears what is wanted of the stream by now. */
static void renew(nx_streams *streams, held *one)
{
    const nx_stream_lease lease = {.id = one->id, .fence = one->fence};
    nx_stream_status now;
    nx_buffer text = NX_BUFFER_INIT;
    nx_error err = {0};
    int64_t version = one->version;
    bool enabled = true;
    int64_t begun_ns = nx_clock_now_ns();
    nx_stream_run_status(one->run, &now);
    write_report(&now, &text);
    const nx_stream_report report = {
        .state = now.monitor.state, .reason = now.monitor.reason, .status = nx_buffer_cstr(&text)};
    nx_status status =
        nx_store_stream_hold(streams->options.store, &lease, streams->options.lease_ms, &report,
                             &version, &enabled, &err);
    nx_buffer_free(&text);
    if (status == NX_OK) {
        one->until_ns = begun_ns + streams->options.lease_ms * NX_NS_PER_MS;
        if (!enabled) {
            stop(one, "it is switched off");
        } else if (version != one->version) {
            stop(one, "it was changed, and begins anew");
        }
    } else if (status == NX_ERR_NOT_FOUND) {
        stop(one, "it was removed");
    } else if (status == NX_ERR_CONFLICT || begun_ns >= one->until_ns) {
        stop(one, "another server runs it");
    } else {
        nx_log_warn("streams", "the lease of stream %s is not renewed: %s", one->name, err.message);
    }
}

static void add_up(nx_streams_stats *sum, const nx_stream_status *status)
{
    nx_stream_counts_add(&sum->counts, &status->counts);
    sum->reconnects += status->monitor.reconnects;
}

/* Takes out those that have ended. Returns how many are left. */
static size_t sweep(nx_streams *streams)
{
    size_t left = 0;
    held *over = NULL;
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
            left++;
        }
    }
    pthread_mutex_unlock(&streams->lock);
    while (over != NULL) {
        held *one = over;
        const nx_stream_lease lease = {.id = one->id, .fence = one->fence};
        over = one->next;
        (void)nx_store_stream_release(streams->options.store, &lease, one->reason, NULL);
        nx_stream_run_free(one->run);
        free(one);
    }
    return left;
}

static nx_status hold(nx_streams *streams, const nx_stream *stream, nx_error *err)
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
        .allow_loopback = streams->options.allow_loopback,
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
    one->until_ns = nx_clock_now_ns() + streams->options.lease_ms * NX_NS_PER_MS;
    pthread_mutex_lock(&streams->lock);
    one->next = streams->list;
    streams->list = one;
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
    nx_status status =
        nx_store_streams_take(streams->options.store, streams->name, 1, streams->options.lease_ms,
                              &arena, &stream, &count, &err);
    if (status == NX_OK && count == 1) {
        status = hold(streams, &stream, &err);
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

/* Only the keeper changes the list. */
static void beat(nx_streams *streams, bool stopping)
{
    pthread_mutex_lock(&streams->lock);
    held *one = streams->list;
    pthread_mutex_unlock(&streams->lock);
    for (; one != NULL; one = one->next) {
        if (stopping) {
            stop(one, "the server stops");
        }
        if (!one->stopping) {
            renew(streams, one);
        }
    }
}

static void *keep(void *user)
{
    nx_streams *streams = user;
    for (;;) {
        pthread_mutex_lock(&streams->lock);
        bool stopping = streams->stopping;
        streams->look = false;
        pthread_mutex_unlock(&streams->lock);
        beat(streams, stopping);
        size_t left = sweep(streams);
        if (stopping && left == 0) {
            return NULL;
        }
        bool took = !stopping && left < streams->options.most && take_one(streams);
        /* who has taken one looks for the next soon; who stops looks whether all have ended */
        int64_t until_ns = nx_clock_now_ns() + (took || stopping ? BEAT_NS / 20 : BEAT_NS);
        int result = 0;
        pthread_mutex_lock(&streams->lock);
        while (!streams->look && (stopping || !streams->stopping) && result != ETIMEDOUT) {
            result = nx_condition_wait(&streams->woken, &streams->lock, until_ns);
        }
        pthread_mutex_unlock(&streams->lock);
    }
}

void nx_streams_poke(nx_streams *streams)
{
    pthread_mutex_lock(&streams->lock);
    streams->look = true;
    pthread_cond_signal(&streams->woken);
    pthread_mutex_unlock(&streams->lock);
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
    char *files_dir = strdup(options->files_dir);
    if (streams == NULL || files_dir == NULL) {
        free(streams);
        free(files_dir);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for streams");
    }
    streams->options = *options;
    streams->options.files_dir = NULL;
    streams->files_dir = files_dir;
    streams->options.lease_ms = options->lease_ms > 0 ? options->lease_ms : USUAL_LEASE_MS;
    streams->postprocess = options->postprocess;
    streams->max_pixels = options->max_pixels;
    (void)gethostname(host, sizeof host - 1);
    snprintf(streams->name, sizeof streams->name, "%s:%d", host, (int)getpid());
    pthread_mutex_init(&streams->lock, NULL);
    pthread_mutex_init(&streams->news_lock, NULL);
    nx_condition_init(&streams->woken);
    nx_condition_init(&streams->news);
    *out = streams;
    return NX_OK;
}

nx_stream_hooks nx_streams_get_hooks(const nx_streams *streams)
{
    return streams->hooks;
}

void nx_streams_set_hooks(nx_streams *streams, const nx_stream_hooks *hooks)
{
    streams->hooks = *hooks;
}

nx_status nx_streams_start(nx_streams *streams, nx_error *err)
{
    if (streams->options.most == 0) {
        return NX_OK;
    }
    int failure = pthread_create(&streams->keeper, NULL, keep, streams);
    streams->has_keeper = failure == 0;
    return failure == 0 ? NX_OK
                        : nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                             "cannot start the thread for streams");
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
    pthread_cond_destroy(&streams->news);
    pthread_cond_destroy(&streams->woken);
    pthread_mutex_destroy(&streams->news_lock);
    pthread_mutex_destroy(&streams->lock);
    free(streams->files_dir);
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

void nx_streams_get_stats(nx_streams *streams, nx_streams_stats *out)
{
    pthread_mutex_lock(&streams->lock);
    *out = streams->ended;
    for (const held *one = streams->list; one != NULL; one = one->next) {
        nx_stream_status status;
        nx_stream_run_status(one->run, &status);
        add_up(out, &status);
    }
    pthread_mutex_unlock(&streams->lock);
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
