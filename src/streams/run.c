#include "streams/run.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "streams/run_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* How often the schedule is looked at, and who may use which model. */
#define LOOK_NS NX_NS_PER_SEC
/* What is kept of the video itself: at most so many bytes, and as long for those who begin with the
 * last key frame. */
#define MEDIA_BYTES ((size_t)32 << 20)
#define MEDIA_NS    NX_NS_PER_SEC
/* Until an event is seen and its clip begun, at most. */
#define MEDIA_LATE_NS (3 * NX_NS_PER_SEC)
/* Between two tellings of fps. */
#define RATE_NS (2 * NX_NS_PER_SEC)

/* --- states -------------------------------------------------------------------------------------
 */

static void tell_state(nx_stream_run *run)
{
    nx_buffer text = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&text);
    pthread_mutex_lock(&run->lock);
    const nx_monitor monitor = run->monitor;
    pthread_mutex_unlock(&run->lock);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "state", nx_stream_state_name(monitor.state));
    nx_json_key_string(&json, "reason", monitor.reason);
    nx_json_object_end(&json);
    if (!text.failed) {
        nx_stream_hub_tell(run->hub, "state", text.data, text.size);
    }
    nx_buffer_free(&text);
    nx_log_info("streams", "stream %s is %s%s%s", run->name, nx_stream_state_name(monitor.state),
                monitor.reason[0] != '\0' ? ": " : "", monitor.reason);
    if (run->options.hooks.state != NULL) {
        run->options.hooks.state(run->id, monitor.state, monitor.reason, run->options.hooks.user);
    }
    run->options.told(run->options.user);
}

static bool is_stopped(const nx_stream_run *run)
{
    return atomic_load(&run->stop);
}

/* Until a time or the stop. */
static void pause_until(nx_stream_run *run, int64_t until_ns)
{
    int result = 0;
    pthread_mutex_lock(&run->lock);
    while (!is_stopped(run) && result != ETIMEDOUT) {
        result = nx_condition_wait(&run->changed, &run->lock, until_ns);
    }
    pthread_mutex_unlock(&run->lock);
}

static void note_lost(nx_stream_run *run, const nx_error *why)
{
    pthread_mutex_lock(&run->lock);
    bool news = nx_monitor_lost(&run->monitor, why, nx_clock_now_ns());
    pthread_mutex_unlock(&run->lock);
    if (news) {
        tell_state(run);
    }
}

static void note_retry(nx_stream_run *run)
{
    pthread_mutex_lock(&run->lock);
    bool news = nx_monitor_retry(&run->monitor, nx_clock_now_ns());
    pthread_mutex_unlock(&run->lock);
    if (news) {
        tell_state(run);
    }
}

static void note_frame(nx_stream_run *run)
{
    pthread_mutex_lock(&run->lock);
    bool news = nx_monitor_frame(&run->monitor, nx_clock_now_ns());
    pthread_mutex_unlock(&run->lock);
    if (news) {
        tell_state(run);
    }
}

static bool is_time(const nx_stream_run *run)
{
    struct tm parts;
    time_t now = time(NULL);
    localtime_r(&now, &parts);
    return nx_schedule_is_open(&run->spec.schedule, parts.tm_wday,
                               parts.tm_hour * 60 + parts.tm_min);
}

/* Sleeps through the hours in which nobody wants to know. */
static void wait_for_time(nx_stream_run *run)
{
    pthread_mutex_lock(&run->lock);
    bool news =
        nx_monitor_stop(&run->monitor, "it is not the time of its schedule", nx_clock_now_ns());
    pthread_mutex_unlock(&run->lock);
    if (news) {
        tell_state(run);
    }
    while (!is_stopped(run) && !is_time(run)) {
        pause_until(run, nx_clock_now_ns() + LOOK_NS);
    }
    pthread_mutex_lock(&run->lock);
    news = !is_stopped(run) && nx_monitor_resume(&run->monitor, nx_clock_now_ns());
    pthread_mutex_unlock(&run->lock);
    if (news) {
        tell_state(run);
    }
}

/* --- a connection -------------------------------------------------------------------------------
 */

static nx_status open_source(nx_run_session *session, bool udp, nx_error *err)
{
    nx_stream_run *run = session->run;
    const nx_stream_source_options options = {
        .name = run->name,
        .url = run->url,
        .files_dir = run->options.files_dir,
        .allow_loopback = run->options.allow_loopback,
        .ca_file = run->options.ca_file,
        .udp = udp,
        .fps = run->spec.video.fps,
        .catch_up = run->spec.drop != NX_STREAM_BLOCK,
        .max_pixels = run->options.max_pixels,
        .media = run->media,
        .stop = &run->stop,
    };
    nx_media_ring_begin(run->media);
    nx_status status = nx_stream_source_open(&options, &session->source, err);
    if (status == NX_OK) {
        session->info = *nx_stream_source_info(session->source);
    }
    return status;
}

