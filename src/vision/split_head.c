/*
 * A YOLOv8 head that was cut off before its box decoding. The graph's own decoding works on every
 * cell; here the class logits are compared with the threshold's logit, and only what passes costs
 * an exponential: a picture has some tens of such cells among 8400.
 */
#include "vision/candidates.h"
#include "vision/kernels.h"

#include <math.h>

#define SIDES       4
#define MAX_REG_MAX 64
#define MAX_SIDE    65536 /* input pixels */
#define MAX_STRIDE  128

/* Cells that are reduced over the classes at a time: their maxima stay in the L1 cache. */
#define BLOCK 1024

/* One level, and the way through its memory. */
typedef struct grid {
    const nx_head_level *level;
    int32_t classes;
    int32_t reg_max;
    float stride;         /* input pixels for a cell */
    size_t cells;         /* in the level */
    size_t first_anchor;  /* cells of the levels before */
    bool channels_last;   /* else the values of a cell are `cells` apart */
    float logit_at_least; /* a class below is surely below the confidence */
} grid;

/* The power of two by which the input was reduced to the level, rounded up; 0 when there is none.
 */
static int32_t level_stride(const nx_head_output *head, const nx_head_level *level)
{
    for (int32_t stride = 2; stride <= MAX_STRIDE; stride *= 2) {
        if ((head->input_width + stride - 1) / stride == level->width &&
            (head->input_height + stride - 1) / stride == level->height) {
            return stride;
        }
    }
    return 0;
}

bool nx_split_head_fits(const nx_head_output *head)
{
    if (head->input_width < 1 || head->input_width > MAX_SIDE || head->input_height < 1 ||
        head->input_height > MAX_SIDE || head->level_count < 1 ||
        head->level_count > NX_HEAD_MAX_LEVELS || head->classes < 1 ||
        head->classes > NX_MAX_CLASSES || head->reg_max < 1 || head->reg_max > MAX_REG_MAX) {
        return false;
    }
    for (int32_t i = 0; i < head->level_count; i++) {
        const nx_head_level *level = &head->levels[i];
        if (level->distances == NULL || level->scores == NULL || level_stride(head, level) == 0) {
            return false;
        }
    }
    return true;
}

/* Channel `channel` of `channels` at a cell. */
static inline float value_at(const grid *g, const float *data, size_t channels, size_t cell,
                             size_t channel)
{
    return g->channels_last ? data[cell * channels + channel] : data[channel * g->cells + cell];
}

/* The mean of one side's distribution, in cells. */
static float side_length(const grid *g, size_t cell, size_t side)
{
    size_t bins = (size_t)g->reg_max;
    float logits[MAX_REG_MAX];
    float largest = -INFINITY;
    for (size_t i = 0; i < bins; i++) {
        logits[i] = value_at(g, g->level->distances, SIDES * bins, cell, side * bins + i);
        largest = logits[i] > largest ? logits[i] : largest;
    }
    float sum = 0;
    float mean = 0;
    for (size_t i = 0; i < bins; i++) {
        float weight = expf(logits[i] - largest); /* a NaN among them makes the mean one */
        sum += weight;
        mean += weight * (float)i;
    }
    return mean / sum;
}

typedef struct edges {
    float x1, y1, x2, y2; /* input pixels */
} edges;

static edges cell_box(const grid *g, size_t cell)
{
    size_t row = cell / (size_t)g->level->width;
    size_t column = cell % (size_t)g->level->width;
    float x = (float)column + 0.5F;
    float y = (float)row + 0.5F;
    return (edges){
        .x1 = (x - side_length(g, cell, 0)) * g->stride,
        .y1 = (y - side_length(g, cell, 1)) * g->stride,
        .x2 = (x + side_length(g, cell, 2)) * g->stride,
        .y2 = (y + side_length(g, cell, 3)) * g->stride,
    };
}

static float sigmoid(float logit)
{
    return 1 / (1 + expf(-logit));
}

/* Whether a class passes is decided by its sigmoid, as the graph would have computed it. */
static bool passes(const nx_candidates *d, const grid *g, float logit, int32_t class_id,
                   float *confidence)
{
    if (!(logit >= g->logit_at_least && logit < INFINITY)) {
        return false;
    }
    *confidence = sigmoid(logit);
    return *confidence > d->options->confidence && nx_class_allowed(d->options, class_id);
}

