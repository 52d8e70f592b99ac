/* JPEG in and out, on pictures made here, each with the one oddity that is tested. */
#include "pictures.h"

#include <jpeglib.h>

typedef struct jpeg_recipe {
    J_COLOR_SPACE in;   /* JCS_RGB, or JCS_CMYK with the inverted values that Adobe stores */
    J_COLOR_SPACE file; /* JCS_UNKNOWN takes libjpeg's choice */
    uint8_t key;        /* of CMYK; 255 is none */
    const jpeg_scan_info *scans;
    int scan_count;
    unsigned restart_rows;
    uint8_t orientation; /* 0 writes no EXIF */
} jpeg_recipe;

static void write_jpeg_rows(struct jpeg_compress_struct *cinfo, const nx_image *image, uint8_t key)
{
    uint8_t *cmyk = malloc((size_t)image->width * 4);
    assert_non_null(cmyk);
    while (cinfo->next_scanline < cinfo->image_height) {
        JSAMPROW row = image->pixels + cinfo->next_scanline * image->stride;
        if (cinfo->in_color_space == JCS_CMYK) {
            for (size_t x = 0; x < image->width; x++) {
                memcpy(cmyk + 4 * x, row + 3 * x, 3);
                cmyk[4 * x + 3] = key;
            }
            row = cmyk;
        }
        jpeg_write_scanlines(cinfo, &row, 1);
    }
    free(cmyk);
}

/* The caller frees the bytes. */
static uint8_t *make_jpeg(const nx_image *image, const jpeg_recipe *recipe, size_t *size)
{
    struct jpeg_compress_struct cinfo;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    unsigned long length = 0;
    cinfo.err = jpeg_std_error(&errors);
    jpeg_create_compress(&cinfo);
    jpeg_mem_dest(&cinfo, &bytes, &length);
    cinfo.image_width = image->width;
    cinfo.image_height = image->height;
    cinfo.input_components = recipe->in == JCS_CMYK ? 4 : 3;
    cinfo.in_color_space = recipe->in;
    jpeg_set_defaults(&cinfo);
    if (recipe->file != JCS_UNKNOWN) {
        jpeg_set_colorspace(&cinfo, recipe->file);
    }
    jpeg_set_quality(&cinfo, 95, TRUE);
    cinfo.scan_info = recipe->scans;
    cinfo.num_scans = recipe->scan_count;
    cinfo.restart_in_rows = (int)recipe->restart_rows;
    jpeg_start_compress(&cinfo, TRUE);
    if (recipe->orientation != 0) {
        uint8_t exif[32] = "Exif\0";
        picture_make_exif(exif + 6, recipe->orientation);
        jpeg_write_marker(&cinfo, JPEG_APP0 + 1, exif, sizeof exif);
    }
    write_jpeg_rows(&cinfo, image, recipe->key);
    jpeg_finish_compress(&cinfo);
    jpeg_destroy_compress(&cinfo);
    *size = length;
    return bytes;
}

/* Position of the n-th marker FF code (1 is the first), or fails. */
static size_t find_marker(const uint8_t *bytes, size_t size, uint8_t code, int n)
{
    for (size_t i = 0; i + 1 < size; i++) {
        if (bytes[i] == 0xff && bytes[i + 1] == code && --n == 0) {
            return i;
        }
    }
    fail_msg("there is no such marker %02x", code);
    return 0;
}

static void assert_jpeg_comes_back(const jpeg_recipe *recipe, const nx_image *expected)
{
    nx_image image = picture_gradient(97, 61);
    size_t size = 0;
    uint8_t *bytes = make_jpeg(&image, recipe, &size);
    nx_image decoded = picture_decode(bytes, size, NULL);
    picture_assert_near(&decoded, expected, 2);
    nx_image_free(&decoded);
    nx_image_free(&image);
    free(bytes);
}

