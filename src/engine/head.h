/*
 * Which head a detector has: told from what its outputs declare, then from the shapes that it
 * really gives; and one picture's view of a batch of outputs. For model.c.
 */
#ifndef NX_ENGINE_HEAD_H
#define NX_ENGINE_HEAD_H

#include "engine/metadata.h"
#include "engine/tensor.h"
#include "vision/postprocess.h"

#define NX_HEAD_MAX_OUTPUTS (2 * NX_HEAD_MAX_LEVELS)

typedef struct nx_head {
    nx_head_kind kind;
    /* The outputs in the order in which the views below expect them: the boxes (and the prototypes
     * of masks), or distances and scores of each stride in turn. Borrowed from the session. */
    const char *outputs[NX_HEAD_MAX_OUTPUTS];
    size_t output_count;
    uint32_t strides[NX_HEAD_MAX_LEVELS]; /* of NX_HEAD_SPLIT */
    uint32_t level_count;
    uint32_t reg_max;
    bool channels_last;
    uint32_t classes;
    uint32_t mask_channels;
    uint32_t keypoints, keypoint_values;
} nx_head;

/*
 * Chooses the outputs by their declarations, so that what is no detector need not be run to find
 * out. path is for messages. Errors: NX_ERR_UNSUPPORTED.
 */
nx_status nx_head_choose(const nx_metadata *metadata, const nx_tensor *outputs, size_t count,
                         const char *path, nx_head *out, nx_error *err);

/*
 * Tells the head by what came out, in the chosen order, for one picture of width x height. classes
 * is what the shape says, or the number of names. Errors: NX_ERR_UNSUPPORTED.
 */
nx_status nx_head_recognise(const nx_metadata *metadata, const nx_tensor *outputs, size_t count,
                            uint32_t width, uint32_t height, const char *path, nx_head *head,
                            nx_error *err);

/* One picture's part of a batch's outputs. false: they are not what the head has. */
bool nx_head_view(const nx_head *head, const nx_tensor *outputs, size_t count, uint32_t slot,
                  uint32_t width, uint32_t height, nx_head_output *out);

#endif
