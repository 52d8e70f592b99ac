#include "ops/otlp.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "ops/otlp_json.h"

#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define QUEUE          2048 /* spans, as in OpenTelemetry's own batches */
#define BATCH          512
#define TIMEOUT_MS     10000
#define DELAY_MS       5000
#define FIRST_RETRY_MS 1000
#define LAST_RETRY_MS  30000
#define MOST_WAIT_MS   300000 /* that Retry-After is believed */
#define MOST_ATTEMPTS  6
#define MOST_ANSWER    ((size_t)64 * 1024)
#define MOST_URL       1024
#define TRACES_PATH    "v1/traces"

struct nx_otlp {
    nx_tracer *tracer;
    char url[MOST_URL];
    char *ca_file;
    int timeout_ms, delay_ms, first_retry_ms;
    pthread_t thread;
    /* the thread's own: */
    CURL *handle;
    struct curl_slist *headers;
    nx_buffer resource, body, answer;
    nx_span *batch;
    bool failing; /* so that the log says it once */

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool stopping;
    int64_t deadline_ns; /* once it stops */
    nx_otlp_stats stats;
};

/* --- one POST -----------------------------------------------------------------------------------
 */

typedef enum verdict { TAKEN, REFUSED, AGAIN } verdict;

static bool is_stopping(nx_otlp *self, int64_t *deadline_ns)
{
    pthread_mutex_lock(&self->lock);
    bool stopping = self->stopping;
    *deadline_ns = self->deadline_ns;
    pthread_mutex_unlock(&self->lock);
    return stopping;
}

static void count(nx_otlp *self, uint64_t *counter, uint64_t amount)
{
    pthread_mutex_lock(&self->lock);
    *counter += amount;
    pthread_mutex_unlock(&self->lock);
}

/* More of an answer than anybody needs is read and forgotten. */
static size_t take_answer(const char *bytes, size_t one, size_t number, void *user)
{
    nx_otlp *self = user;
    if (self->answer.size + one * number <= MOST_ANSWER) {
        nx_buffer_append(&self->answer, bytes, one * number);
    }
    return one * number;
}

/* libcurl asks about once a second. */
static int is_too_late(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    int64_t deadline_ns = 0;
    return is_stopping(user, &deadline_ns) && nx_clock_now_ns() >= deadline_ns;
}

/* How many of a batch the collector says that it did not take, though it took the rest. */
static uint64_t read_rejected(const nx_otlp *self)
{
    json_t *root =
        json_loadb(self->answer.data != NULL ? self->answer.data : "", self->answer.size, 0, NULL);
    const json_t *partial = json_object_get(root, "partialSuccess");
    const json_t *number = json_object_get(partial, "rejectedSpans");
    const json_t *why = json_object_get(partial, "errorMessage");
    long long rejected = json_is_string(number) ? strtoll(json_string_value(number), NULL, 10)
                                                : json_integer_value(number);
    if (rejected > 0 || (json_is_string(why) && json_string_length(why) > 0)) {
        nx_log_warn("ops", "the collector did not take %lld spans: %.200s", rejected,
                    json_is_string(why) ? json_string_value(why) : "it does not say why");
    }
    json_decref(root);
    return rejected > 0 ? (uint64_t)rejected : 0;
}

void nx_otlp_shown(const char *url, char *out, size_t size)
{
    const char *scheme = strstr(url, "://");
    const char *host = scheme != NULL ? scheme + 3 : url;
    size_t authority = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', authority);
    const char *shown = at != NULL ? at + 1 : host;
    snprintf(out, size, "%.*s%.*s", (int)(host - url), url, (int)strcspn(shown, "?#"), shown);
}

static void say_failure(nx_otlp *self, CURLcode code, long status)
{
    if (!self->failing) {
        char shown[MOST_URL];
        nx_otlp_shown(self->url, shown, sizeof shown);
        if (status > 0) {
            nx_log_warn("ops", "traces are not taken: %s answers %ld", shown, status);
        } else {
            nx_log_warn("ops", "traces are not taken: %s: %s", shown, curl_easy_strerror(code));
        }
    }
    self->failing = true;
}

