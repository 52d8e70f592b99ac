/* WebP, on pictures made here. */
#include "pictures.h"

#include <webp/encode.h>

static void append_u32(nx_buffer *out, uint32_t value)
{
    const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                              (uint8_t)(value >> 24)};
    nx_buffer_append(out, bytes, 4);
}

static void append_chunk(nx_buffer *out, const char *type, const void *bytes, size_t size)
{
    nx_buffer_append(out, type, 4);
    append_u32(out, (uint32_t)size);
    nx_buffer_append(out, bytes, size);
    if (size % 2 != 0) {
        nx_buffer_append_char(out, '\0');
    }
}

/* An extended WebP file (RFC 9649, section 2.7) around the one chunk of a simple file. */
static nx_buffer make_webp(const nx_image *image, uint8_t flags, const uint8_t *exif,
                           size_t exif_size)
{
    uint8_t *simple = NULL;
    size_t size = WebPEncodeLosslessRGB(image->pixels, (int)image->width, (int)image->height,
                                        (int)image->stride, &simple);
    assert_true(size > 12);
    nx_buffer out = NX_BUFFER_INIT;
    const uint32_t w = image->width - 1, h = image->height - 1;
    const uint8_t header[10] = {flags,
                                0,
                                0,
                                0,
                                (uint8_t)w,
                                (uint8_t)(w >> 8),
                                (uint8_t)(w >> 16),
                                (uint8_t)h,
                                (uint8_t)(h >> 8),
                                (uint8_t)(h >> 16)};
    nx_buffer_append(&out, "RIFF\0\0\0\0WEBP", 12);
    append_chunk(&out, "VP8X", header, sizeof header);
    nx_buffer_append(&out, simple + 12, size - 12);
    if (exif != NULL) {
        append_chunk(&out, "EXIF", exif, exif_size);
    }
    uint32_t riff_size = (uint32_t)out.size - 8;
    memcpy(out.data + 4, &riff_size, 4); /* little-endian, as this machine is */
    WebPFree(simple);
    return out;
}

static void webp_exif_turns(void **state)
{
    (void)state;
    uint8_t exif[PICTURE_EXIF_SIZE];
    picture_make_exif(exif, 6);
    nx_image image = picture_gradient(31, 17);
    nx_buffer webp = make_webp(&image, 0x08, exif, sizeof exif);
    nx_image_info info;
    nx_image decoded = picture_decode(webp.data, webp.size, &info);
    assert_int_equal(info.orientation, 6);
    assert_int_equal(info.width, 17);
    assert_int_equal(info.height, 31);
    for (uint32_t y = 0; y < 31; y++) {
        for (uint32_t x = 0; x < 17; x++) {
            assert_memory_equal(picture_pixel(&decoded, x, y), picture_pixel(&image, y, 16 - x), 3);
        }
    }
    nx_image_free(&decoded);
    nx_image_free(&image);
    nx_buffer_free(&webp);
}

static void animated_webp_is_refused(void **state)
{
    (void)state;
    nx_image image = picture_gradient(31, 17);
    nx_buffer webp = make_webp(&image, 0x02, NULL, 0);
    picture_assert_refused(webp.data, webp.size, NX_ERR_UNSUPPORTED, "animated WebP");
    nx_image_free(&image);
    nx_buffer_free(&webp);
}

/* Sound from the outside: the sizes of the file and of its chunk fit what is there. */
static void damage_inside_is_told(void **state)
{
    (void)state;
    nx_image image = picture_gradient(61, 47);
    uint8_t *simple = NULL;
    size_t size = WebPEncodeLosslessRGB(image.pixels, 61, 47, (int)image.stride, &simple);
    assert_true(size > 120);
    nx_buffer cut = NX_BUFFER_INIT;
    nx_buffer_append(&cut, "RIFF\0\0\0\0WEBP", 12);
    append_chunk(&cut, "VP8L", simple + 20, 60);
    uint32_t riff_size = (uint32_t)cut.size - 8;
    memcpy(cut.data + 4, &riff_size, 4);
    picture_assert_refused(cut.data, cut.size, NX_ERR_CORRUPT, "cannot be decoded");
    WebPFree(simple);
    nx_buffer_free(&cut);
    nx_image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(webp_exif_turns),
        cmocka_unit_test(animated_webp_is_refused),
        cmocka_unit_test(damage_inside_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
