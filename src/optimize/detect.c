#include "optimize/detect.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CONFIDENCE     0.001F
#define IOU            0.7F
#define MAX_DETECTIONS 300
#define MAX_THREADS    64

typedef struct job {
    nx_model *model;
    const nx_samples *samples;
    uint32_t width, height; /* 0: each picture's own */
    nx_detect_progress progress;
    void *user;
    pthread_mutex_t lock; /* guards all below */
    size_t next;
    size_t done;
    nx_found *found;
    nx_status status; /* the first error; then nothing more is begun */
    nx_error err;
} job;

/* One thread's picture under way. */
typedef struct run {
    nx_letterbox letterbox;
    nx_detections found;
    uint8_t *slot;
    size_t slot_bytes;
} run;

static nx_status read_head(const nx_head_output *head, void *user, nx_error *err)
{
    run *r = user;
    nx_postprocess_options options = nx_postprocess_defaults();
    options.confidence = CONFIDENCE;
    options.iou = IOU;
    options.max_detections = MAX_DETECTIONS;
    options.multi_label = true;
    return nx_postprocess(head, &r->letterbox, &options, &r->found, err);
}

static nx_status prepare(const job *j, const nx_sample *sample, run *r, nx_error *err)
{
    const nx_model_spec *spec = nx_model_get_spec(j->model);
    uint32_t width = j->width;
    uint32_t height = j->height;
    if (width == 0) {
        nx_model_input_size(j->model, sample->source_width, sample->source_height, &width, &height);
    }
    r->letterbox = nx_letterbox_fit(sample->source_width, sample->source_height, width, height,
                                    spec->centered);
    size_t bytes = nx_model_slot_bytes(j->model, width, height);
    if (bytes > r->slot_bytes) {
        free(r->slot);
        r->slot_bytes = 0;
        r->slot = aligned_alloc(64, (bytes + 63) / 64 * 64);
        if (r->slot == NULL) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for a picture");
        }
        r->slot_bytes = bytes;
    }
    return nx_letterbox_apply(&r->letterbox, &sample->image, spec->pixels, r->slot, err);
}

static nx_status add_results(nx_found *out, size_t image, const nx_detections *found, nx_error *err)
{
    if (out->count + found->count > out->capacity) {
        size_t capacity = (out->count + found->count) * 2;
        nx_coco_result *grown = reallocarray(out->results, capacity, sizeof *grown);
        if (grown == NULL) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for the detections");
        }
        out->results = grown;
        out->capacity = capacity;
    }
    for (size_t i = 0; i < found->count; i++) {
        const nx_detection *d = &found->items[i];
        out->results[out->count++] = (nx_coco_result){
            .image = (int32_t)image,
            .category = d->class_id,
            .box = {.x = (double)d->x1,
                    .y = (double)d->y1,
                    .width = (double)d->x2 - (double)d->x1,
                    .height = (double)d->y2 - (double)d->y1},
            .score = (double)d->confidence,
        };
    }
    return NX_OK;
}

/* The lock is held. */
static void finish_picture(job *j, size_t image, nx_status decoded, nx_status status, const run *r,
                           nx_error *err)
{
    nx_found *found = j->found;
    if (decoded != NX_OK) {
        if (found->failed_count++ == 0) {
            found->failure = *err;
        }
        found->failed[image] = true;
    } else if (status == NX_OK) {
        status = add_results(found, image, &r->found, err);
    }
    if (decoded == NX_OK && status != NX_OK && j->status == NX_OK) {
        j->status = status;
        j->err = *err;
    }
    j->done++;
    if (j->progress != NULL) {
        j->progress(j->done, nx_samples_count(j->samples), j->user);
    }
}

static void detect_one(job *j, size_t image, run *r)
{
    nx_sample sample;
    nx_error err = {0};
    nx_status status = NX_OK;
    const nx_model_spec *spec = nx_model_get_spec(j->model);
    uint32_t size = spec->input_width > spec->input_height ? spec->input_width : spec->input_height;
    nx_status decoded = nx_samples_read(j->samples, image, size, &sample, &err);
    if (decoded == NX_OK) {
        status = prepare(j, &sample, r, &err);
    }
    if (decoded == NX_OK && status == NX_OK) {
        status = nx_model_run(j->model, r->slot, r->letterbox.input_width,
                              r->letterbox.input_height, read_head, r, &err);
    }
    nx_image_free(&sample.image);
    pthread_mutex_lock(&j->lock);
    finish_picture(j, image, decoded, status, r, &err);
    pthread_mutex_unlock(&j->lock);
}

static void *work(void *user)
{
    job *j = user;
    run r = {0};
    for (;;) {
        pthread_mutex_lock(&j->lock);
        bool more = j->status == NX_OK && j->next < nx_samples_count(j->samples);
        size_t image = j->next++;
        pthread_mutex_unlock(&j->lock);
        if (!more) {
            break;
        }
        detect_one(j, image, &r);
    }
    free(r.slot);
    nx_detections_free(&r.found);
    return NULL;
}

/* The threads finish in any order; the evaluation's ties go by place, so the order must not differ
 * from one time to the next. Within a picture they stand by falling score already. */
static int by_image(const void *left, const void *right)
{
    const nx_coco_result *a = left;
    const nx_coco_result *b = right;
    int order = (a->image > b->image) - (a->image < b->image);
    if (order == 0) {
        order = (a->score < b->score) - (a->score > b->score);
    }
    if (order == 0) {
        order = (a->category > b->category) - (a->category < b->category);
    }
    if (order == 0) {
        order = (a->box.x > b->box.x) - (a->box.x < b->box.x);
    }
    return order != 0 ? order : (a->box.y > b->box.y) - (a->box.y < b->box.y);
}

nx_status nx_detect_all(nx_model *model, const nx_samples *samples, uint32_t width, uint32_t height,
                        uint32_t threads, nx_detect_progress progress, void *user, nx_found *out,
                        nx_error *err)
{
    pthread_t ids[MAX_THREADS];
    uint32_t started = 0;
    *out = (nx_found){.failed = calloc(nx_samples_count(samples) + 1, sizeof(bool))};
    if (out->failed == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for the detections");
    }
    job j = {
        .model = model,
        .samples = samples,
        .width = width,
        .height = height,
        .progress = progress,
        .user = user,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .found = out,
    };
    threads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    while (started < threads && pthread_create(&ids[started], NULL, work, &j) == 0) {
        started++;
    }
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(ids[i], NULL);
    }
    pthread_mutex_destroy(&j.lock);
    if (started == 0) {
        j.status = nx_error_set(&j.err, NX_ERR_UNAVAILABLE, "no thread can be started");
    }
    if (j.status != NX_OK) {
        nx_found_free(out);
        nx_error_set(err, j.status, "%s", j.err.message);
        return j.status;
    }
    if (out->count > 1) {
        qsort(out->results, out->count, sizeof *out->results, by_image);
    }
    return NX_OK;
}

void nx_found_free(nx_found *found)
{
    free(found->results);
    free(found->failed);
    *found = (nx_found){0};
}
