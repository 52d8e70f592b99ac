/*
 * A growing byte buffer: result text, encoded pictures, request bodies. Not thread-safe; one owner.
 *
 * A failed allocation sets `failed` and makes every later append a no-op, so that a writer checks
 * once at the end instead of after each piece.
 */
#ifndef NX_BASE_BUFFER_H
#define NX_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_buffer {
    char *data; /* `size` bytes; nx_buffer_cstr makes it a C string; NULL while empty */
    size_t size;
    size_t capacity;
    bool failed;
} nx_buffer;

#define NX_BUFFER_INIT                                                                             \
    {                                                                                              \
        NULL, 0, 0, false                                                                          \
    }

/* Frees the bytes and leaves an empty, usable buffer. NULL is fine. */
void nx_buffer_free(nx_buffer *buffer);

/* Forgets the contents and a failure, keeps the memory. */
void nx_buffer_clear(nx_buffer *buffer);

/* Makes room for `extra` more bytes. Returns false (and sets failed) when memory is short. */
bool nx_buffer_reserve(nx_buffer *buffer, size_t extra);

void nx_buffer_append(nx_buffer *buffer, const void *bytes, size_t size);
void nx_buffer_append_str(nx_buffer *buffer, const char *text);
void nx_buffer_append_char(nx_buffer *buffer, char c);
/* text for a terminal: file and class names come from outside, and an escape sequence or line break
 * in one must not act there, so control characters become '?'. */
void nx_buffer_append_printable(nx_buffer *buffer, const char *text);
void nx_buffer_printf(nx_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The contents as a C string (adds a NUL behind the last byte); "" after a failure or when empty.
 */
const char *nx_buffer_cstr(nx_buffer *buffer);

#endif
