#include "jobs/video_results.h"

#include "analytics/heatmap.h"
#include "base/file.h"
#include "jobs/frame_log.h"
#include "media/codec.h"
#include "results/tally.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is written at once. */
#define FLUSH_BYTES ((size_t)256 << 10)
/* Columns of the heatmap on the longer side; its picture has at most so many pixels there. */
#define HEATMAP_CELLS  96
#define HEATMAP_PIXELS 1280

/* A text file that grows; NULL `file`: it is not wanted. */
typedef struct text_file {
    char *path;
    FILE *file;
    nx_buffer text; /* not written yet */
} text_file;

typedef struct results {
    const nx_video_results_options *options;
    nx_class_names names;
    text_file csv, coco, mot, counts;
    nx_tally *tally;
    nx_heatmap *heatmap; /* NULL: not wanted */
    nx_track *tracks;    /* reused: what the heatmap sees of a frame */
    size_t track_capacity;
    bool first_coco;
} results;

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a video's results");
}

static bool wants(const results *r, nx_video_output output)
{
    return (r->options->spec->outputs & 1U << output) != 0;
}

static char *path_of(const nx_video_results_options *options, nx_video_output output)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", options->folder, nx_video_output_file(output)) >= 0 ? path
                                                                                        : NULL;
}

/* --- text files ---------------------------------------------------------------------------------
 */

static nx_status open_text(results *r, nx_video_output output, text_file *out, nx_error *err)
{
    if (!wants(r, output)) {
        return NX_OK;
    }
    out->path = path_of(r->options, output);
    if (out->path == NULL) {
        return no_memory(err);
    }
    out->file = fopen(out->path, "wbe");
    return out->file != NULL
               ? NX_OK
               : nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", out->path);
}

static nx_status flush_text(text_file *out, bool all, nx_error *err)
{
    if (out->text.failed) {
        return no_memory(err);
    }
    if (out->file == NULL || (!all && out->text.size < FLUSH_BYTES)) {
        return NX_OK;
    }
    bool written = fwrite(out->text.data, 1, out->text.size, out->file) == out->text.size &&
                   (!all || fflush(out->file) == 0);
    nx_buffer_clear(&out->text);
    return written ? NX_OK
                   : nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", out->path);
}

static void close_text(text_file *out)
{
    if (out->file != NULL) {
        (void)fclose(out->file); /* it was flushed, or has failed */
    }
    nx_buffer_free(&out->text);
    free(out->path);
}

/* --- the heatmap --------------------------------------------------------------------------------
 */

static nx_status open_heatmap(results *r, nx_error *err)
{
    const nx_decoder_info *info = &r->options->outcome->info;
    double longer = info->width > info->height ? info->width : info->height;
    uint32_t columns = (uint32_t)lrint(fmax(1, info->width * HEATMAP_CELLS / longer));
    uint32_t rows = (uint32_t)lrint(fmax(1, info->height * HEATMAP_CELLS / longer));
    return nx_heatmap_new(columns, rows, &r->heatmap, err);
}

static nx_status add_to_heatmap(results *r, const nx_frame_record *record, nx_error *err)
{
    const nx_decoder_info *info = &r->options->outcome->info;
    size_t count = 0;
    if (record->object_count > r->track_capacity) {
        nx_track *grown = reallocarray(r->tracks, record->object_count, sizeof *grown);
        if (grown == NULL) {
            return no_memory(err);
        }
        r->tracks = grown;
        r->track_capacity = record->object_count;
    }
    for (size_t i = 0; i < record->object_count; i++) {
        const nx_frame_object *object = &record->objects[i];
        if (object->track_id != 0) {
            r->tracks[count++] = (nx_track){
                .id = object->track_id,
                .state = NX_TRACK_CONFIRMED,
                .x1 = (double)object->box.x1,
                .y1 = (double)object->box.y1,
                .x2 = (double)object->box.x2,
                .y2 = (double)object->box.y2,
            };
        }
    }
    return nx_heatmap_update(r->heatmap, record->time_ns, info->width, info->height, r->tracks,
                             count, err);
}

/* Over black, so that it is a picture of its own. */
static nx_status write_heatmap(const results *r, nx_error *err)
{
    const nx_decoder_info *info = &r->options->outcome->info;
    double longer = info->width > info->height ? info->width : info->height;
    double scale = longer > HEATMAP_PIXELS ? HEATMAP_PIXELS / longer : 1;
    nx_image image = {0};
    nx_buffer png = NX_BUFFER_INIT;
    char *path = path_of(r->options, NX_VIDEO_HEATMAP);
    nx_status status = path != NULL ? NX_OK : no_memory(err);
    if (status == NX_OK) {
        status = nx_image_alloc((uint32_t)fmax(1, info->width * scale),
                                (uint32_t)fmax(1, info->height * scale), &image, err);
    }
    if (status == NX_OK) {
        memset(image.pixels, 0, image.stride * image.height);
        status = nx_heatmap_blend(r->heatmap, &image, err);
    }
    if (status == NX_OK) {
        status = nx_image_encode_png(&image, &png, err);
    }
    if (status == NX_OK) {
        status = nx_file_write(path, png.data, png.size, err);
    }
    nx_image_free(&image);
    nx_buffer_free(&png);
    free(path);
    return status;
}

/* --- the summary --------------------------------------------------------------------------------
 */

static void write_video(const nx_video_outcome *outcome, nx_json *json)
{
    const nx_decoder_info *info = &outcome->info;
    nx_json_key(json, "video");
    nx_json_object_begin(json);
    nx_json_key_string(json, "container", info->container);
    nx_json_key_string(json, "codec", info->codec);
    nx_json_key_int(json, "width", info->width);
    nx_json_key_int(json, "height", info->height);
    nx_json_key_number(json, "fps", info->fps, 3);
    nx_json_key_number(json, "duration", (double)info->duration_ns / 1e9, 3);
    nx_json_key_int(json, "damaged", (int64_t)outcome->damaged);
    nx_json_object_end(json);
}

