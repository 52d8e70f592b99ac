/* Boxes and labels drawn on a picture, for people to look at. */
#ifndef NX_VISION_DRAW_H
#define NX_VISION_DRAW_H

#include "base/error.h"
#include "vision/detection.h"
#include "vision/image.h"
#include "vision/mask.h"

/*
 * Draws each detection on image, in place: a box in its class's colour and a label "name 0.87" on a
 * filled tab. Line width and text size follow the image's size. Where detections overlap, the
 * earlier one of the list is on top. Boxes are cut off at the picture's edges and labels are moved
 * inside; a picture lower than a line of text gets boxes alone. Where no font is installed cairo
 * uses one of its own. Thread-safe (no shared state).
 * Errors: NX_ERR_NO_MEMORY, NX_ERR_INTERNAL (cairo's own words).
 */
nx_status nx_draw_detections(nx_image *image, const nx_detection *detections, size_t count,
                             nx_class_names names, nx_error *err);

/* The same with labels of the caller's, `count` of them, of which 64 bytes are shown. Errors as
 * above. */
nx_status nx_draw_labelled(nx_image *image, const nx_detection *detections, size_t count,
                           const char *const *labels, nx_error *err);

/* A line as thick as those of boxes; what lies outside the picture is left out. Thread-safe. */
void nx_draw_line(nx_image *image, float x1, float y1, float x2, float y2, uint32_t color);

/* Tints the pixels of a mask of the picture's size: the colour (0xRRGGBB) over them, half
 * transparent. A mask of another size draws nothing. Thread-safe. */
void nx_draw_mask(nx_image *image, const nx_rle *mask, uint32_t color);

/*
 * Draws the keypoints of each detection, per_detection of them, as dots in its class's colour;
 * those with a confidence below a half are left out. Where they are the 17 of COCO's persons the
 * limbs between them are drawn too. Thread-safe.
 */
void nx_draw_keypoints(nx_image *image, const nx_detection *detections, size_t count,
                       const nx_keypoint *keypoints, size_t per_detection);

/*
 * The colour of a class as 0xRRGGBB: distinct for neighbouring ids and readable behind dark text
 * (contrast to black at least 5:1). The web page computes the same colours, hence whole numbers:
 *
 *     hue    = id * 137508 mod 360000          the golden angle, in thousandths of a degree;
 *                                              id as an unsigned 32-bit number
 *     sector = hue / 60000                     rounded down, as all divisions here
 *     step   = hue mod 60000 * 137 / 60000     0..136
 *
 *     sector   red         green       blue
 *     0        247         110 + step  110
 *     1        247 - step  247         110
 *     2        110         247         110 + step
 *     3        110         247 - step  247
 *     4        110 + step  110         247
 *     5        247         110         247 - step
 *
 * In CSS, but for rounding: hsl(id * 137.508 mod 360, 90%, 70%).
 */
uint32_t nx_draw_class_color(int32_t class_id);

#endif
