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

/* For each output position the left source pixel and the weight of its right neighbour; positions
 * before the first and after the last centre take the edge pixel. */
static void source_position(uint32_t position, uint32_t out_size, uint32_t in_size, uint32_t *index,
                            float *weight)
{
    double at = (position + 0.5) * in_size / out_size - 0.5;
    if (at <= 0) {
        *index = 0;
        *weight = 0;
    } else if (at >= in_size - 1) {
        *index = in_size - 1;
        *weight = 0;
    } else {
        *index = (uint32_t)at;
        *weight = (float)(at - *index);
    }
    if (in_size > 1 && *index == in_size - 1) { /* keep index + 1 inside */
        *index = in_size - 2;
        *weight = 1;
    }
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

/* One allocation for the three arrays that a call needs. */
typedef struct scratch {
    float *row;
    float *weights;
    int32_t *offsets;
    void *memory;
} scratch;

static nx_status scratch_new(const nx_letterbox *box, const nx_image *image, scratch *out,
                             nx_error *err)
{
    size_t row_floats = (size_t)image->width * 3;
    size_t columns = box->width;
    float *memory = malloc((row_floats + 2 * columns) * sizeof *memory);
    if (memory == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to scale a picture of %ux%u pixels",
                            image->width, image->height);
    }
    _Static_assert(sizeof(int32_t) == sizeof(float), "one array serves both");
    *out = (scratch){
        .row = memory,
        .weights = memory + row_floats,
        .offsets = (int32_t *)(memory + row_floats + columns),
        .memory = memory,
    };
    for (uint32_t x = 0; x < box->width; x++) {
        uint32_t index = 0;
        source_position(x, box->width, image->width, &index, &out->weights[x]);
        out->offsets[x] = (int32_t)index * 3;
    }
    return NX_OK;
}

nx_status nx_letterbox_apply(const nx_letterbox *box, const nx_image *image, nx_pixel_layout layout,
                             float *tensor, nx_error *err)
{
    const nx_kernels_set *kernels = nx_kernels();
    scratch work = {0};
    nx_status status = scratch_new(box, image, &work, err);
    if (status != NX_OK) {
        return status;
    }
    float unit = layout == NX_PIXELS_RGB_UNIT ? 1.0F / 255.0F : 1.0F;
    size_t plane = (size_t)box->input_width * box->input_height;
    /* the planes in the order of the picture's channels: R, G, B */
    float *planes[3] = {tensor, tensor + plane, tensor + 2 * plane};
    if (layout == NX_PIXELS_BGR_BYTE) {
        planes[0] = tensor + 2 * plane;
        planes[2] = tensor;
    }
    for (int c = 0; c < 3; c++) {
        fill_padding(box, planes[c], NX_LETTERBOX_FILL * unit);
    }
    int32_t step = image->width > 1 ? 3 : 0;
    for (uint32_t y = 0; y < box->height; y++) {
        uint32_t index = 0;
        float weight = 0;
        source_position(y, box->height, image->height, &index, &weight);
        const uint8_t *upper = image->pixels + index * image->stride;
        const uint8_t *lower = image->height > 1 ? upper + image->stride : upper;
        kernels->blend_rows(upper, lower, weight, work.row, (size_t)image->width * 3);
        size_t at = ((size_t)box->top + y) * box->input_width + box->left;
        kernels->sample_row(work.row, work.offsets, work.weights, step, unit, planes[0] + at,
                            planes[1] + at, planes[2] + at, box->width);
    }
    free(work.memory);
    return NX_OK;
}
