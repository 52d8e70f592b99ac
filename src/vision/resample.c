#include "vision/resample.h"

#include "vision/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A filter along one axis, before it is laid out for its kernel. */
typedef struct axis {
    uint32_t in_size;
    uint32_t out_size;
    double ratio; /* source pixels for one of the result */
    double reach; /* of the triangle, in source pixels */
    double shift;
} axis;

static axis axis_of(uint32_t in_size, uint32_t out_size, double shift)
{
    double ratio = (double)in_size / out_size;
    return (axis){
        .in_size = in_size,
        .out_size = out_size,
        .ratio = ratio,
        .reach = ratio > 1 ? ratio : 1,
        .shift = shift,
    };
}

/* The source positions first..end-1 that one position of the result averages; at least one. */
static void span_of(const axis *a, uint32_t position, int64_t *first, int64_t *end)
{
    double centre = (position + 0.5) * a->ratio - a->shift;
    double low = centre - a->reach + 0.5;
    double high = centre + a->reach + 0.5;
    *first = low > 0 ? (int64_t)low : 0;
    *end = high < a->in_size ? (int64_t)high : a->in_size;
    *end = *end > *first ? *end : *first + 1; /* a shift may leave nothing at the edge */
}

static size_t most_taps(const axis *a)
{
    size_t most = 1;
    for (uint32_t i = 0; i < a->out_size; i++) {
        int64_t first = 0;
        int64_t end = 0;
        span_of(a, i, &first, &end);
        most = (size_t)(end - first) > most ? (size_t)(end - first) : most;
    }
    return most;
}

static double weight_at(const axis *a, uint32_t position, int64_t source)
{
    double centre = (position + 0.5) * a->ratio - a->shift;
    double weight = 1 - fabs(((double)source + 0.5 - centre) / a->reach);
    return weight > 0 ? weight : 0;
}

static double sum_of_weights(const axis *a, uint32_t position)
{
    int64_t first = 0;
    int64_t end = 0;
    double sum = 0;
    span_of(a, position, &first, &end);
    for (int64_t i = first; i < end; i++) {
        sum += weight_at(a, position, i);
    }
    return sum > 0 ? sum : 1;
}

/* Where a position's weights go: in chunks of taps that lie `distance` apart, and the low parts of
 * fine ones `low_after` behind the high ones; 0 if they are not fine. */
typedef struct places {
    size_t chunk;
    size_t distance;
    size_t low_after;
} places;

static int16_t clamp_weight(int32_t weight)
{
    return (int16_t)(weight < NX_WEIGHT_MOST ? weight : NX_WEIGHT_MOST);
}

/* What rounding the weights leaves over goes to the largest: they make NX_WEIGHT_ONE together. */
static void fill_coarse(const axis *a, uint32_t position, const places *to, int16_t *weights)
{
    int64_t first = 0;
    int64_t end = 0;
    span_of(a, position, &first, &end);
    double unit = NX_WEIGHT_ONE / sum_of_weights(a, position);
    int32_t left = NX_WEIGHT_ONE;
    int16_t *largest = weights;
    for (int64_t i = first; i < end; i++) {
        size_t t = (size_t)(i - first);
        int16_t *weight = &weights[t / to->chunk * to->distance + t % to->chunk];
        *weight = clamp_weight((int32_t)(weight_at(a, position, i) * unit + 0.5));
        left -= *weight;
        largest = *weight > *largest ? weight : largest;
    }
    *largest = clamp_weight(*largest + left);
}

/* Each weight is rounded for itself, as Pillow does it. */
static void fill_fine(const axis *a, uint32_t position, const places *to, int16_t *weights)
{
    int64_t first = 0;
    int64_t end = 0;
    span_of(a, position, &first, &end);
    double sum = sum_of_weights(a, position);
    for (int64_t i = first; i < end; i++) {
        size_t t = (size_t)(i - first);
        int16_t *weight = &weights[t / to->chunk * to->distance + t % to->chunk];
        int32_t whole = (int32_t)(weight_at(a, position, i) / sum * NX_FINE_ONE + 0.5);
        weight[0] = (int16_t)(whole >> NX_FINE_LOW_BITS);
        weight[to->low_after] = (int16_t)(whole & NX_FINE_LOW_MASK);
    }
}

