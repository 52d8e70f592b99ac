/* The codec on the real pictures of the shared folder. test_jpeg.c, test_png.c and test_webp.c have
 * pictures made for one oddity each. */
#include "pictures.h"

typedef struct odd_file {
    const char *name;
    nx_status probe;
    nx_status decode;
    const char *message; /* part of it; NULL when decoding works */
    nx_image_format format;
    uint32_t width; /* upright */
    uint32_t height;
    uint8_t orientation;
} odd_file;

#define GOOD(name, format, width, height, orientation)                                             \
    {                                                                                              \
        name, NX_OK, NX_OK, NULL, format, width, height, orientation                               \
    }

#define REFUSED(name, status, message)                                                             \
    {                                                                                              \
        name, status, status, message, NX_IMAGE_JPEG, 0, 0, 0                                      \
    }

static const odd_file odd_files[] = {
    GOOD("1x1.jpg", NX_IMAGE_JPEG, 1, 1, 1),
    GOOD("1x1.png", NX_IMAGE_PNG, 1, 1, 1),
    GOOD("alpha.png", NX_IMAGE_PNG, 405, 540, 1),
    GOOD("base640.jpg", NX_IMAGE_JPEG, 640, 360, 1),
    GOOD("exif-1.jpg", NX_IMAGE_JPEG, 405, 540, 1),
    GOOD("exif-3.jpg", NX_IMAGE_JPEG, 405, 540, 3),
    GOOD("exif-6.jpg", NX_IMAGE_JPEG, 405, 540, 6),
    GOOD("exif-8.jpg", NX_IMAGE_JPEG, 405, 540, 8),
    GOOD("gray.jpg", NX_IMAGE_JPEG, 640, 360, 1),
    GOOD("gray.png", NX_IMAGE_PNG, 405, 540, 1),
    GOOD("interlaced.png", NX_IMAGE_PNG, 405, 540, 1),
    GOOD("lossless-alpha.webp", NX_IMAGE_WEBP, 405, 540, 1),
    GOOD("lossy.webp", NX_IMAGE_WEBP, 640, 360, 1),
    GOOD("odd-dims-641x427.jpg", NX_IMAGE_JPEG, 641, 427, 1),
    GOOD("palette.png", NX_IMAGE_PNG, 405, 540, 1),
    GOOD("progressive.jpg", NX_IMAGE_JPEG, 640, 360, 1),
    GOOD("rgb16.png", NX_IMAGE_PNG, 405, 540, 1),
    GOOD("wide-2000x8.jpg", NX_IMAGE_JPEG, 2000, 8, 1),
    GOOD("yuv422.jpg", NX_IMAGE_JPEG, 640, 360, 1),
    GOOD("yuv444.jpg", NX_IMAGE_JPEG, 640, 360, 1),
    REFUSED("bomb-20000x20000.png", NX_ERR_TOO_LARGE,
            "20000x20000 = 400000000 pixels, more than the limit of 67108864"),
    REFUSED("empty.jpg", NX_ERR_CORRUPT, "the image is empty (0 bytes)"),
    REFUSED("header-only.jpg", NX_ERR_CORRUPT, "ends inside its header (12 bytes)"),
    REFUSED("plain.bmp", NX_ERR_UNSUPPORTED, "a BMP image; JPEG, PNG and WebP are"),
    REFUSED("plain.tiff", NX_ERR_UNSUPPORTED, "a TIFF image; JPEG, PNG and WebP are"),
    REFUSED("text.jpg", NX_ERR_UNSUPPORTED, "this is text; JPEG, PNG and WebP are"),
    /* the header of these is whole, and so probing cannot know */
    {"corrupt-middle.jpg", NX_OK, NX_ERR_CORRUPT, "of 1080: Corrupt JPEG data", NX_IMAGE_JPEG, 810,
     1080, 1},
    {"truncated.jpg", NX_OK, NX_ERR_CORRUPT, "the JPEG ends early, near row 144 of 1080",
     NX_IMAGE_JPEG, 810, 1080, 1},
    {"truncated.png", NX_OK, NX_ERR_CORRUPT, "the PNG ends early, at row 19 of 540", NX_IMAGE_PNG,
     405, 540, 1},
};

