#include "jobs/segment_job.h"

#include "base/clock.h"
#include "base/waiter.h"
#include "vision/draw.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define JPEG_QUALITY 90

/*
 * The steps come one after the other: encode (when this job leads), then decode. Before the first
 * the job may wait in the cache's queue for another that leads. `done` of a step starts the next.
 */
struct nx_segment_job {
    nx_engine_task encode; /* first, so that the engine's pointer is ours */
    nx_engine_task decode;
    nx_embedding_claim claim; /* of a picture that is not in the cache */
    nx_sam *sam;
    nx_engine *engine;
    const void *bytes; /* borrowed; NULL when it came by id */
    size_t size;
    nx_segment_job_options options;
    nx_content_hash id;
    uint32_t width, height;
    nx_letterbox letterbox;
    nx_embedding *embedding;
    nx_embedding_origin origin;
    nx_sam_masks masks;
    nx_buffer mask_png;
    nx_buffer picture;
    nx_buffer text; /* the JSON; its timings are written when all else is done */
    nx_json json;
    atomic_bool cancelled;
    int64_t submitted_ns;
    int64_t queue_ns, decode_ns, preprocess_ns, encoder_ns, postprocess_ns;
    int64_t total_ns;
    nx_segment_job_done done;
    void *user;
};

static nx_segment_job *job_of_decode(nx_engine_task *task)
{
    return (nx_segment_job *)((char *)task - offsetof(nx_segment_job, decode));
}

static nx_segment_job *job_of_claim(nx_embedding_claim *claim)
{
    return (nx_segment_job *)((char *)claim - offsetof(nx_segment_job, claim));
}

static void finish(nx_segment_job *job, nx_status status, const nx_error *err)
{
    job->total_ns = nx_clock_now_ns() - job->submitted_ns;
    job->done(job, status, err, job->user);
}

static nx_status check_cancelled(const nx_segment_job *job, nx_error *err)
{
    return atomic_load(&job->cancelled)
               ? nx_error_set(err, NX_ERR_CANCELLED, "whoever asked for the masks is gone")
               : NX_OK;
}

/* Whether the next mask is still worth it, `done` of `all` being ready. */
static nx_status check_worth(const nx_segment_job *job, size_t done, size_t all, const char *how,
                             nx_error *err)
{
    nx_status status = check_cancelled(job, err);
    if (status == NX_OK && job->options.deadline_ns != 0 &&
        nx_clock_now_ns() > job->options.deadline_ns) {
        status = nx_error_set(err, NX_ERR_TIMEOUT, "%zu of %zu %s in time", done, all, how);
    }
    return status;
}

/* --- masks --------------------------------------------------------------------------------------
 */

/* The best mask of each thing; the others are its alternatives. */
static bool is_best(const nx_sam_masks *masks, size_t index)
{
    return index == 0 || masks->items[index - 1].thing != masks->items[index].thing;
}

/* As nx_segment_json_check. */
static nx_status check_output(void *user, size_t done, nx_error *err)
{
    const nx_segment_job *job = user;
    return check_worth(job, done, job->masks.count, "masks were written", err);
}

static nx_status make_mask_png(nx_segment_job *job, nx_error *err)
{
    nx_mask all;
    nx_status status = nx_mask_alloc(job->width, job->height, &all, err);
    size_t pixels = (size_t)job->width * job->height;
    for (size_t i = 0; i < job->masks.count && status == NX_OK; i++) {
        nx_mask one = {0};
        if (is_best(&job->masks, i)) {
            status = check_output(job, i, err);
            if (status == NX_OK) {
                status = nx_rle_decode(&job->masks.items[i].rle, &one, err);
            }
            for (size_t p = 0; p < pixels && status == NX_OK; p++) {
                all.bits[p] |= (uint8_t)(0 - one.bits[p]);
            }
        }
        nx_mask_free(&one);
    }
    if (status == NX_OK) {
        status = check_output(job, job->masks.count, err);
    }
    if (status == NX_OK) {
        status = nx_image_encode_png_gray(all.bits, job->width, job->height, &job->mask_png, err);
    }
    nx_mask_free(&all);
    return status;
}

