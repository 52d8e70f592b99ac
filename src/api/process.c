/*
 * POST /api/v1/videos/process: a job for a video that is there, for one in the same request, or for
 * a file on the server's disk. The options are a JSON object, or the field "options" of a form
 * whose file is the video.
 */
#include "analytics/zones_parse.h"
#include "api/gate.h"
#include "api/inference.h"
#include "api/jobs.h"
#include "api/model_access.h"
#include "api/payload.h"
#include "api/video_paths.h"
#include "api/videos.h"
#include "base/log.h"
#include "base/suggest.h"
#include "base/uuid.h"
#include "jobs/webhook_url.h"
#include "vision/class_filter.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_JSON     ((size_t)1 << 20)
#define MOST_PRIORITY 100
#define MOST_KEY      255
/* Of strikes: times that a job is taken without getting on. */
#define MAX_ATTEMPTS 5

static const char advice[] = "Send a JSON object such as {\"video_id\": \"...\", \"stride\": 2}.";

/* The context of the request. */
typedef struct submission {
    nx_api *api;
    nx_buffer json;           /* the body, unless it is a form */
    const nx_http_part *file; /* of a form; NULL: none */
    char upload[NX_UUID_SIZE];
    bool may_take_long; /* on a thread for that */
} submission;

/* What is wanted. */
typedef struct order {
    nx_video_spec spec;
    const char *video_id; /* NULL: not given; these three belong to the document */
    const char *path;
    const char *webhook_url;
    int64_t priority;
    bool allow_private; /* addresses of webhooks */
} order;

static void free_submission(void *context)
{
    submission *self = context;
    nx_error err = {0};
    if (self->upload[0] != '\0' &&
        nx_objects_discard(self->api->deps.objects, self->upload, &err) != NX_OK) {
        nx_log_warn("api", "%s", err.message);
    }
    nx_buffer_free(&self->json);
    free(self);
}

/* NULL fills problem. */
static submission *context_of(nx_api *api, nx_http_request *request, nx_problem *problem)
{
    submission *self = nx_http_context(request);
    if (self == NULL) {
        self = calloc(1, sizeof *self);
        if (self == NULL) {
            *problem = nx_problem_make(503, "Try again later.", "no memory for the request");
            return NULL;
        }
        self->api = api;
        nx_http_set_context(request, self, free_submission);
    }
    return self;
}

/* --- the body -----------------------------------------------------------------------------------
 */

/* What can't be sent again later must be a key that fits. */
static bool key_is_good(const char *key)
{
    size_t size = strlen(key);
    bool good = size > 0 && size <= MOST_KEY;
    for (size_t i = 0; i < size && good; i++) {
        good = key[i] > ' ' && key[i] < 0x7f;
    }
    return good;
}

void nx_api_process_admit(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_problem problem;
    const char *key = nx_http_header(request, "Idempotency-Key");
    if (api->slow == NULL) {
        problem = nx_problem_make(503, "Ask a server that was started with 'nexus serve'.",
                                  "this server has no database");
        nx_http_reply_problem(request, &problem);
    } else if (key != NULL && !key_is_good(key)) {
        problem = nx_problem_make(
            400, "Send 1 to 255 printable ASCII characters and no space, such as a UUID.",
            "Idempotency-Key is not possible");
        nx_http_reply_problem(request, &problem);
    } else if (nx_api_no_options(request)) {
        nx_api_admit_inference(request, user);
    }
}

bool nx_api_process_receive(nx_http_request *request, const char *bytes, size_t size,
                            nx_problem *problem, void *user)
{
    submission *self = context_of(user, request, problem);
    if (self == NULL) {
        return false;
    }
    if (self->json.size + size > MOST_JSON) {
        *problem = nx_problem_make(413, "Send fewer or simpler zones and lines.",
                                   "the JSON is larger than %zu bytes", MOST_JSON);
        return false;
    }
    nx_buffer_append(&self->json, bytes, size);
    if (self->json.failed) {
        *problem = nx_problem_make(503, "Try again later.", "no memory for the body");
    }
    return !self->json.failed;
}

/* The file and the options of a form. */
static bool read_form(submission *self, nx_http_request *request, nx_problem *problem)
{
    size_t count = 0;
    bool seen = false;
    const nx_http_part *parts = nx_http_parts(request, &count);
    for (size_t i = 0; i < count; i++) {
        const nx_http_part *part = &parts[i];
        if (part->filename != NULL) {
            self->file = part;
        } else if (strcmp(part->name, "options") == 0 && !seen) {
            seen = true;
            nx_buffer_append(&self->json, part->data, part->size);
        } else {
            *problem = nx_problem_make(422, "Send the options as JSON in one field 'options'.",
                                       "the form's field '%.60s' is not understood, or given twice",
                                       part->name);
            return false;
        }
    }
    if (self->file != NULL && (self->file->path == NULL || self->file->size == 0)) {
        *problem = nx_problem_make(400, "Send the file's bytes.", "the file is empty");
        return false;
    }
    if (!seen) {
        nx_buffer_append_str(&self->json, "{}");
    }
    return true;
}

