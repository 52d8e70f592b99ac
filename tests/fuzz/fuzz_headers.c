/*
 * Values of headers and of parameters that are short texts, each by its own reader, which the first
 * byte chooses. Of X-Forwarded-For: lines are as good as one line with commas, and what stands in
 * front of an entry that is not trusted changes nothing.
 */
#include "fuzz.h"

#include "api/origin.h"
#include "api/uploads.h"
#include "api/videos.h"
#include "base/rate.h"
#include "base/time_text.h"
#include "base/trace.h"
#include "http/forwarded.h"
#include "http/internal.h"
#include "http/negotiate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_LINES 32
#define FORGED    "203.0.113.66, "

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

static nx_address parse(const char *text)
{
    nx_address out;
    require(nx_address_parse(text, strlen(text), &out));
    return out;
}

static size_t split(const char *text, size_t size, nx_http_field *lines)
{
    size_t count = 0;
    const char *end = text + size;
    for (const char *at = text; at < end && count < MAX_LINES;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        /* the rest, where there are too many */
        stop = stop != NULL && count + 1 < MAX_LINES ? stop : end;
        lines[count++] = (nx_http_field){.value = at, .value_size = (size_t)(stop - at)};
        at = stop < end ? stop + 1 : end;
    }
    return count;
}

static char *joined(const char *text, size_t size, const char *before)
{
    char *out = malloc(size + strlen(before) + 1);
    require(out != NULL);
    memcpy(out, before, strlen(before));
    memcpy(out + strlen(before), text, size);
    for (size_t i = 0; i < size; i++) {
        if (out[strlen(before) + i] == '\n') {
            out[strlen(before) + i] = ',';
        }
    }
    return out;
}

static nx_address client_of(const nx_address_set *trusted, const nx_address *peer, const char *text,
                            size_t size)
{
    const nx_http_field line = {.value = text, .value_size = size};
    return nx_forwarded_client(trusted, peer, &line, 1);
}

static void fuzz_header(char *text, size_t size)
{
    nx_address_set trusted;
    require(nx_address_set_parse("10.0.0.0/8, fd00::/8, 127.0.0.1", &trusted, NULL) == NX_OK);
    const nx_address peer = parse("10.0.0.1");
    const nx_address stranger = parse("192.0.2.1");
    const nx_address forged = parse("203.0.113.66");
    nx_http_field lines[MAX_LINES];
    size_t count = split(text, size, lines);
    const nx_address client = nx_forwarded_client(&trusted, &peer, lines, count);
    const nx_address unbelieved = nx_forwarded_client(&trusted, &stranger, lines, count);
    require(nx_address_equal(&unbelieved, &stranger));
    if (count < MAX_LINES) {
        char *one = joined(text, size, "");
        const nx_address same = client_of(&trusted, &peer, one, size);
        require(nx_address_equal(&same, &client));
        free(one);
        char *longer = joined(text, size, FORGED);
        const nx_address after = client_of(&trusted, &peer, longer, size + strlen(FORGED));
        require(nx_address_equal(&after, &client) ||
                (nx_address_equal(&after, &forged) && nx_address_set_has(&trusted, &client)));
        free(longer);
    }
    (void)nx_forwarded_https(lines, count);
    char out[NX_ADDRESS_TEXT];
    nx_address_text(&client, out);
    const nx_address again = parse(out);
    require(nx_address_equal(&again, &client));
}

static void fuzz_set(char *text, size_t size)
{
    nx_address_set set;
    nx_error err = {0};
    text[size] = '\0';
    if (nx_address_set_parse(text, &set, &err) != NX_OK) {
        require(err.status == NX_ERR_INVALID && err.message[0] != '\0');
        return;
    }
    for (size_t i = 0; i < set.count; i++) {
        require(set.blocks[i].bits > 0);
        require(nx_address_set_has(&set, &set.blocks[i].prefix));
    }
}

/* --- choosing representations -------------------------------------------------------------------
 */

/* Cuts the text at its line breaks; missing lines are NULL. */
static void cut(char *text, size_t size, const char **lines, size_t count)
{
    char *rest = text;
    text[size] = '\0';
    for (size_t i = 0; i < count; i++) {
        lines[i] = strsep(&rest, "\n");
    }
}