static nx_status draw_picture(nx_segment_job *job, nx_error *err)
{
    nx_image image = {0};
    const nx_decode_options whole = {.max_pixels = job->options.max_pixels};
    nx_status status = check_output(job, 0, err);
    if (status == NX_OK) {
        status = nx_image_decode(job->bytes, job->size, &whole, &image, NULL, err);
    }
    for (size_t i = 0; i < job->masks.count && status == NX_OK; i++) {
        const nx_sam_mask_item *item = &job->masks.items[i];
        if (is_best(&job->masks, i)) {
            status = check_output(job, i, err);
            if (status == NX_OK) {
                nx_draw_mask(&image, &item->rle, nx_draw_class_color((int32_t)item->thing));
            }
        }
    }
    if (status == NX_OK) {
        status = check_output(job, job->masks.count, err);
    }
    if (status == NX_OK) {
        status = job->options.annotate == NX_ANNOTATE_PNG
                     ? nx_image_encode_png(&image, &job->picture, err)
                     : nx_image_encode_jpeg(&image, JPEG_QUALITY, &job->picture, err);
    }
    nx_image_free(&image);
    return status;
}

/* All but the timings, which are not over yet. */
static nx_status begin_json(nx_segment_job *job, nx_error *err)
{
    const nx_segment_json_options *options = &job->options.json;
    const nx_segment_result result = nx_segment_job_result(job);
    job->json = nx_json_begin(&job->text);
    nx_json_object_begin(&job->json);
    nx_json_key_string(&job->json, options->name, options->value);
    return nx_segment_json_members(&result, options->format, check_output, job, &job->json, err);
}

static nx_status end_json(nx_segment_job *job, nx_error *err)
{
    const nx_segment_result result = nx_segment_job_result(job);
    nx_segment_json_timings(&result.timings, &job->json);
    nx_json_object_end(&job->json);
    return job->text.failed ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the masks as text")
                            : NX_OK;
}

/* The masks in every form that was asked for: all that may take long, while there is somebody to
 * look at the deadline. */
static nx_status make_output(nx_segment_job *job, nx_error *err)
{
    nx_status status = NX_OK;
    if (job->options.mask_png) {
        status = make_mask_png(job, err);
    }
    if (status == NX_OK && job->options.annotate != NX_ANNOTATE_NONE) {
        status = draw_picture(job, err);
    }
    if (status == NX_OK && job->options.json.wanted) {
        status = begin_json(job, err);
    }
    return status;
}

/* On an engine thread: every thing of the prompt, and what is made of them. */
static nx_status decode_masks(nx_engine_task *task, nx_error *err)
{
    nx_segment_job *job = job_of_decode(task);
    nx_engine_stats stats = nx_engine_get_stats(job->engine);
    bool alone = stats.running <= 1 && stats.queued == 0;
    size_t things = nx_sam_prompt_things(&job->options.prompt);
    nx_status status = NX_OK;
    for (size_t i = 0; i < things && status == NX_OK; i++) {
        status = i == 0 ? check_cancelled(job, err)
                        : check_worth(job, i, things, "boxes were segmented", err);
        if (status == NX_OK) {
            status = nx_sam_decode(job->sam, job->embedding, &job->options.prompt, i, alone,
                                   &job->masks, err);
        }
    }
    return status == NX_OK ? make_output(job, err) : status;
}

static void masks_decoded(nx_engine_task *task, nx_status status, const nx_error *err)
{
    nx_segment_job *job = job_of_decode(task);
    nx_error own = {0};
    job->queue_ns += task->timings.queue;
    job->postprocess_ns = task->timings.run - job->masks.run_ns;
    job->total_ns = nx_clock_now_ns() - job->submitted_ns;
    if (status == NX_OK && job->options.json.wanted) {
        status = end_json(job, &own);
        err = &own;
    }
    job->done(job, status, err, job->user);
}

static nx_status start_decoding(nx_segment_job *job, nx_error *err)
{
    return nx_engine_submit(job->engine, &job->decode, err);
}

/* --- the embedding ------------------------------------------------------------------------------
 */

static nx_status prepare(nx_engine_task *task, void *slot, nx_error *err)
{
    nx_segment_job *job = (nx_segment_job *)task;
    const nx_decode_options decode = {
        .max_pixels = job->options.max_pixels,
        .target_width = job->letterbox.width,
        .target_height = job->letterbox.height,
    };
    nx_image image = {0};
    nx_status status = check_cancelled(job, err);
    int64_t start = nx_clock_now_ns();
    if (status == NX_OK) {
        status = nx_image_decode(job->bytes, job->size, &decode, &image, NULL, err);
    }
    job->decode_ns = nx_clock_now_ns() - start;
    if (status == NX_OK) {
        status = nx_sam_preprocess(&job->letterbox, &image, slot, err);
    }
    nx_image_free(&image);
    return status;
}

