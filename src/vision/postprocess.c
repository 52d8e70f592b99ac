#include "vision/postprocess.h"

#include "vision/candidates.h"
#include "vision/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Only so many of the best candidates go into NMS, whose cost grows with their square. */
#define MAX_CANDIDATES 30000

/* Anchors that are reduced over the classes at a time: their maxima stay in the L1 cache. */
#define BLOCK 1024

nx_postprocess_options nx_postprocess_defaults(void)
{
    return (nx_postprocess_options){
        .confidence = NX_DEFAULT_CONFIDENCE,
        .iou = NX_DEFAULT_IOU,
        .max_detections = NX_DEFAULT_MAX_DETECTIONS,
    };
}

void nx_postprocess_allow_class(nx_postprocess_options *options, int32_t class_id)
{
    if (class_id >= 0 && class_id < NX_MAX_CLASSES) {
        options->filter_classes = true;
        options->class_mask[class_id / 64] |= UINT64_C(1) << (class_id % 64);
    }
}

/* Forgets masks and keypoints; the boxes' memory is kept for the next picture. */
static void clear(nx_detections *list)
{
    for (size_t i = 0; i < list->mask_count; i++) {
        nx_rle_free(&list->masks[i]);
    }
    free(list->masks);
    free(list->keypoints);
    *list = (nx_detections){.items = list->items, .capacity = list->capacity};
}

void nx_detections_free(nx_detections *list)
{
    if (list != NULL) {
        clear(list);
        free(list->items);
        *list = (nx_detections){0};
    }
}

static bool grow(nx_detections *list)
{
    size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
    nx_detection *items = realloc(list->items, capacity * sizeof *items);
    if (items == NULL) {
        return false;
    }
    list->items = items;
    list->capacity = capacity;
    return true;
}

static float clip(float value, float limit)
{
    return value < 0 ? 0 : value > limit ? limit : value;
}

void nx_candidates_add(nx_candidates *d, float x1, float y1, float x2, float y2, float confidence,
                       int32_t class_id, size_t anchor)
{
    const nx_letterbox *box = d->letterbox;
    /* an infinity or a NaN in any of the five makes the sum one */
    if (!isfinite(x1 + y1 + x2 + y2 + confidence)) {
        return;
    }
    nx_detection found = {
        .x1 = clip((x1 - (float)box->left) / box->scale, (float)box->source_width),
        .y1 = clip((y1 - (float)box->top) / box->scale, (float)box->source_height),
        .x2 = clip((x2 - (float)box->left) / box->scale, (float)box->source_width),
        .y2 = clip((y2 - (float)box->top) / box->scale, (float)box->source_height),
        .confidence = confidence > 1 ? 1 : confidence,
        .class_id = class_id,
        .anchor = (int32_t)anchor,
    };
    if (found.x2 <= found.x1 || found.y2 <= found.y1) {
        return;
    }
    if (d->out->count == d->out->capacity && !grow(d->out)) {
        d->no_memory = true;
        return;
    }
    d->out->items[d->out->count++] = found;
}

static void add_yolov8(nx_candidates *d, size_t anchor, float confidence, int32_t class_id)
{
    const float *data = d->head->data;
    size_t stride = (size_t)d->head->columns;
    float cx = data[anchor];
    float cy = data[stride + anchor];
    float half_w = data[2 * stride + anchor] / 2;
    float half_h = data[3 * stride + anchor] / 2;
    nx_candidates_add(d, cx - half_w, cy - half_h, cx + half_w, cy + half_h, confidence, class_id,
                      anchor);
}

static int32_t yolov8_classes(const nx_head_output *head)
{
    return head->kind == NX_HEAD_YOLOV8 ? head->rows - 4 : head->classes;
}

