/* The looking thread of a connection: the newest frame into the engine, detections into tracker and
 * zones, and what comes of it to the hub. */
#include "base/clock.h"
#include "base/time_text.h"
#include "streams/run_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Above jobs (worker.c), below requests. */
#define NICE 1
/* In a row; then the connection ends with the model's words. */
#define MOST_FAILURES 10

void nx_run_drop(nx_stream_run *run, nx_stream_loss loss, uint64_t frames)
{
    if (frames > 0) {
        pthread_mutex_lock(&run->lock);
        nx_stream_count_dropped(&run->counts, loss, frames);
        pthread_mutex_unlock(&run->lock);
    }
}

/* --- telling ------------------------------------------------------------------------------------
 */

static void write_places(const nx_run_session *session, nx_buffer *out)
{
    const nx_zones *zones = nx_video_track_zones(session->run->track);
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key(&json, "zones");
    nx_json_array_begin(&json);
    const nx_zones_spec *spec = zones != NULL ? nx_zones_get_spec(zones) : NULL;
    for (size_t i = 0; spec != NULL && i < spec->zone_count; i++) {
        const nx_zone_totals totals = nx_zones_zone(zones, i);
        nx_json_object_begin(&json);
        nx_json_key_string(&json, "name", spec->zones[i].name);
        nx_json_key_int(&json, "inside", (int64_t)totals.inside);
        nx_json_key_int(&json, "entries", (int64_t)totals.entries);
        nx_json_key_int(&json, "exits", (int64_t)totals.exits);
        nx_json_object_end(&json);
    }
    nx_json_array_end(&json);
    nx_json_key(&json, "lines");
    nx_json_array_begin(&json);
    for (size_t i = 0; spec != NULL && i < spec->line_count; i++) {
        const nx_line_totals totals = nx_zones_line(zones, i);
        nx_json_object_begin(&json);
        nx_json_key_string(&json, "name", spec->lines[i].name);
        nx_json_key_int(&json, "in", (int64_t)totals.in);
        nx_json_key_int(&json, "out", (int64_t)totals.out);
        nx_json_object_end(&json);
    }
    nx_json_array_end(&json);
    nx_json_object_end(&json);
}

/* {"at","media_time","latency_ms","image","frame",...}: the record of a video's frame with what is
 * known of a camera's besides. */
static void write_frame(const nx_run_session *session, const nx_stream_result *result,
                        nx_buffer *out)
{
    char at[NX_TIME_TEXT_SIZE];
    nx_buffer line = NX_BUFFER_INIT;
    nx_time_text(result->at_ns / NX_NS_PER_MS, at);
    nx_frame_write(result->record, session->model.names, &line);
    nx_buffer_printf(out,
                     "{\"at\":\"%s\",\"media_time\":%.6f,\"latency_ms\":%.1f,"
                     "\"image\":{\"width\":%u,\"height\":%u},",
                     at, (double)result->record->time_ns / (double)NX_NS_PER_SEC,
                     nx_clock_ms(result->latency_ns), result->width, result->height);
    if (line.failed || line.size < 2) {
        nx_buffer_free(&line);
        out->failed = true;
        return;
    }
    nx_buffer_append(out, line.data + 1, line.size - 2); /* without its bracket and line break */
    nx_buffer_free(&line);
}

static void show(nx_run_session *session, nx_stream_frame *frame)
{
    uint8_t *old =
        nx_stream_hub_show(session->run->hub, frame->pixels, session->width, session->height);
    frame->pixels = NULL;
    if (session->shown) {
        nx_stream_queue_give_back(session->queue, old);
    } else {
        free(old); /* of an earlier connection, and perhaps of another size */
    }
    session->shown = true;
}

static void note_result(nx_run_session *session, const nx_stream_result *result)
{
    nx_stream_run *run = session->run;
    bool counted = result->record->event_count > 0;
    pthread_mutex_lock(&run->lock);
    nx_stream_count_processed(&run->counts, result->record->inferred);
    run->latencies[run->latency_count++ % NX_RUN_LATENCIES] =
        (float)nx_clock_ms(result->latency_ns);
    if (counted || run->places.size == 0 || nx_video_track_zones(run->track) != NULL) {
        nx_buffer_clear(&run->places);
        write_places(session, &run->places);
    }
    pthread_mutex_unlock(&run->lock);
}

static void publish(nx_run_session *session, nx_stream_frame *frame, nx_frame_record *record)
{
    nx_stream_run *run = session->run;
    nx_buffer text = NX_BUFFER_INIT;
    int64_t now_ns = nx_clock_unix_ns();
    record->index = frame->index;
    const nx_stream_result result = {
        .stream = run->id,
        .name = run->name,
        .spec = &run->spec,
        .track = run->track,
        .track_number = run->track_number,
        .record = record,
        .names = session->model.names,
        .width = session->info.width,
        .height = session->info.height,
        .at_ns = frame->at_ns,
        .latency_ns = now_ns > frame->at_ns ? now_ns - frame->at_ns : 0,
        .pixels = frame->pixels,
        .picture_width = session->width,
        .picture_height = session->height,
        .media = run->media,
    };
    note_result(session, &result);
    if (run->options.hooks.result != NULL) {
        run->options.hooks.result(&result, run->options.hooks.user);
    }
    write_frame(session, &result, &text);
    if (!text.failed) {
        nx_stream_hub_tell(run->hub, "frame", text.data, text.size);
    }
    nx_buffer_free(&text);
    show(session, frame);
    run->options.told(run->options.user);
}

