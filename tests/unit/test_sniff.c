/* What is not supported is named. */
#include "pictures.h"

typedef struct strange {
    const char *bytes;
    size_t size;
    const char *name;
} strange;

#define STRANGE(bytes, name)                                                                       \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, name                                                             \
    }

static const strange stranges[] = {
    STRANGE("GIF89a\1\0\1\0", "a GIF image"),
    STRANGE("BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "a BMP image"),
    STRANGE("BMW is a car maker, long", "this is text"),
    STRANGE("II*\0\x08\0\0\0", "a TIFF image"),
    STRANGE("MM\0+\0\x08\0\0", "a BigTIFF image"),
    STRANGE("\0\0\0\x1c"
            "ftypavif\0\0\0\0",
            "an AVIF image"),
    STRANGE("\0\0\0\x18"
            "ftypheic\0\0\0\0",
            "a HEIC image"),
    STRANGE("\0\0\0\x18"
            "ftypmif1\0\0\0\0",
            "a HEIF image"),
    STRANGE("\0\0\0\x18"
            "ftypisom\0\0\2\0",
            "an MP4 or QuickTime video"),
    STRANGE("\xff\x0a\x7f", "a JPEG XL image"),
    STRANGE("\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    STRANGE("\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    STRANGE("%PDF-1.7\n", "a PDF document"),
    STRANGE("<?xml version=\"1.0\"?>\n<svg>", "an SVG drawing"),
    STRANGE("  <svg xmlns=''>", "an SVG drawing"),
    STRANGE("<?xml version=\"1.0\"?><a/>", "XML text"),
    STRANGE("\xef\xbb\xbf<!doctype HTML>", "an HTML page"),
    STRANGE("{\"image\": \"/9j/\"}", "JSON text"),
    STRANGE("data:image/png;base64,iVBORw0KGgo", "a data: URL"),
    STRANGE("/9j/4AAQSkZJRg", "a JPEG in base64 text"),
    STRANGE("iVBORw0KGgoAAAA", "a PNG in base64 text"),
    STRANGE("\x08\x08\x12\x07pytorch", "an ONNX model"),
    STRANGE("PK\3\4\x14", "a ZIP archive"),
    STRANGE("\x1f\x8b\x08", "gzip-compressed data"),
    STRANGE("\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    STRANGE("RIFF\x24\0\0\0WAVEfmt ", "a RIFF file that is not WebP"),
    STRANGE("RIFF\x24\0\0\0AVI LIST", "an AVI video"),
    STRANGE("hello", "this is text"),
    STRANGE("\0", "data of an unknown kind"),
    STRANGE("\xff", "data of an unknown kind"),
    STRANGE("\x89PN", "data of an unknown kind"),
};

static void other_formats_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < NX_COUNT(stranges); i++) {
        const strange *s = &stranges[i];
        char *copy = malloc(s->size); /* of exactly this size, for AddressSanitizer */
        assert_non_null(copy);
        memcpy(copy, s->bytes, s->size);
        picture_assert_refused(copy, s->size, NX_ERR_UNSUPPORTED, s->name);
        picture_assert_refused(copy, s->size, NX_ERR_UNSUPPORTED, "JPEG, PNG and WebP");
        free(copy);
    }
    picture_assert_refused(NULL, 0, NX_ERR_CORRUPT, "the image is empty (0 bytes)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_formats_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
