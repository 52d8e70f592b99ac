#include "analytics/heatmap.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* The opacity of the hottest place; it is reached at half its value already. */
#define MAX_ALPHA 230.0

struct nx_heatmap {
    uint32_t columns, rows;
    bool started;
    int64_t now_ns;
    uint64_t *cells; /* nanoseconds, row by row */
};

void nx_heatmap_free(nx_heatmap *heatmap)
{
    if (heatmap != NULL) {
        free(heatmap->cells);
        free(heatmap);
    }
}

nx_status nx_heatmap_new(uint32_t columns, uint32_t rows, nx_heatmap **out, nx_error *err)
{
    *out = NULL;
    if (columns < 1 || columns > NX_HEATMAP_MAX_SIDE || rows < 1 || rows > NX_HEATMAP_MAX_SIDE) {
        return nx_error_set(err, NX_ERR_INVALID, "a heatmap of %ux%u cells; it has 1x1 to %dx%d",
                            columns, rows, NX_HEATMAP_MAX_SIDE, NX_HEATMAP_MAX_SIDE);
    }
    nx_heatmap *h = calloc(1, sizeof *h);
    if (h != NULL) {
        h->columns = columns;
        h->rows = rows;
        h->cells = calloc((size_t)columns * rows, sizeof *h->cells);
    }
    if (h == NULL || h->cells == NULL) {
        nx_heatmap_free(h);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a heatmap");
    }
    *out = h;
    return NX_OK;
}

/* The cell of a share of the side; -1 outside. */
static int64_t cell_of(double share, uint32_t cells)
{
    if (!(share >= 0 && share <= 1)) {
        return -1;
    }
    uint32_t cell = (uint32_t)(share * cells);
    return cell < cells ? cell : cells - 1;
}

nx_status nx_heatmap_update(nx_heatmap *h, int64_t time_ns, uint32_t width, uint32_t height,
                            const nx_track *tracks, size_t count, nx_error *err)
{
    if (time_ns < -NX_TRACKER_MAX_TIME_NS || time_ns > NX_TRACKER_MAX_TIME_NS ||
        (h->started && time_ns <= h->now_ns)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "a frame at %" PRId64 " ns follows one at %" PRId64
                            " ns; frames must come in the order of their times",
                            time_ns, h->now_ns);
    }
    if (width == 0 || height == 0) {
        return nx_error_set(err, NX_ERR_INVALID, "a frame of %ux%u pixels", width, height);
    }
    int64_t gap = h->started ? time_ns - h->now_ns : 0;
    gap = gap < NX_HEATMAP_MAX_GAP_NS ? gap : NX_HEATMAP_MAX_GAP_NS;
    h->started = true;
    h->now_ns = time_ns;
    for (size_t i = 0; i < count; i++) {
        const nx_track *t = &tracks[i];
        int64_t column = cell_of((t->x1 + t->x2) / 2 / (double)width, h->columns);
        int64_t row = cell_of(t->y2 / (double)height, h->rows);
        if (t->state == NX_TRACK_CONFIRMED && column >= 0 && row >= 0) {
            h->cells[row * h->columns + column] += (uint64_t)gap;
        }
    }
    return NX_OK;
}

uint64_t nx_heatmap_cell_ns(const nx_heatmap *h, uint32_t column, uint32_t row)
{
    return h->cells[(size_t)row * h->columns + column];
}

/* --- the picture --------------------------------------------------------------------------------
 */

/* Every 32nd of matplotlib's inferno, and its end. */
static const uint8_t inferno[33][3] = {
    {0, 0, 4},       {4, 3, 18},      {11, 7, 36},    {21, 11, 55},   {33, 12, 74},
    {47, 10, 91},    {61, 9, 101},    {74, 12, 107},  {87, 16, 110},  {100, 21, 110},
    {113, 25, 110},  {125, 30, 109},  {138, 34, 106}, {151, 39, 102}, {163, 44, 97},
    {176, 49, 91},   {188, 55, 84},   {199, 62, 76},  {210, 70, 68},  {219, 80, 59},
    {228, 90, 49},   {235, 102, 40},  {241, 115, 29}, {246, 128, 19}, {249, 142, 9},
    {251, 157, 7},   {252, 172, 17},  {251, 188, 33}, {249, 203, 53}, {245, 219, 76},
    {242, 234, 105}, {243, 246, 138}, {252, 255, 164}};

