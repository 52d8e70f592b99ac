/* GET /api/v1/videos, .../{id} and .../{id}/content; DELETE .../{id}. */
#include "api/videos.h"

#include "api/answers.h"
#include "api/audit.h"
#include "api/video_record.h"
#include "base/log.h"
#include "store/object_uses.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* --- showing ------------------------------------------------------------------------------------
 */

void nx_api_video_json(const nx_video *video, nx_json *json)
{
    char content[96];
    snprintf(content, sizeof content, "/api/v1/videos/%.40s/content", video->id);
    nx_json_object_begin(json);
    nx_json_key_string(json, "id", video->id);
    nx_json_key_string(json, "name", video->name);
    nx_json_key_int(json, "size_bytes", video->size);
    nx_json_key_string(json, "sha256", video->hash);
    nx_api_json_text(json, "video", video->probe);
    nx_json_key_string(json, "content", content);
    nx_api_json_time(json, "created_at", video->created_at);
    nx_json_object_end(json);
}

void nx_api_reply_video(nx_http_request *request, int status, const nx_video *video)
{
    char location[80];
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    snprintf(location, sizeof location, "/api/v1/videos/%.40s", video->id);
    nx_api_video_json(video, &json);
    nx_http_add_header(request, "Location", location);
    nx_api_reply_json(request, status, &out);
}

/* --- the list -----------------------------------------------------------------------------------
 */

static void reply_list(nx_http_request *request, const nx_video *videos, size_t count, size_t limit)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_api_page_begin(&out);
    size_t shown = count < limit ? count : limit;
    for (size_t i = 0; i < shown; i++) {
        nx_api_video_json(&videos[i], &json);
    }
    nx_api_page_end(&json, count > limit ? videos[limit - 1].id : NULL);
    nx_api_keep_answer(request, &out, NULL);
    nx_api_reply_json(request, 200, &out);
}

static void answer_list(nx_api *api, nx_http_request *request)
{
    nx_api_page page;
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    nx_video videos[NX_API_PAGE_MAX + 1]; /* one more tells whether there is another page */
    size_t count = 0;
    if (!nx_api_page_read(request, false, &page)) {
        return;
    }
    nx_status status = nx_store_videos_list(api->deps.database, NULL, page.cursor, page.limit + 1,
                                            &arena, videos, &count, &err);
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
    } else {
        reply_list(request, videos, count, page.limit);
    }
    nx_arena_free(&arena);
}

static const nx_answer_plan list_plan = {
    .name = "videos",
    .kind = NX_CACHE_RESPONSES,
    .states = 1U << NX_STATE_VIDEOS | 1U << NX_STATE_VIDEOS_ADDED,
    .found = nx_api_found_json,
    .make = answer_list,
};

void nx_api_videos_list(nx_http_request *request, void *user)
{
    nx_api_answer_kept(user, request, &list_plan);
}

/* --- one ----------------------------------------------------------------------------------------
 */

/* The video of the path, in the arena. False: the request is answered. */
static bool find(nx_api *api, nx_http_request *request, nx_arena *arena, nx_video *out)
{
    nx_error err = {0};
    const char *id = nx_api_path_id(request, "video");
    if (id == NULL || !nx_api_no_options(request)) {
        return false;
    }
    nx_status status = nx_store_video_get(api->deps.database, id, arena, out, &err);
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
    }
    return status == NX_OK;
}

/* As find, and keeps it. */
static bool find_and_keep(nx_api *api, nx_http_request *request, nx_arena *arena, nx_video *out)
{
    nx_buffer record = NX_BUFFER_INIT;
    if (!find(api, request, arena, out)) {
        return false;
    }
    nx_video_record_write(out, &record);
    nx_api_keep_answer(request, &record, NULL);
    nx_buffer_free(&record);
    return true;
}

/* The video of what was kept; else it is looked for. False: the request is answered. */
static bool find_kept(nx_api *api, nx_http_request *request, const nx_buffer *record,
                      nx_arena *arena, nx_video *out)
{
    if (!nx_video_record_read(record->data, record->size, out)) {
        return find(api, request, arena, out);
    }
    return nx_api_no_options(request);
}

static void reply_get(nx_http_request *request, const nx_video *video)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_api_video_json(video, &json);
    nx_api_reply_json(request, 200, &out);
}

