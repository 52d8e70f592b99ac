#include "vision/mask.h"

#include <stdlib.h>
#include <string.h>

/* What is counted and what is set at a time: one column of the picture. */
typedef struct span {
    uint32_t column, first, end;
} span;

nx_status nx_mask_alloc(uint32_t width, uint32_t height, nx_mask *out, nx_error *err)
{
    *out = (nx_mask){0};
    if (width == 0 || height == 0 || width > NX_MASK_MAX_SIDE || height > NX_MASK_MAX_SIDE) {
        return nx_error_set(err, NX_ERR_INVALID, "a mask cannot have %ux%u pixels", width, height);
    }
    out->bits = calloc((size_t)width * height, 1);
    if (out->bits == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a mask of %ux%u pixels", width,
                            height);
    }
    out->width = width;
    out->height = height;
    return NX_OK;
}

void nx_mask_free(nx_mask *mask)
{
    if (mask != NULL) {
        free(mask->bits);
        *mask = (nx_mask){0};
    }
}

static void set_span(nx_mask *mask, span s)
{
    for (uint32_t y = s.first; y < s.end; y++) {
        mask->bits[(size_t)y * mask->width + s.column] = 1;
    }
}

nx_status nx_rle_decode(const nx_rle *rle, nx_mask *out, nx_error *err)
{
    nx_status status = nx_mask_alloc(rle->width, rle->height, out, err);
    uint64_t at = 0;
    for (size_t i = 0; i < rle->count && status == NX_OK; i++) {
        uint64_t end = at + rle->counts[i];
        for (uint64_t from = at; i % 2 == 1 && from < end;) {
            uint64_t column = from / rle->height;
            uint64_t next = (column + 1) * rle->height;
            uint64_t until = end < next ? end : next;
            set_span(out, (span){(uint32_t)column, (uint32_t)(from - column * rle->height),
                                 (uint32_t)(until - column * rle->height)});
            from = until;
        }
        at = end;
    }
    return status;
}