static void decode_yolov8_all_labels(nx_candidates *d)
{
    size_t stride = (size_t)d->head->columns;
    for (int32_t c = 0; c < yolov8_classes(d->head); c++) {
        if (!nx_class_allowed(d->options, c)) {
            continue;
        }
        const float *scores = d->head->data + (size_t)(c + 4) * stride;
        for (size_t i = 0; i < stride; i++) {
            if (scores[i] > d->options->confidence) {
                add_yolov8(d, i, scores[i], c);
            }
        }
    }
}

static void decode_yolov8_best_label(nx_candidates *d)
{
    const nx_kernels_set *kernels = nx_kernels();
    float best[BLOCK];
    int32_t which[BLOCK];
    size_t stride = (size_t)d->head->columns;
    const float *scores = d->head->data + 4 * stride;
    for (size_t start = 0; start < stride; start += BLOCK) {
        size_t count = stride - start < BLOCK ? stride - start : BLOCK;
        kernels->max_over_rows(scores + start, (size_t)yolov8_classes(d->head), stride, best, which,
                               count);
        for (size_t i = 0; i < count; i++) {
            if (best[i] > d->options->confidence && nx_class_allowed(d->options, which[i])) {
                add_yolov8(d, start + i, best[i], which[i]);
            }
        }
    }
}

static void decode_end_to_end(nx_candidates *d)
{
    for (int32_t i = 0; i < d->head->rows; i++) {
        const float *row = d->head->data + (size_t)i * 6;
        float class_value = row[5] + 0.5F; /* a whole number, give or take some float arithmetic */
        if (!(row[4] > d->options->confidence) ||
            !(class_value >= 0 && class_value < (float)d->head->classes)) {
            continue;
        }
        int32_t class_id = (int32_t)class_value;
        if (nx_class_allowed(d->options, class_id)) {
            nx_candidates_add(d, row[0], row[1], row[2], row[3], row[4], class_id, (size_t)i);
        }
    }
}

static void decode_yolox_anchor(nx_candidates *d, const float *row, float grid_x, float grid_y,
                                float stride)
{
    size_t anchor = (size_t)(row - d->head->data) / (size_t)d->head->columns;
    const nx_postprocess_options *options = d->options;
    float objectness = row[4];
    if (!(objectness > options->confidence)) { /* scores are at most 1: no class can pass */
        return;
    }
    float cx = (row[0] + grid_x) * stride;
    float cy = (row[1] + grid_y) * stride;
    float half_w = expf(row[2]) * stride / 2;
    float half_h = expf(row[3]) * stride / 2;
    int32_t classes = d->head->columns - 5;
    int32_t best = 0;
    for (int32_t c = 0; c < classes; c++) {
        float confidence = objectness * row[5 + c];
        if (options->multi_label && confidence > options->confidence &&
            nx_class_allowed(options, c)) {
            nx_candidates_add(d, cx - half_w, cy - half_h, cx + half_w, cy + half_h, confidence, c,
                              anchor);
        }
        best = row[5 + c] > row[5 + best] ? c : best;
    }
    float confidence = objectness * row[5 + best];
    if (!options->multi_label && confidence > options->confidence &&
        nx_class_allowed(options, best)) {
        nx_candidates_add(d, cx - half_w, cy - half_h, cx + half_w, cy + half_h, confidence, best,
                          anchor);
    }
}

static void decode_yolox(nx_candidates *d)
{
    const float *row = d->head->data;
    for (int32_t stride = 8; stride <= 32; stride *= 2) {
        for (int32_t y = 0; y < d->head->input_height / stride; y++) {
            for (int32_t x = 0; x < d->head->input_width / stride; x++) {
                decode_yolox_anchor(d, row, (float)x, (float)y, (float)stride);
                row += d->head->columns;
            }
        }
    }
}

int64_t nx_head_grid_cells(int64_t input_width, int64_t input_height)
{
    int64_t cells = 0;
    for (int64_t stride = 8; stride <= 32; stride *= 2) {
        cells += (input_width / stride) * (input_height / stride);
    }
    return cells;
}

