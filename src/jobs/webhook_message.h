/* Inside src/jobs: what a webhook tells (jobs/webhook.h), read from the database. Thread-safe. */
#ifndef NX_JOBS_WEBHOOK_MESSAGE_H
#define NX_JOBS_WEBHOOK_MESSAGE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/tracer.h"
#include "store/webhooks.h"

#define NX_WEBHOOK_EVENT_SIZE 32

/* Writes the event's name ("job.succeeded"), a span in the trace of the request for the job (one of
 * its own for other events), and appends the JSON. The arena takes what is read. Errors:
 * NX_ERR_NOT_FOUND (the job or its event is gone), NX_ERR_NO_MEMORY, those of store.h. */
nx_status nx_webhook_compose(nx_store *store, const nx_webhook *webhook, nx_arena *arena,
                             char event[NX_WEBHOOK_EVENT_SIZE], nx_trace *trace, nx_buffer *body,
                             nx_error *err);

/* The same of an event of a stream ("stream.line_crossed"): webhook is a delivery of
 * store/event_deliveries.h. */
nx_status nx_webhook_compose_event(nx_store *store, const nx_webhook *webhook, nx_arena *arena,
                                   char event[NX_WEBHOOK_EVENT_SIZE], nx_trace *trace,
                                   nx_buffer *body, nx_error *err);

/* webhook_trace.c: an attempt that has ended, where its trace is kept. */
void nx_webhook_trace(nx_tracer *tracer, const nx_trace *trace, const nx_webhook *webhook,
                      const nx_webhook_outcome *outcome, int64_t began_ns);

#endif
