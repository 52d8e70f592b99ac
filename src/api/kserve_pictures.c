/*
 * An inference on encoded pictures: each becomes a prediction as those of /api/v1/inference are,
 * from the cache, with another request or as an ordinary image job, so that pictures of all
 * requests share batches; and their detections become tensors.
 *
 * A request gives a window of its pictures their turn, and each that ends lets others follow. Its
 * lock guards the progress; it is held while jobs are submitted (the engine's lock nests inside),
 * and never while predictions begin or end or jobs are cancelled, because that may call back on the
 * same thread.
 */
#include "api/inference.h"
#include "api/kserve.h"
#include "api/payload.h"
#include "api/predictions.h"
#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct pictures_work pictures_work;

typedef struct picture {
    nx_prediction prediction; /* first */
    pictures_work *work;
    const void *bytes; /* in the body, or in decoded */
    size_t size;
    nx_buffer decoded; /* when it came as base64 */
    _Atomic(nx_image_job *)
        job;               /* kept until the request ends: cancelling may look at it any time */
    nx_detection *copy;    /* owned: of what was found by another */
    nx_kserve_found found; /* in the job or the copy */
    int64_t began_ns;
    bool needs_room; /* its job is to be submitted once the engine has room */
} picture;

struct pictures_work {
    nx_kserve_call *call;
    nx_option_rules rules;
    nx_api_options options;
    picture *items;
    size_t count;
    size_t window;

    pthread_mutex_t lock; /* guards what follows, and picture.needs_room */
    size_t next;          /* the first without a turn yet */
    size_t running;       /* have had their turn and have not ended */
    size_t submitted;     /* of these, in the engine */
    bool full;            /* the engine was, and none has ended there since */
    bool advancing;       /* a thread gives turns; the others tell it that it may go on */
    bool again;
    bool over;
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
        free(work->items[i].copy);
    }
    free(work->items);
    pthread_mutex_destroy(&work->lock);
    free(work);
}

/* --- the answer ---------------------------------------------------------------------------------
 */

/* Where the detections come from, for all pictures together: X-Cache. */
static void tell_origin(const pictures_work *work)
{
    nx_prediction_origin origin = NX_PREDICTION_HIT;
    for (size_t i = 0; i < work->count; i++) {
        nx_prediction_origin its = work->items[i].prediction.origin;
        if (its == NX_PREDICTION_PLAIN || its == NX_PREDICTION_MISS) {
            origin = its;
            break;
        }
        origin = its == NX_PREDICTION_JOIN ? its : origin;
    }
    const char *name = nx_prediction_origin_name(origin);
    if (name != NULL) {
        nx_http_add_header(work->call->request, "X-Cache", name);
    }
}

