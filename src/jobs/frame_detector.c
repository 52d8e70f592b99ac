#include "jobs/frame_detector.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* While the queue is full and none of our frames is in it, it is asked again: first after the
 * first, at last after the second time. */
#define RETRY_MIN_NS (1 * NX_NS_PER_MS)
#define RETRY_MAX_NS (50 * NX_NS_PER_MS)

typedef struct frame {
    nx_engine_task task; /* first, so that the engine's pointer is ours */
    nx_frame_detector *detector;
    uint8_t *pixels; /* owned; of the detector's size */
    nx_detections found;
    bool finished; /* guarded by the detector's lock, as what follows until it is true */
    nx_status status;
    nx_error err;
} frame;

struct nx_frame_detector {
    nx_engine *engine;
    nx_model *model;
    nx_frame_detector_options options;
    nx_letterbox letterbox;
    uint32_t window;
    uint64_t submitted, taken; /* frame n lies in frames[n % window] */
    pthread_mutex_t lock;
    pthread_cond_t ended; /* a frame is finished */
    frame frames[];
};

/* --- on engine threads --------------------------------------------------------------------------
 */

static nx_status prepare(nx_engine_task *task, void *slot, nx_error *err)
{
    frame *self = (frame *)task;
    const nx_letterbox *box = &self->detector->letterbox;
    const nx_image image = {.pixels = self->pixels,
                            .width = box->width,
                            .height = box->height,
                            .stride = (size_t)3 * box->width};
    return nx_letterbox_apply(box, &image, nx_model_get_spec(self->detector->model)->pixels, slot,
                              err);
}

static nx_status consume(nx_engine_task *task, const nx_tensor *outputs, size_t count,
                         uint32_t slot, nx_error *err)
{
    frame *self = (frame *)task;
    const nx_frame_detector *detector = self->detector;
    nx_head_output head;
    nx_status status = nx_model_head(detector->model, outputs, count, slot, task->input_width,
                                     task->input_height, &head, err);
    return status != NX_OK ? status
                           : nx_postprocess(&head, &detector->letterbox,
                                            &detector->options.postprocess, &self->found, err);
}

static void finish(nx_engine_task *task, nx_status status, const nx_error *err)
{
    frame *self = (frame *)task;
    nx_frame_detector *detector = self->detector;
    pthread_mutex_lock(&detector->lock);
    self->status = status;
    self->err = *err;
    self->finished = true;
    if (detector->options.ended != NULL) { /* under the lock: behind it the detector may be gone */
        detector->options.ended(detector->options.user);
    }
    pthread_cond_signal(&detector->ended);
    pthread_mutex_unlock(&detector->lock);
}

/* --- life ---------------------------------------------------------------------------------------
 */

static bool make_frames(nx_frame_detector *detector, uint32_t input_width, uint32_t input_height)
{
    size_t bytes = (size_t)3 * detector->letterbox.width * detector->letterbox.height;
    for (uint32_t i = 0; i < detector->window; i++) {
        frame *self = &detector->frames[i];
        self->detector = detector;
        self->finished = true;
        self->task = (nx_engine_task){
            .backend = nx_model_backend(detector->model),
            .input_width = input_width,
            .input_height = input_height,
            .priority = detector->options.priority,
            .prepare = prepare,
            .consume = consume,
            .done = finish,
        };
        self->pixels = malloc(bytes);
        if (self->pixels == NULL) {
            return false;
        }
    }
    return true;
}

nx_status nx_frame_detector_new(nx_engine *engine, nx_model *model,
                                const nx_frame_detector_options *options, nx_frame_detector **out,
                                nx_error *err)
{
    *out = NULL;
    if (options->source_width == 0 || options->source_height == 0) {
        return nx_error_set(err, NX_ERR_INVALID, "a video without a size");
    }
    uint32_t window = options->window;
    if (window == 0) {
        window = nx_engine_window(engine, nx_model_backend(model)) + 1;
    }
    nx_frame_detector *detector = calloc(1, sizeof *detector + window * sizeof(frame));
    if (detector == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a video's frames");
    }
    uint32_t input_width = 0;
    uint32_t input_height = 0;
    detector->engine = engine;
    detector->model = model;
    detector->options = *options;
    detector->window = window;
    pthread_mutex_init(&detector->lock, NULL);
    pthread_cond_init(&detector->ended, NULL);
    nx_model_input_size(model, options->source_width, options->source_height, &input_width,
                        &input_height);
    detector->letterbox =
        nx_letterbox_fit(options->source_width, options->source_height, input_width, input_height,
                         nx_model_get_spec(model)->centered);
    if (!make_frames(detector, input_width, input_height)) {
        nx_frame_detector_free(detector);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a video's frames");
    }
    *out = detector;
    return NX_OK;
}

