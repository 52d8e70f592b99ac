#include "vision/letterbox.h"

#include "vision/kernels.h"

#include <math.h>
#include <stdlib.h>

static uint32_t clamp_side(double value, uint32_t limit)
{
    /* nearbyint rounds half to even, as Python's round() does in the reference implementations */
    double rounded = nearbyint(value);
    if (rounded < 1) {
        return 1;
    }
    return rounded > (double)limit ? limit : (uint32_t)rounded;
}

nx_letterbox nx_letterbox_fit(uint32_t source_width, uint32_t source_height, uint32_t input_width,
                              uint32_t input_height, bool centered)
{
    double scale_x = (double)input_width / source_width;
    double scale_y = (double)input_height / source_height;
    double scale = scale_x < scale_y ? scale_x : scale_y;
    nx_letterbox box = {
        .source_width = source_width,
        .source_height = source_height,
        .input_width = input_width,
        .input_height = input_height,
        .width = clamp_side(source_width * scale, input_width),
        .height = clamp_side(source_height * scale, input_height),
        .scale = (float)scale,
    };
    if (centered) { /* an odd pixel of padding goes to the right and to the bottom */
        box.left = (input_width - box.width) / 2;
        box.top = (input_height - box.height) / 2;
    }
    return box;
}

static uint32_t round_up(uint32_t value, uint32_t stride)
{
    return (value + stride - 1) / stride * stride;
}

void nx_letterbox_dynamic_size(uint32_t source_width, uint32_t source_height, uint32_t size,
                               uint32_t stride, uint32_t *out_width, uint32_t *out_height)
{
    uint32_t longer = source_width > source_height ? source_width : source_height;
    double scale = (double)size / longer;
    *out_width = round_up(clamp_side(source_width * scale, size), stride);
    *out_height = round_up(clamp_side(source_height * scale, size), stride);
}

static void fill(float *from, size_t count, float value)
{
    for (size_t i = 0; i < count; i++) {
        from[i] = value;
    }
}

/* Gray above, below and beside the picture, in one plane. */
static void fill_padding(const nx_letterbox *box, float *plane, float value)
{
    size_t width = box->input_width;
    size_t right = (size_t)box->left + box->width;
    fill(plane, width * box->top, value);
    for (size_t y = box->top; y < (size_t)box->top + box->height; y++) {
        fill(plane + y * width, box->left, value);
        fill(plane + y * width + right, width - right, value);
    }
    size_t below = (size_t)box->top + box->height;
    fill(plane + below * width, width * (box->input_height - below), value);
}

/*
 * A triangle filter along one axis, as wide as the reduction, so that a picture scaled down is
 * averaged and not sampled ("antialiased bilinear"; the same coefficients and rounding to bytes as
 * Pillow's BILINEAR, with which the reference detections were made). When scaling up it is plain
 * bilinear interpolation.
 */
typedef struct filter {
    int32_t taps;   /* weights for each output position */
    int32_t *first; /* first source position of each output position */
    float *weights; /* out_size x taps; zero beyond the filter's end */
} filter;

static void free_filter(filter *f)
{
    free(f->first);
    free(f->weights);
}

/* The source positions first..end-1 that one output position averages. */
static void filter_span(uint32_t position, double ratio, uint32_t in_size, int64_t *first,
                        int64_t *end)
{
    double reach = ratio > 1 ? ratio : 1;
    double centre = (position + 0.5) * ratio;
    double low = centre - reach + 0.5;
    double high = centre + reach + 0.5;
    *first = low > 0 ? (int64_t)low : 0;
    *end = high < in_size ? (int64_t)high : in_size;
}

/* Weights of one output position, normalised over the span. */
static void fill_weights(filter *f, uint32_t position, double ratio, uint32_t in_size)
{
    double reach = ratio > 1 ? ratio : 1;
    double centre = (position + 0.5) * ratio;
    int64_t first = 0;
    int64_t end = 0;
    double sum = 0;
    float *weights = f->weights + (size_t)position * (size_t)f->taps;
    filter_span(position, ratio, in_size, &first, &end);
    for (int pass = 0; pass < 2; pass++) { /* the sum first, then the weights */
        for (int64_t i = first; i < end; i++) {
            double weight = 1 - fabs(((double)i + 0.5 - centre) / reach);
            weight = weight > 0 ? weight : 0;
            if (pass == 0) {
                sum += weight;
            } else {
                weights[i - first] = (float)(weight / sum);
            }
        }
    }
    f->first[position] = (int32_t)first;
}

