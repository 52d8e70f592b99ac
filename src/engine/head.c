#include "engine/head.h"

#include "base/buffer.h"
#include "engine/supported.h"

#include <stdio.h>
#include <string.h>

/* An end-to-end head gives its best boxes, 300 as published; more rows than this are something
 * else. */
#define MAX_END_TO_END_ROWS 10000

static nx_status refuse(const char *path, const char *found, const char *hint, nx_error *err)
{
    return nx_error_set(err, NX_ERR_UNSUPPORTED,
                        "%.180s is not a detector that Nexus knows: it puts out %.120s%s. %s", path,
                        found, hint, NX_SUPPORTED_MODELS);
}

static void describe(const nx_tensor *tensors, size_t count, nx_buffer *out)
{
    for (size_t i = 0; i < count && i < 8; i++) {
        nx_buffer_printf(out, "%s%.60s ", i > 0 ? ", " : "", tensors[i].name);
        nx_tensor_describe(&tensors[i], out);
    }
}

static nx_status refuse_outputs(const nx_tensor *outputs, size_t count, const char *path,
                                const char *hint, nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    describe(outputs, count, &text);
    nx_status status = refuse(path, nx_buffer_cstr(&text), hint, err);
    nx_buffer_free(&text);
    return status;
}

/* --- by declaration ----------------------------------------------------------------------------
 */

/* Float32 of this rank, or of none declared. */
static bool may_be(const nx_tensor *tensor, uint32_t rank)
{
    return tensor->type == NX_TYPE_FLOAT32 && (tensor->rank == rank || tensor->rank == 0);
}

static const nx_tensor *find(const nx_tensor *outputs, size_t count, const char *prefix,
                             uint32_t stride)
{
    char name[40];
    snprintf(name, sizeof name, "%s_%u", prefix, stride);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(outputs[i].name, name) == 0) {
            return &outputs[i];
        }
    }
    return NULL;
}

static nx_status choose_split(const nx_metadata *metadata, const nx_tensor *outputs, size_t count,
                              const char *path, nx_head *out, nx_error *err)
{
    out->kind = NX_HEAD_SPLIT;
    out->reg_max = metadata->reg_max;
    out->channels_last = metadata->channels_last;
    for (uint32_t stride = 4; stride <= 128 && out->level_count < NX_HEAD_MAX_LEVELS; stride *= 2) {
        const nx_tensor *distances = find(outputs, count, "distances", stride);
        const nx_tensor *scores = find(outputs, count, "scores", stride);
        if (distances != NULL && scores != NULL && may_be(distances, 4) && may_be(scores, 4)) {
            out->outputs[out->output_count++] = distances->name;
            out->outputs[out->output_count++] = scores->name;
            out->strides[out->level_count++] = stride;
        }
    }
    if (out->output_count == 0 || out->output_count != count) {
        return refuse_outputs(outputs, count, path,
                              " (it says that its head is split: distances_8 and scores_8, "
                              "distances_16 and so on are expected)",
                              err);
    }
    return NX_OK;
}

nx_status nx_head_choose(const nx_metadata *metadata, const nx_tensor *outputs, size_t count,
                         const char *path, nx_head *out, nx_error *err)
{
    *out = (nx_head){.kind = NX_HEAD_YOLOV8};
    if (metadata->split) {
        return choose_split(metadata, outputs, count, path, out, err);
    }
    bool masks = metadata->has_task ? metadata->task == NX_TASK_SEGMENT : count == 2;
    size_t boxes = masks && count == 2 && outputs[0].rank == 4 ? 1 : 0;
    if (count != (masks ? 2 : 1) || !may_be(&outputs[boxes], 3) ||
        (masks && !may_be(&outputs[1 - boxes], 4))) {
        return refuse_outputs(outputs, count, path,
                              count == 2 || masks
                                  ? " (a segmentation model has two: [1,4+C+M,N] and [1,M,H/4,W/4])"
                                  : "",
                              err);
    }
    out->outputs[out->output_count++] = outputs[boxes].name;
    if (masks) {
        out->kind = NX_HEAD_SEGMENT;
        out->outputs[out->output_count++] = outputs[1 - boxes].name;
    } else if (metadata->task == NX_TASK_POSE) {
        out->kind = NX_HEAD_POSE;
        out->keypoints = metadata->keypoints;
        out->keypoint_values = metadata->keypoint_values;
    }
    return NX_OK;
}

/* --- by what came out --------------------------------------------------------------------------
 */

static bool shape_is(const nx_tensor *tensor, uint32_t rank, const int64_t *dims)
{
    return tensor->type == NX_TYPE_FLOAT32 && tensor->rank == rank &&
           memcmp(tensor->dims, dims, rank * sizeof *dims) == 0;
}

