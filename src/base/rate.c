#include "base/rate.h"

#include "base/clock.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOST INT64_C(1000000)

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/* 1 to MOST. NULL: it is no such number. */
static const char *parse_count(const char *text, int64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 7) {
        return NULL;
    }
    *out = strtoll(text, NULL, 10);
    return *out >= 1 && *out <= MOST ? text + digits : NULL;
}

static const char *parse_unit(const char *text, int64_t *period_ns)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } units[] = {{"s", 1}, {"min", 60}, {"h", 3600}};
    size_t size = strcspn(text, " \t");
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strlen(units[i].name) == size && strncasecmp(text, units[i].name, size) == 0) {
            *period_ns = units[i].seconds * NX_NS_PER_SEC;
            return text + size;
        }
    }
    return NULL;
}

static bool parse_burst(const char *text, nx_rate *out)
{
    text = skip_blanks(text);
    if (*text == '\0') {
        out->burst = out->count;
        return true;
    }
    if (strncasecmp(text, "burst", 5) != 0 || (text[5] != ' ' && text[5] != '\t')) {
        return false;
    }
    text = parse_count(skip_blanks(text + 5), &out->burst);
    return text != NULL && *skip_blanks(text) == '\0';
}

nx_status nx_rate_parse(const char *text, nx_rate *out, nx_error *err)
{
    *out = (nx_rate){.count = 0, .period_ns = NX_NS_PER_SEC, .burst = 1};
    if (strcasecmp(text, "off") == 0 || strcmp(text, "0") == 0) {
        return NX_OK;
    }
    nx_rate rate = *out;
    const char *at = parse_count(text, &rate.count);
    at = at != NULL && *at == '/' ? parse_unit(at + 1, &rate.period_ns) : NULL;
    if (at == NULL || !parse_burst(at, &rate)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "'%.60s' is no rate; write such as 600/min, 100/s, 100/s burst 200 or "
                            "off (numbers from 1 to 1000000; s, min or h)",
                            text);
    }
    *out = rate;
    return NX_OK;
}
