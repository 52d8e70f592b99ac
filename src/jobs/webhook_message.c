#include "jobs/webhook_message.h"

#include "base/json_writer.h"
#include "jobs/event_message.h"
#include "store/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The end that a webhook tells of. */
typedef struct ending {
    nx_job_state state;
    const char *error;
    int64_t at;
    bool last; /* nothing has happened to the job since */
} ending;

/* A webhook's id names the event that it tells of (store/migrations: ID:SEQ). The job itself may be
 * in the queue again by now. */
static nx_status find_ending(nx_store *store, const nx_webhook *webhook, const nx_job *job,
                             nx_arena *arena, ending *out, nx_error *err)
{
    const char *colon = strrchr(webhook->id, ':');
    int64_t seq = colon != NULL ? strtoll(colon + 1, NULL, 10) : 0;
    nx_job_event event = {0};
    size_t count = 0;
    nx_status status = nx_store_job_events(store, job->id, seq - 1, 1, arena, &event, &count, err);
    if (status != NX_OK) {
        return status;
    }
    *out = (ending){.state = job->state,
                    .error = job->error,
                    .at = job->finished_at != 0 ? job->finished_at : webhook->created_at,
                    .last = job->event_seq == seq};
    if (!out->last && count == 1 && event.seq == seq) {
        *out = (ending){.state = event.state, .error = event.error, .at = event.created_at};
    }
    if (out->state == NX_JOB_QUEUED || out->state == NX_JOB_RUNNING) {
        return nx_error_set(err, NX_ERR_NOT_FOUND,
                            "the job runs again, and how it ended before is not known any more");
    }
    return NX_OK;
}

nx_status nx_webhook_compose(nx_store *store, const nx_webhook *webhook, nx_arena *arena,
                             char event[NX_WEBHOOK_EVENT_SIZE], nx_trace *trace, nx_buffer *body,
                             nx_error *err)
{
    nx_job job = {0};
    ending end = {0};
    nx_status status = nx_store_job_get(store, webhook->job_id, arena, &job, err);
    if (status == NX_OK) {
        status = find_ending(store, webhook, &job, arena, &end, err);
    }
    if (status != NX_OK) {
        return status;
    }
    *trace = nx_trace_continue(job.traceparent);
    snprintf(event, NX_WEBHOOK_EVENT_SIZE, "job.%s", nx_job_state_name(end.state));
    nx_json json = nx_json_begin(body);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "event", event);
    nx_json_key_string(&json, "delivery_id", webhook->id);
    nx_json_key_int(&json, "attempt", webhook->attempts);
    nx_json_key(&json, "job");
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "id", job.id);
    nx_json_key_string(&json, "kind", job.kind);
    nx_json_key_string(&json, "state", nx_job_state_name(end.state));
    nx_json_key_time(&json, "created_at", job.created_at);
    nx_json_key_time(&json, "finished_at", end.at);
    nx_json_key_string(&json, "error", end.error);
    nx_json_key(&json, "result");
    if (end.last && job.result != NULL) {
        nx_json_raw(&json, job.result, strlen(job.result));
    } else {
        nx_json_null(&json);
    }
    nx_json_object_end(&json);
    nx_json_object_end(&json);
    return body->failed ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a webhook") : NX_OK;
}

nx_status nx_webhook_compose_event(nx_store *store, const nx_webhook *webhook, nx_arena *arena,
                                   char event[NX_WEBHOOK_EVENT_SIZE], nx_trace *trace,
                                   nx_buffer *body, nx_error *err)
{
    nx_event_row row = {0};
    nx_status status = nx_store_event_get(store, webhook->job_id, arena, &row, err);
    if (status != NX_OK) {
        return status;
    }
    *trace = nx_trace_begin();
    snprintf(event, NX_WEBHOOK_EVENT_SIZE, "stream.%.20s", row.kind);
    nx_json json = nx_json_begin(body);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "event", event);
    nx_json_key_string(&json, "delivery_id", webhook->id);
    nx_json_key_int(&json, "attempt", webhook->attempts);
    nx_json_key(&json, "stream_event");
    nx_event_json(&row, &json);
    nx_json_object_end(&json);
    return body->failed ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a webhook") : NX_OK;
}
