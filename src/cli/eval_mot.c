#include "cli/eval_mot.h"

#include "analytics/motion_gate.h"
#include "analytics/stride.h"
#include "analytics/tracker.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "base/waiter.h"
#include "cli/progress.h"
#include "cli/setup.h"
#include "eval/mot_file.h"
#include "media/video_reader.h"
#include "vision/class_filter.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CLASSES "person"
#define DEFAULT_IOU     0.7
/* Of a file that does not say. */
#define USUAL_FPS 25.0

typedef struct mot_run {
    const nx_cli_args *args;
    nx_mot_boxes truth;
    nx_mot_boxes tracks; /* from --tracks, or as they come */
    size_t capacity;
    int32_t last_frame;
    nx_mot_scores scores;

    /* only when a model makes the tracks */
    nx_setup setup;
    char *model_name;
    nx_video_reader *reader;
    double fps;
    nx_postprocess_options postprocess;
    nx_tracker *tracker;
    nx_motion_gate *gate; /* NULL unless asked for */
    bool strides;
    nx_stride stride;
    nx_progress progress;
    size_t looked, held, predicted; /* frames */
    double seconds;
} mot_run;

/* A frame in the engine; on the stack of whoever waits. */
typedef struct frame_task {
    nx_engine_task task; /* first, so that the engine's pointer is ours */
    const mot_run *run;
    nx_letterbox letterbox;
    nx_image image; /* as large as the letterbox shows it, upright */
    nx_detections found;
    nx_waiter waiter;
} frame_task;

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for the evaluation");
}

static void free_run(mot_run *run)
{
    nx_mot_boxes_free(&run->truth);
    nx_mot_boxes_free(&run->tracks);
    nx_setup_close(&run->setup);
    free(run->model_name);
    nx_video_reader_free(run->reader);
    nx_tracker_free(run->tracker);
    nx_motion_gate_free(run->gate);
}

/* --- one frame ----------------------------------------------------------------------------------
 */

static nx_status prepare(nx_engine_task *task, void *slot, nx_error *err)
{
    const frame_task *f = (const frame_task *)task;
    return nx_letterbox_apply(&f->letterbox, &f->image,
                              nx_model_get_spec(f->run->setup.model)->pixels, slot, err);
}

static nx_status consume(nx_engine_task *task, const nx_tensor *outputs, size_t count,
                         uint32_t slot, nx_error *err)
{
    frame_task *f = (frame_task *)task;
    nx_head_output head;
    nx_status status = nx_model_head(f->run->setup.model, outputs, count, slot, task->input_width,
                                     task->input_height, &head, err);
    return status == NX_OK
               ? nx_postprocess(&head, &f->letterbox, &f->run->postprocess, &f->found, err)
               : status;
}

static void finish(nx_engine_task *task, nx_status status, const nx_error *err)
{
    nx_waiter_finish(&((frame_task *)task)->waiter, status, err);
}

/* The frame as the model will see it, upright. */
static nx_status scale_frame(const mot_run *run, const nx_yuv_frame *frame, frame_task *out,
                             nx_error *err)
{
    uint32_t rotation = nx_video_reader_info(run->reader)->rotation;
    bool on_its_side = rotation % 180 != 0;
    uint32_t width = on_its_side ? frame->height : frame->width;
    uint32_t height = on_its_side ? frame->width : frame->height;
    nx_model_input_size(run->setup.model, width, height, &out->task.input_width,
                        &out->task.input_height);
    out->letterbox = nx_letterbox_fit(width, height, out->task.input_width, out->task.input_height,
                                      nx_model_get_spec(run->setup.model)->centered);
    uint32_t inner_width = on_its_side ? out->letterbox.height : out->letterbox.width;
    uint32_t inner_height = on_its_side ? out->letterbox.width : out->letterbox.height;
    nx_status status = nx_image_alloc(inner_width, inner_height, &out->image, err);
    if (status != NX_OK) {
        return status;
    }
    nx_letterbox whole =
        nx_letterbox_fit(frame->width, frame->height, inner_width, inner_height, true);
    status = nx_letterbox_apply_yuv(&whole, frame, NX_PIXELS_RGB_BYTE_NHWC, out->image.pixels, err);
    return status == NX_OK ? nx_video_turn(&out->image, rotation, err) : status;
}

