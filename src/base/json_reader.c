#include "base/json_reader.h"

#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NUMBER                                                                                 \
    512 /* characters; more than enough for the longest exact double's first digits */

_Static_assert(NX_JSON_MAX_DEPTH <= 32, "objects has 32 bits");

nx_json_reader nx_json_reader_begin(const char *text, size_t size)
{
    return (nx_json_reader){.text = text, .at = text, .end = text + size};
}

bool nx_json_refuse(nx_json_reader *reader, const char *wrong)
{
    if (reader->wrong == NULL) {
        reader->wrong = wrong;
    }
    return false;
}

nx_status nx_json_reader_error(const nx_json_reader *reader, nx_error *err)
{
    return nx_error_set(err, NX_ERR_INVALID, "the JSON cannot be read: %s at byte %zu",
                        reader->wrong != NULL ? reader->wrong : "it ends too early",
                        (size_t)(reader->at - reader->text) + 1);
}

/* --- structure ---------------------------------------------------------------------------------
 */

/* The next byte that is no white space, or 0 at the end and after something wrong. */
static unsigned char look(nx_json_reader *reader)
{
    if (reader->wrong != NULL) {
        return 0;
    }
    const char *at = reader->at;
    while (at < reader->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    reader->at = at;
    return at < reader->end ? (unsigned char)*at : 0;
}

nx_json_kind nx_json_peek(nx_json_reader *reader)
{
    unsigned char c = look(reader);
    switch (c) {
    case '{':
        return NX_JSON_OBJECT;
    case '[':
        return NX_JSON_ARRAY;
    case '"':
        return NX_JSON_STRING;
    case 't':
    case 'f':
        return NX_JSON_BOOL;
    case 'n':
        return NX_JSON_NULL;
    default:
        return c == '-' || (c >= '0' && c <= '9') ? NX_JSON_NUMBER : NX_JSON_NOTHING;
    }
}

static bool enter(nx_json_reader *reader, char bracket)
{
    if (look(reader) != (unsigned char)bracket) {
        return nx_json_refuse(reader,
                              bracket == '{' ? "an object is missing" : "an array is missing");
    }
    if (reader->depth == NX_JSON_MAX_DEPTH) {
        return nx_json_refuse(reader, "it is nested too deeply");
    }
    uint32_t bit = UINT32_C(1) << reader->depth;
    reader->objects = bracket == '{' ? reader->objects | bit : reader->objects & ~bit;
    reader->depth++;
    reader->first = true;
    reader->at++;
    return true;
}

bool nx_json_enter_object(nx_json_reader *reader)
{
    return enter(reader, '{');
}

bool nx_json_enter_array(nx_json_reader *reader)
{
    return enter(reader, '[');
}

static bool in_object(const nx_json_reader *reader)
{
    return (reader->objects >> (reader->depth - 1) & 1) != 0;
}

/* To the next element of whatever is open; false: it was closed, or something is wrong. */
static bool step(nx_json_reader *reader)
{
    unsigned char c = look(reader);
    bool first = reader->first;
    reader->first = false;
    if (c == (in_object(reader) ? '}' : ']')) {
        reader->at++;
        reader->depth--;
        return false;
    }
    if (first) {
        return reader->wrong == NULL;
    }
    if (c != ',') {
        return nx_json_refuse(reader, in_object(reader) ? "a comma or } is missing"
                                                        : "a comma or ] is missing");
    }
    reader->at++;
    return true;
}

bool nx_json_next_element(nx_json_reader *reader)
{
    return reader->wrong == NULL && reader->depth > 0 && step(reader);
}

bool nx_json_key_is(nx_json_span key, const char *name)
{
    return key.size == strlen(name) && memcmp(key.text, name, key.size) == 0;
}

/* --- strings -----------------------------------------------------------------------------------
 */

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Passes the escape that begins at reader->at. */
static bool pass_escape(nx_json_reader *reader)
{
    const char *at = reader->at + 1;
    if (at < reader->end && *at == 'u') {
        for (int i = 1; i <= 4; i++) {
            if (reader->end - at <= i || !is_hex(at[i])) {
                return nx_json_refuse(reader, "a \\u without four hexadecimal digits");
            }
        }
        reader->at = at + 5;
        return true;
    }
    if (at >= reader->end || *at == '\0' || strchr("\"\\/bfnrt", *at) == NULL) {
        return nx_json_refuse(reader, "an unknown escape in a string");
    }
    reader->at = at + 1;
    return true;
}

/* Passes a string; out is what stands between its quotes. */
static bool pass_string(nx_json_reader *reader, nx_json_span *out)
{
    if (look(reader) != '"') {
        return nx_json_refuse(reader, "a string is missing");
    }
    const char *start = ++reader->at;
    while (reader->at < reader->end) {
        unsigned char c = (unsigned char)*reader->at;
        if (c == '"') {
            *out = (nx_json_span){start, (size_t)(reader->at - start)};
            reader->at++;
            return true;
        }
        if (c == '\\') {
            if (!pass_escape(reader)) {
                return false;
            }
        } else if (c < 0x20) {
            return nx_json_refuse(reader, "a control character in a string");
        } else if (c < 0x80) {
            reader->at++;
        } else {
            size_t size = nx_utf8_sequence((const unsigned char *)reader->at,
                                           (size_t)(reader->end - reader->at));
            if (size == 0) {
                return nx_json_refuse(reader, "a string that is not UTF-8");
            }
            reader->at += size;
        }
    }
    return nx_json_refuse(reader, "a string without an end");
}

static uint32_t hex4(const char *digits)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

static void append_code_point(uint32_t code, nx_buffer *out)
{
    char bytes[4];
    size_t size = 0;
    if (code < 0x80) {
        bytes[size++] = (char)code;
    } else if (code < 0x800) {
        bytes[size++] = (char)(0xC0 | code >> 6);
        bytes[size++] = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        bytes[size++] = (char)(0xE0 | code >> 12);
        bytes[size++] = (char)(0x80 | (code >> 6 & 0x3F));
        bytes[size++] = (char)(0x80 | (code & 0x3F));
    } else {
        bytes[size++] = (char)(0xF0 | code >> 18);
        bytes[size++] = (char)(0x80 | (code >> 12 & 0x3F));
        bytes[size++] = (char)(0x80 | (code >> 6 & 0x3F));
        bytes[size++] = (char)(0x80 | (code & 0x3F));
    }
    nx_buffer_append(out, bytes, size);
}

/* Appends what the escape at text[0] stands for; returns its length. A surrogate without its other
 * half becomes U+FFFD. */
static size_t append_escape(const char *text, size_t size, nx_buffer *out)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    if (text[1] != 'u') {
        nx_buffer_append_char(out, to[strchr(from, text[1]) - from]);
        return 2;
    }
    uint32_t code = hex4(text + 2);
    bool high = code >= 0xD800 && code < 0xDC00;
    if (high && size >= 12 && text[6] == '\\' && text[7] == 'u') {
        uint32_t low = hex4(text + 8);
        if (low >= 0xDC00 && low < 0xE000) {
            append_code_point(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), out);
            return 12;
        }
    }
    append_code_point(code >= 0xD800 && code < 0xE000 ? 0xFFFD : code, out);
    return 6;
}

