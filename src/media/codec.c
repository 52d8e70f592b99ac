#include "media/codec.h"

#include "media/formats.h"
#include "media/sniff.h"

#include <inttypes.h>

typedef struct format_entry {
    nx_status (*probe)(const nx_encoded *in, nx_image_info *stored, nx_error *err);
    nx_status (*decode)(const nx_encoded *in, nx_target target, nx_image *out,
                        nx_image_info *stored, nx_error *err);
} format_entry;

static const format_entry formats[] = {
    [NX_IMAGE_JPEG] = {nx_jpeg_probe, nx_jpeg_decode},
    [NX_IMAGE_PNG] = {nx_png_probe, nx_png_decode},
    [NX_IMAGE_WEBP] = {nx_webp_probe, nx_webp_decode},
};

nx_status nx_check_pixels(const char *format, uint32_t width, uint32_t height, uint64_t max_pixels,
                          nx_error *err)
{
    uint64_t pixels = (uint64_t)width * height;
    if (width > NX_MAX_SIDE || height > NX_MAX_SIDE) {
        return nx_error_set(err, NX_ERR_TOO_LARGE,
                            "the %s has %ux%u pixels; a side may have at most %d", format, width,
                            height, NX_MAX_SIDE);
    }
    if (pixels <= max_pixels) {
        return NX_OK;
    }
    return nx_error_set(err, NX_ERR_TOO_LARGE,
                        "the %s has %ux%u = %" PRIu64 " pixels, more than the limit of %" PRIu64
                        ": send a smaller picture, or raise MAX_IMAGE_PIXELS",
                        format, width, height, pixels, max_pixels);
}

/* Finds the format and describes the input to its decoder. */
static nx_status open_encoded(const void *bytes, size_t size, uint64_t max_pixels, nx_encoded *in,
                              nx_error *err)
{
    if (size == 0) {
        return nx_error_set(err, NX_ERR_CORRUPT, "the image is empty (0 bytes)");
    }
    nx_sniffed found = nx_sniff(bytes, size);
    if (!found.supported) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "this is %s; JPEG, PNG and WebP are supported: %s", found.name,
                            found.advice);
    }
    *in = (nx_encoded){
        .data = bytes,
        .size = size,
        .format = found.format,
        .max_pixels = max_pixels != 0 ? max_pixels : NX_DECODE_DEFAULT_MAX_PIXELS,
    };
    return NX_OK;
}

static nx_image_info upright_info(nx_image_format format, const nx_image_info *stored)
{
    int swap = nx_orientation_transposes(stored->orientation);
    return (nx_image_info){
        .format = format,
        .width = swap ? stored->height : stored->width,
        .height = swap ? stored->width : stored->height,
        .orientation = stored->orientation,
    };
}

nx_status nx_image_probe(const void *bytes, size_t size, uint64_t max_pixels, nx_image_info *out,
                         nx_error *err)
{
    nx_encoded in = {0};
    nx_image_info stored = {.orientation = 1};
    *out = (nx_image_info){0};
    nx_status status = open_encoded(bytes, size, max_pixels, &in, err);
    if (status == NX_OK) {
        status = formats[in.format].probe(&in, &stored, err);
    }
    if (status == NX_OK) {
        *out = upright_info(in.format, &stored);
    }
    return status;
}

nx_status nx_image_decode(const void *bytes, size_t size, const nx_decode_options *options,
                          nx_image *out, nx_image_info *info, nx_error *err)
{
    nx_encoded in = {0};
    nx_image_info stored = {.orientation = 1};
    nx_target target = {options->target_width, options->target_height};
    *out = (nx_image){0};
    nx_status status = open_encoded(bytes, size, options->max_pixels, &in, err);
    if (status == NX_OK) {
        status = formats[in.format].decode(&in, target, out, &stored, err);
    }
    if (status == NX_OK) {
        status = nx_image_orient(out, stored.orientation, err);
    }
    if (status != NX_OK) {
        nx_image_free(out);
        return status;
    }
    if (info != NULL) {
        *info = upright_info(in.format, &stored);
    }
    return NX_OK;
}