/* Posts the body. *after_ms: how long the collector wants to be left alone. */
static verdict post(nx_otlp *self, int64_t *after_ms)
{
    long status = 0;
    curl_off_t after_s = 0;
    int64_t deadline_ns = 0;
    int64_t limit_ms = self->timeout_ms;
    if (is_stopping(self, &deadline_ns)) {
        int64_t left_ms = (deadline_ns - nx_clock_now_ns()) / NX_NS_PER_MS;
        limit_ms = left_ms < 1 ? 1 : left_ms < limit_ms ? left_ms : limit_ms;
    }
    nx_buffer_clear(&self->answer);
    (void)curl_easy_setopt(self->handle, CURLOPT_TIMEOUT_MS, (long)limit_ms);
    (void)curl_easy_setopt(self->handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)self->body.size);
    (void)curl_easy_setopt(self->handle, CURLOPT_POSTFIELDS, self->body.data);
    CURLcode code = curl_easy_perform(self->handle);
    (void)curl_easy_getinfo(self->handle, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(self->handle, CURLINFO_RETRY_AFTER, &after_s);
    *after_ms = after_s > MOST_WAIT_MS / 1000 ? MOST_WAIT_MS : (int64_t)after_s * 1000;
    if (status / 100 == 2) { /* whatever became of the rest of the answer */
        if (self->failing) {
            nx_log_info("ops", "traces are taken again");
        }
        self->failing = false;
        return TAKEN;
    }
    say_failure(self, code, status);
    bool again = status < 200 || status == 429 || (status >= 502 && status <= 504);
    return again ? AGAIN : REFUSED;
}

/* --- a batch ------------------------------------------------------------------------------------
 */

/* Returns early, and false, when it is to stop. */
static bool wait_for(nx_otlp *self, int64_t ms)
{
    int late = 0;
    const int64_t until = nx_clock_now_ns() + ms * NX_NS_PER_MS;
    pthread_mutex_lock(&self->lock);
    while (!self->stopping && late == 0) {
        late = nx_condition_wait(&self->changed, &self->lock, until);
    }
    bool stopping = self->stopping;
    pthread_mutex_unlock(&self->lock);
    return !stopping;
}

/* Half of it by chance, so that not all who were refused come again together. */
static int64_t shortened(int64_t ms)
{
    uint32_t noise = 0;
    (void)!getrandom(&noise, sizeof noise, 0); /* without it the wait is the longest */
    return ms - ms * (noise % 501) / 1000;
}

static void send_batch(nx_otlp *self, size_t size)
{
    int64_t deadline_ns = 0;
    int64_t wait_ms = self->first_retry_ms;
    verdict what = AGAIN;
    bool goes_on = true;
    nx_buffer_clear(&self->body);
    nx_otlp_write(&self->resource, self->batch, size, &self->body);
    for (int i = 0; i < MOST_ATTEMPTS && what == AGAIN && goes_on && !self->body.failed; i++) {
        int64_t after_ms = 0;
        bool last = is_stopping(self, &deadline_ns);
        what = post(self, &after_ms);
        if (what == AGAIN && i + 1 < MOST_ATTEMPTS && !last) {
            int64_t pause_ms = shortened(wait_ms);
            /* once more when it is to stop, for it may have come back meanwhile */
            (void)wait_for(self, after_ms > pause_ms ? after_ms : pause_ms);
            wait_ms = wait_ms < LAST_RETRY_MS / 2 ? 2 * wait_ms : LAST_RETRY_MS;
        }
        goes_on = !last;
    }
    uint64_t lost = what == TAKEN ? read_rejected(self) : size;
    lost = lost < size ? lost : size;
    nx_otlp_loss why =
        what == AGAIN ? goes_on ? NX_OTLP_UNREACHABLE : NX_OTLP_SHUTDOWN : NX_OTLP_REFUSED;
    count(self, &self->stats.exported, size - lost);
    count(self, &self->stats.dropped[why], lost);
}

static void *run(void *user)
{
    nx_otlp *self = user;
    int64_t deadline_ns = 0;
    bool stopping = false;
    size_t size = 0;
    while (!stopping || size > 0) {
        int64_t until = nx_clock_now_ns() + self->delay_ms * NX_NS_PER_MS;
        size = nx_tracer_take(self->tracer, self->batch, BATCH, until);
        stopping = is_stopping(self, &deadline_ns);
        if (size > 0 && stopping && nx_clock_now_ns() >= deadline_ns) {
            count(self, &self->stats.dropped[NX_OTLP_SHUTDOWN], size);
        } else if (size > 0) {
            send_batch(self, size);
        }
    }
    return NULL;
}

/* --- beginning and end --------------------------------------------------------------------------
 */

