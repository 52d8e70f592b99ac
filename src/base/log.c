#include "base/log.h"

#include "base/buffer.h"
#include "base/json_writer.h"
#include "base/time_text.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warning", "error"};

/* Process-wide by design (see log.h). -1: not configured yet, ask whether stderr is a terminal. */
static atomic_int log_level = NX_LOG_INFO;
static atomic_int log_json = -1;
static atomic_uint log_worker = 0;

void nx_log_configure(nx_log_level level, bool json)
{
    atomic_store(&log_level, (int)level);
    atomic_store(&log_json, json ? 1 : 0);
}

void nx_log_configure_level(nx_log_level level)
{
    atomic_store(&log_level, (int)level);
    atomic_store(&log_json, -1);
}

void nx_log_configure_worker(unsigned number)
{
    atomic_store(&log_worker, number);
}

nx_status nx_log_level_parse(const char *text, nx_log_level *out, nx_error *err)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcasecmp(text, level_names[i]) == 0) {
            *out = (nx_log_level)i;
            return NX_OK;
        }
    }
    if (strcasecmp(text, "warn") == 0) {
        *out = NX_LOG_WARNING;
        return NX_OK;
    }
    return nx_error_set(err, NX_ERR_INVALID,
                        "unknown log level '%.40s'; use debug, info, warning or error", text);
}

bool nx_log_enabled(nx_log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

static void write_line(nx_buffer *line)
{
    nx_buffer_append_char(line, '\n');
    if (!line->failed) {
        /* nothing useful can be done when standard error is gone */
        ssize_t ignored = write(STDERR_FILENO, line->data, line->size);
        (void)ignored;
    }
    nx_buffer_free(line);
}

void nx_log(nx_log_level level, const char *module, const char *format, ...)
{
    if (!nx_log_enabled(level)) {
        return;
    }
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char stamp[NX_TIME_TEXT_SIZE];
    nx_time_text((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, stamp);

    nx_buffer line = NX_BUFFER_INIT;
    unsigned worker = atomic_load_explicit(&log_worker, memory_order_relaxed);
    int json_mode = atomic_load_explicit(&log_json, memory_order_relaxed);
    if (json_mode < 0) {
        json_mode = !isatty(STDERR_FILENO);
    }
    if (json_mode) {
        nx_json json = nx_json_begin(&line);
        nx_json_object_begin(&json);
        nx_json_key_string(&json, "time", stamp);
        nx_json_key_string(&json, "level", level_names[level]);
        nx_json_key_string(&json, "module", module);
        if (worker > 0) {
            nx_json_key_int(&json, "worker", worker);
        }
        nx_json_key_string(&json, "message", message);
        nx_json_object_end(&json);
    } else {
        nx_buffer_printf(&line, "%s %-7s %-6s ", stamp, level_names[level], module);
        if (worker > 0) {
            nx_buffer_printf(&line, "[%u] ", worker);
        }
        nx_buffer_append_printable(&line, message);
    }
    write_line(&line);
}
