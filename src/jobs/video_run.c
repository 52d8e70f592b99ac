#include "jobs/video_run.h"

#include "analytics/state.h"
#include "jobs/frame_detector.h"
#include "jobs/frame_log.h"
#include "jobs/video_track.h"

#include <stdlib.h>
#include <string.h>

#define KIND    "NXVIDRUN"
#define VERSION 1
#define WHAT    "checkpoint of a video"

/* Frames that are decoded and planned, and not taken yet. */
#define MOST_PENDING 64

typedef struct pending {
    nx_frame_plan plan;
    uint64_t index;
    int64_t time_ns;
    nx_decoder_mark mark; /* behind it */
    nx_buffer planned;    /* at the end of a part: what planning has seen up to here */
} pending;

typedef struct video_run {
    const nx_video_run_options *options;
    nx_video_outcome *outcome;
    nx_decoder *decoder;
    nx_frame_detector *detector;
    nx_video_track *track;
    nx_frame_log *log;
    nx_class_names names;
    pending frames[MOST_PENDING];
    uint64_t read;  /* frames that were decoded; those of a resumed run's first part included */
    uint64_t taken; /* of these */
    bool end;       /* there are no more */
    nx_decoder_mark mark; /* behind the last frame that was taken */
} video_run;

/* --- opening ------------------------------------------------------------------------------------
 */

/* The state's parts; what they point to is the state's. */
typedef struct saved {
    nx_decoder_mark mark;
    uint64_t frames, inferred;
    int64_t time_ns;
    const uint8_t *plan, *track;
    size_t plan_size, track_size;
} saved;

static nx_status read_state(const nx_video_run_options *options, saved *out, nx_error *err)
{
    nx_state_reader reader;
    nx_status status =
        nx_state_open(options->state, options->state_size, KIND, VERSION, WHAT, &reader, err);
    if (status != NX_OK) {
        return status;
    }
    out->mark.frame = nx_state_u64(&reader);
    out->mark.pts_ns = nx_state_i64(&reader);
    out->frames = nx_state_u64(&reader);
    out->inferred = nx_state_u64(&reader);
    out->time_ns = nx_state_i64(&reader);
    out->plan = nx_state_part(&reader, &out->plan_size);
    out->track = nx_state_part(&reader, &out->track_size);
    return nx_state_close(&reader, WHAT, err);
}

static nx_status open_decoder(video_run *run, const saved *from, nx_error *err)
{
    const nx_video_run_options *o = run->options;
    const nx_decoder_options options = {
        .max_pixels = o->max_pixels,
        .stride = o->spec->stride,
        .fps = o->spec->fps,
        .resume = from != NULL,
        .mark = from != NULL ? from->mark : (nx_decoder_mark){0},
    };
    nx_status status = nx_decoder_open_fd(o->fd, o->name, &options, &run->decoder, err);
    if (status == NX_OK) {
        run->outcome->info = *nx_decoder_get_info(run->decoder);
    }
    return status;
}

static nx_status open_detector(video_run *run, nx_error *err)
{
    const nx_video_run_options *o = run->options;
    nx_frame_detector_options options = {
        .source_width = run->outcome->info.width,
        .source_height = run->outcome->info.height,
        .priority = o->priority,
        .stop = o->stop,
    };
    uint32_t width = 0;
    uint32_t height = 0;
    options.postprocess = o->postprocess;
    nx_status status = nx_video_track_thresholds(o->spec, run->names, &options.postprocess, err);
    if (status == NX_OK) {
        status = nx_frame_detector_new(o->engine, o->model, &options, &run->detector, err);
    }
    if (status == NX_OK) {
        nx_frame_detector_size(run->detector, &width, &height);
        status = nx_decoder_set_size(run->decoder, width, height, err);
    }
    return status;
}