static frame *frame_of(nx_frame_detector *detector, uint64_t number)
{
    return &detector->frames[number % detector->window];
}

static void wait_for(nx_frame_detector *detector, const frame *which)
{
    pthread_mutex_lock(&detector->lock);
    while (!which->finished) {
        pthread_cond_wait(&detector->ended, &detector->lock);
    }
    pthread_mutex_unlock(&detector->lock);
}

void nx_frame_detector_free(nx_frame_detector *detector)
{
    if (detector == NULL) {
        return;
    }
    for (uint64_t n = detector->taken; n < detector->submitted; n++) {
        (void)nx_engine_cancel(detector->engine, &frame_of(detector, n)->task);
    }
    for (uint64_t n = detector->taken; n < detector->submitted; n++) {
        wait_for(detector, frame_of(detector, n));
    }
    for (uint32_t i = 0; i < detector->window; i++) {
        free(detector->frames[i].pixels);
        nx_detections_free(&detector->frames[i].found);
    }
    pthread_cond_destroy(&detector->ended);
    pthread_mutex_destroy(&detector->lock);
    free(detector);
}

/* --- frames -------------------------------------------------------------------------------------
 */

void nx_frame_detector_size(const nx_frame_detector *detector, uint32_t *width, uint32_t *height)
{
    *width = detector->letterbox.width;
    *height = detector->letterbox.height;
}

uint32_t nx_frame_detector_pending(const nx_frame_detector *detector)
{
    return (uint32_t)(detector->submitted - detector->taken);
}

bool nx_frame_detector_has_room(const nx_frame_detector *detector)
{
    return nx_frame_detector_pending(detector) < detector->window;
}

static bool is_stopped(const nx_frame_detector *detector)
{
    return detector->options.stop != NULL && atomic_load(detector->options.stop);
}

/* Lets time pass until there may be room in the queue: when the newest of our frames has left it,
 * or else after a while. Returns how long to wait the next time. */
static int64_t wait_for_room(nx_frame_detector *detector, int64_t pause_ns)
{
    if (detector->submitted > detector->taken) {
        wait_for(detector, frame_of(detector, detector->submitted - 1));
        return pause_ns;
    }
    /* a little apart from others that wait for the same */
    int64_t apart_ns = (int64_t)((uintptr_t)detector / 64 % 1000) * 1000;
    const struct timespec pause = {.tv_nsec = pause_ns + apart_ns};
    (void)nanosleep(&pause, NULL); /* a signal ends it early, which is as good */
    return 2 * pause_ns < RETRY_MAX_NS ? 2 * pause_ns : RETRY_MAX_NS;
}

nx_status nx_frame_detector_submit(nx_frame_detector *detector, const uint8_t *pixels,
                                   nx_error *err)
{
    frame *self = frame_of(detector, detector->submitted);
    size_t bytes = (size_t)3 * detector->letterbox.width * detector->letterbox.height;
    int64_t pause_ns = RETRY_MIN_NS;
    memcpy(self->pixels, pixels, bytes);
    self->finished = false;
    if (detector->options.most_wait_ns > 0) {
        self->task.deadline_ns = nx_clock_now_ns() + detector->options.most_wait_ns;
    }
    for (;;) {
        if (is_stopped(detector)) {
            return nx_error_set(err, NX_ERR_CANCELLED, "the video's analysis was stopped");
        }
        nx_status status = nx_engine_submit(detector->engine, &self->task, err);
        if (status == NX_OK) {
            detector->submitted++;
        }
        if (status != NX_ERR_BUSY || detector->options.most_wait_ns > 0) {
            return status;
        }
        pause_ns = wait_for_room(detector, pause_ns);
    }
}

bool nx_frame_detector_is_ready(nx_frame_detector *detector)
{
    pthread_mutex_lock(&detector->lock);
    bool ready = frame_of(detector, detector->taken)->finished;
    pthread_mutex_unlock(&detector->lock);
    return ready;
}

nx_status nx_frame_detector_take(nx_frame_detector *detector, const nx_detections **out,
                                 nx_error *err)
{
    frame *self = frame_of(detector, detector->taken);
    wait_for(detector, self);
    detector->taken++;
    *out = &self->found;
    if (self->status != NX_OK && err != NULL) {
        *err = self->err;
    }
    return self->status;
}
