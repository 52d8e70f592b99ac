#include "store/s3.h"

#include "base/clock.h"

#include <ctype.h>
#include <curl/curl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#define MAX_IDLE       8
#define MAX_ANSWER     ((size_t)64 * 1024)
#define MAX_TRIES      5
#define FIRST_WAIT_MS  100
#define CONNECT_S      10L
#define STALL_S        30L /* so long without a byte a second is a broken connection */
#define HTTP_OK        200
#define HTTP_REDIRECT  300
#define HTTP_NOT_FOUND 404
#define HTTP_TOO_MANY  429
#define HTTP_SERVER    500

struct nx_s3 {
    char *base;
    char *signature; /* for CURLOPT_AWS_SIGV4 */
    char *user;      /* ACCESS:SECRET */
    pthread_mutex_t lock;
    CURL *idle[MAX_IDLE]; /* with their connections */
    size_t idle_count;
};

nx_status nx_s3_new(const char *base, const char *region, const char *access_key,
                    const char *secret_key, nx_s3 **out, nx_error *err)
{
    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        return nx_error_set(err, NX_ERR_INTERNAL, "libcurl does not start");
    }
    nx_s3 *s3 = calloc(1, sizeof *s3);
    if (s3 == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for S3");
    }
    pthread_mutex_init(&s3->lock, NULL);
    s3->base = strdup(base);
    if (s3->base == NULL || asprintf(&s3->signature, "aws:amz:%s:s3", region) < 0) {
        s3->signature = NULL;
        nx_s3_free(s3);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for S3");
    }
    if (asprintf(&s3->user, "%s:%s", access_key, secret_key) < 0) {
        s3->user = NULL;
        nx_s3_free(s3);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for S3");
    }
    *out = s3;
    return NX_OK;
}

void nx_s3_free(nx_s3 *s3)
{
    if (s3 == NULL) {
        return;
    }
    for (size_t i = 0; i < s3->idle_count; i++) {
        curl_easy_cleanup(s3->idle[i]);
    }
    pthread_mutex_destroy(&s3->lock);
    free(s3->base);
    free(s3->signature);
    free(s3->user);
    free(s3);
}

static CURL *take_handle(nx_s3 *s3)
{
    CURL *handle = NULL;
    pthread_mutex_lock(&s3->lock);
    if (s3->idle_count > 0) {
        handle = s3->idle[--s3->idle_count];
    }
    pthread_mutex_unlock(&s3->lock);
    return handle != NULL ? handle : curl_easy_init();
}

static void give_handle(nx_s3 *s3, CURL *handle)
{
    curl_easy_reset(handle); /* keeps its connections */
    pthread_mutex_lock(&s3->lock);
    if (s3->idle_count < MAX_IDLE) {
        s3->idle[s3->idle_count++] = handle;
        handle = NULL;
    }
    pthread_mutex_unlock(&s3->lock);
    curl_easy_cleanup(handle);
}

/* --- one try --- */

typedef struct
try {
    CURL *handle;
    const nx_s3_sink *sink;
    nx_s3_answer *answer;
    bool refused; /* by the sink */
}
try;

static size_t take_body(char *bytes, size_t one, size_t count, void *user)
{
    try *self = user;
    long status = 0;
    size_t size = one * count;
    (void)curl_easy_getinfo(self->handle, CURLINFO_RESPONSE_CODE, &status);
    if (self->sink != NULL && status >= HTTP_OK && status < HTTP_REDIRECT) {
        self->refused = !self->sink->bytes(self->sink->user, bytes, size);
        return self->refused ? 0 : size;
    }
    if (self->answer->body.size + size > MAX_ANSWER) {
        return 0;
    }
    nx_buffer_append(&self->answer->body, bytes, size);
    return self->answer->body.failed ? 0 : size;
}

static size_t take_header(char *bytes, size_t one, size_t count, void *user)
{
    static const char name[] = "etag:";
    try *self = user;
    size_t size = one * count;
    if (size > sizeof name && strncasecmp(bytes, name, sizeof name - 1) == 0) {
        const char *start = bytes + sizeof name - 1;
        const char *end = bytes + size;
        while (start < end && isspace((unsigned char)*start)) {
            start++;
        }
        while (end > start && isspace((unsigned char)end[-1])) {
            end--;
        }
        snprintf(self->answer->etag, sizeof self->answer->etag, "%.*s", (int)(end - start), start);
    }
    return size;
}

static void set_options(const nx_s3 *s3, const nx_s3_request *request, try *self, const char *url,
                        struct curl_slist *headers)
{
    CURL *handle = self->handle;
    (void)curl_easy_setopt(handle, CURLOPT_URL, url);
    (void)curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(handle, CURLOPT_AWS_SIGV4, s3->signature);
    (void)curl_easy_setopt(handle, CURLOPT_USERPWD, s3->user);
    (void)curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    (void)curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, STALL_S);
    (void)curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(handle, CURLOPT_WRITEDATA, self);
    (void)curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(handle, CURLOPT_HEADERDATA, self);
    if (strcmp(request->method, "HEAD") == 0) {
        (void)curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    } else if (strcmp(request->method, "GET") != 0) {
        /* libcurl hashes what is to be sent, for the signature covers it */
        (void)curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request->method);
        (void)curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
        (void)curl_easy_setopt(handle, CURLOPT_POSTFIELDS,
                               request->body_size > 0 ? request->body : "");
    }
    (void)curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
}

