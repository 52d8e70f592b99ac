#include "vision/mask.h"

#include <stdlib.h>

/* Seven groups of 5 bits hold any difference of two 32-bit runs. */
#define MAX_GROUPS 7

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

/* Reads one number at *at; false when the text is at fault. */
static bool read_number(const char *text, size_t size, size_t *at, int64_t *out)
{
    uint64_t value = 0;
    for (unsigned group = 0; group < MAX_GROUPS && *at < size; group++) {
        int c = (unsigned char)text[(*at)++] - 48;
        if (c < 0 || c > 63) {
            return false;
        }
        value |= (uint64_t)(c & 0x1f) << (5 * group);
        if ((c & 0x20) == 0) {
            if ((c & 0x10) != 0) {
                value |= ~UINT64_C(0) << (5 * (group + 1));
            }
            *out = (int64_t)value;
            return true;
        }
    }
    return false;
}

nx_status nx_rle_parse(const char *text, size_t size, uint32_t width, uint32_t height, nx_rle *out,
                       nx_error *err)
{
    uint64_t sum = 0;
    size_t at = 0;
    int64_t before[2] = {0, 0}; /* the last run and the one before it */
    nx_status status = begin_runs(width, height, out, err);
    for (size_t i = 0; at < size && status == NX_OK; i++) {
        int64_t value = 0;
        size_t start = at;
        if (!read_number(text, size, &at, &value)) {
            nx_rle_free(out);
            return nx_error_set(err, NX_ERR_INVALID,
                                "the mask's counts cannot be read at character %zu of %zu", start,
                                size);
        }
        value += i > 2 ? before[1] : 0; /* 36 bits and 32: no overflow */
        status = add_run(out, i, value, &sum, err);
        before[1] = before[0];
        before[0] = value;
    }
    return status == NX_OK ? end_runs(out, sum, err) : status;
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

double nx_rle_iou(const nx_rle *a, const nx_rle *b)
{
    if (a->width != b->width || a->height != b->height) {
        return 0;
    }
    uint64_t both = 0;
    uint64_t any = 0;
    size_t i = 0;
    size_t j = 0;
    uint64_t end_a = a->count > 0 ? a->counts[0] : 0;
    uint64_t end_b = b->count > 0 ? b->counts[0] : 0;
    for (uint64_t at = 0; i < a->count && j < b->count;) {
        uint64_t end = end_a < end_b ? end_a : end_b;
        any += i % 2 == 1 || j % 2 == 1 ? end - at : 0;
        both += i % 2 == 1 && j % 2 == 1 ? end - at : 0;
        at = end;
        if (end == end_a && ++i < a->count) {
            end_a += a->counts[i];
        }
        if (end == end_b && ++j < b->count) {
            end_b += b->counts[j];
        }
    }
    return any > 0 ? (double)both / (double)any : 0;
}