static void answer_get(nx_api *api, nx_http_request *request)
{
    nx_arena arena = nx_arena_make(0);
    nx_video video;
    if (find_and_keep(api, request, &arena, &video)) {
        reply_get(request, &video);
    }
    nx_arena_free(&arena);
}

static void found_get(nx_api *api, nx_http_request *request, nx_buffer *record, const char *etag)
{
    (void)etag;
    nx_arena arena = nx_arena_make(0);
    nx_video video;
    if (find_kept(api, request, record, &arena, &video)) {
        reply_get(request, &video);
    }
    nx_arena_free(&arena);
}

static const nx_answer_plan get_plan = {
    .name = "video",
    .kind = NX_CACHE_VIDEOS,
    .states = 1U << NX_STATE_VIDEOS,
    .by_id = true,
    .found = found_get,
    .make = answer_get,
};

void nx_api_videos_get(nx_http_request *request, void *user)
{
    nx_api_answer_kept(user, request, &get_plan);
}

/* --- its bytes ----------------------------------------------------------------------------------
 */

static const char *content_type(const char *probe)
{
    static const char *const types[][2] = {
        {"mov", "video/mp4"},
        {"matroska", "video/x-matroska"},
        {"avi", "video/x-msvideo"},
        {"mpegts", "video/mp2t"},
    };
    const char *type = "application/octet-stream";
    json_t *object = probe != NULL ? json_loads(probe, 0, NULL) : NULL;
    const char *container = json_string_value(json_object_get(object, "container"));
    for (size_t i = 0; container != NULL && i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(container, types[i][0]) == 0) {
            type = types[i][1];
        }
    }
    json_decref(object);
    return type;
}

static void reply_content(nx_api *api, nx_http_request *request, const nx_video *video)
{
    char etag[NX_OBJECT_NAME_SIZE + 2];
    nx_error err = {0};
    int fd = -1;
    nx_status status = nx_objects_fetch(api->deps.objects, video->hash, &fd, &err);
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
    } else {
        snprintf(etag, sizeof etag, "\"%.64s\"", video->hash);
        nx_http_reply_file(request, content_type(video->probe), etag, fd, (uint64_t)video->size);
    }
}

static void answer_content(nx_api *api, nx_http_request *request)
{
    nx_arena arena = nx_arena_make(0);
    nx_video video;
    if (find_and_keep(api, request, &arena, &video)) {
        reply_content(api, request, &video);
    }
    nx_arena_free(&arena);
}

static void found_content(nx_api *api, nx_http_request *request, nx_buffer *record,
                          const char *etag)
{
    (void)etag;
    nx_arena arena = nx_arena_make(0);
    nx_video video;
    if (find_kept(api, request, record, &arena, &video)) {
        reply_content(api, request, &video);
    }
    nx_arena_free(&arena);
}

static const nx_answer_plan content_plan = {
    .name = "video",
    .kind = NX_CACHE_VIDEOS,
    .states = 1U << NX_STATE_VIDEOS,
    .by_id = true,
    .slow = true,
    .found = found_content,
    .make = answer_content,
};

void nx_api_videos_content(nx_http_request *request, void *user)
{
    nx_api_answer_kept(user, request, &content_plan);
}

/* --- removing -----------------------------------------------------------------------------------
 */

/* The object goes unless somebody else needs it; what is left of it is found later. */
static nx_status remove_video(nx_api *api, const nx_video *video, nx_error *err)
{
    const char *const content[] = {video->hash};
    nx_error why = {0};
    nx_status status = nx_store_video_remove(api->deps.database, video->id, err);
    if (status == NX_OK && nx_store_objects_collect(api->deps.database, api->deps.objects, content,
                                                    1, NULL, &why) != NX_OK) {
        nx_log_warn("api", "the content of a removed video is left: %s", why.message);
    }
    return status;
}

static void answer_remove(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    nx_video video;
    if (find(api, request, &arena, &video)) {
        nx_status status = remove_video(api, &video, &err);
        const nx_api_event event = {
            .action = "video.remove", .kind = "video", .name = video.id, .outcome = status};
        nx_api_audit(api, request, &event);
        if (status != NX_OK) {
            nx_api_storage_refuse(api, request, status, &err);
        } else {
            nx_http_reply_static(request, 204, NULL, NULL, 0);
        }
    }
    nx_arena_free(&arena);
}

void nx_api_videos_remove(nx_http_request *request, void *user)
{
    nx_api_answer_slowly(user, request, answer_remove);
}
