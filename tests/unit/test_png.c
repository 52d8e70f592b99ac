/* PNG in and out, on pictures made here. EXIF and turning upright are tested with it, for it keeps
 * every pixel. */
#include "pictures.h"

#include <png.h>

typedef struct png_recipe {
    int type; /* PNG_COLOR_TYPE_* */
    int depth;
    bool interlaced;
    bool transparent; /* a tRNS chunk */
    const uint8_t *exif;
    size_t exif_size;
    bool exif_behind_pixels;
    uint32_t rows_sent; /* fewer than declared: the header lies; 0 sends them all */
} png_recipe;

static void append_bytes(png_structp png, png_bytep bytes, size_t size)
{
    nx_buffer_append(png_get_io_ptr(png), bytes, size);
}

static void no_flush(png_structp png)
{
    (void)png;
}

/* Sample `channel` of a pixel in a made PNG, in 0..2^depth-1. */
static unsigned sample(uint32_t x, uint32_t y, int channel, int depth)
{
    return (x * 7 + y * 13 + (unsigned)channel * 101) * 977 % (1U << depth);
}

static void put_sample(uint8_t *row, size_t index, int depth, unsigned value)
{
    if (depth == 16) {
        row[2 * index] = (uint8_t)(value >> 8);
        row[2 * index + 1] = (uint8_t)value;
    } else {
        size_t bit = index * (size_t)depth;
        row[bit / 8] |= (uint8_t)(value << (8 - depth - (int)(bit % 8)));
    }
}

static int channels_of(int type)
{
    int colors = type == PNG_COLOR_TYPE_PALETTE ? 1 : (type & PNG_COLOR_MASK_COLOR) ? 3 : 1;
    return colors + ((type & PNG_COLOR_MASK_ALPHA) != 0);
}

static png_color palette_color(unsigned index)
{
    return (png_color){(uint8_t)(index * 3), (uint8_t)(255 - index), (uint8_t)(index ^ 0x55)};
}

static void write_png_header(png_structp png, png_infop info, const png_recipe *r, uint32_t width,
                             uint32_t height)
{
    png_color palette[256];
    png_byte alpha[4] = {0, 128, 255, 7};
    png_color_16 transparent = {.red = 1, .green = 2, .blue = 3, .gray = 1};
    png_set_IHDR(png, info, width, height, r->depth, r->type,
                 r->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    if (r->type == PNG_COLOR_TYPE_PALETTE) {
        for (unsigned i = 0; i < 256; i++) {
            palette[i] = palette_color(i);
        }
        png_set_PLTE(png, info, palette, 1 << r->depth);
    }
    if (r->transparent) {
        png_set_tRNS(png, info, alpha, 2, &transparent);
    }
    png_write_info(png, info);
    if (r->exif != NULL && !r->exif_behind_pixels) {
        png_write_chunk(png, (png_const_bytep) "eXIf", r->exif, r->exif_size);
    }
}

static nx_buffer make_png(const png_recipe *r, uint32_t width, uint32_t height)
{
    nx_buffer out = NX_BUFFER_INIT;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &out, append_bytes, no_flush);
    png_set_compression_buffer_size(png, 64); /* so that a few rows do leave */
    write_png_header(png, info, r, width, height);
    int channels = channels_of(r->type);
    uint8_t *row = calloc((size_t)width * 8 + 1, 1);
    assert_non_null(row);
    int passes = png_set_interlace_handling(png);
    uint32_t rows = r->rows_sent != 0 ? r->rows_sent : height;
    for (int pass = 0; pass < passes; pass++) {
        for (uint32_t y = 0; y < rows; y++) {
            memset(row, 0, (size_t)width * 8 + 1);
            for (uint32_t x = 0; x < width; x++) {
                for (int c = 0; c < channels; c++) {
                    put_sample(row, (size_t)x * (size_t)channels + (size_t)c, r->depth,
                               sample(x, y, c, r->depth));
                }
            }
            png_write_row(png, row);
        }
    }
    if (r->exif != NULL && r->exif_behind_pixels) {
        png_write_chunk(png, (png_const_bytep) "eXIf", r->exif, r->exif_size);
    }
    if (rows == height) {
        png_write_end(png, NULL);
    } else {
        png_write_flush(png);
        png_write_chunk(png, (png_const_bytep) "IEND", NULL, 0);
    }
    png_destroy_write_struct(&png, &info);
    free(row);
    return out;
}

/* What a sample of any depth is in 8 bits: 16-bit ones lose their lower byte. */
static uint8_t to_8_bits(unsigned value, int depth)
{
    return depth == 16 ? (uint8_t)(value >> 8) : (uint8_t)(value * 255 / ((1U << depth) - 1));
}