static nx_status detect(mot_run *run, frame_task *f, nx_error *err)
{
    f->task.backend = nx_model_backend(run->setup.model);
    f->task.priority = NX_PRIORITY_BATCH;
    f->task.prepare = prepare;
    f->task.consume = consume;
    f->task.done = finish;
    nx_waiter_init(&f->waiter);
    return nx_waiter_end(&f->waiter, nx_engine_submit(run->setup.engine, &f->task, err), err);
}

/* Looks at a frame, unless the gate says that nothing has moved. */
static nx_status look(mot_run *run, int64_t time_ns, const nx_yuv_frame *frame, nx_error *err)
{
    frame_task f = {.run = run};
    bool open = true;
    nx_status status = scale_frame(run, frame, &f, err);
    if (status == NX_OK && run->gate != NULL) {
        const nx_motion_frame seen = {f.image.pixels, f.image.stride, f.image.width, f.image.height,
                                      3};
        status = nx_motion_gate_look(run->gate, time_ns, &seen, &open, err);
    }
    if (status == NX_OK && open) {
        run->looked++;
        status = detect(run, &f, err);
        if (status == NX_OK) {
            status = nx_tracker_update(run->tracker, time_ns, f.found.items, f.found.count, err);
        }
    } else if (status == NX_OK) {
        run->held++;
        status = nx_tracker_hold(run->tracker, time_ns, err);
    }
    nx_image_free(&f.image);
    nx_detections_free(&f.found);
    return status;
}

static double clamp(double value, double high)
{
    return value < 0 ? 0 : value > high ? high : value;
}

/* Keeps the tracks that count, as far as they are in the picture. */
static nx_status keep(mot_run *run, int32_t number, const nx_yuv_frame *frame,
                      const nx_track *tracks, size_t count, nx_error *err)
{
    bool on_its_side = nx_video_reader_info(run->reader)->rotation % 180 != 0;
    double width = on_its_side ? frame->height : frame->width;
    double height = on_its_side ? frame->width : frame->height;
    if (run->tracks.count + count > run->capacity) {
        size_t capacity = (run->tracks.count + count) * 2;
        nx_mot_box *grown = reallocarray(run->tracks.items, capacity, sizeof *grown);
        if (grown == NULL) {
            return no_memory(err);
        }
        run->tracks.items = grown;
        run->capacity = capacity;
    }
    for (size_t i = 0; i < count; i++) {
        const nx_track *t = &tracks[i];
        double left = clamp(t->x1, width);
        double top = clamp(t->y1, height);
        nx_mot_box box = {
            .frame = number,
            .id = (int64_t)t->id,
            .x = left,
            .y = top,
            .width = clamp(t->x2, width) - left,
            .height = clamp(t->y2, height) - top,
            .confidence = (double)t->confidence,
        };
        if (t->state == NX_TRACK_CONFIRMED && box.width > 0 && box.height > 0) {
            run->tracks.items[run->tracks.count++] = box;
        }
    }
    return NX_OK;
}

static nx_status visit_frame(mot_run *run, int32_t number, const nx_yuv_frame *frame, nx_error *err)
{
    int64_t time_ns = llround((number - 1) / run->fps * (double)NX_NS_PER_SEC);
    const nx_track *tracks = NULL;
    size_t count = 0;
    if (run->strides && !nx_stride_due(&run->stride, time_ns)) {
        run->predicted++;
        tracks = nx_tracker_predict(run->tracker, time_ns, &count);
        return keep(run, number, frame, tracks, count, err);
    }
    nx_status status = look(run, time_ns, frame, err);
    if (status != NX_OK) {
        return status;
    }
    tracks = nx_tracker_tracks(run->tracker, &count);
    if (run->strides) {
        nx_stride_looked(&run->stride, time_ns, tracks, count);
    }
    return keep(run, number, frame, tracks, count, err);
}

