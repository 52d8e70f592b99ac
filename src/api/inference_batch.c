/*
 * POST /api/v1/inference/batch: up to 100 pictures, each with a result or an error of its own.
 *
 * A batch keeps a window of jobs in the engine, and each completion submits the next, so that it
 * neither fills the queue nor leaves workers idle. Its lock guards the items' progress; it is held
 * while jobs are submitted (the engine's lock nests inside) and never while they are cancelled,
 * because cancelling calls `finished` on the same thread.
 */
#include "api/inference.h"
#include "api/model_use.h"
#include "api/payload.h"
#include "api/predictions.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "http/negotiate.h"

#include <stdlib.h>
#include <string.h>

typedef struct batch batch;

typedef struct batch_item {
    batch *batch;
    size_t index;
    const void *bytes; /* of the picture, once it is known */
    size_t size;
    const json_t *base64; /* the picture, when it came so; decoded just before its turn */
    nx_buffer decoded;
    const char *source;
    nx_image_job *job; /* kept until the batch ends: cancelling may look at it any time */
    nx_prediction_look look;
    nx_buffer json; /* the item's part of the answer */
} batch_item;

struct batch {
    nx_model_use use; /* first */
    nx_api *api;
    nx_http_request *request;
    nx_option_rules rules;
    nx_api_options options;
    json_t *document; /* the body, when it was JSON */
    nx_prediction_policy policy;
    batch_item *items;
    size_t count;
    size_t window;
    int64_t started_ns;

    pthread_mutex_t lock; /* guards what follows, and item.job and item.json */
    size_t next;          /* the first item without a turn yet */
    size_t running;
    size_t succeeded;
    bool cancelled;
};

static void free_batch(void *context)
{
    batch *self = context;
    for (size_t i = 0; i < self->count; i++) {
        nx_image_job_free(self->items[i].job);
        nx_buffer_free(&self->items[i].decoded);
        nx_buffer_free(&self->items[i].json);
    }
    free(self->items);
    json_decref(self->document);
    nx_model_use_release(&self->use);
    pthread_mutex_destroy(&self->lock);
    nx_api_inference_ends(self->api);
    free(self);
}

/* --- the answer ---------------------------------------------------------------------------------
 */

static void begin_item(const batch_item *item, const char *status, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_int(json, "index", (int64_t)item->index);
    nx_json_key_string(json, "source", item->source);
    nx_json_key_string(json, "status", status);
}

static void write_error(batch_item *item, const nx_problem *problem)
{
    nx_json json = nx_json_begin(&item->json);
    begin_item(item, "error", &json);
    nx_json_key(&json, "error");
    nx_json_object_begin(&json);
    nx_problem_json_members(problem, NULL, NULL, &json);
    nx_json_object_end(&json);
    nx_json_object_end(&json);
}

static void write_result(batch_item *item, const nx_result *result, bool cached)
{
    nx_json json = nx_json_begin(&item->json);
    begin_item(item, "ok", &json);
    nx_json_key_bool(&json, "cached", cached);
    nx_result_json_members(result, &json);
    nx_json_object_end(&json);
}

static void reply(batch *self)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "request_id", nx_http_request_id(self->request));
    nx_json_key_string(&json, "model", nx_registry_name(self->use.handle));
    nx_json_key(&json, "items");
    nx_json_array_begin(&json);
    for (size_t i = 0; i < self->count; i++) {
        batch_item *item = &self->items[i];
        out.failed |= item->json.failed || item->json.size == 0;
        nx_json_raw(&json, item->json.data, item->json.size);
    }
    nx_json_array_end(&json);
    nx_json_key_int(&json, "succeeded", (int64_t)self->succeeded);
    nx_json_key_int(&json, "failed", (int64_t)(self->count - self->succeeded));
    nx_json_key(&json, "timings_ms");
    nx_json_object_begin(&json);
    nx_json_key_number(&json, "total", nx_clock_ms(nx_clock_now_ns() - self->started_ns), 3);
    nx_json_object_end(&json);
    nx_json_object_end(&json);
    nx_http_reply(self->request, 200, "application/json", &out);
}

static void reply_cancelled(batch *self)
{
    nx_error err;
    nx_error_set(&err, NX_ERR_CANCELLED, "the client went away");
    nx_problem problem = nx_api_problem_of(self->api, self->request, NX_ERR_CANCELLED, &err);
    nx_http_reply_problem(self->request, &problem);
}

/* --- progress -----------------------------------------------------------------------------------
 */

static void finished(nx_image_job *job, nx_status status, const nx_error *err, void *user);

static void fail_item(batch_item *item, nx_status status, const nx_error *err)
{
    nx_api *api = item->batch->api;
    nx_api_record(api, item->batch->request, status, NULL, false);
    nx_problem problem = nx_api_problem_of(api, item->batch->request, status, err);
    write_error(item, &problem);
}