static bool make_filter(uint32_t in_size, uint32_t out_size, filter *out)
{
    double ratio = (double)in_size / out_size;
    *out = (filter){.taps = 1};
    for (uint32_t i = 0; i < out_size; i++) {
        int64_t first = 0;
        int64_t end = 0;
        filter_span(i, ratio, in_size, &first, &end);
        out->taps = end - first > out->taps ? (int32_t)(end - first) : out->taps;
    }
    out->first = malloc(out_size * sizeof *out->first);
    out->weights = calloc((size_t)out_size * (size_t)out->taps, sizeof *out->weights);
    if (out->first == NULL || out->weights == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < out_size; i++) {
        fill_weights(out, i, ratio, in_size);
    }
    return true;
}

/* The state of one call: both filters, and a ring of source rows that went through the x filter. */
typedef struct resampler {
    const nx_image *image;
    const nx_kernels_set *kernels;
    filter x, y;
    float *wide;       /* one source row as floats, with slack for filter_row */
    float *ring;       /* y.taps rows of three planes of `width` floats */
    size_t plane_size; /* floats from plane to plane in a ring row */
    int64_t filtered;  /* source rows below this one have been through the x filter */
} resampler;

static void resampler_free(resampler *r)
{
    free_filter(&r->x);
    free_filter(&r->y);
    free(r->wide);
    free(r->ring);
}

static bool resampler_new(const nx_letterbox *box, const nx_image *image, resampler *out)
{
    *out = (resampler){
        .image = image, .kernels = nx_kernels(), .plane_size = box->width, .filtered = 0};
    bool ok = make_filter(image->width, box->width, &out->x);
    ok = make_filter(image->height, box->height, &out->y) && ok;
    if (ok) {
        size_t wide = ((size_t)image->width + (size_t)out->x.taps) * 3 + 4;
        out->wide = calloc(wide, sizeof *out->wide);
        out->ring = calloc((size_t)out->y.taps * 3 * out->plane_size, sizeof *out->ring);
    }
    return ok && out->wide != NULL && out->ring != NULL;
}

static float *ring_plane(const resampler *r, int64_t source_row, int channel)
{
    size_t slot = (size_t)(source_row % r->y.taps);
    return r->ring + (slot * 3 + (size_t)channel) * r->plane_size;
}

/* Brings the source rows below `end` through the x filter; older ones leave the ring. */
static void filter_rows_until(resampler *r, int64_t end)
{
    const nx_image *image = r->image;
    for (; r->filtered < end; r->filtered++) {
        float *const planes[3] = {
            ring_plane(r, r->filtered, 0),
            ring_plane(r, r->filtered, 1),
            ring_plane(r, r->filtered, 2),
        };
        r->kernels->widen(image->pixels + (size_t)r->filtered * image->stride, r->wide,
                          (size_t)image->width * 3);
        r->kernels->filter_row(r->wide, r->x.first, r->x.weights, r->x.taps, planes, r->plane_size);
    }
}

/* One output row of every plane. planes are in the order of the picture's channels. */
static void resample_row(resampler *r, uint32_t y, float unit, float *const planes[3],
                         const float **rows)
{
    int64_t first = r->y.first[y];
    int64_t end = first + r->y.taps;
    int64_t height = r->image->height;
    filter_rows_until(r, end < height ? end : height);
    for (int c = 0; c < 3; c++) {
        for (int64_t t = 0; t < r->y.taps; t++) { /* beyond the last row the weight is zero */
            int64_t row = first + t < height ? first + t : height - 1;
            rows[t] = ring_plane(r, row, c);
        }
        r->kernels->combine_rows(rows, r->y.weights + (size_t)y * (size_t)r->y.taps, r->y.taps,
                                 unit, planes[c], r->plane_size);
    }
}

nx_status nx_letterbox_apply(const nx_letterbox *box, const nx_image *image, nx_pixel_layout layout,
                             float *tensor, nx_error *err)
{
    resampler r;
    nx_status status = NX_OK;
    const float **rows = NULL;
    if (resampler_new(box, image, &r)) {
        rows = calloc((size_t)r.y.taps, sizeof *rows);
    }
    if (rows == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to scale a picture of %ux%u pixels",
                              image->width, image->height);
        goto done;
    }
    bool bytes = layout == NX_PIXELS_BGR_BYTE;
    float unit = bytes ? 1.0F : 1.0F / 255.0F;
    float gray = bytes ? NX_LETTERBOX_FILL : NX_LETTERBOX_FILL / 255.0F;
    size_t plane = (size_t)box->input_width * box->input_height;
    float *planes[3] = {tensor, tensor + plane, tensor + 2 * plane};
    if (bytes) {
        planes[0] = tensor + 2 * plane;
        planes[2] = tensor;
    }
    for (int c = 0; c < 3; c++) {
        fill_padding(box, planes[c], gray);
    }
    for (uint32_t y = 0; y < box->height; y++) {
        size_t at = ((size_t)box->top + y) * box->input_width + box->left;
        float *const row[3] = {planes[0] + at, planes[1] + at, planes[2] + at};
        resample_row(&r, y, unit, row, rows);
    }

done:
    free(rows);
    resampler_free(&r);
    return status;
}
