#include "api/job_frames.h"

#include "api/answers.h"
#include "api/jobs.h"
#include "http/negotiate.h"
#include "jobs/frame_log.h"
#include "jobs/video_spec.h"
#include "jobs/worker_parts.h"
#include "store/objects.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A job may end while its parts are read, which takes them away. */
#define TRIES 5
/* Lines that are made on the server's disk for one answer. */
#define MOST_LINES ((uint64_t)1 << 30)

/* The compressed record, as far as it goes. */
typedef struct record {
    bool complete; /* the job has ended: it is object */
    char object[NX_OBJECT_NAME_SIZE];
    nx_worker_parts parts; /* else it is these */
    char hash[65];         /* another one for other bytes */
    uint64_t size;
} record;

typedef struct wish {
    bool lines;      /* the resource is the lines, not the file */
    bool compressed; /* and is sent so */
    const char *type;
    char etag[80];
} wish;

bool nx_api_is_frames(const char *file)
{
    return strcmp(file, NX_API_FRAMES) == 0 ||
           strcmp(file, nx_video_output_file(NX_VIDEO_FRAMES)) == 0;
}

/* --- where it is --------------------------------------------------------------------------------
 */

/* By the names of the parts: nothing need be read to know that nothing has changed. */
static void hash_parts(const nx_worker_parts *parts, char out[65])
{
    crypto_hash_sha256_state state;
    unsigned char digest[crypto_hash_sha256_BYTES];
    (void)crypto_hash_sha256_init(&state);
    for (size_t i = 0; i < parts->count; i++) {
        (void)crypto_hash_sha256_update(&state, (const unsigned char *)parts->items[i].object,
                                        NX_OBJECT_NAME_SIZE);
    }
    (void)crypto_hash_sha256_final(&state, digest);
    (void)sodium_bin2hex(out, 65, digest, sizeof digest);
}

/* What the last checkpoint has; nothing before the first, or behind one that is of no use. */
static nx_status find_parts(nx_api *api, const nx_job *job, nx_arena *arena, record *out,
                            nx_error *err)
{
    nx_job_checkpoint saved = {0};
    const void *state = NULL;
    size_t size = 0;
    nx_status status = nx_store_job_load(api->deps.database, job->id, arena, &saved, err);
    if (status == NX_OK && nx_worker_parts_read(saved.state, saved.state_size, &out->parts, &state,
                                                &size, err) != NX_OK) {
        out->parts.count = 0;
    }
    if (status == NX_OK || status == NX_ERR_NOT_FOUND) {
        out->size = nx_worker_parts_size(&out->parts);
        hash_parts(&out->parts, out->hash);
        return NX_OK;
    }
    return status;
}

static nx_status find_record(nx_api *api, const char *id, record *out, nx_error *err)
{
    nx_arena arena = nx_arena_make(0);
    nx_job job = {0};
    int64_t size = 0;
    *out = (record){.complete = false};
    nx_status status = nx_store_job_get(api->deps.database, id, &arena, &job, err);
    if (status == NX_OK &&
        nx_api_job_object(&job, nx_video_output_file(NX_VIDEO_FRAMES), out->object)) {
        out->complete = true;
        snprintf(out->hash, sizeof out->hash, "%s", out->object);
        status = nx_objects_size(api->deps.objects, out->object, &size, err);
        out->size = (uint64_t)size;
    } else if (status == NX_OK && (job.state == NX_JOB_RUNNING || job.state == NX_JOB_QUEUED)) {
        status = find_parts(api, &job, &arena, out, err);
    } else if (status == NX_OK) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "the job is %s and has no frames",
                              nx_job_state_name(job.state));
    }
    nx_arena_free(&arena);
    return status;
}

/* --- its bytes ----------------------------------------------------------------------------------
 */

