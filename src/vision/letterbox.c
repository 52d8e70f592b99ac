#include "vision/letterbox.h"

#include "vision/kernels.h"
#include "vision/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* --- where a row goes ---------------------------------------------------------------------------
 */

/* A tensor, and how it is written. */
typedef struct target {
    const nx_letterbox *box;
    nx_pixel_layout layout;
    void *tensor;
    const nx_kernels_set *kernels;
} target;

/* `count` elements from element `at` on get the padding's gray. */
static void fill_gray(const target *to, size_t at, size_t count)
{
    static const uint16_t half_gray = 0x3727; /* 114/255 in binary16 */
    float *numbers = to->tensor;
    uint16_t *halves = to->tensor;
    uint8_t *bytes = to->tensor;
    float gray = to->layout == NX_PIXELS_BGR_BYTE ? NX_LETTERBOX_FILL : NX_LETTERBOX_FILL / 255.0F;
    switch (to->layout) {
    case NX_PIXELS_RGB_UNIT:
    case NX_PIXELS_BGR_BYTE:
        for (size_t i = at; i < at + count; i++) {
            numbers[i] = gray;
        }
        break;
    case NX_PIXELS_RGB_UNIT_F16:
        for (size_t i = at; i < at + count; i++) {
            halves[i] = half_gray;
        }
        break;
    case NX_PIXELS_RGB_BYTE_NHWC:
        memset(bytes + at, NX_LETTERBOX_FILL, count);
        break;
    }
}

/* Gray above, below and beside the picture, in one plane of `channels` interleaved elements a pixel
 * from element `plane` on. */
static void fill_padding(const target *to, size_t plane, size_t channels)
{
    const nx_letterbox *box = to->box;
    size_t row = (size_t)box->input_width * channels;
    size_t left = (size_t)box->left * channels;
    size_t right = ((size_t)box->left + box->width) * channels;
    size_t below = (size_t)box->top + box->height;
    fill_gray(to, plane, row * box->top);
    for (size_t y = box->top; y < below; y++) {
        fill_gray(to, plane + y * row, left);
        fill_gray(to, plane + y * row + right, row - right);
    }
    fill_gray(to, plane + below * row, row * (box->input_height - below));
}

static void fill_all_padding(const target *to)
{
    size_t plane = (size_t)to->box->input_width * to->box->input_height;
    if (to->layout == NX_PIXELS_RGB_BYTE_NHWC) {
        fill_padding(to, 0, 3);
        return;
    }
    for (size_t c = 0; c < 3; c++) {
        fill_padding(to, c * plane, 1);
    }
}

/* Row y of the scaled picture to its place in a tensor of planes. */
static void put_row(const target *to, uint32_t y, const uint8_t *rgb)
{
    const nx_letterbox *box = to->box;
    size_t plane = (size_t)box->input_width * box->input_height;
    size_t at = ((size_t)box->top + y) * box->input_width + box->left;
    if (to->layout == NX_PIXELS_RGB_UNIT_F16) {
        uint16_t *halves = (uint16_t *)to->tensor + at;
        to->kernels->spread_half(
            rgb, (uint16_t *const[]){halves, halves + plane, halves + 2 * plane}, box->width);
        return;
    }
    bool bytes = to->layout == NX_PIXELS_BGR_BYTE;
    float *red = (float *)to->tensor + at + (bytes ? 2 * plane : 0);
    float *blue = (float *)to->tensor + at + (bytes ? 0 : 2 * plane);
    float *green = (float *)to->tensor + at + plane;
    to->kernels->spread(rgb, bytes ? 1.0F : 1.0F / 255.0F, (float *const[]){red, green, blue},
                        box->width);
}

/* Where the bytes of row y are to be made: in the tensor if it takes them as they are. */
static uint8_t *row_place(const target *to, uint32_t y, uint8_t *line)
{
    const nx_letterbox *box = to->box;
    size_t at = ((size_t)box->top + y) * box->input_width + box->left;
    return to->layout == NX_PIXELS_RGB_BYTE_NHWC ? (uint8_t *)to->tensor + 3 * at : line;
}

/* Calls make(source, y, rgb) for each row and puts it where it belongs. */
static nx_status make_rows(const target *to, void (*make)(void *source, uint32_t y, uint8_t *rgb),
                           void *source, nx_error *err)
{
    uint8_t *line = malloc((size_t)to->box->width * 3);
    if (line == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to scale a picture");
    }
    fill_all_padding(to);
    for (uint32_t y = 0; y < to->box->height; y++) {
        uint8_t *rgb = row_place(to, y, line);
        make(source, y, rgb);
        if (rgb == line) {
            put_row(to, y, rgb);
        }
    }
    free(line);
    return NX_OK;
}

