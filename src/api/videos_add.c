/*
 * POST /api/v1/videos: a body written to the disk as it comes in, or a form with one file. At its
 * end, on a thread that may wait, it becomes a video.
 */
#include "api/gate.h"
#include "api/inference.h"
#include "api/videos.h"
#include "base/log.h"
#include "base/uuid.h"

#include <stdlib.h>
#include <string.h>

/* The context of the request. What was not kept when the request ends is gone with it. */
typedef struct incoming {
    nx_api *api;
    nx_object_writer *writer; /* while a raw body comes in */
    char id[NX_UUID_SIZE];    /* of the upload */
    char name[NX_API_VIDEO_NAME_MAX + 1];
} incoming;

static void free_incoming(void *context)
{
    incoming *self = context;
    nx_error err = {0};
    nx_object_writer_close(self->writer);
    if (nx_objects_discard(self->api->deps.objects, self->id, &err) != NX_OK) {
        nx_log_warn("api", "%s", err.message);
    }
    free(self);
}

/* --- the name -----------------------------------------------------------------------------------
 */

typedef struct name_option {
    const char *value;
    const char *wrong;
} name_option;

static bool take_option(const char *name, const char *value, void *user)
{
    name_option *self = user;
    if (strcmp(name, "name") != 0 || value == NULL || self->value != NULL) {
        self->wrong = name;
        return false;
    }
    self->value = value;
    return true;
}

/* Of the query, else of the form's file. */
static bool read_name(const nx_http_request *request, const char *file,
                      char out[NX_API_VIDEO_NAME_MAX + 1], nx_problem *problem)
{
    name_option option = {0};
    nx_http_each_query(request, take_option, &option);
    if (option.wrong != NULL) {
        *problem =
            nx_problem_make(422, "The one option is name, given once, as in ?name=door.mp4.",
                            "the option '%.60s' is not understood, or given twice", option.wrong);
        return false;
    }
    return nx_api_video_name(option.value != NULL ? option.value : file, out, problem);
}

void nx_api_videos_admit(nx_http_request *request, void *user)
{
    nx_api *api = user;
    char name[NX_API_VIDEO_NAME_MAX + 1];
    nx_problem problem;
    if (api->slow == NULL) {
        problem = nx_problem_make(503, "Ask a server that was started with 'nexus serve'.",
                                  "this server has no database");
        nx_http_reply_problem(request, &problem);
    } else if (!read_name(request, NULL, name, &problem)) {
        nx_http_reply_problem(request, &problem);
    } else {
        nx_api_admit_inference(request, user);
    }
}

/* --- the body -----------------------------------------------------------------------------------
 */

/* NULL fills problem. */
static incoming *new_incoming(nx_api *api, nx_http_request *request, nx_problem *problem)
{
    nx_error err = {0};
    incoming *self = calloc(1, sizeof *self);
    nx_status status = self != NULL ? nx_uuid_make(self->id, &err)
                                    : nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory");
    if (status != NX_OK) {
        free(self);
        *problem = nx_api_storage_problem(api, request, status, &err);
        return NULL;
    }
    self->api = api;
    nx_http_set_context(request, self, free_incoming);
    return self;
}

bool nx_api_videos_receive(nx_http_request *request, const char *bytes, size_t size,
                           nx_problem *problem, void *user)
{
    nx_api *api = user;
    nx_error err = {0};
    incoming *self = nx_http_context(request);
    nx_status status = NX_OK;
    if (self == NULL) {
        self = new_incoming(api, request, problem);
        if (self == NULL) {
            return false;
        }
        status = nx_objects_write(api->deps.objects, self->id, 0, &self->writer, &err);
    }
    if (status == NX_OK) {
        status = nx_object_writer_put(self->writer, bytes, size, &err);
    }
    if (status != NX_OK) {
        *problem = nx_api_storage_problem(api, request, status, &err);
    }
    return status == NX_OK;
}

/* --- its end ------------------------------------------------------------------------------------
 */

static void refuse(nx_api *api, nx_http_request *request, nx_status status, const nx_error *err)
{
    nx_problem problem = nx_api_video_problem(api, request, status, err);
    nx_http_reply_problem(request, &problem);
}

/* The one file of a form. NULL fills problem. */
static const nx_http_part *form_file(const nx_http_request *request, nx_problem *problem)
{
    size_t count = 0;
    const nx_http_part *file = NULL;
    const nx_http_part *parts = nx_http_parts(request, &count);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].filename == NULL) {
            *problem = nx_problem_make(422, "Send the file alone; ?name= names it.",
                                       "the form's field '%.60s' is not understood", parts[i].name);
            return NULL;
        }
        file = &parts[i]; /* more than one was refused as it came */
    }
    if (file == NULL || file->path == NULL || file->size == 0) {
        *problem = nx_problem_make(400, "Send it as curl -F video=@street.mp4 does.",
                                   file == NULL ? "the form has no file" : "the file is empty");
        return NULL;
    }
    return file;
}

/* On a thread that may wait. */
static void take_in(nx_api *api, nx_http_request *request)
{
    incoming *self = nx_http_context(request);
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    nx_video video = {0};
    bool made = false;
    nx_status status = NX_OK;
    size_t count = 0;
    const nx_http_part *parts = nx_http_parts(request, &count);
    nx_object_writer_close(self->writer); /* what is kept is synced */
    self->writer = NULL;
    if (count > 0) {
        status = nx_api_video_copy(api, parts[0].path, self->id, &err);
    }
    if (status == NX_OK) {
        status = nx_api_video_take_in(api, nx_api_owner(request), self->id, self->name, &arena,
                                      &video, &made, &err);
    }
    if (status != NX_OK) {
        refuse(api, request, status, &err);
    } else {
        nx_api_reply_video(request, made ? 201 : 200, &video);
    }
    nx_arena_free(&arena);
}

void nx_api_videos_add(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_problem problem;
    const char *file = NULL;
    incoming *self = nx_http_context(request);
    if (nx_http_content_type_is(request, "multipart/form-data")) {
        const nx_http_part *part = form_file(request, &problem);
        file = part != NULL ? part->filename : NULL;
        self = part != NULL ? new_incoming(api, request, &problem) : NULL;
    } else if (self == NULL) {
        problem = nx_problem_make(400, "Send the file's bytes as the body.", "the body is empty");
    }
    if (self == NULL || !read_name(request, file, self->name, &problem)) {
        nx_http_reply_problem(request, &problem);
        return;
    }
    nx_api_answer_slowly(api, request, take_in);
}
