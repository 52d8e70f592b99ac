/*
 * Detections as text: the formats that the command line prints and the API answers.
 *
 * Pure functions on memory: they append to the caller's buffer, keep no state and cannot fail but
 * by memory, which the buffer remembers (nx_buffer.failed).
 */
#ifndef NX_RESULTS_RESULTS_H
#define NX_RESULTS_RESULTS_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/json_writer.h"
#include "vision/detection.h"
#include "vision/mask.h"

#include <stddef.h>
#include <stdint.h>

/* Milliseconds of each stage. */
typedef struct nx_timings {
    double queue;
    double decode;
    double preprocess;
    double inference;
    double postprocess;
    double total;
} nx_timings;

/* One picture's result. Everything is borrowed for the length of a call. */
typedef struct nx_result {
    const char *source;   /* path or file name; NULL when there is none */
    const char *model;    /* model name */
    const char *device;   /* what ran it: "cpu", "cuda", "tensorrt"; NULL: not told */
    uint32_t image_width; /* of the original, upright image */
    uint32_t image_height;
    const nx_detection *detections;
    size_t count;
    nx_class_names names;
    nx_timings timings;
    const nx_rle *masks;          /* of each detection; NULL when the model has none */
    const nx_keypoint *keypoints; /* keypoint_count of each detection; NULL: none */
    size_t keypoint_count;
} nx_result;

/* The members of one result, inside an object that the caller has opened:
 * "image":{"width","height"}, "model", "execution_provider",
 * "detections":[{"class_id","class_name","confidence",
 * "box":{"x1","y1","x2","y2"},"mask":{"size":[h,w],"counts"},"keypoints":[{"x","y",
 * "confidence"}]}], "timings_ms":{...}; mask and keypoints where the model has them. */
void nx_result_json_members(const nx_result *result, nx_json *json);

/* A mask as pycocotools has it: {"size":[h,w],"counts":"..."} (see nx_rle_write). */
void nx_result_json_rle(const nx_rle *rle, nx_json *json);

/* A line for people: `bus.jpg  810x1080  4 person, 1 bus  (97 ms)`, then one indented line each. */
void nx_result_text(const nx_result *result, nx_buffer *out);

/* CSV (RFC 4180): header once, then a row a detection:
 * source,image_width,image_height,class_id,class_name,confidence,x1,y1,x2,y2 */
void nx_result_csv_header(nx_buffer *out);
void nx_result_csv(const nx_result *result, nx_buffer *out);

/* YOLO label lines: `class_id x_center y_center width height confidence`, normalised to 0..1. */
void nx_result_yolo(const nx_result *result, nx_buffer *out);

/*
 * COCO results-format objects into an array that the caller has opened:
 * {"image_id","category_id","bbox":[x,y,w,h],"score"}, with "segmentation" (run lengths) and
 * "keypoints" ([x,y,confidence,...] in a row) where the model has them. category_ids maps class_id
 * to the COCO category (count entries, a negative one skips the detection); NULL uses class_id
 * itself. image_name replaces a numeric id when it is not NULL.
 */
void nx_result_coco(const nx_result *result, int64_t image_id, const char *image_name,
                    const int64_t *category_ids, nx_json *json);

#endif
