/*
 * An inference on encoded pictures: each becomes an ordinary image job, so that pictures of all
 * requests share batches, and their detections become tensors.
 *
 * A request keeps a window of jobs in the engine, and each completion submits the next. Its lock
 * guards the progress; it is held while jobs are submitted (the engine's lock nests inside) and
 * never while they are cancelled, because cancelling calls `finished` on the same thread.
 */
#include "api/inference.h"
#include "api/kserve.h"
#include "api/payload.h"
#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUTS 4

typedef struct pictures_work pictures_work;

typedef struct picture {
    pictures_work *work;
    const void *bytes; /* in the body, or in decoded */
    size_t size;
    nx_buffer decoded; /* when it came as base64 */
    nx_image_job *job; /* kept until the request ends: cancelling may look at it any time */
} picture;

struct pictures_work {
    nx_kserve_call *call;
    nx_option_rules rules;
    nx_api_options options;
    picture *items;
    size_t count;
    size_t window;

    pthread_mutex_t lock; /* guards what follows, and picture.job */
    size_t next;          /* the first without a turn yet */
    size_t running;
    bool cancelled;
    nx_status status; /* of the first that failed */
    nx_error err;
    nx_kserve_sample sample;
};

static void free_work(void *context)
{
    pictures_work *work = context;
    for (size_t i = 0; i < work->count; i++) {
        nx_image_job_free(work->items[i].job);
        nx_buffer_free(&work->items[i].decoded);
    }
    free(work->items);
    pthread_mutex_destroy(&work->lock);
    free(work);
}

/* --- detections as tensors ----------------------------------------------------------------------
 */

/* The tensors of all pictures; rows beyond a picture's own detections are 0, their class is -1. */
typedef struct arrays {
    float *boxes;
    float *scores;
    int64_t *classes;
    int32_t *counts;
    size_t pictures;
    size_t most; /* detections of the picture that has the most */
} arrays;

static void free_arrays(arrays *self)
{
    free(self->boxes);
    free(self->scores);
    free(self->classes);
    free(self->counts);
}

static bool make_arrays(const pictures_work *work, arrays *out)
{
    *out = (arrays){.pictures = work->count};
    for (size_t i = 0; i < work->count; i++) {
        size_t count = nx_image_job_result(work->items[i].job).count;
        out->most = count > out->most ? count : out->most;
    }
    size_t rows = out->pictures * out->most; /* at most 100 times the largest max_detections */
    size_t room = rows > 0 ? rows : 1;
    out->boxes = calloc(room, 4 * sizeof *out->boxes);
    out->scores = calloc(room, sizeof *out->scores);
    out->classes = calloc(room, sizeof *out->classes);
    out->counts = calloc(out->pictures, sizeof *out->counts);
    return out->boxes != NULL && out->scores != NULL && out->classes != NULL && out->counts != NULL;
}

static void fill_arrays(const pictures_work *work, arrays *out)
{
    for (size_t i = 0; i < work->count; i++) {
        nx_result result = nx_image_job_result(work->items[i].job);
        out->counts[i] = (int32_t)result.count;
        for (size_t d = 0; d < out->most; d++) {
            size_t row = i * out->most + d;
            if (d >= result.count) {
                out->classes[row] = -1;
                continue;
            }
            const nx_detection *found = &result.detections[d];
            const float box[4] = {found->x1, found->y1, found->x2, found->y2};
            memcpy(out->boxes + 4 * row, box, sizeof box);
            out->scores[row] = found->confidence;
            out->classes[row] = found->class_id;
        }
    }
}

static void describe(const arrays *from, nx_tensor out[OUTPUTS])
{
    void *const data[OUTPUTS] = {from->boxes, from->scores, from->classes, from->counts};
    nx_kserve_model pictures = {.pictures = true};
    size_t count = 0; /* OUTPUTS */
    const nx_tensor *ports = nx_kserve_outputs(&pictures, &count);
    for (size_t i = 0; i < OUTPUTS; i++) {
        out[i] = ports[i];
        out[i].dims[0] = (int64_t)from->pictures;
        if (out[i].rank > 1) {
            out[i].dims[1] = (int64_t)from->most;
        }
        size_t elements = 0;
        nx_kserve_elements(out[i].dims, out[i].rank, &elements); /* small numbers all */
        out[i].bytes = elements * nx_type_size(out[i].type);
        out[i].data = data[i];
    }
}