/* The weights of one position; returns its first source position. */
static int32_t fill_weights(const axis *a, uint32_t position, const places *to, int16_t *weights)
{
    int64_t first = 0;
    int64_t end = 0;
    span_of(a, position, &first, &end);
    if (to->low_after > 0) {
        fill_fine(a, position, to, weights);
    } else {
        fill_coarse(a, position, to, weights);
    }
    return (int32_t)first;
}

struct nx_resampler {
    nx_plane plane;
    const nx_kernels_set *kernels;
    bool same_width; /* nothing to do along x: the filter would give back what it gets */
    bool same_height;
    nx_filter x;
    int32_t *x_first;
    int16_t *x_weights;
    size_t y_taps;
    int32_t *y_first;
    int16_t *y_weights;   /* of each row of the result, y_taps times parts */
    size_t parts;         /* of a weight: 2 if it is fine, else 1 */
    const uint8_t **rows; /* y_taps */
    uint8_t *ring;        /* y_taps rows that went through the x filter */
    size_t ring_stride;   /* whole groups, with slack */
    size_t row_bytes;     /* of the result */
    uint8_t *last_row;    /* of the source, with slack; its own may end where memory does */
    size_t filtered;      /* source rows below this one have been through the x filter */
};

static size_t round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static bool make_x(nx_resampler *r, const axis *a)
{
    size_t chunk = r->plane.rgb ? NX_RGB_CHUNK : NX_PLANE_CHUNK;
    size_t taps = round_up(most_taps(a), r->plane.rgb ? NX_RGB_TAPS : NX_PLANE_TAPS);
    size_t padded = round_up(a->out_size, NX_FILTER_GROUP);
    size_t group = taps * NX_FILTER_GROUP * r->parts;
    const places to = {
        .chunk = chunk,
        .distance = chunk * NX_FILTER_GROUP * r->parts,
        .low_after = chunk * NX_FILTER_GROUP * (r->parts - 1),
    };
    r->x_first = calloc(padded, sizeof *r->x_first);
    r->x_weights = calloc(padded / NX_FILTER_GROUP * group, sizeof *r->x_weights);
    if (r->x_first == NULL || r->x_weights == NULL) {
        return false;
    }
    for (size_t x = 0; x < a->out_size; x++) {
        size_t at = x / NX_FILTER_GROUP * group + x % NX_FILTER_GROUP * chunk;
        r->x_first[x] = fill_weights(a, (uint32_t)x, &to, r->x_weights + at);
    }
    r->x = (nx_filter){
        .first = r->x_first,
        .weights = r->x_weights,
        .groups = padded / NX_FILTER_GROUP,
        .taps = taps,
        .chunk = chunk,
    };
    return true;
}

static bool make_y(nx_resampler *r, const axis *a)
{
    size_t taps = round_up(most_taps(a), 2);
    const places to = {.chunk = taps, .distance = 0, .low_after = taps * (r->parts - 1)};
    r->y_taps = taps;
    r->y_first = calloc(a->out_size, sizeof *r->y_first);
    r->y_weights = calloc(a->out_size * taps * r->parts, sizeof *r->y_weights);
    r->rows = calloc(taps, sizeof *r->rows);
    if (r->y_first == NULL || r->y_weights == NULL || r->rows == NULL) {
        return false;
    }
    for (uint32_t y = 0; y < a->out_size; y++) {
        r->y_first[y] = fill_weights(a, y, &to, r->y_weights + y * taps * r->parts);
    }
    return true;
}

/* Bytes that the x filter may read of a row and beyond its end. */
static size_t row_with_slack(const nx_resampler *r)
{
    return (r->plane.width + r->x.taps) * (r->plane.rgb ? 3 : 1) + NX_FILTER_SLACK;
}

/* What the x filter reads and writes. */
static bool make_buffers(nx_resampler *r)
{
    size_t channels = r->plane.rgb ? 3 : 1;
    r->ring_stride = r->x.groups * NX_FILTER_GROUP * channels + NX_FILTER_SLACK;
    r->ring = calloc(r->y_taps, r->ring_stride);
    r->last_row = calloc(1, row_with_slack(r));
    return r->ring != NULL && r->last_row != NULL;
}

