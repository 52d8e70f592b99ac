#include "media/formats.h"

#include <stdbool.h>
#include <string.h>

/* A tile of 32x32 pixels from each side stays in the first-level cache while it is transposed. */
#define TILE 32

static void swap_pixels(uint8_t *a, uint8_t *b)
{
    uint8_t kept[3];
    memcpy(kept, a, 3);
    memcpy(a, b, 3);
    memcpy(b, kept, 3);
}

static void mirror_rows(nx_image *image)
{
    for (uint32_t y = 0; y < image->height; y++) {
        uint8_t *left = image->pixels + y * image->stride;
        uint8_t *right = left + 3 * ((size_t)image->width - 1);
        for (; left < right; left += 3, right -= 3) {
            swap_pixels(left, right);
        }
    }
}

static void swap_rows(uint8_t *a, uint8_t *b, size_t size)
{
    uint8_t kept[4096];
    for (size_t done = 0; done < size; done += sizeof kept) {
        size_t piece = size - done < sizeof kept ? size - done : sizeof kept;
        memcpy(kept, a + done, piece);
        memcpy(a + done, b + done, piece);
        memcpy(b + done, kept, piece);
    }
}

static void turn_upside_down(nx_image *image)
{
    for (uint32_t y = 0; y < image->height / 2; y++) {
        swap_rows(image->pixels + y * image->stride,
                  image->pixels + (image->height - 1 - y) * image->stride,
                  3 * (size_t)image->width);
    }
}

/* to(x, y) = from(column y, row x), counted from the far side where a flip says so. */
static void transpose_tile(const nx_image *from, nx_image *to, uint32_t x0, uint32_t y0,
                           bool flip_columns, bool flip_rows)
{
    uint32_t x1 = to->width - x0 < TILE ? to->width : x0 + TILE;
    uint32_t y1 = to->height - y0 < TILE ? to->height : y0 + TILE;
    for (uint32_t y = y0; y < y1; y++) {
        size_t column = flip_columns ? from->width - 1 - y : y;
        uint8_t *pixel = to->pixels + y * to->stride + 3 * (size_t)x0;
        for (uint32_t x = x0; x < x1; x++, pixel += 3) {
            size_t row = flip_rows ? from->height - 1 - x : x;
            memcpy(pixel, from->pixels + row * from->stride + 3 * column, 3);
        }
    }
}

static nx_status transpose(nx_image *image, bool flip_columns, bool flip_rows, nx_error *err)
{
    nx_image turned = {0};
    nx_status status = nx_image_alloc(image->height, image->width, &turned, err);
    if (status != NX_OK) {
        return status;
    }
    /* counted in 64 bits: a side may be close to the end of 32 */
    for (uint64_t y = 0; y < turned.height; y += TILE) {
        for (uint64_t x = 0; x < turned.width; x += TILE) {
            transpose_tile(image, &turned, (uint32_t)x, (uint32_t)y, flip_columns, flip_rows);
        }
    }
    nx_image_free(image);
    *image = turned;
    return NX_OK;
}

/* EXIF 2.32, section 4.6.4 A, Orientation: where row 0 and column 0 of the stored picture lie. */
nx_status nx_image_orient(nx_image *image, uint8_t orientation, nx_error *err)
{
    if (nx_orientation_transposes(orientation)) {
        bool flip_columns = orientation == 7 || orientation == 8;
        bool flip_rows = orientation == 6 || orientation == 7;
        return transpose(image, flip_columns, flip_rows, err);
    }
    if (orientation == 2 || orientation == 3) {
        mirror_rows(image);
    }
    if (orientation == 3 || orientation == 4) {
        turn_upside_down(image);
    }
    return NX_OK;
}
