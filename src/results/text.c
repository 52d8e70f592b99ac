#include "results/fixed.h"
#include "results/results.h"

#include "vision/postprocess.h"

#include <string.h>

/* "4 person, 1 bus": the most frequent class first, ties by class id. */
static void append_counts(const nx_result *result, nx_buffer *out)
{
    size_t counts[NX_MAX_CLASSES] = {0};
    for (size_t i = 0; i < result->count; i++) {
        int32_t id = result->detections[i].class_id;
        if (id >= 0 && id < NX_MAX_CLASSES) {
            counts[id]++;
        }
    }
    for (bool first = true;; first = false) {
        int32_t best = 0;
        for (int32_t id = 1; id < NX_MAX_CLASSES; id++) {
            best = counts[id] > counts[best] ? id : best;
        }
        if (counts[best] == 0) {
            return;
        }
        nx_buffer_printf(out, "%s%zu ", first ? "" : ", ", counts[best]);
        nx_buffer_append_printable(out, nx_class_name(result->names, best));
        counts[best] = 0;
    }
}

static void append_headline(const nx_result *result, nx_buffer *out)
{
    nx_buffer_append_printable(out, result->source != NULL ? result->source : "image");
    nx_buffer_printf(out, "  %ux%u  ", (unsigned)result->image_width,
                     (unsigned)result->image_height);
    if (result->count == 0) {
        nx_buffer_append_str(out, "nothing found");
    } else {
        append_counts(result, out);
    }
    nx_buffer_append_str(out, "  (");
    nx_append_fixed(out, result->timings.total, 0);
    nx_buffer_append_str(out, " ms)\n");
}

static size_t longest_name(const nx_result *result)
{
    size_t longest = 0;
    for (size_t i = 0; i < result->count; i++) {
        size_t length = strlen(nx_class_name(result->names, result->detections[i].class_id));
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* "  person  0.90  671,383 810,881": name, confidence, top left and bottom right in whole pixels.
 */
static void append_detection(const nx_detection *d, const char *name, size_t name_width,
                             nx_buffer *out)
{
    nx_buffer_append_str(out, "  ");
    nx_buffer_append_printable(out, name);
    nx_buffer_printf(out, "%*s  ", (int)(name_width - strlen(name)), "");
    nx_append_fixed(out, (double)d->confidence, 2);
    nx_buffer_append_str(out, "  ");
    nx_append_fixed(out, (double)d->x1, 0);
    nx_buffer_append_char(out, ',');
    nx_append_fixed(out, (double)d->y1, 0);
    nx_buffer_append_char(out, ' ');
    nx_append_fixed(out, (double)d->x2, 0);
    nx_buffer_append_char(out, ',');
    nx_append_fixed(out, (double)d->y2, 0);
    nx_buffer_append_char(out, '\n');
}

void nx_result_text(const nx_result *result, nx_buffer *out)
{
    size_t name_width = longest_name(result);
    append_headline(result, out);
    for (size_t i = 0; i < result->count; i++) {
        const nx_detection *d = &result->detections[i];
        append_detection(d, nx_class_name(result->names, d->class_id), name_width, out);
    }
}
