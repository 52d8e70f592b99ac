/* Which category of a COCO file each class of a model is. */
#ifndef NX_EVAL_CLASS_MAP_H
#define NX_EVAL_CLASS_MAP_H

#include "base/error.h"
#include "eval/coco_json.h"
#include "vision/detection.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Both arrays have an entry for each class of the model. Release with nx_class_map_free. */
typedef struct nx_class_map {
    int32_t *indices; /* into the dataset's categories; -1: the file has no such category */
    int64_t *ids;     /* the categories' ids; -1 likewise */
    size_t class_count;
    size_t mapped;            /* classes that have a category */
    size_t missed_categories; /* categories that no class is */
    bool by_order; /* the model has no names, so the first class is the first category, and so on */
} nx_class_map;

/*
 * By name; a model without names (names_known false) is taken in the order of category ids when the
 * counts agree. The map owns its arrays and borrows nothing.
 * Errors: NX_ERR_INVALID (no name in common, or no names and another count), NX_ERR_NO_MEMORY.
 */
nx_status nx_class_map_make(nx_class_names names, bool names_known, const nx_coco_dataset *dataset,
                            nx_class_map *out, nx_error *err);
void nx_class_map_free(nx_class_map *map);

#endif