/* --- the video ----------------------------------------------------------------------------------
 */

/* Thresholds and classes: the tracker wants weak detections as well. */
static nx_status read_postprocess(mot_run *run, nx_error *err)
{
    double confidence = 0;
    double iou = 0;
    const char *classes = nx_cli_value(run->args, "classes");
    const nx_tracker_options *o = nx_tracker_get_options(run->tracker);
    nx_status status = nx_cli_number(run->args, "conf", 0, 1, o->low, &confidence, err);
    if (status == NX_OK) {
        status = nx_cli_number(run->args, "iou", 0, 1, DEFAULT_IOU, &iou, err);
    }
    run->postprocess = nx_postprocess_defaults();
    run->postprocess.confidence = (float)confidence;
    run->postprocess.iou = (float)iou;
    return status == NX_OK ? nx_class_filter_parse(classes != NULL ? classes : DEFAULT_CLASSES,
                                                   nx_model_get_spec(run->setup.model)->names,
                                                   &run->postprocess, err)
                           : status;
}

static nx_status make_analytics(mot_run *run, nx_error *err)
{
    nx_tracker_options tracker = nx_tracker_defaults();
    const nx_motion_gate_options gate = nx_motion_gate_defaults();
    const nx_stride_options stride = nx_stride_defaults();
    nx_status status = nx_cli_number(run->args, "start", 0, 1, tracker.start, &tracker.start, err);
    if (status != NX_OK) {
        return status;
    }
    tracker.high = tracker.start < tracker.high ? tracker.start : tracker.high;
    tracker.low = tracker.high < tracker.low ? tracker.high : tracker.low;
    status = nx_tracker_new(&tracker, &run->tracker, err);
    if (status == NX_OK && nx_cli_value(run->args, "motion-gate") != NULL) {
        status = nx_motion_gate_new(&gate, &run->gate, err);
    }
    run->strides = nx_cli_value(run->args, "adaptive-stride") != NULL;
    return status == NX_OK ? nx_stride_start(&stride, &run->stride, err) : status;
}

static nx_status too_short(const mot_run *run, int64_t frames, nx_error *err)
{
    return nx_error_set(err, NX_ERR_INVALID,
                        "%s has %" PRId64 " frames, but %" PRId32 " are to be measured (--frames)",
                        nx_cli_value(run->args, "video"), frames, run->last_frame);
}

