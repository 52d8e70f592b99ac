#include "http/framing.h"

#include <string.h>
#include <strings.h>

#define MAX_LENGTH (UINT64_MAX / 2) /* 2^63 - 1: fits every signed offset behind us */

/* RFC 9110 section 5.6.2 */
static bool is_token(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alphanumeric && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return size > 0;
}

/* RFC 9110 section 5.5: visible characters, space, tab and bytes from 0x80 */
static bool is_field_value(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* RFC 3986 uri-host [ ":" port ]; an empty Host is allowed for a target without authority */
static bool is_host(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alphanumeric && (c == '\0' || strchr("-._~!$&'()*+,;=%[]:", c) == NULL)) {
            return false;
        }
    }
    return true;
}

static bool field_is(const nx_http_field *field, const char *name)
{
    return strlen(name) == field->name_size &&
           strncasecmp(field->name, name, field->name_size) == 0;
}

static nx_status check_lines(const nx_http_field *fields, size_t count, nx_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_token(fields[i].name, fields[i].name_size)) {
            return nx_error_set(err, NX_ERR_INVALID, "a header line has a malformed name");
        }
        if (!is_field_value(fields[i].value, fields[i].value_size)) {
            return nx_error_set(
                err, NX_ERR_INVALID, "the value of header '%.*s' has control characters",
                (int)(fields[i].name_size < 64 ? fields[i].name_size : 64), fields[i].name);
        }
    }
    return NX_OK;
}

/* The only field of that name in *out, or NULL. */
static nx_status find_single(const nx_http_field *fields, size_t count, const char *name,
                             const nx_http_field **out, nx_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < count; i++) {
        if (field_is(&fields[i], name)) {
            if (*out != NULL) {
                return nx_error_set(err, NX_ERR_INVALID, "there is more than one %s header", name);
            }
            *out = &fields[i];
        }
    }
    return NX_OK;
}

static nx_status parse_length(const nx_http_field *field, uint64_t *out, nx_error *err)
{
    uint64_t length = 0;
    bool valid = field->value_size > 0;
    for (size_t i = 0; valid && i < field->value_size; i++) {
        char c = field->value[i];
        valid = c >= '0' && c <= '9' && length <= (MAX_LENGTH - (uint64_t)(c - '0')) / 10;
        if (valid) {
            length = length * 10 + (uint64_t)(c - '0');
        }
    }
    if (!valid) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "Content-Length '%.*s' is not a plain decimal number in range",
                            (int)(field->value_size < 64 ? field->value_size : 64), field->value);
    }
    *out = length;
    return NX_OK;
}

static nx_status check_body(const nx_http_field *fields, size_t count, bool http_1_0,
                            nx_framing *out, nx_error *err)
{
    const nx_http_field *length = NULL;
    const nx_http_field *coding = NULL;
    if (find_single(fields, count, "Content-Length", &length, err) != NX_OK ||
        find_single(fields, count, "Transfer-Encoding", &coding, err) != NX_OK) {
        return NX_ERR_INVALID;
    }
    if (length != NULL && coding != NULL) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "Content-Length and Transfer-Encoding must not be sent together");
    }
    if (coding != NULL) {
        if (http_1_0) {
            return nx_error_set(err, NX_ERR_INVALID, "HTTP/1.0 has no Transfer-Encoding");
        }
        if (coding->value_size != 7 || strncasecmp(coding->value, "chunked", 7) != 0) {
            return nx_error_set(
                err, NX_ERR_INVALID, "Transfer-Encoding '%.*s' is not supported; only chunked is",
                (int)(coding->value_size < 64 ? coding->value_size : 64), coding->value);
        }
        out->chunked = true;
        out->has_body = true;
    }
    if (length != NULL && parse_length(length, &out->length, err) != NX_OK) {
        return NX_ERR_INVALID;
    }
    out->has_body = out->chunked || out->length > 0;
    return NX_OK;
}

nx_status nx_framing_check(const nx_http_field *fields, size_t count, bool http_1_0,
                           nx_framing *out, nx_error *err)
{
    *out = (nx_framing){0};
    if (check_lines(fields, count, err) != NX_OK ||
        check_body(fields, count, http_1_0, out, err) != NX_OK) {
        return NX_ERR_INVALID;
    }
    const nx_http_field *host = NULL;
    if (find_single(fields, count, "Host", &host, err) != NX_OK) {
        return NX_ERR_INVALID;
    }
    if (host == NULL && !http_1_0) {
        return nx_error_set(err, NX_ERR_INVALID, "an HTTP/1.1 request needs a Host header");
    }
    if (host != NULL && !is_host(host->value, host->value_size)) {
        return nx_error_set(err, NX_ERR_INVALID, "the Host header is malformed");
    }
    return NX_OK;
}
