#include "jobs/webhook.h"

#include "base/clock.h"
#include "base/log.h"
#include "jobs/webhook_message.h"
#include "jobs/webhook_post.h"
#include "jobs/webhook_url.h"
#include "store/event_deliveries.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_AT_ONCE       16
#define TIMEOUT_MS        10000
#define POLL_MS           1000
#define FIRST_RETRY_MS    10000
#define LAST_RETRY_MS     3600000
#define MAX_ATTEMPTS      12
#define SETTLE_NS         (30 * NX_NS_PER_SEC)
#define ATTEMPT_MARGIN_MS 30000 /* for a name that is looked up slowly, and a slow database */
#define ARENA_BYTES       ((size_t)8 << 20)

/* Whose webhooks they are. */
typedef struct source {
    nx_delivery_target target;
    nx_status (*take)(nx_store *store, size_t limit, int64_t attempt_ms, nx_arena *arena,
                      nx_webhook *out, size_t *count, nx_error *err);
    nx_status (*settle)(nx_store *store, int64_t attempt_ms, const nx_job_retry_policy *policy,
                        nx_error *err);
    nx_status (*compose)(nx_store *store, const nx_webhook *webhook, nx_arena *arena,
                         char event[NX_WEBHOOK_EVENT_SIZE], nx_trace *trace, nx_buffer *body,
                         nx_error *err);
    nx_status (*note)(nx_store *store, const nx_webhook *webhook, const nx_webhook_outcome *outcome,
                      const nx_job_retry_policy *policy, int64_t max_attempts,
                      nx_webhook_state *became, nx_error *err);
    /* what signs it instead of WEBHOOK_SECRET, or NULL; may be NULL itself */
    nx_status (*secret)(nx_store *store, const nx_webhook *webhook, nx_arena *arena,
                        const char **secret, nx_error *err);
} source;

static const source sources[] = {
    {NX_DELIVERY_JOB_WEBHOOK, nx_store_webhooks_take, nx_store_webhooks_settle, nx_webhook_compose,
     nx_store_webhook_note, NULL},
    {NX_DELIVERY_EVENT_WEBHOOK, nx_store_event_webhooks_take, nx_store_event_webhooks_settle,
     nx_webhook_compose_event, nx_store_event_delivery_note, nx_store_event_webhook_secret},
};
#define SOURCES (sizeof sources / sizeof sources[0])

/* One that is being sent. */
typedef struct delivery {
    const source *of;
    nx_arena arena; /* of the webhook and its job */
    nx_webhook webhook;
    nx_webhook_post *post;
    bool is_signed;
    nx_trace trace;
    int64_t began_ns;
    nx_log_context log;
} delivery;

struct nx_webhooks {
    nx_webhooks_options options; /* without zeros */
    atomic_bool allow_private;
    pthread_mutex_t lock; /* guards the secret */
    char *secret;
    char *ca_file;
    CURLM *multi;
    pthread_t thread;
    atomic_bool stopping;
    /* the thread's own: */
    delivery *running[MAX_AT_ONCE];
    size_t count;
    size_t turn;       /* the source that is asked first */
    int64_t settle_ns; /* when to look whether the clock was set back */
    int64_t look_ns;   /* when to look into the database again */
    bool store_failed; /* the last time, so that the log says it once */
    bool said_unsigned;
};

/* --- the end of an attempt ----------------------------------------------------------------------
 */

static void free_delivery(delivery *one)
{
    if (one != NULL) {
        nx_webhook_post_free(one->post);
        nx_arena_free(&one->arena);
        free(one);
    }
}

static void log_outcome(const nx_webhook *webhook, const nx_webhook_outcome *outcome,
                        nx_webhook_state became)
{
    if (became == NX_WEBHOOK_FAILED) {
        nx_log_warn("jobs", "webhook %s is given up after %lld attempts: %s", webhook->id,
                    (long long)webhook->attempts, outcome->error);
    } else if (became == NX_WEBHOOK_PENDING) {
        nx_log_info("jobs", "webhook %s, attempt %lld: %s", webhook->id,
                    (long long)webhook->attempts, outcome->error);
    } else {
        nx_log_info("jobs", "webhook %s is delivered", webhook->id);
    }
}

