/* GET /api/v1/jobs, .../{id} and .../{id}/results/{file}; DELETE .../{id} cancels; POST
 * .../{id}/retry. */
#include "api/jobs.h"

#include "api/answers.h"
#include "api/audit.h"
#include "api/job_frames.h"
#include "jobs/video_spec.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* For a page of jobs, each of which may have a megabyte of zones. */
#define MOST_MEMORY ((size_t)256 << 20)

/* --- showing ------------------------------------------------------------------------------------
 */

static const char *type_of(const char *file)
{
    static const char *const types[][2] = {
        {".json", "application/json"},
        {".zst", "application/zstd"},
        {".csv", "text/csv; charset=utf-8"},
        {".txt", "text/plain; charset=utf-8"},
        {".png", "image/png"},
        {".mp4", "video/mp4"},
    };
    const char *end = strrchr(file, '.');
    for (size_t i = 0; end != NULL && i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(end, types[i][0]) == 0) {
            return types[i][1];
        }
    }
    return "application/octet-stream";
}

/* The files in a job's result: an array in *document, which is the caller's. NULL: none. */
static json_t *files_of(const nx_job *job, json_t **document)
{
    *document = job->result != NULL ? json_loads(job->result, 0, NULL) : NULL;
    json_t *files = json_object_get(*document, "files");
    return json_is_array(files) ? files : NULL;
}

static void write_file(const nx_job *job, const json_t *file, nx_json *json)
{
    char url[256];
    const char *name = json_string_value(json_object_get(file, "name"));
    if (name != NULL) {
        snprintf(url, sizeof url, "/api/v1/jobs/%.40s/results/%.150s", job->id, name);
        nx_json_object_begin(json);
        nx_json_key_string(json, "name", name);
        nx_json_key_string(json, "type", type_of(name));
        nx_json_key_int(json, "size_bytes", json_integer_value(json_object_get(file, "size")));
        nx_json_key_string(json, "url", url);
        nx_json_object_end(json);
    }
}

static void write_files(const nx_job *job, nx_json *json)
{
    json_t *document = NULL;
    const json_t *files = files_of(job, &document);
    nx_json_key(json, "results");
    nx_json_array_begin(json);
    for (size_t i = 0; i < json_array_size(files); i++) {
        write_file(job, json_array_get(files, i), json);
    }
    nx_json_array_end(json);
    json_decref(document);
}

/* Where its frames can be read already, or still. */
static void write_frames(const nx_job *job, nx_json *json)
{
    char url[96];
    char object[NX_OBJECT_NAME_SIZE];
    bool grow = job->state == NX_JOB_RUNNING || job->state == NX_JOB_QUEUED;
    snprintf(url, sizeof url, "/api/v1/jobs/%.40s/results/" NX_API_FRAMES, job->id);
    nx_json_key_string(
        json, "frames",
        grow || nx_api_job_object(job, nx_video_output_file(NX_VIDEO_FRAMES), object) ? url : NULL);
}

void nx_api_job_json(const nx_job *job, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "id", job->id);
    nx_json_key_string(json, "kind", job->kind);
    nx_json_key_string(json, "state", nx_job_state_name(job->state));
    nx_json_key_bool(json, "cancel_requested", job->cancel_requested);
    nx_json_key_string(json, "video_id", job->video_id);
    nx_json_key_int(json, "priority", job->priority);
    nx_api_json_text(json, "options", job->options);
    nx_json_key_string(json, "webhook_url", job->webhook_url);
    nx_api_json_text(json, "progress", job->progress);
    nx_json_key_int(json, "attempts", job->attempts);
    nx_json_key_string(json, "error", job->error);
    write_files(job, json);
    write_frames(job, json);
    nx_api_json_time(json, "created_at", job->created_at);
    nx_api_json_time(json, "updated_at", job->updated_at);
    nx_api_json_time(json, "started_at", job->started_at);
    nx_api_json_time(json, "finished_at", job->finished_at);
    nx_json_object_end(json);
}

