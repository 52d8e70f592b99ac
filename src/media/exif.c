#include "media/formats.h"

#include <libexif/exif-data.h>
#include <stdlib.h>
#include <string.h>

/* A JPEG segment holds no more, and libexif looks at no more. */
#define EXIF_MAX_BYTES 65534

static const uint8_t exif_header[6] = "Exif\0";

static uint8_t read_orientation(const ExifData *exif)
{
    const ExifEntry *entry = exif_content_get_entry(exif->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
    if (entry == NULL || entry->format != EXIF_FORMAT_SHORT || entry->components < 1 ||
        entry->size < 2) {
        return 1;
    }
    ExifShort value = exif_get_short(entry->data, exif_data_get_byte_order((ExifData *)exif));
    return value >= 1 && value <= 8 ? (uint8_t)value : 1;
}

static uint8_t parse(const uint8_t *data, size_t size)
{
    ExifData *exif = exif_data_new();
    if (exif == NULL) {
        return 1;
    }
    /* this option would add the tags that the specification wants and the picture lacks */
    exif_data_unset_option(exif, EXIF_DATA_OPTION_FOLLOW_SPECIFICATION);
    exif_data_load_data(exif, data, (unsigned int)size);
    uint8_t orientation = read_orientation(exif);
    exif_data_unref(exif);
    return orientation;
}

uint8_t nx_exif_orientation(const uint8_t *data, size_t size)
{
    if (size >= sizeof exif_header && memcmp(data, exif_header, sizeof exif_header) == 0) {
        return parse(data, size < EXIF_MAX_BYTES ? size : EXIF_MAX_BYTES);
    }
    /* PNG and WebP store the TIFF structure alone; libexif wants the header before it */
    size_t body =
        size < EXIF_MAX_BYTES - sizeof exif_header ? size : EXIF_MAX_BYTES - sizeof exif_header;
    uint8_t *copy = malloc(sizeof exif_header + body);
    if (copy == NULL) {
        return 1;
    }
    memcpy(copy, exif_header, sizeof exif_header);
    memcpy(copy + sizeof exif_header, data, body);
    uint8_t orientation = parse(copy, sizeof exif_header + body);
    free(copy);
    return orientation;
}
