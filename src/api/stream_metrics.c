/* What the streams of this process count, for /metrics. */
#include "api/streams.h"

#include <math.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* Streams that have series of their own; the others share one. */
#define NAMED 64

/* user is the metric, which is there for longer than the API: streams end after it. */
static void observe(const nx_stream_result *result, void *user)
{
    nx_metric_observe(user, 0, (double)result->latency_ns / 1e9);
}

void nx_api_stream_metrics_register(nx_api *api)
{
    static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5};
    static const char *const other[] = {"other"};
    const char *reasons[NX_LOSS_COUNT];
    if (api->deps.streams == NULL) {
        return;
    }
    for (int i = 0; i < NX_LOSS_COUNT; i++) {
        reasons[i] = nx_stream_loss_name((nx_stream_loss)i);
    }
    nx_metrics *registry = nx_service_metrics_registry(api->deps.metrics);
    const nx_label reason = {"reason", reasons, NX_LOSS_COUNT, 0};
    const nx_label stream = {"stream", other, COUNT(other), NAMED};
    api->frames_received = nx_metrics_counter(
        registry, "frames_received_total",
        "Frames of streams, once it is known what becomes of them: processed and dropped ones.",
        NULL, 0);
    api->frames_processed = nx_metrics_counter(registry, "frames_processed_total",
                                               "Frames of streams that have a result.", NULL, 0);
    api->frames_dropped = nx_metrics_counter(registry, "frames_dropped_total",
                                             "Frames of streams without one.", &reason, 1);
    nx_metric_show_zeros(api->frames_dropped);
    api->stream_reconnects = nx_metrics_counter(registry, "stream_reconnects_total",
                                                "Times that a stream was live again.", NULL, 0);
    api->events_recorded = nx_metrics_counter(registry, "events_recorded_total",
                                              "Events of streams in the database.", NULL, 0);
    api->events_lost =
        nx_metrics_counter(registry, "events_lost_total",
                           "Events of streams that could not be entered there.", NULL, 0);
    api->events_queued = nx_metrics_gauge(registry, "events_queued",
                                          "Frames whose events wait to be entered.", NULL, 0);
    api->stream_fragments = nx_metrics_counter(
        registry, "stream_video_frames_total",
        "Frames of streams that were made ready for viewers and clips as they were encoded, once "
        "each.",
        NULL, 0);
    api->stream_encodings =
        nx_metrics_counter(registry, "stream_pictures_encoded_total",
                           "JPEGs that were made of streams for viewers, once each.", NULL, 0);
    api->stream_up = nx_metrics_gauge(
        registry, "stream_up",
        "1: frames come from the stream; 0: they do not; NaN: it is not run here, or not now.",
        &stream, 1);
    /* the place of those without one of their own: nobody is lost while it is empty */
    nx_metric_set(api->stream_up, nx_metric_series(api->stream_up, NAMED, 0, 0), NAN);
    api->stream_latency = nx_metrics_histogram(
        registry, "stream_latency_seconds", "From a frame's coming in to its result, in seconds.",
        bounds, COUNT(bounds), NULL, 0);
    const nx_stream_hooks hooks = {.result = observe, .user = api->stream_latency};
    nx_streams_set_hooks(api->deps.streams, &hooks);
}

/* A stream that is not to be looked at is not lost. */
static double up(nx_stream_state state)
{
    return state == NX_STREAM_STOPPED ? NAN : state == NX_STREAM_LIVE ? 1 : 0;
}

static void show_up(const char *id, const char *name, const nx_stream_status *status, void *user)
{
    nx_api *api = user;
    size_t value = nx_metric_value(api->stream_up, 0, name);
    (void)id;
    if (value + 1 > api->streams_shown) {
        api->streams_shown = value + 1;
    }
    nx_metric_set(api->stream_up, nx_metric_series(api->stream_up, value, 0, 0),
                  up(status->monitor.state));
}

void nx_api_stream_metrics_read(nx_api *api)
{
    nx_streams_stats stats;
    if (api->deps.streams == NULL) {
        return;
    }
    nx_streams_get_stats(api->deps.streams, &stats);
    nx_metric_show(api->frames_received, 0, stats.counts.received);
    nx_metric_show(api->frames_processed, 0, stats.counts.processed);
    for (size_t i = 0; i < NX_LOSS_COUNT; i++) {
        nx_metric_show(api->frames_dropped, nx_metric_series(api->frames_dropped, i, 0, 0),
                       stats.counts.dropped[i]);
    }
    nx_metric_show(api->stream_reconnects, 0, stats.reconnects);
    nx_metric_show(api->events_recorded, 0, stats.events.entered);
    nx_metric_show(api->events_lost, 0, stats.events.lost);
    nx_metric_set(api->events_queued, 0, (double)stats.events.queued);
    nx_metric_show(api->stream_fragments, 0, stats.fragments);
    nx_metric_show(api->stream_encodings, 0, stats.encodings);
    pthread_mutex_lock(&api->lock);
    for (size_t i = 0; i < api->streams_shown; i++) { /* those that are not run any more */
        nx_metric_set(api->stream_up, nx_metric_series(api->stream_up, i, 0, 0), NAN);
    }
    nx_streams_walk(api->deps.streams, show_up, api);
    pthread_mutex_unlock(&api->lock);
}