static nx_status consume(nx_engine_task *task, const nx_tensor *outputs, size_t count,
                         uint32_t slot, nx_error *err)
{
    nx_segment_job *job = (nx_segment_job *)task;
    (void)slot; /* its batches are of one */
    nx_status status = nx_embedding_new(&job->id, job->width, job->height, NX_SAM_EMBEDDING_COUNT,
                                        &job->embedding, err);
    return status != NX_OK ? status : nx_sam_read_embedding(outputs, count, job->embedding, err);
}

/* Whether every job for this picture would fail of this; else the next one may try. A queue that is
 * full or closed concerns all: each who tried would fail inside the call that woke it. */
static bool concerns_all(nx_status status)
{
    return status != NX_ERR_CANCELLED && status != NX_ERR_TIMEOUT;
}

static void give_up_lead(nx_segment_job *job, nx_status status, const nx_error *err)
{
    nx_embedding_cache_abandon(nx_sam_cache(job->sam), &job->claim, concerns_all(status), status,
                               err);
}

static void encoded(nx_engine_task *task, nx_status status, const nx_error *err)
{
    nx_segment_job *job = (nx_segment_job *)task;
    nx_error own = {0};
    job->queue_ns += task->timings.queue;
    job->preprocess_ns = task->timings.prepare - job->decode_ns;
    job->encoder_ns = task->timings.run;
    if (status != NX_OK) {
        give_up_lead(job, status, err);
        finish(job, status, err);
        return;
    }
    nx_embedding_cache_publish(nx_sam_cache(job->sam), &job->claim, job->embedding);
    status = start_decoding(job, &own);
    if (status != NX_OK) {
        finish(job, status, &own);
    }
}

static nx_status start_encoding(nx_segment_job *job, nx_error *err)
{
    job->origin = NX_EMBEDDING_COMPUTED;
    nx_status status = nx_engine_submit(job->engine, &job->encode, err);
    if (status != NX_OK) {
        give_up_lead(job, status, err);
    }
    return status;
}

/* On the thread of the job that led. */
static void woken(nx_embedding_claim *claim, nx_embedding *embedding, nx_status status,
                  const nx_error *err)
{
    nx_segment_job *job = job_of_claim(claim);
    nx_error own = {0};
    job->queue_ns = nx_clock_now_ns() - job->submitted_ns; /* waiting for another is waiting */
    if (status != NX_OK) {
        finish(job, status, err);
        return;
    }
    if (embedding != NULL) {
        job->embedding = embedding;
        job->origin = NX_EMBEDDING_SHARED;
        status = start_decoding(job, &own);
    } else {
        status = start_encoding(job, &own);
    }
    if (status != NX_OK) {
        finish(job, status, &own);
    }
}

/* --- life ---------------------------------------------------------------------------------------
 */

static nx_status new_job(nx_sam *sam, nx_engine *engine, const nx_content_hash *id, uint32_t width,
                         uint32_t height, const nx_segment_job_options *options,
                         nx_segment_job **out, nx_error *err)
{
    nx_segment_job *job = calloc(1, sizeof *job);
    *out = NULL;
    if (job == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the picture's job");
    }
    job->sam = sam;
    job->engine = engine;
    job->options = *options;
    job->id = *id;
    job->claim.key = *id;
    job->claim.wake = woken;
    job->width = width;
    job->height = height;
    job->letterbox = nx_sam_letterbox(width, height);
    job->encode = (nx_engine_task){
        .backend = nx_sam_encoder(sam),
        .input_width = NX_SAM_SIDE,
        .input_height = NX_SAM_SIDE,
        .priority = options->priority,
        .deadline_ns = options->deadline_ns,
        .prepare = prepare,
        .consume = consume,
        .done = encoded,
    };
    job->decode = (nx_engine_task){
        .priority = options->priority,
        .deadline_ns = options->deadline_ns,
        .execute = decode_masks,
        .done = masks_decoded,
    };
    atomic_init(&job->cancelled, false);
    nx_status status = nx_sam_prompt_fit(&job->options.prompt, width, height, err);
    if (status != NX_OK) {
        nx_segment_job_free(job);
        return status;
    }
    *out = job;
    return NX_OK;
}

