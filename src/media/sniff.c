#include "media/sniff.h"

#include "base/utf8.h"

#include <string.h>
#include <strings.h>

#define SNIFF_BYTES 512

static const char advice_convert[] = "convert it to one of these first";
static const char advice_video[] = "take single frames out of it first";
static const char advice_send_picture[] = "send the bytes of a picture";
static const char advice_base64[] =
    "decode it first, or send it as JSON with the base64 text in \"image\"";

/* The letters at one place that give a format away. */
typedef struct magic {
    size_t offset;
    const char *bytes;
    size_t size;
    const char *name;
    const char *advice;
} magic;

#define MAGIC(offset, bytes, name, advice)                                                         \
    {                                                                                              \
        offset, bytes, sizeof(bytes) - 1, name, advice                                             \
    }

static const magic magics[] = {
    MAGIC(0, "GIF87a", "a GIF image", advice_convert),
    MAGIC(0, "GIF89a", "a GIF image", advice_convert),
    MAGIC(0, "II*\0", "a TIFF image", advice_convert),
    MAGIC(0, "MM\0*", "a TIFF image", advice_convert),
    MAGIC(0, "II+\0", "a BigTIFF image", advice_convert),
    MAGIC(0, "MM\0+", "a BigTIFF image", advice_convert),
    MAGIC(4, "ftypavif", "an AVIF image", advice_convert),
    MAGIC(4, "ftypavis", "an AVIF image sequence", advice_convert),
    MAGIC(4, "ftyphei", "a HEIC image", advice_convert),
    MAGIC(4, "ftyphevc", "a HEIC image sequence", advice_convert),
    MAGIC(4, "ftypmif1", "a HEIF image", advice_convert),
    MAGIC(4, "ftypmsf1", "a HEIF image sequence", advice_convert),
    MAGIC(4, "ftyp", "an MP4 or QuickTime video", advice_video),
    MAGIC(0, "\xff\x0a", "a JPEG XL image", advice_convert),
    MAGIC(0, "\0\0\0\x0cJXL ", "a JPEG XL image", advice_convert),
    MAGIC(0, "\0\0\0\x0cjP  ", "a JPEG 2000 image", advice_convert),
    MAGIC(0, "\xff\x4f\xff\x51", "a JPEG 2000 codestream", advice_convert),
    MAGIC(0, "8BPS", "a Photoshop image", advice_convert),
    MAGIC(0, "\0\0\1\0", "an icon", advice_convert),
    MAGIC(0, "qoif", "a QOI image", advice_convert),
    MAGIC(0, "%PDF-", "a PDF document", "render its pages to pictures first"),
    MAGIC(0, "\x1a\x45\xdf\xa3", "a Matroska or WebM video", advice_video),
    MAGIC(8, "AVI LIST", "an AVI video", advice_video),
    MAGIC(0, "PK\3\4", "a ZIP archive", "unpack it first"),
    MAGIC(0, "\x1f\x8b", "gzip-compressed data", "unpack it first"),
    MAGIC(0, "\x28\xb5\x2f\xfd", "zstd-compressed data", "unpack it first"),
    MAGIC(0, "RIFF", "a RIFF file that is not WebP", advice_send_picture),
};

/* The same for text; leading blanks and the case of letters do not count. */
static const magic text_magics[] = {
    MAGIC(0, "data:", "a data: URL", advice_base64),
    MAGIC(0, "/9j/", "a JPEG in base64 text", advice_base64),
    MAGIC(0, "iVBORw0KGgo", "a PNG in base64 text", advice_base64),
    MAGIC(0, "UklGR", "a WebP in base64 text", advice_base64),
    MAGIC(0, "<svg", "an SVG drawing", "render it to a picture first"),
    MAGIC(0, "<!DOCTYPE html", "an HTML page", "send the picture itself, not a page that shows it"),
    MAGIC(0, "<html", "an HTML page", "send the picture itself, not a page that shows it"),
    MAGIC(0, "{", "JSON text", "send it with Content-Type: application/json, or send a picture"),
};

