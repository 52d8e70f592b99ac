#include "jobs/image_job.h"

#include "base/clock.h"
#include "base/waiter.h"
#include "vision/draw.h"

#include <stdatomic.h>
#include <stdlib.h>

#define JPEG_QUALITY 90

struct nx_image_job {
    nx_engine_task task; /* first, so that the engine's pointer is ours */
    nx_model *model;     /* borrowed */
    const void *bytes;   /* borrowed */
    size_t size;
    nx_image_job_options options;
    nx_image_info info;
    nx_letterbox letterbox;
    nx_image image; /* during the Run kept only if it is whole and will be drawn on */
    nx_detections found;
    nx_buffer picture;
    atomic_bool cancelled;
    int64_t decode_ns;       /* for the model */
    int64_t decode_whole_ns; /* once more, to draw on */
    int64_t submitted_ns;
    int64_t total_ns;
    nx_image_job_done done;
    void *user;
};

nx_status nx_image_job_new(nx_model *model, const void *bytes, size_t size,
                           const nx_image_job_options *options, nx_image_job **out, nx_error *err)
{
    *out = NULL;
    nx_image_info info;
    nx_status status = nx_image_probe(bytes, size, options->max_pixels, &info, err);
    if (status != NX_OK) {
        return status;
    }
    nx_image_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the picture's job");
    }
    atomic_init(&job->cancelled, false);
    job->bytes = bytes;
    job->size = size;
    job->options = *options;
    job->info = info;
    job->model = model;
    job->task.backend = nx_model_backend(model);
    nx_model_input_size(model, info.width, info.height, &job->task.input_width,
                        &job->task.input_height);
    job->letterbox = nx_letterbox_fit(info.width, info.height, job->task.input_width,
                                      job->task.input_height, nx_model_get_spec(model)->centered);
    *out = job;
    return NX_OK;
}

static nx_status prepare(nx_engine_task *task, void *slot, nx_error *err)
{
    nx_image_job *job = (nx_image_job *)task;
    const nx_decode_options decode = {
        .max_pixels = job->options.max_pixels,
        .target_width = job->letterbox.width,
        .target_height = job->letterbox.height,
    };
    if (atomic_load(&job->cancelled)) {
        return nx_error_set(err, NX_ERR_CANCELLED, "whoever asked for the picture is gone");
    }
    int64_t start = nx_clock_now_ns();
    nx_status status = nx_image_decode(job->bytes, job->size, &decode, &job->image, NULL, err);
    job->decode_ns = nx_clock_now_ns() - start;
    if (status != NX_OK) {
        return status;
    }
    status = nx_letterbox_apply(&job->letterbox, &job->image, nx_model_get_spec(job->model)->pixels,
                                slot, err);
    bool whole = job->image.width == job->info.width && job->image.height == job->info.height;
    if (job->options.annotate == NX_ANNOTATE_NONE || !whole) {
        nx_image_free(&job->image);
    }
    return status;
}

/* A JPEG that the model got scaled down is decoded again: what is found must not depend on whether
 * it is drawn. */
static nx_status decode_whole(nx_image_job *job, nx_error *err)
{
    const nx_decode_options decode = {.max_pixels = job->options.max_pixels};
    int64_t start = nx_clock_now_ns();
    nx_status status = nx_image_decode(job->bytes, job->size, &decode, &job->image, NULL, err);
    job->decode_whole_ns = nx_clock_now_ns() - start;
    return status;
}

static nx_status annotate_picture(nx_image_job *job, nx_error *err)
{
    nx_status status = job->image.pixels == NULL ? decode_whole(job, err) : NX_OK;
    if (status != NX_OK) {
        return status;
    }
    for (size_t i = job->found.mask_count; i-- > 0;) { /* the boxes go over the masks */
        nx_draw_mask(&job->image, &job->found.masks[i],
                     nx_draw_class_color(job->found.items[i].class_id));
    }
    status = nx_draw_detections(&job->image, job->found.items, job->found.count,
                                nx_model_get_spec(job->model)->names, err);
    if (status != NX_OK) {
        return status;
    }
    if (job->found.keypoints != NULL) {
        nx_draw_keypoints(&job->image, job->found.items, job->found.count, job->found.keypoints,
                          job->found.keypoint_count);
    }
    return job->options.annotate == NX_ANNOTATE_PNG
               ? nx_image_encode_png(&job->image, &job->picture, err)
               : nx_image_encode_jpeg(&job->image, JPEG_QUALITY, &job->picture, err);
}