/* An outcome that can't be noted is forgotten: the webhook is due again when its attempt's time is
 * over. */
static void note(nx_webhooks *self, const delivery *one, const nx_webhook_outcome *outcome)
{
    const nx_webhook *webhook = &one->webhook;
    nx_error err = {0};
    nx_webhook_state became = NX_WEBHOOK_PENDING;
    (void)nx_log_set_context(&one->log);
    nx_status status = one->of->note(self->options.store, webhook, outcome, &self->options.retry,
                                     self->options.max_attempts, &became, &err);
    if (status != NX_OK) {
        nx_log_warn("jobs", "the outcome of webhook %s is not noted: %s", webhook->id, err.message);
    } else {
        log_outcome(webhook, outcome, became);
    }
    (void)nx_log_set_context(NULL);
    if (status == NX_OK && self->options.noted != NULL) {
        self->options.noted(one->of->target, outcome, became, self->options.user);
    }
}

static void finish(nx_webhooks *self, CURL *handle, CURLcode code)
{
    for (size_t i = 0; i < self->count; i++) {
        delivery *one = self->running[i];
        if (nx_webhook_post_handle(one->post) == handle) {
            const nx_webhook_outcome outcome = nx_webhook_post_outcome(one->post, code);
            nx_webhook_trace(self->options.tracer, &one->trace, &one->webhook, &outcome,
                             one->began_ns);
            note(self, one, &outcome);
            (void)curl_multi_remove_handle(self->multi, handle);
            free_delivery(one);
            self->running[i] = self->running[--self->count];
            return;
        }
    }
}

static void finish_those_done(nx_webhooks *self)
{
    int left = 0;
    for (CURLMsg *message = curl_multi_info_read(self->multi, &left); message != NULL;
         message = curl_multi_info_read(self->multi, &left)) {
        if (message->msg == CURLMSG_DONE) {
            /* copied: removing the handle ends the message's life */
            CURL *handle = message->easy_handle;
            finish(self, handle, message->data.result);
        }
    }
}

/* --- the beginning ------------------------------------------------------------------------------
 */

static nx_status make_post(nx_webhooks *self, delivery *one, nx_error *err)
{
    char event[NX_WEBHOOK_EVENT_SIZE];
    char trace[NX_TRACE_SIZE];
    const char *own = NULL;
    nx_buffer body = NX_BUFFER_INIT;
    nx_status status = one->of->compose(self->options.store, &one->webhook, &one->arena, event,
                                        &one->trace, &body, err);
    if (status == NX_OK && one->of->secret != NULL) {
        status = one->of->secret(self->options.store, &one->webhook, &one->arena, &own, err);
    }
    if (status != NX_OK) {
        nx_buffer_free(&body);
        return status;
    }
    nx_tracer_decide(self->options.tracer, &one->trace);
    one->began_ns = nx_clock_now_ns();
    memcpy(one->log.trace_id, one->trace.id, sizeof one->trace.id);
    nx_trace_write(&one->trace, trace);
    pthread_mutex_lock(&self->lock);
    const nx_webhook_message message = {
        .url = one->webhook.url,
        .event = event,
        .delivery_id = one->webhook.id,
        .secret = own != NULL ? own : self->secret,
        .ca_file = self->ca_file,
        .traceparent = trace,
        .time_s = (int64_t)time(NULL),
        .allow_private = atomic_load(&self->allow_private),
        .timeout_ms = self->options.timeout_ms,
    };
    status = nx_webhook_post_new(&message, &body, &one->post, err);
    one->is_signed = message.secret[0] != '\0';
    pthread_mutex_unlock(&self->lock);
    return status;
}

