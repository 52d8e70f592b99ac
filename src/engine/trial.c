/* Runs a model on gray before anybody needs it: to prove it, to warm it, and to measure it. */
#include "base/clock.h"
#include "base/log.h"
#include "engine/model_internal.h"

#include <stdlib.h>
#include <string.h>

/* What measuring batches may cost at start; a model too slow for it gains nothing on a CPU anyway.
 */
#define MEASURE_NS (400 * NX_NS_PER_MS)
#define MEASURE_GPU_NS                                                                             \
    (10 * NX_NS_PER_SEC) /* the first Run of a batch size takes longest there                      \
                          */
/* Less gain than this is noise. */
#define WORTH_IT 1.05
/* More loss than this is none. */
#define CLEARLY 1.10

/* 114 / 255 in IEEE 754 binary16 */
#define GRAY_F16 0x3727

typedef struct trial {
    uint32_t batch, width, height;
    nx_session *session;
    const nx_model *model;
    /* what came of it */
    nx_tensor outputs[NX_HEAD_MAX_OUTPUTS]; /* shapes alone */
    size_t output_count;
    bool fits;  /* the head, once that is known, in every slot */
    int64_t ns; /* of the fastest Run */
} trial;

static bool on_cpu(const nx_model *model)
{
    return strcmp(nx_session_device(model->session), "cpu") == 0;
}

static nx_status keep_shapes(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    (void)err;
    trial *self = user;
    nx_head_output unused;
    self->fits = outputs[0].rank > 0 && outputs[0].dims[0] == self->batch &&
                 nx_head_view(&self->model->head, outputs, count, self->batch - 1, self->width,
                              self->height, &unused);
    self->output_count = count;
    for (size_t i = 0; i < count; i++) {
        self->outputs[i] = outputs[i];
        self->outputs[i].data = NULL;
    }
    return NX_OK;
}

void nx_model_fill_gray(const nx_model *model, void *slots, uint32_t count, uint32_t width,
                        uint32_t height)
{
    size_t bytes = count * nx_model_slot_bytes(model, width, height);
    float *floats = slots;
    uint16_t *halves = slots;
    switch (model->spec.pixels) {
    case NX_PIXELS_RGB_UNIT:
        for (size_t i = 0; i < bytes / sizeof *floats; i++) {
            floats[i] = NX_LETTERBOX_FILL / 255.0F;
        }
        break;
    case NX_PIXELS_BGR_BYTE:
        for (size_t i = 0; i < bytes / sizeof *floats; i++) {
            floats[i] = NX_LETTERBOX_FILL;
        }
        break;
    case NX_PIXELS_RGB_UNIT_F16:
        for (size_t i = 0; i < bytes / sizeof *halves; i++) {
            halves[i] = GRAY_F16;
        }
        break;
    case NX_PIXELS_RGB_BYTE_NHWC:
        memset(slots, NX_LETTERBOX_FILL, bytes);
        break;
    }
}

/* `times` Runs, of which the fastest counts. */
static nx_status run_gray(nx_model *model, trial *self, int times, nx_error *err)
{
    self->model = model;
    void *pictures = NULL;
    if (posix_memalign(&pictures, 64,
                       self->batch * nx_model_slot_bytes(model, self->width, self->height)) != 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for an input of %ux%u", self->width,
                            self->height);
    }
    nx_model_fill_gray(model, pictures, self->batch, self->width, self->height);
    nx_status status = NX_OK;
    self->ns = INT64_MAX;
    for (int i = 0; i < times && status == NX_OK; i++) {
        int64_t start = nx_clock_now_ns();
        status = nx_model_run_on(model, self->session, pictures, self->batch, self->width,
                                 self->height, keep_shapes, self, err);
        int64_t took = nx_clock_now_ns() - start;
        self->ns = took < self->ns ? took : self->ns;
    }
    free(pictures);
    return status;
}

/* --- what is declared free ----------------------------------------------------------------------
 */

/*
 * Many exporters declare height and width free and leave constants in the graph that fit one size.
 * Such a model is as good as any other of a fixed size.
 */
static void check_free_size(nx_model *model)
{
    nx_model_spec *spec = &model->spec;
    nx_error err = {0};
    trial wide = {.session = model->session, .batch = 1};
    nx_letterbox_dynamic_size(16, 9, spec->input_width, spec->stride, &wide.width, &wide.height);
    if (run_gray(model, &wide, 1, &err) != NX_OK || !wide.fits) {
        spec->dynamic_size = false;
        nx_log_info("engine", "%s: its size is declared free but it works at %ux%u alone",
                    model->name, spec->input_width, spec->input_height);
    }
}

/* The smallest of the usual sizes. */
static trial usual_trial(const nx_model *model, uint32_t batch)
{
    trial result = {.session = model->session, .batch = batch};
    nx_model_input_size(model, 16, 9, &result.width, &result.height);
    return result;
}

/* The same for the number of pictures. */
static void check_free_batch(nx_model *model)
{
    nx_error err = {0};
    trial pair = usual_trial(model, 2);
    if (run_gray(model, &pair, 1, &err) != NX_OK || !pair.fits) {
        model->spec.dynamic_batch = false;
        nx_log_info("engine", "%s: its batch is declared free but it works with one picture alone",
                    model->name);
    }
}

