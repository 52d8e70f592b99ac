/*
 * Inside src/jobs: one signed POST of a webhook, over libcurl. It goes straight to a checked
 * address: no proxy, no redirect, no cookie, no connection that is used again. The answer's status
 * counts; of its body at most 64 KiB are read, and nothing is kept.
 *
 * The signature is that of Stripe's webhooks (docs.stripe.com/webhooks, "verify manually"): t is
 * the time in seconds, v1 the HMAC-SHA256 (RFC 2104) of t, a full stop and the body, in hex.
 *
 * A post belongs to one thread; libcurl has been initialised.
 */
#ifndef NX_JOBS_WEBHOOK_POST_H
#define NX_JOBS_WEBHOOK_POST_H

#include "base/buffer.h"
#include "base/error.h"
#include "store/webhooks.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#define NX_WEBHOOK_SIGNATURE_SIZE 120

/* Writes "t=...,v1=..." with its NUL. */
void nx_webhook_sign(const char *secret, int64_t time_s, const void *body, size_t size,
                     char out[NX_WEBHOOK_SIGNATURE_SIZE]);

typedef struct nx_webhook_post nx_webhook_post;

/* Strings are borrowed while nx_webhook_post_new lasts. */
typedef struct nx_webhook_message {
    const char *url; /* has passed nx_webhook_check_url */
    const char *event;
    const char *delivery_id;
    const char *secret;      /* "": unsigned */
    const char *ca_file;     /* PEM; "" or NULL: the system's authorities */
    const char *traceparent; /* NULL: none */
    int64_t time_s;          /* now, since 1970 */
    bool allow_private;
    long timeout_ms; /* of everything, from the look-up of the name to the answer's end */
} nx_webhook_message;

/* Errors: NX_ERR_NO_MEMORY. body moves to the post, after a failure too. */
nx_status nx_webhook_post_new(const nx_webhook_message *message, nx_buffer *body,
                              nx_webhook_post **out, nx_error *err);
/* NULL is fine. Waits for a look-up of the name that still goes on, which libcurl can't end. */
void nx_webhook_post_free(nx_webhook_post *post);

/* For curl_easy_perform or a multi handle; belongs to the post. */
CURL *nx_webhook_post_handle(nx_webhook_post *post);

/* How it went, when libcurl has ended with a code. The text lives as long as the post. */
nx_webhook_outcome nx_webhook_post_outcome(nx_webhook_post *post, CURLcode code);

#endif
