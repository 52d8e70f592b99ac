/*
 * Between codec.c and the decoders of the single formats; nothing for other modules.
 *
 * A decoder works in the orientation in which the picture is stored; codec.c turns it upright.
 */
#ifndef NX_MEDIA_FORMATS_H
#define NX_MEDIA_FORMATS_H

#include "base/error.h"
#include "media/codec.h"
#include "vision/image.h"

#include <stddef.h>
#include <stdint.h>

/* Encoded bytes, borrowed, what they claim to be, and the limit that holds for them. */
typedef struct nx_encoded {
    const uint8_t *data;
    size_t size;
    nx_image_format format;
    uint64_t max_pixels; /* never 0 */
} nx_encoded;

/* The size that the caller will scale the upright picture down to; 0, 0 asks for full size. Only
 * JPEG makes use of it. */
typedef struct nx_target {
    uint32_t width;
    uint32_t height;
} nx_target;

/*
 * Each format: probe reads the header into stored and checks the limit; decode does the same, then
 * allocates out and fills it. stored gets the size as stored and the orientation. After a failure
 * the caller frees out. Errors are those of nx_image_probe and nx_image_decode.
 */
nx_status nx_jpeg_probe(const nx_encoded *in, nx_image_info *stored, nx_error *err);
nx_status nx_jpeg_decode(const nx_encoded *in, nx_target target, nx_image *out,
                         nx_image_info *stored, nx_error *err);
nx_status nx_png_probe(const nx_encoded *in, nx_image_info *stored, nx_error *err);
nx_status nx_png_decode(const nx_encoded *in, nx_target target, nx_image *out,
                        nx_image_info *stored, nx_error *err);
nx_status nx_webp_probe(const nx_encoded *in, nx_image_info *stored, nx_error *err);
nx_status nx_webp_decode(const nx_encoded *in, nx_target target, nx_image *out,
                         nx_image_info *stored, nx_error *err);

/* NX_ERR_TOO_LARGE, with the way out, when width * height is over max_pixels. format: "JPEG". */
nx_status nx_check_pixels(const char *format, uint32_t width, uint32_t height, uint64_t max_pixels,
                          nx_error *err);

/*
 * Orientation (1..8) from EXIF data: a TIFF structure, with or without "Exif\0\0" before it.
 * 1 when there is none or it makes no sense; damaged EXIF is no reason to refuse a picture.
 */
uint8_t nx_exif_orientation(const uint8_t *data, size_t size);

/* Orientations 5 to 8 swap width and height. */
static inline int nx_orientation_transposes(uint8_t orientation)
{
    return orientation >= 5;
}

/* Turns image upright; orientation is 1..8 of EXIF. A transposing one needs the memory of a second
 * picture for a moment. Errors: NX_ERR_NO_MEMORY (image is left as it was). */
nx_status nx_image_orient(nx_image *image, uint8_t orientation, nx_error *err);

#endif
