#include "jobs/webhook_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- addresses ----------------------------------------------------------------------------------
 */

typedef struct block {
    uint8_t prefix[16];
    int bits;
    const char *what;
} block;

static const char private_address[] = "a private address";
static const char shared_address[] = "a shared address of a provider's network";
static const char loopback_address[] = "a loopback address";

/* The first that fits names it. */
static const block blocks_v4[] = {
    {{0}, 8, "an unspecified address"},
    {{10}, 8, private_address},
    {{100, 100, 100, 200}, 32, "a cloud's metadata address"},
    {{100, 64}, 10, shared_address},
    {{127}, 8, loopback_address},
    {{168, 63, 129, 16}, 32, "a cloud's metadata address"},
    {{169, 254}, 16, "a link-local address"}, /* most clouds' metadata among them */
    {{172, 16}, 12, private_address},
    {{192, 0, 0, 192}, 32, "a cloud's metadata address"},
    {{192, 0, 0}, 24, "a reserved address"},
    {{192, 0, 2}, 24, "an address for documentation"},
    {{192, 88, 99}, 24, "a reserved address"},
    {{192, 168}, 16, private_address},
    {{198, 18}, 15, "an address for benchmarks"},
    {{198, 51, 100}, 24, "an address for documentation"},
    {{203, 0, 113}, 24, "an address for documentation"},
    {{224}, 4, "a multicast address"},
    {{255, 255, 255, 255}, 32, "the broadcast address"},
    {{240}, 4, "a reserved address"},
};

static const block blocks_v6[] = {
    {{0}, 128, "an unspecified address"},
    {{[15] = 1}, 128, loopback_address},
    {{[10] = 0xff, [11] = 0xff}, 96, "an IPv4 address in IPv6 form"},
    {{0}, 96, "an IPv4 address in IPv6 form"}, /* "compatible", long out of use */
    {{0x00, 0x64, 0xff, 0x9b}, 96, "a NAT64 address"},
    {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48, "a NAT64 address"},
    {{0x20, 0x01, 0x00, 0x00}, 32, "a Teredo address"},
    {{0x20, 0x01}, 23, "a reserved address"},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, "an address for documentation"},
    {{0x20, 0x02}, 16, "a 6to4 address"},
    {{0x3f, 0xff}, 20, "an address for documentation"},
    {{0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54}, 128, "a cloud's metadata address"},
    {{0xfc}, 7, private_address},
    {{0xfe, 0x80}, 10, "a link-local address"},
    {{0xfe, 0xc0}, 10, private_address},
    {{0xff}, 8, "a multicast address"},
};

static bool is_in(const uint8_t *address, const block *range)
{
    size_t whole = (size_t)range->bits / 8;
    int rest = range->bits % 8;
    if (memcmp(address, range->prefix, whole) != 0) {
        return false;
    }
    return rest == 0 || ((address[whole] ^ range->prefix[whole]) >> (8 - rest)) == 0;
}

static const char *find_block(const uint8_t *address, const block *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_in(address, &ranges[i])) {
            return ranges[i].what;
        }
    }
    return NULL;
}

static const char *refuse_v4(const struct in_addr *address)
{
    uint8_t bytes[4];
    memcpy(bytes, address, sizeof bytes);
    return find_block(bytes, blocks_v4, sizeof blocks_v4 / sizeof blocks_v4[0]);
}

static const char *refuse_v6(const struct in6_addr *address)
{
    const char *what =
        find_block(address->s6_addr, blocks_v6, sizeof blocks_v6 / sizeof blocks_v6[0]);
    if (what == NULL && address->s6_addr[0] >> 5 != 1) {
        what = "a reserved address"; /* 2000::/3 is all that has been given out */
    }
    return what;
}

const char *nx_webhook_address_refused(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return refuse_v4(&v4.sin_addr);
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return refuse_v6(&v6.sin6_addr);
    }
    return "no address of the Internet";
}

const char *nx_camera_address_refused(const struct sockaddr *address, bool allow_loopback)
{
    const char *what = nx_webhook_address_refused(address);
    bool near = what == private_address || what == shared_address ||
                (allow_loopback && what == loopback_address);
    return near ? NULL : what;
}

/* --- URLs ---------------------------------------------------------------------------------------
 */

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t size = strlen(end);
    return length >= size && strncasecmp(text + length - size, end, size) == 0;
}