/* Writes the item's result when it was found before; the lock is held. */
static bool find_item(batch_item *item)
{
    batch *self = item->batch;
    const nx_model_spec *spec = nx_model_get_spec(nx_model_use_model(&self->use));
    const nx_prediction_question question = {
        .model = spec,
        .version = nx_registry_version(self->use.handle),
        .options = &self->options.postprocess,
        .max_pixels = self->api->max_pixels,
    };
    const int64_t start_ns = nx_clock_now_ns();
    nx_record record;
    item->look.policy = self->policy;
    if (!nx_predictions_look(self->api->predictions, &item->look, &question, item->bytes,
                             item->size, &record)) {
        return false;
    }
    nx_result result = nx_record_result(&record);
    result.model = spec->name;
    result.device = spec->device;
    result.names = spec->names;
    result.timings.total = nx_clock_ms(nx_clock_now_ns() - start_ns);
    write_result(item, &result, true);
    self->succeeded++;
    nx_record_free(&record);
    nx_buffer_free(&item->decoded);
    return true;
}

/* Gives an item its turn; the lock is held. False: the engine has no room now, try it later. */
static bool start_item(batch_item *item)
{
    batch *self = item->batch;
    nx_problem problem;
    if (item->base64 != NULL && item->bytes == NULL) {
        if (!nx_payload_base64("image", json_string_value(item->base64),
                               json_string_length(item->base64), &item->decoded, &problem)) {
            write_error(item, &problem);
            return true;
        }
        item->bytes = item->decoded.data;
        item->size = item->decoded.size;
    }
    if (item->job == NULL && find_item(item)) {
        return true;
    }
    nx_error err = {0};
    nx_status status = NX_OK;
    if (item->job == NULL) {
        status = nx_api_new_job(self->api, nx_model_use_model(&self->use), &self->options,
                                NX_ANNOTATE_NONE, NX_PRIORITY_BATCH, item->bytes, item->size,
                                &item->job, &err);
    }
    if (status == NX_OK) {
        status = nx_image_job_submit(item->job, self->api->deps.engine, finished, item, &err);
        if (status == NX_ERR_BUSY && self->running > 0) {
            return false;
        }
    }
    if (status == NX_OK) {
        self->running++;
    } else {
        fail_item(item, status, &err);
    }
    return true;
}

/* Fills the window; the lock is held. Returns whether the batch is over. */
static bool advance(batch *self)
{
    while (!self->cancelled && self->next < self->count && self->running < self->window &&
           start_item(&self->items[self->next])) {
        self->next++;
    }
    return self->running == 0 && (self->cancelled || self->next == self->count);
}

/* On an engine thread, or on the watch's when the client left. */
static void finished(nx_image_job *job, nx_status status, const nx_error *err, void *user)
{
    batch_item *item = user;
    batch *self = item->batch;
    pthread_mutex_lock(&self->lock);
    if (status == NX_OK) {
        nx_result result = nx_image_job_result(job);
        nx_registry_count(self->use.handle, 1);
        nx_api_record(self->api, self->request, status, &result, false);
        nx_predictions_keep(self->api->predictions, &item->look, &result);
        write_result(item, &result, false);
        self->succeeded++;
    } else {
        fail_item(item, status, err);
    }
    nx_buffer_free(&item->decoded); /* the pixels were read; 100 pictures add up */
    self->running--;
    bool over = advance(self);
    bool cancelled = self->cancelled;
    pthread_mutex_unlock(&self->lock);
    if (over) { /* nobody else looks at the batch any more */
        if (cancelled) {
            reply_cancelled(self);
        } else {
            reply(self);
        }
    }
}

static void cancel(nx_http_request *request, void *user)
{
    (void)request;
    batch *self = user;
    pthread_mutex_lock(&self->lock);
    self->cancelled = true;
    size_t started = self->next;
    pthread_mutex_unlock(&self->lock);
    (void)nx_model_use_cancel(&self->use);
    for (size_t i = 0; i < started; i++) {
        if (self->items[i].job != NULL) {
            nx_image_job_cancel(self->items[i].job, self->api->deps.engine);
        }
    }
}

/* --- reading the request ------------------------------------------------------------------------
 */

static bool make_items(batch *self, size_t count, nx_problem *problem)
{
    if (count == 0 || count > NX_API_MAX_BATCH) {
        *problem = nx_problem_make(count == 0 ? 400 : 413,
                                   "Send 1 to 100 pictures, as file fields or as \"images\".",
                                   "the batch has %zu pictures", count);
        return false;
    }
    self->items = calloc(count, sizeof *self->items);
    if (self->items == NULL) {
        *problem = nx_problem_make(503, "Try again later.", "no memory for the batch");
        return false;
    }
    self->count = count;
    for (size_t i = 0; i < count; i++) {
        self->items[i] = (batch_item){
            .batch = self, .index = i, .decoded = NX_BUFFER_INIT, .json = NX_BUFFER_INIT};
    }
    return true;
}

