/*
 * Cutting off the detection head of YOLOv8 and its kin (YOLO11 has the same one). For each stride
 * the head ends in two 1x1 convolutions, distances and class scores, which are concatenated,
 * reshaped and, all strides together, decoded to boxes for every cell. Without that part the model
 * gives the convolutions' own outputs, and boxes are decoded only where a score is high enough
 * (NX_HEAD_SPLIT in vision/postprocess.h).
 */
#ifndef NX_OPTIMIZE_HEAD_CUT_H
#define NX_OPTIMIZE_HEAD_CUT_H

#include "optimize/graph.h"

#define NX_SPLIT_MAX_LEVELS 4

/* By rising stride. Outputs are named distances_<stride> and scores_<stride>. */
typedef struct nx_split_head {
    size_t level_count;
    uint32_t strides[NX_SPLIT_MAX_LEVELS];
    uint32_t
        reg_max; /* bins of a distance's distribution; distances have 4 times as many channels */
    uint32_t classes;
} nx_split_head;

/*
 * Cuts, renames the outputs, removes what nothing depends on any more, and writes the metadata
 * `nexus_head` and `nexus_reg_max`. A model that is already cut is left as it is. Fills out.
 * Errors: NX_ERR_UNSUPPORTED (what was looked for and not found), NX_ERR_NO_MEMORY.
 */
nx_status nx_head_cut(nx_graph *graph, nx_split_head *out, nx_error *err);

/* Declares the outputs anew: of this type, and channels last or first. height and width: as texts,
 * "height" and "width" or numbers. */
void nx_head_declare_outputs(nx_graph *graph, const nx_split_head *head, int32_t type,
                             bool channels_last, const char *batch, const char *height,
                             const char *width);

#endif
