/* Picture bytes: probing and decoding agree, every refusal says why, and nothing is left behind. */
#include "media/codec.h"
#include "media/formats.h"

#include <stdlib.h>

#define MAX_PIXELS (UINT64_C(1) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

/* A decoded picture has the probed size, or with a target is a smaller one that still holds it. */
static void check_size(const nx_image *image, const nx_image_info *info,
                       const nx_decode_options *options)
{
    if (image->width == info->width && image->height == info->height) {
        return;
    }
    require(image->width < info->width || image->height < info->height);
    require(options->target_width > 0 && image->width >= options->target_width);
    require(options->target_height > 0 && image->height >= options->target_height);
}

static void decode(const uint8_t *data, size_t size, const nx_decode_options *options,
                   nx_status probe_status, const nx_image_info *probed)
{
    nx_error err = {0};
    nx_image image;
    nx_image_info info;
    nx_status status = nx_image_decode(data, size, options, &image, &info, &err);
    if (status != NX_OK) {
        require(image.pixels == NULL && err.status == status && err.message[0] != '\0');
        require(probe_status == NX_OK || probe_status == status);
        return;
    }
    require(probe_status == NX_OK);
    require(info.width == probed->width && info.height == probed->height);
    require(info.orientation == probed->orientation && info.format == probed->format);
    require((uint64_t)info.width * info.height <= MAX_PIXELS);
    check_size(&image, &info, options);
    /* reads each pixel, so that MemorySanitizer and Valgrind see one that was never written */
    unsigned sum = 0;
    for (size_t i = 0; i < image.stride * image.height; i++) {
        sum += image.pixels[i];
    }
    require(sum <= 255 * image.stride * image.height);
    nx_image_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_error err = {0};
    nx_image_info probed;
    nx_status status = nx_image_probe(data, size, MAX_PIXELS, &probed, &err);
    require(status == NX_OK || (err.status == status && err.message[0] != '\0'));
    require(status != NX_OK || (probed.width > 0 && probed.height > 0));
    decode(data, size, &(nx_decode_options){.max_pixels = MAX_PIXELS}, status, &probed);
    const nx_decode_options scaled = {
        .max_pixels = MAX_PIXELS, .target_width = 40, .target_height = 30};
    decode(data, size, &scaled, status, &probed);
    /* EXIF in a container is hard to reach by chance */
    uint8_t orientation = nx_exif_orientation(data, size);
    require(orientation >= 1 && orientation <= 8);
    return 0;
}
