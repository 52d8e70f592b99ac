/*
 * Tables and rows as lines of JSON, for any program that reads JSON to read:
 *
 *     {"table":"videos","columns":[["id","text"],["size","int"]]}
 *     ["0190...",12]
 *
 * Bytes are {"base64":"..."}; a text that is no UTF-8 is {"text64":"..."}, so that it comes back as
 * it was.
 */
#ifndef NX_BACKUP_LINES_H
#define NX_BACKUP_LINES_H

#include "base/buffer.h"
#include "store/dump.h"

/* Longest line that is read: a row of the database. */
#define NX_LINE_MOST_BYTES ((size_t)256 << 20)

void nx_lines_table(const nx_dump_table *table, nx_buffer *out);
void nx_lines_row(const nx_cell *cells, size_t count, nx_buffer *out);

/* What a line is read into. Freed by nx_line_free. */
typedef struct nx_line {
    bool is_table;
    nx_dump_table table;
    nx_cell cells[NX_DUMP_MOST_COLUMNS]; /* until the next line is read */
    size_t count;
    nx_buffer bytes;
} nx_line;

/* line: all zero, or used before. The text is without its line break. Errors: NX_ERR_CORRUPT. */
nx_status nx_line_read(nx_line *line, const char *text, size_t size, nx_error *err);
void nx_line_free(nx_line *line);

#endif
