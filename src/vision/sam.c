#include "vision/sam.h"

#include <math.h>
#include <stdlib.h>

/* ImageNet's, in levels of 0..255. */
static const float channel_mean[3] = {123.675F, 116.28F, 103.53F};
static const float channel_deviation[3] = {58.395F, 57.12F, 57.375F};

/* The decoder's labels. */
enum { LABEL_PADDING = -1, LABEL_NEGATIVE = 0, LABEL_POSITIVE = 1, LABEL_TOP_LEFT = 2 };

/* --- prompts ------------------------------------------------------------------------------------
 */

nx_status nx_sam_prompt_add_point(nx_sam_prompt *prompt, nx_sam_point point, nx_error *err)
{
    if (!isfinite(point.x) || !isfinite(point.y)) {
        return nx_error_set(err, NX_ERR_INVALID, "a point's coordinates are not finite numbers");
    }
    if (prompt->point_count == NX_SAM_MAX_POINTS) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "there are more than %d points",
                            NX_SAM_MAX_POINTS);
    }
    prompt->points[prompt->point_count++] = point;
    return NX_OK;
}

nx_status nx_sam_prompt_add_box(nx_sam_prompt *prompt, nx_sam_box box, nx_error *err)
{
    if (!isfinite(box.x1) || !isfinite(box.y1) || !isfinite(box.x2) || !isfinite(box.y2)) {
        return nx_error_set(err, NX_ERR_INVALID, "a box's coordinates are not finite numbers");
    }
    if (!(box.x1 < box.x2 && box.y1 < box.y2)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the box %g,%g,%g,%g has no area: write its left, top, right and "
                            "bottom, in this order",
                            box.x1, box.y1, box.x2, box.y2);
    }
    if (prompt->box_count == NX_SAM_MAX_BOXES) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "there are more than %d boxes",
                            NX_SAM_MAX_BOXES);
    }
    prompt->boxes[prompt->box_count++] = box;
    return NX_OK;
}

/* Reads "1,2.5,3" into numbers; returns how many there are, 0 when it is anything else. */
static size_t read_numbers(const char *text, double *numbers, size_t capacity)
{
    static const char digits[] = "0123456789+-.eE";
    size_t count = 0;
    for (const char *at = text; count < capacity; at++) {
        char *end = NULL;
        at += *at == ' ';
        numbers[count] = strtod(at, &end);
        for (const char *c = at; c < end; c++) { /* not "nan", "inf" or "0x1p3" */
            bool known = false;
            for (const char *digit = digits; *digit != '\0'; digit++) {
                known = known || *c == *digit;
            }
            if (!known) {
                return 0;
            }
        }
        if (end == at || !isfinite(numbers[count])) {
            return 0;
        }
        count++;
        at = end;
        if (*at == '\0') {
            return count;
        }
        if (*at != ',') {
            return 0;
        }
    }
    return 0;
}

nx_status nx_sam_prompt_parse_point(nx_sam_prompt *prompt, const char *text, nx_error *err)
{
    double numbers[3] = {0, 0, 1};
    size_t count = read_numbers(text, numbers, 3);
    if (count < 2 || (numbers[2] != 0 && numbers[2] != 1)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "'%.60s' is not a point: write X,Y for one on the thing and X,Y,0 for "
                            "one beside it",
                            text);
    }
    return nx_sam_prompt_add_point(
        prompt, (nx_sam_point){.x = numbers[0], .y = numbers[1], .positive = numbers[2] == 1}, err);
}

nx_status nx_sam_prompt_parse_box(nx_sam_prompt *prompt, const char *text, nx_error *err)
{
    double numbers[4];
    if (read_numbers(text, numbers, 4) != 4) {
        return nx_error_set(err, NX_ERR_INVALID, "'%.60s' is not a box: write X1,Y1,X2,Y2", text);
    }
    return nx_sam_prompt_add_box(prompt,
                                 (nx_sam_box){numbers[0], numbers[1], numbers[2], numbers[3]}, err);
}

