/*
 * Log lines on standard error: text on a terminal, one JSON object a line otherwise. Thread-safe:
 * each line is one write(2). The level and form are process-wide.
 */
#ifndef NX_BASE_LOG_H
#define NX_BASE_LOG_H

#include "base/error.h"

#include <stdbool.h>

typedef enum nx_log_level {
    NX_LOG_DEBUG,
    NX_LOG_INFO,
    NX_LOG_WARNING,
    NX_LOG_ERROR,
} nx_log_level;

/* Any thread, at any time. Without a call: info, text on a terminal and JSON elsewhere. */
void nx_log_configure(nx_log_level level, bool json);

/* Sets the level alone and leaves the form to what standard error is. */
void nx_log_configure_level(nx_log_level level);

/* In one of several processes: its number, from 1, is in every line. 0: it is alone. */
void nx_log_configure_worker(unsigned number);

/* "debug", "info", "warning" (or "warn"), "error", in any case. */
nx_status nx_log_level_parse(const char *text, nx_log_level *out, nx_error *err);

bool nx_log_enabled(nx_log_level level);

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
