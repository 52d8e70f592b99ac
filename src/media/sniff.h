/* What some bytes are, judged by their first few, for messages that name what was sent. */
#ifndef NX_MEDIA_SNIFF_H
#define NX_MEDIA_SNIFF_H

#include "media/codec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_sniffed {
    bool supported;
    nx_image_format format; /* when supported */
    const char *name;       /* "a BMP image", "text", "data of an unknown kind"; never NULL */
    const char *advice;     /* what to do when it is not supported; never NULL */
} nx_sniffed;

/* size may be anything, 0 included. Looks at the first 512 bytes at most. */
nx_sniffed nx_sniff(const uint8_t *data, size_t size);

#endif
