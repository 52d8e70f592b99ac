/*
 * Masks of a segmentation head. The sigmoid is over a half where its argument is above 0, so the
 * coefficients times the protos are scaled as they are and compared with 0. Only the cells and
 * pixels of each box are computed.
 */
#include "vision/postprocess.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct cells {
    int32_t left, top, right, bottom; /* right and bottom are the first outside */
} cells;

static int32_t clamp(double value, int32_t limit)
{
    return value <= 0 ? 0 : value >= limit ? limit : (int32_t)value;
}

/* Pixels whose centres lie in the box. */
static nx_mask_box pixels_of(const nx_detection *d, const nx_letterbox *box)
{
    return (nx_mask_box){
        .left = (uint32_t)clamp(ceil((double)d->x1 - 0.5), (int32_t)box->source_width),
        .top = (uint32_t)clamp(ceil((double)d->y1 - 0.5), (int32_t)box->source_height),
        .right = (uint32_t)clamp(ceil((double)d->x2 - 0.5), (int32_t)box->source_width),
        .bottom = (uint32_t)clamp(ceil((double)d->y2 - 0.5), (int32_t)box->source_height),
    };
}

/* The cells that these pixels are interpolated from, by the grid over all cells; never none. */
static cells cells_of(nx_mask_box pixels, const nx_grid *grid)
{
    int32_t width = (int32_t)grid->width;
    int32_t height = (int32_t)grid->height;
    return (cells){
        .left = clamp(grid->x_offset + pixels.left * grid->x_step - 1, width - 1),
        .top = clamp(grid->y_offset + pixels.top * grid->y_step - 1, height - 1),
        .right = clamp(grid->x_offset + pixels.right * grid->x_step + 1, width - 1) + 1,
        .bottom = clamp(grid->y_offset + pixels.bottom * grid->y_step + 1, height - 1) + 1,
    };
}

/* All cells of the protos under the picture's pixels; values is NULL yet. */
static nx_grid whole_grid(const nx_head_output *head, const nx_letterbox *box)
{
    double across = (double)head->proto_width / head->input_width; /* cells of an input pixel */
    double down = (double)head->proto_height / head->input_height;
    return (nx_grid){
        .x_stride = 1,
        .width = (uint32_t)head->proto_width,
        .height = (uint32_t)head->proto_height,
        .x_offset = box->left * across,
        .y_offset = box->top * down,
        .x_step = (double)box->scale * across,
        .y_step = (double)box->scale * down,
    };
}

/* values[y][x] = sum over the channels of coefficient * proto, for these cells. */
static void fill_values(const nx_head_output *head, int32_t anchor, cells c, float *restrict values)
{
    size_t width = (size_t)(c.right - c.left);
    size_t height = (size_t)(c.bottom - c.top);
    size_t plane = (size_t)head->proto_width * (size_t)head->proto_height;
    memset(values, 0, width * height * sizeof *values);
    for (int32_t k = 0; k < head->proto_channels; k++) {
        size_t row = 4 + (size_t)head->classes + (size_t)k;
        float coefficient = head->data[row * (size_t)head->columns + (size_t)anchor];
        const float *from = head->protos + (size_t)k * plane +
                            (size_t)c.top * (size_t)head->proto_width + (size_t)c.left;
        for (size_t y = 0; y < height; y++) {
            const float *proto = from + y * (size_t)head->proto_width;
            for (size_t x = 0; x < width; x++) {
                values[y * width + x] += coefficient * proto[x];
            }
        }
    }
}

static nx_status mask_of(const nx_head_output *head, const nx_letterbox *box, const nx_detection *d,
                         float *values, nx_rle *out, nx_error *err)
{
    nx_grid grid = whole_grid(head, box);
    nx_mask_box pixels = pixels_of(d, box);
    cells c = cells_of(pixels, &grid);
    fill_values(head, d->anchor, c, values);
    grid.values = values;
    grid.width = (uint32_t)(c.right - c.left);
    grid.height = (uint32_t)(c.bottom - c.top);
    grid.y_stride = grid.width;
    grid.x_offset -= c.left;
    grid.y_offset -= c.top;
    return nx_rle_from_grid(&grid, box->source_width, box->source_height, pixels, out, err);
}

nx_status nx_segment_head_masks(const nx_head_output *head, const nx_letterbox *letterbox,
                                nx_detections *out, nx_error *err)
{
    if (out->count == 0) {
        return NX_OK;
    }
    nx_status status = NX_OK;
    float *values = malloc((size_t)head->proto_width * (size_t)head->proto_height * sizeof *values);
    out->masks = calloc(out->count, sizeof *out->masks);
    if (values == NULL || out->masks == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the masks");
    }
    for (size_t i = 0; i < out->count && status == NX_OK; i++) {
        status = mask_of(head, letterbox, &out->items[i], values, &out->masks[i], err);
        out->mask_count = i + 1;
    }
    free(values);
    return status;
}
