/* HOTA. */
#include "analytics/assignment.h"
#include "eval/mot_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALPHAS 19 /* 0.05, 0.10 ... 0.95 */

/* A truth's and a track's box in one frame that may be one. */
typedef struct pair {
    int32_t truth, track; /* ids */
    double iou;
} pair;

typedef struct work {
    nx_mot_data *data;
    double *aligned;  /* by truth id and track id: how well the two go together as a whole */
    double *together; /* the same: frames in which they are matched, at one alpha */
    pair *pairs;
    size_t pair_count;
    size_t pair_capacity;
} work;

/* Adds a frame's overlaps, each as a share of all that its two boxes have. */
static void add_alignment(work *w, const nx_mot_frame *frame)
{
    const nx_mot_data *data = w->data;
    size_t columns = frame->track_count;
    for (size_t i = 0; i < frame->truth_count; i++) {
        double row = 0;
        for (size_t j = 0; j < columns; j++) {
            row += data->iou[i * columns + j];
        }
        for (size_t j = 0; j < columns; j++) {
            double column = 0;
            for (size_t k = 0; k < frame->truth_count; k++) {
                column += data->iou[k * columns + j];
            }
            double iou = data->iou[i * columns + j];
            double of = row + column - iou;
            size_t truth = (size_t)data->truth.ids[frame->truth_first + i];
            size_t track = (size_t)data->track.ids[frame->track_first + j];
            w->aligned[truth * data->track.id_count + track] += of > NX_MOT_EPSILON ? iou / of : 0;
        }
    }
}

static void finish_alignment(work *w)
{
    const nx_mot_data *data = w->data;
    for (size_t i = 0; i < data->truth.id_count; i++) {
        for (size_t j = 0; j < data->track.id_count; j++) {
            double *at = &w->aligned[i * data->track.id_count + j];
            *at /= (double)data->truth.times[i] + (double)data->track.times[j] - *at;
        }
    }
}

static bool add_pair(work *w, pair made)
{
    if (w->pair_count == w->pair_capacity) {
        size_t capacity = w->pair_capacity > 0 ? w->pair_capacity * 2 : 256;
        pair *grown = reallocarray(w->pairs, capacity, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        w->pairs = grown;
        w->pair_capacity = capacity;
    }
    w->pairs[w->pair_count++] = made;
    return true;
}

/* The frame's pairs, the same at every alpha: those that go together best. */
static nx_status match(work *w, const nx_mot_frame *frame, nx_error *err)
{
    nx_mot_data *data = w->data;
    size_t columns = frame->track_count;
    for (size_t i = 0; i < frame->truth_count * columns; i++) {
        size_t truth = (size_t)data->truth.ids[frame->truth_first + i / columns];
        size_t track = (size_t)data->track.ids[frame->track_first + i % columns];
        data->cost[i] = -data->iou[i] * w->aligned[truth * data->track.id_count + track];
    }
    nx_status status = nx_assign(data->cost, frame->truth_count, columns, 0, data->chosen, err);
    for (size_t i = 0; status == NX_OK && i < frame->truth_count; i++) {
        int32_t j = data->chosen[i];
        if (j != NX_ASSIGN_NONE &&
            !add_pair(w, (pair){data->truth.ids[frame->truth_first + i],
                                data->track.ids[frame->track_first + (size_t)j],
                                data->iou[i * columns + (size_t)j]})) {
            status = nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory to measure the tracks");
        }
    }
    return status;
}

/* Adds one alpha's values to out's. */
static void add_alpha(work *w, double alpha, nx_mot_scores *out)
{
    const nx_mot_data *data = w->data;
    size_t columns = data->track.id_count;
    size_t cells = data->truth.id_count * columns;
    double hits = 0;
    double ious = 0;
    double sum = 0;
    memset(w->together, 0, (cells + 1) * sizeof *w->together);
    for (size_t i = 0; i < w->pair_count; i++) {
        const pair *p = &w->pairs[i];
        if (p->iou >= alpha - NX_MOT_EPSILON) {
            w->together[(size_t)p->truth * columns + (size_t)p->track]++;
            ious += p->iou;
            hits++;
        }
    }
    for (size_t i = 0; i < cells; i++) {
        size_t truth = data->truth.times[i / columns];
        size_t track = data->track.times[i % columns];
        double c = w->together[i];
        sum += c > 0 ? c * c / ((double)truth + (double)track - c) : 0;
    }
    double association = hits > 0 ? sum / hits : 0;
    double detection = hits / ((double)data->truth.count + (double)data->track.count - hits);
    out->association += association / ALPHAS;
    out->detection += detection / ALPHAS;
    out->localization += (hits > 0 ? ious / hits : 1) / ALPHAS;
    out->hota += sqrt(association * detection) / ALPHAS;
}

nx_status nx_mot_hota(nx_mot_data *data, nx_mot_scores *out, nx_error *err)
{
    size_t cells = data->truth.id_count * data->track.id_count;
    nx_mot_frame frame = {0};
    nx_status status = NX_OK;
    work w = {
        .data = data,
        .aligned = calloc(cells + 1, sizeof *w.aligned),
        .together = calloc(cells + 1, sizeof *w.together),
    };
    if (w.aligned == NULL || w.together == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory to measure the tracks");
        goto done;
    }
    while (nx_mot_next(data, &frame)) {
        add_alignment(&w, &frame);
    }
    finish_alignment(&w);
    frame = (nx_mot_frame){0};
    while (status == NX_OK && nx_mot_next(data, &frame)) {
        status = match(&w, &frame, err);
    }
    for (int i = 1; status == NX_OK && i <= ALPHAS; i++) {
        add_alpha(&w, 0.05 * i, out);
    }
done:
    free(w.aligned);
    free(w.together);
    free(w.pairs);
    return status;
}
