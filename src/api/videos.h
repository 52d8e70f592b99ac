/* The resource /api/v1/videos: what its files, uploads and jobs share. */
#ifndef NX_API_VIDEOS_H
#define NX_API_VIDEOS_H

#include "api/internal.h"
#include "api/storage.h"
#include "store/objects.h"
#include "store/videos.h"

#define NX_API_VIDEO_NAME_MAX 255 /* bytes */

/* --- taking in: on threads that may wait --- */

/* Puts the name of a file, without the folders before it, into out; NULL and "": "video". False
 * fills problem: it is too long, or no text. */
bool nx_api_video_name(const char *given, char out[NX_API_VIDEO_NAME_MAX + 1], nx_problem *problem);

/*
 * Makes a video of an upload whose bytes are all there: looks into it, keeps it as an object and
 * enters it; made is false when it was there already. The upload stays, to be discarded by the
 * caller. Errors: what nx_decoder_open says of what is no video; those of the store and the
 * objects.
 */
nx_status nx_api_video_take_in(nx_api *api, const char *owner, const char *upload, const char *name,
                               nx_arena *arena, nx_video *out, bool *made, nx_error *err);

/* An error of it as it is answered. */
nx_problem nx_api_video_problem(nx_api *api, const nx_http_request *request, nx_status status,
                                const nx_error *err);

/* Whether it says that the bytes are no video that Nexus reads, now or later. */
bool nx_api_video_is_refused(nx_status status);

/* Copies a form's file, or what a descriptor reads, into an upload that is new. */
nx_status nx_api_video_copy(nx_api *api, const char *path, const char *upload, nx_error *err);
nx_status nx_api_video_copy_fd(nx_api *api, int fd, const char *upload, nx_error *err);

/* --- showing --- */

void nx_api_video_json(const nx_video *video, nx_json *json); /* as an object */

/* Answers with a video, and its Location. */
void nx_api_reply_video(nx_http_request *request, int status, const nx_video *video);

/* --- handlers; user is the nx_api --- */

void nx_api_videos_list(nx_http_request *request, void *user);
void nx_api_videos_get(nx_http_request *request, void *user);
void nx_api_videos_content(nx_http_request *request, void *user);
void nx_api_videos_remove(nx_http_request *request, void *user);

/* The three of POST /api/v1/videos: before the body, for each piece of it, and at its end. */
void nx_api_videos_admit(nx_http_request *request, void *user);
bool nx_api_videos_receive(nx_http_request *request, const char *bytes, size_t size,
                           nx_problem *problem, void *user);
void nx_api_videos_add(nx_http_request *request, void *user);

#endif
