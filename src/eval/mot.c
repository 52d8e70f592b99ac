#include "eval/mot.h"

#include "analytics/assignment.h"
#include "eval/mot_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory to measure the tracks");
}

/* --- input --------------------------------------------------------------------------------------
 */

static void free_side(nx_mot_side *side)
{
    free(side->boxes);
    free(side->ids);
    free(side->times);
}

static int by_frame(const void *left, const void *right)
{
    const nx_mot_box *a = left;
    const nx_mot_box *b = right;
    int order = (a->frame > b->frame) - (a->frame < b->frame);
    return order != 0 ? order : (a->id > b->id) - (a->id < b->id);
}

static int by_value(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static nx_status check_box(const nx_mot_box *box, const char *what, size_t index, nx_error *err)
{
    bool good = box->frame >= 1 && box->frame <= NX_MOT_MAX_FRAME && isfinite(box->x) &&
                isfinite(box->y) && isfinite(box->width) && isfinite(box->height) &&
                box->width > 0 && box->height > 0;
    return good ? NX_OK
                : nx_error_set(err, NX_ERR_INVALID, "%s %zu is no box in a frame", what, index);
}

/* Copies, sorts and checks the boxes of the frames that count. */
static nx_status take_boxes(const nx_mot_box *boxes, size_t count, int32_t last_frame,
                            const char *what, nx_mot_side *side, nx_error *err)
{
    side->boxes = calloc(count + 1, sizeof *side->boxes);
    if (side->boxes == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        nx_status status = check_box(&boxes[i], what, i, err);
        if (status != NX_OK) {
            return status;
        }
        if (boxes[i].frame <= last_frame) {
            side->boxes[side->count++] = boxes[i];
        }
    }
    if (side->count > 1) {
        qsort(side->boxes, side->count, sizeof *side->boxes, by_frame);
    }
    for (size_t i = 1; i < side->count; i++) {
        if (by_frame(&side->boxes[i - 1], &side->boxes[i]) == 0) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "%s: frame %" PRId32 " has the id %" PRId64 " twice", what,
                                side->boxes[i].frame, side->boxes[i].id);
        }
    }
    return NX_OK;
}

/* Numbers the ids from 0 in their order. */
static nx_status number_ids(const char *what, nx_mot_side *side, nx_error *err)
{
    int64_t *distinct = calloc(side->count + 1, sizeof *distinct);
    side->ids = calloc(side->count + 1, sizeof *side->ids);
    side->times = calloc(side->count + 1, sizeof *side->times);
    if (distinct == NULL || side->ids == NULL || side->times == NULL) {
        free(distinct);
        return no_memory(err);
    }
    for (size_t i = 0; i < side->count; i++) {
        distinct[i] = side->boxes[i].id;
    }
    if (side->count > 1) {
        qsort(distinct, side->count, sizeof *distinct, by_value);
    }
    for (size_t i = 0; i < side->count; i++) {
        if (i == 0 || distinct[i] != distinct[side->id_count - 1]) {
            distinct[side->id_count++] = distinct[i];
        }
    }
    for (size_t i = 0; i < side->count; i++) {
        const int64_t *found =
            bsearch(&side->boxes[i].id, distinct, side->id_count, sizeof *distinct, by_value);
        side->ids[i] = (int32_t)(found - distinct);
        side->times[side->ids[i]]++;
    }
    free(distinct);
    return side->id_count <= NX_MOT_MAX_IDS
               ? NX_OK
               : nx_error_set(err, NX_ERR_TOO_LARGE, "%s: %zu ids; the most is %d", what,
                              side->id_count, NX_MOT_MAX_IDS);
}

static size_t most_in_a_frame(const nx_mot_side *side)
{
    size_t most = 0;
    size_t count = 0;
    for (size_t i = 0; i < side->count; i++) {
        count = i > 0 && side->boxes[i].frame == side->boxes[i - 1].frame ? count + 1 : 1;
        most = count > most ? count : most;
    }
    return most;
}

/* --- frames -------------------------------------------------------------------------------------
 */

static size_t count_of_frame(const nx_mot_side *side, size_t first, int32_t frame)
{
    size_t end = first;
    while (end < side->count && side->boxes[end].frame == frame) {
        end++;
    }
    return end - first;
}

static double overlap(const nx_mot_box *a, const nx_mot_box *b)
{
    double width = fmin(a->x + a->width, b->x + b->width) - fmax(a->x, b->x);
    double height = fmin(a->y + a->height, b->y + b->height) - fmax(a->y, b->y);
    if (width <= 0 || height <= 0) {
        return 0;
    }
    double both = width * height;
    double all = a->width * a->height + b->width * b->height - both;
    return all > 0 ? both / all : 0; /* areas may be too small for a double */
}