static const char *hint_for(const nx_tensor *boxes, int64_t cells, int64_t names)
{
    bool cube = boxes->rank == 3;
    if (cube && boxes->dims[1] == 3 * cells) {
        return " (three anchors for each cell: YOLOv5 or YOLOv7)";
    }
    if (cube && names > 0 && boxes->dims[2] == cells && boxes->dims[1] > 4 + names) {
        return " (more rows than 4 + its classes: a segmentation or pose model)";
    }
    return "";
}

static nx_status refuse_shapes(const nx_metadata *metadata, const nx_tensor *outputs, size_t count,
                               const char *path, const char *hint, nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    describe(outputs, count, &text);
    if (metadata->names.count > 0) {
        nx_buffer_printf(&text, " for %zu class names", metadata->names.count);
    }
    nx_status status = refuse(path, nx_buffer_cstr(&text), hint, err);
    nx_buffer_free(&text);
    return status;
}

/* The number of classes of a head of one box output; 0 when it is none. */
static int64_t recognise_boxes(const nx_tensor *boxes, int64_t cells, int64_t named, nx_head *head)
{
    int64_t rows = boxes->dims[1];
    int64_t columns = boxes->dims[2];
    if (columns == cells && rows > 4 && (named == 0 || rows == 4 + named)) {
        head->kind = NX_HEAD_YOLOV8;
        return rows - 4;
    }
    if (rows == cells && columns > 5 && (named == 0 || columns == 5 + named)) {
        head->kind = NX_HEAD_YOLOX;
        return columns - 5;
    }
    if (columns == 6 && rows != cells && rows <= MAX_END_TO_END_ROWS) {
        head->kind = NX_HEAD_END_TO_END;
        return named;
    }
    return 0;
}

/* As recognise_boxes, of a head with `extra` rows behind the scores. */
static int64_t recognise_extended(const nx_tensor *boxes, int64_t cells, int64_t named,
                                  int64_t extra)
{
    int64_t classes = boxes->dims[1] - 4 - extra;
    return boxes->dims[2] == cells && (named == 0 || classes == named) ? classes : 0;
}

static int64_t recognise_masks(const nx_tensor *outputs, uint32_t width, uint32_t height,
                               int64_t cells, int64_t named, nx_head *head)
{
    int64_t channels = outputs[1].rank == 4 ? outputs[1].dims[1] : 0;
    const int64_t prototypes[] = {1, channels, height / 4, width / 4};
    if (channels < 1 || channels > 1024 || !shape_is(&outputs[1], 4, prototypes)) {
        return 0;
    }
    head->mask_channels = (uint32_t)channels;
    return recognise_extended(&outputs[0], cells, named, channels);
}

/* Shapes of one stride's outputs for a batch. */
static void level_shapes(const nx_head *head, uint32_t level, int64_t batch, uint32_t width,
                         uint32_t height, int64_t distances[4], int64_t scores[4])
{
    int64_t rows = height / head->strides[level];
    int64_t columns = width / head->strides[level];
    const int64_t channels[] = {4 * (int64_t)head->reg_max, head->classes};
    int64_t *const shapes[] = {distances, scores};
    for (size_t i = 0; i < 2; i++) {
        shapes[i][0] = batch;
        shapes[i][1] = head->channels_last ? rows : channels[i];
        shapes[i][2] = head->channels_last ? columns : rows;
        shapes[i][3] = head->channels_last ? channels[i] : columns;
    }
}

static bool levels_fit(const nx_head *head, const nx_tensor *outputs, int64_t batch, uint32_t width,
                       uint32_t height)
{
    for (uint32_t i = 0; i < head->level_count; i++) {
        int64_t distances[4];
        int64_t scores[4];
        level_shapes(head, i, batch, width, height, distances, scores);
        if (!shape_is(&outputs[2 * (size_t)i], 4, distances) ||
            !shape_is(&outputs[2 * (size_t)i + 1], 4, scores)) {
            return false;
        }
    }
    return true;
}

static nx_status recognise_split(const nx_metadata *metadata, const nx_tensor *outputs,
                                 size_t count, uint32_t width, uint32_t height, const char *path,
                                 nx_head *head, nx_error *err)
{
    int64_t classes = outputs[1].rank == 4 ? outputs[1].dims[head->channels_last ? 3 : 1] : 0;
    head->classes = classes >= 1 && classes <= NX_MAX_CLASSES ? (uint32_t)classes : 0;
    bool named = metadata->names.count == 0 || metadata->names.count == head->classes;
    if (head->classes == 0 || !named || !levels_fit(head, outputs, 1, width, height)) {
        return refuse_shapes(metadata, outputs, count, path,
                             " (a split head has [1,4*reg_max,H/s,W/s] and [1,C,H/s,W/s] of each "
                             "stride s, or the same with the channels last)",
                             err);
    }
    return NX_OK;
}