static nx_status open_video(mot_run *run, nx_error *err)
{
    nx_status status = nx_video_reader_open(nx_cli_value(run->args, "video"), 0, &run->reader, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_video_info *info = nx_video_reader_info(run->reader);
    run->fps = info->fps > 0 && isfinite(info->fps) ? info->fps : USUAL_FPS;
    return info->frames > 0 && info->frames < run->last_frame ? too_short(run, info->frames, err)
                                                              : NX_OK;
}

static nx_status track_all(mot_run *run, nx_error *err)
{
    nx_status status = NX_OK;
    int64_t start = nx_clock_now_ns();
    run->progress = nx_progress_begin((size_t)run->last_frame);
    for (int32_t number = 1; status == NX_OK && number <= run->last_frame; number++) {
        nx_yuv_frame frame;
        bool end = false;
        status = nx_video_reader_next(run->reader, &frame, &end, err);
        if (status == NX_OK && end) {
            status = too_short(run, number - 1, err); /* the file claimed more */
        } else if (status == NX_OK) {
            status = visit_frame(run, number, &frame, err);
        }
        nx_progress_update(&run->progress, (size_t)number);
    }
    nx_progress_end(&run->progress);
    run->seconds = (double)(nx_clock_now_ns() - start) / (double)NX_NS_PER_SEC;
    return status;
}

static nx_status tracks_by_model(mot_run *run, nx_error *err)
{
    nx_status status = open_video(run, err);
    if (status == NX_OK) {
        /* frames come one after the other, so each Run gets every core */
        status = nx_setup_open(run->args->config, NX_SETUP_SERVER, &run->setup, err);
    }
    if (status == NX_OK) {
        run->model_name = strdup(nx_model_get_spec(run->setup.model)->name);
        status = run->model_name == NULL ? no_memory(err) : make_analytics(run, err);
    }
    if (status == NX_OK) {
        status = read_postprocess(run, err);
    }
    if (status == NX_OK) {
        status = nx_setup_start_engine(run->args->config, NULL, &run->setup, err);
    }
    return status == NX_OK ? track_all(run, err) : status;
}

static nx_status save_tracks(const mot_run *run, nx_error *err)
{
    const char *path = nx_cli_value(run->args, "save-tracks");
    nx_buffer text = NX_BUFFER_INIT;
    if (path == NULL) {
        return NX_OK;
    }
    for (size_t i = 0; i < run->tracks.count; i++) {
        nx_mot_append(&text, &run->tracks.items[i]);
    }
    nx_status status =
        text.failed ? no_memory(err) : nx_file_write(path, text.data, text.size, err);
    nx_buffer_free(&text);
    return status;
}

/* --- the outcome --------------------------------------------------------------------------------
 */

/* The share of frames that needed no detector. */
static double saved_share(const mot_run *run)
{
    size_t frames = run->looked + run->held + run->predicted;
    return frames > 0 ? (double)(run->held + run->predicted) / (double)frames : 0;
}

static void append_text(const mot_run *run, nx_buffer *text)
{
    const nx_mot_scores *s = &run->scores;
    nx_buffer_printf(text, "%8s  %7s  %7s  %7s  %7s  %7s  %7s  %8s  %6s  %6s\n", "MOTA", "MOTP",
                     "IDF1", "HOTA", "DetA", "AssA", "LocA", "switches", "false", "missed");
    nx_buffer_printf(text, "%8.4f  %7.4f  %7.4f  %7.4f  %7.4f  %7.4f  %7.4f  %8zu  %6zu  %6zu\n",
                     s->mota, s->motp, s->idf1, s->hota, s->detection, s->association,
                     s->localization, s->switches, s->false_positives, s->misses);
    nx_buffer_printf(text, "\n%d frames, %zu true boxes of %zu, %zu boxes of %zu tracks\n",
                     run->last_frame, s->truths, s->truth_ids, s->boxes, s->track_ids);
    if (run->model_name != NULL) {
        nx_buffer_append_printable(text, run->model_name);
        nx_buffer_printf(text,
                         ": %zu frames looked at, %zu still, %zu predicted (%.1f %% saved) in "
                         "%.1f s\n",
                         run->looked, run->held, run->predicted, 100 * saved_share(run),
                         run->seconds);
    }
}

static void json_scores(nx_json *json, const nx_mot_scores *s)
{
    nx_json_key_number(json, "mota", s->mota, 6);
    nx_json_key_number(json, "motp", s->motp, 6);
    nx_json_key_number(json, "idf1", s->idf1, 6);
    nx_json_key_number(json, "id_precision", s->id_precision, 6);
    nx_json_key_number(json, "id_recall", s->id_recall, 6);
    nx_json_key_number(json, "hota", s->hota, 6);
    nx_json_key_number(json, "det_a", s->detection, 6);
    nx_json_key_number(json, "ass_a", s->association, 6);
    nx_json_key_number(json, "loc_a", s->localization, 6);
    nx_json_key_int(json, "matches", (int64_t)s->matches);
    nx_json_key_int(json, "misses", (int64_t)s->misses);
    nx_json_key_int(json, "false_positives", (int64_t)s->false_positives);
    nx_json_key_int(json, "id_switches", (int64_t)s->switches);
    nx_json_key_int(json, "fragments", (int64_t)s->fragments);
    nx_json_key_int(json, "mostly_tracked", (int64_t)s->mostly_tracked);
    nx_json_key_int(json, "partly_tracked", (int64_t)s->partly_tracked);
    nx_json_key_int(json, "mostly_lost", (int64_t)s->mostly_lost);
    nx_json_key_int(json, "true_boxes", (int64_t)s->truths);
    nx_json_key_int(json, "true_ids", (int64_t)s->truth_ids);
    nx_json_key_int(json, "boxes", (int64_t)s->boxes);
    nx_json_key_int(json, "tracks", (int64_t)s->track_ids);
}

static void append_json(const mot_run *run, nx_buffer *text)
{
    nx_json json = nx_json_begin(text);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "model", run->model_name);
    nx_json_key_int(&json, "frames", run->last_frame);
    json_scores(&json, &run->scores);
    if (run->model_name != NULL) {
        nx_json_key_int(&json, "frames_looked_at", (int64_t)run->looked);
        nx_json_key_int(&json, "frames_still", (int64_t)run->held);
        nx_json_key_int(&json, "frames_predicted", (int64_t)run->predicted);
        nx_json_key_number(&json, "saved", saved_share(run), 4);
        nx_json_key_number(&json, "seconds", run->seconds, 3);
    }
    nx_json_object_end(&json);
    nx_buffer_append_char(text, '\n');
}