/* host as libcurl's parser gives it: decoded, IPv4 in its usual form, IPv6 in brackets. */
static nx_status check_host(const char *host, nx_error *err)
{
    char inner[64] = "";
    struct in_addr v4;
    struct in6_addr v6;
    size_t length = strlen(host);
    const char *what = NULL;
    while (length > 0 && host[length - 1] == '.') {
        length--;
    }
    if (length < sizeof inner) {
        memcpy(inner, host, length);
        inner[length] = '\0';
    }
    if (length > 2 && inner[0] == '[') {
        inner[length - 1] = '\0';
        what = inet_pton(AF_INET6, inner + 1, &v6) == 1 ? refuse_v6(&v6) : "no address";
    } else if (inet_aton(inner, &v4) != 0) { /* a form that was percent-encoded, too */
        what = refuse_v4(&v4);
    } else if (length == 0 || strcasecmp(inner, "localhost") == 0 ||
               ends_with(host, length, ".localhost")) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the webhook's host is this machine; send the URL of one that anybody "
                            "reaches, or set WEBHOOK_ALLOW_PRIVATE");
    }
    return what == NULL ? NX_OK
                        : nx_error_set(err, NX_ERR_INVALID,
                                       "the webhook's host %.60s is %s; send the URL of one that "
                                       "anybody reaches, or set WEBHOOK_ALLOW_PRIVATE",
                                       host, what);
}

static nx_status check_form(const char *url, nx_error *err)
{
    size_t length = strnlen(url, NX_WEBHOOK_URL_MAX + 1);
    if (length > NX_WEBHOOK_URL_MAX) {
        return nx_error_set(err, NX_ERR_INVALID, "the webhook's URL is longer than %d bytes",
                            NX_WEBHOOK_URL_MAX);
    }
    for (size_t i = 0; i < length; i++) {
        if (url[i] <= ' ' || url[i] > '~') {
            return nx_error_set(err, NX_ERR_INVALID,
                                "the webhook's URL has a character that must be encoded, at %zu",
                                i + 1);
        }
    }
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the webhook's URL must begin with http:// or https://");
    }
    return NX_OK;
}

static nx_status check_parts(CURLU *parser, const char *url, bool allow_private, nx_error *err)
{
    CURLUcode code = curl_url_set(parser, CURLUPART_URL, url, CURLU_DISALLOW_USER);
    if (code == CURLUE_OUT_OF_MEMORY) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the webhook's URL");
    }
    if (code == CURLUE_USER_NOT_ALLOWED) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the webhook's URL must not hold a user or password");
    }
    char *part = NULL;
    if (code != CURLUE_OK || curl_url_get(parser, CURLUPART_HOST, &part, 0) != CURLUE_OK) {
        return nx_error_set(err, NX_ERR_INVALID, "the webhook's URL is not valid: %s",
                            curl_url_strerror(code != CURLUE_OK ? code : CURLUE_NO_HOST));
    }
    char *zone = NULL;
    nx_status status = NX_OK;
    if (curl_url_get(parser, CURLUPART_ZONEID, &zone, 0) == CURLUE_OK) {
        status = nx_error_set(err, NX_ERR_INVALID, "the webhook's URL must not name a zone");
    } else if (!allow_private) {
        status = check_host(part, err);
    }
    curl_free(zone);
    curl_free(part);
    return status;
}

nx_status nx_webhook_check_url(const char *url, bool allow_private, nx_error *err)
{
    nx_status status = check_form(url, err);
    if (status != NX_OK) {
        return status;
    }
    /* libcurl's own parser: what is checked is what it will connect to */
    CURLU *parser = curl_url();
    if (parser == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the webhook's URL");
    }
    status = check_parts(parser, url, allow_private, err);
    curl_url_cleanup(parser);
    return status;
}

void nx_webhook_url_shown(const char *url, char *out)
{
    const char *scheme = strstr(url, "://");
    const char *host = scheme != NULL ? scheme + 3 : url;
    size_t size = (size_t)(host - url) + strcspn(host, "/?#");
    bool more = url[size] != '\0' && strcmp(url + size, "/") != 0;
    snprintf(out, NX_WEBHOOK_SHOWN_SIZE, "%.*s%s", (int)size, url, more ? "/***" : "");
}