static void assert_info(const odd_file *file, const nx_image_info *info)
{
    assert_int_equal(info->format, file->format);
    assert_int_equal(info->width, file->width);
    assert_int_equal(info->height, file->height);
    assert_int_equal(info->orientation, file->orientation);
}

static void check_odd_file(const odd_file *file)
{
    char path[256];
    snprintf(path, sizeof path, "images/odd/%s", file->name);
    nx_file_map map = picture_file(path);
    nx_error err = {0};
    nx_image_info info = {0};
    print_message("           %s\n", file->name);
    assert_int_equal(nx_image_probe(map.data, map.size, 0, &info, &err), file->probe);
    if (file->probe == NX_OK) {
        assert_info(file, &info);
    } else {
        nx_assert_contains(err.message, file->message);
    }
    if (file->decode == NX_OK) {
        nx_image image = picture_decode(map.data, map.size, &info);
        assert_info(file, &info);
        assert_int_equal(image.width, file->width);
        assert_int_equal(image.height, file->height);
        nx_image_free(&image);
    } else {
        picture_assert_refused(map.data, map.size, file->decode, file->message);
    }
    nx_file_unmap(&map);
}

static void odd_files_have_their_outcome(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    for (size_t i = 0; i < NX_COUNT(odd_files); i++) {
        check_odd_file(&odd_files[i]);
    }
}

static void assert_file_near(const char *relative, const nx_image *reference, double mean_limit)
{
    nx_image image = picture_load(relative);
    picture_assert_near(&image, reference, mean_limit);
    nx_image_free(&image);
}

static void exif_orientations_come_out_upright(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_image reference = picture_load("images/odd/exif-1.jpg");
    /* turned any other way they differ by over 40 */
    assert_file_near("images/odd/exif-3.jpg", &reference, 5);
    assert_file_near("images/odd/exif-6.jpg", &reference, 5);
    assert_file_near("images/odd/exif-8.jpg", &reference, 5);
    nx_image_free(&reference);
}

