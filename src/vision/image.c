#include "vision/image.h"

#include <stdlib.h>

nx_status nx_image_alloc(uint32_t width, uint32_t height, nx_image *out, nx_error *err)
{
    size_t stride = 0;
    size_t size = 0;
    *out = (nx_image){0};
    if (width == 0 || height == 0) {
        return nx_error_set(err, NX_ERR_INVALID, "an image of %ux%u pixels has no area", width,
                            height);
    }
    if (__builtin_mul_overflow((size_t)width, 3, &stride) ||
        __builtin_mul_overflow(stride, (size_t)height, &size)) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "an image of %ux%u pixels is too large", width,
                            height);
    }
    uint8_t *pixels = malloc(size);
    if (pixels == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for an image of %ux%u pixels", width,
                            height);
    }
    *out = (nx_image){.pixels = pixels, .width = width, .height = height, .stride = stride};
    return NX_OK;
}

void nx_image_free(nx_image *image)
{
    if (image != NULL) {
        free(image->pixels);
        *image = (nx_image){0};
    }
}
