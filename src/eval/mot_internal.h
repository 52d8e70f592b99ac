/* Between mot.c, mot_clear.c and mot_hota.c; nothing for others. */
#ifndef NX_EVAL_MOT_INTERNAL_H
#define NX_EVAL_MOT_INTERNAL_H

#include "eval/mot.h"

#include <stdbool.h>

/* numpy's eps: TrackEval compares with thresholds by a hair less. */
#define NX_MOT_EPSILON   2.220446049250313e-16
#define NX_MOT_THRESHOLD 0.5

/* Truths or tracks: boxes by rising frame and id, and their ids as indices. */
typedef struct nx_mot_side {
    nx_mot_box *boxes;
    int32_t *ids; /* of each box: index into the distinct ids */
    size_t count;
    size_t id_count;
    size_t *times; /* by id: in how many frames it is */
} nx_mot_side;

typedef struct nx_mot_data {
    nx_mot_side truth, track;
    size_t most_truths, most_tracks; /* in one frame */
    double *iou;                     /* of the current frame's pairs, truth by truth */
    double *cost;
    int32_t *chosen; /* by truth of the frame: its track of the frame, or NX_ASSIGN_NONE */
} nx_mot_data;

/* A frame: its boxes are those from first on. Start from zeros. */
typedef struct nx_mot_frame {
    size_t truth_first, truth_count;
    size_t track_first, track_count;
} nx_mot_frame;

/* Steps to the next frame that has any box and fills data->iou; false behind the last. */
bool nx_mot_next(nx_mot_data *data, nx_mot_frame *frame);

nx_status nx_mot_clear(nx_mot_data *data, nx_mot_scores *out, nx_error *err);
nx_status nx_mot_hota(nx_mot_data *data, nx_mot_scores *out, nx_error *err);

#endif