/* From first to last of the compressed bytes at least, at their places in a file. */
static nx_status open_compressed(nx_api *api, const record *from, uint64_t first, uint64_t last,
                                 int *fd, nx_error *err)
{
    nx_objects *objects = api->deps.objects;
    if (from->complete) {
        return nx_objects_fetch(objects, from->object, fd, err);
    }
    nx_status status = nx_objects_scratch(objects, fd, err);
    if (status == NX_OK) {
        status = nx_worker_parts_copy(&from->parts, objects, *fd, first, last, err);
    }
    if (status != NX_OK && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

static nx_status open_lines(nx_api *api, const record *from, int *fd, uint64_t *size, nx_error *err)
{
    int compressed = -1;
    *fd = -1;
    nx_status status = open_compressed(api, from, 0, UINT64_MAX, &compressed, err);
    if (status == NX_OK) {
        status = nx_objects_scratch(api->deps.objects, fd, err);
    }
    if (status == NX_OK) {
        status = nx_frame_log_expand(compressed, from->size, *fd, MOST_LINES, size, err);
    }
    if (compressed >= 0) {
        close(compressed);
    }
    if (status != NX_OK && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

/* Only the parts that the range needs are fetched; the rest of the file is a hole. */
static nx_status open_answer(nx_api *api, const nx_http_request *request, const record *from,
                             const wish *how, int *fd, uint64_t *size, nx_error *err)
{
    uint64_t first = 0;
    uint64_t last = UINT64_MAX;
    if (how->lines && !how->compressed) {
        return open_lines(api, from, fd, size, err);
    }
    *size = from->size;
    if (nx_negotiate_range(nx_http_header(request, "Range"), nx_http_header(request, "If-Range"),
                           how->etag, from->size, &first, &last) == NX_RANGE_NONE) {
        first = UINT64_MAX; /* none of it is sent */
    }
    return open_compressed(api, from, first, last, fd, err);
}

/* --- answering ----------------------------------------------------------------------------------
 */

static wish read_wish(const nx_http_request *request, const char *file)
{
    wish how = {.lines = strcmp(file, NX_API_FRAMES) == 0};
    how.compressed =
        !how.lines || nx_negotiate_coding(nx_http_header(request, "Accept-Encoding"), "zstd");
    how.type = how.lines ? "application/x-ndjson" : "application/zstd";
    return how;
}

/* Representations of the lines have tags of their own (RFC 9110, 8.8.3). */
static void tag(wish *how, const record *from)
{
    const char *kind = !how->lines ? "" : how->compressed ? "-zstd" : "-lines";
    snprintf(how->etag, sizeof how->etag, "\"%.64s%s\"", from->hash, kind);
}

static void add_headers(nx_http_request *request, const wish *how, bool complete)
{
    nx_http_add_header(request, "X-Nexus-Complete", complete ? "true" : "false");
    if (!complete) {
        nx_http_add_header(request, "Cache-Control", "no-cache");
    }
    if (how->lines) {
        nx_http_add_header(request, "Vary", "Accept-Encoding");
    }
}

static void add_coding(nx_http_request *request, const wish *how)
{
    if (how->lines && how->compressed) {
        nx_http_add_header(request, "Content-Encoding", "zstd");
    }
}

static void refuse(nx_api *api, nx_http_request *request, nx_status status, const nx_error *err)
{
    if (status == NX_ERR_TOO_LARGE) {
        nx_problem problem =
            nx_problem_make(406, "Accept zstd, or take frames.ndjson.zst.", "%s", err->message);
        nx_http_reply_problem(request, &problem);
    } else {
        nx_api_storage_refuse(api, request, status, err);
    }
}

/* Finds the record and opens what is to be sent of it; *same: nothing, for the client has it. A
 * checkpoint whose parts are gone for good, as of a job that was cancelled and put back, is none:
 * the job begins again. */
static nx_status open_record(nx_api *api, const nx_http_request *request, const char *job,
                             record *from, wish *how, int *fd, uint64_t *size, bool *same,
                             nx_error *err)
{
    nx_status status = NX_ERR_NOT_FOUND;
    for (int i = 0; i <= TRIES && status == NX_ERR_NOT_FOUND; i++) {
        status = find_record(api, job, from, err);
        if (status != NX_OK) {
            break;
        }
        if (i == TRIES && !from->complete) {
            from->parts.count = 0;
            from->size = 0;
            hash_parts(&from->parts, from->hash);
        }
        tag(how, from);
        *same = nx_negotiate_none_match(nx_http_header(request, "If-None-Match"), how->etag);
        if (!*same) {
            status = open_answer(api, request, from, how, fd, size, err);
        }
    }
    return status;
}

void nx_api_reply_frames(nx_api *api, nx_http_request *request, const char *job, const char *file)
{
    nx_error err = {0};
    wish how = read_wish(request, file);
    uint64_t size = 0;
    int fd = -1;
    bool same = false;
    record *from = malloc(sizeof *from);
    nx_status status = from != NULL
                           ? open_record(api, request, job, from, &how, &fd, &size, &same, &err)
                           : nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory for the frames");
    if (status != NX_OK) {
        refuse(api, request, status, &err);
        free(from);
        return;
    }
    const bool complete = from->complete;
    add_headers(request, &how, complete);
    free(from);
    if (same) {
        nx_http_add_header(request, "ETag", how.etag);
        nx_http_reply_static(request, 304, NULL, NULL, 0);
        return;
    }
    add_coding(request, &how);
    if (complete) { /* and all of it is in the file */
        nx_api_reply_kept_file(request, how.type, how.etag, fd, size);
    } else {
        nx_http_reply_file(request, how.type, how.etag, fd, size);
    }
}

const char *nx_api_frames_variant(const nx_http_request *request)
{
    const char *file = nx_http_path_param(request, "file");
    if (!nx_api_is_frames(file)) {
        return "";
    }
    const wish how = read_wish(request, file);
    return how.compressed ? "compressed" : "lines";
}

void nx_api_reply_kept_frames(nx_http_request *request, const char *file, const char *etag,
                              nx_buffer *body)
{
    const wish how = read_wish(request, file);
    add_headers(request, &how, true);
    add_coding(request, &how);
    nx_http_reply_content(request, how.type, etag, body);
}
