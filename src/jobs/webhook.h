/*
 * The sender of webhooks: one thread that takes those which are due out of the database
 * (store/webhooks.h, and for events of streams store/event_deliveries.h), sends up to sixteen at a
 * time (jobs/webhook_post.h) and notes how each went. What fails is tried again with growing,
 * shortened-at-random waits and given up in the end; every attempt is in the log. Any number of
 * senders, in any number of processes, may share a database.
 *
 * A receiver is told at least once, with
 *   {"event": "job.succeeded", "delivery_id": "...", "attempt": 1,
 *    "job": {"id", "kind", "state", "created_at", "finished_at", "error", "result"}}
 * event: job.succeeded, job.failed, job.cancelled or job.dead, as it was at that end, though the
 * job may have been put into the queue again since; its result is given when it has not. Or, of a
 * stream, with
 *   {"event": "stream.line_crossed", "delivery_id": "...", "attempt": 1, "stream_event": {...}}
 * and in it what jobs/event_message.h says. Headers: X-Nexus-Event, X-Nexus-Delivery (the same for
 * every attempt), X-Nexus-Signature.
 */
#ifndef NX_JOBS_WEBHOOK_H
#define NX_JOBS_WEBHOOK_H

#include "base/config.h"
#include "base/error.h"
#include "base/tracer.h"
#include "store/deliveries.h"
#include "store/webhooks.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct nx_webhooks nx_webhooks;

/* An attempt was noted: for metrics. */
typedef void (*nx_delivery_noted)(nx_delivery_target target, const nx_webhook_outcome *outcome,
                                  nx_webhook_state became, void *user);

typedef struct nx_webhooks_options {
    nx_store *store;           /* borrowed; closed after the sender is stopped */
    const char *secret;        /* copied; "" sends unsigned, and says so once in the log */
    const char *ca_file;       /* copied; PEM; "" or NULL: the system's authorities */
    bool allow_private;        /* to addresses that jobs/webhook_url.h refuses, too */
    int timeout_ms;            /* of an attempt; 0: ten seconds */
    int poll_ms;               /* between looks into the database; 0: a second */
    nx_job_retry_policy retry; /* zeros: ten seconds to an hour */
    int max_attempts;          /* 0: twelve, which with those waits takes about three hours */
    nx_tracer *tracer;         /* borrowed; NULL: no traces are kept */
    nx_delivery_noted noted;   /* on the sender's thread; may be NULL */
    void *user;
} nx_webhooks_options;

/* What the configuration says; secret and ca_file are borrowed from it. */
nx_webhooks_options nx_webhooks_options_of(const nx_config *config, nx_store *store);

/* Errors: NX_ERR_INVALID (ca_file can't be read), NX_ERR_NO_MEMORY, NX_ERR_INTERNAL (libcurl or the
 * thread does not start). */
nx_status nx_webhooks_start(const nx_webhooks_options *options, nx_webhooks **out, nx_error *err);

/* Another secret (copied) and rule for addresses, for attempts that begin from now on. Any thread.
 * Errors: NX_ERR_NO_MEMORY, and nothing has changed. */
nx_status nx_webhooks_reconfigure(nx_webhooks *webhooks, const char *secret, bool allow_private,
                                  nx_error *err);

/* Breaks off what is being sent, which is then due again when its attempt's time is over (the
 * timeout and half a minute), and waits for the thread. NULL is fine. */
void nx_webhooks_stop(nx_webhooks *webhooks);

#endif