/* "Range\nIf-Range\nsize" */
static void fuzz_range(char *text, size_t size)
{
    const char *lines[3];
    uint64_t first = 0;
    uint64_t last = 0;
    cut(text, size, lines, 3);
    uint64_t bytes = lines[2] != NULL ? strtoull(lines[2], NULL, 10) : 1000;
    nx_range_kind kind = nx_negotiate_range(lines[0], lines[1], "\"etag\"", bytes, &first, &last);
    require(kind != NX_RANGE_PART || (first <= last && last < bytes));
}

static void fuzz_accept(char *text, size_t size)
{
    static const char *const offers[] = {"application/json", "image/png", "image/jpeg"};
    text[size] = '\0';
    int chosen = nx_negotiate_type(text, offers, 3);
    require(chosen >= -1 && chosen < 3);
    require(chosen < 0 || nx_negotiate_type(text, &offers[chosen], 1) == 0);
    bool zstd = nx_negotiate_coding(text, "zstd");
    require(!zstd || strstr(text, "zstd") != NULL || strcasestr(text, "zstd") != NULL ||
            strchr(text, '*') != NULL);
    bool same = nx_negotiate_none_match(text, "\"etag\"");
    require(!same || strstr(text, "\"etag\"") != NULL || strchr(text, '*') != NULL);
}

/* --- texts --------------------------------------------------------------------------------------
 */

static void fuzz_escapes(char *text, size_t size)
{
    text[size] = '\0';
    size_t before = strlen(text);
    size_t after = nx_http_unescape(NULL, NULL, text);
    require(after <= before && strlen(text) == after);
}

static void fuzz_trace(char *text, size_t size)
{
    nx_trace trace;
    nx_trace again;
    char written[NX_TRACE_SIZE];
    text[size] = '\0';
    bool good = nx_trace_parse(text, &trace);
    const nx_trace next = nx_trace_continue(text);
    nx_trace_write(&next, written);
    require(nx_trace_parse(written, &again));
    require(!good || (strcmp(again.id, trace.id) == 0 && again.sampled == trace.sampled));
}

/* "Sec-Fetch-Site\nOrigin\nHost" */
static void fuzz_origin(char *text, size_t size)
{
    const char *lines[3];
    cut(text, size, lines, 3);
    nx_origin_verdict verdict = nx_origin_judge(lines[0], lines[1], lines[2]);
    require(verdict == NX_ORIGIN_UNKNOWN || verdict == NX_ORIGIN_SAME ||
            verdict == NX_ORIGIN_OTHER);
    for (size_t i = 0; i < 3 && lines[i] != NULL; i++) {
        (void)nx_origin_address_is_loopback(lines[i]);
        (void)nx_origin_host_is_loopback(lines[i]);
        (void)nx_origin_is_loopback(lines[i]);
    }
}

static void fuzz_time(char *text, size_t size)
{
    const int64_t now = INT64_C(1800000000000);
    int64_t at = 0;
    int64_t again = 0;
    char written[NX_TIME_TEXT_SIZE];
    nx_error err = {0};
    text[size] = '\0';
    if (nx_time_parse(text, now, &at, &err) != NX_OK) {
        require(err.message[0] != '\0');
    } else if (at > 0) { /* else so long ago that nobody writes it so */
        nx_time_text(at, written);
        require(nx_time_parse(written, now, &again, &err) == NX_OK && again == at);
    }
}

static void fuzz_rate(char *text, size_t size)
{
    nx_rate rate;
    nx_error err = {0};
    text[size] = '\0';
    if (nx_rate_parse(text, &rate, &err) != NX_OK) {
        require(err.message[0] != '\0');
    } else {
        require(rate.count >= 0 && rate.burst >= 1 && rate.period_ns > 0);
    }
}

/* Upload-Metadata of tus: what a file is called. */
static void fuzz_upload_name(char *text, size_t size)
{
    char name[NX_API_VIDEO_NAME_MAX + 1];
    nx_problem problem = {0};
    text[size] = '\0';
    if (!nx_api_upload_name(text, name, &problem)) {
        require(problem.status >= 400 && problem.detail[0] != '\0');
        return;
    }
    require(name[0] != '\0' && strpbrk(name, "/\\\r\n") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {
        fuzz_header, fuzz_set,    fuzz_range, fuzz_accept, fuzz_escapes,
        fuzz_trace,  fuzz_origin, fuzz_time,  fuzz_rate,   fuzz_upload_name,
    };
    return fuzz_one_of(parsers, sizeof parsers / sizeof parsers[0], data, size);
}
