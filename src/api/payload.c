#include "api/payload.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

#define MAX_VALUES 10000

/* The first byte behind the string that starts behind `at`, or end when it is not closed. */
static const char *skip_string(const char *at, const char *end)
{
    while (at < end) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        if (quote == NULL) {
            return end;
        }
        const char *slash = quote;
        while (slash > at && slash[-1] == '\\') {
            slash--;
        }
        if ((quote - slash) % 2 == 0) {
            return quote + 1;
        }
        at = quote + 1;
    }
    return end;
}

/* At least as many as the document has values: one for each opening and each separator. */
static size_t count_values(const char *text, size_t size)
{
    const char *end = text + size;
    size_t count = 0;
    for (const char *at = text; at < end;) {
        char c = *at++;
        if (c == '"') {
            at = skip_string(at, end);
        } else {
            count += c == ',' || c == '[' || c == '{';
        }
    }
    return count;
}

bool nx_payload_parse(const char *text, size_t size, json_t **out, nx_problem *problem)
{
    *out = NULL;
    if (count_values(text, size) > MAX_VALUES) {
        *problem = nx_problem_make(413, "Send the picture and its options, nothing else.",
                                   "the JSON has more than %d values", MAX_VALUES);
        return false;
    }
    json_error_t error;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (value == NULL) {
        /* error.text quotes what it stumbled over, which may be any bytes; the JSON writer of the
         * answer replaces what is not UTF-8 */
        *problem = nx_problem_make(400, "Send a JSON object such as {\"image\": \"<base64>\"}.",
                                   "the JSON cannot be read: line %d, column %d: %.150s",
                                   error.line, error.column, error.text);
        return false;
    }
    if (!json_is_object(value)) {
        json_decref(value);
        *problem = nx_problem_make(400, "Send a JSON object such as {\"image\": \"<base64>\"}.",
                                   "the JSON is not an object");
        return false;
    }
    *out = value;
    return true;
}

/* Skips "data:image/png;base64,". False: it is a data URL without base64. */
static bool skip_data_url(const char **text, size_t *size)
{
    if (*size < 5 || strncasecmp(*text, "data:", 5) != 0) {
        return true;
    }
    const char *comma = memchr(*text, ',', *size);
    if (comma == NULL || comma - *text < 7 + 5 || strncasecmp(comma - 7, ";base64", 7) != 0) {
        return false;
    }
    *size -= (size_t)(comma + 1 - *text);
    *text = comma + 1;
    return true;
}

static int choose_variant(const char *text, size_t size)
{
    bool url_safe = memchr(text, '-', size) != NULL || memchr(text, '_', size) != NULL;
    bool padded = memchr(text, '=', size) != NULL;
    if (url_safe) {
        return padded ? sodium_base64_VARIANT_URLSAFE : sodium_base64_VARIANT_URLSAFE_NO_PADDING;
    }
    return padded ? sodium_base64_VARIANT_ORIGINAL : sodium_base64_VARIANT_ORIGINAL_NO_PADDING;
}

bool nx_payload_base64(const char *what, const char *text, size_t size, nx_buffer *out,
                       nx_problem *problem)
{
    const char *advice = "Send base64 of the file's bytes, or a data: URL with base64.";
    if (!skip_data_url(&text, &size)) {
        *problem = nx_problem_make(400, advice, "%s: the data: URL is not base64", what);
        return false;
    }
    if (!nx_buffer_reserve(out, size / 4 * 3 + 3)) {
        *problem = nx_problem_make(503, "Try again later.", "no memory for the picture");
        return false;
    }
    size_t decoded = 0;
    const char *end = NULL;
    int result =
        sodium_base642bin((unsigned char *)out->data + out->size, out->capacity - out->size, text,
                          size, " \t\r\n", &decoded, &end, choose_variant(text, size));
    if (result != 0 || end != text + size) {
        size_t at = end != NULL ? (size_t)(end - text) : 0;
        *problem = nx_problem_make(400, advice, "%s: not base64 at character %zu of %zu", what,
                                   at + 1, size);
        return false;
    }
    out->size += decoded;
    return true;
}