/* Only what the steps that there are need. */
static bool make_steps(nx_resampler *r, const axis *across, const axis *down)
{
    if (r->same_width && r->same_height) {
        return true;
    }
    return make_y(r, down) && (r->same_width || (make_x(r, across) && make_buffers(r)));
}

nx_status nx_resampler_new(const nx_plane *plane, uint32_t width, uint32_t height,
                           nx_resampler **out, nx_error *err)
{
    *out = NULL;
    const axis across = axis_of(plane->width, width, (double)plane->shift);
    const axis down = axis_of(plane->height, height, 0);
    nx_resampler *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->plane = *plane;
        r->parts = plane->rgb ? 2 : 1;
        r->row_bytes = (size_t)width * (plane->rgb ? 3 : 1);
        r->same_width = plane->width == width && plane->shift == 0;
        r->same_height = plane->height == height;
        r->kernels = nx_kernels();
    }
    if (r == NULL || !make_steps(r, &across, &down)) {
        nx_resampler_free(r);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to scale a picture of %ux%u pixels",
                            plane->width, plane->height);
    }
    *out = r;
    return NX_OK;
}

void nx_resampler_free(nx_resampler *r)
{
    if (r != NULL) {
        free(r->x_first);
        free(r->x_weights);
        free(r->y_first);
        free(r->y_weights);
        free(r->rows);
        free(r->ring);
        free(r->last_row);
        free(r);
    }
}

/* --- rows ---------------------------------------------------------------------------------------
 */

static const uint8_t *source_row(const nx_resampler *r, size_t row)
{
    return r->plane.bytes + row * r->plane.stride;
}

/* Such a row for the x filter, which reads beyond its end: into the rows behind it, or of a copy,
 * for the source's own may end where memory does. */
static const uint8_t *readable_row(const nx_resampler *r, size_t row)
{
    const nx_plane *plane = &r->plane;
    size_t whole = (size_t)plane->width * (plane->rgb ? 3 : 1);
    size_t until_end = (plane->height - 1 - row) * plane->stride + whole;
    if (until_end >= row_with_slack(r)) {
        return source_row(r, row);
    }
    memcpy(r->last_row, source_row(r, row), whole);
    return r->last_row;
}

/* The sum of rows, each as it is at `place`, for row y of the result. */
static void blend_rows(nx_resampler *r, uint32_t y,
                       const uint8_t *(*place)(const nx_resampler *r, size_t row), uint8_t *out,
                       size_t count)
{
    size_t first = (size_t)r->y_first[y];
    size_t height = r->plane.height;
    for (size_t t = 0; t < r->y_taps; t++) { /* beyond the last row the weight is zero */
        r->rows[t] = place(r, first + t < height ? first + t : height - 1);
    }
    (r->plane.rgb ? r->kernels->blend_rows_fine : r->kernels->blend_rows)(
        r->rows, r->y_weights + y * r->y_taps * r->parts, r->y_taps, out, count);
}

static const uint8_t *filtered_row(const nx_resampler *r, size_t row)
{
    return r->ring + row % r->y_taps * r->ring_stride;
}

/* Along x first, as Pillow does it; rows that were filtered stay in the ring for the next ones. */
static void make_row(nx_resampler *r, uint32_t y, uint8_t *out)
{
    size_t end = (size_t)r->y_first[y] + r->y_taps;
    end = end < r->plane.height ? end : r->plane.height;
    for (; r->filtered < end; r->filtered++) {
        uint8_t *to = r->ring + r->filtered % r->y_taps * r->ring_stride;
        (r->plane.rgb ? r->kernels->filter_rgb
                      : r->kernels->filter_plane)(readable_row(r, r->filtered), &r->x, to);
    }
    blend_rows(r, y, filtered_row, out, r->row_bytes);
}

void nx_resampler_row(nx_resampler *r, uint32_t y, uint8_t *out)
{
    if (r->same_width && r->same_height) {
        memcpy(out, source_row(r, y), r->row_bytes);
    } else if (r->same_width) {
        blend_rows(r, y, source_row, out, r->row_bytes);
    } else {
        make_row(r, y, out);
    }
}