static bool read_form(batch *self, nx_problem *problem)
{
    size_t part_count = 0;
    size_t files = 0;
    const nx_http_part *parts = nx_http_parts(self->request, &part_count);
    for (size_t i = 0; i < part_count; i++) {
        files += parts[i].filename != NULL;
    }
    if (!make_items(self, files, problem)) {
        return false;
    }
    batch_item *next = self->items;
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].filename != NULL) {
            next->bytes = parts[i].data;
            next->size = parts[i].size;
            next->source = parts[i].filename[0] != '\0' ? parts[i].filename : NULL;
            next++;
        }
    }
    return nx_api_options_from_fields(&self->options, self->request, problem);
}

static bool read_member(batch_item *item, json_t *object, nx_problem *problem)
{
    json_t *id = json_object_get(object, "id");
    json_t *image = json_object_get(object, "image");
    bool known = json_object_size(object) == (size_t)(image != NULL) + (size_t)(id != NULL);
    if (!json_is_string(image) || !known || (id != NULL && !json_is_string(id))) {
        *problem = nx_problem_make(
            400, "Send {\"images\": [{\"id\": \"optional name\", \"image\": \"<base64>\"}]}.",
            "item %zu of images is not an object of 'image' (base64) and, if you like, 'id' (a "
            "string)",
            item->index);
        return false;
    }
    item->source = id != NULL ? json_string_value(id) : NULL;
    item->base64 = image;
    return true;
}

static bool read_json(batch *self, nx_problem *problem)
{
    const json_t *images = json_object_get(self->document, "images");
    if (!json_is_array(images)) {
        *problem = nx_problem_make(400, "Send {\"images\": [{\"image\": \"<base64>\"}]}.",
                                   "the JSON has no array 'images'");
        return false;
    }
    if (!nx_api_options_from_json(&self->options, self->document, "images", problem) ||
        !make_items(self, json_array_size(images), problem)) {
        return false;
    }
    for (size_t i = 0; i < self->count; i++) {
        if (!read_member(&self->items[i], json_array_get(images, i), problem)) {
            return false;
        }
    }
    return true;
}

static bool read_request(batch *self, nx_problem *problem)
{
    static const char *const offers[] = {"application/json"};
    const char *accept = nx_http_header(self->request, "Accept");
    if (nx_negotiate_type(accept, offers, 1) < 0) {
        *problem =
            nx_problem_make(406, "Accept application/json.", "cannot answer with %.100s", accept);
        return false;
    }
    if (!nx_api_options_from_query(&self->options, self->request, problem)) {
        return false;
    }
    return nx_http_content_type_is(self->request, "multipart/form-data") ? read_form(self, problem)
                                                                         : read_json(self, problem);
}

/* Starts the batch; the answer may free it before this returns. */
static void start(batch *self)
{
    nx_engine_stats stats = nx_engine_get_stats(self->api->deps.engine);
    self->window =
        nx_engine_window(self->api->deps.engine, nx_model_backend(nx_model_use_model(&self->use)));
    if (stats.queued >= stats.queue_size) { /* not one picture would get in */
        nx_error err;
        nx_error_set(&err, NX_ERR_BUSY, "the queue is full (%u pictures wait)", stats.queued);
        nx_problem problem = nx_api_problem_of(self->api, self->request, NX_ERR_BUSY, &err);
        nx_http_reply_problem(self->request, &problem);
        return;
    }
    pthread_mutex_lock(&self->lock);
    bool over = advance(self);
    bool cancelled = self->cancelled;
    pthread_mutex_unlock(&self->lock);
    if (over && cancelled) {
        reply_cancelled(self);
    } else if (over) {
        reply(self);
    }
}

/* The model is there. On the request's thread, or on the registry's. */
static void begin(nx_model_use *use, const nx_problem *refusal)
{
    batch *self = (batch *)use;
    nx_problem problem;
    if (refusal != NULL) {
        nx_http_reply_problem(self->request, refusal);
        return;
    }
    self->rules = nx_model_use_rules(use, false);
    self->options = nx_api_options_start(&self->rules);
    if (read_request(self, &problem)) {
        start(self);
    } else {
        nx_http_reply_problem(self->request, &problem);
    }
}

/* False: the body claims to be JSON and is not. */
static bool read_document(batch *self, nx_problem *problem)
{
    size_t size = 0;
    const char *text = nx_http_body(self->request, &size);
    if (!nx_http_content_type_is(self->request, "application/json")) {
        return true;
    }
    bool read = nx_payload_parse(text, size, &self->document, problem);
    nx_http_drop_body(self->request); /* the document has a copy, and a batch may be large */
    return read;
}

void nx_api_infer_batch(nx_http_request *request, void *user)
{
    nx_api *api = user;
    batch *self = nx_api_inference_new(api, request, sizeof *self, free_batch);
    nx_problem problem;
    if (self == NULL) {
        return;
    }
    self->api = api;
    self->request = request;
    self->started_ns = nx_clock_now_ns();
    self->policy = nx_prediction_policy_of(request);
    pthread_mutex_init(&self->lock, NULL);
    if (!read_document(self, &problem)) {
        nx_http_reply_problem(request, &problem);
        return;
    }
    nx_http_on_gone(request, cancel, self);
    nx_model_use_begin(&self->use, api, request, self->document, begin);
}
