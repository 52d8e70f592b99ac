#include "base/json_writer.h"

#include "base/utf8.h"

#include <math.h>
#include <string.h>

static void separate(nx_json *json)
{
    if (json->need_comma) {
        nx_buffer_append_char(json->out, ',');
    }
    json->need_comma = true;
}

static void open_scope(nx_json *json, char bracket)
{
    separate(json);
    nx_buffer_append_char(json->out, bracket);
    json->need_comma = false;
}

static void close_scope(nx_json *json, char bracket)
{
    nx_buffer_append_char(json->out, bracket);
    json->need_comma = true;
}

void nx_json_object_begin(nx_json *json)
{
    open_scope(json, '{');
}

void nx_json_object_end(nx_json *json)
{
    close_scope(json, '}');
}

void nx_json_array_begin(nx_json *json)
{
    open_scope(json, '[');
}

void nx_json_array_end(nx_json *json)
{
    close_scope(json, ']');
}

void nx_json_key(nx_json *json, const char *key)
{
    separate(json);
    nx_buffer_append_char(json->out, '"');
    nx_buffer_append_str(json->out, key);
    nx_buffer_append(json->out, "\":", 2);
    json->need_comma = false;
}

static void append_escaped(nx_buffer *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    switch (c) {
    case '"':
        nx_buffer_append(out, "\\\"", 2);
        return;
    case '\\':
        nx_buffer_append(out, "\\\\", 2);
        return;
    case '\n':
        nx_buffer_append(out, "\\n", 2);
        return;
    case '\r':
        nx_buffer_append(out, "\\r", 2);
        return;
    case '\t':
        nx_buffer_append(out, "\\t", 2);
        return;
    default: {
        const char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        nx_buffer_append(out, escape, sizeof escape);
    }
    }
}

void nx_json_string_n(nx_json *json, const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    nx_buffer *out = json->out;
    separate(json);
    nx_buffer_append_char(out, '"');
    size_t plain = 0; /* start of the run that can be copied as it is */
    size_t i = 0;
    while (i < size) {
        unsigned char c = bytes[i];
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            i++;
            continue;
        }
        size_t sequence = c >= 0x80 ? nx_utf8_sequence(bytes + i, size - i) : 0;
        if (sequence > 0) {
            i += sequence;
            continue;
        }
        nx_buffer_append(out, bytes + plain, i - plain);
        if (c >= 0x80) {
            nx_buffer_append(out, "\xEF\xBF\xBD", 3);
        } else {
            append_escaped(out, c);
        }
        plain = ++i;
    }
    nx_buffer_append(out, bytes + plain, size - plain);
    nx_buffer_append_char(out, '"');
}

void nx_json_string(nx_json *json, const char *text)
{
    if (text == NULL) {
        nx_json_null(json);
    } else {
        nx_json_string_n(json, text, strlen(text));
    }
}

/* Digits of value into the end of a 24-byte scratch; returns where they start. */
static char *format_unsigned(char *end, uint64_t value)
{
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return end;
}

void nx_json_int(nx_json *json, int64_t value)
{
    char scratch[24];
    char *end = scratch + sizeof scratch;
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char *start = format_unsigned(end, magnitude);
    if (value < 0) {
        *--start = '-';
    }
    separate(json);
    nx_buffer_append(json->out, start, (size_t)(end - start));
}

void nx_json_bool(nx_json *json, bool value)
{
    separate(json);
    nx_buffer_append_str(json->out, value ? "true" : "false");
}

void nx_json_null(nx_json *json)
{
    separate(json);
    nx_buffer_append(json->out, "null", 4);
}

void nx_json_number(nx_json *json, double value, int decimals)
{
    static const double scales[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    if (!isfinite(value)) {
        nx_json_null(json);
        return;
    }
    double scaled = fabs(value) * scales[decimals];
    if (scaled >= 9e18) { /* does not fit 64 bits: let printf do it, exactness is not at stake */
        separate(json);
        nx_buffer_printf(json->out, "%.17g", value);
        return;
    }
    uint64_t fixed = (uint64_t)(scaled + 0.5);
    bool negative = value < 0 && fixed > 0;
    while (decimals > 0 && fixed % 10 == 0) {
        fixed /= 10;
        decimals--;
    }
    char scratch[48];
    char *end = scratch + sizeof scratch;
    char *start = end;
    if (decimals > 0) {
        for (int i = 0; i < decimals; i++) {
            *--start = (char)('0' + fixed % 10);
            fixed /= 10;
        }
        *--start = '.';
    }
    start = format_unsigned(start, fixed);
    if (negative) {
        *--start = '-';
    }
    separate(json);
    nx_buffer_append(json->out, start, (size_t)(end - start));
}

void nx_json_raw(nx_json *json, const char *text, size_t size)
{
    separate(json);
    nx_buffer_append(json->out, text, size);
}

void nx_json_key_string(nx_json *json, const char *key, const char *text)
{
    nx_json_key(json, key);
    nx_json_string(json, text);
}

void nx_json_key_int(nx_json *json, const char *key, int64_t value)
{
    nx_json_key(json, key);
    nx_json_int(json, value);
}

void nx_json_key_bool(nx_json *json, const char *key, bool value)
{
    nx_json_key(json, key);
    nx_json_bool(json, value);
}

void nx_json_key_number(nx_json *json, const char *key, double value, int decimals)
{
    nx_json_key(json, key);
    nx_json_number(json, value, decimals);
}
