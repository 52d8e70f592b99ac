/* URLs of Redis, MQTT brokers and cameras: what is taken is whole, no address that is refused is
 * among it, and no password is ever shown. (Those of webhooks have a target of their own.) */
#include "fuzz.h"

#include "base/url.h"
#include "cache/redis_url.h"
#include "jobs/mqtt_url.h"
#include "streams/url.h"

#include <arpa/inet.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* --- Redis --------------------------------------------------------------------------------------
 */

/* What may be shown of a URL with these parts. */
static void expected(const nx_redis_url *url, char *out, size_t size)
{
    bool secret = url->password[0] != '\0';
    bool v6 = strchr(url->host, ':') != NULL;
    int used = snprintf(out, size, "%s%s%s%s%s%s%s", url->is_unix ? "unix://" : "redis://",
                        url->user, secret ? ":***" : "", secret || url->user[0] != '\0' ? "@" : "",
                        v6 && !url->is_unix ? "[" : "", url->host, v6 && !url->is_unix ? "]" : "");
    if (url->is_unix) {
        snprintf(out + used, size - (size_t)used, "?db=%u", url->database);
    } else {
        snprintf(out + used, size - (size_t)used, ":%u/%u", url->port, url->database);
    }
}

static void fuzz_redis(char *text, size_t size)
{
    char shown[1200];
    nx_redis_url url;
    nx_error err = {0};
    text[size] = '\0';
    nx_status status = nx_redis_url_parse(text, &url, &err);
    nx_redis_url_shown(text, shown, sizeof shown);
    if (status == NX_OK) {
        expect(url.host[0] != '\0' && url.database <= 65535 && (url.is_unix || url.port > 0));
        char right[1200];
        expected(&url, right, sizeof right);
        expect(strcmp(shown, right) == 0);
    } else {
        expect(url.password[0] == '\0' && strcmp(shown, text[0] == '\0' ? "" : "***") == 0);
        expect(err.message[0] != '\0');
    }
}

/* --- MQTT ---------------------------------------------------------------------------------------
 */

static void fuzz_mqtt(char *text, size_t size)
{
    nx_mqtt_url url;
    nx_error err = {0};
    text[size] = '\0';
    if (nx_mqtt_url_parse(text, &url, &err) == NX_OK) {
        expect(url.host[0] != '\0' && url.port > 0 && err.message[0] == '\0');
    } else {
        expect(err.message[0] != '\0');
    }
    char shown[64]; /* too little room for many */
    nx_url_shown(text, shown, sizeof shown);
    expect(memchr(shown, '\0', sizeof shown) != NULL);
}

/* --- cameras ------------------------------------------------------------------------------------
 */

static void check_target(const char *url)
{
    nx_stream_target target;
    nx_error err = {0};
    uint8_t address[16];
    const char *behind = strstr(url, "://") + 3;
    const char *at = behind; /* an address, so that nothing is looked up */
    for (const char *c = behind; *c != '\0' && strchr("/?#", *c) == NULL; c++) {
        at = *c == '@' ? c + 1 : at;
    }
    if (at[strspn(at, "0123456789.")] != '\0' && at[strspn(at, "0123456789.")] != '/') {
        return;
    }
    if (nx_stream_url_resolve(url, false, &target, &err) != NX_OK) {
        expect(err.message[0] != '\0');
        return;
    }
    expect(inet_pton(AF_INET, target.address, address) == 1);
    expect(address[0] != 127 && address[0] != 0 && address[0] < 224);
    expect(!(address[0] == 169 && address[1] == 254));
    if (target.tls && nx_stream_url_through(&target, 1234, &err) == NX_OK) {
        expect(strstr(target.url, "127.0.0.1:1234") != NULL);
    }
}

static void fuzz_camera(char *text, size_t size)
{
    char shown[NX_STREAM_SHOWN_SIZE];
    nx_stream_kind kind;
    nx_error err = {0};
    text[size] = '\0';
    nx_status open = nx_stream_url_check(text, true, &kind, &err);
    nx_status strict = nx_stream_url_check(text, false, &kind, &err);
    expect(strict != NX_OK || open == NX_OK);
    expect(strict == NX_OK || err.message[0] != '\0');
    nx_stream_url_shown(text, shown);
    expect(strlen(shown) < sizeof shown);
    if (strict == NX_OK && (kind == NX_STREAM_RTSP || kind == NX_STREAM_HTTP)) {
        check_target(text);
    }
}

/* Of rtsp://USER:PASSWORD@10.0.0.1/?QUERY with any two texts nothing is shown of either, when it is
 * one that would be taken. */
static void fuzz_secret(char *text, size_t size)
{
    char url[NX_STREAM_URL_MAX + 1];
    char shown[NX_STREAM_SHOWN_SIZE];
    nx_stream_kind kind;
    nx_error err = {0};
    text[size] = '\0';
    if (strstr(text, "SECRET") != NULL) { /* the fuzzer has learnt the word: it may be the host's */
        return;
    }
    char *second = text;
    const char *first = strsep(&second, "\n");
    int length = snprintf(url, sizeof url, "rtsp://u:SECRET%s@10.0.0.1/?k=SECRET%s", first,
                          second != NULL ? second : "");
    if (length < 0 || (size_t)length >= sizeof url ||
        nx_stream_url_check(url, false, &kind, &err) != NX_OK) {
        return;
    }
    nx_stream_url_shown(url, shown);
    expect(strstr(shown, "SECRET") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {fuzz_redis, fuzz_mqtt, fuzz_camera, fuzz_secret};
    return fuzz_one_of(parsers, sizeof parsers / sizeof parsers[0], data, size);
}
