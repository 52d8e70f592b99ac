#include "base/time_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Without what ends it. */
static void write_seconds(int64_t seconds, char out[24])
{
    time_t time = (time_t)seconds;
    struct tm utc;
    (void)gmtime_r(&time, &utc);
    (void)strftime(out, 24, "%Y-%m-%dT%H:%M:%S", &utc);
}

void nx_time_text(int64_t milliseconds, char out[NX_TIME_TEXT_SIZE])
{
    char text[24];
    write_seconds(milliseconds / 1000, text);
    snprintf(out, NX_TIME_TEXT_SIZE, "%s.%03dZ", text, (int)(milliseconds % 1000));
}

void nx_time_text_seconds(int64_t seconds, char out[NX_TIME_TEXT_SIZE])
{
    char text[24];
    write_seconds(seconds, text);
    snprintf(out, NX_TIME_TEXT_SIZE, "%sZ", text);
}

/* "24h": false when it is no such thing. */
static bool parse_before(const char *text, int64_t now_ms, int64_t *out)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 6 || text[digits] == '\0' || text[digits + 1] != '\0') {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (units[i].unit == text[digits]) {
            *out = now_ms - strtoll(text, NULL, 10) * units[i].ms;
            return true;
        }
    }
    return false;
}

static bool parse_date(const char *text, int64_t *out)
{
    struct tm utc = {.tm_mday = 0};
    int64_t fraction = 0;
    const char *rest = strptime(text, "%Y-%m-%d", &utc);
    if (rest != NULL && (*rest == 'T' || *rest == ' ')) {
        rest = strptime(rest + 1, "%H:%M:%S", &utc);
        if (rest != NULL && *rest == '.') {
            size_t digits = strspn(rest + 1, "0123456789");
            for (size_t i = 0; i < 3; i++) {
                fraction = fraction * 10 + (i < digits ? rest[1 + i] - '0' : 0);
            }
            rest = digits > 0 ? rest + 1 + digits : NULL;
        }
        rest = rest != NULL && *rest == 'Z' ? rest + 1 : NULL;
    }
    *out = rest != NULL && *rest == '\0' ? (int64_t)timegm(&utc) * 1000 + fraction : 0;
    return *out > 0;
}

nx_status nx_time_parse(const char *text, int64_t now_ms, int64_t *out, nx_error *err)
{
    if (parse_before(text, now_ms, out) || parse_date(text, out)) {
        return NX_OK;
    }
    return nx_error_set(err, NX_ERR_INVALID,
                        "'%.60s' is no time; write such as 2026-01-31, 2026-01-31T12:00:00Z, or so "
                        "long ago: 90s, 15m, 24h, 7d",
                        text);
}
