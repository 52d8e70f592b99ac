#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* Macros for the static analyzer, see error.h. */
#undef nx_error_set
#undef nx_error_set_errno

nx_status nx_error_set(nx_error *err, nx_status status, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

nx_status nx_error_set_errno(nx_error *err, nx_status status, int errno_value, const char *format,
                             ...)
{
    if (err != NULL) {
        char reason[128];
        va_list args;
        va_start(args, format);
        int used = vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        if (used >= 0 && (size_t)used < sizeof err->message) {
            /* the GNU strerror_r: thread-safe, and may return a constant instead of the buffer */
            snprintf(err->message + used, sizeof err->message - (size_t)used, ": %s",
                     strerror_r(errno_value, reason, sizeof reason));
        }
        err->status = status;
    }
    return status;
}

nx_status nx_error_prefix(nx_error *err, const char *format, ...)
{
    if (err == NULL) {
        return NX_ERR_INTERNAL;
    }
    char rest[sizeof err->message];
    memcpy(rest, err->message, sizeof rest);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used + 2 < sizeof err->message) {
        size_t start = (size_t)used + 2;
        size_t room = sizeof err->message - start - 1;
        memcpy(err->message + used, ": ", 2);
        memcpy(err->message + start, rest, room);
        err->message[sizeof err->message - 1] = '\0';
    }
    return err->status;
}

const char *nx_status_name(nx_status status)
{
    static const char *const names[] = {
        [NX_OK] = "ok",
        [NX_ERR_INVALID] = "invalid",
        [NX_ERR_UNSUPPORTED] = "unsupported",
        [NX_ERR_CORRUPT] = "corrupt",
        [NX_ERR_TOO_LARGE] = "too_large",
        [NX_ERR_NOT_FOUND] = "not_found",
        [NX_ERR_NO_MEMORY] = "no_memory",
        [NX_ERR_IO] = "io",
        [NX_ERR_BUSY] = "busy",
        [NX_ERR_TIMEOUT] = "timeout",
        [NX_ERR_CANCELLED] = "cancelled",
        [NX_ERR_UNAVAILABLE] = "unavailable",
        [NX_ERR_CONFLICT] = "conflict",
        [NX_ERR_INTERNAL] = "internal",
    };
    if ((unsigned)status >= sizeof names / sizeof names[0]) {
        return "unknown";
    }
    return names[status];
}