static nx_status open_run(video_run *run, nx_error *err)
{
    const nx_video_run_options *o = run->options;
    saved from = {0};
    bool resumes = o->state != NULL;
    nx_status status = resumes ? read_state(o, &from, err) : NX_OK;
    if (status == NX_OK) {
        status = open_decoder(run, resumes ? &from : NULL, err);
    }
    if (status == NX_OK) {
        status = open_detector(run, err);
    }
    if (status == NX_OK) {
        status = nx_video_track_new(o->spec, run->names, run->outcome->info.width,
                                    run->outcome->info.height, &run->track, err);
    }
    if (status == NX_OK && resumes) {
        status = nx_video_track_load(run->track, from.plan, from.plan_size, from.track,
                                     from.track_size, err);
    }
    if (status == NX_OK) {
        status = nx_frame_log_open(o->log_path, resumes ? o->log_bytes : 0, &run->log, err);
    }
    if (status == NX_OK) {
        run->mark = from.mark;
        run->read = run->taken = from.frames;
        run->outcome->log_bytes = resumes ? o->log_bytes : 0;
        run->outcome->progress = (nx_video_progress){
            .frames = from.frames, .inferred = from.inferred, .time_ns = from.time_ns};
    }
    return status;
}

static void close_run(video_run *run)
{
    for (size_t i = 0; i < MOST_PENDING; i++) {
        nx_buffer_free(&run->frames[i].planned);
    }
    nx_frame_log_close(run->log);
    nx_frame_detector_free(run->detector);
    nx_video_track_free(run->track);
    nx_decoder_free(run->decoder);
}

/* --- reading ahead ------------------------------------------------------------------------------
 */

static bool ends_part(uint64_t frames)
{
    return frames % NX_VIDEO_PART_FRAMES == 0;
}

static bool may_read(const video_run *run)
{
    uint64_t waiting = run->read - run->taken;
    return !run->end && waiting < MOST_PENDING && nx_frame_detector_has_room(run->detector) &&
           (waiting == 0 || !nx_video_track_plans_one_by_one(run->track));
}

static nx_status read_frame(video_run *run, nx_error *err)
{
    nx_decoder_frame frame;
    nx_status status = nx_decoder_next(run->decoder, &frame, &run->end, err);
    if (status != NX_OK || run->end) {
        return status;
    }
    pending *next = &run->frames[run->read % MOST_PENDING];
    next->index = frame.index;
    next->time_ns = frame.pts_ns;
    next->mark = frame.mark;
    status = nx_video_track_plan(run->track, frame.pts_ns, frame.pixels, frame.width, frame.height,
                                 &next->plan, err);
    if (status == NX_OK && next->plan == NX_FRAME_INFER) {
        status = nx_frame_detector_submit(run->detector, frame.pixels, err);
    }
    if (status == NX_OK) {
        run->read++;
        nx_buffer_clear(&next->planned);
        if (ends_part(run->read)) {
            nx_video_track_save_plan(run->track, &next->planned);
        }
    }
    return status;
}

/* --- taking -------------------------------------------------------------------------------------
 */

static nx_status make_checkpoint(video_run *run, const pending *last, nx_error *err)
{
    const nx_video_progress *progress = &run->outcome->progress;
    nx_status status = nx_frame_log_end_part(run->log, &run->outcome->log_bytes, err);
    if (status != NX_OK || run->options->checkpoint == NULL) {
        return status;
    }
    nx_buffer track = NX_BUFFER_INIT;
    nx_buffer state = NX_BUFFER_INIT;
    nx_video_track_save(run->track, &track);
    nx_state_begin(&state, KIND, VERSION);
    nx_state_put_u64(&state, last->mark.frame);
    nx_state_put_i64(&state, last->mark.pts_ns);
    nx_state_put_u64(&state, progress->frames);
    nx_state_put_u64(&state, progress->inferred);
    nx_state_put_i64(&state, progress->time_ns);
    nx_state_put_part(&state, &last->planned);
    nx_state_put_part(&state, &track);
    if (state.failed) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a checkpoint");
    } else {
        const nx_video_checkpoint checkpoint = {.progress = *progress,
                                                .log_bytes = run->outcome->log_bytes,
                                                .state = state.data,
                                                .state_size = state.size};
        status = run->options->checkpoint(&checkpoint, run->options->user, err);
    }
    nx_buffer_free(&track);
    nx_buffer_free(&state);
    return status;
}