static int print(const mot_run *run)
{
    const char *format = nx_cli_value(run->args, "format");
    nx_buffer text = NX_BUFFER_INIT;
    if (format != NULL && strcmp(format, "json") == 0) {
        append_json(run, &text);
    } else {
        append_text(run, &text);
    }
    return nx_cli_print(run->args, &text);
}

/* --- the command --------------------------------------------------------------------------------
 */

static nx_status check_options(const nx_cli_args *args, nx_error *err)
{
    static const char *const of_coco[] = {"annotations",     "images",        "detections",
                                          "save-detections", "allow-missing", "per-class"};
    static const char *const of_video[] = {
        "start", "conf", "iou", "motion-gate", "adaptive-stride", "classes", "save-tracks"};
    bool tracks = nx_cli_value(args, "tracks") != NULL;
    for (size_t i = 0; i < sizeof of_coco / sizeof of_coco[0]; i++) {
        if (nx_cli_value(args, of_coco[i]) != NULL) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "--%s is for COCO annotations; --mot measures tracks", of_coco[i]);
        }
    }
    if (tracks == (nx_cli_value(args, "video") != NULL)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "give either --video (a file for the model to look at) or --tracks (a "
                            "MOT file of tracks)");
    }
    for (size_t i = 0; tracks && i < sizeof of_video / sizeof of_video[0]; i++) {
        if (nx_cli_value(args, of_video[i]) != NULL) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "--%s goes with --video; --tracks runs no model", of_video[i]);
        }
    }
    return NX_OK;
}

static nx_status read_truth(mot_run *run, nx_error *err)
{
    int64_t frames = 0;
    nx_status status = nx_mot_read(nx_cli_value(run->args, "mot"), true, &run->truth, err);
    if (status == NX_OK) {
        status = nx_cli_int(run->args, "frames", 1, NX_MOT_MAX_FRAME, run->truth.last_frame,
                            &frames, err);
    }
    run->last_frame = (int32_t)frames;
    if (status == NX_OK && (run->truth.count == 0 || run->truth.items[0].frame > frames)) {
        return nx_error_set(err, NX_ERR_INVALID, "%s has no true box in the frames to be measured",
                            nx_cli_value(run->args, "mot"));
    }
    return status;
}

int nx_eval_mot(const nx_cli_args *args)
{
    nx_error err = {0};
    mot_run run = {.args = args};
    const char *tracks = nx_cli_value(args, "tracks");
    nx_status status = check_options(args, &err);
    if (status == NX_OK) {
        status = read_truth(&run, &err);
    }
    if (status == NX_OK) {
        status = tracks != NULL ? nx_mot_read(tracks, false, &run.tracks, &err)
                                : tracks_by_model(&run, &err);
    }
    if (status == NX_OK) {
        status = save_tracks(&run, &err);
    }
    if (status == NX_OK) {
        status = nx_mot_evaluate(run.truth.items, run.truth.count, run.tracks.items,
                                 run.tracks.count, run.last_frame, &run.scores, &err);
    }
    int code = status == NX_OK ? print(&run) : nx_cli_fail(args, nx_cli_exit_code(status), &err);
    free_run(&run);
    return code;
}
