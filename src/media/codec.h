/*
 * Still pictures in and out: JPEG (libjpeg-turbo), PNG (libpng), WebP (libwebp).
 *
 * Every function is thread-safe and keeps no state. Bytes are untrusted: sizes are checked against
 * the limits before anything is allocated for the pixels.
 */
#ifndef NX_MEDIA_CODEC_H
#define NX_MEDIA_CODEC_H

#include "base/buffer.h"
#include "base/error.h"
#include "vision/image.h"

#include <stddef.h>
#include <stdint.h>

typedef enum nx_image_format {
    NX_IMAGE_JPEG,
    NX_IMAGE_PNG,
    NX_IMAGE_WEBP,
} nx_image_format;

/* What the header says. Sizes are upright: EXIF orientation is already applied to them. */
typedef struct nx_image_info {
    nx_image_format format;
    uint32_t width;
    uint32_t height;
    uint8_t orientation; /* EXIF 1..8; 1 when absent or nonsense */
} nx_image_info;

typedef struct nx_decode_options {
    uint64_t max_pixels; /* width * height above this is NX_ERR_TOO_LARGE; 0 uses the default */
    /*
     * The caller will scale the picture down to about this upright size, so a JPEG may be decoded
     * at 1/2, 1/4 or 1/8 (DCT scaling) as long as the result stays at least this large on both
     * sides. 0, 0 decodes at full size.
     */
    uint32_t target_width;
    uint32_t target_height;
} nx_decode_options;

#define NX_DECODE_DEFAULT_MAX_PIXELS (UINT64_C(1) << 26) /* 67 megapixels: 8K and most phones */

/* Longest side of a picture, JPEG's own limit. A line of millions of pixels is nothing to detect
 * in, and scaling it down takes memory by its length, many times that of its pixels. */
#define NX_MAX_SIDE 65535

/*
 * Reads the header only; cheap enough for a connection thread, allocates no pixels.
 * Errors: NX_ERR_UNSUPPORTED (names the format found: "a BMP image", "text", ...),
 * NX_ERR_CORRUPT (empty, header cut short), NX_ERR_TOO_LARGE (over max_pixels or NX_MAX_SIDE).
 */
nx_status nx_image_probe(const void *bytes, size_t size, uint64_t max_pixels, nx_image_info *out,
                         nx_error *err);

/*
 * Decodes to upright RGB. Gray, palette, 16-bit, CMYK and YCCK become 8-bit RGB; alpha is dropped
 * (as OpenCV and Pillow's convert("RGB") do, so that detections agree with them).
 * The caller frees out with nx_image_free. out's size differs from info's only when DCT-scaled.
 * info may be NULL. Errors: as nx_image_probe, and NX_ERR_CORRUPT when data is damaged or ends
 * early (harmless warnings, such as stray bytes between JPEG markers, are let pass).
 */
nx_status nx_image_decode(const void *bytes, size_t size, const nx_decode_options *options,
                          nx_image *out, nx_image_info *info, nx_error *err);

/* Appends an encoded picture to out. quality: 1..100. Errors: NX_ERR_NO_MEMORY, NX_ERR_INVALID (a
 * side over the format's limit), NX_ERR_INTERNAL. */
nx_status nx_image_encode_jpeg(const nx_image *image, int quality, nx_buffer *out, nx_error *err);
nx_status nx_image_encode_png(const nx_image *image, nx_buffer *out, nx_error *err);

/* The same for 8-bit gray: height rows of width bytes. */
nx_status nx_image_encode_png_gray(const uint8_t *pixels, uint32_t width, uint32_t height,
                                   nx_buffer *out, nx_error *err);

#endif
