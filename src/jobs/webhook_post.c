#include "jobs/webhook_post.h"

#include "jobs/webhook_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_BODY       ((size_t)64 * 1024)
#define MAX_HEADER     ((size_t)64 * 1024)
#define CONNECT_S      10L
#define HTTP_OK        200
#define HTTP_REDIRECT  300
#define HTTP_BAD       400
#define US_PER_MS      1000
#define LONGEST_HEADER 300

struct nx_webhook_post {
    CURL *handle;
    struct curl_slist *headers;
    nx_buffer body;
    bool allow_private;
    bool too_long; /* the answer's header */
    size_t header_seen;
    size_t body_seen;
    char refused[160];             /* the address that was refused; "": none */
    char error[200];               /* of the outcome */
    char trouble[CURL_ERROR_SIZE]; /* libcurl's own words; "": it found none */
};

void nx_webhook_sign(const char *secret, int64_t time_s, const void *body, size_t size,
                     char out[NX_WEBHOOK_SIGNATURE_SIZE])
{
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    char hex[2 * sizeof mac + 1];
    char time[32];
    crypto_auth_hmacsha256_state state;
    int length = snprintf(time, sizeof time, "%lld.", (long long)time_s);
    (void)crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret, strlen(secret));
    (void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)time, (size_t)length);
    (void)crypto_auth_hmacsha256_update(&state, body, size);
    (void)crypto_auth_hmacsha256_final(&state, mac);
    (void)sodium_bin2hex(hex, sizeof hex, mac, sizeof mac);
    snprintf(out, NX_WEBHOOK_SIGNATURE_SIZE, "t=%lld,v1=%s", (long long)time_s, hex);
    sodium_memzero(&state, sizeof state);
}

/* --- what libcurl asks --------------------------------------------------------------------------
 */

static void note_refusal(nx_webhook_post *post, const struct sockaddr *address, const char *what)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        (void)inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    }
    snprintf(post->refused, sizeof post->refused, "%s is %s", text, what);
}

/* Sees each address right before it is connected to: no look-up lies in between. */
static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    nx_webhook_post *post = user;
    if (purpose != CURLSOCKTYPE_IPCXN) {
        return CURL_SOCKET_BAD;
    }
    /* addrlen bytes lie there, more than the member's type has */
    const void *where = (const char *)address + offsetof(struct curl_sockaddr, addr);
    const char *what = post->allow_private ? NULL : nx_webhook_address_refused(where);
    if (what != NULL) {
        note_refusal(post, where, what);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t take_header(const char *bytes, size_t one, size_t count, void *user)
{
    (void)bytes;
    nx_webhook_post *post = user;
    post->header_seen += one * count;
    post->too_long = post->header_seen > MAX_HEADER;
    return post->too_long ? 0 : one * count;
}

static size_t take_body(const char *bytes, size_t one, size_t count, void *user)
{
    (void)bytes;
    nx_webhook_post *post = user;
    post->body_seen += one * count;
    return post->body_seen > MAX_BODY ? 0 : one * count;
}

/* --- the post -----------------------------------------------------------------------------------
 */

static bool add_header(nx_webhook_post *post, const char *name, const char *value)
{
    char line[LONGEST_HEADER];
    int length = snprintf(line, sizeof line, "%s%s", name, value);
    struct curl_slist *more =
        length > 0 && (size_t)length < sizeof line ? curl_slist_append(post->headers, line) : NULL;
    post->headers = more != NULL ? more : post->headers;
    return more != NULL;
}

static bool add_headers(nx_webhook_post *post, const nx_webhook_message *message)
{
    char signature[NX_WEBHOOK_SIGNATURE_SIZE];
    if (message->secret[0] != '\0') {
        nx_webhook_sign(message->secret, message->time_s, post->body.data, post->body.size,
                        signature);
        if (!add_header(post, "X-Nexus-Signature: ", signature)) {
            return false;
        }
    }
    if (message->traceparent != NULL && !add_header(post, "traceparent: ", message->traceparent)) {
        return false;
    }
    return add_header(post, "X-Nexus-Event: ", message->event) &&
           add_header(post, "X-Nexus-Delivery: ", message->delivery_id) &&
           add_header(post, "Content-Type: ", "application/json") &&
           add_header(post, "Expect:", ""); /* without "100-continue" */
}

/* False: an option that protects was not taken. */
static bool set_options(nx_webhook_post *post, const nx_webhook_message *message)
{
    CURL *handle = post->handle;
    bool set =
        curl_easy_setopt(handle, CURLOPT_URL, message->url) == CURLE_OK &&
        curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
        curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
        curl_easy_setopt(handle, CURLOPT_PROXY, "") == CURLE_OK && /* nor the environment's */
        curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
        curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, post) == CURLE_OK &&
        curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, message->timeout_ms) == CURLE_OK &&
        (message->ca_file == NULL || message->ca_file[0] == '\0' ||
         curl_easy_setopt(handle, CURLOPT_CAINFO, message->ca_file) == CURLE_OK);
    (void)curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, post->trouble);
    (void)curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    (void)curl_easy_setopt(handle, CURLOPT_FRESH_CONNECT, 1L);
    (void)curl_easy_setopt(handle, CURLOPT_FORBID_REUSE, 1L);
    (void)curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(handle, CURLOPT_USERAGENT, "nexus/" NX_VERSION);
    (void)curl_easy_setopt(handle, CURLOPT_HTTPHEADER, post->headers);
    (void)curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body.size);
    (void)curl_easy_setopt(handle, CURLOPT_POSTFIELDS, post->body.data);
    (void)curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(handle, CURLOPT_HEADERDATA, post);
    (void)curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(handle, CURLOPT_WRITEDATA, post);
    return set;
}

