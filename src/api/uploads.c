/* OPTIONS and POST /api/v1/uploads; GET, HEAD and DELETE .../{id}; what PATCH shares with them. */
#include "api/uploads.h"

#include "api/gate.h"
#include "api/videos.h"
#include "base/clock.h"
#include "base/log.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_METADATA 4096
#define MOST_EXPIRED  32

/* --- time ---------------------------------------------------------------------------------------
 */

bool nx_api_upload_is_over(const nx_upload *upload)
{
    return upload->expires_at <= nx_clock_unix_ms();
}

/* Takes out some of those whose time is over, with their bytes. */
static void expire_uploads(nx_api *api)
{
    const char *ids[MOST_EXPIRED];
    size_t count = 0;
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    nx_status status =
        nx_store_uploads_expire(api->deps.database, MOST_EXPIRED, &arena, ids, &count, &err);
    for (size_t i = 0; status == NX_OK && i < count; i++) {
        status = nx_objects_discard(api->deps.objects, ids[i], &err);
    }
    if (status != NX_OK) {
        nx_log_warn("api", "cannot take out old uploads: %s", err.message);
    }
    nx_arena_free(&arena);
}

/* --- headers ------------------------------------------------------------------------------------
 */

bool nx_api_header_number(const nx_http_request *request, const char *name, int64_t *out)
{
    const char *text = nx_http_header(request, name);
    size_t digits = text != NULL ? strspn(text, "0123456789") : 0;
    if (digits == 0 || digits > 18 || text[digits] != '\0') {
        return false;
    }
    *out = strtoll(text, NULL, 10);
    return true;
}

/* The value of a key in "key base64,key base64". NULL: it is not there. */
static const char *find_key(const char *metadata, const char *key, size_t *size)
{
    size_t length = strlen(key);
    for (const char *at = metadata; *at != '\0';) {
        at += strspn(at, ", ");
        size_t pair = strcspn(at, ",");
        if (pair > length && strncmp(at, key, length) == 0 && at[length] == ' ') {
            *size = pair - length - 1;
            return at + length + 1;
        }
        at += pair;
    }
    return NULL;
}

bool nx_api_upload_name(const char *metadata, char *out, nx_problem *problem)
{
    char text[2 * NX_API_VIDEO_NAME_MAX + 1];
    size_t size = 0;
    size_t decoded = 0;
    const char *end = NULL;
    const char *value = metadata != NULL ? find_key(metadata, "filename", &size) : NULL;
    if (value == NULL && metadata != NULL) {
        value = find_key(metadata, "name", &size);
    }
    if (value == NULL) {
        return nx_api_video_name(NULL, out, problem);
    }
    if (sodium_base642bin((unsigned char *)text, sizeof text - 1, value, size, NULL, &decoded, &end,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        end != value + size || memchr(text, '\0', decoded) != NULL) {
        *problem = nx_problem_make(400, "Send keys with values in base64, as tus 1.0.0 says.",
                                   "Upload-Metadata: the file's name is not base64, or too long");
        return false;
    }
    text[decoded] = '\0';
    return nx_api_video_name(text, out, problem);
}

void nx_api_upload_headers(nx_http_request *request, const nx_upload *upload)
{
    char text[80];
    struct tm utc;
    time_t expires = (time_t)(upload->expires_at / 1000);
    nx_http_add_header(request, "Tus-Resumable", "1.0.0");
    snprintf(text, sizeof text, "%lld", (long long)upload->received);
    nx_http_add_header(request, "Upload-Offset", text);
    snprintf(text, sizeof text, "%lld", (long long)upload->length);
    nx_http_add_header(request, "Upload-Length", text);
    if (upload->video_id != NULL) {
        snprintf(text, sizeof text, "/api/v1/videos/%.40s", upload->video_id);
        nx_http_add_header(request, "Location", text);
    } else {
        gmtime_r(&expires, &utc);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        nx_http_add_header(request, "Upload-Expires", text);
    }
}

void nx_api_tus_refuse(nx_http_request *request, const nx_problem *problem)
{
    nx_http_add_header(request, "Tus-Resumable", "1.0.0");
    nx_http_reply_problem(request, problem);
}

bool nx_api_tus_version(nx_http_request *request)
{
    const char *version = nx_http_header(request, "Tus-Resumable");
    if (version != NULL && strcmp(version, "1.0.0") == 0) {
        return true;
    }
    nx_problem problem = nx_problem_make(
        412, "Send the header Tus-Resumable: 1.0.0, as clients of tus do.",
        "the request speaks tus '%.20s', not 1.0.0", version != NULL ? version : "");
    nx_http_add_header(request, "Tus-Version", "1.0.0");
    nx_api_tus_refuse(request, &problem);
    return false;
}

nx_problem nx_api_upload_problem(nx_api *api, const nx_http_request *request, nx_status status,
                                 const nx_error *err)
{
    return status == NX_ERR_BUSY
               ? nx_problem_make(423, "Ask with HEAD where to go on, in a moment.", "%s",
                                 err->message)
               : nx_api_storage_problem(api, request, status, err);
}

static void refuse(nx_api *api, nx_http_request *request, nx_status status, const nx_error *err)
{
    nx_problem problem = nx_api_upload_problem(api, request, status, err);
    nx_api_tus_refuse(request, &problem);
}

/* --- what can be done ---------------------------------------------------------------------------
 */

void nx_api_uploads_options(nx_http_request *request, void *user)
{
    const nx_api *api = user;
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)api->max_video);
    nx_http_add_header(request, "Tus-Resumable", "1.0.0");
    nx_http_add_header(request, "Tus-Version", "1.0.0");
    nx_http_add_header(request, "Tus-Extension", "creation,expiration,termination");
    nx_http_add_header(request, "Tus-Max-Size", text);
    nx_http_reply_static(request, 204, NULL, NULL, 0);
}