/* The outputs in the order in which they were asked for. */
static nx_status write_answer(pictures_work *work, const nx_tensor all[OUTPUTS], nx_error *err)
{
    const nx_kserve_request *parsed = &work->call->parsed;
    if (parsed->output_count == 0) {
        return nx_kserve_write_answer(work->call, all, OUTPUTS, err);
    }
    nx_tensor chosen[OUTPUTS] = {{0}}; /* no name twice and none unknown, so at most four */
    for (size_t i = 0; i < parsed->output_count; i++) {
        for (size_t o = 0; o < OUTPUTS; o++) {
            if (strcmp(all[o].name, parsed->outputs[i].name) == 0) {
                chosen[i] = all[o];
            }
        }
    }
    return nx_kserve_write_answer(work->call, chosen, parsed->output_count, err);
}

static nx_status answer(pictures_work *work, nx_error *err)
{
    arrays values;
    nx_tensor tensors[OUTPUTS];
    nx_status status = NX_OK;
    int64_t start = nx_clock_now_ns();
    if (make_arrays(work, &values)) {
        fill_arrays(work, &values);
        describe(&values, tensors);
        status = write_answer(work, tensors, err);
    } else {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the answer");
    }
    free_arrays(&values);
    work->sample.output_ns += nx_clock_now_ns() - start;
    return status;
}

/* --- progress -----------------------------------------------------------------------------------
 */

static void finished(nx_image_job *job, nx_status status, const nx_error *err, void *user);

/* The lock is held. */
static void note_failure(pictures_work *work, const picture *item, nx_status status,
                         const nx_error *err)
{
    if (work->status == NX_OK) {
        work->status = status;
        work->err = *err;
        if (work->count > 1) {
            nx_error_prefix(&work->err, "picture %zu", (size_t)(item - work->items));
        }
    }
}

/* Gives a picture its turn; the lock is held. False: the engine has no room now, try it later. */
static bool start_picture(picture *item)
{
    pictures_work *work = item->work;
    nx_api *api = work->call->api;
    nx_error err = {0};
    nx_status status = NX_OK;
    if (item->job == NULL) {
        const nx_image_job_options options = {
            .postprocess = work->options.postprocess,
            .annotate = NX_ANNOTATE_NONE,
            .priority = NX_PRIORITY_INTERACTIVE,
            .max_pixels = api->max_pixels,
            .deadline_ns = work->call->deadline_ns,
        };
        status = nx_image_job_new(work->call->model.model, item->bytes, item->size, &options,
                                  &item->job, &err);
    }
    if (status == NX_OK) {
        status = nx_image_job_submit(item->job, api->deps.engine, finished, item, &err);
        if (status == NX_ERR_BUSY && work->running > 0) {
            return false;
        }
    }
    if (status == NX_OK) {
        work->running++;
    } else {
        note_failure(work, item, status, &err);
    }
    return true;
}

/* Fills the window; the lock is held. Returns whether all is over. */
static bool advance(pictures_work *work)
{
    while (!work->cancelled && work->status == NX_OK && work->next < work->count &&
           work->running < work->window && start_picture(&work->items[work->next])) {
        work->next++;
    }
    bool ended = work->cancelled || work->status != NX_OK || work->next == work->count;
    return work->running == 0 && ended;
}

/* Nobody else looks at the work any more. */
static void end(pictures_work *work)
{
    nx_status status = work->status;
    nx_error err = work->err;
    if (work->cancelled) {
        status = nx_error_set(&err, NX_ERR_CANCELLED, "the client went away");
    } else if (status == NX_OK) {
        status = answer(work, &err);
    }
    nx_kserve_finish(work->call, status, &err, &work->sample);
}