nx_status nx_webhook_post_new(const nx_webhook_message *message, nx_buffer *body,
                              nx_webhook_post **out, nx_error *err)
{
    *out = NULL;
    nx_webhook_post *post = calloc(1, sizeof *post);
    if (post == NULL) {
        nx_buffer_free(body);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a webhook");
    }
    post->body = *body;
    *body = (nx_buffer)NX_BUFFER_INIT;
    post->allow_private = message->allow_private;
    post->handle = curl_easy_init();
    if (post->handle == NULL || post->body.failed || !add_headers(post, message) ||
        !set_options(post, message)) {
        nx_webhook_post_free(post);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a webhook");
    }
    *out = post;
    return NX_OK;
}

void nx_webhook_post_free(nx_webhook_post *post)
{
    if (post == NULL) {
        return;
    }
    curl_easy_cleanup(post->handle);
    curl_slist_free_all(post->headers);
    nx_buffer_free(&post->body);
    free(post);
}

CURL *nx_webhook_post_handle(nx_webhook_post *post)
{
    return post->handle;
}

/* A certificate that has ended, or one of somebody else: only libcurl's own words say which. */
static bool was_unsafe(const nx_webhook_post *post, CURLcode code)
{
    return post->trouble[0] != '\0' &&
           (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR ||
            code == CURLE_SSL_CACERT_BADFILE);
}

/* The header is complete, and not one of 1xx: what follows changes nothing. */
static bool was_answered(const nx_webhook_post *post, CURLcode code, long status)
{
    return status >= HTTP_OK && (code == CURLE_OK || post->body_seen > 0);
}

nx_webhook_outcome nx_webhook_post_outcome(nx_webhook_post *post, CURLcode code)
{
    long status = 0;
    curl_off_t us = 0;
    (void)curl_easy_getinfo(post->handle, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(post->handle, CURLINFO_TOTAL_TIME_T, &us);
    nx_webhook_outcome outcome = {
        .duration_ms = us / US_PER_MS, .error = post->error, .failure = NX_WEBHOOK_NO_ANSWER};
    if (was_answered(post, code, status)) {
        outcome.status = status;
        if (status < HTTP_REDIRECT) {
            outcome.error = NULL;
        } else {
            outcome.failure = NX_WEBHOOK_REFUSED;
            snprintf(post->error, sizeof post->error, "the receiver answers %ld%s", status,
                     status < HTTP_BAD ? ", and redirects are not followed" : "");
        }
    } else if (post->too_long) {
        snprintf(post->error, sizeof post->error, "the answer's header is too long");
    } else if (code == CURLE_COULDNT_CONNECT && post->refused[0] != '\0') {
        outcome.failure = NX_WEBHOOK_NOT_SENT;
        snprintf(post->error, sizeof post->error, "refused: %s", post->refused);
    } else if (was_unsafe(post, code)) {
        snprintf(post->error, sizeof post->error, "no secure connection: %.170s", post->trouble);
    } else {
        snprintf(post->error, sizeof post->error, "no answer: %s", curl_easy_strerror(code));
    }
    return outcome;
}
