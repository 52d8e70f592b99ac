/*
 * Where tracks were, and for how long: a grid over the picture whose cells sum the time that tracks
 * stood in them, at the middle of their boxes' bottom edges. Only confirmed tracks count.
 *
 * Sums are whole nanoseconds, so the order of additions does not matter. One thread at a time.
 */
#ifndef NX_ANALYTICS_HEATMAP_H
#define NX_ANALYTICS_HEATMAP_H

#include "analytics/tracker.h"
#include "base/error.h"
#include "vision/image.h"

#include <stddef.h>
#include <stdint.h>

#define NX_HEATMAP_MAX_SIDE 512 /* columns, and rows */

/* A longer time between two frames is no time in which tracks stayed where they are now. */
#define NX_HEATMAP_MAX_GAP_NS INT64_C(1000000000)

typedef struct nx_heatmap nx_heatmap;

/* Errors: NX_ERR_INVALID (sides that are not 1..NX_HEATMAP_MAX_SIDE), NX_ERR_NO_MEMORY. */
nx_status nx_heatmap_new(uint32_t columns, uint32_t rows, nx_heatmap **out, nx_error *err);
void nx_heatmap_free(nx_heatmap *heatmap);

/*
 * The next frame: its time, which rises and is within +-NX_TRACKER_MAX_TIME_NS, its size in pixels
 * and the tracks in it. Each adds the time since the frame before to its cell; what stands outside
 * the picture adds nothing. Errors: NX_ERR_INVALID.
 */
nx_status nx_heatmap_update(nx_heatmap *heatmap, int64_t time_ns, uint32_t width, uint32_t height,
                            const nx_track *tracks, size_t count, nx_error *err);

/* Time in a cell; it must exist. */
uint64_t nx_heatmap_cell_ns(const nx_heatmap *heatmap, uint32_t column, uint32_t row);

/*
 * Draws it over a picture of the scene. Cells are smoothed, scaled by the square root (paths show
 * beside places where people stay) to the hottest, and coloured by "inferno", a map of even
 * perceived steps (Smith, van der Walt, Firing: matplotlib's, CC0). Where nobody was the picture
 * stays as it is. Errors: NX_ERR_NO_MEMORY.
 */
nx_status nx_heatmap_blend(const nx_heatmap *heatmap, nx_image *image, nx_error *err);

#endif
