#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void nx_buffer_free(nx_buffer *buffer)
{
    if (buffer != NULL) {
        free(buffer->data);
        *buffer = (nx_buffer)NX_BUFFER_INIT;
    }
}

void nx_buffer_clear(nx_buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
}

bool nx_buffer_reserve(nx_buffer *buffer, size_t extra)
{
    if (buffer->failed) {
        return false;
    }
    if (buffer->capacity - buffer->size >= extra) {
        return true;
    }
    size_t wanted = 0;
    if (__builtin_add_overflow(buffer->size, extra, &wanted)) {
        buffer->failed = true;
        return false;
    }
    size_t capacity = buffer->capacity < 128 ? 128 : buffer->capacity;
    while (capacity < wanted) {
        capacity = capacity > SIZE_MAX / 2 ? wanted : capacity * 2;
    }
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void nx_buffer_append(nx_buffer *buffer, const void *bytes, size_t size)
{
    if (size > 0 && nx_buffer_reserve(buffer, size)) {
        memcpy(buffer->data + buffer->size, bytes, size);
        buffer->size += size;
    }
}

void nx_buffer_append_str(nx_buffer *buffer, const char *text)
{
    nx_buffer_append(buffer, text, strlen(text));
}

void nx_buffer_append_char(nx_buffer *buffer, char c)
{
    nx_buffer_append(buffer, &c, 1);
}

void nx_buffer_append_printable(nx_buffer *buffer, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        nx_buffer_append_char(buffer, (char)(byte < 0x20 || byte == 0x7F ? '?' : *c));
    }
}

void nx_buffer_printf(nx_buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0 || !nx_buffer_reserve(buffer, (size_t)length + 1)) {
        buffer->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(buffer->data + buffer->size, (size_t)length + 1, format, args);
    va_end(args);
    buffer->size += (size_t)length;
}

const char *nx_buffer_cstr(nx_buffer *buffer)
{
    if (!nx_buffer_reserve(buffer, 1)) {
        return "";
    }
    buffer->data[buffer->size] = '\0';
    return buffer->data;
}
