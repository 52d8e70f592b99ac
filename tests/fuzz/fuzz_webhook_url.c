/* URLs of webhooks and the addresses behind them: what is taken is http, without a password, and
 * never this machine or a private network, however it is written. */
#include "fuzz.h"

#include "jobs/webhook_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* What curl would connect to. */
static void check_taken(const char *url)
{
    char *part = NULL;
    struct in_addr v4;
    CURLU *parser = curl_url();
    expect(parser != NULL && curl_url_set(parser, CURLUPART_URL, url, 0) == CURLUE_OK);
    expect(curl_url_get(parser, CURLUPART_USER, &part, 0) == CURLUE_NO_USER);
    expect(curl_url_get(parser, CURLUPART_PASSWORD, &part, 0) == CURLUE_NO_PASSWORD);
    expect(curl_url_get(parser, CURLUPART_SCHEME, &part, 0) == CURLUE_OK);
    expect(strcasecmp(part, "http") == 0 || strcasecmp(part, "https") == 0);
    curl_free(part);
    expect(curl_url_get(parser, CURLUPART_HOST, &part, 0) == CURLUE_OK);
    expect(part[0] != '\0' && strcasecmp(part, "localhost") != 0);
    if (inet_aton(part, &v4) != 0) { /* takes every form that a resolver would */
        const uint8_t first = (uint8_t)(ntohl(v4.s_addr) >> 24);
        expect(first != 0 && first != 10 && first != 127 && first < 224);
    }
    curl_free(part);
    curl_url_cleanup(parser);
}

static void fuzz_url(char *text, size_t size)
{
    nx_error err = {0};
    text[size] = '\0';
    nx_status open = nx_webhook_check_url(text, true, &err);
    expect((open == NX_OK) == (err.message[0] == '\0'));
    nx_status strict = nx_webhook_check_url(text, false, &err);
    expect(strict != NX_OK || open == NX_OK);
    expect(strict == NX_OK || err.message[0] != '\0');
    for (const char *c = err.message; *c != '\0'; c++) {
        expect(*c >= ' ' && *c <= '~');
    }
    if (strict == NX_OK) {
        check_taken(text);
    }
}

static void fuzz_address(char *text, size_t size)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    memcpy(&v6.sin6_addr, text, size < sizeof v6.sin6_addr ? size : sizeof v6.sin6_addr);
    memcpy(&v4.sin_addr, text, size < sizeof v4.sin_addr ? size : sizeof v4.sin_addr);
    if (nx_webhook_address_refused((struct sockaddr *)&v6) == NULL) {
        expect(v6.sin6_addr.s6_addr[0] >> 5 == 1);
    }
    if (nx_webhook_address_refused((struct sockaddr *)&v4) == NULL) {
        const uint8_t first = (uint8_t)(ntohl(v4.sin_addr.s_addr) >> 24);
        expect(first != 0 && first != 10 && first != 127 && first < 224);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {fuzz_url, fuzz_address};
    return fuzz_one_of(parsers, sizeof parsers / sizeof parsers[0], data, size);
}
