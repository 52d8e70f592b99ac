/*
 * How well tracks follow the truth, as TrackEval computes it:
 *
 * - CLEAR MOT (Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The
 *   CLEAR MOT Metrics", 2008): each frame's boxes are matched at IoU 0.5, those of the frame before
 *   first.
 * - IDF1 (Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera
 *   Tracking", 2016): each identity has one track for the whole sequence.
 * - HOTA (Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", 2020):
 *   the mean over IoU 0.05:0.05:0.95 of the geometric mean of detection and association accuracy.
 *
 * One sequence of one class; there are no ignored regions. Pure computation on memory; thread-safe.
 */
#ifndef NX_EVAL_MOT_H
#define NX_EVAL_MOT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define NX_MOT_MAX_FRAME 10000000
#define NX_MOT_MAX_IDS   2048 /* different ones on either side */

/* As in MOTChallenge's files. */
typedef struct nx_mot_box {
    int32_t frame; /* 1..NX_MOT_MAX_FRAME */
    int64_t id;
    double x, y, width, height; /* pixels; sides over 0 */
    double confidence;
    uint32_t line; /* of the file that it comes from; 0: none */
} nx_mot_box;

/* Shares are 0..1 (MOTA below 1, and below 0 when there is more wrong than to be found). */
typedef struct nx_mot_scores {
    size_t truths; /* boxes */
    size_t boxes;  /* of the tracks */
    size_t truth_ids, track_ids;

    double mota;
    double motp; /* mean IoU of matched boxes */
    size_t matches, misses, false_positives, switches;
    size_t fragments;
    size_t mostly_tracked, partly_tracked, mostly_lost; /* identities: over 80 %, 20 %, less */

    double idf1, id_precision, id_recall;

    double hota;
    double detection;    /* DetA */
    double association;  /* AssA */
    double localization; /* LocA */
} nx_mot_scores;

/*
 * Measures frames 1 to last_frame; boxes of later ones are left out. Boxes may stand in any order.
 * Errors: NX_ERR_INVALID (nothing true to measure against, a number that is not finite, an id twice
 * in a frame), NX_ERR_TOO_LARGE (too many ids, or boxes in a frame), NX_ERR_NO_MEMORY.
 */
nx_status nx_mot_evaluate(const nx_mot_box *truth, size_t truth_count, const nx_mot_box *tracks,
                          size_t track_count, int32_t last_frame, nx_mot_scores *out,
                          nx_error *err);

#endif
