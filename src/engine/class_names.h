/* The class names in a model's metadata: a Python or JSON literal such as {0: 'person', 1: "bus"}.
 */
#ifndef NX_ENGINE_CLASS_NAMES_H
#define NX_ENGINE_CLASS_NAMES_H

#include "base/error.h"
#include "engine/onnx_file.h"

#include <stddef.h>

/* Owns its strings; every entry is set. */
typedef struct nx_name_table {
    char **names;
    size_t count;
} nx_name_table;

/*
 * Parses a dict with the keys 0..n-1 in any order, or a list. At most NX_MAX_CLASSES names of at
 * most 255 bytes. Errors: NX_ERR_CORRUPT with the position, NX_ERR_NO_MEMORY.
 */
nx_status nx_class_names_parse(nx_onnx_text text, nx_name_table *out, nx_error *err);

/* class_0 .. class_<count-1>, for a file without names. */
nx_status nx_class_names_number(size_t count, nx_name_table *out, nx_error *err);

void nx_name_table_free(nx_name_table *table);

#endif