static void expected_pixel(const png_recipe *r, uint32_t x, uint32_t y, uint8_t rgb[3])
{
    if (r->type == PNG_COLOR_TYPE_PALETTE) {
        png_color color = palette_color(sample(x, y, 0, r->depth));
        rgb[0] = color.red;
        rgb[1] = color.green;
        rgb[2] = color.blue;
        return;
    }
    for (int c = 0; c < 3; c++) {
        bool color = (r->type & PNG_COLOR_MASK_COLOR) != 0;
        rgb[c] = to_8_bits(sample(x, y, color ? c : 0, r->depth), r->depth);
    }
}

static const png_recipe png_kinds[] = {
    {.type = PNG_COLOR_TYPE_GRAY, .depth = 1},
    {.type = PNG_COLOR_TYPE_GRAY, .depth = 2},
    {.type = PNG_COLOR_TYPE_GRAY, .depth = 4, .transparent = true},
    {.type = PNG_COLOR_TYPE_GRAY, .depth = 8, .transparent = true},
    {.type = PNG_COLOR_TYPE_GRAY, .depth = 16},
    {.type = PNG_COLOR_TYPE_GRAY_ALPHA, .depth = 8},
    {.type = PNG_COLOR_TYPE_GRAY_ALPHA, .depth = 16},
    {.type = PNG_COLOR_TYPE_PALETTE, .depth = 1},
    {.type = PNG_COLOR_TYPE_PALETTE, .depth = 2, .transparent = true},
    {.type = PNG_COLOR_TYPE_PALETTE, .depth = 4},
    {.type = PNG_COLOR_TYPE_PALETTE, .depth = 8, .transparent = true},
    {.type = PNG_COLOR_TYPE_RGB, .depth = 8},
    {.type = PNG_COLOR_TYPE_RGB, .depth = 8, .transparent = true},
    {.type = PNG_COLOR_TYPE_RGB, .depth = 16, .transparent = true},
    {.type = PNG_COLOR_TYPE_RGB_ALPHA, .depth = 8},
    {.type = PNG_COLOR_TYPE_RGB_ALPHA, .depth = 16},
};

static void png_kinds_become_rgb(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * NX_COUNT(png_kinds); i++) {
        png_recipe recipe = png_kinds[i / 2];
        recipe.interlaced = i % 2 != 0;
        nx_buffer png = make_png(&recipe, 37, 19);
        nx_image image = picture_decode(png.data, png.size, NULL);
        for (uint32_t y = 0; y < 19; y++) {
            for (uint32_t x = 0; x < 37; x++) {
                uint8_t rgb[3];
                expected_pixel(&recipe, x, y, rgb);
                assert_memory_equal(picture_pixel(&image, x, y), rgb, 3);
            }
        }
        nx_image_free(&image);
        nx_buffer_free(&png);
    }
}

/* Where the upright pixel x, y of a stored picture of width x height lies (EXIF 2.32, 4.6.4). */
static void stored_place(uint8_t orientation, uint32_t width, uint32_t height, uint32_t x,
                         uint32_t y, uint32_t *sx, uint32_t *sy)
{
    const uint32_t right = width - 1, bottom = height - 1;
    const uint32_t places[9][2] = {
        {0, 0}, {x, y},          {right - x, y},          {right - x, bottom - y}, {x, bottom - y},
        {y, x}, {y, bottom - x}, {right - y, bottom - x}, {right - y, x},
    };
    *sx = places[orientation][0];
    *sy = places[orientation][1];
}

static void assert_png_upright(uint8_t orientation, bool exif_behind_pixels)
{
    uint8_t exif[PICTURE_EXIF_SIZE];
    picture_make_exif(exif, orientation);
    /* sides that no tile or half of the turning code divides */
    const uint32_t width = 71, height = 45;
    png_recipe recipe = {.type = PNG_COLOR_TYPE_RGB,
                         .depth = 8,
                         .exif = exif,
                         .exif_size = sizeof exif,
                         .exif_behind_pixels = exif_behind_pixels};
    nx_buffer png = make_png(&recipe, width, height);
    nx_image_info info;
    nx_image image = picture_decode(png.data, png.size, &info);
    assert_int_equal(info.orientation, orientation);
    assert_int_equal(image.width, orientation < 5 ? width : height);
    assert_int_equal(image.height, orientation < 5 ? height : width);
    for (uint32_t y = 0; y < image.height; y++) {
        for (uint32_t x = 0; x < image.width; x++) {
            uint32_t sx = 0, sy = 0;
            uint8_t rgb[3];
            stored_place(orientation, width, height, x, y, &sx, &sy);
            expected_pixel(&recipe, sx, sy, rgb);
            assert_memory_equal(picture_pixel(&image, x, y), rgb, 3);
        }
    }
    nx_image_free(&image);
    nx_buffer_free(&png);
}

