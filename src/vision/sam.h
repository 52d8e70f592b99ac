/*
 * Segment Anything (Kirillov et al., 2023; MobileSAM: Zhang et al., 2023): what stands around its
 * two networks. The encoder turns a picture into an embedding; the decoder turns an embedding and a
 * prompt, points and boxes that somebody clicked, into masks.
 *
 * Pure functions on memory; thread-safe; no globals. Coordinates are pixels of the upright picture.
 */
#ifndef NX_VISION_SAM_H
#define NX_VISION_SAM_H

#include "base/error.h"
#include "vision/image.h"
#include "vision/letterbox.h"
#include "vision/mask.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_SAM_SIDE      1024 /* of the encoder's square input */
#define NX_SAM_MASK_SIDE 256  /* of the decoder's masks */

#define NX_SAM_MAX_POINTS 64
#define NX_SAM_MAX_BOXES  32

/* Rows of point_coords and point_labels that one Run of the decoder gets at most. */
#define NX_SAM_MAX_ROWS (NX_SAM_MAX_POINTS + 2)

/* --- prompts ------------------------------------------------------------------------------------
 */

typedef struct nx_sam_point {
    double x, y;
    bool positive; /* on the thing; else on what does not belong to it */
} nx_sam_point;

typedef struct nx_sam_box {
    double x1, y1, x2, y2; /* x1 < x2, y1 < y2 */
} nx_sam_box;

/* Points alone, or one box with any points, describe one thing; each of several boxes describes one
 * of its own. */
typedef struct nx_sam_prompt {
    nx_sam_point points[NX_SAM_MAX_POINTS];
    size_t point_count;
    nx_sam_box boxes[NX_SAM_MAX_BOXES];
    size_t box_count;
    bool multimask; /* three masks for each thing, from part to whole, instead of the best */
} nx_sam_prompt;

/* Errors: NX_ERR_INVALID (not finite, a box without area), NX_ERR_TOO_LARGE (one too many). */
nx_status nx_sam_prompt_add_point(nx_sam_prompt *prompt, nx_sam_point point, nx_error *err);
nx_status nx_sam_prompt_add_box(nx_sam_prompt *prompt, nx_sam_box box, nx_error *err);

/* The same from text: "400,300", "400,300,1" (on the thing), "400,300,0" (not on it), and
 * "x1,y1,x2,y2". Errors: NX_ERR_INVALID with the form to use, NX_ERR_TOO_LARGE. */
nx_status nx_sam_prompt_parse_point(nx_sam_prompt *prompt, const char *text, nx_error *err);
nx_status nx_sam_prompt_parse_box(nx_sam_prompt *prompt, const char *text, nx_error *err);

/* Whether the prompt describes something: a box or a positive point, and no points beside several
 * boxes. Errors: NX_ERR_INVALID with what to do. */
nx_status nx_sam_prompt_check(const nx_sam_prompt *prompt, nx_error *err);

/* Whether everything lies in a picture of this size; boxes are cut off at its edges first, and must
 * touch it. Errors: NX_ERR_INVALID. */
nx_status nx_sam_prompt_fit(nx_sam_prompt *prompt, uint32_t width, uint32_t height, nx_error *err);

/* How many things are described: Runs of the decoder. */
size_t nx_sam_prompt_things(const nx_sam_prompt *prompt);

/* The decoder's point_coords (two a row) and point_labels for one thing; returns the rows. */
size_t nx_sam_prompt_rows(const nx_sam_prompt *prompt, size_t thing, const nx_letterbox *letterbox,
                          float coords[2 * NX_SAM_MAX_ROWS], float labels[NX_SAM_MAX_ROWS]);

/* --- pictures and masks -------------------------------------------------------------------------
 */

/* The picture's place in the encoder's input: the longer side at NX_SAM_SIDE, at the top left. */
nx_letterbox nx_sam_letterbox(uint32_t source_width, uint32_t source_height);

/* Scales, normalises and pads image into the encoder's input: 3 planes of NX_SAM_SIDE squared.
 * Errors: NX_ERR_NO_MEMORY. */
nx_status nx_sam_preprocess(const nx_letterbox *letterbox, const nx_image *image, float *tensor,
                            nx_error *err);

/*
 * Which of the decoder's four masks answers a prompt of `rows` rows: the first is for prompts that
 * leave no doubt, the best of the three others for the rest (as SAM's own ONNX export chooses).
 */
size_t nx_sam_choose(const float scores[4], size_t rows);

/* A decoder's mask of NX_SAM_MASK_SIDE squared, scaled bilinearly to the encoder's input and from
 * there to the picture, where it is above 0. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_sam_mask(const float *low_res, const nx_letterbox *letterbox, nx_rle *out,
                      nx_error *err);

#endif
