/*
 * Server-Sent Events of jobs (html.spec.whatwg.org, 9.2), from their events in the database: one
 * thread looks for new ones for all streams. A stream ends when its job has.
 */
#ifndef NX_API_JOB_EVENTS_H
#define NX_API_JOB_EVENTS_H

#include "api/internal.h"

typedef struct nx_api_job_events nx_api_job_events;

/* store is borrowed. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_api_job_events_new(nx_store *store, nx_api_job_events **out, nx_error *err);

/* Ends what streams are left, whose server is still there. NULL is fine. */
void nx_api_job_events_free(nx_api_job_events *events);

/* Answers with the events of a job that come after a number, from a thread that may wait. */
void nx_api_job_events_follow(nx_api_job_events *events, nx_http_request *request, const char *id,
                              int64_t after);

#endif
