/* A list of classes as people write it: "person,bus,7". */
#ifndef NX_VISION_CLASS_FILTER_H
#define NX_VISION_CLASS_FILTER_H

#include "vision/postprocess.h"

/* Adds one class by name (case ignored; every class of that name) or number. Errors: NX_ERR_INVALID
 * with a suggestion. */
nx_status nx_class_filter_add(const char *word, nx_class_names names,
                              nx_postprocess_options *options, nx_error *err);

/* Adds each word of a comma-separated list; spaces around words are ignored. An empty list or word
 * is NX_ERR_INVALID. */
nx_status nx_class_filter_parse(const char *list, nx_class_names names,
                                nx_postprocess_options *options, nx_error *err);

#endif
