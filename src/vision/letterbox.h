/*
 * Letterboxing: a picture scaled to fit the model input with its aspect ratio kept and the rest
 * filled with gray 114, written straight into the input tensor.
 *
 * Pure functions on memory; thread-safe; no globals.
 */
#ifndef NX_VISION_LETTERBOX_H
#define NX_VISION_LETTERBOX_H

#include "base/error.h"
#include "vision/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_LETTERBOX_FILL 114

/* Where the picture lies in the model input. All in input pixels but the source size. */
typedef struct nx_letterbox {
    uint32_t source_width; /* upright original picture */
    uint32_t source_height;
    uint32_t input_width; /* model input */
    uint32_t input_height;
    uint32_t left; /* the scaled picture's place and size in it */
    uint32_t top;
    uint32_t width;
    uint32_t height;
    float scale; /* input pixels for one source pixel */
} nx_letterbox;

/* What the tensor holds. */
typedef enum nx_pixel_layout {
    NX_PIXELS_RGB_UNIT,      /* planes R, G, B; 0..1 (YOLOv8 and later) */
    NX_PIXELS_BGR_BYTE,      /* planes B, G, R; 0..255 (YOLOX) */
    NX_PIXELS_RGB_UNIT_F16,  /* as NX_PIXELS_RGB_UNIT in IEEE 754 binary16 */
    NX_PIXELS_RGB_BYTE_NHWC, /* R, G, B of each pixel side by side; bytes 0..255 (INT8 models) */
} nx_pixel_layout;

/*
 * Geometry for a source of the given size. centered: Ultralytics puts the picture in the middle,
 * YOLOX at the top left. Sizes must not be 0.
 */
nx_letterbox nx_letterbox_fit(uint32_t source_width, uint32_t source_height, uint32_t input_width,
                              uint32_t input_height, bool centered);

/*
 * The smallest input that holds the source when its longer side is scaled to `size`, each side
 * rounded up to a multiple of stride: 1920x1080 at 640 and stride 32 gives 640x384.
 */
void nx_letterbox_dynamic_size(uint32_t source_width, uint32_t source_height, uint32_t size,
                               uint32_t stride, uint32_t *out_width, uint32_t *out_height);

/*
 * Scales image (the source, at its own or a DCT-reduced size) into tensor, whose
 * 3 * input_width * input_height elements are all written; it is aligned for them. The filter is
 * bilinear with half-pixel centres, antialiased when scaling down, and rounds to whole levels
 * (Pillow's BILINEAR, whose levels differ by one at most). Errors: NX_ERR_NO_MEMORY.
 */
nx_status nx_letterbox_apply(const nx_letterbox *letterbox, const nx_image *image,
                             nx_pixel_layout layout, void *tensor, nx_error *err);

/* A decoded video frame, planar YUV 4:2:0 with 8 bits a sample; borrowed. */
typedef struct nx_yuv_frame {
    const uint8_t *planes[3]; /* Y, then U and V of half the width and height, rounded up */
    size_t strides[3];
    uint32_t width; /* of Y */
    uint32_t height;
    bool full_range;  /* 0..255 ("JPEG"); else 16..235 and 16..240 */
    bool bt709;       /* the matrix of ITU-R BT.709; else BT.601 */
    bool bt2020;      /* the matrix of ITU-R BT.2020, whatever bt709 says */
    bool chroma_left; /* chroma lies at even columns (MPEG-2 and later); else between (MPEG-1) */
} nx_yuv_frame;

/* The same from a video frame: the planes are scaled and what is left becomes RGB, so that no
 * picture of the frame's size is made. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_letterbox_apply_yuv(const nx_letterbox *letterbox, const nx_yuv_frame *frame,
                                 nx_pixel_layout layout, void *tensor, nx_error *err);

#endif