static void color_spaces(void **state)
{
    (void)state;
    nx_image plain = picture_gradient(97, 61);
    nx_image inked = picture_gradient(97, 61);
    for (size_t i = 0; i < inked.stride * inked.height; i++) {
        inked.pixels[i] = (uint8_t)(inked.pixels[i] * 128 / 255);
    }
    assert_jpeg_comes_back(&(jpeg_recipe){.in = JCS_RGB}, &plain);
    assert_jpeg_comes_back(&(jpeg_recipe){.in = JCS_RGB, .file = JCS_RGB}, &plain);
    assert_jpeg_comes_back(&(jpeg_recipe){.in = JCS_CMYK, .file = JCS_CMYK, .key = 255}, &plain);
    assert_jpeg_comes_back(&(jpeg_recipe){.in = JCS_CMYK, .file = JCS_YCCK, .key = 255}, &plain);
    assert_jpeg_comes_back(&(jpeg_recipe){.in = JCS_CMYK, .file = JCS_CMYK, .key = 128}, &inked);
    assert_jpeg_comes_back(&(jpeg_recipe){.in = JCS_CMYK, .file = JCS_YCCK, .key = 128}, &inked);
    nx_image_free(&plain);
    nx_image_free(&inked);
}

/* A progressive script that sends each coefficient by itself: DC, then AC of each component. */
static int make_many_scans(jpeg_scan_info *scans, int ac_count)
{
    scans[0] = (jpeg_scan_info){.comps_in_scan = 3, .component_index = {0, 1, 2}};
    int n = 1;
    for (int c = 0; c < 3; c++) {
        for (int k = 1; k <= ac_count; k++) {
            scans[n++] =
                (jpeg_scan_info){.comps_in_scan = 1, .component_index = {c}, .Ss = k, .Se = k};
        }
    }
    return n;
}

static void scans_are_bounded(void **state)
{
    (void)state;
    jpeg_scan_info scans[3 * 63 + 1];
    nx_image image = picture_gradient(64, 64);
    size_t size = 0;
    jpeg_recipe recipe = {.in = JCS_RGB, .scans = scans};

    recipe.scan_count = make_many_scans(scans, 33); /* 100 scans */
    uint8_t *bytes = make_jpeg(&image, &recipe, &size);
    nx_image decoded = picture_decode(bytes, size, NULL);
    picture_assert_near(&decoded, &image, 3);
    nx_image_free(&decoded);
    free(bytes);

    recipe.scan_count = make_many_scans(scans, 63);
    bytes = make_jpeg(&image, &recipe, &size);
    picture_assert_refused(bytes, size, NX_ERR_CORRUPT, "more than 100 scans");
    free(bytes);
    nx_image_free(&image);
}

static void missing_scans_are_found(void **state)
{
    (void)state;
    static const jpeg_scan_info scans[] = {
        {.comps_in_scan = 1, .component_index = {0}, .Se = 63},
        {.comps_in_scan = 1, .component_index = {1}, .Se = 63},
        {.comps_in_scan = 1, .component_index = {2}, .Se = 63},
    };
    nx_image image = picture_gradient(64, 64);
    size_t size = 0;
    jpeg_recipe recipe = {.in = JCS_RGB, .scans = scans, .scan_count = 3};
    uint8_t *bytes = make_jpeg(&image, &recipe, &size);
    nx_image decoded = picture_decode(bytes, size, NULL);
    picture_assert_near(&decoded, &image, 2);
    nx_image_free(&decoded);

    /* cut before the tables of the third scan, then closed as if nothing were missing */
    size_t end = find_marker(bytes, size, 0xda, 3);
    while (bytes[end - 1] != 0xc4 || bytes[end - 2] != 0xff) {
        end--;
    }
    end -= 2;
    picture_assert_refused(bytes, end, NX_ERR_CORRUPT, "ends early");
    bytes[end] = 0xff;
    bytes[end + 1] = 0xd9;
    picture_assert_refused(bytes, end + 2, NX_ERR_CORRUPT, "scans are missing");
    free(bytes);
    nx_image_free(&image);
}