static void jpeg_variants_agree(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_image reference = picture_load("images/odd/base640.jpg");
    assert_file_near("images/odd/progressive.jpg", &reference, 0); /* the same coefficients */
    assert_file_near("images/odd/yuv422.jpg", &reference, 1.5);
    assert_file_near("images/odd/yuv444.jpg", &reference, 2.5);
    assert_file_near("images/odd/lossy.webp", &reference, 3);
    for (uint32_t y = 0; y < reference.height; y++) { /* luma of BT.601, as JPEG has it */
        for (uint32_t x = 0; x < reference.width; x++) {
            uint8_t *p = picture_pixel(&reference, x, y);
            int luma = (299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000;
            memset(p, luma, 3);
        }
    }
    assert_file_near("images/odd/gray.jpg", &reference, 2);
    nx_image_free(&reference);
}

/* 24 bits a pixel, rows bottom to top: read here by hand, as a reference that no library made. */
static nx_image load_bmp(const char *relative)
{
    nx_file_map map = picture_file(relative);
    nx_error err = {0};
    nx_image image = {0};
    uint32_t offset, width, height;
    memcpy(&offset, map.data + 10, 4);
    memcpy(&width, map.data + 18, 4);
    memcpy(&height, map.data + 22, 4);
    nx_assert_ok(nx_image_alloc(width, height, &image, &err), err);
    size_t stride = ((size_t)width * 3 + 3) / 4 * 4;
    assert_true(map.size >= offset + stride * height);
    for (uint32_t y = 0; y < height; y++) {
        const uint8_t *bgr = map.data + offset + stride * (height - 1 - y);
        for (uint32_t x = 0; x < width; x++, bgr += 3) {
            uint8_t *pixel = picture_pixel(&image, x, y);
            pixel[0] = bgr[2];
            pixel[1] = bgr[1];
            pixel[2] = bgr[0];
        }
    }
    nx_file_unmap(&map);
    return image;
}

static void lossless_files_agree(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    /* each was scaled from bus.jpg on its own, so rounding may differ by one */
    nx_image bmp = load_bmp("images/odd/plain.bmp");
    nx_image interlaced = picture_load("images/odd/interlaced.png");
    nx_image alpha = picture_load("images/odd/alpha.png");
    nx_image deep = picture_load("images/odd/rgb16.png");
    assert_true(picture_compare(&bmp, &interlaced).max <= 1);
    assert_true(picture_compare(&bmp, &alpha).max <= 1);
    assert_true(picture_compare(&bmp, &deep).max <= 1);
    assert_file_near("images/odd/lossless-alpha.webp", &alpha, 0.2); /* but where alpha is 0 */
    assert_file_near("images/odd/palette.png", &bmp, 8);             /* dithered */
    nx_image_free(&bmp);
    nx_image_free(&interlaced);
    nx_image_free(&alpha);
    nx_image_free(&deep);
}

typedef struct scaling {
    const char *file;
    uint32_t target_width, target_height;
    uint32_t width, height;
} scaling;

static const scaling scalings[] = {
    {"images/traffic-1080p-00.jpg", 0, 0, 1920, 1080},
    {"images/traffic-1080p-00.jpg", 640, 360, 960, 540},
    {"images/traffic-1080p-00.jpg", 960, 540, 960, 540},
    {"images/traffic-1080p-00.jpg", 961, 540, 1920, 1080},
    {"images/traffic-1080p-00.jpg", 960, 541, 1920, 1080},
    {"images/traffic-1080p-00.jpg", 480, 270, 480, 270},
    {"images/traffic-1080p-00.jpg", 240, 1, 240, 135},
    {"images/traffic-1080p-00.jpg", 1, 1, 240, 135},
    {"images/traffic-1080p-00.jpg", 640, 0, 1920, 1080},
    {"images/traffic-1080p-00.jpg", 4000, 4000, 1920, 1080},
    {"images/odd/odd-dims-641x427.jpg", 321, 214, 321, 214}, /* halves are rounded up */
    {"images/odd/odd-dims-641x427.jpg", 321, 215, 641, 427},
    {"images/odd/exif-6.jpg", 200, 270, 203, 270}, /* the target is upright */
    {"images/odd/exif-6.jpg", 270, 200, 405, 540},
    {"images/odd/alpha.png", 10, 10, 405, 540}, /* only JPEG can */
};

static void targets_scale_jpegs(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    for (size_t i = 0; i < NX_COUNT(scalings); i++) {
        const scaling *s = &scalings[i];
        nx_file_map map = picture_file(s->file);
        nx_decode_options options = {.target_width = s->target_width,
                                     .target_height = s->target_height};
        nx_error err = {0};
        nx_image_info info = {0}, probed = {0};
        nx_image image = {0};
        print_message("           %s at %ux%u\n", s->file, s->target_width, s->target_height);
        nx_assert_ok(nx_image_probe(map.data, map.size, 0, &probed, &err), err);
        nx_assert_ok(nx_image_decode(map.data, map.size, &options, &image, &info, &err), err);
        assert_int_equal(image.width, s->width);
        assert_int_equal(image.height, s->height);
        assert_int_equal(info.width, probed.width); /* info tells the original's size */
        assert_int_equal(info.height, probed.height);
        nx_image_free(&image);
        nx_file_unmap(&map);
    }
}

static void scaled_jpeg_shows_the_same(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_file_map map = picture_file("images/traffic-1080p-00.jpg");
    nx_decode_options options = {.target_width = 960, .target_height = 540};
    nx_error err = {0};
    nx_image half = {0};
    nx_assert_ok(nx_image_decode(map.data, map.size, &options, &half, NULL, &err), err);
    nx_image full = picture_decode(map.data, map.size, NULL);
    nx_image average = {0};
    nx_assert_ok(nx_image_alloc(960, 540, &average, &err), err);
    for (uint32_t y = 0; y < 540; y++) {
        for (uint32_t x = 0; x < 960; x++) {
            const uint8_t *upper = picture_pixel(&full, 2 * x, 2 * y);
            const uint8_t *lower = picture_pixel(&full, 2 * x, 2 * y + 1);
            for (int i = 0; i < 3; i++) {
                picture_pixel(&average, x, y)[i] =
                    (uint8_t)((upper[i] + upper[i + 3] + lower[i] + lower[i + 3] + 2) / 4);
            }
        }
    }
    picture_assert_near(&half, &average, 2.5);
    nx_image_free(&half);
    nx_image_free(&full);
    nx_image_free(&average);
    nx_file_unmap(&map);
}

static void assert_limited(const char *relative, uint64_t pixels)
{
    nx_file_map map = picture_file(relative);
    nx_error err = {0};
    nx_image_info info = {0};
    nx_image image = {0};
    nx_assert_ok(nx_image_probe(map.data, map.size, pixels, &info, &err), err);
    nx_decode_options options = {.max_pixels = pixels};
    nx_assert_ok(nx_image_decode(map.data, map.size, &options, &image, NULL, &err), err);
    nx_image_free(&image);

    options.max_pixels = pixels - 1;
    assert_int_equal(nx_image_probe(map.data, map.size, pixels - 1, &info, &err), NX_ERR_TOO_LARGE);
    nx_assert_contains(err.message, "MAX_IMAGE_PIXELS");
    assert_int_equal(info.width, 0);
    assert_int_equal(nx_image_decode(map.data, map.size, &options, &image, NULL, &err),
                     NX_ERR_TOO_LARGE);
    nx_assert_contains(err.message, "MAX_IMAGE_PIXELS");
    assert_null(image.pixels);
    nx_file_unmap(&map);
}

static void pixel_limit_is_exact(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    assert_limited("images/odd/base640.jpg", 640 * 360);
    assert_limited("images/odd/exif-6.jpg", 405 * 540);
    assert_limited("images/odd/gray.png", 405 * 540);
    assert_limited("images/odd/lossy.webp", 640 * 360);
}

/* Each length of the first and last 64 bytes, and about 150 between; size itself left out. */
static size_t next_length(size_t length, size_t size)
{
    return length < 64 || length + 64 >= size ? length + 1 : length + 1 + size / 150;
}

/* Pictures without their last `end` bytes are whole: JPEG without its end marker. */
static void assert_no_truncation_passes(const char *relative, size_t end)
{
    nx_file_map map = picture_file(relative);
    print_message("           %s\n", relative);
    for (size_t length = 0; length < map.size - end; length = next_length(length, map.size)) {
        /* a copy, so that AddressSanitizer sees a read past the end */
        uint8_t *copy = malloc(length + (length == 0));
        assert_non_null(copy);
        memcpy(copy, map.data, length);
        nx_error err = {0};
        nx_image image = {0};
        nx_status status =
            nx_image_decode(copy, length, &(nx_decode_options){0}, &image, NULL, &err);
        if (status != NX_ERR_CORRUPT && (length >= 12 || status != NX_ERR_UNSUPPORTED)) {
            fail_msg("%zu of %zu bytes: %s, %s", length, map.size, nx_status_name(status),
                     err.message);
        }
        assert_null(image.pixels);
        free(copy);
    }
    nx_file_unmap(&map);
}

static void no_truncation_passes(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    assert_no_truncation_passes("images/odd/base640.jpg", 2);
    assert_no_truncation_passes("images/odd/gray.jpg", 2);
    assert_no_truncation_passes("images/odd/progressive.jpg", 0);
    assert_no_truncation_passes("images/odd/palette.png", 0);
    assert_no_truncation_passes("images/odd/interlaced.png", 0);
    assert_no_truncation_passes("images/odd/lossy.webp", 0);
    assert_no_truncation_passes("images/odd/lossless-alpha.webp", 0);
}

static void missing_end_marker_is_harmless(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_file_map map = picture_file("images/odd/base640.jpg");
    nx_image whole = picture_decode(map.data, map.size, NULL);
    nx_image without = picture_decode(map.data, map.size - 2, NULL);
    picture_assert_equal(&whole, &without);
    nx_image_free(&whole);
    nx_image_free(&without);
    nx_file_unmap(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_files_have_their_outcome),
        cmocka_unit_test(exif_orientations_come_out_upright),
        cmocka_unit_test(jpeg_variants_agree),
        cmocka_unit_test(lossless_files_agree),
        cmocka_unit_test(targets_scale_jpegs),
        cmocka_unit_test(scaled_jpeg_shows_the_same),
        cmocka_unit_test(pixel_limit_is_exact),
        cmocka_unit_test(no_truncation_passes),
        cmocka_unit_test(missing_end_marker_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
