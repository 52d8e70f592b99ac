/*
 * The one error idiom of Nexus: a function that can fail returns nx_status (NX_OK is 0) and fills
 * the caller's nx_error with a sentence for a person: what was wrong, where, and what to do.
 */
#ifndef NX_BASE_ERROR_H
#define NX_BASE_ERROR_H

#include <stdarg.h>

typedef enum nx_status {
    NX_OK = 0,
    NX_ERR_INVALID,     /* an argument, option or field is wrong */
    NX_ERR_UNSUPPORTED, /* well formed, but of a kind that Nexus does not handle */
    NX_ERR_CORRUPT,     /* bytes that claim a format and break its rules */
    NX_ERR_TOO_LARGE,   /* over a limit that the operator set */
    NX_ERR_NOT_FOUND,   /* no such file, model, route */
    NX_ERR_NO_MEMORY,   /* an allocation failed */
    NX_ERR_IO,          /* the operating system refused a read, write, open or map */
    NX_ERR_BUSY,        /* a bounded queue is full; try again later */
    NX_ERR_TIMEOUT,     /* a deadline passed */
    NX_ERR_CANCELLED,   /* whoever asked is gone */
    NX_ERR_UNAVAILABLE, /* something that is needed is missing or shutting down */
    NX_ERR_CONFLICT,    /* allowed, but not in the present state of things */
    NX_ERR_INTERNAL,    /* a bug, or a library that failed without a reason we know */
} nx_status;

/* Plain data, owned by the caller, copied by assignment. */
typedef struct nx_error {
    nx_status status;
    char message[512];
} nx_error;

/* Fills err (which may be NULL) and returns status, so that `return nx_error_set(...)` reads well.
 */
nx_status nx_error_set(nx_error *err, nx_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As nx_error_set, with ": <text of errno_value>" at the end. */
nx_status nx_error_set_errno(nx_error *err, nx_status status, int errno_value, const char *format,
                             ...) __attribute__((format(printf, 4, 5)));

/* Puts "<text>: " before the message that err already has, and returns err's status. */
nx_status nx_error_prefix(nx_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__
/* The static analyzer reads one file at a time: this tells it what comes back. */
#define nx_error_set(err, status, ...) ((void)nx_error_set(err, status, __VA_ARGS__), (status))
#define nx_error_set_errno(err, status, ...)                                                       \
    ((void)nx_error_set_errno(err, status, __VA_ARGS__), (status))
#endif

/* A stable lower-case name such as "too_large", for logs, metrics and JSON. Never NULL. */
const char *nx_status_name(nx_status status);

#endif