static void restart_intervals(void **state)
{
    (void)state;
    nx_image image = picture_gradient(64, 128);
    size_t size = 0;
    uint8_t *bytes = make_jpeg(&image, &(jpeg_recipe){.in = JCS_RGB, .restart_rows = 1}, &size);
    nx_image decoded = picture_decode(bytes, size, NULL);
    picture_assert_near(&decoded, &image, 2);
    nx_image_free(&decoded);
    /* whole intervals are missing: no bit is short, and yet half of the rows are */
    picture_assert_refused(bytes, find_marker(bytes, size, 0xd3, 1), NX_ERR_CORRUPT,
                           "near row 64 of 128");
    free(bytes);
    nx_image_free(&image);
}

static void stray_bytes_are_harmless(void **state)
{
    (void)state;
    nx_image image = picture_gradient(64, 64);
    size_t size = 0;
    uint8_t *bytes = make_jpeg(&image, &(jpeg_recipe){.in = JCS_RGB}, &size);
    size_t at = find_marker(bytes, size, 0xdb, 1);
    uint8_t *stuffed = malloc(size + 5);
    assert_non_null(stuffed);
    memcpy(stuffed, bytes, at);
    memset(stuffed + at, 0x42, 5);
    memcpy(stuffed + at + 5, bytes + at, size - at);
    nx_image decoded = picture_decode(bytes, size, NULL);
    nx_image with_stray = picture_decode(stuffed, size + 5, NULL);
    picture_assert_equal(&decoded, &with_stray);
    nx_image_free(&decoded);
    nx_image_free(&with_stray);
    nx_image_free(&image);
    free(stuffed);
    free(bytes);
}

static void kinds_that_are_refused(void **state)
{
    (void)state;
    nx_image image = picture_gradient(16, 16);
    size_t size = 0;
    uint8_t *bytes = make_jpeg(&image, &(jpeg_recipe){.in = JCS_RGB}, &size);
    size_t frame = find_marker(bytes, size, 0xc0, 1);
    bytes[frame + 1] = 0xc3; /* lossless */
    picture_assert_refused(bytes, size, NX_ERR_UNSUPPORTED, "SOF type 0xc3");
    bytes[frame + 1] = 0xc1;
    bytes[frame + 4] = 12; /* bits a sample */
    picture_assert_refused(bytes, size, NX_ERR_UNSUPPORTED, "precision 12");
    bytes[frame + 4] = 8;
    bytes[frame + 5] = bytes[frame + 6] = 0; /* height: told by a DNL marker later */
    picture_assert_refused(bytes, size, NX_ERR_CORRUPT, "header is damaged: Empty JPEG image");
    bytes[frame + 5] = bytes[frame + 6] = 0xff;
    picture_assert_refused(bytes, size, NX_ERR_TOO_LARGE, "65500");
    free(bytes);
    nx_image_free(&image);
}

static void exif_swaps_sides(void **state)
{
    (void)state;
    nx_image image = picture_gradient(90, 40);
    for (uint8_t orientation = 1; orientation <= 8; orientation++) {
        size_t size = 0;
        jpeg_recipe recipe = {.in = JCS_RGB, .orientation = orientation};
        uint8_t *bytes = make_jpeg(&image, &recipe, &size);
        nx_image_info info;
        nx_image decoded = picture_decode(bytes, size, &info);
        assert_int_equal(info.orientation, orientation);
        assert_int_equal(info.width, orientation < 5 ? 90 : 40);
        assert_int_equal(decoded.width, info.width);
        assert_int_equal(decoded.height, info.height);
        nx_image_free(&decoded);
        free(bytes);
    }
    nx_image_free(&image);
}

/* 8000x8000 are declared, within the limit, and a few bytes sent: what was not sent is not to cost
 * memory either, least of all the coefficients of a progressive picture. */