static void color_of(double value, uint8_t rgba[4])
{
    double place = value * 32;
    int low = place < 31 ? (int)place : 31;
    double part = place - low;
    for (int i = 0; i < 3; i++) {
        rgba[i] = (uint8_t)lrint(inferno[low][i] + part * (inferno[low + 1][i] - inferno[low][i]));
    }
    rgba[3] = (uint8_t)lrint(MAX_ALPHA * (value < 0.5 ? 2 * value : 1));
}

static double cell_or_edge(const nx_heatmap *h, int64_t column, int64_t row)
{
    column = column < 0 ? 0 : column >= h->columns ? h->columns - 1 : column;
    row = row < 0 ? 0 : row >= h->rows ? h->rows - 1 : row;
    return (double)h->cells[row * h->columns + column];
}

/* Cells blurred by 1 2 1 in both directions, as 0..1. NULL without memory. */
static double *smoothed(const nx_heatmap *h)
{
    static const double weights[3] = {0.25, 0.5, 0.25};
    double *out = calloc((size_t)h->columns * h->rows, sizeof *out);
    double most = 0;
    for (int64_t y = 0; out != NULL && y < h->rows; y++) {
        for (int64_t x = 0; x < h->columns; x++) {
            double sum = 0;
            for (int i = 0; i < 9; i++) {
                sum +=
                    weights[i / 3] * weights[i % 3] * cell_or_edge(h, x + i % 3 - 1, y + i / 3 - 1);
            }
            out[y * h->columns + x] = sum;
            most = sum > most ? sum : most;
        }
    }
    for (size_t i = 0; out != NULL && most > 0 && i < (size_t)h->columns * h->rows; i++) {
        out[i] = sqrt(out[i] / most);
    }
    return out;
}

/* Where a pixel's centre lies among the centres of cells: between low and low + 1. */
static double between(uint32_t pixel, uint32_t pixels, uint32_t cells, uint32_t *low,
                      uint32_t *high)
{
    double place = (pixel + 0.5) * cells / pixels - 0.5;
    place = place < 0 ? 0 : place > cells - 1 ? cells - 1 : place;
    *low = (uint32_t)place;
    *high = *low + 1 < cells ? *low + 1 : *low;
    return place - *low;
}

static void render_row(const nx_heatmap *h, const double *values, uint32_t y, uint32_t width,
                       uint32_t height, uint8_t *rgba)
{
    uint32_t top = 0;
    uint32_t bottom = 0;
    double down = between(y, height, h->rows, &top, &bottom);
    const double *upper = values + (size_t)top * h->columns;
    const double *lower = values + (size_t)bottom * h->columns;
    for (uint32_t x = 0; x < width; x++) {
        uint32_t left = 0;
        uint32_t right = 0;
        double across = between(x, width, h->columns, &left, &right);
        double above = upper[left] + across * (upper[right] - upper[left]);
        double below = lower[left] + across * (lower[right] - lower[left]);
        color_of(above + down * (below - above), rgba + (size_t)4 * x);
    }
}

nx_status nx_heatmap_blend(const nx_heatmap *h, nx_image *image, nx_error *err)
{
    double *values = smoothed(h);
    uint8_t *row = malloc((size_t)4 * image->width + 1);
    nx_status status = NX_OK;
    if (values == NULL || row == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a heatmap's picture");
    }
    for (uint32_t y = 0; status == NX_OK && y < image->height; y++) {
        uint8_t *pixels = image->pixels + y * image->stride;
        render_row(h, values, y, image->width, image->height, row);
        for (size_t i = 0; i < (size_t)3 * image->width; i++) {
            int32_t alpha = row[i / 3 * 4 + 3];
            int32_t over = row[i / 3 * 4 + i % 3];
            pixels[i] = (uint8_t)((over * alpha + pixels[i] * (255 - alpha) + 127) / 255);
        }
    }
    free(values);
    free(row);
    return status;
}
