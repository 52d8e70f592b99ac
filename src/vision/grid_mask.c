/*
 * Masks from scaled grids, column by column. Between two cells of one sign a bilinear value keeps
 * that sign, so only where the sign changes are single pixels looked at: the time goes with the
 * outline and not with the area.
 */
#include "vision/mask.h"

#include <math.h>
#include <stdlib.h>

/* A pixel between two cells of an axis. */
typedef struct place {
    uint32_t cell; /* the next one is cell + 1, or the same at the end */
    float part;    /* of the next one, 0..1 */
} place;

static place place_of(uint32_t pixel, double offset, double step, uint32_t cells)
{
    double at = offset + (pixel + 0.5) * step - 0.5;
    at = at > 0 ? at : 0;
    at = at < cells - 1 ? at : cells - 1;
    uint32_t cell = (uint32_t)at;
    return (place){cell, (float)(at - cell)};
}

/* Pixel rows of `within` that lie between the same two cells. */
typedef struct segment {
    uint32_t from, to;
} segment;

typedef struct work {
    const nx_grid *grid;
    nx_mask_box within;
    place *rows; /* of each pixel row of `within` */
    segment *segments;
    size_t segment_count;
    float *column;
    nx_rle *out;
} work;

static void fill_column(const work *w, uint32_t x)
{
    const nx_grid *g = w->grid;
    place at = place_of(x, g->x_offset, g->x_step, g->width);
    size_t next = at.cell + 1 < g->width ? g->x_stride : 0;
    const float *from = g->values + at.cell * g->x_stride;
    uint32_t last = w->rows[w->within.bottom - w->within.top - 1].cell + 1;
    for (uint32_t y = w->rows[0].cell; y <= last && y < g->height; y++) {
        const float *value = from + y * g->y_stride;
        w->column[y] = value[0] + (value[next] - value[0]) * at.part;
    }
    w->column[g->height] = w->column[g->height - 1]; /* what lies behind the last cell */
}

static bool append_segment(const work *w, uint32_t from, uint32_t to)
{
    const place *rows = w->rows;
    float above = w->column[rows[from].cell];
    float below = w->column[rows[from].cell + 1];
    if ((above > 0) == (below > 0)) {
        return nx_rle_append(w->out, above > 0, to - from);
    }
    bool ok = true;
    for (uint32_t y = from; y < to && ok; y++) {
        ok = nx_rle_append(w->out, above + (below - above) * rows[y].part > 0, 1);
    }
    return ok;
}

static bool append_column(const work *w)
{
    bool ok = nx_rle_append(w->out, false, w->within.top);
    for (size_t i = 0; i < w->segment_count && ok; i++) {
        ok = append_segment(w, w->segments[i].from, w->segments[i].to);
    }
    return ok && nx_rle_append(w->out, false, w->out->height - w->within.bottom);
}

static void find_rows(work *w)
{
    uint32_t count = w->within.bottom - w->within.top;
    for (uint32_t y = 0; y < count; y++) {
        w->rows[y] =
            place_of(w->within.top + y, w->grid->y_offset, w->grid->y_step, w->grid->height);
        if (y == 0 || w->rows[y].cell != w->rows[y - 1].cell) {
            w->segments[w->segment_count++].from = y;
        }
        w->segments[w->segment_count - 1].to = y + 1;
    }
}

static bool append_empty_columns(nx_rle *out, uint32_t count)
{
    return nx_rle_append(out, false, count * out->height); /* sides below 2^16: it fits */
}

static bool fill_runs(work *w)
{
    find_rows(w);
    bool ok = append_empty_columns(w->out, w->within.left);
    for (uint32_t x = w->within.left; x < w->within.right && ok; x++) {
        fill_column(w, x);
        ok = append_column(w);
    }
    return ok && append_empty_columns(w->out, w->out->width - w->within.right);
}

nx_status nx_rle_from_grid(const nx_grid *grid, uint32_t width, uint32_t height, nx_mask_box within,
                           nx_rle *out, nx_error *err)
{
    *out = (nx_rle){.width = width, .height = height};
    if (width == 0 || height == 0 || width > NX_MASK_MAX_SIDE || height > NX_MASK_MAX_SIDE ||
        grid->width == 0 || grid->height == 0) {
        return nx_error_set(err, NX_ERR_INVALID, "a mask cannot have %ux%u pixels from %ux%u cells",
                            width, height, grid->width, grid->height);
    }
    within.right = within.right < width ? within.right : width;
    within.bottom = within.bottom < height ? within.bottom : height;
    bool ok = true;
    if (within.left >= within.right || within.top >= within.bottom) {
        ok = append_empty_columns(out, width);
    } else {
        work w = {.grid = grid, .within = within, .out = out};
        w.rows = calloc(within.bottom - within.top, sizeof *w.rows);
        w.segments = calloc(within.bottom - within.top, sizeof *w.segments);
        w.column = calloc((size_t)grid->height + 1, sizeof *w.column);
        ok = w.rows != NULL && w.segments != NULL && w.column != NULL && fill_runs(&w);
        free(w.rows);
        free(w.segments);
        free(w.column);
    }
    if (!ok) {
        nx_rle_free(out);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a mask of %ux%u pixels", width,
                            height);
    }
    return NX_OK;
}
