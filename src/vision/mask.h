/*
 * Binary masks: which pixels of a picture belong to something. As bytes, as COCO's run-length code,
 * and as polygons.
 *
 * Pure functions on memory; thread-safe; no globals. Structs are plain data; a zeroed one is empty
 * and may be freed.
 */
#ifndef NX_VISION_MASK_H
#define NX_VISION_MASK_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest side of a mask: a picture's, so that an area fits into 32 bits. */
#define NX_MASK_MAX_SIDE 65535

typedef struct nx_mask {
    uint8_t *bits; /* height rows of width bytes, each 0 or 1; owned */
    uint32_t width;
    uint32_t height;
} nx_mask;

/* All 0. Errors: NX_ERR_INVALID (a side of 0 or over NX_MASK_MAX_SIDE), NX_ERR_NO_MEMORY. */
nx_status nx_mask_alloc(uint32_t width, uint32_t height, nx_mask *out, nx_error *err);
void nx_mask_free(nx_mask *mask);

/* --- run lengths --------------------------------------------------------------------------------
 */

/*
 * COCO's run-length code (Lin et al., "Microsoft COCO", 2014; maskApi of cocoapi): lengths of runs
 * of 0 and 1 in turn, down the columns from left to right, beginning with 0 (that first run may be
 * empty, the others are not when Nexus made them).
 */
typedef struct nx_rle {
    uint32_t *counts; /* owned; they add up to width * height */
    size_t count;
    size_t capacity;
    uint32_t width;
    uint32_t height;
} nx_rle;

void nx_rle_free(nx_rle *rle);

/* Appends a run to a mask that is being made, joined to the last run when that has the same value.
 * A length of 0 does nothing. False: no memory. */
bool nx_rle_append(nx_rle *rle, bool value, uint32_t length);

/* Errors: NX_ERR_NO_MEMORY. */
nx_status nx_rle_decode(const nx_rle *rle, nx_mask *out, nx_error *err);

/* Takes runs from outside; empty ones are joined with their neighbours. Errors: NX_ERR_INVALID (a
 * bad size, runs that do not add up to it), NX_ERR_NO_MEMORY. */
nx_status nx_rle_from_counts(const uint32_t *counts, size_t count, uint32_t width, uint32_t height,
                             nx_rle *out, nx_error *err);

/*
 * The compressed string that pycocotools reads as "counts": each run, from the fourth on
 * less the one before the last, in little-endian groups of 5 bits plus a bit for "more follows",
 * each plus 48. Only characters from 48 to 111 occur.
 */
void nx_rle_write(const nx_rle *rle, nx_buffer *out);

/* Pixels of the mask. */
uint32_t nx_rle_area(const nx_rle *rle);

/* Whole pixels; right and bottom are the first outside. All 0 when there is no pixel. */
typedef struct nx_mask_box {
    uint32_t left, top, right, bottom;
} nx_mask_box;
nx_mask_box nx_rle_box(const nx_rle *rle);

/*
 * The pixels of a picture where a smaller grid of numbers, scaled to it bilinearly, is above 0, and
 * that lie in `within`. Pixel x has the grid coordinate x_offset + (x + 0.5) * x_step - 0.5, where
 * whole numbers are the centres of cells; beyond the outermost centres the value stays the same.
 */
typedef struct nx_grid {
    const float *values; /* of cell x,y at x * x_stride + y * y_stride */
    size_t x_stride, y_stride;
    uint32_t width; /* in cells */
    uint32_t height;
    double x_offset, y_offset;
    double x_step, y_step; /* cells for one pixel, above 0 */
} nx_grid;

/* Errors: NX_ERR_INVALID (a bad size), NX_ERR_NO_MEMORY. */
nx_status nx_rle_from_grid(const nx_grid *grid, uint32_t width, uint32_t height, nx_mask_box within,
                           nx_rle *out, nx_error *err);

/* --- polygons -----------------------------------------------------------------------------------
 */

/* A corner between pixels: 0,0 is the top left corner of the first pixel. */
typedef struct nx_vertex {
    int32_t x, y;
} nx_vertex;

/* A closed line, the last vertex joined to the first. Outlines run clockwise as seen on the screen,
 * holes the other way round. */
typedef struct nx_ring {
    nx_vertex *vertices; /* owned by the polygons */
    size_t count;
    bool hole;
} nx_ring;

typedef struct nx_polygons {
    nx_ring *rings;
    size_t count;
    size_t capacity;
} nx_polygons;

/*
 * The outlines and holes of a mask, from top to bottom by their first pixel row. They follow the
 * edges of the pixels, so that filling them (even-odd) gives back the mask; pixels that touch at a
 * corner only are apart. tolerance is how far, in pixels, a simplified line may lie from a vertex
 * that was left out (Douglas and Peucker, 1973); 0 keeps every corner. A ring that would vanish
 * keeps its corners.
 * Errors: NX_ERR_NO_MEMORY.
 */
nx_status nx_mask_polygons(const nx_mask *mask, double tolerance, nx_polygons *out, nx_error *err);
void nx_polygons_free(nx_polygons *polygons);

#endif