/* --- what is wanted -----------------------------------------------------------------------------
 */

static nx_problem wrong_member(const nx_error *err)
{
    return nx_problem_make(422, "/docs lists the options with their ranges.", "%s", err->message);
}

static nx_status unknown_member(const char *name, nx_error *err)
{
    const char *names[32] = {"video_id", "path", "webhook_url", "priority"};
    size_t count = 0;
    size_t used = 4;
    const char *const *known = nx_video_spec_names(&count);
    for (size_t i = 0; i < count && used < sizeof names / sizeof names[0]; i++) {
        names[used++] = known[i];
    }
    const char *near = nx_suggest(name, names, used);
    return nx_error_set(err, NX_ERR_INVALID, "there is no option '%.60s'%s%s%s", name,
                        near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                        near != NULL ? "'?" : "");
}

/* Its addresses are looked at again when it is sent, for a name may stand for another one then. */
static nx_status take_webhook(order *wanted, const json_t *value, nx_error *err)
{
    nx_error why = {0};
    wanted->webhook_url = json_string_value(value);
    if (wanted->webhook_url == NULL) {
        return nx_error_set(err, NX_ERR_INVALID, "webhook_url: send an http or https URL");
    }
    nx_status status = nx_webhook_check_url(wanted->webhook_url, wanted->allow_private, &why);
    return status == NX_OK ? NX_OK : nx_error_set(err, status, "webhook_url: %s", why.message);
}

static nx_status take_member(order *wanted, const char *name, const json_t *value, nx_error *err)
{
    bool known = false;
    if (strcmp(name, "video_id") == 0) {
        wanted->video_id = json_string_value(value);
        return nx_uuid_is(wanted->video_id)
                   ? NX_OK
                   : nx_error_set(err, NX_ERR_INVALID, "video_id: this is not the id of a video");
    }
    if (strcmp(name, "path") == 0) {
        wanted->path = json_string_value(value);
        return wanted->path != NULL
                   ? NX_OK
                   : nx_error_set(err, NX_ERR_INVALID, "path: send a file's absolute path");
    }
    if (strcmp(name, "webhook_url") == 0) {
        return take_webhook(wanted, value, err);
    }
    if (strcmp(name, "priority") == 0) {
        wanted->priority = json_integer_value(value);
        return json_is_integer(value) && wanted->priority >= -MOST_PRIORITY &&
                       wanted->priority <= MOST_PRIORITY
                   ? NX_OK
                   : nx_error_set(err, NX_ERR_INVALID,
                                  "priority: send a whole number from -%d to %d", MOST_PRIORITY,
                                  MOST_PRIORITY);
    }
    nx_status status = nx_video_spec_take(&wanted->spec, name, value, &known, err);
    return status == NX_OK && !known ? unknown_member(name, err) : status;
}

static nx_status read_order(order *wanted, const submission *self, json_t *document, nx_error *err)
{
    const char *name = NULL;
    json_t *value = NULL;
    nx_status status = NX_OK;
    json_object_foreach(document, name, value)
    {
        if (status == NX_OK) {
            status = take_member(wanted, name, value, err);
        }
    }
    if (status == NX_OK) {
        status = nx_video_spec_check(&wanted->spec, err);
    }
    int videos = (wanted->video_id != NULL) + (wanted->path != NULL) + (self->file != NULL);
    if (status == NX_OK && videos != 1) {
        status = nx_error_set(err, NX_ERR_INVALID,
                              videos > 1 ? "send one of a file, a video_id and a path"
                                         : "video_id: say which video");
    }
    return status;
}

/* Classes and places by the model's names, if it is in memory; else whoever runs the job does. */
static nx_status check_names(const nx_video_spec *spec, nx_registry_handle *handle, nx_error *err)
{
    const nx_class_names names = nx_model_get_spec(nx_registry_model(handle))->names;
    nx_postprocess_options filter = nx_postprocess_defaults();
    nx_zones_spec places = {0};
    nx_status status = NX_OK;
    if (spec->classes != NULL) {
        status = nx_class_filter_parse(spec->classes, names, &filter, err);
    }
    if (status == NX_OK && spec->places != NULL) {
        status = nx_zones_parse(spec->places, strlen(spec->places), "zones and lines", names,
                                &places, err);
        nx_zones_spec_free(&places);
    }
    return status;
}