static nx_status write_summary(const results *r, nx_error *err)
{
    const nx_video_results_options *o = r->options;
    char *path = path_of(o, NX_VIDEO_SUMMARY);
    nx_buffer text = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&text);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "source", o->source);
    write_video(o->outcome, &json);
    nx_json_key_string(&json, "model", o->model->name);
    nx_json_key_bool(&json, "complete", o->error == NULL);
    if (o->error != NULL) {
        nx_json_key_string(&json, "error", o->error);
    }
    nx_json_key(&json, "options");
    nx_json_object_begin(&json);
    nx_video_spec_json_members(o->spec, &json);
    nx_json_object_end(&json);
    nx_tally_json_members(r->tally, &json);
    nx_json_object_end(&json);
    nx_buffer_append_char(&text, '\n');
    nx_status status = path != NULL && !text.failed ? NX_OK : no_memory(err);
    if (status == NX_OK) {
        status = nx_file_write(path, text.data, text.size, err);
    }
    nx_buffer_free(&text);
    free(path);
    return status;
}

/* --- the record, once through -------------------------------------------------------------------
 */

static nx_status add_record(results *r, const nx_frame_record *record, nx_error *err)
{
    nx_status status = nx_tally_add(r->tally, record, &r->counts.text, err);
    if (status == NX_OK && r->heatmap != NULL) {
        status = add_to_heatmap(r, record, err);
    }
    if (r->csv.file != NULL) {
        nx_frames_csv(record, r->names, &r->csv.text);
    }
    if (r->coco.file != NULL) {
        nx_frames_coco(record, &r->first_coco, &r->coco.text);
    }
    if (r->mot.file != NULL) {
        nx_frames_mot(record, &r->mot.text);
    }
    if (r->counts.file == NULL) {
        nx_buffer_clear(&r->counts.text);
    }
    text_file *const files[] = {&r->csv, &r->coco, &r->mot, &r->counts};
    for (size_t i = 0; status == NX_OK && i < sizeof files / sizeof files[0]; i++) {
        status = flush_text(files[i], false, err);
    }
    return status;
}

static nx_status read_records(results *r, nx_error *err)
{
    const atomic_bool *stop = r->options->stop;
    nx_frame_log_reader *reader = NULL;
    nx_frame_record record;
    bool end = false;
    char *path = path_of(r->options, NX_VIDEO_FRAMES);
    nx_status status =
        path != NULL ? nx_frame_log_reader_open(path, r->options->outcome->log_bytes, &reader, err)
                     : no_memory(err);
    while (status == NX_OK && !end) {
        status = nx_frame_log_next(reader, &record, &end, err);
        if (status == NX_OK && !end) {
            status = add_record(r, &record, err);
        }
        if (status == NX_OK && stop != NULL && atomic_load(stop)) {
            status = nx_error_set(err, NX_ERR_CANCELLED, "the results of %s were stopped",
                                  r->options->source);
        }
    }
    nx_frame_log_reader_free(reader);
    free(path);
    return status;
}

static nx_status begin_files(results *r, nx_error *err)
{
    nx_status status = open_text(r, NX_VIDEO_CSV, &r->csv, err);
    status = status == NX_OK ? open_text(r, NX_VIDEO_COCO, &r->coco, err) : status;
    status = status == NX_OK ? open_text(r, NX_VIDEO_MOT, &r->mot, err) : status;
    status = status == NX_OK ? open_text(r, NX_VIDEO_COUNTS, &r->counts, err) : status;
    if (status == NX_OK && wants(r, NX_VIDEO_HEATMAP) && r->options->spec->track) {
        status = open_heatmap(r, err);
    }
    nx_frames_csv_header(&r->csv.text);
    nx_buffer_append_char(&r->coco.text, '[');
    nx_tally_counts_header(&r->counts.text);
    return status;
}

static nx_status end_files(results *r, nx_error *err)
{
    nx_tally_counts_end(r->tally, &r->counts.text);
    nx_buffer_append_str(&r->coco.text, "]\n");
    nx_status status = flush_text(&r->csv, true, err);
    status = status == NX_OK ? flush_text(&r->coco, true, err) : status;
    status = status == NX_OK ? flush_text(&r->mot, true, err) : status;
    status = status == NX_OK ? flush_text(&r->counts, true, err) : status;
    if (status == NX_OK && r->heatmap != NULL) {
        status = write_heatmap(r, err);
    }
    return status == NX_OK ? write_summary(r, err) : status;
}

nx_status nx_video_results_write(const nx_video_results_options *options, nx_error *err)
{
    results r = {.options = options, .names = options->model->names, .first_coco = true};
    r.tally = nx_tally_new(r.names, options->spec->counts_every_s);
    nx_status status = r.tally != NULL ? begin_files(&r, err) : no_memory(err);
    if (status == NX_OK) {
        status = read_records(&r, err);
    }
    if (status == NX_OK) {
        status = end_files(&r, err);
    }
    if (status == NX_OK && wants(&r, NX_VIDEO_VIDEO) && options->outcome->progress.frames > 0) {
        char *path = path_of(options, NX_VIDEO_VIDEO);
        status = path != NULL ? nx_video_annotate(options, path, err) : no_memory(err);
        free(path);
    }
    close_text(&r.csv);
    close_text(&r.coco);
    close_text(&r.mot);
    close_text(&r.counts);
    nx_heatmap_free(r.heatmap);
    nx_tally_free(r.tally);
    free(r.tracks);
    return status;
}
