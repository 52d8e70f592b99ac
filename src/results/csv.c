#include "results/box.h"
#include "results/csv_field.h"
#include "results/results.h"

#include <string.h>

void nx_result_csv_header(nx_buffer *out)
{
    nx_buffer_append_str(
        out, "source,image_width,image_height,class_id,class_name,confidence,x1,y1,x2,y2\r\n");
}

void nx_append_csv_field(nx_buffer *out, const char *text)
{
    if (text == NULL) {
        return;
    }
    if (strpbrk(text, "\",\r\n") == NULL) {
        nx_buffer_append_str(out, text);
        return;
    }
    nx_buffer_append_char(out, '"');
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"') {
            nx_buffer_append_char(out, '"');
        }
        nx_buffer_append_char(out, *c);
    }
    nx_buffer_append_char(out, '"');
}

static void append_row(nx_buffer *out, const nx_result *result, const nx_detection *d)
{
    nx_append_csv_field(out, result->source);
    nx_buffer_printf(out, ",%u,%u,%d,", (unsigned)result->image_width,
                     (unsigned)result->image_height, (int)d->class_id);
    nx_append_csv_field(out, nx_class_name(result->names, d->class_id));
    nx_append_csv_box(out, d);
}

void nx_result_csv(const nx_result *result, nx_buffer *out)
{
    for (size_t i = 0; i < result->count; i++) {
        append_row(out, result, &result->detections[i]);
    }
}
