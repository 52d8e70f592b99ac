/* Pixels in memory: 8-bit RGB, three interleaved bytes a pixel, rows top to bottom. */
#ifndef NX_VISION_IMAGE_H
#define NX_VISION_IMAGE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct nx_image {
    uint8_t *pixels; /* height rows of `stride` bytes, owned; NULL in an empty image */
    uint32_t width;
    uint32_t height;
    size_t stride; /* bytes from row to row, at least 3 * width */
} nx_image;

/* Allocates uninitialised pixels. Errors: NX_ERR_INVALID (a zero side),
 * NX_ERR_TOO_LARGE (for the address space), NX_ERR_NO_MEMORY. */
nx_status nx_image_alloc(uint32_t width, uint32_t height, nx_image *out, nx_error *err);

/* Frees the pixels and leaves an empty image. NULL is fine. */
void nx_image_free(nx_image *image);

#endif