/* NX_ERR_UNAVAILABLE: worth another try. */
static nx_status try_once(nx_s3 *s3, const nx_s3_request *request, const char *url,
                          struct curl_slist *headers, nx_s3_answer *answer, nx_error *err)
{
    char range[64];
    try self = {.handle = take_handle(s3), .sink = request->sink, .answer = answer};
    if (self.handle == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a request to S3");
    }
    nx_buffer_clear(&answer->body);
    answer->etag[0] = '\0';
    answer->status = 0;
    set_options(s3, request, &self, url, headers);
    if (request->to >= 0) {
        snprintf(range, sizeof range, "%lld-%lld", (long long)request->from,
                 (long long)request->to);
        (void)curl_easy_setopt(self.handle, CURLOPT_RANGE, range);
    }
    nx_status status = NX_OK;
    if (request->sink != NULL && !request->sink->begin(request->sink->user)) {
        status = nx_error_set(err, NX_ERR_IO, "what comes from S3 can't be written");
    } else {
        CURLcode code = curl_easy_perform(self.handle);
        curl_off_t length = -1;
        (void)curl_easy_getinfo(self.handle, CURLINFO_RESPONSE_CODE, &answer->status);
        (void)curl_easy_getinfo(self.handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        answer->length = length;
        if (self.refused) {
            status = nx_error_set(err, NX_ERR_IO, "what comes from S3 can't be written");
        } else if (code != CURLE_OK) {
            status = nx_error_set(err, NX_ERR_UNAVAILABLE, "S3 at %s: %s", s3->base,
                                  curl_easy_strerror(code));
        } else if (answer->status >= HTTP_SERVER || answer->status == HTTP_TOO_MANY) {
            status = nx_error_set(err, NX_ERR_UNAVAILABLE, "S3 at %s answers %ld", s3->base,
                                  answer->status);
        }
    }
    give_handle(s3, self.handle);
    return status;
}

/* --- all tries --- */

static void wait_before_try(int tries)
{
    uint32_t noise = 0;
    int64_t ms = (int64_t)FIRST_WAIT_MS << (tries - 1);
    if (getrandom(&noise, sizeof noise, GRND_NONBLOCK) == (ssize_t)sizeof noise) {
        ms = ms / 2 + noise % (ms / 2 + 1);
    }
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NX_NS_PER_MS};
    (void)nanosleep(&pause, NULL);
}

/* S3 wants the body's hash as a header of its own, which Debian 12's libcurl signs but does not
 * make. NULL: no memory. */
static struct curl_slist *make_headers(const nx_s3_request *request)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof digest + 1];
    char line[120];
    (void)crypto_hash_sha256(digest, request->body, request->body_size);
    (void)sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
    snprintf(line, sizeof line, "x-amz-content-sha256: %s", hex);
    struct curl_slist *headers = curl_slist_append(NULL, line);
    struct curl_slist *more =
        headers != NULL ? curl_slist_append(headers, "Content-Type: application/octet-stream")
                        : NULL;
    if (more == NULL) {
        curl_slist_free_all(headers);
    }
    return more;
}

nx_status nx_s3_send(nx_s3 *s3, const nx_s3_request *request, nx_s3_answer *answer, nx_error *err)
{
    char *url = NULL;
    const char *query = request->query;
    *answer = (nx_s3_answer){.body = NX_BUFFER_INIT};
    if (asprintf(&url, "%s%s%s%s", s3->base, request->path, query != NULL ? "?" : "",
                 query != NULL ? query : "") < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a request to S3");
    }
    struct curl_slist *headers = make_headers(request);
    if (headers == NULL) {
        free(url);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a request to S3");
    }
    nx_status status = NX_OK;
    for (int tries = 1; tries <= MAX_TRIES; tries++) {
        status = try_once(s3, request, url, headers, answer, err);
        if (status != NX_ERR_UNAVAILABLE || tries == MAX_TRIES) {
            break;
        }
        wait_before_try(tries);
    }
    curl_slist_free_all(headers);
    free(url);
    return status;
}

nx_status nx_s3_refused(nx_s3_answer *answer, const char *what, nx_error *err)
{
    char code[80] = "";
    if (answer->status == HTTP_NOT_FOUND) {
        return nx_error_set(err, NX_ERR_NOT_FOUND, "S3 has no %s", what);
    }
    (void)nx_s3_element(answer, "Code", code, sizeof code);
    return nx_error_set(err, NX_ERR_UNAVAILABLE, "S3 refuses %s: %ld %s", what, answer->status,
                        code);
}

bool nx_s3_element(nx_s3_answer *answer, const char *name, char *out, size_t size)
{
    char open_tag[64];
    snprintf(open_tag, sizeof open_tag, "<%s>", name);
    const char *start = strstr(nx_buffer_cstr(&answer->body), open_tag);
    if (start == NULL) {
        return false;
    }
    start += strlen(open_tag);
    size_t length = strcspn(start, "<");
    if (length >= size) {
        return false;
    }
    memcpy(out, start, length);
    out[length] = '\0';
    return true;
}

bool nx_s3_escape(const char *text, char *out, size_t size)
{
    char *escaped = curl_easy_escape(NULL, text, 0);
    bool fits = escaped != NULL && strlen(escaped) < size;
    if (fits) {
        memcpy(out, escaped, strlen(escaped) + 1);
    }
    curl_free(escaped);
    return fits;
}
