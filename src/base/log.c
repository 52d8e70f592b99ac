#include "base/log.h"

#include "base/buffer.h"
#include "base/clock.h"
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

/* What LOG_LEVEL may name; a module that is not here has the usual level. */
static const char *const module_names[] = {"api",    "audit",  "auth", "backup", "cache",
                                           "cli",    "engine", "http", "jobs",   "media",
                                           "models", "ops",    "sam",  "store",  "streams"};
#define MODULES (sizeof module_names / sizeof module_names[0])
_Static_assert(MODULES <= NX_LOG_MODULES_MAX, "nx_log_levels has room for all modules");

/* Process-wide by design (see log.h). -1: not configured yet, ask whether stderr is a terminal. */
static atomic_int lowest_level = NX_LOG_INFO; /* of all; the quick look */
static atomic_int usual_level = NX_LOG_INFO;
static atomic_int module_levels[MODULES] = {[0 ... MODULES - 1] = NX_LOG_INFO};
static atomic_int log_json = -1;
static atomic_uint log_worker = 0;

static _Thread_local const nx_log_context *thread_context;

void nx_log_configure_levels(const nx_log_levels *levels)
{
    nx_log_level lowest = levels->usual;
    atomic_store(&usual_level, (int)levels->usual);
    for (size_t i = 0; i < MODULES; i++) {
        atomic_store(&module_levels[i], (int)levels->modules[i]);
        lowest = levels->modules[i] < lowest ? levels->modules[i] : lowest;
    }
    atomic_store(&lowest_level, (int)lowest);
}

static nx_log_levels all_at(nx_log_level level)
{
    nx_log_levels levels = {.usual = level};
    for (size_t i = 0; i < NX_LOG_MODULES_MAX; i++) {
        levels.modules[i] = level;
    }
    return levels;
}

void nx_log_configure(nx_log_level level, bool json)
{
    const nx_log_levels levels = all_at(level);
    nx_log_configure_levels(&levels);
    atomic_store(&log_json, json ? 1 : 0);
}

void nx_log_configure_level(nx_log_level level)
{
    const nx_log_levels levels = all_at(level);
    nx_log_configure_levels(&levels);
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

/* MODULES: there is none of that name. */
static size_t module_of(const char *name, size_t size)
{
    size_t i = 0;
    while (i < MODULES &&
           (strlen(module_names[i]) != size || strncmp(module_names[i], name, size) != 0)) {
        i++;
    }
    return i;
}

static nx_status unknown_module(const char *name, size_t size, nx_error *err)
{
    nx_buffer names = NX_BUFFER_INIT;
    for (size_t i = 0; i < MODULES; i++) {
        nx_buffer_printf(&names, "%s%s", i > 0 ? ", " : "", module_names[i]);
    }
    nx_status status =
        nx_error_set(err, NX_ERR_INVALID, "unknown module '%.*s' of the log; there are %s",
                     (int)(size < 40 ? size : 40), name, nx_buffer_cstr(&names));
    nx_buffer_free(&names);
    return status;
}

/* One part of the list, "LEVEL" or "MODULE=LEVEL". */
static nx_status parse_part(char *part, nx_log_levels *named, bool set[MODULES + 1], nx_error *err)
{
    char *equals = strchr(part, '=');
    size_t which = MODULES;
    if (equals != NULL) {
        which = module_of(part, (size_t)(equals - part));
        if (which == MODULES) {
            return unknown_module(part, (size_t)(equals - part), err);
        }
    }
    if (set[which]) {
        return nx_error_set(err, NX_ERR_INVALID, "two log levels for %s",
                            which < MODULES ? module_names[which] : "all modules");
    }
    set[which] = true;
    return nx_log_level_parse(equals != NULL ? equals + 1 : part,
                              which < MODULES ? &named->modules[which] : &named->usual, err);
}

nx_status nx_log_levels_parse(const char *text, nx_log_levels *out, nx_error *err)
{
    char copy[512];
    bool set[MODULES + 1] = {false}; /* the last: the usual one */
    nx_log_levels levels = all_at(NX_LOG_INFO);
    if (strlen(text) >= sizeof copy) {
        return nx_error_set(err, NX_ERR_INVALID, "the list of log levels is too long");
    }
    size_t size = 0;
    for (const char *c = text; *c != '\0'; c++) { /* spaces count for nothing */
        if (*c != ' ' && *c != '\t') {
            copy[size++] = *c;
        }
    }
    copy[size] = '\0';
    char *part = copy;
    while (part != NULL) {
        char *comma = strchr(part, ',');
        if (comma != NULL) {
            *comma++ = '\0';
        }
        nx_status status = parse_part(part, &levels, set, err);
        if (status != NX_OK) {
            return status;
        }
        part = comma;
    }
    for (size_t i = 0; i < MODULES; i++) {
        levels.modules[i] = set[i] ? levels.modules[i] : levels.usual;
    }
    *out = levels;
    return NX_OK;
}

bool nx_log_enabled(nx_log_level level)
{
    return (int)level >= atomic_load_explicit(&lowest_level, memory_order_relaxed);
}

static bool module_logs(const char *module, nx_log_level level)
{
    size_t i = module_of(module, strlen(module));
    const atomic_int *least = i < MODULES ? &module_levels[i] : &usual_level;
    return (int)level >= atomic_load_explicit(least, memory_order_relaxed);
}

const nx_log_context *nx_log_set_context(const nx_log_context *context)
{
    const nx_log_context *before = thread_context;
    thread_context = context;
    return before;
}

/* --- lines --------------------------------------------------------------------------------------
 */

typedef struct named_text {
    const char *name, *text;
} named_text;
#define CONTEXT_FIELDS 5

/* Those that say something; how many. */
static size_t context_fields(named_text out[CONTEXT_FIELDS])
{
    const nx_log_context *context = thread_context;
    size_t count = 0;
    if (context == NULL) {
        return 0;
    }
    const named_text all[CONTEXT_FIELDS] = {
        {"request_id", context->request_id},
        {"trace_id", context->trace_id},
        {"user", context->user},
        {"stream", context->stream},
        {"job", context->job},
    };
    for (size_t i = 0; i < CONTEXT_FIELDS; i++) {
        if (all[i].text[0] != '\0') {
            out[count++] = all[i];
        }
    }
    return count;
}

static void write_context_json(nx_json *json)
{
    named_text fields[CONTEXT_FIELDS];
    size_t count = context_fields(fields);
    for (size_t i = 0; i < count; i++) {
        nx_json_key_string(json, fields[i].name, fields[i].text);
    }
}

static void write_context_text(nx_buffer *line)
{
    named_text fields[CONTEXT_FIELDS];
    size_t count = context_fields(fields);
    for (size_t i = 0; i < count; i++) {
        nx_buffer_printf(line, " %s=", fields[i].name);
        nx_buffer_append_printable(line, fields[i].text);
    }
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
    if (!nx_log_enabled(level) || !module_logs(module, level)) {
        return;
    }
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    char stamp[NX_TIME_TEXT_SIZE];
    nx_time_text(nx_clock_unix_ms(), stamp);

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
        write_context_json(&json);
        nx_json_key_string(&json, "message", message);
        nx_json_object_end(&json);
    } else {
        nx_buffer_printf(&line, "%s %-7s %-6s ", stamp, level_names[level], module);
        if (worker > 0) {
            nx_buffer_printf(&line, "[%u] ", worker);
        }
        nx_buffer_append_printable(&line, message);
        write_context_text(&line);
    }
    write_line(&line);
}
