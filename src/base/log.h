/*
 * Log lines on standard error: text on a terminal, one JSON object a line otherwise. Thread-safe:
 * each line is one write(2). Levels and form are process-wide.
 */
#ifndef NX_BASE_LOG_H
#define NX_BASE_LOG_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum nx_log_level {
    NX_LOG_DEBUG,
    NX_LOG_INFO,
    NX_LOG_WARNING,
    NX_LOG_ERROR,
} nx_log_level;

/* The least level of every module, by the order of its names inside log.c. */
#define NX_LOG_MODULES_MAX 24
typedef struct nx_log_levels {
    nx_log_level usual; /* of modules that are not named */
    nx_log_level modules[NX_LOG_MODULES_MAX];
} nx_log_levels;

/* Any thread, at any time. Without a call: info, text on a terminal and JSON elsewhere. */
void nx_log_configure(nx_log_level level, bool json);

/* Sets the level alone and leaves the form to what standard error is. */
void nx_log_configure_level(nx_log_level level);

/* "LEVEL", "MODULE=LEVEL" and both in a list with commas: "info,http=debug". A level without a
 * module (at most one; without it info) is that of all others. Errors: NX_ERR_INVALID. */
nx_status nx_log_levels_parse(const char *text, nx_log_levels *out, nx_error *err);
/* After one of the two above, whose level it takes the place of. */
void nx_log_configure_levels(const nx_log_levels *levels);

/* In one of several processes: its number, from 1, is in every line. 0: it is alone. */
void nx_log_configure_worker(unsigned number);

/* "debug", "info", "warning" (or "warn"), "error", in any case. */
nx_status nx_log_level_parse(const char *text, nx_log_level *out, nx_error *err);

/* Whether some module logs that. */
bool nx_log_enabled(nx_log_level level);

/* What a thread works for: in every line that it logs meanwhile. "": not known. */
typedef struct nx_log_context {
    char request_id[65];
    char trace_id[33];
    char user[65];
    char stream[65];
    char job[65];
} nx_log_context;

/* Of this thread, from now on; borrowed until the next call. NULL: none. Returns the one before,
 * which is set again at the end. */
const nx_log_context *nx_log_set_context(const nx_log_context *context);

/* module: the folder that speaks ("http", "engine"). */
void nx_log(nx_log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define nx_log_debug(module, ...)                                                                  \
    do {                                                                                           \
        if (nx_log_enabled(NX_LOG_DEBUG)) {                                                        \
            nx_log(NX_LOG_DEBUG, module, __VA_ARGS__);                                             \
        }                                                                                          \
    } while (0)
#define nx_log_info(module, ...)  nx_log(NX_LOG_INFO, module, __VA_ARGS__)
#define nx_log_warn(module, ...)  nx_log(NX_LOG_WARNING, module, __VA_ARGS__)
#define nx_log_error(module, ...) nx_log(NX_LOG_ERROR, module, __VA_ARGS__)

#endif