nx_status nx_sam_prompt_check(const nx_sam_prompt *prompt, nx_error *err)
{
    bool positive = prompt->box_count > 0;
    for (size_t i = 0; i < prompt->point_count; i++) {
        positive = positive || prompt->points[i].positive;
    }
    if (!positive) {
        return nx_error_set(err, NX_ERR_INVALID,
                            prompt->point_count == 0
                                ? "there is no point and no box to segment at"
                                : "every point is negative: at least one must be on the thing");
    }
    if (prompt->box_count > 1 && prompt->point_count > 0) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "points go with one box at most: with %zu boxes it is unclear which "
                            "they belong to",
                            prompt->box_count);
    }
    return NX_OK;
}

nx_status nx_sam_prompt_fit(nx_sam_prompt *prompt, uint32_t width, uint32_t height, nx_error *err)
{
    for (size_t i = 0; i < prompt->point_count; i++) {
        const nx_sam_point *p = &prompt->points[i];
        if (!(p->x >= 0 && p->x <= width && p->y >= 0 && p->y <= height)) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "the point %g,%g lies outside the picture of %ux%u pixels", p->x,
                                p->y, width, height);
        }
    }
    for (size_t i = 0; i < prompt->box_count; i++) {
        nx_sam_box *b = &prompt->boxes[i];
        const nx_sam_box given = *b;
        b->x1 = b->x1 > 0 ? b->x1 : 0;
        b->y1 = b->y1 > 0 ? b->y1 : 0;
        b->x2 = b->x2 < width ? b->x2 : width;
        b->y2 = b->y2 < height ? b->y2 : height;
        if (!(b->x1 < b->x2 && b->y1 < b->y2)) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "the box %g,%g,%g,%g lies outside the picture of %ux%u pixels",
                                given.x1, given.y1, given.x2, given.y2, width, height);
        }
    }
    return NX_OK;
}

size_t nx_sam_prompt_things(const nx_sam_prompt *prompt)
{
    return prompt->box_count > 1 ? prompt->box_count : 1;
}

size_t nx_sam_prompt_rows(const nx_sam_prompt *prompt, size_t thing, const nx_letterbox *letterbox,
                          float coords[2 * NX_SAM_MAX_ROWS], float labels[NX_SAM_MAX_ROWS])
{
    double across = (double)letterbox->width / letterbox->source_width;
    double down = (double)letterbox->height / letterbox->source_height;
    size_t rows = 0;
    for (size_t i = 0; i < prompt->point_count; i++, rows++) {
        coords[2 * rows] = (float)(prompt->points[i].x * across);
        coords[2 * rows + 1] = (float)(prompt->points[i].y * down);
        labels[rows] = prompt->points[i].positive ? LABEL_POSITIVE : LABEL_NEGATIVE;
    }
    if (thing < prompt->box_count) {
        const nx_sam_box *box = &prompt->boxes[thing];
        const double corners[2][2] = {{box->x1, box->y1}, {box->x2, box->y2}};
        for (size_t i = 0; i < 2; i++, rows++) {
            coords[2 * rows] = (float)(corners[i][0] * across);
            coords[2 * rows + 1] = (float)(corners[i][1] * down);
            labels[rows] = (float)(LABEL_TOP_LEFT + (int)i);
        }
    } else { /* the export expects it wherever there is no box */
        coords[2 * rows] = 0;
        coords[2 * rows + 1] = 0;
        labels[rows++] = LABEL_PADDING;
    }
    return rows;
}

/* --- pictures and masks -------------------------------------------------------------------------
 */

/* Half up, as the reference does; at least one pixel. */
static uint32_t scaled(uint32_t pixels, double scale)
{
    double rounded = floor(pixels * scale + 0.5);
    return rounded < 1 ? 1 : rounded > NX_SAM_SIDE ? NX_SAM_SIDE : (uint32_t)rounded;
}