static nx_status consume(nx_engine_task *task, const nx_tensor *outputs, size_t count,
                         uint32_t slot, nx_error *err)
{
    nx_image_job *job = (nx_image_job *)task;
    nx_head_output head;
    nx_status status = nx_model_head(job->model, outputs, count, slot, task->input_width,
                                     task->input_height, &head, err);
    if (status == NX_OK) {
        status =
            nx_postprocess(&head, &job->letterbox, &job->options.postprocess, &job->found, err);
    }
    if (status == NX_OK && job->options.annotate != NX_ANNOTATE_NONE) {
        status = annotate_picture(job, err);
    }
    return status;
}

static void finish(nx_engine_task *task, nx_status status, const nx_error *err)
{
    nx_image_job *job = (nx_image_job *)task;
    nx_image_free(&job->image);
    job->total_ns = nx_clock_now_ns() - job->submitted_ns;
    job->done(job, status, err, job->user);
}

nx_status nx_image_job_submit(nx_image_job *job, nx_engine *engine, nx_image_job_done done,
                              void *user, nx_error *err)
{
    job->done = done;
    job->user = user;
    job->submitted_ns = nx_clock_now_ns();
    job->task.priority = job->options.priority;
    job->task.deadline_ns = job->options.deadline_ns;
    job->task.prepare = prepare;
    job->task.consume = consume;
    job->task.done = finish;
    return nx_engine_submit(engine, &job->task, err);
}

bool nx_image_job_cancel(nx_image_job *job, nx_engine *engine)
{
    atomic_store(&job->cancelled, true);
    return nx_engine_cancel(engine, &job->task);
}

/* --- waiting ------------------------------------------------------------------------------------
 */

static void wake(nx_image_job *job, nx_status status, const nx_error *err, void *user)
{
    (void)job;
    nx_waiter_finish(user, status, err);
}

nx_status nx_image_job_run(nx_image_job *job, nx_engine *engine, nx_error *err)
{
    nx_waiter waiter;
    nx_waiter_init(&waiter);
    return nx_waiter_end(&waiter, nx_image_job_submit(job, engine, wake, &waiter, err), err);
}

/* --- the outcome --------------------------------------------------------------------------------
 */

nx_result nx_image_job_result(const nx_image_job *job)
{
    const nx_model_spec *spec = nx_model_get_spec(job->model);
    const nx_engine_timings *timings = &job->task.timings;
    return (nx_result){
        .model = spec->name,
        .device = spec->device,
        .image_width = job->info.width,
        .image_height = job->info.height,
        .detections = job->found.items,
        .count = job->found.count,
        .names = spec->names,
        .masks = job->found.masks,
        .keypoints = job->found.keypoints,
        .keypoint_count = job->found.keypoint_count,
        .timings =
            {
                .queue = nx_clock_ms(timings->queue),
                .decode = nx_clock_ms(job->decode_ns + job->decode_whole_ns),
                .preprocess = nx_clock_ms(timings->prepare - job->decode_ns),
                .inference = nx_clock_ms(timings->run),
                .postprocess = nx_clock_ms(timings->consume - job->decode_whole_ns),
                .total = nx_clock_ms(job->total_ns),
            },
    };
}

nx_buffer nx_image_job_take_picture(nx_image_job *job)
{
    nx_buffer picture = job->picture;
    job->picture = (nx_buffer)NX_BUFFER_INIT;
    return picture;
}

void nx_image_job_free(nx_image_job *job)
{
    if (job != NULL) {
        nx_image_free(&job->image);
        nx_detections_free(&job->found);
        nx_buffer_free(&job->picture);
        free(job);
    }
}
