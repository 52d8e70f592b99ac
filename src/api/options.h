/*
 * The options of an inference request: confidence, iou, max_detections, classes, model, format.
 * They come as text (query, form fields) or as JSON members, and each error names the option, what
 * was given and what is allowed.
 *
 * Plain data of one request; no locks.
 */
#ifndef NX_API_OPTIONS_H
#define NX_API_OPTIONS_H

#include "http/problem.h"
#include "vision/postprocess.h"

#include <jansson.h>
#include <stdbool.h>

typedef enum nx_answer_format {
    NX_FORMAT_NEXUS,
    NX_FORMAT_COCO,
    NX_FORMAT_YOLO,
    NX_FORMAT_CSV,
} nx_answer_format;

/* What the options are judged by. Borrowed, must outlive the options. */
typedef struct nx_option_rules {
    nx_postprocess_options defaults;
    nx_class_names names;
    const char *model; /* its name */
    /* Option `model` was read before, to find this one; else it must name it. */
    bool model_chosen;
    bool has_format; /* batches have none */
} nx_option_rules;

typedef struct nx_api_options {
    const nx_option_rules *rules;
    nx_postprocess_options postprocess;
    nx_answer_format format;
    unsigned seen; /* options that the current source has given */
} nx_api_options;

/* The defaults. */
nx_api_options nx_api_options_start(const nx_option_rules *rules);

/* A source begins (the query; then fields, which win): in one source no option is given twice,
 * classes apart, which add up. */
void nx_api_options_next_source(nx_api_options *options);

/*
 * Takes one option. value NULL is a name without a value. False fills problem: 400 for what cannot
 * be read and for an option given twice, 422 for an unknown option or a value out of range, 404 for
 * an unknown model.
 */
bool nx_api_options_set(nx_api_options *options, const char *name, const char *value,
                        nx_problem *problem);

/* The same from a JSON member; null leaves the option as it is. */
bool nx_api_options_set_json(nx_api_options *options, const char *name, const json_t *value,
                             nx_problem *problem);

#endif
