/*
 * PATCH /api/v1/uploads/{id}: bytes from an offset on. What has come in counts, however the request
 * ends: it is confirmed in the database every so often, at the end, and when the client is lost.
 */
#include "api/inference.h"
#include "api/uploads.h"
#include "api/videos.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

/* So many bytes at most are sent again after this process was killed. */
#define CONFIRM_BYTES (INT64_C(64) << 20)

/* The context of the request. */
typedef struct patch {
    nx_api_work work; /* first; when the request has ended */
    nx_api *api;
    char id[NX_UUID_SIZE];
    nx_object_writer *writer; /* while the upload is ours to write into */
    int64_t length;
    int64_t confirmed; /* in the database */
    int64_t received;
    bool has_begun; /* the writer stands at received */
    bool has_video;
} patch;

/* On the connection's thread or one that may wait. What was written is on the disk, and counts. */
static nx_status confirm(patch *self, nx_error *err)
{
    int64_t size = self->confirmed;
    if (self->received == self->confirmed) {
        return NX_OK;
    }
    nx_status status = nx_object_writer_sync(self->writer, &size, err);
    if (status == NX_OK) {
        status = nx_store_upload_advance(self->api->deps.database, self->id, self->confirmed, size,
                                         self->api->upload_ms, err);
    }
    self->confirmed = status == NX_OK ? size : self->confirmed;
    return status;
}

static void let_go(nx_api_work *work)
{
    patch *self = (patch *)work;
    nx_error err = {0};
    if (confirm(self, &err) != NX_OK) {
        nx_log_warn("api", "the end of an upload is lost: %s", err.message);
    }
    nx_object_writer_close(self->writer);
    free(self);
}

/* The request has ended, perhaps because the client was lost. */
static void free_patch(void *context)
{
    patch *self = context;
    bool idle = self->received == self->confirmed;
    self->work.run = let_go;
    if (idle || !nx_api_pool_put(self->api->quick, &self->work)) {
        let_go(&self->work);
    }
}

/* --- before the body ----------------------------------------------------------------------------
 */

/* Looks the upload up; a short read of the database, for there is nobody else to refuse the body
 * before it comes. False fills problem. */
static bool find_upload(patch *self, const nx_http_request *request, int64_t offset,
                        nx_problem *problem)
{
    nx_error err = {0};
    nx_upload upload;
    nx_arena arena = nx_arena_make(0);
    nx_status status =
        nx_store_upload_get(self->api->deps.database, self->id, &arena, &upload, &err);
    bool good = false;
    if (status != NX_OK) {
        *problem = nx_api_storage_problem(self->api, request, status, &err);
    } else if (nx_api_upload_is_over(&upload)) {
        *problem = nx_problem_make(410, "Begin again with POST.", "the time of upload %s is over",
                                   self->id);
    } else if (offset != upload.received) {
        *problem = nx_problem_make(409, "Ask with HEAD where to go on.",
                                   "Upload-Offset is %lld, but %lld bytes are there",
                                   (long long)offset, (long long)upload.received);
    } else {
        self->length = upload.length;
        self->confirmed = self->received = upload.received;
        self->has_video = upload.video_id != NULL;
        good = true;
    }
    nx_arena_free(&arena);
    return good;
}

/*
 * Makes the upload this request's alone, and then looks it up: nobody else changes it meanwhile.
 * The file is missing behind a video, where a server ended just after POST, and on a host that the
 * upload did not begin on. False fills problem.
 */
static bool claim(patch *self, const nx_http_request *request, int64_t offset, nx_problem *problem)
{
    nx_error err = {0};
    nx_objects *objects = self->api->deps.objects;
    nx_status status = nx_objects_claim(objects, self->id, false, &self->writer, &err);
    if (status != NX_OK && status != NX_ERR_NOT_FOUND) {
        *problem = nx_api_upload_problem(self->api, request, status, &err);
        return false;
    }
    if (!find_upload(self, request, offset, problem)) {
        return false;
    }
    if (self->writer != NULL || self->has_video) {
        return true;
    }
    if (offset > 0) {
        *problem = nx_problem_make(404,
                                   "Send its pieces to the host that it began on, or begin again "
                                   "with POST.",
                                   "the bytes of upload %s are not on this host", self->id);
        return false;
    }
    status = nx_objects_claim(objects, self->id, true, &self->writer, &err);
    if (status != NX_OK) {
        *problem = nx_api_upload_problem(self->api, request, status, &err);
        return false;
    }
    return find_upload(self, request, offset, problem);
}

/* False fills problem. */
static bool begin(nx_api *api, nx_http_request *request, const char *id, nx_problem *problem)
{
    int64_t offset = 0;
    int64_t size = 0;
    if (!nx_api_header_number(request, "Upload-Offset", &offset)) {
        *problem = nx_problem_make(400, "Send the number of bytes that are there already.",
                                   "Upload-Offset is missing, or no number");
        return false;
    }
    patch *self = calloc(1, sizeof *self);
    if (self == NULL) {
        *problem = nx_problem_make(503, "Try again later.", "no memory for the request");
        return false;
    }
    self->api = api;
    snprintf(self->id, sizeof self->id, "%s", id);
    nx_http_set_context(request, self, free_patch);
    if (!claim(self, request, offset, problem)) {
        return false;
    }
    if (nx_api_header_number(request, "Content-Length", &size) && size > self->length - offset) {
        *problem = nx_problem_make(413, "Send no more than Upload-Length said.",
                                   "the body passes the end of the upload at %lld bytes",
                                   (long long)self->length);
        return false;
    }
    return true;
}

