#include "engine/class_names.h"

#include "vision/postprocess.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_NAME 255

typedef struct parser {
    const char *start;
    const char *at;
    const char *end;
} parser;

static nx_status complain(const parser *p, const char *what, nx_error *err)
{
    return nx_error_set(err, NX_ERR_CORRUPT, "the class names are damaged at byte %zu: %s",
                        (size_t)(p->at - p->start), what);
}

static void skip_space(parser *p)
{
    while (p->at < p->end && isspace((unsigned char)*p->at)) {
        p->at++;
    }
}

static bool take(parser *p, char c)
{
    skip_space(p);
    if (p->at < p->end && *p->at == c) {
        p->at++;
        return true;
    }
    return false;
}

/* The name that is being read. */
typedef struct reading {
    char *text; /* LONGEST_NAME + 1 bytes */
    size_t length;
} reading;

static nx_status add_byte(parser *p, reading *out, char c, nx_error *err)
{
    if (c == '\0') {
        return complain(p, "a name with a NUL byte", err);
    }
    if (out->length == LONGEST_NAME) {
        return complain(p, "a name of over 255 bytes", err);
    }
    out->text[out->length++] = c;
    return NX_OK;
}

/* Appends a character as UTF-8 (RFC 3629). */
static nx_status add_character(parser *p, reading *out, uint32_t c, nx_error *err)
{
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xC0, 0xE0, 0xF0};
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
        return complain(p, "an escape that is no character", err);
    }
    nx_status status = add_byte(p, out, (char)(lead[more] | c >> (6 * more)), err);
    while (more > 0 && status == NX_OK) {
        more--;
        status = add_byte(p, out, (char)(0x80 | (c >> (6 * more) & 0x3F)), err);
    }
    return status;
}