nx_otlp_options nx_otlp_options_of(const nx_config *config)
{
    nx_otlp_options options = {
        .endpoint = nx_config_string(config, NX_CONFIG_OTLP_ENDPOINT),
        .traces_endpoint = nx_config_string(config, NX_CONFIG_OTLP_TRACES_ENDPOINT),
        .headers = nx_config_string(config, NX_CONFIG_OTLP_HEADERS),
        .ca_file = nx_config_string(config, NX_CONFIG_OTLP_CERTIFICATE),
        .service = nx_config_string(config, NX_CONFIG_OTEL_SERVICE_NAME),
        .attributes = nx_config_string(config, NX_CONFIG_OTEL_RESOURCE_ATTRIBUTES),
        .sampler = NX_SAMPLER_PARENT_ON,
        .ratio = nx_config_number(config, NX_CONFIG_OTEL_TRACES_SAMPLER_ARG),
    };
    /* the configuration has refused what is none */
    (void)nx_sampler_parse(nx_config_string(config, NX_CONFIG_OTEL_TRACES_SAMPLER),
                           &options.sampler);
    return options;
}

static bool is_wanted(const nx_otlp_options *options)
{
    return options->endpoint[0] != '\0' || options->traces_endpoint[0] != '\0';
}

static nx_status make_url(const nx_otlp_options *options, char out[MOST_URL], nx_error *err)
{
    bool whole = options->traces_endpoint[0] != '\0';
    const char *base = whole ? options->traces_endpoint : options->endpoint;
    const char *name = whole ? "otlp_traces_endpoint" : "otlp_endpoint";
    size_t size = strlen(base);
    if (strncasecmp(base, "http://", 7) != 0 && strncasecmp(base, "https://", 8) != 0) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "%s begins with neither http:// nor https://; write "
                            "http://HOST:4318, where a collector takes OTLP over HTTP",
                            name);
    }
    int length = snprintf(out, MOST_URL, "%s%s%s", base, whole || base[size - 1] == '/' ? "" : "/",
                          whole ? "" : TRACES_PATH);
    return length < MOST_URL ? NX_OK : nx_error_set(err, NX_ERR_INVALID, "%s is too long", name);
}

static bool add_header(const char *name, const char *value, void *user)
{
    struct curl_slist **headers = user;
    nx_buffer line = NX_BUFFER_INIT;
    nx_buffer_printf(&line, "%s: %s", name, value);
    struct curl_slist *more =
        line.failed ? NULL : curl_slist_append(*headers, nx_buffer_cstr(&line));
    nx_buffer_free(&line);
    *headers = more != NULL ? more : *headers;
    return more != NULL;
}

static nx_status make_headers(const nx_otlp_options *options, struct curl_slist **out,
                              nx_error *err)
{
    nx_status status = nx_otlp_pairs(options->headers, add_header, out, err);
    if (status == NX_ERR_INVALID) {
        return nx_error_prefix(err, "otlp_headers");
    }
    if (status != NX_OK || !add_header("Content-Type", "application/json", out) ||
        !add_header("Expect", "", out)) { /* libcurl takes this one as "without" */
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for traces");
    }
    return NX_OK;
}

nx_status nx_otlp_check(const nx_otlp_options *options, nx_error *err)
{
    char url[MOST_URL];
    struct curl_slist *headers = NULL;
    nx_buffer resource = NX_BUFFER_INIT;
    nx_status status = is_wanted(options) ? make_url(options, url, err) : NX_OK;
    if (status == NX_OK) {
        status = make_headers(options, &headers, err);
    }
    if (status == NX_OK) {
        status = nx_otlp_write_resource(options->service, options->attributes, &resource, err);
        if (status == NX_ERR_INVALID) {
            (void)nx_error_prefix(err, "otel_resource_attributes");
        }
    }
    curl_slist_free_all(headers);
    nx_buffer_free(&resource);
    return status;
}

/* False: an option that protects was not taken. */
static bool set_options(nx_otlp *self)
{
    CURL *handle = self->handle;
    bool set = curl_easy_setopt(handle, CURLOPT_URL, self->url) == CURLE_OK &&
               curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
               curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
               curl_easy_setopt(handle, CURLOPT_PROXY, "") == CURLE_OK && /* as for webhooks */
               (self->ca_file[0] == '\0' ||
                curl_easy_setopt(handle, CURLOPT_CAINFO, self->ca_file) == CURLE_OK);
    (void)curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    /* a name that is still being looked up holds up no end */
    (void)curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);
    (void)curl_easy_setopt(handle, CURLOPT_USERAGENT, "nexus/" NX_VERSION);
    (void)curl_easy_setopt(handle, CURLOPT_HTTPHEADER, self->headers);
    (void)curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_answer);
    (void)curl_easy_setopt(handle, CURLOPT_WRITEDATA, self);
    (void)curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, is_too_late);
    (void)curl_easy_setopt(handle, CURLOPT_XFERINFODATA, self);
    return set;
}

