/*
 * COCO-style average precision of boxes, as pycocotools' COCOeval computes it (Lin et al.,
 * "Microsoft COCO: Common Objects in Context", 2014; cocodataset.org/#detection-eval): IoU
 * thresholds 0.50:0.05:0.95, 101 recall points, crowd regions ignored, at most 100 detections for
 * each image and class, precision made monotone, classes without ground truth left out of the mean.
 * Equal scores rank by image index, then by place in the array. Numbers are double, as they are
 * there: rounding them would tie scores and move boxes across a threshold.
 *
 * Pure computation on memory. Not thread-safe on one evaluation; separate ones are independent.
 */
#ifndef NX_EVAL_COCO_AP_H
#define NX_EVAL_COCO_AP_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_coco_box {
    double x, y, width, height; /* pixels, as in COCO's bbox */
} nx_coco_box;

typedef struct nx_coco_truth {
    int32_t image;    /* index of the image, 0..image_count-1 */
    int32_t category; /* index of the category, 0..category_count-1 */
    nx_coco_box box;
    bool crowd;
} nx_coco_truth;

typedef struct nx_coco_result {
    int32_t image;
    int32_t category;
    nx_coco_box box;
    double score;
} nx_coco_result;

/* Values are 0..1, or -1 where there is no ground truth to measure against. */
typedef struct nx_coco_ap {
    double ap;      /* mean over IoU 0.50:0.05:0.95 */
    double ap50;    /* IoU 0.50 */
    double ap75;    /* IoU 0.75 */
    size_t truths;  /* boxes that count (crowds not) */
    size_t results; /* detections that were considered: the limit of 100 takes the others out */
} nx_coco_ap;

/*
 * per_category: category_count entries to fill, or NULL. Arrays are only read.
 * Errors: NX_ERR_INVALID (an index out of range, a number that is not finite), NX_ERR_NO_MEMORY.
 */
nx_status nx_coco_evaluate(const nx_coco_truth *truths, size_t truth_count,
                           const nx_coco_result *results, size_t result_count, int32_t image_count,
                           int32_t category_count, nx_coco_ap *overall, nx_coco_ap *per_category,
                           nx_error *err);

#endif