static bool take_hex(parser *p, int digits, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < digits; i++) {
        if (p->at == p->end || !isxdigit((unsigned char)*p->at)) {
            return false;
        }
        int c = tolower((unsigned char)*p->at++);
        *out = *out * 16 + (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

/*
 * What follows a backslash: \n, \t, \xHH and \UHHHHHHHH of Python's repr, \uHHHH of both, with the
 * surrogate pairs that JSON writes. Other escaped characters stand for themselves.
 */
static nx_status add_escape(parser *p, reading *out, nx_error *err)
{
    char kind = *p->at++;
    uint32_t c = 0;
    uint32_t low = 0;
    switch (kind) {
    case 'n':
        return add_byte(p, out, '\n', err);
    case 't':
        return add_byte(p, out, '\t', err);
    case 'x':
    case 'u':
    case 'U':
        if (!take_hex(p, kind == 'x' ? 2 : kind == 'u' ? 4 : 8, &c)) {
            return complain(p, "an escape without its hexadecimal digits", err);
        }
        if (c >= 0xD800 && c < 0xDC00 && p->end - p->at >= 6 && p->at[0] == '\\' &&
            p->at[1] == 'u') {
            p->at += 2;
            if (!take_hex(p, 4, &low) || low < 0xDC00 || low > 0xDFFF) {
                return complain(p, "half a surrogate pair", err);
            }
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        }
        return add_character(p, out, c, err);
    default:
        return add_byte(p, out, kind, err);
    }
}

static nx_status parse_string(parser *p, char *out, nx_error *err)
{
    reading read = {.text = out};
    skip_space(p);
    if (p->at == p->end || (*p->at != '\'' && *p->at != '"')) {
        return complain(p, "a quoted name was expected", err);
    }
    char quote = *p->at++;
    while (p->at < p->end && *p->at != quote) {
        char c = *p->at++;
        bool escape = c == '\\' && p->at < p->end;
        nx_status status = escape ? add_escape(p, &read, err) : add_byte(p, &read, c, err);
        if (status != NX_OK) {
            return status;
        }
    }
    if (p->at == p->end) {
        return complain(p, "a name without a closing quote", err);
    }
    p->at++;
    out[read.length] = '\0';
    return NX_OK;
}

/* A key is a number, quoted in JSON and bare in Python. */
static nx_status parse_key(parser *p, size_t *out, nx_error *err)
{
    bool quoted = take(p, '"') || take(p, '\'');
    size_t key = 0;
    const char *first = p->at;
    while (p->at < p->end && isdigit((unsigned char)*p->at) && key < NX_MAX_CLASSES) {
        key = key * 10 + (size_t)(*p->at++ - '0');
    }
    if (p->at == first || key >= NX_MAX_CLASSES) {
        return complain(p, "a class number below 1024 was expected", err);
    }
    if (quoted && !take(p, '"') && !take(p, '\'')) {
        return complain(p, "a class number without a closing quote", err);
    }
    *out = key;
    return take(p, ':') ? NX_OK : complain(p, "':' was expected", err);
}

static nx_status parse_entries(parser *p, char **names, size_t *count, nx_error *err)
{
    bool dict = take(p, '{');
    char closing = dict ? '}' : ']';
    if (!dict && !take(p, '[')) {
        return complain(p, "'{' or '[' was expected", err);
    }
    while (!take(p, closing)) {
        size_t key = *count;
        char name[LONGEST_NAME + 1];
        if (dict) {
            nx_status status = parse_key(p, &key, err);
            if (status != NX_OK) {
                return status;
            }
        }
        if (key >= NX_MAX_CLASSES) {
            return complain(p, "more than 1024 names", err);
        }
        nx_status status = parse_string(p, name, err);
        if (status != NX_OK) {
            return status;
        }
        if (names[key] != NULL) {
            return complain(p, "a class number that occurs twice", err);
        }
        names[key] = strdup(name);
        if (names[key] == NULL) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the class names");
        }
        *count += 1;
        skip_space(p);
        if (!take(p, ',') && (p->at == p->end || *p->at != closing)) {
            return complain(p, "',' or the end of the list was expected", err);
        }
    }
    skip_space(p);
    return p->at == p->end ? NX_OK : complain(p, "something follows the list", err);
}

nx_status nx_class_names_parse(nx_onnx_text text, nx_name_table *out, nx_error *err)
{
    *out = (nx_name_table){0};
    nx_name_table table = {.names = calloc(NX_MAX_CLASSES, sizeof *table.names)};
    if (table.names == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the class names");
    }
    parser p = {.start = text.text, .at = text.text, .end = text.text + text.size};
    nx_status status = parse_entries(&p, table.names, &table.count, err);
    size_t named = table.count;
    table.count = NX_MAX_CLASSES; /* so that freeing reaches every slot */
    for (size_t i = 0; i < named && status == NX_OK; i++) {
        if (table.names[i] == NULL) {
            status =
                nx_error_set(err, NX_ERR_CORRUPT,
                             "the class names have %zu entries but none for class %zu", named, i);
        }
    }
    if (status == NX_OK && named == 0) {
        status = nx_error_set(err, NX_ERR_CORRUPT, "the list of class names is empty");
    }
    if (status != NX_OK) {
        nx_name_table_free(&table);
        return status;
    }
    table.count = named;
    *out = table;
    return NX_OK;
}

nx_status nx_class_names_number(size_t count, nx_name_table *out, nx_error *err)
{
    *out = (nx_name_table){.names = calloc(count, sizeof *out->names), .count = count};
    bool ok = out->names != NULL;
    for (size_t i = 0; i < count && ok; i++) {
        ok = asprintf(&out->names[i], "class_%zu", i) >= 0;
        if (!ok) {
            out->names[i] = NULL; /* asprintf leaves it undefined */
        }
    }
    if (!ok) {
        nx_name_table_free(out);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the class names");
    }
    return NX_OK;
}

void nx_name_table_free(nx_name_table *table)
{
    if (table == NULL || table->names == NULL) {
        return;
    }
    for (size_t i = 0; i < table->count; i++) {
        free(table->names[i]);
    }
    free(table->names);
    *table = (nx_name_table){0};
}
