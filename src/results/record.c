#include "results/record.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DETECTION_WORDS 7
#define KEYPOINT_WORDS  3

static const char magic[4] = {'N', 'X', 'R', '1'};

/* --- writing ------------------------------------------------------------------------------------
 */

static void put(nx_buffer *out, uint32_t value)
{
    const uint32_t wire = htole32(value);
    nx_buffer_append(out, &wire, sizeof wire);
}

static void put_size(nx_buffer *out, size_t value)
{
    if (value > UINT32_MAX) {
        out->failed = true;
    }
    put(out, (uint32_t)value);
}

static void put_float(nx_buffer *out, float value)
{
    uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    put(out, bits);
}

static void put_detection(nx_buffer *out, const nx_detection *d)
{
    put_float(out, d->x1);
    put_float(out, d->y1);
    put_float(out, d->x2);
    put_float(out, d->y2);
    put_float(out, d->confidence);
    put(out, (uint32_t)d->class_id);
    put(out, (uint32_t)d->anchor);
}

static void put_mask(nx_buffer *out, const nx_rle *mask)
{
    put_size(out, mask->count);
    for (size_t i = 0; i < mask->count; i++) {
        put(out, mask->counts[i]);
    }
}

void nx_record_write(const nx_result *result, nx_buffer *out)
{
    size_t keypoints = result->keypoints != NULL ? result->keypoint_count : 0;
    nx_buffer_append(out, magic, sizeof magic);
    put(out, result->image_width);
    put(out, result->image_height);
    put_size(out, result->count);
    put_size(out, keypoints);
    put(out, result->masks != NULL);
    for (size_t i = 0; i < result->count; i++) {
        put_detection(out, &result->detections[i]);
    }
    for (size_t i = 0; i < result->count * keypoints; i++) {
        put_float(out, result->keypoints[i].x);
        put_float(out, result->keypoints[i].y);
        put_float(out, result->keypoints[i].confidence);
    }
    for (size_t i = 0; i < result->count && result->masks != NULL; i++) {
        put_mask(out, &result->masks[i]);
    }
}

/* --- reading ------------------------------------------------------------------------------------
 */

typedef struct reader {
    const char *at;
    size_t words; /* left */
    bool broken;
} reader;

static uint32_t take(reader *r)
{
    uint32_t wire = 0;
    if (r->words == 0) {
        r->broken = true;
        return 0;
    }
    memcpy(&wire, r->at, sizeof wire);
    r->at += sizeof wire;
    r->words--;
    return le32toh(wire);
}

static float take_float(reader *r)
{
    const uint32_t bits = take(r);
    float value = 0;
    memcpy(&value, &bits, sizeof value);
    r->broken = r->broken || !isfinite(value);
    return value;
}

/* Room for `count` things of so many words each, which the bytes that are left must hold; NULL when
 * there are none. */
static void *room_for(reader *r, size_t count, size_t words, size_t bytes)
{
    if (count == 0 || r->broken) {
        return NULL;
    }
    if (count > r->words / words) {
        r->broken = true;
        return NULL;
    }
    void *room = calloc(count, bytes);
    r->broken = room == NULL;
    return room;
}

static void read_detections(reader *r, size_t count, nx_detections *out)
{
    out->items = room_for(r, count, DETECTION_WORDS, sizeof *out->items);
    out->capacity = out->count = r->broken ? 0 : count;
    for (size_t i = 0; i < out->count; i++) {
        nx_detection *d = &out->items[i];
        d->x1 = take_float(r);
        d->y1 = take_float(r);
        d->x2 = take_float(r);
        d->y2 = take_float(r);
        d->confidence = take_float(r);
        d->class_id = (int32_t)take(r);
        d->anchor = (int32_t)take(r);
        r->broken = r->broken || d->class_id < 0;
    }
}

static void read_keypoints(reader *r, size_t each, nx_detections *out)
{
    size_t count = 0;
    if (each == 0 || __builtin_mul_overflow(out->count, each, &count)) {
        r->broken = r->broken || each != 0;
        return;
    }
    out->keypoints = room_for(r, count, KEYPOINT_WORDS, sizeof *out->keypoints);
    out->keypoint_count = each;
    for (size_t i = 0; i < count && !r->broken; i++) {
        out->keypoints[i].x = take_float(r);
        out->keypoints[i].y = take_float(r);
        out->keypoints[i].confidence = take_float(r);
    }
}

static void read_mask(reader *r, const nx_record *record, nx_rle *out)
{
    nx_error ignored;
    size_t count = take(r);
    uint32_t *runs = room_for(r, count, 1, sizeof *runs);
    for (size_t i = 0; i < count && !r->broken; i++) {
        runs[i] = take(r);
    }
    if (!r->broken && nx_rle_from_counts(runs, count, record->image_width, record->image_height,
                                         out, &ignored) != NX_OK) {
        r->broken = true;
    }
    free(runs);
}

static void read_masks(reader *r, const nx_record *record, nx_detections *out)
{
    out->masks = room_for(r, out->count, 1, sizeof *out->masks);
    for (size_t i = 0; i < out->count && !r->broken; i++) {
        read_mask(r, record, &out->masks[i]);
        out->mask_count = i + 1;
    }
}

bool nx_record_read(const void *bytes, size_t size, nx_record *out)
{
    *out = (nx_record){0};
    if (size < sizeof magic || size % 4 != 0 || memcmp(bytes, magic, sizeof magic) != 0) {
        return false;
    }
    reader r = {.at = (const char *)bytes + sizeof magic, .words = size / 4 - 1};
    out->image_width = take(&r);
    out->image_height = take(&r);
    const size_t count = take(&r);
    const size_t keypoints = take(&r);
    const uint32_t masks = take(&r);
    r.broken = r.broken || masks > 1;
    read_detections(&r, count, &out->found);
    read_keypoints(&r, keypoints, &out->found);
    if (masks == 1) {
        read_masks(&r, out, &out->found);
    }
    if (r.broken || r.words > 0) {
        nx_record_free(out);
        return false;
    }
    return true;
}

void nx_record_free(nx_record *record)
{
    nx_detections_free(&record->found);
    *record = (nx_record){0};
}

nx_result nx_record_result(const nx_record *record)
{
    const nx_detections *found = &record->found;
    return (nx_result){
        .image_width = record->image_width,
        .image_height = record->image_height,
        .detections = found->items,
        .count = found->count,
        .masks = found->masks,
        .keypoints = found->keypoints,
        .keypoint_count = found->keypoint_count,
    };
}