/* --- looking ------------------------------------------------------------------------------------
 */

static void fail(nx_run_session *session, const nx_error *err)
{
    if (!atomic_load(&session->failed)) {
        session->failure = *err;
        atomic_store(&session->failed, true);
    }
}

static void lose(nx_run_session *session, nx_stream_frame *frame, nx_status status,
                 const nx_error *err)
{
    nx_stream_loss loss = NX_LOSS_FAILED;
    if (status == NX_ERR_BUSY || status == NX_ERR_TIMEOUT) {
        loss = NX_LOSS_BUSY;
    } else if (status == NX_ERR_CANCELLED || status == NX_ERR_UNAVAILABLE) {
        loss = NX_LOSS_STOPPED;
    }
    nx_run_drop(session->run, loss, 1);
    nx_stream_queue_give_back(session->queue, frame->pixels);
    if (loss == NX_LOSS_FAILED && ++session->failures == MOST_FAILURES) {
        fail(session, err);
    }
}

static void begin(nx_run_session *session, nx_stream_frame *frame)
{
    nx_error err = {0};
    nx_frame_plan plan = NX_FRAME_INFER;
    nx_status status = nx_video_track_plan(session->run->track, frame->time_ns, frame->pixels,
                                           session->width, session->height, &plan, &err);
    if (status == NX_OK && plan == NX_FRAME_INFER) {
        status = nx_frame_detector_submit(session->model.detector, frame->pixels, &err);
    }
    if (status != NX_OK) {
        lose(session, frame, status, &err);
        return;
    }
    uint32_t at = (session->first + session->count) % NX_RUN_WINDOW;
    session->pending[at].frame = *frame;
    session->pending[at].plan = plan;
    session->count++;
}

static void finish_oldest(nx_run_session *session)
{
    static const nx_detections none = {0};
    const nx_detections *found = &none;
    nx_stream_frame *frame = &session->pending[session->first].frame;
    nx_frame_plan plan = session->pending[session->first].plan;
    nx_frame_record record = {0};
    nx_error err = {0};
    nx_status status = NX_OK;
    if (plan == NX_FRAME_INFER) {
        status = nx_frame_detector_take(session->model.detector, &found, &err);
    }
    if (status == NX_OK) {
        status = nx_video_track_take(session->run->track, plan, frame->time_ns, found->items,
                                     found->count, &record, &err);
    }
    if (status == NX_OK) {
        session->failures = 0;
        nx_registry_count(session->model.handle, record.inferred);
        publish(session, frame, &record);
    } else {
        lose(session, frame, status, &err);
    }
    session->first = (session->first + 1) % NX_RUN_WINDOW;
    session->count--;
}

/* One behind the one that is looked at, if the engine has nothing else to do next: where others
 * wait as well it would only be older when its turn comes. */
static bool has_room(const nx_run_session *session)
{
    if (session->count == 0 || session->count == NX_RUN_WINDOW ||
        !nx_frame_detector_has_room(session->model.detector)) {
        return session->count == 0;
    }
    return nx_engine_get_stats(session->run->options.engine).queued == 0;
}

static bool oldest_is_ready(nx_run_session *session)
{
    return session->count > 0 && (session->pending[session->first].plan != NX_FRAME_INFER ||
                                  nx_frame_detector_is_ready(session->model.detector));
}

/* Waits for the next frame or for the end of one that is on its way, whichever comes first: the
 * engine's threads have work while frames come. */
static void *look(void *user)
{
    nx_run_session *session = user;
    (void)nx_log_set_context(&session->run->log);
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* without it all is as before */
    for (;;) {
        nx_stream_frame frame;
        while (atomic_load(&session->has_next) && session->count > 0) {
            finish_oldest(session);
        }
        if (atomic_load(&session->has_next)) {
            nx_run_take_model(session);
        }
        bool room = has_room(session);
        if (oldest_is_ready(session) || (session->count > 0 && !room)) {
            finish_oldest(session);
        } else if (nx_stream_queue_take(session->queue, &frame)) {
            begin(session, &frame);
        } else if (nx_stream_queue_is_closed(session->queue)) {
            break;
        }
    }
    while (session->count > 0) {
        finish_oldest(session);
    }
    return NULL;
}

nx_status nx_run_look_start(nx_run_session *session, nx_error *err)
{
    int failure = pthread_create(&session->thread, NULL, look, session);
    session->has_thread = failure == 0;
    return failure == 0 ? NX_OK
                        : nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                             "no thread for a stream's frames");
}

void nx_run_look_end(nx_run_session *session)
{
    if (session->has_thread) {
        pthread_join(session->thread, NULL);
        session->has_thread = false;
    }
}