/* --- what pays ----------------------------------------------------------------------------------
 */

/*
 * Pictures a second of one thread by batch size. Workers run side by side, one thread each, so what
 * pays for one of them pays for all. Doubles the batch until it stops paying.
 */
static void measure_batches(nx_model *model)
{
    nx_error err = {0};
    trial one = usual_trial(model, 1);
    int64_t until = nx_clock_now_ns() + (on_cpu(model) ? MEASURE_NS : MEASURE_GPU_NS);
    if (model->max_batch < 2 || run_gray(model, &one, 2, &err) != NX_OK) {
        return;
    }
    double best = 1 / (double)one.ns;
    for (uint32_t batch = 2; batch <= model->max_batch; batch *= 2) {
        if (nx_clock_now_ns() + 2 * one.ns * batch > until) {
            break;
        }
        trial many = usual_trial(model, batch);
        if (run_gray(model, &many, 2, &err) != NX_OK || batch / (double)many.ns < best * WORTH_IT) {
            break;
        }
        best = batch / (double)many.ns;
        model->spec.best_batch = batch;
    }
    nx_log_debug("engine", "%s: %.1f ms a picture, %.1f in batches of %u", model->name,
                 nx_clock_ms(one.ns), 1 / best / (double)NX_NS_PER_MS, model->spec.best_batch);
}

/* Keeps the session with threads unless it is clearly slower, as it is for the smallest graphs. On
 * a busy machine both are slow, which says nothing. */
static void measure_alone(nx_model *model, const nx_model_options *options)
{
    if (model->alone == NULL) {
        return;
    }
    nx_error err = {0};
    trial one = usual_trial(model, 1);
    trial alone = usual_trial(model, 1);
    alone.session = model->alone;
    bool ran = run_gray(model, &one, 2, &err) == NX_OK && run_gray(model, &alone, 3, &err) == NX_OK;
    nx_log_debug("engine", "%s alone: %.2f ms on one thread, %.2f on %u", model->name,
                 nx_clock_ms(one.ns), nx_clock_ms(alone.ns), options->alone_threads);
    if (ran && (double)alone.ns < (double)one.ns * CLEARLY) {
        model->spec.alone_threads = options->alone_threads;
        return;
    }
    nx_session_free(model->alone);
    model->alone = NULL;
}

/* One batch size at the shapes that most pictures have. */
static nx_status warm_batch(nx_model *model, uint32_t batch, nx_error *err)
{
    static const uint32_t shapes[][2] = {{16, 9}, {9, 16}, {4, 3}, {3, 4}, {1, 1}};
    size_t count = model->spec.dynamic_size ? sizeof shapes / sizeof shapes[0] : 1;
    nx_status status = NX_OK;
    for (size_t i = 0; i < count && status == NX_OK; i++) {
        trial one = {.session = model->session, .batch = batch};
        nx_model_input_size(model, shapes[i][0], shapes[i][1], &one.width, &one.height);
        status = run_gray(model, &one, 1, err);
    }
    return status;
}

/*
 * Every batch size that may come: 2, 4 and so on up to the largest. A single picture needs no more
 * than the Runs above on a CPU, where a new shape costs nothing; on a GPU it may cost seconds.
 */
static nx_status warm(nx_model *model, const nx_model_options *options, nx_error *err)
{
    uint32_t largest = options->max_batch > 0 ? model->max_batch : model->spec.best_batch;
    nx_status status = on_cpu(model) ? NX_OK : warm_batch(model, 1, err);
    for (uint32_t batch = 2; batch < largest && status == NX_OK; batch *= 2) {
        status = warm_batch(model, batch, err);
    }
    if (largest > 1 && status == NX_OK) {
        status = warm_batch(model, largest, err);
    }
    return status;
}

static nx_status prove(nx_model *model, nx_error *err)
{
    nx_model_spec *spec = &model->spec;
    trial first = {.session = model->session,
                   .batch = 1,
                   .width = spec->input_width,
                   .height = spec->input_height};
    nx_status status = run_gray(model, &first, 1, err);
    if (status == NX_ERR_INTERNAL) {
        const nx_error words = *err;
        return nx_error_set(err, NX_ERR_INVALID,
                            "%.200s declares an input of %ux%u pixels (width x height), but its "
                            "graph fails on it: %.200s",
                            model->path, first.width, first.height, words.message);
    }
    if (status == NX_OK) {
        status = nx_head_recognise(&model->metadata, first.outputs, first.output_count, first.width,
                                   first.height, model->path, &model->head, err);
    }
    return status;
}

nx_status nx_model_try(nx_model *model, const nx_model_options *options, nx_error *err)
{
    model->spec.best_batch = 1;
    model->spec.alone_threads = 1;
    nx_status status = prove(model, err);
    if (status != NX_OK) {
        return status;
    }
    if (model->spec.dynamic_size) {
        check_free_size(model);
    }
    if (model->spec.dynamic_batch) {
        check_free_batch(model);
    }
    model->max_batch = options->max_batch > 0 ? options->max_batch : NX_MODEL_MAX_BATCH;
    if (!model->spec.dynamic_batch) {
        model->max_batch = 1;
    }
    measure_alone(model, options);
    measure_batches(model);
    return warm(model, options, err);
}