static void add_if_passes(nx_candidates *d, const grid *g, size_t cell, float logit,
                          int32_t class_id)
{
    float confidence = 0;
    if (passes(d, g, logit, class_id, &confidence)) {
        edges box = cell_box(g, cell);
        nx_candidates_add(d, box.x1, box.y1, box.x2, box.y2, confidence, class_id,
                          g->first_anchor + cell);
    }
}

/* With channels last, where a cell's classes lie side by side. */
static void decode_best_label(nx_candidates *d, const grid *g, size_t cell)
{
    const float *logits = g->level->scores + cell * (size_t)g->classes;
    float best_logit = -INFINITY;
    int32_t best = 0;
    for (int32_t c = 0; c < g->classes; c++) {
        best = logits[c] > best_logit ? c : best;
        best_logit = logits[c] > best_logit ? logits[c] : best_logit;
    }
    add_if_passes(d, g, cell, best_logit, best);
}

static void decode_all_labels(nx_candidates *d, const grid *g, size_t cell)
{
    size_t classes = (size_t)g->classes;
    edges box = {0};
    bool have_box = false;
    for (size_t c = 0; c < classes; c++) {
        float logit = value_at(g, g->level->scores, classes, cell, c);
        float confidence = 0;
        if (passes(d, g, logit, (int32_t)c, &confidence)) {
            box = have_box ? box : cell_box(g, cell);
            have_box = true;
            nx_candidates_add(d, box.x1, box.y1, box.x2, box.y2, confidence, (int32_t)c,
                              g->first_anchor + cell);
        }
    }
}

static void decode_channels_last(nx_candidates *d, const grid *g)
{
    uint8_t found[BLOCK];
    size_t classes = (size_t)g->classes;
    for (size_t start = 0; start < g->cells; start += BLOCK) {
        size_t count = g->cells - start < BLOCK ? g->cells - start : BLOCK;
        nx_kernels()->any_at_least(g->level->scores + start * classes, classes, g->logit_at_least,
                                   found, count);
        for (size_t i = 0; i < count; i++) {
            if (found[i] != 0 && d->options->multi_label) {
                decode_all_labels(d, g, start + i);
            } else if (found[i] != 0) {
                decode_best_label(d, g, start + i);
            }
        }
    }
}

static void decode_channels_first(nx_candidates *d, const grid *g)
{
    float best[BLOCK];
    int32_t which[BLOCK];
    for (size_t start = 0; start < g->cells; start += BLOCK) {
        size_t count = g->cells - start < BLOCK ? g->cells - start : BLOCK;
        nx_kernels()->max_over_rows(g->level->scores + start, (size_t)g->classes, g->cells, best,
                                    which, count);
        for (size_t i = 0; i < count; i++) {
            if (best[i] >= g->logit_at_least && d->options->multi_label) {
                decode_all_labels(d, g, start + i);
            } else if (best[i] >= g->logit_at_least) {
                add_if_passes(d, g, start + i, best[i], which[i]);
            }
        }
    }
}

/* The logit of a confidence, lowered by more than the rounding of it and of any sigmoid. */
static float lowered_logit(float confidence)
{
    if (confidence >= 1) {
        return INFINITY; /* nothing is above */
    }
    if (!(confidence > 0)) {
        return -INFINITY;
    }
    double logit = log((double)confidence / (1 - (double)confidence));
    return (float)(logit - 1e-4 * (1 + fabs(logit)));
}

void nx_split_head_decode(nx_candidates *d)
{
    const nx_head_output *head = d->head;
    size_t cells = 0; /* of the levels so far */
    for (int32_t i = 0; i < head->level_count; i++) {
        const nx_head_level *level = &head->levels[i];
        grid g = {
            .level = level,
            .classes = head->classes,
            .reg_max = head->reg_max,
            .stride = (float)level_stride(head, level),
            .cells = (size_t)level->width * (size_t)level->height,
            .first_anchor = cells,
            .channels_last = head->channels_last,
            .logit_at_least = lowered_logit(d->options->confidence),
        };
        if (head->channels_last) {
            decode_channels_last(d, &g);
        } else {
            decode_channels_first(d, &g);
        }
        cells += g.cells;
    }
}