static void say_unsigned(nx_webhooks *self, const delivery *one)
{
    if (!one->is_signed && !self->said_unsigned) {
        nx_log_warn("jobs", "webhooks are sent unsigned: WEBHOOK_SECRET is not set");
        self->said_unsigned = true;
    }
}

/* Frees the delivery unless it runs then. */
static void begin(nx_webhooks *self, delivery *one)
{
    nx_error err = {0};
    /* again, for the setting may have changed since it was taken in */
    nx_status status =
        nx_webhook_check_url(one->webhook.url, atomic_load(&self->allow_private), &err);
    if (status == NX_OK) {
        status = make_post(self, one, &err);
    }
    if (status == NX_OK &&
        curl_multi_add_handle(self->multi, nx_webhook_post_handle(one->post)) != CURLM_OK) {
        status = nx_error_set(&err, NX_ERR_INTERNAL, "libcurl does not take it");
    }
    if (status != NX_OK) { /* an attempt like any other, so that there is an end to them */
        const nx_webhook_outcome outcome = {.error = err.message};
        note(self, one, &outcome);
        free_delivery(one);
        return;
    }
    say_unsigned(self, one);
    self->running[self->count++] = one;
}

static int64_t attempt_ms(const nx_webhooks *self)
{
    return self->options.timeout_ms + ATTEMPT_MARGIN_MS;
}

/* NULL: none is due, or the database did not say. */
static delivery *take_one(nx_webhooks *self)
{
    size_t count = 0;
    nx_error err = {0};
    delivery *one = calloc(1, sizeof *one);
    if (one == NULL) {
        return NULL;
    }
    one->arena = nx_arena_make(ARENA_BYTES);
    nx_status status = NX_OK;
    for (size_t i = 0; i < SOURCES && status == NX_OK && count == 0; i++) {
        one->of = &sources[(self->turn + i) % SOURCES];
        status = one->of->take(self->options.store, 1, attempt_ms(self), &one->arena, &one->webhook,
                               &count, &err);
    }
    self->turn = (self->turn + 1) % SOURCES;
    if (status != NX_OK && !self->store_failed) {
        nx_log_warn("jobs", "webhooks wait for the database: %s", err.message);
    }
    self->store_failed = status != NX_OK;
    if (count == 0) {
        free_delivery(one);
        return NULL;
    }
    if (one->of == &sources[0]) {
        snprintf(one->log.job, sizeof one->log.job, "%s", one->webhook.job_id);
    }
    return one;
}

/* When it fails, the next look tells. */
static void settle(nx_webhooks *self)
{
    int64_t now_ns = nx_clock_now_ns();
    if (now_ns < self->settle_ns) {
        return;
    }
    self->settle_ns = now_ns + SETTLE_NS;
    nx_status status = NX_OK;
    for (size_t i = 0; i < SOURCES && status == NX_OK && !atomic_load(&self->stopping); i++) {
        status =
            sources[i].settle(self->options.store, attempt_ms(self), &self->options.retry, NULL);
    }
}

static void begin_those_due(nx_webhooks *self)
{
    while (self->count < MAX_AT_ONCE && !atomic_load(&self->stopping) &&
           nx_clock_now_ns() >= self->look_ns) {
        delivery *one = take_one(self);
        if (one != NULL) {
            begin(self, one);
        } else {
            self->look_ns = nx_clock_now_ns() + self->options.poll_ms * NX_NS_PER_MS;
        }
    }
}

/* --- the thread ---------------------------------------------------------------------------------
 */

static void *run(void *user)
{
    nx_webhooks *self = user;
    while (!atomic_load(&self->stopping)) {
        int running = 0;
        settle(self);
        begin_those_due(self);
        (void)curl_multi_perform(self->multi, &running);
        finish_those_done(self);
        /* with room again and more that is due, at once */
        int64_t wait_ms = (self->look_ns - nx_clock_now_ns()) / NX_NS_PER_MS + 1;
        bool full = self->count == MAX_AT_ONCE;
        wait_ms = full || wait_ms > self->options.poll_ms ? self->options.poll_ms : wait_ms;
        (void)curl_multi_poll(self->multi, NULL, 0, wait_ms > 0 ? (int)wait_ms : 0, NULL);
    }
    return NULL;
}

