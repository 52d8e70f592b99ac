/* Pictures for the tests of codecs and drawing: loading, making and comparing them. */
#ifndef NX_TESTS_PICTURES_H
#define NX_TESTS_PICTURES_H

#include "testing.h"

#include "base/file.h"
#include "media/codec.h"

#include <malloc.h>
#include <sys/resource.h>

/* Bytes of a file of the shared folder; released with nx_file_unmap. */
static inline nx_file_map picture_file(const char *relative)
{
    nx_error err = {0};
    nx_file_map map = {0};
    nx_assert_ok(nx_file_map_open(nx_shared_path(relative), &map, &err), err);
    return map;
}

/* Decodes at full size. */
static inline nx_image picture_decode(const void *bytes, size_t size, nx_image_info *info)
{
    nx_error err = {0};
    nx_image image = {0};
    nx_assert_ok(nx_image_decode(bytes, size, &(nx_decode_options){0}, &image, info, &err), err);
    return image;
}

static inline nx_image picture_load(const char *relative)
{
    nx_file_map map = picture_file(relative);
    nx_image image = picture_decode(map.data, map.size, NULL);
    nx_file_unmap(&map);
    return image;
}

static inline uint8_t *picture_pixel(const nx_image *image, uint32_t x, uint32_t y)
{
    assert_true(x < image->width && y < image->height);
    return image->pixels + y * image->stride + (size_t)x * 3;
}

/* Soft gradients that a JPEG keeps well; different in each corner and channel. */
static inline nx_image picture_gradient(uint32_t width, uint32_t height)
{
    nx_error err = {0};
    nx_image image = {0};
    nx_assert_ok(nx_image_alloc(width, height, &image, &err), err);
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++) {
            uint8_t *pixel = picture_pixel(&image, x, y);
            pixel[0] = (uint8_t)(20 + 200 * x / width);
            pixel[1] = (uint8_t)(30 + 180 * y / height);
            pixel[2] = (uint8_t)(230 - 100 * x / width - 100 * y / height);
        }
    }
    return image;
}

/* Noise, which no format can make small. */
static inline nx_image picture_noise(uint32_t width, uint32_t height)
{
    nx_image image = picture_gradient(width, height);
    uint32_t noise = 1;
    for (size_t i = 0; i < image.stride * image.height; i++) {
        noise = noise * 1664525 + 1013904223;
        image.pixels[i] = (uint8_t)(noise >> 24);
    }
    return image;
}

/* A copy whose rows lie further apart than they are long. */
static inline nx_image picture_with_wide_rows(const nx_image *image)
{
    nx_image wide = *image;
    wide.stride = image->stride + 13;
    wide.pixels = malloc(wide.stride * wide.height);
    assert_non_null(wide.pixels);
    memset(wide.pixels, 0xee, wide.stride * wide.height);
    for (uint32_t y = 0; y < wide.height; y++) {
        memcpy(wide.pixels + y * wide.stride, image->pixels + y * image->stride, image->stride);
    }
    return wide;
}

#define PICTURE_EXIF_SIZE 26

/* EXIF of one tag, Orientation, as a TIFF structure in Motorola order. */
static inline void picture_make_exif(uint8_t tiff[PICTURE_EXIF_SIZE], uint8_t orientation)
{
    static const uint8_t bytes[PICTURE_EXIF_SIZE] = {'M',  'M',  0, 42, 0, 0,
                                                     0,    8,    0, 1,        /* one entry */
                                                     0x01, 0x12,              /* Orientation */
                                                     0,    3,    0, 0,  0, 1, /* one SHORT */
                                                     0,    0,    0, 0,        /* its value */
                                                     0,    0,    0, 0};
    memcpy(tiff, bytes, sizeof bytes);
    tiff[19] = orientation;
}

typedef struct picture_difference {
    double mean; /* of the absolute differences of all channels */
    int max;
} picture_difference;

static inline picture_difference picture_compare(const nx_image *a, const nx_image *b)
{
    picture_difference d = {0};
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    for (uint32_t y = 0; y < a->height; y++) {
        for (size_t i = 0; i < (size_t)a->width * 3; i++) {
            int difference = abs(a->pixels[y * a->stride + i] - b->pixels[y * b->stride + i]);
            d.mean += difference;
            d.max = difference > d.max ? difference : d.max;
        }
    }
    d.mean /= 3.0 * a->width * a->height;
    return d;
}

#define picture_assert_equal(a, b) assert_int_equal(picture_compare(a, b).max, 0)

#define picture_assert_near(a, b, mean_limit)                                                      \
    do {                                                                                           \
        double mean_ = picture_compare(a, b).mean;                                                 \
        if (mean_ > (mean_limit)) {                                                                \
            fail_msg("mean difference %.3f is over %.3f", mean_, (double)(mean_limit));            \
        }                                                                                          \
    } while (0)

/* The most memory that this process ever had. */
static inline long picture_peak_memory_kb(void)
{
    struct rusage usage;
    mallopt(M_PERTURB, 0); /* with Meson's MALLOC_PERTURB_ malloc itself writes to every page */
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

/* Asserts that bytes are refused with this status by decoding, that the message holds part, and
 * that nothing is left allocated. */
static inline void picture_assert_refused(const void *bytes, size_t size, nx_status expected,
                                          const char *part)
{
    nx_error err = {0};
    nx_image image = {0};
    nx_status status = nx_image_decode(bytes, size, &(nx_decode_options){0}, &image, NULL, &err);
    assert_null(image.pixels);
    if (status != expected) {
        fail_msg("%s instead of %s: %s", nx_status_name(status), nx_status_name(expected),
                 err.message);
    }
    nx_assert_contains(err.message, part);
}

#endif
