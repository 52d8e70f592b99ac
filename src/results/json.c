#include "results/box.h"
#include "results/results.h"

void nx_result_json_rle(const nx_rle *rle, nx_json *json)
{
    nx_buffer counts = NX_BUFFER_INIT;
    nx_rle_write(rle, &counts);
    nx_json_object_begin(json);
    nx_json_key(json, "size");
    nx_json_array_begin(json);
    nx_json_int(json, rle->height);
    nx_json_int(json, rle->width);
    nx_json_array_end(json);
    nx_json_key(json, "counts");
    nx_json_string_n(json, counts.size > 0 ? counts.data : "", counts.size);
    nx_json_object_end(json);
    json->out->failed = json->out->failed || counts.failed;
    nx_buffer_free(&counts);
}

static void write_keypoints(nx_json *json, const nx_keypoint *keypoints, size_t count)
{
    nx_json_key(json, "keypoints");
    nx_json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        nx_json_object_begin(json);
        nx_json_key_number(json, "x", (double)keypoints[i].x, 2);
        nx_json_key_number(json, "y", (double)keypoints[i].y, 2);
        nx_json_key_number(json, "confidence", (double)keypoints[i].confidence, 4);
        nx_json_object_end(json);
    }
    nx_json_array_end(json);
}

static void write_detection(nx_json *json, const nx_result *result, size_t index)
{
    const nx_detection *d = &result->detections[index];
    const nx_class_names names = result->names;
    nx_json_object_begin(json);
    nx_json_key_int(json, "class_id", d->class_id);
    nx_json_key_string(json, "class_name", nx_class_name(names, d->class_id));
    nx_json_key_number(json, "confidence", (double)d->confidence, 4);
    nx_json_box(json, d);
    if (result->masks != NULL) {
        nx_json_key(json, "mask");
        nx_result_json_rle(&result->masks[index], json);
    }
    if (result->keypoints != NULL) {
        write_keypoints(json, result->keypoints + index * result->keypoint_count,
                        result->keypoint_count);
    }
    nx_json_object_end(json);
}

static void write_timings(nx_json *json, const nx_timings *timings)
{
    nx_json_object_begin(json);
    nx_json_key_number(json, "queue", timings->queue, 3);
    nx_json_key_number(json, "decode", timings->decode, 3);
    nx_json_key_number(json, "preprocess", timings->preprocess, 3);
    nx_json_key_number(json, "inference", timings->inference, 3);
    nx_json_key_number(json, "postprocess", timings->postprocess, 3);
    nx_json_key_number(json, "total", timings->total, 3);
    nx_json_object_end(json);
}

void nx_result_json_members(const nx_result *result, nx_json *json)
{
    nx_json_key(json, "image");
    nx_json_object_begin(json);
    nx_json_key_int(json, "width", result->image_width);
    nx_json_key_int(json, "height", result->image_height);
    nx_json_object_end(json);
    nx_json_key_string(json, "model", result->model);
    if (result->device != NULL) {
        nx_json_key_string(json, "execution_provider", result->device);
    }
    nx_json_key(json, "detections");
    nx_json_array_begin(json);
    for (size_t i = 0; i < result->count; i++) {
        write_detection(json, result, i);
    }
    nx_json_array_end(json);
    nx_json_key(json, "timings_ms");
    write_timings(json, &result->timings);
}