nx_status nx_segment_job_new(nx_sam *sam, nx_engine *engine, const void *bytes, size_t size,
                             const nx_segment_job_options *options, nx_segment_job **out,
                             nx_error *err)
{
    nx_image_info info;
    *out = NULL;
    nx_status status = nx_image_probe(bytes, size, options->max_pixels, &info, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_content_hash id = nx_content_hash_of(bytes, size);
    status = new_job(sam, engine, &id, info.width, info.height, options, out, err);
    if (status == NX_OK) {
        (*out)->bytes = bytes;
        (*out)->size = size;
    }
    return status;
}

nx_status nx_segment_job_new_by_id(nx_sam *sam, nx_engine *engine, const nx_content_hash *id,
                                   const nx_segment_job_options *options, nx_segment_job **out,
                                   nx_error *err)
{
    *out = NULL;
    nx_embedding *embedding = nx_embedding_cache_find(nx_sam_cache(sam), id);
    if (embedding == NULL) {
        return nx_error_set(err, NX_ERR_NOT_FOUND,
                            "there is no picture of that image_id (any more)");
    }
    nx_status status =
        new_job(sam, engine, id, embedding->width, embedding->height, options, out, err);
    if (status != NX_OK) {
        nx_embedding_release(embedding);
        return status;
    }
    (*out)->embedding = embedding;
    (*out)->origin = NX_EMBEDDING_CACHED;
    return NX_OK;
}

nx_status nx_segment_job_submit(nx_segment_job *job, nx_segment_job_done done, void *user,
                                nx_error *err)
{
    job->done = done;
    job->user = user;
    job->submitted_ns = nx_clock_now_ns();
    if (job->embedding != NULL) {
        return start_decoding(job, err);
    }
    switch (nx_embedding_cache_claim(nx_sam_cache(job->sam), &job->claim, &job->embedding)) {
    case NX_CLAIM_READY:
        job->origin = NX_EMBEDDING_CACHED;
        return start_decoding(job, err);
    case NX_CLAIM_LEADS:
        return start_encoding(job, err);
    case NX_CLAIM_WAITS:
        return NX_OK;
    case NX_CLAIM_NO_MEMORY:
        break;
    }
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the picture's job");
}

bool nx_segment_job_cancel(nx_segment_job *job)
{
    atomic_store(&job->cancelled, true);
    if (nx_embedding_cache_withdraw(nx_sam_cache(job->sam), &job->claim)) {
        nx_error err = {0};
        finish(job, check_cancelled(job, &err), &err);
        return true;
    }
    return nx_engine_cancel(job->engine, &job->encode) ||
           nx_engine_cancel(job->engine, &job->decode);
}

nx_buffer nx_segment_job_take_mask_png(nx_segment_job *job)
{
    nx_buffer picture = job->mask_png;
    job->mask_png = (nx_buffer)NX_BUFFER_INIT;
    return picture;
}

nx_buffer nx_segment_job_take_picture(nx_segment_job *job)
{
    nx_buffer picture = job->picture;
    job->picture = (nx_buffer)NX_BUFFER_INIT;
    return picture;
}

nx_buffer nx_segment_job_take_json(nx_segment_job *job)
{
    nx_buffer text = job->text;
    job->text = (nx_buffer)NX_BUFFER_INIT;
    return text;
}

nx_segment_result nx_segment_job_result(const nx_segment_job *job)
{
    nx_segment_result result = {
        .model = nx_sam_name(job->sam),
        .device = nx_sam_device(job->sam),
        .image_width = job->width,
        .image_height = job->height,
        .masks = &job->masks,
        .origin = job->origin,
        .timings =
            {
                .queue = nx_clock_ms(job->queue_ns),
                .decode = nx_clock_ms(job->decode_ns),
                .preprocess = nx_clock_ms(job->preprocess_ns),
                .encoder = nx_clock_ms(job->encoder_ns),
                .decoder = nx_clock_ms(job->masks.run_ns),
                .postprocess = nx_clock_ms(job->postprocess_ns),
                .total = nx_clock_ms(job->total_ns),
            },
    };
    nx_content_hash_write(&job->id, result.image_id);
    return result;
}

void nx_segment_job_free(nx_segment_job *job)
{
    if (job != NULL) {
        nx_embedding_release(job->embedding);
        nx_sam_masks_free(&job->masks);
        nx_buffer_free(&job->mask_png);
        nx_buffer_free(&job->picture);
        nx_buffer_free(&job->text);
        free(job);
    }
}

/* --- waiting ------------------------------------------------------------------------------------
 */

static void wake(nx_segment_job *job, nx_status status, const nx_error *err, void *user)
{
    (void)job;
    nx_waiter_finish(user, status, err);
}

nx_status nx_segment_job_run(nx_segment_job *job, nx_error *err)
{
    nx_waiter waiter;
    nx_waiter_init(&waiter);
    return nx_waiter_end(&waiter, nx_segment_job_submit(job, wake, &waiter, err), err);
}