static nx_status open_detector(nx_run_session *session, nx_error *err)
{
    nx_status status = nx_run_open_detector(session, &session->model, err);
    if (status == NX_OK) {
        nx_frame_detector_size(session->model.detector, &session->width, &session->height);
        status = nx_stream_source_set_size(session->source, session->width, session->height, err);
    }
    return status;
}

/* The tracker of the connection before goes on, unless it was of other pictures or classes. */
static nx_status open_track(nx_run_session *session, nx_error *err)
{
    nx_stream_run *run = session->run;
    if (run->track != NULL && run->track_width == session->info.width &&
        run->track_height == session->info.height && run->track_classes == session->model.classes) {
        return NX_OK;
    }
    nx_video_track_free(run->track);
    run->track = NULL;
    run->track_number++;
    run->track_width = session->info.width;
    run->track_height = session->info.height;
    run->track_classes = session->model.classes;
    return nx_video_track_new(&run->spec.video, session->model.names, session->info.width,
                              session->info.height, &run->track, err);
}

static nx_status open_session(nx_run_session *session, bool udp, nx_error *err)
{
    nx_stream_run *run = session->run;
    nx_status status = nx_run_acquire_model(session, err);
    if (status == NX_OK) {
        status = open_source(session, udp, err);
    }
    if (status == NX_OK) {
        status = open_detector(session, err);
    }
    if (status == NX_OK) {
        status = open_track(session, err);
    }
    if (status == NX_OK) {
        status = nx_stream_queue_new(run->spec.drop, (size_t)3 * session->width * session->height,
                                     &session->queue, err);
    }
    if (status == NX_OK) {
        nx_run_note_model(session);
        status = nx_run_look_start(session, err);
    }
    if (status == NX_OK) {
        pthread_mutex_lock(&run->lock);
        run->source = session->info;
        pthread_mutex_unlock(&run->lock);
    }
    return status;
}

static void close_session(nx_run_session *session)
{
    if (session->queue != NULL) {
        uint32_t left = nx_stream_queue_close(session->queue);
        nx_run_look_end(session);
        nx_run_drop(session->run, NX_LOSS_STOPPED, left);
    }
    nx_run_model_free(&session->next);
    nx_run_model_free(&session->model);
    nx_stream_queue_free(session->queue);
    nx_stream_source_free(session->source);
    nx_media_ring_cut(session->run->media);
}

static void pass_on(nx_run_session *session, const nx_stream_picture *picture)
{
    nx_stream_run *run = session->run;
    if (!session->begun) {
        session->begun = true;
        int64_t at_ns = nx_clock_now_ns() - run->start_ns;
        if (at_ns <= run->last_time_ns) { /* the camera's clock ran ahead of ours before */
            at_ns = run->last_time_ns + NX_NS_PER_MS;
        }
        session->offset_ns = at_ns - picture->time_ns;
        nx_media_ring_place(run->media, session->offset_ns);
    }
    int64_t time_ns = session->offset_ns + picture->time_ns;
    if (time_ns <= run->last_time_ns) {
        time_ns = run->last_time_ns + 1;
    }
    run->last_time_ns = time_ns;
    if (nx_stream_source_is_paced(session->source)) {
        nx_media_ring_pace(run->media, nx_clock_now_ns() - time_ns);
    }
    run->next_index += picture->skipped + picture->late;
    const nx_stream_frame frame = {
        .pixels = (uint8_t *)picture->pixels, /* which the queue copies */
        .index = run->next_index++,
        .time_ns = time_ns,
        .at_ns = picture->at_ns,
        .queued_ns = nx_clock_now_ns(),
    };
    nx_run_drop(run, NX_LOSS_RATE, picture->skipped);
    nx_run_drop(run, NX_LOSS_NEWER, picture->late);
    nx_run_drop(run, NX_LOSS_NEWER, nx_stream_queue_put(session->queue, &frame));
    note_frame(run);
}

/* What is looked at now and then. NX_ERR_CANCELLED: the connection ends by our own will. */
static nx_status look_around(nx_run_session *session, nx_error *err)
{
    return is_time(session->run) ? nx_run_follow_model(session, err) : NX_ERR_CANCELLED;
}