static nx_status answer(pictures_work *work, nx_error *err)
{
    int64_t start = nx_clock_now_ns();
    nx_kserve_found *found = calloc(work->count, sizeof *found);
    nx_status status = NX_OK;
    if (found == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the answer");
    }
    for (size_t i = 0; i < work->count; i++) {
        found[i] = work->items[i].found;
    }
    status = nx_kserve_write_detections(work->call, found, work->count, err);
    free(found);
    if (status == NX_OK) {
        tell_origin(work);
    }
    work->sample.output_ns += nx_clock_now_ns() - start;
    return status;
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

/* --- progress -----------------------------------------------------------------------------------
 */

/* No more turns; the lock is held. */
static bool is_ending(const pictures_work *work)
{
    return work->cancelled || work->status != NX_OK;
}

/* Whose turn it is; NULL: nobody's for now. The lock is held. */
static picture *next_turn(pictures_work *work)
{
    for (size_t i = 0; i < work->next && (is_ending(work) || !work->full); i++) {
        if (work->items[i].needs_room) {
            work->items[i].needs_room = false;
            return &work->items[i];
        }
    }
    bool more = !is_ending(work) && !work->full && work->next < work->count;
    if (!more || work->running >= work->window) {
        return NULL;
    }
    work->running++;
    return &work->items[work->next++];
}

static void begin(picture *item)
{
    const nx_kserve_model *model = &item->work->call->model;
    const nx_prediction_question question = {
        .model = nx_model_get_spec(model->model),
        .version = nx_registry_version(model->handle),
        .options = &item->work->options.postprocess,
        .max_pixels = item->work->call->api->max_pixels,
    };
    item->began_ns = nx_clock_now_ns();
    nx_prediction_begin(&item->prediction, &question, item->bytes, item->size);
}

static void run(nx_prediction *prediction);

/* Gives turns. Of threads that come here at once one does; what it begins may call back to here
 * before it returns. */
static void advance(pictures_work *work)
{
    picture *item = NULL;
    pthread_mutex_lock(&work->lock);
    work->again = true;
    if (work->advancing) {
        pthread_mutex_unlock(&work->lock);
        return;
    }
    work->advancing = true;
    while (work->again) {
        work->again = false;
        while ((item = next_turn(work)) != NULL) {
            pthread_mutex_unlock(&work->lock);
            if (item->began_ns == 0) {
                begin(item);
            } else { /* it has waited for room */
                run(&item->prediction);
            }
            pthread_mutex_lock(&work->lock);
        }
    }
    work->advancing = false;
    bool ended = work->running == 0 && (is_ending(work) || work->next == work->count);
    bool over = ended && !work->over;
    work->over |= ended;
    pthread_mutex_unlock(&work->lock);
    if (over) {
        end(work);
    }
}

/* A picture's turn is over. */
static void end_turn(picture *item, nx_status status, const nx_error *err)
{
    pictures_work *work = item->work;
    pthread_mutex_lock(&work->lock);
    work->running--;
    if (status != NX_OK && work->status == NX_OK) {
        work->status = status;
        work->err = *err;
        if (work->count > 1) {
            nx_error_prefix(&work->err, "picture %zu", (size_t)(item - work->items));
        }
    }
    pthread_mutex_unlock(&work->lock);
    advance(work);
}

static void count_job(pictures_work *work, const nx_result *result)
{
    nx_kserve_sample *sample = &work->sample;
    const double ns = (double)NX_NS_PER_MS;
    sample->executions++;
    sample->queue_ns += llround(result->timings.queue * ns);
    sample->input_ns += llround((result->timings.decode + result->timings.preprocess) * ns);
    sample->infer_ns += llround(result->timings.inference * ns);
    sample->output_ns += llround(result->timings.postprocess * ns);
}

/* On an engine thread, or on the watch's when the client left. */
static void finished(nx_image_job *job, nx_status status, const nx_error *err, void *user)
{
    picture *item = user;
    pictures_work *work = item->work;
    nx_result result = {0};
    if (status == NX_OK) {
        result = nx_image_job_result(job);
        item->found = (nx_kserve_found){result.detections, result.count};
        nx_api_record(work->call->api, work->call->request, status, &result, work->count == 1);
        nx_prediction_ran(&item->prediction, &result);
    } else {
        nx_prediction_did_not_run(&item->prediction, status, err);
    }
    pthread_mutex_lock(&work->lock);
    work->submitted--;
    work->full = false;
    if (status == NX_OK) {
        count_job(work, &result);
    }
    pthread_mutex_unlock(&work->lock);
    end_turn(item, status, err);
}

/* The lock is held. NX_ERR_BUSY with item->needs_room: later, when one of those in the engine has
 * ended; not of another request's, which might wait for this one. */
static nx_status submit(picture *item, nx_error *err)
{
    pictures_work *work = item->work;
    if (is_ending(work)) {
        return nx_error_set(err, NX_ERR_CANCELLED, "the request is not answered any more");
    }
    nx_status status =
        nx_image_job_submit(item->job, work->call->api->deps.engine, finished, item, err);
    if (status == NX_OK) {
        work->submitted++;
    } else if (status == NX_ERR_BUSY && work->submitted > 0) {
        work->full = item->needs_room = true;
    }
    return status;
}

/* --- a picture's prediction ---------------------------------------------------------------------
 */

static nx_status new_job(picture *item, nx_error *err)
{
    const pictures_work *work = item->work;
    const nx_image_job_options options = {
        .postprocess = work->options.postprocess,
        .annotate = NX_ANNOTATE_NONE,
        .priority = NX_PRIORITY_INTERACTIVE,
        .max_pixels = work->call->api->max_pixels,
        .deadline_ns = work->call->deadline_ns,
    };
    nx_image_job *job = NULL;
    nx_status status =
        nx_image_job_new(work->call->model.model, item->bytes, item->size, &options, &job, err);
    atomic_store(&item->job, job);
    return status;
}

/* The lock is held. */
static void count_look(pictures_work *work, const picture *item)
{
    int64_t ns = nx_clock_now_ns() - item->began_ns;
    switch (item->prediction.origin) {
    case NX_PREDICTION_PLAIN:
        break;
    case NX_PREDICTION_MISS:
        work->sample.cache_misses++;
        work->sample.cache_miss_ns += ns;
        break;
    case NX_PREDICTION_HIT:
    case NX_PREDICTION_JOIN:
        work->sample.cache_hits++;
        work->sample.cache_hit_ns += ns;
        break;
    }
}

/* The model has to run. */
static void run(nx_prediction *prediction)
{
    picture *item = (picture *)prediction;
    pictures_work *work = item->work;
    nx_error err = {0};
    bool first = item->job == NULL;
    nx_status status = first ? new_job(item, &err) : NX_OK;
    bool later = false;
    pthread_mutex_lock(&work->lock);
    if (first) {
        count_look(work, item);
    }
    if (status == NX_OK) {
        status = submit(item, &err);
        later = item->needs_room;
    }
    pthread_mutex_unlock(&work->lock);
    if (status != NX_OK && !later) {
        nx_prediction_did_not_run(prediction, status, &err);
        end_turn(item, status, &err);
    }
}

/* Somebody found it before, or meanwhile. */
static void found(nx_prediction *prediction, const nx_result *what)
{
    picture *item = (picture *)prediction;
    nx_error err = {0};
    nx_status status = NX_OK;
    item->copy = calloc(what->count > 0 ? what->count : 1, sizeof *item->copy);
    if (item->copy == NULL) {
        status = nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory for the detections");
    } else if (what->count > 0) {
        memcpy(item->copy, what->detections, what->count * sizeof *item->copy);
    }
    item->found = (nx_kserve_found){item->copy, what->count};
    pthread_mutex_lock(&item->work->lock);
    count_look(item->work, item);
    pthread_mutex_unlock(&item->work->lock);
    end_turn(item, status, &err);
}

/* What another failed of, this one would too. */
static void failed(nx_prediction *prediction, nx_status status, const nx_error *err)
{
    end_turn((picture *)prediction, status, err);
}

static void cancel(void *user)
{
    pictures_work *work = user;
    pthread_mutex_lock(&work->lock);
    work->cancelled = true;
    size_t started = work->next;
    pthread_mutex_unlock(&work->lock);
    for (size_t i = 0; i < started; i++) {
        picture *item = &work->items[i];
        nx_image_job *job = atomic_load(&item->job);
        if (nx_prediction_withdraw(&item->prediction)) {
            nx_error err;
            end_turn(item, nx_error_set(&err, NX_ERR_CANCELLED, "the client went away"), &err);
        } else if (job != NULL) {
            nx_image_job_cancel(job, work->call->api->deps.engine);
        }
    }
    advance(work); /* lets go of those that wait for room */
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
    const nx_prediction_policy policy = nx_prediction_policy_of(work->call->request);
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
        picture *item = &work->items[i];
        item->work = work;
        item->decoded = (nx_buffer)NX_BUFFER_INIT;
        item->prediction.run = run;
        item->prediction.found = found;
        item->prediction.failed = failed;
        nx_prediction_prepare(&item->prediction, work->call->api->predictions, policy,
                              &work->call->gone);
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
    advance(work);
}
