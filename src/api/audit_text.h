/* Rows of the audit log as text: the same for the command line and for HTTP. */
#ifndef NX_API_AUDIT_TEXT_H
#define NX_API_AUDIT_TEXT_H

#include "base/buffer.h"
#include "base/json_writer.h"
#include "store/audit.h"

/* "2026-01-31T12:00:00.123Z" of milliseconds since 1970, UTC. */
#define NX_AUDIT_TIME_SIZE 32
void nx_audit_time(int64_t ms, char out[NX_AUDIT_TIME_SIZE]);

/*
 * A point in time: "2026-01-31", "2026-01-31T12:00:00Z" (UTC; seconds may have a fraction), or so
 * long before now_ms: "90s", "15m", "24h", "7d". Errors: NX_ERR_INVALID, which says what is taken.
 */
nx_status nx_audit_parse_time(const char *text, int64_t now_ms, int64_t *out, nx_error *err);

/* One object with the columns' names. */
void nx_audit_row_json(const nx_audit_row *row, nx_json *json);

/* The line of column names, and a row as a line. What a spreadsheet would take for a formula (it
 * begins with = + - @ or a tab) gets a ' in front. */
void nx_audit_csv_head(nx_buffer *out);
void nx_audit_row_csv(const nx_audit_row *row, nx_buffer *out);

#endif
