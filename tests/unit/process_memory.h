/* How much memory the test process has. */
#ifndef NX_TESTS_PROCESS_MEMORY_H
#define NX_TESTS_PROCESS_MEMORY_H

#include "testing.h"

#include "base/file.h"

#include <stdbool.h>

/* Kilobytes, by the line of /proc/self/status: "VmRSS:" is held, "VmSize:" is mapped. */
static inline long process_kb(const char *line_name)
{
    nx_error err = {0};
    nx_buffer text = NX_BUFFER_INIT;
    nx_assert_ok(nx_file_read("/proc/self/status", 1 << 20, &text, &err), err);
    const char *line = strstr(nx_buffer_cstr(&text), line_name);
    assert_non_null(line);
    long kb = strtol(line + strlen(line_name), NULL, 10);
    nx_buffer_free(&text);
    return kb;
}

/* Sanitizers keep freed memory on purpose, so that amounts of it mean nothing. */
static inline bool sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
    return __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
    return false;
#endif
}

#endif
