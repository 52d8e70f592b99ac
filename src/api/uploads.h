/*
 * The resource /api/v1/uploads: resumable uploads as tus 1.0.0 has them
 * (tus.io/protocols/resumable-upload), with its extensions creation, expiration and termination. An
 * upload that is complete becomes a video.
 */
#ifndef NX_API_UPLOADS_H
#define NX_API_UPLOADS_H

#include "api/internal.h"
#include "api/storage.h"
#include "base/uuid.h"
#include "store/objects.h"
#include "store/videos.h"

/* Whether its time is over by this machine's clock. */
bool nx_api_upload_is_over(const nx_upload *upload);

/* "filename" or "name" of Upload-Metadata, decoded, into out; "video" without. False fills problem:
 * the header can't be read, or the name is none. */
bool nx_api_upload_name(const char *metadata, char *out, nx_problem *problem);

/* A whole number of 0 or more in a header; false: it is missing, or none. */
bool nx_api_header_number(const nx_http_request *request, const char *name, int64_t *out);

/* Tus-Resumable, Upload-Offset, Upload-Length, Upload-Expires; Location of the video it became. */
void nx_api_upload_headers(nx_http_request *request, const nx_upload *upload);

/* False: the request speaks another version of tus, and is answered. */
bool nx_api_tus_version(nx_http_request *request);

/* Why an upload can't be had for writing, or forgotten: 423 when another request, of any process,
 * writes into it. */
nx_problem nx_api_upload_problem(nx_api *api, const nx_http_request *request, nx_status status,
                                 const nx_error *err);

/* A problem with the header that every answer of tus has. */
void nx_api_tus_refuse(nx_http_request *request, const nx_problem *problem);

/* --- handlers; user is the nx_api --- */

void nx_api_uploads_options(nx_http_request *request, void *user);
void nx_api_uploads_add(nx_http_request *request, void *user);
void nx_api_uploads_get(nx_http_request *request, void *user);
void nx_api_uploads_remove(nx_http_request *request, void *user);

/* The three of PATCH: before the body, for each piece of it, and at its end. */
void nx_api_uploads_admit(nx_http_request *request, void *user);
bool nx_api_uploads_receive(nx_http_request *request, const char *bytes, size_t size,
                            nx_problem *problem, void *user);
void nx_api_uploads_patch(nx_http_request *request, void *user);

#endif
