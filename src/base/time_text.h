/* Points in time as text: RFC 3339 in UTC. Thread-safe. */
#ifndef NX_BASE_TIME_TEXT_H
#define NX_BASE_TIME_TEXT_H

#include "base/error.h"

#include <stdint.h>

#define NX_TIME_TEXT_SIZE 32

/* "2026-01-31T12:00:00.123Z" of milliseconds since 1970. */
void nx_time_text(int64_t milliseconds, char out[NX_TIME_TEXT_SIZE]);

/* "2026-01-31T12:00:00Z" of seconds since 1970. */
void nx_time_text_seconds(int64_t seconds, char out[NX_TIME_TEXT_SIZE]);

/*
 * Milliseconds since 1970 of "2026-01-31", "2026-01-31T12:00:00Z" (UTC; seconds may have a
 * fraction), or so long before now_ms: "90s", "15m", "24h", "7d". Errors: NX_ERR_INVALID, which
 * says what is taken.
 */
nx_status nx_time_parse(const char *text, int64_t now_ms, int64_t *out, nx_error *err);

#endif