static void make_image_row(void *source, uint32_t y, uint8_t *rgb)
{
    nx_resampler_row(source, y, rgb);
}

nx_status nx_letterbox_apply(const nx_letterbox *box, const nx_image *image, nx_pixel_layout layout,
                             void *tensor, nx_error *err)
{
    const target to = {.box = box, .layout = layout, .tensor = tensor, .kernels = nx_kernels()};
    const nx_plane plane = {
        .bytes = image->pixels,
        .stride = image->stride,
        .width = image->width,
        .height = image->height,
        .rgb = true,
    };
    nx_resampler *rows = NULL;
    nx_status status = nx_resampler_new(&plane, box->width, box->height, &rows, err);
    if (status == NX_OK) {
        status = make_rows(&to, make_image_row, rows, err);
    }
    nx_resampler_free(rows);
    return status;
}

/* --- video frames -------------------------------------------------------------------------------
 */

/* The equations of ITU-R BT.601, BT.709 and BT.2020 from their weights of red and blue in the luma.
 */
static nx_yuv_matrix matrix_of(const nx_yuv_frame *frame)
{
    double red = frame->bt2020 ? 0.2627 : frame->bt709 ? 0.2126 : 0.299;
    double blue = frame->bt2020 ? 0.0593 : frame->bt709 ? 0.0722 : 0.114;
    double green = 1 - red - blue;
    double one = 1 << NX_YUV_BITS;
    double luma = frame->full_range ? one : one * 255 / 219;
    double chroma = frame->full_range ? one : one * 255 / 224;
    return (nx_yuv_matrix){
        .y_offset = frame->full_range ? 0 : 16,
        .y_scale = (int32_t)lrint(luma),
        .v_red = (int32_t)lrint(2 * (1 - red) * chroma),
        .u_green = (int32_t)lrint(-2 * (1 - blue) * blue / green * chroma),
        .v_green = (int32_t)lrint(-2 * (1 - red) * red / green * chroma),
        .u_blue = (int32_t)lrint(2 * (1 - blue) * chroma),
    };
}

static nx_plane frame_plane(const nx_yuv_frame *frame, size_t number)
{
    bool chroma = number > 0;
    return (nx_plane){
        .bytes = frame->planes[number],
        .stride = frame->strides[number],
        .width = chroma ? (frame->width + 1) / 2 : frame->width,
        .height = chroma ? (frame->height + 1) / 2 : frame->height,
        .shift = chroma && frame->chroma_left ? -0.25F : 0,
    };
}

typedef struct frame_rows {
    nx_resampler *planes[3];
    uint8_t *line[3];
    nx_yuv_matrix matrix;
    uint32_t width;
} frame_rows;

static void make_frame_row(void *source, uint32_t y, uint8_t *rgb)
{
    frame_rows *rows = source;
    for (size_t i = 0; i < 3; i++) {
        nx_resampler_row(rows->planes[i], y, rows->line[i]);
    }
    nx_kernels()->yuv_to_rgb(rows->line[0], rows->line[1], rows->line[2], &rows->matrix, rgb,
                             rows->width);
}

nx_status nx_letterbox_apply_yuv(const nx_letterbox *box, const nx_yuv_frame *frame,
                                 nx_pixel_layout layout, void *tensor, nx_error *err)
{
    const target to = {.box = box, .layout = layout, .tensor = tensor, .kernels = nx_kernels()};
    frame_rows rows = {.matrix = matrix_of(frame), .width = box->width};
    nx_status status = NX_OK;
    for (size_t i = 0; i < 3 && status == NX_OK; i++) {
        const nx_plane plane = frame_plane(frame, i);
        status = nx_resampler_new(&plane, box->width, box->height, &rows.planes[i], err);
        rows.line[i] = malloc(box->width);
        if (status == NX_OK && rows.line[i] == NULL) {
            status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to scale a frame");
        }
    }
    if (status == NX_OK) {
        status = make_rows(&to, make_frame_row, &rows, err);
    }
    for (size_t i = 0; i < 3; i++) {
        nx_resampler_free(rows.planes[i]);
        free(rows.line[i]);
    }
    return status;
}
