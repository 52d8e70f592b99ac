#include "results/results.h"

static void write_detection(nx_json *json, const nx_detection *d, nx_class_names names)
{
    nx_json_object_begin(json);
    nx_json_key_int(json, "class_id", d->class_id);
    nx_json_key_string(json, "class_name", nx_class_name(names, d->class_id));
    nx_json_key_number(json, "confidence", (double)d->confidence, 4);
    nx_json_key(json, "box");
    nx_json_object_begin(json);
    nx_json_key_number(json, "x1", (double)d->x1, 2);
    nx_json_key_number(json, "y1", (double)d->y1, 2);
    nx_json_key_number(json, "x2", (double)d->x2, 2);
    nx_json_key_number(json, "y2", (double)d->y2, 2);
    nx_json_object_end(json);
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
    nx_json_key(json, "detections");
    nx_json_array_begin(json);
    for (size_t i = 0; i < result->count; i++) {
        write_detection(json, &result->detections[i], result->names);
    }
    nx_json_array_end(json);
    nx_json_key(json, "timings_ms");
    write_timings(json, &result->timings);
}
