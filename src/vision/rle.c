#include "vision/mask.h"

#include <stdlib.h>

void nx_rle_free(nx_rle *rle)
{
    if (rle != NULL) {
        free(rle->counts);
        *rle = (nx_rle){0};
    }
}

static bool push(nx_rle *rle, uint32_t length)
{
    if (rle->count == rle->capacity) {
        size_t capacity = rle->capacity == 0 ? 32 : rle->capacity * 2;
        uint32_t *counts = realloc(rle->counts, capacity * sizeof *counts);
        if (counts == NULL) {
            return false;
        }
        rle->counts = counts;
        rle->capacity = capacity;
    }
    rle->counts[rle->count++] = length;
    return true;
}

bool nx_rle_append(nx_rle *rle, bool value, uint32_t length)
{
    if (length == 0) {
        return true;
    }
    if (rle->count == 0 && value && !push(rle, 0)) {
        return false;
    }
    bool last = rle->count % 2 == 0; /* the value of the last run */
    if (rle->count > 0 && last == value) {
        rle->counts[rle->count - 1] += length;
        return true;
    }
    return push(rle, length);
}

/* --- runs from outside --------------------------------------------------------------------------
 */

static nx_status no_memory(nx_rle *rle, nx_error *err)
{
    nx_rle_free(rle);
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a mask's runs");
}

static nx_status begin_runs(uint32_t width, uint32_t height, nx_rle *out, nx_error *err)
{
    *out = (nx_rle){.width = width, .height = height};
    if (width == 0 || height == 0 || width > NX_MASK_MAX_SIDE || height > NX_MASK_MAX_SIDE) {
        return nx_error_set(err, NX_ERR_INVALID, "a mask cannot have %ux%u pixels", width, height);
    }
    return NX_OK;
}

/* Adds the run `index`; sum is of the runs before. */
static nx_status add_run(nx_rle *rle, size_t index, int64_t length, uint64_t *sum, nx_error *err)
{
    uint64_t pixels = (uint64_t)rle->width * rle->height;
    if (length < 0 || (uint64_t)length > pixels - *sum) {
        nx_error_set(err, NX_ERR_INVALID, "run %zu of the mask, %lld, leaves its %ux%u pixels",
                     index, (long long)length, rle->width, rle->height);
        nx_rle_free(rle);
        return NX_ERR_INVALID;
    }
    *sum += (uint64_t)length;
    return nx_rle_append(rle, index % 2 == 1, (uint32_t)length) ? NX_OK : no_memory(rle, err);
}

static nx_status end_runs(nx_rle *rle, uint64_t sum, nx_error *err)
{
    if (sum != (uint64_t)rle->width * rle->height) {
        nx_error_set(err, NX_ERR_INVALID, "the mask's runs make %llu pixels, not %ux%u",
                     (unsigned long long)sum, rle->width, rle->height);
        nx_rle_free(rle);
        return NX_ERR_INVALID;
    }
    return NX_OK;
}

nx_status nx_rle_from_counts(const uint32_t *counts, size_t count, uint32_t width, uint32_t height,
                             nx_rle *out, nx_error *err)
{
    uint64_t sum = 0;
    nx_status status = begin_runs(width, height, out, err);
    for (size_t i = 0; i < count && status == NX_OK; i++) {
        status = add_run(out, i, counts[i], &sum, err);
    }
    return status == NX_OK ? end_runs(out, sum, err) : status;
}

/* --- the string ---------------------------------------------------------------------------------
 */

void nx_rle_write(const nx_rle *rle, nx_buffer *out)
{
    for (size_t i = 0; i < rle->count; i++) {
        int64_t value = (int64_t)rle->counts[i] - (i > 2 ? (int64_t)rle->counts[i - 2] : 0);
        bool more = true;
        while (more) {
            int group = (int)(value & 0x1f);
            value >>= 5;
            more = value != ((group & 0x10) != 0 ? -1 : 0); /* the sign is not yet written */
            nx_buffer_append_char(out, (char)((group | (more ? 0x20 : 0)) + 48));
        }
    }
}

/* --- measures -----------------------------------------------------------------------------------
 */

uint32_t nx_rle_area(const nx_rle *rle)
{
    uint32_t area = 0;
    for (size_t i = 1; i < rle->count; i += 2) {
        area += rle->counts[i];
    }
    return area;
}

nx_mask_box nx_rle_box(const nx_rle *rle)
{
    nx_mask_box box = {UINT32_MAX, UINT32_MAX, 0, 0};
    uint64_t end = 0;
    for (size_t i = 0; i < rle->count; i++) {
        uint64_t start = end;
        end += rle->counts[i];
        if (i % 2 == 0 || start == end) {
            continue;
        }
        uint32_t left = (uint32_t)(start / rle->height);
        uint32_t right = (uint32_t)((end - 1) / rle->height) + 1;
        bool one_column = right - left == 1; /* a run through several touches top and bottom */
        uint32_t top = one_column ? (uint32_t)(start % rle->height) : 0;
        uint32_t bottom = one_column ? (uint32_t)((end - 1) % rle->height) + 1 : rle->height;
        box.left = left < box.left ? left : box.left;
        box.top = top < box.top ? top : box.top;
        box.right = right > box.right ? right : box.right;
        box.bottom = bottom > box.bottom ? bottom : box.bottom;
    }
    return box.right == 0 ? (nx_mask_box){0} : box;
}