static void free_all(nx_otlp *self)
{
    curl_easy_cleanup(self->handle);
    curl_slist_free_all(self->headers);
    nx_buffer_free(&self->resource);
    nx_buffer_free(&self->body);
    nx_buffer_free(&self->answer);
    nx_tracer_free(self->tracer);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free(self->batch);
    free(self->ca_file);
    free(self);
}

static nx_status fill(nx_otlp *self, const nx_otlp_options *options, nx_error *err)
{
    self->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
    self->delay_ms = options->delay_ms > 0 ? options->delay_ms : DELAY_MS;
    self->first_retry_ms = options->first_retry_ms > 0 ? options->first_retry_ms : FIRST_RETRY_MS;
    nx_status status = make_url(options, self->url, err);
    if (status == NX_OK) {
        status = make_headers(options, &self->headers, err);
    }
    if (status == NX_OK) {
        status =
            nx_otlp_write_resource(options->service, options->attributes, &self->resource, err);
    }
    if (status == NX_OK) {
        status = nx_tracer_new(options->sampler, options->ratio, QUEUE, BATCH, &self->tracer, err);
    }
    self->batch = calloc(BATCH, sizeof *self->batch);
    self->ca_file = strdup(options->ca_file);
    self->handle = curl_easy_init();
    if (status == NX_OK && (self->batch == NULL || self->ca_file == NULL || self->handle == NULL ||
                            !set_options(self))) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for traces");
    }
    return status;
}

nx_status nx_otlp_start(const nx_otlp_options *options, nx_otlp **out, nx_error *err)
{
    *out = NULL;
    if (!is_wanted(options)) {
        return NX_OK;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        return nx_error_set(err, NX_ERR_INTERNAL, "libcurl does not start");
    }
    nx_otlp *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for traces");
    }
    pthread_mutex_init(&self->lock, NULL);
    nx_condition_init(&self->changed);
    nx_status status = fill(self, options, err);
    if (status == NX_OK) {
        int failure = pthread_create(&self->thread, NULL, run, self);
        if (failure != 0) {
            status = nx_error_set_errno(err, NX_ERR_INTERNAL, failure, "the thread for traces");
        }
    }
    if (status != NX_OK) {
        free_all(self);
        return status;
    }
    char shown[MOST_URL];
    nx_otlp_shown(self->url, shown, sizeof shown);
    nx_log_info("ops", "traces go to %s", shown);
    *out = self;
    return NX_OK;
}

nx_tracer *nx_otlp_tracer(nx_otlp *otlp)
{
    return otlp != NULL ? otlp->tracer : NULL;
}

const char *nx_otlp_loss_name(nx_otlp_loss loss)
{
    static const char *const names[NX_OTLP_LOSSES] = {
        [NX_OTLP_QUEUE_FULL] = "queue_full",
        [NX_OTLP_REFUSED] = "refused",
        [NX_OTLP_UNREACHABLE] = "unreachable",
        [NX_OTLP_SHUTDOWN] = "shutdown",
    };
    return names[loss];
}

nx_otlp_stats nx_otlp_get_stats(nx_otlp *otlp)
{
    nx_otlp_stats stats = {.exported = 0};
    if (otlp != NULL) {
        pthread_mutex_lock(&otlp->lock);
        stats = otlp->stats;
        pthread_mutex_unlock(&otlp->lock);
        stats.dropped[NX_OTLP_QUEUE_FULL] = nx_tracer_dropped(otlp->tracer);
    }
    return stats;
}

void nx_otlp_stop(nx_otlp *otlp, int64_t deadline_ns)
{
    if (otlp == NULL) {
        return;
    }
    pthread_mutex_lock(&otlp->lock);
    otlp->stopping = true;
    otlp->deadline_ns = deadline_ns;
    pthread_cond_broadcast(&otlp->changed);
    pthread_mutex_unlock(&otlp->lock);
    nx_tracer_wake(otlp->tracer);
    (void)pthread_join(otlp->thread, NULL);
    const nx_otlp_stats stats = nx_otlp_get_stats(otlp);
    if (stats.dropped[NX_OTLP_SHUTDOWN] > 0) {
        nx_log_warn("ops", "%llu spans of traces were not sent at the end",
                    (unsigned long long)stats.dropped[NX_OTLP_SHUTDOWN]);
    }
    free_all(otlp);
}