nx_status nx_head_recognise(const nx_metadata *metadata, const nx_tensor *outputs, size_t count,
                            uint32_t width, uint32_t height, const char *path, nx_head *head,
                            nx_error *err)
{
    if (head->kind == NX_HEAD_SPLIT) {
        return recognise_split(metadata, outputs, count, width, height, path, head, err);
    }
    int64_t cells = nx_head_grid_cells(width, height);
    int64_t named = (int64_t)metadata->names.count;
    const nx_tensor *boxes = &outputs[0];
    int64_t classes = 0;
    bool plausible = boxes->type == NX_TYPE_FLOAT32 && boxes->rank == 3 && boxes->dims[0] == 1 &&
                     boxes->dims[1] > 0 && boxes->dims[2] > 0;
    if (plausible && head->kind == NX_HEAD_SEGMENT) {
        classes = recognise_masks(outputs, width, height, cells, named, head);
    } else if (plausible && head->kind == NX_HEAD_POSE) {
        classes = recognise_extended(boxes, cells, named,
                                     (int64_t)head->keypoints * head->keypoint_values);
    } else if (plausible) {
        classes = recognise_boxes(boxes, cells, named, head);
    }
    if (classes < 1 || classes > NX_MAX_CLASSES) {
        bool nameless = plausible && boxes->dims[2] == 6 && boxes->dims[1] <= MAX_END_TO_END_ROWS;
        return refuse_shapes(metadata, outputs, count, path,
                             classes > NX_MAX_CLASSES ? " (over 1024 classes)"
                             : head->kind == NX_HEAD_SEGMENT
                                 ? " (a segmentation model has [1,4+C+M,N] and [1,M,H/4,W/4])"
                             : head->kind == NX_HEAD_POSE
                                 ? " (a pose model has 4 + classes + keypoints x values rows)"
                             : nameless ? " (an end-to-end head without class names in the file)"
                                        : hint_for(boxes, cells, named),
                             err);
    }
    head->classes = (uint32_t)classes;
    return NX_OK;
}

/* --- one picture -------------------------------------------------------------------------------
 */

static void view_levels(const nx_head *head, const nx_tensor *outputs, uint32_t slot,
                        nx_head_output *out)
{
    out->level_count = (int32_t)head->level_count;
    out->reg_max = (int32_t)head->reg_max;
    out->channels_last = head->channels_last;
    for (uint32_t i = 0; i < head->level_count; i++) {
        size_t width = (size_t)out->input_width / head->strides[i];
        size_t height = (size_t)out->input_height / head->strides[i];
        const float *distances = outputs[2 * (size_t)i].data;
        const float *scores = outputs[2 * (size_t)i + 1].data;
        out->levels[i] = (nx_head_level){
            .distances = distances + slot * (width * height * 4 * head->reg_max),
            .scores = scores + slot * (width * height * head->classes),
            .width = (int32_t)width,
            .height = (int32_t)height,
        };
    }
}

static bool view_masks(const nx_head *head, const nx_tensor *protos, int64_t batch, uint32_t slot,
                       nx_head_output *out)
{
    const int64_t expected[] = {batch, head->mask_channels, out->input_height / 4,
                                out->input_width / 4};
    if (!shape_is(protos, 4, expected)) {
        return false;
    }
    out->proto_channels = (int32_t)head->mask_channels;
    out->proto_height = out->input_height / 4;
    out->proto_width = out->input_width / 4;
    out->protos = (const float *)protos->data +
                  slot * ((size_t)expected[1] * (size_t)expected[2] * (size_t)expected[3]);
    return true;
}

bool nx_head_view(const nx_head *head, const nx_tensor *outputs, size_t count, uint32_t slot,
                  uint32_t width, uint32_t height, nx_head_output *out)
{
    *out = (nx_head_output){
        .kind = head->kind,
        .input_width = (int32_t)width,
        .input_height = (int32_t)height,
        .classes = (int32_t)head->classes,
        .keypoints = (int32_t)head->keypoints,
        .keypoint_values = (int32_t)head->keypoint_values,
    };
    const nx_tensor *first = &outputs[0];
    if (count != head->output_count || first->rank == 0 || slot >= first->dims[0]) {
        return false;
    }
    if (head->kind == NX_HEAD_SPLIT) {
        if (!levels_fit(head, outputs, first->dims[0], width, height)) {
            return false;
        }
        view_levels(head, outputs, slot, out);
        return true;
    }
    if (first->type != NX_TYPE_FLOAT32 || first->rank != 3 || first->dims[1] > INT32_MAX ||
        first->dims[2] > INT32_MAX) {
        return false;
    }
    out->rows = (int32_t)first->dims[1];
    out->columns = (int32_t)first->dims[2];
    out->data =
        (const float *)first->data + slot * ((size_t)first->dims[1] * (size_t)first->dims[2]);
    return head->kind != NX_HEAD_SEGMENT ||
           view_masks(head, &outputs[1], first->dims[0], slot, out);
}
