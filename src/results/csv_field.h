/* A field of CSV (RFC 4180 section 2, rules 5 to 7). */
#ifndef NX_RESULTS_CSV_FIELD_H
#define NX_RESULTS_CSV_FIELD_H

#include "base/buffer.h"

/* With quotes around it when it holds a quote, comma or line break, each quote in it doubled. NULL
 * is an empty field. */
void nx_append_csv_field(nx_buffer *out, const char *text);

#endif
