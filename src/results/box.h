/* A detection's box in the formats that several writers share. Included inside src/results alone.
 */
#ifndef NX_RESULTS_BOX_H
#define NX_RESULTS_BOX_H

#include "base/json_writer.h"
#include "results/fixed.h"
#include "vision/detection.h"

/* "box":{"x1","y1","x2","y2"}, with two decimals. */
static inline void nx_json_box(nx_json *json, const nx_detection *d)
{
    nx_json_key(json, "box");
    nx_json_object_begin(json);
    nx_json_key_number(json, "x1", (double)d->x1, 2);
    nx_json_key_number(json, "y1", (double)d->y1, 2);
    nx_json_key_number(json, "x2", (double)d->x2, 2);
    nx_json_key_number(json, "y2", (double)d->y2, 2);
    nx_json_object_end(json);
}

/* COCO's "bbox":[x,y,width,height]. */
static inline void nx_json_bbox(nx_json *json, const nx_detection *d)
{
    nx_json_key(json, "bbox");
    nx_json_array_begin(json);
    nx_json_number(json, (double)d->x1, 2);
    nx_json_number(json, (double)d->y1, 2);
    nx_json_number(json, (double)d->x2 - (double)d->x1, 2);
    nx_json_number(json, (double)d->y2 - (double)d->y1, 2);
    nx_json_array_end(json);
}

/* ",confidence,x1,y1,x2,y2" and the end of a CSV row. */
static inline void nx_append_csv_box(nx_buffer *out, const nx_detection *d)
{
    const float corners[] = {d->x1, d->y1, d->x2, d->y2};
    nx_buffer_append_char(out, ',');
    nx_append_fixed(out, (double)d->confidence, 4);
    for (size_t i = 0; i < sizeof corners / sizeof corners[0]; i++) {
        nx_buffer_append_char(out, ',');
        nx_append_fixed(out, (double)corners[i], 2);
    }
    nx_buffer_append_str(out, "\r\n");
}

#endif
