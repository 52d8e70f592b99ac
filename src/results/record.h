/*
 * What was found in a picture as bytes, to be kept and read again: its size, the boxes with all
 * their bits, masks and keypoints; not what belongs to one request (names, timings).
 *
 * Little-endian: "NXR1", the picture's width and height, the number of detections, of keypoints of
 * each, and whether there are masks (all uint32); then the detections (x1, y1, x2, y2, confidence
 * as binary32, class and anchor as int32), the keypoints (x, y, confidence), and for each mask the
 * number of its runs and the runs.
 *
 * Pure functions on memory; thread-safe.
 */
#ifndef NX_RESULTS_RECORD_H
#define NX_RESULTS_RECORD_H

#include "results/results.h"
#include "vision/postprocess.h"

#include <stdbool.h>

typedef struct nx_record {
    uint32_t image_width;
    uint32_t image_height;
    nx_detections found; /* owned */
} nx_record;

/* Appends the record. A result that has no room in one (sizes over 32 bits) makes out fail. */
void nx_record_write(const nx_result *result, nx_buffer *out);

/*
 * Takes any bytes. False, and nothing to free: they are no whole record, or memory is short. What
 * is read is as sound as what nx_postprocess gives: finite numbers, classes from 0, masks of the
 * picture's size.
 */
bool nx_record_read(const void *bytes, size_t size, nx_record *out);

void nx_record_free(nx_record *record);

/* The picture's size, detections, masks and keypoints; the rest is left for the caller. Borrows
 * from the record. */
nx_result nx_record_result(const nx_record *record);

#endif
