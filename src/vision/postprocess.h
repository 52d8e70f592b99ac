/*
 * From a detector's raw output to boxes: head decoding, filters, non-maximum suppression, and the
 * way back from letterboxed input pixels to the original picture.
 *
 * Pure functions on memory; thread-safe; no globals.
 */
#ifndef NX_VISION_POSTPROCESS_H
#define NX_VISION_POSTPROCESS_H

#include "base/error.h"
#include "vision/detection.h"
#include "vision/letterbox.h"
#include "vision/mask.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_DEFAULT_CONFIDENCE     0.25f
#define NX_DEFAULT_IOU            0.45f
#define NX_DEFAULT_MAX_DETECTIONS 300
#define NX_MAX_CLASSES            1024

typedef struct nx_postprocess_options {
    float confidence; /* 0..1: weaker detections are dropped */
    float iou;        /* 0..1: class-wise NMS drops a box that overlaps a better one by more */
    int32_t max_detections; /* the best so many are kept */
    bool multi_label;       /* several classes for one anchor, as COCO evaluation allows */
    bool filter_classes;    /* only the classes in class_mask */
    uint64_t class_mask[NX_MAX_CLASSES / 64];
} nx_postprocess_options;

/* 0.25, 0.45, 300, one label, every class. */
nx_postprocess_options nx_postprocess_defaults(void);

void nx_postprocess_allow_class(nx_postprocess_options *options, int32_t class_id);

/* How a detector lays out its output. */
typedef enum nx_head_kind {
    NX_HEAD_YOLOV8,     /* [1, 4 + C, N]: cx, cy, w, h in input pixels, then class scores */
    NX_HEAD_END_TO_END, /* [1, K, 6]: x1, y1, x2, y2 in input pixels, score, class; no NMS needed */
    NX_HEAD_YOLOX,      /* [1, N, 5 + C]: offsets and log sizes on the 8, 16, 32 grid, objectness,
                           class scores (Ge et al., "YOLOX", 2021) */
    NX_HEAD_SPLIT,      /* a YOLOv8 head cut off before its box decoding: for each stride the
                           distance distributions and class logits of its cells, see `levels` */
    NX_HEAD_SEGMENT,    /* NX_HEAD_YOLOV8 with mask coefficients behind the scores, see `protos` */
    NX_HEAD_POSE,       /* NX_HEAD_YOLOV8 with keypoints behind the scores */
} nx_head_kind;

#define NX_HEAD_MAX_LEVELS 4

/* One stride of NX_HEAD_SPLIT. A cell's distances are 4 sides (left, top, right, bottom) of
 * `reg_max` logits each, whose softmax's mean is the side's length in cells (Li et al.,
 * "Generalized Focal Loss", 2020). */
typedef struct nx_head_level {
    const float *distances; /* 4 * reg_max channels */
    const float *scores;    /* one logit a class */
    int32_t width, height;  /* in cells */
} nx_head_level;

/* A picture's float32 output, borrowed; dims without the batch dimension. */
typedef struct nx_head_output {
    nx_head_kind kind;
    const float *data;
    int32_t rows;        /* dims[1] of the output */
    int32_t columns;     /* dims[2] of the output */
    int32_t input_width; /* pixels of the model input that gave it */
    int32_t input_height;
    /* NX_HEAD_END_TO_END: the model's number of classes; boxes of a class beyond it are dropped.
     * NX_HEAD_SPLIT, NX_HEAD_SEGMENT, NX_HEAD_POSE: the number of class scores. The other heads
     * have it in their shape. */
    int32_t classes;
    /* NX_HEAD_SPLIT */
    nx_head_level levels[NX_HEAD_MAX_LEVELS];
    int32_t level_count;
    int32_t reg_max;
    bool channels_last; /* levels are [height, width, channels]; else [channels, height, width] */
    /* NX_HEAD_SEGMENT: [proto_channels, proto_height, proto_width]; a detection's mask is the
     * sigmoid of its coefficients times these (Bolya et al., "YOLACT", 2019), where that is over
     * a half and inside its box */
    const float *protos;
    int32_t proto_channels, proto_width, proto_height;
    /* NX_HEAD_POSE: x, y and, with 3 values, a confidence for each keypoint */
    int32_t keypoints, keypoint_values;
} nx_head_output;

/* Growing array of detections, owned by the holder with all that it points to; reuse it from
 * picture to picture. */
typedef struct nx_detections {
    nx_detection *items;
    size_t count;
    size_t capacity;
    nx_rle *masks; /* NX_HEAD_SEGMENT: `count`, of the picture's size; else NULL */
    size_t mask_count;
    nx_keypoint *keypoints; /* NX_HEAD_POSE: `count` times keypoint_count; else NULL */
    size_t keypoint_count;  /* of one detection */
} nx_detections;

void nx_detections_free(nx_detections *list);

/*
 * Decodes, filters, suppresses and maps to original pixels. out is cleared first; its boxes are
 * sorted by falling confidence, clipped to the picture and never empty. Non-finite numbers are
 * dropped. Errors: NX_ERR_INVALID (a shape that does not fit the kind), NX_ERR_NO_MEMORY.
 */
nx_status nx_postprocess(const nx_head_output *head, const nx_letterbox *letterbox,
                         const nx_postprocess_options *options, nx_detections *out, nx_error *err);

/* The last step of NX_HEAD_SEGMENT and NX_HEAD_POSE, for the detections that were kept: fills masks
 * and keypoints from the head's output by their anchors. nx_postprocess calls them.
 * Errors: NX_ERR_NO_MEMORY. */
nx_status nx_segment_head_masks(const nx_head_output *head, const nx_letterbox *letterbox,
                                nx_detections *out, nx_error *err);
nx_status nx_pose_head_keypoints(const nx_head_output *head, const nx_letterbox *letterbox,
                                 nx_detections *out, nx_error *err);

/* Cells of the 8, 16 and 32 grids over an input: the anchors of a YOLOX or YOLOv8 head. */
int64_t nx_head_grid_cells(int64_t input_width, int64_t input_height);

/* Sorts by falling confidence; ties by class, then by place, so that the order is total. */
void nx_detections_sort(nx_detection *items, size_t count);

/*
 * Greedy class-wise non-maximum suppression, in place: sorts them and drops each
 * box whose IoU with a kept box of its class is above iou; stops after max_keep. Returns how many
 * are kept.
 */
size_t nx_nms(nx_detection *items, size_t count, float iou, size_t max_keep);

/* Intersection over union of two boxes, 0 when they do not touch. */
float nx_iou(const nx_detection *a, const nx_detection *b);

#endif
