/*
 * JSON text (RFC 8259) read in one pass, value by value, without a tree: for documents that are
 * mostly numbers, such as tensors, where jansson's values cost forty times the bytes of the text.
 *
 * Each function looks at the next value. The first thing that is wrong stops the reader: every call
 * after it fails, and nx_json_reader_error tells what and where. Nesting is bounded, nothing
 * recurses, and memory is only what the caller's buffers take. Plain data; not thread-safe.
 */
#ifndef NX_BASE_JSON_READER_H
#define NX_BASE_JSON_READER_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_JSON_MAX_DEPTH 32

typedef enum nx_json_kind {
    NX_JSON_NOTHING, /* the end, or something that begins no value */
    NX_JSON_OBJECT,
    NX_JSON_ARRAY,
    NX_JSON_STRING,
    NX_JSON_NUMBER,
    NX_JSON_BOOL,
    NX_JSON_NULL,
} nx_json_kind;

typedef struct nx_json_reader {
    const char *text; /* borrowed */
    const char *at;
    const char *end;
    const char *wrong; /* a literal; NULL: nothing so far */
    uint32_t depth;    /* open objects and arrays */
    uint32_t objects;  /* bit d: what is open at depth d is an object */
    bool first;        /* the innermost has had no element yet */
} nx_json_reader;

/* Text that the reader passed over. */
typedef struct nx_json_span {
    const char *text;
    size_t size;
} nx_json_span;

/* A number, taken apart: (-1)^negative * mantissa * 10^exponent, unless its digits were too many.
 */
typedef struct nx_json_num {
    nx_json_span text;
    uint64_t mantissa;
    int32_t exponent;
    bool negative;
    bool whole; /* written without fraction and exponent */
    bool exact; /* mantissa holds every digit */
} nx_json_num;

nx_json_reader nx_json_reader_begin(const char *text, size_t size);

/* What the next value is, without passing it. */
nx_json_kind nx_json_peek(nx_json_reader *reader);

/* Steps into the object or array that comes next. False: something else comes, or it is too deep.
 */
bool nx_json_enter_object(nx_json_reader *reader);
bool nx_json_enter_array(nx_json_reader *reader);

/* Steps to the next element of the innermost array; false at its end, which is then passed, and
 * when the text is wrong. The element must be read or skipped before the next step. */
bool nx_json_next_element(nx_json_reader *reader);
/* The same for the innermost object. key is as written: an escaped letter in a name makes it
 * another name, so that the names that a protocol knows are found without unescaping. */
bool nx_json_next_member(nx_json_reader *reader, nx_json_span *key);

bool nx_json_key_is(nx_json_span key, const char *name);

/* Passes the next value, whatever it is, checking its syntax. out may be NULL. */
bool nx_json_skip(nx_json_reader *reader, nx_json_span *out);
/* Appends a string, unescaped, to out. False also when memory is short (out->failed). */
bool nx_json_read_string(nx_json_reader *reader, nx_buffer *out);
bool nx_json_read_number(nx_json_reader *reader, nx_json_num *out);
bool nx_json_read_bool(nx_json_reader *reader, bool *out);
bool nx_json_read_int(nx_json_reader *reader, int64_t *out); /* false: no whole number of 64 bits */

/* The nearest double, as strtod; infinite when it is too large. */
double nx_json_num_double(const nx_json_num *number);
/* The same as a float; for the many digits that doubles are written with, several times as fast. */
float nx_json_num_float(const nx_json_num *number);

/* Nothing but white space is left, and nothing is open. */
bool nx_json_at_end(nx_json_reader *reader);

/* Stops the reader by a rule of the caller's; wrong is a literal. Returns false. */
bool nx_json_refuse(nx_json_reader *reader, const char *wrong);

/* Fills err with NX_ERR_INVALID, what was wrong and where, and returns that. */
nx_status nx_json_reader_error(const nx_json_reader *reader, nx_error *err);

#endif
