/* A job's span in the trace of the request for it. */
#include "base/clock.h"
#include "jobs/worker_internal.h"

#include <string.h>

void nx_worker_trace(const nx_worker *worker, const nx_worker_job *job, int64_t began_ns,
                     uint64_t frames, const char *ended)
{
    nx_tracer *tracer = worker->options.tracer;
    if (!nx_tracer_keeps(tracer, &job->trace)) {
        return;
    }
    nx_span span;
    nx_span_begin(&span, &job->trace, NX_SPAN_CONSUMER, "job video", began_ns);
    nx_span_set_text(&span, "nexus.job.id", job->id);
    nx_span_set_text(&span, "nexus.job.outcome", ended);
    nx_span_set_number(&span, "nexus.job.frames", (int64_t)frames);
    span.failed = strcmp(ended, "failed") == 0 || strcmp(ended, "retried") == 0;
    if (span.failed) {
        nx_span_set_text(&span, "error.type", ended);
    }
    nx_tracer_end(tracer, &span, nx_clock_now_ns());
}