void nx_api_uploads_admit(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_problem problem;
    if (api->quick == NULL) {
        problem = nx_problem_make(503, "Ask a server that was started with 'nexus serve'.",
                                  "this server has no database");
        nx_http_reply_problem(request, &problem);
        return;
    }
    const char *id = nx_api_path_id(request, "upload");
    if (id == NULL || !nx_api_tus_version(request)) {
        return;
    }
    if (!begin(api, request, id, &problem)) {
        nx_api_tus_refuse(request, &problem);
    }
}

/* --- the body -----------------------------------------------------------------------------------
 */

bool nx_api_uploads_receive(nx_http_request *request, const char *bytes, size_t size,
                            nx_problem *problem, void *user)
{
    nx_api *api = user;
    nx_error err = {0};
    patch *self = nx_http_context(request);
    nx_status status = NX_OK;
    if ((int64_t)size > self->length - self->received) {
        *problem = nx_problem_make(413, "Send no more than Upload-Length said.",
                                   "the body passes the end of the upload at %lld bytes",
                                   (long long)self->length);
        return false;
    }
    if (!self->has_begun) {
        status = nx_object_writer_begin(self->writer, self->received, &err);
        self->has_begun = status == NX_OK;
    }
    if (status == NX_OK) {
        status = nx_object_writer_put(self->writer, bytes, size, &err);
    }
    if (status == NX_OK) {
        self->received += (int64_t)size;
        if (self->received - self->confirmed >= CONFIRM_BYTES) {
            status = confirm(self, &err);
        }
    }
    if (status != NX_OK) {
        *problem = nx_api_storage_problem(api, request, status, &err);
    }
    return status == NX_OK;
}

/* --- its end ------------------------------------------------------------------------------------
 */

/* All bytes are there: a video, or nothing. False fills problem. */
static bool make_video(patch *self, const nx_http_request *request, const nx_upload *upload,
                       nx_arena *arena, nx_problem *problem)
{
    nx_api *api = self->api;
    char name[NX_API_VIDEO_NAME_MAX + 1];
    nx_error err = {0};
    nx_error ignored = {0};
    nx_video video;
    bool made = false;
    if (!nx_api_upload_name(upload->metadata, name, problem)) {
        return false; /* was checked when it was made */
    }
    nx_status status =
        nx_api_video_take_in(api, upload->owner, upload->id, name, arena, &video, &made, &err);
    if (status == NX_OK) {
        status = nx_store_upload_finish(api->deps.database, upload->id, video.id, &err);
    } else if (nx_api_video_is_refused(status) &&
               nx_store_upload_remove(api->deps.database, upload->id, &ignored) != NX_OK) {
        nx_log_warn("api", "%s", ignored.message);
    }
    if (status != NX_OK) {
        *problem = nx_api_video_problem(api, request, status, &err);
    }
    if ((status == NX_OK || nx_api_video_is_refused(status)) &&
        nx_objects_discard(api->deps.objects, upload->id, &ignored) != NX_OK) {
        nx_log_warn("api", "%s", ignored.message);
    }
    return status == NX_OK;
}

/* The upload as it is now, complete or not. False fills problem. */
static bool go_on(patch *self, nx_http_request *request, nx_arena *arena, nx_upload *upload,
                  nx_problem *problem)
{
    nx_store *database = self->api->deps.database;
    nx_error err = {0};
    nx_status status = confirm(self, &err);
    if (status == NX_OK) {
        status = nx_store_upload_get(database, self->id, arena, upload, &err);
    }
    if (status == NX_OK && upload->received == upload->length && !self->has_video) {
        if (!make_video(self, request, upload, arena, problem)) {
            return false;
        }
        status = nx_store_upload_get(database, self->id, arena, upload, &err);
    }
    if (status != NX_OK) {
        *problem = nx_api_storage_problem(self->api, request, status, &err);
    }
    return status == NX_OK;
}

/* On a thread that may wait. */
static void answer_patch(nx_api *api, nx_http_request *request)
{
    (void)api;
    patch *self = nx_http_context(request);
    nx_upload upload;
    nx_problem problem;
    nx_arena arena = nx_arena_make(0);
    bool good = go_on(self, request, &arena, &upload, &problem);
    nx_object_writer_close(self->writer); /* who sees the answer may go on at once */
    self->writer = NULL;
    if (good) {
        nx_api_upload_headers(request, &upload);
        nx_http_reply_static(request, 204, NULL, NULL, 0);
    } else {
        nx_api_tus_refuse(request, &problem);
    }
    nx_arena_free(&arena);
}

void nx_api_uploads_patch(nx_http_request *request, void *user)
{
    nx_api_answer_slowly(user, request, answer_patch);
}
