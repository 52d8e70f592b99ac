/*
 * The resource /api/v1/jobs, and POST /api/v1/videos/process which makes them.
 *
 * A job of a video has the kind NX_API_JOB_VIDEO; its options are the members of nx_video_spec
 * (jobs/video_spec.h), its progress is {"frames_done","frames_total","fps","eta_s"}, and its result
 * has the member "files": [{"name","object","size"}], whose objects are in the object store.
 */
#ifndef NX_API_JOBS_H
#define NX_API_JOBS_H

#include "api/internal.h"
#include "api/storage.h"
#include "jobs/video_spec.h"
#include "store/jobs.h"
#include "store/objects.h"

#define NX_API_JOB_VIDEO "video"

/* As an object. */
void nx_api_job_json(const nx_job *job, nx_json *json);

/* Answers with a job; location also names it in the header Location. */
void nx_api_reply_job(nx_http_request *request, int status, const nx_job *job, bool location);

/* The object of a file in a job's result; false: the job has no such file (yet). */
bool nx_api_job_object(const nx_job *job, const char *file, char out[NX_OBJECT_NAME_SIZE]);

/* May the request use the spec's model, and does that, if it is in memory, have its classes? Else
 * whoever runs it finds out. False fills problem. */
bool nx_api_check_model(nx_api *api, const nx_http_request *request, const nx_video_spec *spec,
                        nx_problem *problem);

/* The job of the path, in the arena. False: the request is answered. */
bool nx_api_find_job(nx_api *api, nx_http_request *request, nx_arena *arena, nx_job *out);

/* --- handlers; user is the nx_api --- */

void nx_api_jobs_list(nx_http_request *request, void *user);
void nx_api_jobs_get(nx_http_request *request, void *user);
void nx_api_jobs_cancel(nx_http_request *request, void *user);
void nx_api_jobs_retry(nx_http_request *request, void *user);
void nx_api_jobs_result(nx_http_request *request, void *user);
void nx_api_jobs_events(nx_http_request *request, void *user);
void nx_api_jobs_webhooks(nx_http_request *request, void *user);

/* The three of POST /api/v1/videos/process: before the body, for each piece of JSON, at its end. */
void nx_api_process_admit(nx_http_request *request, void *user);
bool nx_api_process_receive(nx_http_request *request, const char *bytes, size_t size,
                            nx_problem *problem, void *user);
void nx_api_process(nx_http_request *request, void *user);

#endif
