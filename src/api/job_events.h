/*
 * Server-Sent Events (html.spec.whatwg.org, 9.2) from the database, of jobs and of what happened
 * before cameras: one thread looks for new ones for all who follow. Who follows a job is at the end
 * when that has ended.
 */
#ifndef NX_API_JOB_EVENTS_H
#define NX_API_JOB_EVENTS_H

#include "api/internal.h"

typedef struct nx_api_job_events nx_api_job_events;

/* store is borrowed. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_api_job_events_new(nx_store *store, nx_api_job_events **out, nx_error *err);

/* Ends what streams are left, whose server is still there. NULL is fine. */
void nx_api_job_events_free(nx_api_job_events *events);

/* Appends those of something (its id, or "") that come after a number, as Server-Sent Events, and
 * moves the number on. *over: nothing comes behind them. A failure is no end: it may answer the
 * next time. */
typedef nx_status (*nx_api_read_events)(nx_store *store, const char *id, int64_t *after,
                                        nx_buffer *out, bool *over, nx_error *err);

/* Answers with what comes after a number, from a thread that may wait. */
void nx_api_job_events_follow(nx_api_job_events *events, nx_http_request *request,
                              nx_api_read_events read, const char *id, int64_t after);

/* Last-Event-ID: the number of an event; *after is left as it is without one. False: it is none,
 * and the request is answered. */
bool nx_api_last_event(nx_http_request *request, int64_t *after);

#endif
