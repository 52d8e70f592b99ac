/* From the bytes of an upload to a video. */
#include "api/videos.h"
#include "base/clock.h"
#include "media/decoder.h"
#include "store/object_uses.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_CHUNK ((size_t)256 << 10)

bool nx_api_video_name(const char *given, char out[NX_API_VIDEO_NAME_MAX + 1], nx_problem *problem)
{
    const char *name = given != NULL ? given : "";
    for (const char *at = name; *at != '\0'; at++) {
        if (*at == '/' || *at == '\\') {
            name = at + 1;
        }
    }
    if (strlen(name) > NX_API_VIDEO_NAME_MAX || !nx_api_is_clean_text(name)) {
        *problem = nx_problem_make(422, "Name it with at most 255 bytes of UTF-8.",
                                   "the name of the video is too long, or no text");
        return false;
    }
    snprintf(out, NX_API_VIDEO_NAME_MAX + 1, "%s", name[0] != '\0' ? name : "video");
    return true;
}

/* --- looking into it ----------------------------------------------------------------------------
 */

static void write_probe(const nx_decoder_info *info, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "container", info->container);
    nx_json_key_string(&json, "codec", info->codec);
    nx_json_key_int(&json, "width", info->width);
    nx_json_key_int(&json, "height", info->height);
    nx_json_key_int(&json, "rotation", info->rotation);
    nx_json_key(&json, "fps");
    if (info->fps > 0) {
        nx_json_number(&json, info->fps, 6);
    } else {
        nx_json_null(&json);
    }
    nx_json_key(&json, "duration_s");
    if (info->duration_ns > 0) {
        nx_json_number(&json, (double)info->duration_ns / (double)NX_NS_PER_SEC, 6);
    } else {
        nx_json_null(&json);
    }
    nx_json_key(&json, "frames");
    if (info->frames > 0) {
        nx_json_int(&json, (int64_t)info->frames);
    } else {
        nx_json_null(&json);
    }
    nx_json_object_end(&json);
}

/* The object store has no way to read an upload that is not kept yet: this is where it writes. It
 * is looked at before it is kept, so that what is no video never becomes an object, under a name
 * that may be a result's as well. */
static nx_status open_upload(const nx_api *api, const char *upload, int *fd, nx_error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s.part", api->upload_dir, upload) < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the upload");
    }
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    if (*fd < 0) {
        return nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO, errno,
                                  "cannot read upload %s", upload);
    }
    return NX_OK;
}

static nx_status look_into(nx_api *api, const char *upload, const char *name, nx_buffer *probe,
                           nx_error *err)
{
    int fd = -1;
    nx_decoder *decoder = NULL;
    const nx_decoder_options options = {.max_pixels = api->max_pixels};
    nx_status status = open_upload(api, upload, &fd, err);
    if (status != NX_OK) {
        return status;
    }
    status = nx_decoder_open_fd(fd, name, &options, &decoder, err);
    close(fd);
    if (status == NX_OK) {
        write_probe(nx_decoder_get_info(decoder), probe);
        status =
            probe->failed ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the video") : NX_OK;
    }
    nx_decoder_free(decoder);
    return status;
}

/* --- entering it --------------------------------------------------------------------------------
 */

/* Kept, entered and let go, in this order: nobody takes the object away in between. */
nx_status nx_api_video_take_in(nx_api *api, const char *owner, const char *upload, const char *name,
                               nx_arena *arena, nx_video *out, bool *made, nx_error *err)
{
    char hash[NX_OBJECT_NAME_SIZE];
    const char *const kept[] = {hash};
    nx_buffer probe = NX_BUFFER_INIT;
    nx_store *store = api->deps.database;
    int64_t size = 0;
    nx_status status = look_into(api, upload, name, &probe, err);
    if (status == NX_OK) {
        status = nx_store_keep_upload(store, api->deps.objects, upload, upload, hash, &size, err);
    }
    if (status == NX_OK) {
        const nx_video video = {.owner = owner,
                                .hash = hash,
                                .size = size,
                                .name = name,
                                .probe = nx_buffer_cstr(&probe)};
        status = nx_store_video_add(store, &video, arena, out, made, err);
        (void)nx_store_object_release(store, upload, NULL); /* it ends by itself */
        if (status != NX_OK) {
            (void)nx_store_objects_collect(store, api->deps.objects, kept, 1, NULL, NULL);
        }
    }
    nx_buffer_free(&probe);
    return status;
}

/* --- errors -------------------------------------------------------------------------------------
 */

bool nx_api_video_is_refused(nx_status status)
{
    return status == NX_ERR_UNSUPPORTED || status == NX_ERR_CORRUPT || status == NX_ERR_INVALID ||
           status == NX_ERR_TOO_LARGE || status == NX_ERR_TIMEOUT;
}

nx_problem nx_api_video_problem(nx_api *api, const nx_http_request *request, nx_status status,
                                const nx_error *err)
{
    switch (status) {
    case NX_ERR_UNSUPPORTED:
        return nx_problem_make(415, "Send a video: mp4, mov, mkv, webm, avi or ts.", "%s",
                               err->message);
    case NX_ERR_CORRUPT:
    case NX_ERR_INVALID:
        return nx_problem_make(422, "Send the whole file; check that it was not cut short.", "%s",
                               err->message);
    case NX_ERR_TOO_LARGE:
        return nx_problem_make(413, "Scale the video down.", "%s", err->message);
    case NX_ERR_TIMEOUT:
        return nx_problem_make(422, "Convert it to mp4, and send that.", "%s", err->message);
    default:
        return nx_api_storage_problem(api, request, status, err);
    }
}

/* --- copying ------------------------------------------------------------------------------------
 */

/* A file may grow while it is read, or, as in /proc, not say how long it is. */
static nx_status copy_bytes(int fd, nx_object_writer *writer, char *chunk, uint64_t most,
                            nx_error *err)
{
    uint64_t size = 0;
    for (;;) {
        ssize_t got = read(fd, chunk, COPY_CHUNK);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read the video's file");
        }
        if (got == 0) {
            return NX_OK;
        }
        size += (uint64_t)got;
        if (size > most) {
            return nx_error_set(
                err, NX_ERR_TOO_LARGE,
                "the video's file has more bytes than MAX_VIDEO_BYTES, which is %llu",
                (unsigned long long)most);
        }
        nx_status status = nx_object_writer_put(writer, chunk, (size_t)got, err);
        if (status != NX_OK) {
            return status;
        }
    }
}

nx_status nx_api_video_copy_fd(nx_api *api, int fd, const char *upload, nx_error *err)
{
    nx_object_writer *writer = NULL;
    char *chunk = malloc(COPY_CHUNK);
    nx_status status = chunk != NULL
                           ? nx_objects_write(api->deps.objects, upload, 0, &writer, err)
                           : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the upload");
    if (status == NX_OK) {
        status = copy_bytes(fd, writer, chunk, api->max_video, err);
    }
    nx_object_writer_close(writer);
    free(chunk);
    return status;
}

nx_status nx_api_video_copy(nx_api *api, const char *path, const char *upload, nx_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read the form's file");
    }
    nx_status status = nx_api_video_copy_fd(api, fd, upload, err);
    close(fd);
    return status;
}
