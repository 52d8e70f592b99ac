#include "results/box.h"
#include "results/results.h"

static void write_image_id(nx_json *json, int64_t image_id, const char *image_name)
{
    if (image_name != NULL) {
        nx_json_key_string(json, "image_id", image_name);
    } else {
        nx_json_key_int(json, "image_id", image_id);
    }
}

/* false: the detection's class has no category in the file it is measured against. */
static bool category_of(const nx_result *result, const nx_detection *d, const int64_t *category_ids,
                        int64_t *out)
{
    if (category_ids == NULL) {
        *out = d->class_id;
        return true;
    }
    if (d->class_id < 0 || (size_t)d->class_id >= result->names.count) {
        return false;
    }
    *out = category_ids[d->class_id];
    return *out >= 0;
}

static void write_keypoints(nx_json *json, const nx_keypoint *keypoints, size_t count)
{
    nx_json_key(json, "keypoints");
    nx_json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        nx_json_number(json, (double)keypoints[i].x, 2);
        nx_json_number(json, (double)keypoints[i].y, 2);
        nx_json_number(json, (double)keypoints[i].confidence, 4);
    }
    nx_json_array_end(json);
}

void nx_result_coco(const nx_result *result, int64_t image_id, const char *image_name,
                    const int64_t *category_ids, nx_json *json)
{
    for (size_t i = 0; i < result->count; i++) {
        const nx_detection *d = &result->detections[i];
        int64_t category = 0;
        if (!category_of(result, d, category_ids, &category)) {
            continue;
        }
        nx_json_object_begin(json);
        write_image_id(json, image_id, image_name);
        nx_json_key_int(json, "category_id", category);
        nx_json_bbox(json, d);
        /* Average precision is a matter of rank: four digits would tie most of the weak ones. */
        nx_json_key_number(json, "score", (double)d->confidence, 6);
        if (result->masks != NULL) {
            nx_json_key(json, "segmentation");
            nx_result_json_rle(&result->masks[i], json);
        }
        if (result->keypoints != NULL) {
            write_keypoints(json, result->keypoints + i * result->keypoint_count,
                            result->keypoint_count);
        }
        nx_json_object_end(json);
    }
}
