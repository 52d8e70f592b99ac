/* Masks for tests, drawn as text. */
#ifndef NX_TESTS_MASKS_H
#define NX_TESTS_MASKS_H

#include "testing.h"

#include "vision/mask.h"

/* A mask from rows of '.' and '#'. */
static inline nx_mask mask_of(const char *const *rows, uint32_t height)
{
    nx_error err = {0};
    nx_mask mask;
    nx_assert_ok(nx_mask_alloc((uint32_t)strlen(rows[0]), height, &mask, &err), err);
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < mask.width; x++) {
            mask.bits[y * mask.width + x] = rows[y][x] == '#';
        }
    }
    return mask;
}

/* Its run lengths, pixel by pixel. */
static inline nx_rle rle_of(const nx_mask *mask)
{
    nx_rle rle = {.width = mask->width, .height = mask->height};
    for (uint32_t x = 0; x < mask->width; x++) {
        for (uint32_t y = 0; y < mask->height; y++) {
            assert_true(nx_rle_append(&rle, mask->bits[y * mask->width + x] != 0, 1));
        }
    }
    return rle;
}

#endif