void nx_api_reply_job(nx_http_request *request, int status, const nx_job *job, bool location)
{
    char text[80];
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_api_job_json(job, &json);
    if (location) {
        snprintf(text, sizeof text, "/api/v1/jobs/%.40s", job->id);
        nx_http_add_header(request, "Location", text);
    }
    nx_api_reply_json(request, status, &out);
}

/* Only one that has ended stays as it is until a state says otherwise. */
static bool has_ended(const nx_job *job)
{
    return job->state != NX_JOB_QUEUED && job->state != NX_JOB_RUNNING;
}

/* --- the list -----------------------------------------------------------------------------------
 */

static void reply_list(nx_http_request *request, const nx_job *jobs, size_t count, size_t limit)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_api_page_begin(&out);
    size_t shown = count < limit ? count : limit;
    for (size_t i = 0; i < shown; i++) {
        nx_api_job_json(&jobs[i], &json);
    }
    nx_api_page_end(&json, count > limit ? jobs[limit - 1].id : NULL);
    nx_api_reply_json(request, 200, &out);
}

static void answer_list(nx_api *api, nx_http_request *request)
{
    nx_api_page page;
    nx_job_state state = NX_JOB_QUEUED;
    nx_error err = {0};
    nx_arena arena = nx_arena_make(MOST_MEMORY);
    nx_job jobs[NX_API_PAGE_MAX + 1]; /* one more tells whether there is another page */
    size_t count = 0;
    if (!nx_api_page_read(request, true, &page)) {
        return;
    }
    if (page.state != NULL && !nx_job_state_parse(page.state, &state)) {
        nx_problem problem = nx_problem_make(
            422, "States are queued, running, succeeded, failed, cancelled and dead.",
            "state: there is none of the name '%.40s'", page.state);
        nx_http_reply_problem(request, &problem);
        return;
    }
    const nx_job_filter filter = {.state = page.state != NULL ? &state : NULL,
                                  .before = page.cursor,
                                  .limit = page.limit + 1};
    nx_status status = nx_store_jobs_list(api->deps.database, &filter, &arena, jobs, &count, &err);
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
    } else {
        reply_list(request, jobs, count, page.limit);
    }
    nx_arena_free(&arena);
}

void nx_api_jobs_list(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_list);
}

/* --- one ----------------------------------------------------------------------------------------
 */

bool nx_api_find_job(nx_api *api, nx_http_request *request, nx_arena *arena, nx_job *out)
{
    nx_error err = {0};
    const char *id = nx_api_path_id(request, "job");
    if (id == NULL || !nx_api_no_options(request)) {
        return false;
    }
    nx_status status = nx_store_job_get(api->deps.database, id, arena, out, &err);
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
    }
    return status == NX_OK;
}

static void answer_get(nx_api *api, nx_http_request *request)
{
    nx_arena arena = nx_arena_make(0);
    nx_job job;
    nx_buffer out = NX_BUFFER_INIT;
    if (nx_api_find_job(api, request, &arena, &job)) {
        nx_json json = nx_json_begin(&out);
        nx_api_job_json(&job, &json);
        if (has_ended(&job)) {
            nx_api_keep_answer(request, &out, NULL);
        }
        nx_api_reply_json(request, 200, &out);
    }
    nx_arena_free(&arena);
}

static const nx_answer_plan get_plan = {
    .name = "job",
    .kind = NX_CACHE_RESPONSES,
    .states = 1U << NX_STATE_JOBS_ENDED,
    .found = nx_api_found_json,
    .make = answer_get,
};

void nx_api_jobs_get(nx_http_request *request, void *user)
{
    nx_api_answer_kept(user, request, &get_plan);
}

/* --- changing it --------------------------------------------------------------------------------
 */

/* The job as it is after a change. */
static void answer_changed(nx_api *api, nx_http_request *request, nx_status changed, int code,
                           nx_error *err)
{
    nx_arena arena = nx_arena_make(0);
    nx_job job;
    const char *id = nx_http_path_param(request, "id");
    if (changed == NX_OK) {
        changed = nx_store_job_get(api->deps.database, id, &arena, &job, err);
    }
    if (changed != NX_OK) {
        nx_api_storage_refuse(api, request, changed, err);
    } else {
        nx_api_reply_job(request, code, &job, false);
    }
    nx_arena_free(&arena);
}