static void count_job(pictures_work *work, const nx_image_job *job)
{
    nx_result result = nx_image_job_result(job);
    nx_kserve_sample *sample = &work->sample;
    const double ns = (double)NX_NS_PER_MS;
    nx_api_record(work->call->api, NX_OK, &result);
    sample->executions++;
    sample->queue_ns += llround(result.timings.queue * ns);
    sample->input_ns += llround((result.timings.decode + result.timings.preprocess) * ns);
    sample->infer_ns += llround(result.timings.inference * ns);
    sample->output_ns += llround(result.timings.postprocess * ns);
}

/* On an engine thread, or on the watch's when the client left. */
static void finished(nx_image_job *job, nx_status status, const nx_error *err, void *user)
{
    picture *item = user;
    pictures_work *work = item->work;
    pthread_mutex_lock(&work->lock);
    if (status == NX_OK) {
        count_job(work, job);
    } else {
        note_failure(work, item, status, err);
    }
    work->running--;
    bool over = advance(work);
    pthread_mutex_unlock(&work->lock);
    if (over) {
        end(work);
    }
}

static void cancel(void *user)
{
    pictures_work *work = user;
    pthread_mutex_lock(&work->lock);
    work->cancelled = true;
    size_t started = work->next;
    pthread_mutex_unlock(&work->lock);
    for (size_t i = 0; i < started; i++) {
        if (work->items[i].job != NULL) {
            nx_image_job_cancel(work->items[i].job, work->call->api->deps.engine);
        }
    }
}

/* --- reading the request ------------------------------------------------------------------------
 */

static nx_status from_problem(const nx_problem *problem, nx_error *err)
{
    return nx_error_set(err, problem->status == 503 ? NX_ERR_NO_MEMORY : NX_ERR_INVALID, "%s",
                        problem->detail);
}

static nx_status check_request(const nx_kserve_call *call, nx_error *err)
{
    const nx_kserve_request *parsed = &call->parsed;
    const nx_kserve_input *input = parsed->inputs;
    if (parsed->input_count != 1 || strcmp(input->name, "image") != 0 ||
        input->datatype != nx_kserve_datatype_bytes()) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the model '%s' takes one input 'image' of BYTES: encoded pictures",
                            call->model.name);
    }
    bool fits = input->rank == 1 || (input->rank == 2 && input->dims[1] == 1);
    if (!fits || input->elements < 1 || input->elements > NX_API_MAX_BATCH) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the shape of 'image' must be [n], the number of pictures: 1 to %d",
                            NX_API_MAX_BATCH);
    }
    nx_kserve_model pictures = {.pictures = true};
    size_t count = 0;
    const nx_tensor *outputs = nx_kserve_outputs(&pictures, &count);
    for (size_t i = 0; i < parsed->output_count; i++) {
        bool known = false;
        for (size_t o = 0; o < count; o++) {
            known = known || strcmp(outputs[o].name, parsed->outputs[i].name) == 0;
        }
        if (!known) {
            return nx_error_set(
                err, NX_ERR_INVALID,
                "there is no output '%.100s': boxes, scores, classes and num_detections are there",
                parsed->outputs[i].name);
        }
    }
    return NX_OK;
}

static nx_status read_binary(pictures_work *work, const nx_kserve_input *input, nx_error *err)
{
    const char *at = input->data.text;
    const char *end = at + input->data.size;
    size_t count = 0;
    nx_json_span element;
    while (count < work->count && nx_kserve_next_bytes(&at, end, &element)) {
        work->items[count].bytes = element.text;
        work->items[count].size = element.size;
        count++;
    }
    if (count != work->count || at != end) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the binary data of 'image' is not %zu elements of 4 bytes of length "
                            "and so many bytes",
                            work->count);
    }
    return NX_OK;
}