/* --- making one ---------------------------------------------------------------------------------
 */

/* False fills problem. */
static bool read_wish(const nx_api *api, const nx_http_request *request, nx_upload *out,
                      nx_problem *problem)
{
    char name[NX_API_VIDEO_NAME_MAX + 1];
    const char *metadata = nx_http_header(request, "Upload-Metadata");
    *out =
        (nx_upload){.owner = nx_api_owner(request), .metadata = metadata != NULL ? metadata : ""};
    if (!nx_api_header_number(request, "Upload-Length", &out->length) || out->length == 0) {
        *problem = nx_problem_make(400, "Send the file's size in bytes, above 0.",
                                   "Upload-Length is missing, or no size of a video");
        return false;
    }
    if ((uint64_t)out->length > api->max_video) {
        *problem = nx_problem_make(413, "Send a smaller file, or raise MAX_VIDEO_BYTES.",
                                   "Upload-Length is more than the %llu bytes that are allowed",
                                   (unsigned long long)api->max_video);
        return false;
    }
    if (strlen(out->metadata) > MOST_METADATA || !nx_api_is_clean_text(out->metadata)) {
        *problem = nx_problem_make(400, "Send the file's name alone.",
                                   "Upload-Metadata is too long, or no text");
        return false;
    }
    return nx_api_upload_name(out->metadata, name, problem);
}

static void answer_add(nx_api *api, nx_http_request *request)
{
    char location[80];
    nx_upload wish;
    nx_upload upload;
    nx_problem problem;
    nx_error err = {0};
    nx_object_writer *writer = NULL;
    nx_arena arena = nx_arena_make(0);
    if (!nx_api_tus_version(request) || !nx_api_no_options(request)) {
        return;
    }
    if (!read_wish(api, request, &wish, &problem)) {
        nx_api_tus_refuse(request, &problem);
        return;
    }
    expire_uploads(api);
    nx_status status =
        nx_store_upload_add(api->deps.database, &wish, api->upload_ms, &arena, &upload, &err);
    if (status == NX_OK) { /* the file, so that whoever looks finds it */
        status = nx_objects_write(api->deps.objects, upload.id, 0, &writer, &err);
    }
    nx_object_writer_close(writer);
    if (status != NX_OK) {
        refuse(api, request, status, &err);
    } else {
        snprintf(location, sizeof location, "/api/v1/uploads/%.40s", upload.id);
        nx_http_add_header(request, "Location", location);
        nx_api_upload_headers(request, &upload);
        nx_http_reply_static(request, 201, NULL, NULL, 0);
    }
    nx_arena_free(&arena);
}

void nx_api_uploads_add(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_add);
}

/* --- showing one --------------------------------------------------------------------------------
 */

static void write_upload(const nx_upload *upload, nx_buffer *out)
{
    char video[80];
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "id", upload->id);
    nx_json_key_int(&json, "offset", upload->received);
    nx_json_key_int(&json, "length", upload->length);
    snprintf(video, sizeof video, "/api/v1/videos/%.40s",
             upload->video_id != NULL ? upload->video_id : "");
    nx_json_key_string(&json, "video", upload->video_id != NULL ? video : NULL);
    nx_api_json_time(&json, "created_at", upload->created_at);
    nx_api_json_time(&json, "expires_at", upload->expires_at);
    nx_json_object_end(&json);
}

static void answer_get(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    nx_upload upload;
    nx_buffer out = NX_BUFFER_INIT;
    nx_arena arena = nx_arena_make(0);
    const char *id = nx_api_path_id(request, "upload");
    if (id == NULL || !nx_api_no_options(request)) {
        return;
    }
    nx_status status = nx_store_upload_get(api->deps.database, id, &arena, &upload, &err);
    if (status != NX_OK) {
        refuse(api, request, status, &err);
    } else if (nx_api_upload_is_over(&upload)) {
        nx_problem problem =
            nx_problem_make(410, "Begin again with POST.", "the time of upload %s is over", id);
        expire_uploads(api);
        nx_api_tus_refuse(request, &problem);
    } else {
        nx_api_upload_headers(request, &upload);
        write_upload(&upload, &out);
        nx_api_reply_json(request, 200, &out);
    }
    nx_arena_free(&arena);
}

void nx_api_uploads_get(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_get);
}

/* --- ending one ---------------------------------------------------------------------------------
 */

static void answer_remove(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    nx_object_writer *writer = NULL; /* nobody else's meanwhile */
    const char *id = nx_api_path_id(request, "upload");
    if (id == NULL || !nx_api_tus_version(request)) {
        return;
    }
    nx_status status = nx_objects_claim(api->deps.objects, id, false, &writer, &err);
    if (status == NX_OK || status == NX_ERR_NOT_FOUND) { /* it may be a video by now */
        status = nx_store_upload_remove(api->deps.database, id, &err);
    }
    if (status == NX_OK) {
        status = nx_objects_discard(api->deps.objects, id, &err);
    }
    nx_object_writer_close(writer);
    if (status != NX_OK) {
        refuse(api, request, status, &err);
    } else {
        nx_http_add_header(request, "Tus-Resumable", "1.0.0");
        nx_http_reply_static(request, 204, NULL, NULL, 0);
    }
}

void nx_api_uploads_remove(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_remove);
}
