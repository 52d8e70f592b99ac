#include "results/fixed.h"
#include "results/results.h"

void nx_result_yolo(const nx_result *result, nx_buffer *out)
{
    double width = result->image_width;
    double height = result->image_height;
    for (size_t i = 0; i < result->count; i++) {
        const nx_detection *d = &result->detections[i];
        const double fields[] = {
            ((double)d->x1 + (double)d->x2) / 2 / width,
            ((double)d->y1 + (double)d->y2) / 2 / height,
            ((double)d->x2 - (double)d->x1) / width,
            ((double)d->y2 - (double)d->y1) / height,
            (double)d->confidence,
        };
        nx_buffer_printf(out, "%d", (int)d->class_id);
        for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++) {
            nx_buffer_append_char(out, ' ');
            nx_append_fixed(out, fields[f], f < 4 ? 6 : 4);
        }
        nx_buffer_append_char(out, '\n');
    }
}