bool nx_mot_next(nx_mot_data *data, nx_mot_frame *frame)
{
    const nx_mot_side *truth = &data->truth;
    const nx_mot_side *track = &data->track;
    frame->truth_first += frame->truth_count;
    frame->track_first += frame->track_count;
    bool more_truth = frame->truth_first < truth->count;
    bool more_track = frame->track_first < track->count;
    if (!more_truth && !more_track) {
        return false;
    }
    int32_t number = more_truth ? truth->boxes[frame->truth_first].frame : INT32_MAX;
    if (more_track && track->boxes[frame->track_first].frame < number) {
        number = track->boxes[frame->track_first].frame;
    }
    frame->truth_count = count_of_frame(truth, frame->truth_first, number);
    frame->track_count = count_of_frame(track, frame->track_first, number);
    for (size_t i = 0; i < frame->truth_count; i++) {
        for (size_t j = 0; j < frame->track_count; j++) {
            data->iou[i * frame->track_count + j] = overlap(&truth->boxes[frame->truth_first + i],
                                                            &track->boxes[frame->track_first + j]);
        }
    }
    return true;
}

/* --- identities ---------------------------------------------------------------------------------
 */

static nx_status identities(nx_mot_data *data, nx_mot_scores *out, nx_error *err)
{
    size_t rows = data->truth.id_count;
    size_t columns = data->track.id_count;
    nx_mot_frame frame = {0};
    nx_status status = NX_OK;
    double *cost = calloc(rows * columns + 1, sizeof *cost);
    int32_t *chosen = calloc(rows + 1, sizeof *chosen);
    if (cost == NULL || chosen == NULL) {
        status = no_memory(err);
        goto done;
    }
    while (nx_mot_next(data, &frame)) { /* minus the frames in which the two are one */
        for (size_t i = 0; i < frame.truth_count * frame.track_count; i++) {
            int32_t row = data->truth.ids[frame.truth_first + i / frame.track_count];
            int32_t column = data->track.ids[frame.track_first + i % frame.track_count];
            cost[(size_t)row * columns + (size_t)column] -= data->iou[i] >= NX_MOT_THRESHOLD;
        }
    }
    status = nx_assign(cost, rows, columns, 0, chosen, err);
    double hits = 0;
    for (size_t i = 0; status == NX_OK && i < rows; i++) {
        hits -= chosen[i] != NX_ASSIGN_NONE ? cost[i * columns + (size_t)chosen[i]] : 0;
    }
    out->id_recall = hits / (double)data->truth.count;
    out->id_precision = data->track.count > 0 ? hits / (double)data->track.count : 0;
    out->idf1 = 2 * hits / (double)(data->truth.count + data->track.count);
done:
    free(cost);
    free(chosen);
    return status;
}

/* --- all of it ----------------------------------------------------------------------------------
 */

static nx_status prepare(const nx_mot_box *truth, size_t truth_count, const nx_mot_box *tracks,
                         size_t track_count, int32_t last_frame, nx_mot_data *data, nx_error *err)
{
    nx_status status = take_boxes(truth, truth_count, last_frame, "truth", &data->truth, err);
    if (status == NX_OK) {
        status = take_boxes(tracks, track_count, last_frame, "track box", &data->track, err);
    }
    if (status == NX_OK && data->truth.count == 0) {
        status = nx_error_set(err, NX_ERR_INVALID,
                              "there is no true box in frames 1 to %" PRId32 " to measure against",
                              last_frame);
    }
    if (status == NX_OK) {
        status = number_ids("truth", &data->truth, err);
    }
    if (status == NX_OK) {
        status = number_ids("tracks", &data->track, err);
    }
    if (status != NX_OK) {
        return status;
    }
    data->most_truths = most_in_a_frame(&data->truth);
    data->most_tracks = most_in_a_frame(&data->track);
    if (data->most_truths > NX_ASSIGN_MAX || data->most_tracks > NX_ASSIGN_MAX) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "a frame has more than %d boxes", NX_ASSIGN_MAX);
    }
    data->iou = calloc(data->most_truths * data->most_tracks + 1, sizeof *data->iou);
    data->cost = calloc(data->most_truths * data->most_tracks + 1, sizeof *data->cost);
    data->chosen = calloc(data->most_truths + 1, sizeof *data->chosen);
    return data->iou != NULL && data->cost != NULL && data->chosen != NULL ? NX_OK : no_memory(err);
}

nx_status nx_mot_evaluate(const nx_mot_box *truth, size_t truth_count, const nx_mot_box *tracks,
                          size_t track_count, int32_t last_frame, nx_mot_scores *out, nx_error *err)
{
    nx_mot_data data = {0};
    *out = (nx_mot_scores){0};
    nx_status status = prepare(truth, truth_count, tracks, track_count, last_frame, &data, err);
    if (status == NX_OK) {
        out->truths = data.truth.count;
        out->boxes = data.track.count;
        out->truth_ids = data.truth.id_count;
        out->track_ids = data.track.id_count;
        status = nx_mot_clear(&data, out, err);
    }
    if (status == NX_OK) {
        status = identities(&data, out, err);
    }
    if (status == NX_OK) {
        status = nx_mot_hota(&data, out, err);
    }
    free_side(&data.truth);
    free_side(&data.track);
    free(data.iou);
    free(data.cost);
    free(data.chosen);
    return status;
}
