/*
 * The record of a job, frame by frame, at .../jobs/{id}/results/frames.ndjson (lines, compressed
 * with zstd for who accepts that) and .../frames.ndjson.zst (the compressed bytes as a file). Both
 * can be read while the job runs: what the checkpoints have so far, which the whole of it begins
 * with.
 */
#ifndef NX_API_JOB_FRAMES_H
#define NX_API_JOB_FRAMES_H

#include "api/internal.h"

#include <stdbool.h>

#define NX_API_FRAMES "frames.ndjson"

/* Is it the name of one of the two? */
bool nx_api_is_frames(const char *file);

/* Answers with the frames of a job; on a thread that may wait. */
void nx_api_reply_frames(nx_api *api, nx_http_request *request, const char *job, const char *file);

/* As which of its representations a file is sent, in a word; "" of what is not frames. */
const char *nx_api_frames_variant(const nx_http_request *request);

/* Answers with the frames of a job that has ended: body and etag are what was sent for the same
 * file and variant before. */
void nx_api_reply_kept_frames(nx_http_request *request, const char *file, const char *etag,
                              nx_buffer *body);

#endif
