/*
 * Message framing: whatever is let through is unambiguous. The input is header lines; an accepted
 * header is judged a second time, by the letter of RFC 9112 section 6 and written differently.
 */
#include "http/framing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_FIELDS 32

static size_t split(const char *text, size_t size, nx_http_field *fields)
{
    size_t count = 0;
    const char *end = text + size;
    while (text < end && count < MAX_FIELDS) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        stop = stop != NULL ? stop : end;
        const char *colon = memchr(text, ':', (size_t)(stop - text));
        colon = colon != NULL ? colon : stop;
        const char *value = colon < stop ? colon + 1 : stop;
        fields[count++] =
            (nx_http_field){text, (size_t)(colon - text), value, (size_t)(stop - value)};
        text = stop < end ? stop + 1 : end;
    }
    return count;
}

static size_t count_named(const nx_http_field *fields, size_t count, const char *name,
                          const nx_http_field **last)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (fields[i].name_size == strlen(name) &&
            strncasecmp(fields[i].name, name, fields[i].name_size) == 0) {
            found++;
            *last = &fields[i];
        }
    }
    return found;
}

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void judge_accepted(const nx_http_field *fields, size_t count, bool http_1_0,
                           const nx_framing *framing)
{
    const nx_http_field *length = NULL;
    const nx_http_field *coding = NULL;
    const nx_http_field *host = NULL;
    size_t lengths = count_named(fields, count, "content-length", &length);
    size_t codings = count_named(fields, count, "transfer-encoding", &coding);
    size_t hosts = count_named(fields, count, "host", &host);
    require(lengths + codings <= 1);
    require(hosts <= 1 && (http_1_0 || hosts == 1));
    require(framing->chunked == (codings == 1));
    require(framing->has_body == (framing->chunked || framing->length > 0));
    require(!framing->chunked || (!http_1_0 && framing->length == 0));
    if (lengths == 1) {
        char digits[32];
        require(length->value_size > 0);
        /* leading zeros aside, the number is its own decimal form */
        size_t zeros = 0;
        while (zeros + 1 < length->value_size && length->value[zeros] == '0') {
            zeros++;
        }
        int size = snprintf(digits, sizeof digits, "%llu", (unsigned long long)framing->length);
        require((size_t)size == length->value_size - zeros);
        require(memcmp(digits, length->value + zeros, (size_t)size) == 0);
        require(framing->length <= INT64_MAX);
    } else {
        require(framing->length == 0);
    }
    for (size_t i = 0; i < count; i++) {
        require(fields[i].name_size > 0);
        require(memchr(fields[i].name, ' ', fields[i].name_size) == NULL);
        require(memchr(fields[i].value, '\r', fields[i].value_size) == NULL);
        require(memchr(fields[i].value, '\0', fields[i].value_size) == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    bool http_1_0 = data[0] == '0';
    char *text = malloc(size); /* of its own and exact, so that reading past it is seen */
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data + 1, size - 1);
    nx_http_field fields[MAX_FIELDS];
    size_t count = split(text, size - 1, fields);
    nx_framing framing;
    nx_error err = {0};
    if (nx_framing_check(fields, count, http_1_0, &framing, &err) == NX_OK) {
        judge_accepted(fields, count, http_1_0, &framing);
    } else {
        require(err.status == NX_ERR_INVALID && err.message[0] != '\0');
    }
    free(text);
    return 0;
}