bool nx_api_check_model(nx_api *api, const nx_http_request *request, const nx_video_spec *spec,
                        nx_problem *problem)
{
    char name[NX_MODEL_NAME_MAX + 1] = "";
    uint32_t version = 0;
    nx_error err = {0};
    nx_registry_handle *handle = NULL;
    nx_status status = NX_OK;
    bool named = spec->model[0] != '\0';
    if (named) {
        status = nx_model_reference_parse(spec->model, name, &version, &err);
    }
    if (status == NX_OK && !nx_api_model_visible(api, request, named ? name : NULL)) {
        status = nx_error_set(&err, NX_ERR_NOT_FOUND, "there is no model '%.64s'", name);
    }
    if (status == NX_OK) {
        status =
            nx_registry_acquire(api->deps.registry, named ? name : NULL, version, &handle, &err);
    }
    if (status == NX_ERR_UNAVAILABLE) {
        return true; /* installed: it is loaded when the job is run */
    }
    nx_api_model_hide(request, status, &err);
    if (status == NX_ERR_NO_MEMORY) {
        *problem = nx_problem_make(503, "Try again later.", "%s", err.message);
    } else if (status != NX_OK) {
        *problem = nx_problem_make(status == NX_ERR_UNSUPPORTED ? 422 : 404,
                                   "Leave model out, or name one that GET /api/v1/models lists.",
                                   "model: %s", err.message);
    } else {
        status = check_names(spec, handle, &err);
        nx_registry_release(handle);
        if (status != NX_OK) {
            *problem = wrong_member(&err);
        }
    }
    return status == NX_OK;
}

/* --- the job ------------------------------------------------------------------------------------
 */

/* False fills problem. */
static bool copy_path(submission *self, nx_http_request *request, const char *path,
                      nx_problem *problem)
{
    static const int codes[] = {
        [NX_ERR_INVALID] = 422,  [NX_ERR_TOO_LARGE] = 413, [NX_ERR_NOT_FOUND] = 404,
        [NX_ERR_CONFLICT] = 403, [NX_ERR_IO] = 422,
    };
    nx_api *api = self->api;
    nx_error err = {0};
    int fd = -1;
    char *folders = nx_api_video_folders(api);
    nx_status status = folders != NULL
                           ? nx_api_video_path_open(folders, path, api->max_video, &fd, &err)
                           : nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory for the request");
    free(folders);
    if (status == NX_ERR_NO_MEMORY) {
        *problem = nx_api_storage_problem(api, request, status, &err);
        return false;
    }
    if (status != NX_OK) {
        *problem = nx_problem_make(codes[status],
                                   "Name a file in a folder of VIDEO_FOLDERS, or "
                                   "upload it.",
                                   "path: %s", err.message);
        return false;
    }
    status = nx_api_video_copy_fd(api, fd, self->upload, &err);
    close(fd);
    if (status != NX_OK) {
        *problem = nx_api_storage_problem(api, request, status, &err);
    }
    return status == NX_OK;
}

/* Makes a video of the form's file or of the path's, in the arena. False fills problem. */
static bool take_video_in(submission *self, nx_http_request *request, const char *path,
                          nx_arena *arena, nx_video *out, nx_problem *problem)
{
    nx_api *api = self->api;
    char name[NX_API_VIDEO_NAME_MAX + 1];
    nx_error err = {0};
    bool made = false;
    if (!nx_api_video_name(path != NULL ? path : self->file->filename, name, problem)) {
        return false;
    }
    nx_status status = nx_uuid_make(self->upload, &err);
    if (status == NX_OK && path != NULL && !copy_path(self, request, path, problem)) {
        return false;
    }
    if (status == NX_OK && path == NULL) {
        status = nx_api_video_copy(api, self->file->path, self->upload, &err);
    }
    if (status == NX_OK) {
        status = nx_api_video_take_in(api, nx_api_owner(request), self->upload, name, arena, out,
                                      &made, &err);
    }
    if (status != NX_OK) {
        *problem = nx_api_video_problem(api, request, status, &err);
    }
    return status == NX_OK;
}

/* The video of the order, in the arena. False fills problem. */
static bool find_video(submission *self, nx_http_request *request, const order *wanted,
                       nx_arena *arena, nx_video *out, nx_problem *problem)
{
    nx_api *api = self->api;
    nx_error err = {0};
    if (wanted->video_id == NULL) {
        return take_video_in(self, request, wanted->path, arena, out, problem);
    }
    nx_status status = nx_store_video_get(api->deps.database, wanted->video_id, arena, out, &err);
    if (status != NX_OK) {
        *problem = nx_api_storage_problem(api, request, status, &err);
    }
    return status == NX_OK;
}

