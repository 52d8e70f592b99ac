/*
 * The options of a segmentation: points, boxes, multimask, mask_format, image_id,
 * model. They come as text
 * (query, form fields: point=X,Y[,0|1] and box=X1,Y1,X2,Y2, as often as needed) or as JSON members
 * (points and boxes, arrays), and each error names the option, what was given and what is allowed.
 *
 * Plain data of one request; no locks.
 */
#ifndef NX_API_SEGMENT_OPTIONS_H
#define NX_API_SEGMENT_OPTIONS_H

#include "http/problem.h"
#include "jobs/segment_job.h"
#include "vision/sam.h"

#include <jansson.h>
#include <stdbool.h>

/* Zeroed it is the defaults. */
typedef struct nx_segment_options {
    nx_sam_prompt prompt;
    nx_mask_format mask_format;
    bool has_image_id;
    nx_content_hash image_id;
    char model[128]; /* NAME or NAME:VERSION, longer than any that there is; "": not given */
    unsigned seen;   /* options that the current source has given */
} nx_segment_options;

/* A source begins (the query; then fields, which win): in one source no option is given twice,
 * points and boxes apart, which add up. */
void nx_segment_options_next_source(nx_segment_options *options);

/* Takes one option. value NULL is a name without a value. False fills problem: 400 for what cannot
 * be read and for an option given twice, 422 for an unknown option or a value out of range. */
bool nx_segment_options_set(nx_segment_options *options, const char *name, const char *value,
                            nx_problem *problem);

/* The same from a JSON member; null leaves the option as it is. */
bool nx_segment_options_set_json(nx_segment_options *options, const char *name, const json_t *value,
                                 nx_problem *problem);

/* Whether all of them together make a request: 422 where the prompt describes nothing. */
bool nx_segment_options_check(const nx_segment_options *options, nx_problem *problem);

#endif