static void free_all(nx_webhooks *self)
{
    for (size_t i = 0; i < self->count; i++) {
        (void)curl_multi_remove_handle(self->multi, nx_webhook_post_handle(self->running[i]->post));
        free_delivery(self->running[i]);
    }
    if (self->multi != NULL) {
        (void)curl_multi_cleanup(self->multi);
    }
    pthread_mutex_destroy(&self->lock);
    free(self->secret);
    free(self->ca_file);
    free(self);
}

nx_webhooks_options nx_webhooks_options_of(const nx_config *config, nx_store *store)
{
    return (nx_webhooks_options){
        .store = store,
        .secret = nx_config_string(config, NX_CONFIG_WEBHOOK_SECRET),
        .ca_file = nx_config_string(config, NX_CONFIG_WEBHOOK_CA_FILE),
        .allow_private = nx_config_bool(config, NX_CONFIG_WEBHOOK_ALLOW_PRIVATE),
    };
}

static nx_webhooks_options without_zeros(const nx_webhooks_options *given)
{
    nx_webhooks_options options = *given;
    options.secret = options.ca_file = NULL; /* the copies count */
    options.timeout_ms = given->timeout_ms > 0 ? given->timeout_ms : TIMEOUT_MS;
    options.poll_ms = given->poll_ms > 0 ? given->poll_ms : POLL_MS;
    options.max_attempts = given->max_attempts > 0 ? given->max_attempts : MAX_ATTEMPTS;
    if (given->retry.first_ms <= 0 || given->retry.most_ms <= 0) {
        options.retry = (nx_job_retry_policy){.first_ms = FIRST_RETRY_MS, .most_ms = LAST_RETRY_MS};
    }
    return options;
}

nx_status nx_webhooks_start(const nx_webhooks_options *options, nx_webhooks **out, nx_error *err)
{
    const char *ca_file = options->ca_file != NULL ? options->ca_file : "";
    *out = NULL;
    if (ca_file[0] != '\0' && access(ca_file, R_OK) != 0) {
        return nx_error_set_errno(err, NX_ERR_INVALID, errno, "WEBHOOK_CA_FILE: %s can't be read",
                                  ca_file);
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        return nx_error_set(err, NX_ERR_INTERNAL, "libcurl does not start");
    }
    nx_webhooks *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for webhooks");
    }
    self->options = without_zeros(options);
    atomic_init(&self->allow_private, options->allow_private);
    pthread_mutex_init(&self->lock, NULL);
    self->secret = strdup(options->secret);
    self->ca_file = strdup(ca_file);
    self->multi = curl_multi_init();
    if (self->secret == NULL || self->ca_file == NULL || self->multi == NULL) {
        free_all(self);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for webhooks");
    }
    int failure = pthread_create(&self->thread, NULL, run, self);
    if (failure != 0) {
        free_all(self);
        return nx_error_set_errno(err, NX_ERR_INTERNAL, failure, "the webhooks' thread");
    }
    *out = self;
    return NX_OK;
}

nx_status nx_webhooks_reconfigure(nx_webhooks *webhooks, const char *secret, bool allow_private,
                                  nx_error *err)
{
    char *copy = strdup(secret);
    if (copy == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for webhooks");
    }
    pthread_mutex_lock(&webhooks->lock);
    char *old = webhooks->secret;
    webhooks->secret = copy;
    pthread_mutex_unlock(&webhooks->lock);
    atomic_store(&webhooks->allow_private, allow_private);
    free(old);
    return NX_OK;
}

void nx_webhooks_stop(nx_webhooks *webhooks)
{
    if (webhooks == NULL) {
        return;
    }
    atomic_store(&webhooks->stopping, true);
    (void)curl_multi_wakeup(webhooks->multi);
    (void)pthread_join(webhooks->thread, NULL);
    free_all(webhooks);
}
