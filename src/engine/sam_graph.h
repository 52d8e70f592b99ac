/*
 * SAM's decoder computes four masks, and its usual export shows the best of them alone. This makes
 * all four of them outputs, so that people can choose between a part and the whole.
 */
#ifndef NX_ENGINE_SAM_GRAPH_H
#define NX_ENGINE_SAM_GRAPH_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define NX_SAM_GRAPH_NAME 256

/* The outputs that were added: float32 [1,4,256,256] and [1,4]. */
typedef struct nx_sam_graph {
    char masks[NX_SAM_GRAPH_NAME];
    char scores[NX_SAM_GRAPH_NAME];
} nx_sam_graph;

/*
 * Looks for the choice in an ONNX file: `low_res_masks` and `iou_predictions` as what a Gather
 * picks from all masks and scores. When it is there, out gets the file with those two as further
 * outputs, and true is returned. False: another export, or bytes that are no ONNX file; out is then
 * empty. Reads any bytes safely; names are borrowed by nobody.
 */
bool nx_sam_graph_show_all(const void *bytes, size_t size, nx_buffer *out, nx_sam_graph *added);

#endif
