/* annotated.mp4: the video once more, with what was seen in it drawn on its frames. */
#include "analytics/zones_parse.h"
#include "jobs/frame_log.h"
#include "jobs/video_results.h"
#include "media/video_writer.h"
#include "vision/draw.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_BYTES 64
#define PLACE_COLOR 0xffd400U

typedef struct annotation {
    const nx_video_results_options *options;
    nx_decoder *decoder;
    nx_frame_log_reader *log;
    nx_video_writer *writer;
    nx_zones_spec places;
    nx_image image; /* a frame's copy, to draw on */
    nx_detection *boxes;
    char (*texts)[LABEL_BYTES];
    const char **labels;
    size_t capacity;
} annotation;

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to annotate a video");
}

static nx_status open_all(annotation *a, const char *path, nx_error *err)
{
    const nx_video_results_options *o = a->options;
    const nx_decoder_options decoder = {
        .max_pixels = o->max_pixels, .stride = o->spec->stride, .fps = o->spec->fps};
    char *log = NULL;
    if (asprintf(&log, "%s/%s", o->folder, nx_video_output_file(NX_VIDEO_FRAMES)) < 0) {
        return no_memory(err);
    }
    nx_status status = nx_frame_log_reader_open(log, o->outcome->log_bytes, &a->log, err);
    free(log);
    if (status == NX_OK && o->spec->places != NULL) {
        status = nx_zones_parse(o->spec->places, strlen(o->spec->places), "zones and lines",
                                o->model->names, &a->places, err);
    }
    if (status == NX_OK) {
        status = nx_decoder_open_fd(o->fd, o->source, &decoder, &a->decoder, err);
    }
    if (status == NX_OK) {
        uint32_t width = 0;
        uint32_t height = 0;
        double fps = o->outcome->info.fps / (o->spec->stride > 0 ? o->spec->stride : 1);
        nx_decoder_get_size(a->decoder, &width, &height);
        fps = o->spec->fps > 0 && o->spec->fps < fps ? o->spec->fps : fps;
        status = nx_image_alloc(width, height, &a->image, err);
        status = status == NX_OK ? nx_video_writer_open(path, width, height, fps, &a->writer, err)
                                 : status;
    }
    return status;
}

static void close_all(annotation *a)
{
    nx_frame_log_reader_free(a->log);
    nx_decoder_free(a->decoder);
    nx_video_writer_free(a->writer);
    nx_zones_spec_free(&a->places);
    nx_image_free(&a->image);
    free(a->boxes);
    free(a->texts);
    free((void *)a->labels);
}

static void draw_places(annotation *a)
{
    float width = (float)a->image.width;
    float height = (float)a->image.height;
    for (size_t i = 0; i < a->places.zone_count; i++) {
        const nx_zone *zone = &a->places.zones[i];
        for (size_t k = 0; k < zone->point_count; k++) {
            const nx_zone_point *p = &zone->points[k];
            const nx_zone_point *q = &zone->points[(k + 1) % zone->point_count];
            nx_draw_line(&a->image, (float)p->x * width, (float)p->y * height, (float)q->x * width,
                         (float)q->y * height, PLACE_COLOR);
        }
    }
    for (size_t i = 0; i < a->places.line_count; i++) {
        const nx_line *line = &a->places.lines[i];
        nx_draw_line(&a->image, (float)line->from.x * width, (float)line->from.y * height,
                     (float)line->to.x * width, (float)line->to.y * height, PLACE_COLOR);
    }
}

static bool reserve(annotation *a, size_t count)
{
    if (count <= a->capacity) {
        return true;
    }
    nx_detection *boxes = reallocarray(a->boxes, count, sizeof *boxes);
    a->boxes = boxes != NULL ? boxes : a->boxes;
    char(*texts)[LABEL_BYTES] = reallocarray(a->texts, count, sizeof *texts);
    a->texts = texts != NULL ? texts : a->texts;
    const char **labels = reallocarray((void *)a->labels, count, sizeof *labels);
    a->labels = labels != NULL ? labels : a->labels;
    if (boxes == NULL || texts == NULL || labels == NULL) {
        return false;
    }
    a->capacity = count;
    return true;
}

/* "#7 person", or "person 0.87" of what is not tracked. */
static nx_status draw_objects(annotation *a, const nx_frame_record *record, nx_error *err)
{
    const nx_class_names names = a->options->model->names;
    if (!reserve(a, record->object_count)) {
        return no_memory(err);
    }
    for (size_t i = 0; i < record->object_count; i++) {
        const nx_frame_object *object = &record->objects[i];
        const char *name = nx_class_name(names, object->box.class_id);
        a->boxes[i] = object->box;
        if (object->track_id != 0) {
            snprintf(a->texts[i], LABEL_BYTES, "#%llu %.40s", (unsigned long long)object->track_id,
                     name);
        } else {
            snprintf(a->texts[i], LABEL_BYTES, "%.40s %.2f", name, (double)object->box.confidence);
        }
        a->labels[i] = a->texts[i];
    }
    return nx_draw_labelled(&a->image, a->boxes, record->object_count, a->labels, err);
}

static nx_status draw_frame(annotation *a, const nx_decoder_frame *frame,
                            const nx_frame_record *record, nx_error *err)
{
    size_t row = (size_t)3 * frame->width;
    for (uint32_t y = 0; y < frame->height; y++) {
        memcpy(a->image.pixels + y * a->image.stride, frame->pixels + y * row, row);
    }
    draw_places(a);
    nx_status status = draw_objects(a, record, err);
    return status == NX_OK ? nx_video_writer_add(a->writer, &a->image, frame->pts_ns, err) : status;
}

nx_status nx_video_annotate(const nx_video_results_options *options, const char *path,
                            nx_error *err)
{
    annotation a = {.options = options};
    nx_status status = open_all(&a, path, err);
    for (uint64_t frames = 0; status == NX_OK; frames++) {
        nx_frame_record record;
        nx_decoder_frame frame;
        bool end = false;
        status = nx_frame_log_next(a.log, &record, &end, err);
        if (status == NX_OK && !end) {
            status = nx_decoder_next(a.decoder, &frame, &end, err);
        }
        if (status != NX_OK || end) {
            break;
        }
        status = draw_frame(&a, &frame, &record, err);
        if (status == NX_OK && options->stop != NULL && atomic_load(options->stop)) {
            status = nx_error_set(err, NX_ERR_CANCELLED, "the results of %s were stopped",
                                  options->source);
        }
        if (status == NX_OK && options->progress != NULL) {
            options->progress(frames + 1, options->user);
        }
    }
    if (status == NX_OK) {
        status = nx_video_writer_finish(a.writer, err);
    }
    close_all(&a);
    return status;
}