/* One connection, until it ends. *lived: frames have come. *anew: the next one follows at once. */
static nx_status connect_once(nx_stream_run *run, bool udp, bool *lived, bool *anew, nx_error *err)
{
    nx_run_session session = {.run = run};
    int64_t looked_ns = nx_clock_now_ns();
    atomic_init(&session.failed, false);
    atomic_init(&session.has_next, false);
    nx_status status = open_session(&session, udp, err);
    while (status == NX_OK) {
        nx_stream_picture picture;
        status = nx_stream_source_next(session.source, &picture, err);
        if (status == NX_OK) {
            pass_on(&session, &picture);
        }
        if (status == NX_OK && atomic_load(&session.failed)) {
            *err = session.failure;
            status = err->status;
        }
        int64_t now_ns = nx_clock_now_ns();
        if (status == NX_OK && now_ns - looked_ns >= LOOK_NS) {
            looked_ns = now_ns;
            status = look_around(&session, err);
        }
    }
    *lived = session.begun;
    *anew = session.anew;
    close_session(&session);
    return status;
}

/* --- the connecting thread ----------------------------------------------------------------------
 */

/* Whether this try is over UDP; tries: those that gave no frame, one after the other. */
static bool chooses_udp(const nx_stream_run *run, uint32_t tries)
{
    return run->spec.transport == NX_STREAM_UDP ||
           (run->spec.transport == NX_STREAM_AUTO && tries % 2 == 1);
}

static void connect_again_and_again(nx_stream_run *run)
{
    uint32_t tries = 0;
    while (!is_stopped(run)) {
        nx_error err = {0};
        bool lived = false;
        bool anew = false;
        if (!is_time(run)) {
            wait_for_time(run);
            continue;
        }
        nx_status status = connect_once(run, chooses_udp(run, tries), &lived, &anew, &err);
        if (is_stopped(run) || anew || (status == NX_ERR_CANCELLED && !is_time(run))) {
            continue;
        }
        tries = lived ? 0 : tries + 1;
        note_lost(run, &err);
        uint32_t noise = 0;
        (void)!getrandom(&noise, sizeof noise, 0); /* without it the pause is the longest */
        pthread_mutex_lock(&run->lock);
        int64_t pause_ns = nx_monitor_pause(&run->monitor, noise);
        pthread_mutex_unlock(&run->lock);
        pause_until(run, nx_clock_now_ns() + pause_ns);
        if (!is_stopped(run)) {
            note_retry(run);
        }
    }
}

static void *run_all(void *user)
{
    nx_stream_run *run = user;
    snprintf(run->log.stream, sizeof run->log.stream, "%s", run->name);
    (void)nx_log_set_context(&run->log);
    if (run->unfit.status == NX_OK) {
        connect_again_and_again(run);
    } else {
        pthread_mutex_lock(&run->lock);
        (void)nx_monitor_stop(&run->monitor, run->unfit.message, nx_clock_now_ns());
        pthread_mutex_unlock(&run->lock);
        tell_state(run);
        pause_until(run, INT64_MAX);
    }
    pthread_mutex_lock(&run->lock);
    (void)nx_monitor_stop(&run->monitor, run->stop_reason, nx_clock_now_ns());
    pthread_mutex_unlock(&run->lock);
    tell_state(run);
    nx_stream_hub_end(run->hub);
    atomic_store(&run->over, true);
    run->options.told(run->options.user);
    return NULL;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static char *copy(const char *text, bool *good)
{
    char *made = text != NULL ? strdup(text) : NULL;
    *good = *good && (text == NULL || made != NULL);
    return made;
}

nx_status nx_stream_run_start(const nx_stream_run_options *options, nx_stream_run **out,
                              nx_error *err)
{
    const nx_stream *stream = options->stream;
    nx_stream_run *run = calloc(1, sizeof *run);
    bool good = run != NULL;
    *out = NULL;
    if (!good) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a stream");
    }
    run->options = *options;
    run->options.stream = NULL;
    run->id = copy(stream->id, &good);
    run->name = copy(stream->name, &good);
    run->url = copy(stream->url, &good);
    run->user = copy(stream->user, &good);
    run->key = copy(stream->key, &good);
    run->hub = nx_stream_hub_new();
    run->start_ns = nx_clock_now_ns();
    run->rate_ns = run->start_ns;
    run->last_time_ns = -1;
    pthread_mutex_init(&run->lock, NULL);
    nx_condition_init(&run->changed);
    nx_monitor_start(&run->monitor, run->start_ns);
    (void)nx_stream_spec_parse(stream->options, &run->spec, &run->unfit);
    const nx_media_ring_options media = {
        .most_bytes = MEDIA_BYTES,
        .keep_ns = run->spec.rules != NULL && options->clip_ns > 0
                       ? options->clip_ns + MEDIA_LATE_NS
                       : MEDIA_NS,
        .told = options->told,
        .user = options->user,
    };
    run->media = nx_media_ring_new(&media);
    if (!good || run->hub == NULL || run->media == NULL) {
        nx_stream_run_free(run);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a stream");
    }
    if (run->options.hooks.begin != NULL) {
        run->options.hooks.begin(run->id, run->name, &run->spec, run->options.hooks.user);
    }
    run->has_begun = true;
    int failure = pthread_create(&run->thread, NULL, run_all, run);
    run->has_thread = failure == 0;
    if (failure != 0) {
        nx_stream_run_free(run);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure, "no thread for a stream");
    }
    *out = run;
    return NX_OK;
}