static nx_status read_base64(picture *item, nx_json_reader *reader, nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    nx_problem problem;
    nx_status status = NX_OK;
    if (!nx_json_read_string(reader, &text)) {
        status = nx_json_reader_error(reader, err);
    } else if (!nx_payload_base64("image", text.data != NULL ? text.data : "", text.size,
                                  &item->decoded, &problem)) {
        status = from_problem(&problem, err);
    }
    nx_buffer_free(&text);
    item->bytes = item->decoded.data;
    item->size = item->decoded.size;
    return status;
}

/* JSON has no strings of any bytes, so a picture comes as base64 there. */
static nx_status read_json(pictures_work *work, const nx_kserve_input *input, nx_error *err)
{
    nx_json_reader reader = nx_json_reader_begin(input->data.text, input->data.size);
    size_t count = 0;
    if (!nx_json_enter_array(&reader)) {
        return nx_json_reader_error(&reader, err);
    }
    while (nx_json_next_element(&reader)) {
        if (count == work->count) {
            return nx_error_set(err, NX_ERR_INVALID, "'image' has more elements than its shape");
        }
        nx_status status = read_base64(&work->items[count++], &reader, err);
        if (status != NX_OK) {
            return status;
        }
    }
    if (!nx_json_at_end(&reader)) {
        return nx_json_reader_error(&reader, err);
    }
    return count == work->count
               ? NX_OK
               : nx_error_set(err, NX_ERR_INVALID, "'image' has %zu elements; its shape has %zu",
                              count, work->count);
}

/* confidence, iou, max_detections and classes may stand among the request's parameters. */
static nx_status read_options(pictures_work *work, nx_error *err)
{
    const nx_kserve_request *parsed = &work->call->parsed;
    const nx_model_spec *spec = nx_model_get_spec(work->call->model.model);
    work->rules = (nx_option_rules){
        .defaults = nx_api_defaults(work->call->api), .names = spec->names, .model = spec->name};
    work->options = nx_api_options_start(&work->rules);
    nx_api_options_next_source(&work->options);
    for (size_t i = 0; i < parsed->parameter_count; i++) {
        nx_problem problem;
        if (!nx_api_options_set(&work->options, parsed->parameters[i].name,
                                parsed->parameters[i].value, &problem)) {
            return from_problem(&problem, err);
        }
    }
    return NX_OK;
}

static nx_status read_request(pictures_work *work, nx_error *err)
{
    const nx_kserve_input *input = work->call->parsed.inputs;
    nx_status status = check_request(work->call, err);
    if (status == NX_OK) {
        status = read_options(work, err);
    }
    if (status != NX_OK) {
        return status;
    }
    work->items = calloc(input->elements, sizeof *work->items);
    if (work->items == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the pictures");
    }
    work->count = input->elements;
    for (size_t i = 0; i < work->count; i++) {
        work->items[i].work = work;
    }
    status = input->binary ? read_binary(work, input, err) : read_json(work, input, err);
    for (size_t i = 0; i < work->count && status == NX_OK; i++) {
        if (work->items[i].size == 0) {
            status = nx_error_set(err, NX_ERR_INVALID, "picture %zu is empty (0 bytes)", i);
        }
    }
    return status;
}

void nx_kserve_start_pictures(nx_kserve_call *call)
{
    nx_error err = {0};
    pictures_work *work = calloc(1, sizeof *work);
    nx_status status = NX_OK;
    if (work == NULL) {
        status = nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory for the request");
    } else {
        work->call = call;
        work->sample.batch = 1;
        pthread_mutex_init(&work->lock, NULL);
        call->work = work;
        call->free_work = free_work;
        status = read_request(work, &err);
    }
    if (status == NX_OK) {
        work->window = 2 * (size_t)nx_engine_get_stats(call->api->deps.engine).workers;
        atomic_store(&call->cancel_work, cancel);
        status = nx_kserve_check_gone(call, &err);
    }
    if (status != NX_OK) {
        nx_kserve_finish(call, status, &err, &(nx_kserve_sample){0});
        return;
    }
    pthread_mutex_lock(&work->lock);
    bool over = advance(work);
    pthread_mutex_unlock(&work->lock);
    if (over) {
        end(work);
    }
}
