/* What a detector says, and the names of its classes. Plain data, shared by every later stage. */
#ifndef NX_VISION_DETECTION_H
#define NX_VISION_DETECTION_H

#include <stddef.h>
#include <stdint.h>

/* A box in pixels of the original, upright image; 0,0 is the top left corner of its first pixel. */
typedef struct nx_detection {
    float x1, y1, x2, y2; /* x1 < x2, y1 < y2, inside the image */
    float confidence;     /* 0..1 */
    int32_t class_id;     /* index into the model's names */
    int32_t anchor;       /* the candidate of the head's output that it was */
} nx_detection;

/* A joint of a pose, in pixels of the original, upright image. */
typedef struct nx_keypoint {
    float x, y;       /* inside the image */
    float confidence; /* 0..1; 1 where the model gives none */
} nx_keypoint;

/* Class names by id, borrowed from the model. */
typedef struct nx_class_names {
    const char *const *names; /* `count` strings, none NULL */
    size_t count;
} nx_class_names;

/* Name of a class; "?" when the id is out of range. */
static inline const char *nx_class_name(nx_class_names names, int32_t class_id)
{
    return class_id >= 0 && (size_t)class_id < names.count ? names.names[class_id] : "?";
}

#endif
