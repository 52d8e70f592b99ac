#include "http/negotiate.h"

#include <string.h>
#include <strings.h>

/* A slice of a header. */
typedef struct slice {
    const char *text;
    size_t size;
} slice;

static slice trim(slice s)
{
    while (s.size > 0 && (s.text[0] == ' ' || s.text[0] == '\t')) {
        s.text++;
        s.size--;
    }
    while (s.size > 0 && (s.text[s.size - 1] == ' ' || s.text[s.size - 1] == '\t')) {
        s.size--;
    }
    return s;
}

/* Cuts the piece before the next separator off *rest. Returns false at the end. */
static bool next_piece(slice *rest, char separator, slice *out)
{
    if (rest->text == NULL) {
        return false;
    }
    const char *end = memchr(rest->text, separator, rest->size);
    size_t size = end != NULL ? (size_t)(end - rest->text) : rest->size;
    *out = trim((slice){rest->text, size});
    if (end == NULL) {
        rest->text = NULL;
    } else {
        rest->text += size + 1;
        rest->size -= size + 1;
    }
    return true;
}

static bool slice_is(slice s, const char *text)
{
    return strlen(text) == s.size && strncasecmp(s.text, text, s.size) == 0;
}

/* qvalue in thousandths; a malformed one counts as 0, which is the safe reading. */
static int parse_quality(slice text)
{
    if (text.size == 0 || (text.text[0] != '0' && text.text[0] != '1')) {
        return 0;
    }
    int quality = (text.text[0] - '0') * 1000;
    int unit = 100;
    for (size_t i = 2; i < text.size && i < 5; i++, unit /= 10) {
        if (text.text[i] < '0' || text.text[i] > '9') {
            return 0;
        }
        quality += (text.text[i] - '0') * unit;
    }
    return quality > 1000 ? 1000 : quality;
}

/* Splits `range;param;q=0.5` into the range and its quality. */
static slice split_quality(slice element, int *quality)
{
    slice rest = element;
    slice range = {"", 0};
    slice parameter;
    *quality = 1000;
    next_piece(&rest, ';', &range);
    while (next_piece(&rest, ';', &parameter)) {
        if (parameter.size >= 2 && (parameter.text[0] | 0x20) == 'q' && parameter.text[1] == '=') {
            *quality = parse_quality((slice){parameter.text + 2, parameter.size - 2});
        }
    }
    return range;
}

/* 3: the type itself, 2: its "image" + "/" + "*", 1: everything, 0: no match */
static int match_type(slice range, const char *type)
{
    if (slice_is(range, type)) {
        return 3;
    }
    size_t main_size = strcspn(type, "/") + 1;
    if (range.size == main_size + 1 && range.text[main_size] == '*' &&
        strncasecmp(range.text, type, main_size) == 0) {
        return 2;
    }
    return slice_is(range, "*/*") ? 1 : 0;
}

/* The quality that the most exact matching range gives to a type. */
static int type_quality(const char *accept, const char *type, int *exactness)
{
    slice rest = {accept, strlen(accept)};
    slice element;
    int quality = 0;
    *exactness = 0;
    while (next_piece(&rest, ',', &element)) {
        int q = 0;
        int match = match_type(split_quality(element, &q), type);
        if (match > *exactness) {
            *exactness = match;
            quality = q;
        }
    }
    return quality;
}

int nx_negotiate_type(const char *accept, const char *const *offers, size_t count)
{
    if (accept == NULL || accept[strspn(accept, " \t")] == '\0') {
        return 0;
    }
    int best = -1;
    int best_quality = 0;
    int best_exactness = 0;
    for (size_t i = 0; i < count; i++) {
        int exactness = 0;
        int quality = type_quality(accept, offers[i], &exactness);
        if (quality > best_quality ||
            (quality == best_quality && quality > 0 && exactness > best_exactness)) {
            best = (int)i;
            best_quality = quality;
            best_exactness = exactness;
        }
    }
    return best;
}

bool nx_negotiate_coding(const char *accept_encoding, const char *coding)
{
    if (accept_encoding == NULL) {
        return false;
    }
    slice rest = {accept_encoding, strlen(accept_encoding)};
    slice element;
    bool any = false;
    while (next_piece(&rest, ',', &element)) {
        int quality = 0;
        slice range = split_quality(element, &quality);
        if (slice_is(range, coding)) {
            return quality > 0;
        }
        any = any || (slice_is(range, "*") && quality > 0);
    }
    return any;
}

bool nx_negotiate_none_match(const char *if_none_match, const char *etag)
{
    if (if_none_match == NULL) {
        return false;
    }
    slice rest = {if_none_match, strlen(if_none_match)};
    slice element;
    while (next_piece(&rest, ',', &element)) {
        if (element.size > 2 && element.text[0] == 'W' && element.text[1] == '/') {
            element.text += 2;
            element.size -= 2;
        }
        bool same = element.size == strlen(etag) && memcmp(element.text, etag, element.size) == 0;
        if (same || slice_is(element, "*")) {
            return true;
        }
    }
    return false;
}

/* All digits, at least one; too large is as good as infinite. */
static bool parse_position(slice text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.text[i] < '0' || text.text[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(text.text[i] - '0');
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, digit, out)) {
            *out = UINT64_MAX;
        }
    }
    return text.size > 0;
}

nx_range_kind nx_negotiate_range(const char *range, const char *if_range, const char *etag,
                                 uint64_t size, uint64_t *first, uint64_t *last)
{
    if (range == NULL || strncasecmp(range, "bytes=", 6) != 0 ||
        (if_range != NULL && (etag == NULL || strcmp(if_range, etag) != 0))) {
        return NX_RANGE_ALL;
    }
    slice spec = trim((slice){range + 6, strlen(range + 6)});
    const char *dash = memchr(spec.text, '-', spec.size);
    if (dash == NULL) {
        return NX_RANGE_ALL;
    }
    const slice from = {spec.text, (size_t)(dash - spec.text)};
    const slice to = {dash + 1, spec.size - from.size - 1};
    if (from.size == 0) { /* the last so many bytes */
        uint64_t count = 0;
        if (!parse_position(to, &count)) {
            return NX_RANGE_ALL;
        }
        *first = count < size ? size - count : 0;
        *last = size - 1;
        return count > 0 && size > 0 ? NX_RANGE_PART : NX_RANGE_NONE;
    }
    *last = UINT64_MAX;
    if (!parse_position(from, first) || (to.size > 0 && !parse_position(to, last)) ||
        *last < *first) {
        return NX_RANGE_ALL;
    }
    *last = *last < size ? *last : size - 1;
    return *first < size ? NX_RANGE_PART : NX_RANGE_NONE;
}