/* Box, classes and `more` values behind them make the rows. */
static bool classes_fit(const nx_head_output *head, int32_t more)
{
    return head->classes > 0 && head->classes <= NX_MAX_CLASSES && more > 0 &&
           head->rows - 4 - head->classes == more;
}

static nx_status check_shape(const nx_head_output *head, nx_error *err)
{
    bool fits = head->rows > 0 && head->columns > 0;
    switch (head->kind) {
    case NX_HEAD_YOLOV8:
        fits = fits && head->rows > 4 && head->rows - 4 <= NX_MAX_CLASSES;
        break;
    case NX_HEAD_END_TO_END:
        fits = fits && head->columns == 6 && head->classes > 0 && head->classes <= NX_MAX_CLASSES;
        break;
    case NX_HEAD_YOLOX:
        fits = fits && head->columns > 5 && head->columns - 5 <= NX_MAX_CLASSES &&
               head->rows == nx_head_grid_cells(head->input_width, head->input_height);
        break;
    case NX_HEAD_SEGMENT:
        fits = fits && classes_fit(head, head->proto_channels) && head->protos != NULL &&
               head->proto_width > 0 && head->proto_height > 0 && head->input_width > 0 &&
               head->input_height > 0;
        break;
    case NX_HEAD_POSE:
        fits = fits && (head->keypoint_values == 2 || head->keypoint_values == 3) &&
               head->keypoints < INT32_MAX / 4 &&
               classes_fit(head, head->keypoints * head->keypoint_values);
        break;
    case NX_HEAD_SPLIT:
        fits = nx_split_head_fits(head);
        break;
    }
    if (!fits && head->kind == NX_HEAD_SPLIT) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "%d levels from %dx%d cells on do not fit the model's head at input "
                            "%dx%d",
                            head->level_count, head->levels[0].width, head->levels[0].height,
                            head->input_width, head->input_height);
    }
    if (!fits) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "an output of %dx%d does not fit the model's head at input %dx%d",
                            head->rows, head->columns, head->input_width, head->input_height);
    }
    return NX_OK;
}

nx_status nx_postprocess(const nx_head_output *head, const nx_letterbox *letterbox,
                         const nx_postprocess_options *options, nx_detections *out, nx_error *err)
{
    clear(out);
    nx_status status = check_shape(head, err);
    if (status != NX_OK) {
        return status;
    }
    nx_candidates d = {.head = head, .letterbox = letterbox, .options = options, .out = out};
    switch (head->kind) {
    case NX_HEAD_YOLOV8:
    case NX_HEAD_SEGMENT:
    case NX_HEAD_POSE:
        if (options->multi_label) {
            decode_yolov8_all_labels(&d);
        } else {
            decode_yolov8_best_label(&d);
        }
        break;
    case NX_HEAD_END_TO_END:
        decode_end_to_end(&d);
        break;
    case NX_HEAD_YOLOX:
        decode_yolox(&d);
        break;
    case NX_HEAD_SPLIT:
        nx_split_head_decode(&d);
        break;
    }
    if (d.no_memory) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the detections");
    }
    nx_detections_sort(out->items, out->count);
    size_t count = out->count < MAX_CANDIDATES ? out->count : MAX_CANDIDATES;
    size_t max_keep = options->max_detections > 0 ? (size_t)options->max_detections : 0;
    if (head->kind == NX_HEAD_END_TO_END) { /* its training made duplicates unlikely: no NMS */
        out->count = count < max_keep ? count : max_keep;
    } else {
        out->count = nx_nms(out->items, count, options->iou, max_keep);
    }
    if (head->kind == NX_HEAD_SEGMENT) {
        return nx_segment_head_masks(head, letterbox, out, err);
    }
    if (head->kind == NX_HEAD_POSE) {
        return nx_pose_head_keypoints(head, letterbox, out, err);
    }
    return NX_OK;
}