void nx_stream_run_ask_stop(nx_stream_run *run, const char *reason)
{
    pthread_mutex_lock(&run->lock);
    if (!atomic_load(&run->stop)) {
        snprintf(run->stop_reason, sizeof run->stop_reason, "%s", reason);
        atomic_store(&run->stop, true);
    }
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->lock);
}

bool nx_stream_run_is_over(nx_stream_run *run)
{
    return atomic_load(&run->over);
}

void nx_stream_run_free(nx_stream_run *run)
{
    if (run == NULL) {
        return;
    }
    if (run->has_thread) {
        nx_stream_run_ask_stop(run, "the server stops");
        pthread_join(run->thread, NULL);
    }
    if (run->has_begun && run->options.hooks.end != NULL) {
        run->options.hooks.end(run->id, run->options.hooks.user);
    }
    nx_video_track_free(run->track);
    nx_stream_spec_free(&run->spec);
    nx_stream_hub_release(run->hub);
    nx_media_ring_release(run->media);
    nx_buffer_free(&run->places);
    pthread_cond_destroy(&run->changed);
    pthread_mutex_destroy(&run->lock);
    free(run->id);
    free(run->name);
    free(run->url);
    free(run->user);
    free(run->key);
    free(run);
}

nx_stream_hub *nx_stream_run_hub(nx_stream_run *run)
{
    return run->hub;
}

nx_media_ring *nx_stream_run_media(nx_stream_run *run)
{
    return run->media;
}

/* --- looking at it ------------------------------------------------------------------------------
 */

static int by_size(const void *a, const void *b)
{
    float one = *(const float *)a;
    float two = *(const float *)b;
    return (one > two) - (one < two);
}

/* Results a second since it was told last; under the lock. */
static void measure_rate(nx_stream_run *run)
{
    int64_t now_ns = nx_clock_now_ns();
    int64_t passed = now_ns - run->rate_ns;
    if (passed >= RATE_NS) {
        run->fps = (double)(run->counts.processed - run->rate_results) * (double)NX_NS_PER_SEC /
                   (double)passed;
        run->rate_ns = now_ns;
        run->rate_results = run->counts.processed;
    }
}

void nx_stream_run_status(nx_stream_run *run, nx_stream_status *out)
{
    float latencies[NX_RUN_LATENCIES];
    pthread_mutex_lock(&run->lock);
    measure_rate(run);
    size_t count =
        run->latency_count < NX_RUN_LATENCIES ? (size_t)run->latency_count : NX_RUN_LATENCIES;
    memcpy(latencies, run->latencies, count * sizeof latencies[0]);
    *out = (nx_stream_status){
        .monitor = run->monitor,
        .counts = run->counts,
        .fps = run->fps,
        .source = run->source,
        .model_version = run->model_version,
    };
    memcpy(out->model, run->model, sizeof out->model);
    pthread_mutex_unlock(&run->lock);
    (void)nx_media_ring_type(run->media, out->video);
    out->fragments = nx_media_ring_fragments(run->media);
    out->encodings = nx_stream_hub_encodings(run->hub);
    if (count > 0) {
        qsort(latencies, count, sizeof latencies[0], by_size);
        out->latency_ms_p50 = (double)latencies[count / 2];
        out->latency_ms_p95 = (double)latencies[count * 95 / 100];
    }
}

void nx_stream_run_places(nx_stream_run *run, nx_buffer *out)
{
    pthread_mutex_lock(&run->lock);
    if (run->places.size > 0 && !run->places.failed) {
        nx_buffer_append(out, run->places.data, run->places.size);
    } else {
        nx_buffer_append_str(out, "{\"zones\":[],\"lines\":[]}");
    }
    pthread_mutex_unlock(&run->lock);
}
