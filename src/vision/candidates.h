/* Between postprocess.c and the decoders of the single heads; nothing for other modules. */
#ifndef NX_VISION_CANDIDATES_H
#define NX_VISION_CANDIDATES_H

#include "vision/postprocess.h"

#include <stdbool.h>

/* What the head decoders share. Candidates are collected in original pixels, clipped. */
typedef struct nx_candidates {
    const nx_head_output *head;
    const nx_letterbox *letterbox;
    const nx_postprocess_options *options;
    nx_detections *out;
    bool no_memory; /* a candidate found no place */
} nx_candidates;

/* Adds a box given in input pixels, when anything of it lies in the picture. anchor: the place in
 * the head's output that it comes from. */
void nx_candidates_add(nx_candidates *d, float x1, float y1, float x2, float y2, float confidence,
                       int32_t class_id, size_t anchor);

static inline bool nx_class_allowed(const nx_postprocess_options *options, int32_t class_id)
{
    if (!options->filter_classes) {
        return true;
    }
    return class_id >= 0 && class_id < NX_MAX_CLASSES &&
           (options->class_mask[class_id / 64] >> (class_id % 64) & 1) != 0;
}

/* NX_HEAD_SPLIT (split_head.c). fits: the levels are those of a head on the input. */
bool nx_split_head_fits(const nx_head_output *head);
void nx_split_head_decode(nx_candidates *d);

#endif