static void answer_cancel(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    nx_job_state became = NX_JOB_QUEUED;
    const char *id = nx_api_path_id(request, "job");
    if (id != NULL && nx_api_no_options(request)) {
        nx_status status = nx_store_job_cancel(api->deps.database, id, &became, &err);
        const nx_api_event event = {
            .action = "job.cancel", .kind = "job", .name = id, .outcome = status};
        nx_api_audit(api, request, &event);
        answer_changed(api, request, status, became == NX_JOB_CANCELLED ? 200 : 202, &err);
    }
}

void nx_api_jobs_cancel(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_cancel);
}

static void answer_retry(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    const char *id = nx_api_path_id(request, "job");
    if (id != NULL && nx_api_no_options(request)) {
        nx_status status = nx_store_job_retry(api->deps.database, id, &err);
        const nx_api_event event = {
            .action = "job.retry", .kind = "job", .name = id, .outcome = status};
        nx_api_audit(api, request, &event);
        answer_changed(api, request, status, 202, &err);
    }
}

void nx_api_jobs_retry(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_retry);
}

/* --- a file of its result -----------------------------------------------------------------------
 */

bool nx_api_job_object(const nx_job *job, const char *wanted, char out[NX_OBJECT_NAME_SIZE])
{
    json_t *document = NULL;
    const json_t *files = files_of(job, &document);
    bool found = false;
    for (size_t i = 0; i < json_array_size(files) && !found; i++) {
        const json_t *file = json_array_get(files, i);
        const char *name = json_string_value(json_object_get(file, "name"));
        const char *object = json_string_value(json_object_get(file, "object"));
        found = name != NULL && object != NULL && strcmp(name, wanted) == 0;
        if (found) {
            snprintf(out, NX_OBJECT_NAME_SIZE, "%s", object);
        }
    }
    json_decref(document);
    return found;
}

static void reply_object(nx_api *api, nx_http_request *request, const char *type,
                         const char *object)
{
    char etag[NX_OBJECT_NAME_SIZE + 2];
    nx_error err = {0};
    int fd = -1;
    int64_t size = 0;
    nx_status status = nx_objects_size(api->deps.objects, object, &size, &err);
    if (status == NX_OK) {
        status = nx_objects_fetch(api->deps.objects, object, &fd, &err);
    }
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
        return;
    }
    snprintf(etag, sizeof etag, "\"%.64s\"", object);
    nx_api_reply_kept_file(request, type, etag, fd, (uint64_t)size);
}

static void answer_result(nx_api *api, nx_http_request *request)
{
    char object[NX_OBJECT_NAME_SIZE];
    nx_arena arena = nx_arena_make(0);
    nx_job job;
    const char *file = nx_http_path_param(request, "file");
    if (nx_api_find_job(api, request, &arena, &job)) {
        if (nx_api_is_frames(file)) {
            nx_api_reply_frames(api, request, job.id, file);
        } else if (nx_api_job_object(&job, file, object)) {
            reply_object(api, request, type_of(file), object);
        } else {
            nx_problem problem = nx_problem_make(
                404, "GET /api/v1/jobs/{id} lists the results that there are.",
                "the job is %s and has no result '%.60s'", nx_job_state_name(job.state), file);
            nx_http_reply_problem(request, &problem);
        }
    }
    nx_arena_free(&arena);
}

static void found_result(nx_api *api, nx_http_request *request, nx_buffer *body, const char *etag)
{
    (void)api;
    const char *file = nx_http_path_param(request, "file");
    if (nx_api_is_frames(file)) {
        nx_api_reply_kept_frames(request, file, etag, body);
    } else {
        nx_http_reply_content(request, type_of(file), etag, body);
    }
}

static const nx_answer_plan result_plan = {
    .name = "result",
    .kind = NX_CACHE_RESPONSES,
    .states = 1U << NX_STATE_JOBS_ENDED,
    .slow = true,
    .variant = nx_api_frames_variant,
    .found = found_result,
    .make = answer_result,
};

void nx_api_jobs_result(nx_http_request *request, void *user)
{
    nx_api_answer_kept(user, request, &result_plan);
}
