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

#endif
