/* URLs of Redis: what is taken is whole, and no password is ever shown. */
#include "fuzz.h"

#include "cache/redis_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* A text in which the password may stand by chance: a part of the host, or of the user. */
static bool is_elsewhere(const nx_redis_url *url)
{
    return strstr(url->host, url->password) != NULL || strstr(url->user, url->password) != NULL;
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
        /* longer than what the form of a URL holds itself */
        expect(strlen(url.password) < 12 || is_elsewhere(&url) ||
               strstr(shown, url.password) == NULL);
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