bool nx_json_read_string(nx_json_reader *reader, nx_buffer *out)
{
    nx_json_span raw;
    if (!pass_string(reader, &raw)) {
        return false;
    }
    if (!nx_buffer_reserve(out, raw.size)) {
        return nx_json_refuse(reader, "no memory for a string");
    }
    const char *end = raw.text + raw.size;
    for (const char *at = raw.text; at < end;) {
        const char *slash = memchr(at, '\\', (size_t)(end - at));
        const char *plain = slash != NULL ? slash : end;
        nx_buffer_append(out, at, (size_t)(plain - at));
        at = plain;
        if (slash != NULL) {
            at += append_escape(slash, (size_t)(end - slash), out);
        }
    }
    return !out->failed;
}

bool nx_json_next_member(nx_json_reader *reader, nx_json_span *key)
{
    if (!nx_json_next_element(reader) || !pass_string(reader, key)) {
        return false;
    }
    if (look(reader) != ':') {
        return nx_json_refuse(reader, "a colon is missing");
    }
    reader->at++;
    return true;
}

/* --- numbers -----------------------------------------------------------------------------------
 */

static bool is_digit(const char *at, const char *end)
{
    return at < end && *at >= '0' && *at <= '9';
}

/* Passes digits and adds them to the mantissa as long as it has room. */
static const char *pass_digits(const char *at, const char *end, nx_json_num *out, bool fraction)
{
    for (; is_digit(at, end); at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (out->exact && out->mantissa <= (UINT64_MAX - digit) / 10) {
            out->mantissa = out->mantissa * 10 + digit;
            out->exponent -= fraction;
        } else {
            out->exact = false;
        }
    }
    return at;
}

/* Passes "e-12"; NULL when it has no digits. */
static const char *pass_exponent(const char *at, const char *end, nx_json_num *out)
{
    bool negative = at + 1 < end && at[1] == '-';
    at += negative || (at + 1 < end && at[1] == '+') ? 2 : 1;
    if (!is_digit(at, end)) {
        return NULL;
    }
    int32_t value = 0;
    for (; is_digit(at, end); at++) {
        value = value < 100000 ? value * 10 + (*at - '0') : value;
    }
    out->exponent += negative ? -value : value;
    return at;
}

bool nx_json_read_number(nx_json_reader *reader, nx_json_num *out)
{
    if (nx_json_peek(reader) != NX_JSON_NUMBER) {
        return nx_json_refuse(reader, "a number is missing");
    }
    const char *at = reader->at;
    const char *end = reader->end;
    *out = (nx_json_num){.exact = true, .whole = true, .negative = *at == '-'};
    at += out->negative;
    bool zero = at < end && *at == '0';
    if (!is_digit(at, end) || (zero && is_digit(at + 1, end))) {
        return nx_json_refuse(reader, "a malformed number");
    }
    at = pass_digits(at, end, out, false);
    if (at < end && *at == '.') {
        out->whole = false;
        if (!is_digit(at + 1, end)) {
            return nx_json_refuse(reader, "a malformed number");
        }
        at = pass_digits(at + 1, end, out, true);
    }
    if (at < end && (*at | 0x20) == 'e') {
        out->whole = false;
        at = pass_exponent(at, end, out);
        if (at == NULL) {
            return nx_json_refuse(reader, "a malformed number");
        }
    }
    out->text = (nx_json_span){reader->at, (size_t)(at - reader->at)};
    if (out->text.size > MAX_NUMBER) {
        return nx_json_refuse(reader, "a number of more than 512 characters");
    }
    reader->at = at;
    return true;
}