static void png_exif_orientations(void **state)
{
    (void)state;
    for (uint8_t orientation = 1; orientation <= 8; orientation++) {
        assert_png_upright(orientation, false);
        assert_png_upright(orientation, true);
    }
}

static void nonsense_exif_is_ignored(void **state)
{
    (void)state;
    uint8_t exif[PICTURE_EXIF_SIZE];
    png_recipe recipe = {.type = PNG_COLOR_TYPE_GRAY, .depth = 8, .exif = exif};
    for (size_t size = 0; size <= sizeof exif; size++) { /* cut short, then with value 9 */
        picture_make_exif(exif, 9);
        recipe.exif_size = size;
        nx_buffer png = make_png(&recipe, 5, 3);
        nx_image_info info;
        nx_image image = picture_decode(png.data, png.size, &info);
        assert_int_equal(info.orientation, 1);
        assert_int_equal(image.width, 5);
        nx_image_free(&image);
        nx_buffer_free(&png);
    }
}

static void damaged_png_says_where(void **state)
{
    (void)state;
    png_recipe recipe = {.type = PNG_COLOR_TYPE_RGB, .depth = 8};
    nx_buffer png = make_png(&recipe, 64, 64);
    png.data[png.size / 2] ^= 0x10;
    picture_assert_refused(png.data, png.size, NX_ERR_CORRUPT, "the PNG is damaged at row");
    png.data[png.size / 2] ^= 0x10;
    png.data[20] ^= 0x10; /* in IHDR, so that its checksum is wrong */
    picture_assert_refused(png.data, png.size, NX_ERR_CORRUPT, "the PNG's header is damaged");
    nx_buffer_free(&png);
}

/* 8000x8000 are declared, within the limit, and a few rows sent: what was not sent is not to cost
 * memory either. */
static void lying_header_costs_little(void **state)
{
    (void)state;
    png_recipe recipe = {.type = PNG_COLOR_TYPE_RGB, .depth = 8, .rows_sent = 4};
    nx_buffer png = make_png(&recipe, 8000, 8000);
    long before = picture_peak_memory_kb();
    picture_assert_refused(png.data, png.size, NX_ERR_CORRUPT, "of 8000: Not enough image data");
    /* the pixels would be 192 MB; AddressSanitizer's bookkeeping takes an eighth of them */
    assert_true(picture_peak_memory_kb() - before < 96 * 1024);
    nx_buffer_free(&png);
}

static void png_round_trip(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_image image = picture_gradient(123, 45);
    nx_image wide = picture_with_wide_rows(&image);
    nx_buffer out = NX_BUFFER_INIT;
    nx_buffer_append_str(&out, "kept");
    nx_assert_ok(nx_image_encode_png(&wide, &out, &err), err);
    assert_memory_equal(out.data, "kept", 4);
    nx_image_info info;
    nx_image decoded = picture_decode(out.data + 4, out.size - 4, &info);
    assert_int_equal(info.format, NX_IMAGE_PNG);
    picture_assert_equal(&decoded, &image);
    nx_image_free(&decoded);
    nx_image_free(&image);
    nx_image_free(&wide);
    nx_buffer_free(&out);
}

static void output_outgrows_any_guess(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_image image = picture_noise(700, 600);
    nx_buffer out = NX_BUFFER_INIT;
    nx_assert_ok(nx_image_encode_png(&image, &out, &err), err);
    assert_true(out.size > 1000000);
    nx_image decoded = picture_decode(out.data, out.size, NULL);
    picture_assert_equal(&decoded, &image);
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
    nx_image image = {.pixels = pixels, .width = UINT32_C(1) << 31, .height = 1};
    assert_int_equal(nx_image_encode_png(&image, &out, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "does not fit into a PNG");
    assert_int_equal(out.size, 4);

    out.failed = true; /* as after an allocation that failed */
    image = (nx_image){.pixels = pixels, .width = 1, .height = 1, .stride = 3};
    assert_int_equal(nx_image_encode_png(&image, &out, &err), NX_ERR_NO_MEMORY);
    assert_int_equal(out.size, 4);
    nx_buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_kinds_become_rgb),
        cmocka_unit_test(png_exif_orientations),
        cmocka_unit_test(nonsense_exif_is_ignored),
        cmocka_unit_test(damaged_png_says_where),
        cmocka_unit_test(lying_header_costs_little),
        cmocka_unit_test(png_round_trip),
        cmocka_unit_test(output_outgrows_any_guess),
        cmocka_unit_test(encoder_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
