/*
 * The events of the streams that run here: what each stream sees goes through its rules
 * (jobs/event_watch.h), and what they tell into the database (jobs/event_recorder.h). Thread-safe.
 */
#ifndef NX_STREAMS_EVENT_HOOKS_H
#define NX_STREAMS_EVENT_HOOKS_H

#include "jobs/event_recorder.h"
#include "streams/run.h"

typedef struct nx_stream_events nx_stream_events;

/* options' tick and user are not looked at. next: hooks that are called behind ours. Errors: those
 * of nx_event_recorder_start. */
nx_status nx_stream_events_start(const nx_event_recorder_options *options,
                                 const nx_stream_hooks *next, nx_stream_events **out,
                                 nx_error *err);
/* No stream may call its hooks any more. NULL is fine. */
void nx_stream_events_stop(nx_stream_events *events);

/* For nx_streams_set_hooks. */
nx_stream_hooks nx_stream_events_hooks(nx_stream_events *events);

#endif
