/* URLs of Redis: what is taken is whole, and no password is ever shown. */
#include "fuzz.h"

#include "cache/redis_url.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

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

static void fuzz_url(char *text, size_t size)
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {fuzz_url};
    return fuzz_one_of(parsers, 1, data, size);
}
