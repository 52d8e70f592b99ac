/* Keypoints of a pose head: behind the class scores, x and y in input pixels and perhaps a
 * confidence for each. */
#include "vision/postprocess.h"

#include <math.h>
#include <stdlib.h>

/* NaN and what lies before the picture become 0. */
static float inside(float value, float limit)
{
    return !(value > 0) ? 0 : value > limit ? limit : value;
}

static nx_keypoint keypoint_at(const nx_head_output *head, const nx_letterbox *box, int32_t row,
                               int32_t anchor)
{
    const float *data = head->data + (size_t)row * (size_t)head->columns + (size_t)anchor;
    size_t stride = (size_t)head->columns;
    float x = (data[0] - (float)box->left) / box->scale;
    float y = (data[stride] - (float)box->top) / box->scale;
    return (nx_keypoint){
        .x = inside(x, (float)box->source_width),
        .y = inside(y, (float)box->source_height),
        .confidence = head->keypoint_values == 3 ? inside(data[2 * stride], 1) : 1,
    };
}

nx_status nx_pose_head_keypoints(const nx_head_output *head, const nx_letterbox *letterbox,
                                 nx_detections *out, nx_error *err)
{
    size_t per_item = (size_t)head->keypoints;
    if (out->count == 0) {
        out->keypoint_count = per_item;
        return NX_OK;
    }
    out->keypoints = calloc(out->count * per_item, sizeof *out->keypoints);
    if (out->keypoints == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the keypoints");
    }
    out->keypoint_count = per_item;
    for (size_t i = 0; i < out->count; i++) {
        for (int32_t k = 0; k < head->keypoints; k++) {
            out->keypoints[i * per_item + (size_t)k] =
                keypoint_at(head, letterbox, 4 + head->classes + k * head->keypoint_values,
                            out->items[i].anchor);
        }
    }
    return NX_OK;
}
