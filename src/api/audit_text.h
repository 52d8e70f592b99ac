/* Rows of the audit log as text: the same for the command line and for HTTP. */
#ifndef NX_API_AUDIT_TEXT_H
#define NX_API_AUDIT_TEXT_H

#include "base/buffer.h"
#include "base/json_writer.h"
#include "store/audit.h"

/* One object with the columns' names. */
void nx_audit_row_json(const nx_audit_row *row, nx_json *json);

/* The line of column names, and a row as a line. What a spreadsheet would take for a formula (it
 * begins with = + - @ or a tab) gets a ' in front. */
void nx_audit_csv_head(nx_buffer *out);
void nx_audit_row_csv(const nx_audit_row *row, nx_buffer *out);

#endif