static nx_sniffed supported(nx_image_format format, const char *name)
{
    return (nx_sniffed){.supported = true, .format = format, .name = name, .advice = ""};
}

static nx_sniffed refused(const char *name, const char *advice)
{
    return (nx_sniffed){.name = name, .advice = advice};
}

static bool has(const uint8_t *data, size_t size, size_t offset, const char *bytes, size_t count)
{
    return size >= offset + count && memcmp(data + offset, bytes, count) == 0;
}

/* "BM" alone begins many texts too, so the size of the DIB header behind it has to fit. */
static bool is_bmp(const uint8_t *data, size_t size)
{
    static const uint8_t dib_sizes[] = {12, 40, 52, 56, 64, 108, 124};
    return has(data, size, 0, "BM", 2) && has(data, size, 15, "\0\0\0", 3) &&
           memchr(dib_sizes, data[14], sizeof dib_sizes) != NULL;
}

/* ModelProto begins with ir_version (field 1, a small number), then in practice a string field:
 * producer_name (2), producer_version (3), domain (4) or the graph (7). */
static bool is_onnx(const uint8_t *data, size_t size)
{
    return size >= 3 && data[0] == 0x08 && data[1] < 0x20 && data[2] != 0 &&
           memchr("\x12\x1a\x22\x3a", data[2], 4) != NULL;
}

static bool is_text_byte(uint8_t c)
{
    return c >= 0x20 ? c != 0x7f : memchr("\t\n\r\f", c, 4) != NULL;
}

/* UTF-8 without control characters but the usual blanks. The last character may be cut. */
static bool is_text(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t length =
            data[i] < 0x80 ? is_text_byte(data[i]) : nx_utf8_sequence(data + i, size - i);
        if (length == 0) {
            return data[i] >= 0x80 && size == SNIFF_BYTES && size - i < 4;
        }
        i += length;
    }
    return true;
}

static nx_sniffed sniff_text(const uint8_t *data, size_t size)
{
    size_t start = size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* byte order mark */
    while (start < size && memchr(" \t\r\n", data[start], 4) != NULL) {
        start++;
    }
    const char *text = (const char *)data + start;
    for (size_t i = 0; i < sizeof text_magics / sizeof text_magics[0]; i++) {
        const magic *m = &text_magics[i];
        if (size - start >= m->size && strncasecmp(text, m->bytes, m->size) == 0) {
            return refused(m->name, m->advice);
        }
    }
    if (size - start >= 5 && memcmp(text, "<?xml", 5) == 0) {
        return memmem(text, size - start, "<svg", 4) != NULL
                   ? refused("an SVG drawing", "render it to a picture first")
                   : refused("XML text", advice_send_picture);
    }
    return refused("text", advice_send_picture);
}

nx_sniffed nx_sniff(const uint8_t *data, size_t size)
{
    size = size < SNIFF_BYTES ? size : SNIFF_BYTES;
    if (has(data, size, 0, "\xff\xd8", 2)) {
        return supported(NX_IMAGE_JPEG, "a JPEG image");
    }
    if (has(data, size, 0, "\x89PNG", 4)) {
        return supported(NX_IMAGE_PNG, "a PNG image");
    }
    if (has(data, size, 0, "RIFF", 4) && has(data, size, 8, "WEBP", 4)) {
        return supported(NX_IMAGE_WEBP, "a WebP image");
    }
    if (is_bmp(data, size)) {
        return refused("a BMP image", advice_convert);
    }
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        const magic *m = &magics[i];
        if (has(data, size, m->offset, m->bytes, m->size)) {
            return refused(m->name, m->advice);
        }
    }
    if (is_onnx(data, size)) {
        return refused("an ONNX model", "give it as the model, and a picture as the input");
    }
    if (size > 0 && is_text(data, size)) {
        return sniff_text(data, size);
    }
    return refused("data of an unknown kind", advice_send_picture);
}