nx_letterbox nx_sam_letterbox(uint32_t source_width, uint32_t source_height)
{
    nx_letterbox box =
        nx_letterbox_fit(source_width, source_height, NX_SAM_SIDE, NX_SAM_SIDE, false);
    uint32_t longer = source_width > source_height ? source_width : source_height;
    double scale = (double)NX_SAM_SIDE / longer;
    box.width = scaled(source_width, scale);
    box.height = scaled(source_height, scale);
    return box;
}

nx_status nx_sam_preprocess(const nx_letterbox *letterbox, const nx_image *image, float *tensor,
                            nx_error *err)
{
    nx_status status = nx_letterbox_apply(letterbox, image, NX_PIXELS_RGB_UNIT, tensor, err);
    size_t plane = (size_t)NX_SAM_SIDE * NX_SAM_SIDE;
    for (size_t c = 0; c < 3 && status == NX_OK; c++) {
        float factor = 255 / channel_deviation[c];
        float shift = channel_mean[c] / channel_deviation[c];
        for (size_t y = 0; y < NX_SAM_SIDE; y++) {
            float *row = tensor + c * plane + y * NX_SAM_SIDE;
            size_t width = y < letterbox->height ? letterbox->width : 0;
            for (size_t x = 0; x < width; x++) {
                row[x] = row[x] * factor - shift;
            }
            for (size_t x = width; x < NX_SAM_SIDE; x++) { /* padding comes after normalising */
                row[x] = 0;
            }
        }
    }
    return status;
}

size_t nx_sam_choose(const float scores[4], size_t rows)
{
    if (rows > 2) { /* more than one point, or a box and points */
        return 0;
    }
    size_t best = 1;
    for (size_t i = 2; i < 4; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}

/* Columns of the mask at the encoder's scale, one behind the other: from 256 to width x height of
 * the letterbox. */
static void enlarge(const float *low_res, const nx_letterbox *box, float *columns)
{
    const float step = (float)NX_SAM_MASK_SIDE / NX_SAM_SIDE;
    const int32_t last = NX_SAM_MASK_SIDE - 1;
    for (uint32_t x = 0; x < box->width; x++) {
        float at_x = ((float)x + 0.5F) * step - 0.5F;
        at_x = at_x > 0 ? at_x : 0;
        int32_t left = (int32_t)at_x;
        int32_t right = left < last ? left + 1 : last;
        float part_x = at_x - (float)left;
        for (uint32_t y = 0; y < box->height; y++) {
            float at_y = ((float)y + 0.5F) * step - 0.5F;
            at_y = at_y > 0 ? at_y : 0;
            int32_t top = (int32_t)at_y;
            const float *above = low_res + (size_t)top * NX_SAM_MASK_SIDE;
            const float *below = top < last ? above + NX_SAM_MASK_SIDE : above;
            float part_y = at_y - (float)top;
            float a = above[left] + (above[right] - above[left]) * part_x;
            float b = below[left] + (below[right] - below[left]) * part_x;
            columns[(size_t)x * box->height + y] = a + (b - a) * part_y;
        }
    }
}

nx_status nx_sam_mask(const float *low_res, const nx_letterbox *letterbox, nx_rle *out,
                      nx_error *err)
{
    *out = (nx_rle){0};
    uint32_t width = letterbox->source_width;
    uint32_t height = letterbox->source_height;
    float *columns = malloc((size_t)letterbox->width * letterbox->height * sizeof *columns);
    if (columns == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a mask");
    }
    enlarge(low_res, letterbox, columns);
    const nx_grid grid = {
        .values = columns,
        .x_stride = letterbox->height,
        .y_stride = 1,
        .width = letterbox->width,
        .height = letterbox->height,
        .x_step = (double)letterbox->width / width,
        .y_step = (double)letterbox->height / height,
    };
    nx_status status =
        nx_rle_from_grid(&grid, width, height, (nx_mask_box){0, 0, width, height}, out, err);
    free(columns);
    return status;
}
