/* Boxes and labels drawn on a picture, for people to look at. */
#ifndef NX_VISION_DRAW_H
#define NX_VISION_DRAW_H

#include "base/error.h"
#include "vision/detection.h"
#include "vision/image.h"

/*
 * Draws each detection on image, in place: a box in its class's colour and a label "name 0.87" on a
 * filled tab. Line width and text size follow the image's size. Thread-safe (no shared state).
 * Errors: NX_ERR_NO_MEMORY, NX_ERR_INTERNAL (cairo's own words).
 */
nx_status nx_draw_detections(nx_image *image, const nx_detection *detections, size_t count,
                             nx_class_names names, nx_error *err);

/* The colour of a class as 0xRRGGBB: distinct for neighbouring ids and readable behind dark text;
 * the web page computes the same colours. */
uint32_t nx_draw_class_color(int32_t class_id);

#endif