static void write_options(const nx_video_spec *spec, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_video_spec_json_members(spec, &json);
    nx_json_object_end(&json);
}

static void update(crypto_hash_sha256_state *state, const char *text)
{
    const char *bytes = text != NULL ? text : "";
    (void)crypto_hash_sha256_update(state, (const unsigned char *)bytes, strlen(bytes) + 1);
}

/* What the key stands for: what is wanted, not how it was written. */
static void hash_request(const nx_job_request *job, char out[65])
{
    crypto_hash_sha256_state state;
    unsigned char digest[crypto_hash_sha256_BYTES];
    char priority[24];
    snprintf(priority, sizeof priority, "%lld", (long long)job->priority);
    (void)crypto_hash_sha256_init(&state);
    update(&state, job->kind);
    update(&state, job->video_id);
    update(&state, job->options);
    update(&state, job->webhook_url);
    update(&state, priority);
    (void)crypto_hash_sha256_final(&state, digest);
    (void)sodium_bin2hex(out, 65, digest, sizeof digest);
}

static void enqueue(nx_api *api, nx_http_request *request, const order *wanted,
                    const nx_video *video, nx_arena *arena)
{
    char hash[65];
    nx_error err = {0};
    nx_job job;
    bool made = false;
    char trace[NX_TRACE_SIZE];
    nx_trace_write(nx_http_trace(request), trace);
    nx_buffer options = NX_BUFFER_INIT;
    const nx_model_subject subject = nx_api_subject(request);
    write_options(&wanted->spec, &options);
    nx_job_request ask = {
        .owner = nx_api_owner(request),
        .kind = NX_API_JOB_VIDEO,
        .video_id = video->id,
        .options = nx_buffer_cstr(&options),
        .webhook_url = wanted->webhook_url,
        .idempotency_key = nx_http_header(request, "Idempotency-Key"),
        .priority = wanted->priority,
        .max_attempts = MAX_ATTEMPTS,
        .traceparent = trace,
        .user = subject.user,
        .key = subject.key,
    };
    hash_request(&ask, hash);
    ask.request_hash = ask.idempotency_key != NULL ? hash : NULL;
    nx_status status =
        options.failed ? nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory for the job")
                       : nx_store_job_enqueue(api->deps.database, &ask, arena, &job, &made, &err);
    if (status == NX_OK) {
        nx_api_reply_job(request, 202, &job, true);
    } else if (status == NX_ERR_CONFLICT) {
        nx_problem problem = nx_problem_make(409, "Take a new Idempotency-Key for another request.",
                                             "%s", err.message);
        nx_http_reply_problem(request, &problem);
    } else {
        nx_api_storage_refuse(api, request, status, &err);
    }
    nx_buffer_free(&options);
}

/* On a thread that may wait; with a file to read, on one that may wait long. */
static void submit(nx_api *api, nx_http_request *request)
{
    submission *self = nx_http_context(request);
    order wanted = {.allow_private = api->webhook_allow_private};
    nx_error err = {0};
    nx_problem problem;
    nx_video video = {0};
    json_t *document = NULL;
    nx_arena arena = nx_arena_make(0);
    nx_video_spec_init(&wanted.spec);
    bool good = nx_payload_parse(nx_buffer_cstr(&self->json), self->json.size, &document, &problem);
    bool later = false;
    if (!good) {
        snprintf(problem.advice, sizeof problem.advice, "%s", advice);
    } else if (read_order(&wanted, self, document, &err) != NX_OK) {
        problem = wrong_member(&err);
        good = false;
    } else if (wanted.path != NULL && !self->may_take_long) {
        later = true;
    } else {
        good = nx_api_check_model(api, request, &wanted.spec, &problem) &&
               find_video(self, request, &wanted, &arena, &video, &problem);
    }
    if (later) {
        self->may_take_long = true;
        nx_api_answer_slowly(api, request, submit);
    } else if (good) {
        enqueue(api, request, &wanted, &video, &arena);
    } else {
        nx_http_reply_problem(request, &problem);
    }
    json_decref(document);
    nx_video_spec_free(&wanted.spec);
    nx_arena_free(&arena);
}

void nx_api_process(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_problem problem;
    submission *self = context_of(api, request, &problem);
    bool form = nx_http_content_type_is(request, "multipart/form-data");
    if (self == NULL || (form && !read_form(self, request, &problem))) {
        nx_http_reply_problem(request, &problem);
        return;
    }
    self->may_take_long = self->file != NULL;
    if (self->may_take_long) {
        nx_api_answer_slowly(api, request, submit);
    } else {
        nx_api_answer_quickly(api, request, submit);
    }
}
