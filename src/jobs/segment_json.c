/* The result of a segmentation as JSON. */
#include "jobs/segment_job.h"

#include <sodium.h>
#include <string.h>

/* Corners within this many pixels of a straight line are left out of polygons. */
#define POLYGON_TOLERANCE 1.0

static const char *const format_names[] = {
    [NX_MASK_RLE] = "rle",
    [NX_MASK_POLYGON] = "polygon",
    [NX_MASK_PNG] = "png",
};

static const char *const origin_names[] = {
    [NX_EMBEDDING_COMPUTED] = "computed",
    [NX_EMBEDDING_CACHED] = "cached",
    [NX_EMBEDDING_SHARED] = "shared",
};

bool nx_mask_format_parse(const char *name, nx_mask_format *out)
{
    for (size_t i = 0; i < sizeof format_names / sizeof format_names[0]; i++) {
        if (strcmp(name, format_names[i]) == 0) {
            *out = (nx_mask_format)i;
            return true;
        }
    }
    return false;
}

static nx_status write_polygons(const nx_rle *rle, nx_json *json, nx_error *err)
{
    nx_mask mask;
    nx_polygons polygons = {0};
    nx_status status = nx_rle_decode(rle, &mask, err);
    if (status == NX_OK) {
        status = nx_mask_polygons(&mask, POLYGON_TOLERANCE, &polygons, err);
    }
    nx_json_key(json, "polygon");
    nx_json_array_begin(json);
    for (size_t i = 0; i < polygons.count; i++) {
        const nx_ring *ring = &polygons.rings[i];
        nx_json_array_begin(json);
        for (size_t v = 0; v < ring->count; v++) {
            nx_json_int(json, ring->vertices[v].x);
            nx_json_int(json, ring->vertices[v].y);
        }
        nx_json_array_end(json);
    }
    nx_json_array_end(json);
    nx_polygons_free(&polygons);
    nx_mask_free(&mask);
    return status;
}

/* Base64 (RFC 4648 section 4) as a JSON string. */
static void write_base64(const nx_buffer *bytes, nx_json *json)
{
    size_t size = sodium_base64_ENCODED_LEN(bytes->size, sodium_base64_VARIANT_ORIGINAL);
    nx_buffer text = NX_BUFFER_INIT;
    if (nx_buffer_reserve(&text, size)) {
        sodium_bin2base64(text.data, size, (const unsigned char *)bytes->data, bytes->size,
                          sodium_base64_VARIANT_ORIGINAL);
        nx_json_string_n(json, text.data, size - 1);
    }
    json->out->failed = json->out->failed || text.failed;
    nx_buffer_free(&text);
}

static nx_status write_png(const nx_rle *rle, nx_json *json, nx_error *err)
{
    nx_mask mask;
    nx_buffer png = NX_BUFFER_INIT;
    nx_status status = nx_rle_decode(rle, &mask, err);
    if (status == NX_OK) {
        for (size_t i = 0; i < (size_t)mask.width * mask.height; i++) {
            mask.bits[i] = (uint8_t)(0 - mask.bits[i]);
        }
        status = nx_image_encode_png_gray(mask.bits, mask.width, mask.height, &png, err);
    }
    nx_json_key(json, "png");
    write_base64(&png, json);
    nx_buffer_free(&png);
    nx_mask_free(&mask);
    return status;
}

static nx_status write_mask(const nx_sam_mask_item *item, nx_mask_format format, nx_json *json,
                            nx_error *err)
{
    nx_status status = NX_OK;
    nx_json_object_begin(json);
    switch (format) {
    case NX_MASK_RLE:
        nx_json_key(json, "mask");
        nx_result_json_rle(&item->rle, json);
        break;
    case NX_MASK_POLYGON:
        status = write_polygons(&item->rle, json, err);
        break;
    case NX_MASK_PNG:
        status = write_png(&item->rle, json, err);
        break;
    }
    nx_mask_box box = nx_rle_box(&item->rle);
    nx_json_key_number(json, "score", (double)item->score, 4);
    nx_json_key_int(json, "area", nx_rle_area(&item->rle));
    nx_json_key(json, "box");
    nx_json_object_begin(json);
    nx_json_key_int(json, "x1", box.left);
    nx_json_key_int(json, "y1", box.top);
    nx_json_key_int(json, "x2", box.right);
    nx_json_key_int(json, "y2", box.bottom);
    nx_json_object_end(json);
    nx_json_key_int(json, "prompt", (int64_t)item->thing);
    nx_json_object_end(json);
    return status;
}

void nx_segment_json_timings(const nx_segment_timings *timings, nx_json *json)
{
    nx_json_key(json, "timings_ms");
    nx_json_object_begin(json);
    nx_json_key_number(json, "queue", timings->queue, 3);
    nx_json_key_number(json, "decode", timings->decode, 3);
    nx_json_key_number(json, "preprocess", timings->preprocess, 3);
    nx_json_key_number(json, "inference", timings->encoder + timings->decoder, 3);
    nx_json_key_number(json, "encoder", timings->encoder, 3);
    nx_json_key_number(json, "decoder", timings->decoder, 3);
    nx_json_key_number(json, "postprocess", timings->postprocess, 3);
    nx_json_key_number(json, "total", timings->total, 3);
    nx_json_object_end(json);
}

nx_status nx_segment_json_members(const nx_segment_result *result, nx_mask_format format,
                                  nx_segment_json_check check, void *user, nx_json *json,
                                  nx_error *err)
{
    nx_status status = NX_OK;
    nx_json_key_string(json, "model", result->model);
    nx_json_key_string(json, "execution_provider", result->device);
    nx_json_key_string(json, "image_id", result->image_id);
    nx_json_key(json, "image");
    nx_json_object_begin(json);
    nx_json_key_int(json, "width", result->image_width);
    nx_json_key_int(json, "height", result->image_height);
    nx_json_object_end(json);
    nx_json_key_string(json, "embedding", origin_names[result->origin]);
    nx_json_key(json, "masks");
    nx_json_array_begin(json);
    for (size_t i = 0; i < result->masks->count && status == NX_OK; i++) {
        status = check(user, i, err);
        if (status == NX_OK) {
            status = write_mask(&result->masks->items[i], format, json, err);
        }
    }
    nx_json_array_end(json);
    if (status == NX_OK && json->out->failed) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the masks as text");
    }
    return status;
}