static void lying_header_costs_little(void **state)
{
    (void)state;
    nx_image image = picture_gradient(16, 16);
    size_t size = 0;
    uint8_t *bytes = make_jpeg(&image, &(jpeg_recipe){.in = JCS_RGB}, &size);
    size_t frame = find_marker(bytes, size, 0xc0, 1);
    bytes[frame + 5] = bytes[frame + 7] = 8000 >> 8;
    bytes[frame + 6] = bytes[frame + 8] = 8000 & 255;
    long before = picture_peak_memory_kb();
    picture_assert_refused(bytes, size, NX_ERR_CORRUPT, "near row 0 of 8000");
    bytes[frame + 1] = 0xc2;
    picture_assert_refused(bytes, size, NX_ERR_CORRUPT, "JPEG");
    /* the pixels alone would be 192 MB; AddressSanitizer's bookkeeping takes an eighth of them */
    assert_true(picture_peak_memory_kb() - before < 96 * 1024);
    free(bytes);
    nx_image_free(&image);
}

static void round_trip(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_image image = picture_gradient(323, 245);
    nx_image wide = picture_with_wide_rows(&image);
    size_t sizes[2] = {0};
    for (int i = 0; i < 2; i++) {
        nx_buffer out = NX_BUFFER_INIT;
        nx_buffer_append_str(&out, "kept");
        nx_assert_ok(nx_image_encode_jpeg(&wide, i == 0 ? 30 : 95, &out, &err), err);
        assert_memory_equal(out.data, "kept", 4);
        nx_image_info info;
        nx_image decoded = picture_decode(out.data + 4, out.size - 4, &info);
        assert_int_equal(info.format, NX_IMAGE_JPEG);
        picture_assert_near(&decoded, &image, i == 0 ? 5 : 1);
        sizes[i] = out.size;
        nx_image_free(&decoded);
        nx_buffer_free(&out);
    }
    assert_true(sizes[0] < sizes[1]);
    nx_image_free(&image);
    nx_image_free(&wide);
}

static void output_outgrows_any_guess(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_image image = picture_noise(700, 600);
    nx_buffer out = NX_BUFFER_INIT;
    nx_assert_ok(nx_image_encode_jpeg(&image, 100, &out, &err), err);
    assert_true(out.size > 300000);
    nx_image decoded = picture_decode(out.data, out.size, NULL);
    picture_assert_near(&decoded, &image, 60); /* 4:2:0 cannot keep noise */
    nx_image_free(&decoded);
    nx_image_free(&image);
    nx_buffer_free(&out);
}

static void encoder_refuses_what_does_not_fit(void **state)
{
    (void)state;
    nx_error err = {0};
    uint8_t pixels[3] = {0};
    nx_buffer out = NX_BUFFER_INIT;
    nx_buffer_append_str(&out, "kept");
    /* refused before a pixel is read */
    nx_image image = {.pixels = pixels, .width = 65501, .height = 1, .stride = 3 * 65501};
    assert_int_equal(nx_image_encode_jpeg(&image, 90, &out, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "65500");
    assert_int_equal(out.size, 4);

    out.failed = true; /* as after an allocation that failed */
    image = (nx_image){.pixels = pixels, .width = 1, .height = 1, .stride = 3};
    assert_int_equal(nx_image_encode_jpeg(&image, 90, &out, &err), NX_ERR_NO_MEMORY);
    assert_int_equal(out.size, 4);
    nx_buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(color_spaces),
        cmocka_unit_test(scans_are_bounded),
        cmocka_unit_test(missing_scans_are_found),
        cmocka_unit_test(restart_intervals),
        cmocka_unit_test(stray_bytes_are_harmless),
        cmocka_unit_test(kinds_that_are_refused),
        cmocka_unit_test(exif_swaps_sides),
        cmocka_unit_test(lying_header_costs_little),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(output_outgrows_any_guess),
        cmocka_unit_test(encoder_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