#define MAX_EXACT_POWER 22 /* of ten, as a double */

static const double powers[MAX_EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static bool power_is_exact(const nx_json_num *number)
{
    return number->exact && number->exponent >= -MAX_EXACT_POWER &&
           number->exponent <= MAX_EXACT_POWER;
}

static double scale(const nx_json_num *number)
{
    double value = (double)number->mantissa;
    value =
        number->exponent < 0 ? value / powers[-number->exponent] : value * powers[number->exponent];
    return number->negative ? -value : value;
}

double nx_json_num_double(const nx_json_num *number)
{
    /* both factors are exact doubles here, so that one rounding gives the nearest (Clinger, "How to
     * Read Floating Point Numbers Accurately", 1990) */
    if (power_is_exact(number) && number->mantissa <= UINT64_C(1) << 53) {
        return scale(number);
    }
    char text[MAX_NUMBER + 1];
    memcpy(text, number->text.text, number->text.size);
    text[number->text.size] = '\0';
    return strtod(text, NULL);
}

float nx_json_num_float(const nx_json_num *number)
{
    if (power_is_exact(number)) {
        /* two roundings: less than 2^-51 off, which seldom decides between two floats */
        double near = scale(number);
        double slack = near * 0x1p-51;
        float low = (float)(near - slack);
        float high = (float)(near + slack);
        if (low == high && fabs(near) > 1e-30) {
            return low;
        }
    }
    return (float)nx_json_num_double(number);
}

/* False: not whole, or beyond 64 bits. */
static bool num_int(const nx_json_num *number, int64_t *out)
{
    uint64_t limit = (uint64_t)INT64_MAX + number->negative;
    if (!number->whole || !number->exact || number->mantissa > limit) {
        return false;
    }
    *out = number->negative ? (int64_t)(0 - number->mantissa) : (int64_t)number->mantissa;
    return true;
}

bool nx_json_read_int(nx_json_reader *reader, int64_t *out)
{
    nx_json_num number;
    return nx_json_read_number(reader, &number) &&
           (num_int(&number, out) ||
            nx_json_refuse(reader, "a number that is not whole, or too large, before here"));
}

/* --- the rest ----------------------------------------------------------------------------------
 */

static bool pass_word(nx_json_reader *reader, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, word, size) != 0) {
        return nx_json_refuse(reader, "an unknown word");
    }
    reader->at += size;
    return true;
}

bool nx_json_read_bool(nx_json_reader *reader, bool *out)
{
    if (nx_json_peek(reader) != NX_JSON_BOOL) {
        return nx_json_refuse(reader, "true or false is missing");
    }
    *out = *reader->at == 't';
    return pass_word(reader, *out ? "true" : "false");
}

static bool skip_scalar(nx_json_reader *reader, nx_json_kind kind)
{
    nx_json_num number;
    nx_json_span text;
    bool value = false;
    switch (kind) {
    case NX_JSON_STRING:
        return pass_string(reader, &text);
    case NX_JSON_NUMBER:
        return nx_json_read_number(reader, &number);
    case NX_JSON_BOOL:
        return nx_json_read_bool(reader, &value);
    case NX_JSON_NULL:
        return pass_word(reader, "null");
    default:
        return nx_json_refuse(reader, "a value is missing");
    }
}

bool nx_json_skip(nx_json_reader *reader, nx_json_span *out)
{
    nx_json_kind kind = nx_json_peek(reader);
    const char *start = reader->at;
    uint32_t depth = reader->depth;
    do {
        bool passed = kind == NX_JSON_OBJECT  ? nx_json_enter_object(reader)
                      : kind == NX_JSON_ARRAY ? nx_json_enter_array(reader)
                                              : skip_scalar(reader, kind);
        if (!passed) {
            return false;
        }
        nx_json_span key;
        while (reader->depth > depth && !(in_object(reader) ? nx_json_next_member(reader, &key)
                                                            : nx_json_next_element(reader))) {
            if (reader->wrong != NULL) {
                return false;
            }
        }
        kind = reader->depth > depth ? nx_json_peek(reader) : NX_JSON_NOTHING;
    } while (reader->depth > depth);
    if (out != NULL) {
        *out = (nx_json_span){start, (size_t)(reader->at - start)};
    }
    return true;
}

bool nx_json_at_end(nx_json_reader *reader)
{
    look(reader);
    return reader->wrong == NULL && reader->depth == 0 &&
           (reader->at == reader->end || nx_json_refuse(reader, "something behind the end"));
}