static nx_status take_frame(video_run *run, nx_error *err)
{
    const pending *frame = &run->frames[run->taken % MOST_PENDING];
    static const nx_detections none = {0};
    const nx_detections *found = &none;
    nx_frame_record record;
    nx_status status = NX_OK;
    if (frame->plan == NX_FRAME_INFER) {
        status = nx_frame_detector_take(run->detector, &found, err);
    }
    if (status == NX_OK) {
        status = nx_video_track_take(run->track, frame->plan, frame->time_ns, found->items,
                                     found->count, &record, err);
    }
    if (status == NX_OK) {
        record.index = frame->index;
        status = nx_frame_log_add(run->log, &record, run->names, err);
    }
    if (status != NX_OK) {
        return status;
    }
    nx_video_progress *progress = &run->outcome->progress;
    run->taken++;
    progress->frames = run->taken;
    progress->inferred += record.inferred;
    progress->time_ns = frame->time_ns;
    status = ends_part(run->taken) ? make_checkpoint(run, frame, err) : NX_OK;
    if (status == NX_OK && run->options->progress != NULL) {
        run->options->progress(progress, run->options->user);
    }
    return status;
}

/* --- the run ------------------------------------------------------------------------------------
 */

/* Frames that the video will give, by what the file claims. */
static uint64_t estimate(const video_run *run)
{
    const nx_decoder_info *info = &run->outcome->info;
    const nx_video_spec *spec = run->options->spec;
    double seconds = (double)info->duration_ns / 1e9;
    uint64_t frames = info->frames > 0 ? info->frames : (uint64_t)(seconds * info->fps);
    if (spec->fps > 0 && spec->fps < info->fps && seconds > 0) {
        return (uint64_t)(seconds * spec->fps);
    }
    return (frames + spec->stride - 1) / spec->stride;
}

static bool is_stopped(const video_run *run)
{
    return run->options->stop != NULL && atomic_load(run->options->stop);
}

static nx_status run_all(video_run *run, nx_error *err)
{
    nx_status reading = NX_OK; /* a damaged video ends when what was read before is done */
    for (;;) {
        if (is_stopped(run)) {
            return nx_error_set(err, NX_ERR_CANCELLED, "the analysis of %s was stopped",
                                run->options->name);
        }
        nx_status status = NX_OK;
        if (reading == NX_OK && may_read(run)) {
            reading = read_frame(run, err);
        } else if (run->read > run->taken) {
            nx_error own = {0};
            status = take_frame(run, reading == NX_OK ? err : &own);
            if (status != NX_OK && reading != NX_OK) {
                return reading;
            }
        } else if (run->end || reading != NX_OK) {
            return reading;
        }
        if (status != NX_OK) {
            return status;
        }
    }
}

nx_status nx_video_run(const nx_video_run_options *options, nx_video_outcome *out, nx_error *err)
{
    nx_error own = {0};
    video_run *run = calloc(1, sizeof *run);
    *out = (nx_video_outcome){0};
    if (run == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to analyse a video");
    }
    run->options = options;
    run->outcome = out;
    run->names = nx_model_get_spec(options->model)->names;
    nx_status status = open_run(run, &own);
    if (status == NX_OK) {
        out->progress.frames_total = estimate(run);
        status = run_all(run, &own);
        out->damaged = nx_decoder_damaged(run->decoder);
        /* after a stop or a lost lease the open part is somebody else's */
        if (status != NX_ERR_CANCELLED && status != NX_ERR_CONFLICT) {
            nx_error last = {0};
            nx_status ended = nx_frame_log_end_part(run->log, &out->log_bytes, &last);
            if (status == NX_OK && ended != NX_OK) {
                status = ended;
                own = last;
            }
        }
    }
    close_run(run);
    free(run);
    if (status != NX_OK && err != NULL) {
        *err = own;
    }
    return status;
}
