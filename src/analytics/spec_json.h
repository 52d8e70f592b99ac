/* Inside src/analytics: what the readers of zones and of rules share. Reading is strict, and
 * messages name the place: "door.json: zones[2].classes[0] ...". No state. */
#ifndef NX_ANALYTICS_SPEC_JSON_H
#define NX_ANALYTICS_SPEC_JSON_H

#include "analytics/zones.h"
#include "base/error.h"
#include "vision/detection.h"

#include <jansson.h>
#include <stddef.h>

/* Where in the file we are. */
typedef struct nx_spec_place {
    const char *file;
    const char *list; /* "zones" */
    size_t index;
    nx_class_names names;
    nx_error *err;
} nx_spec_place;

/* "an object", "missing". */
const char *nx_spec_type_name(const json_t *value);

/* "...zones[2].polygon is a number; it must be WANTED". */
nx_status nx_spec_wrong_type(const nx_spec_place *at, const char *member, const json_t *value,
                             const char *wanted);

/* Parses a text of at most `most` bytes. what: "zones", for messages. Errors: NX_ERR_INVALID,
 * NX_ERR_TOO_LARGE, NX_ERR_NO_MEMORY. */
nx_status nx_spec_load(const char *text, size_t size, const char *file, const char *what,
                       size_t most, json_t **out, nx_error *err);
nx_status nx_spec_no_memory(const char *file, nx_error *err);

/* Refuses a member that is not known. where: "zones[2]", or "" for the document. */
nx_status nx_spec_check_members(const json_t *object, const char *file, const char *where,
                                const char *const *known, size_t count, nx_error *err);

/* Member `list` of root: missing (and then NULL), or a list of at most `most` items. */
nx_status nx_spec_list(const json_t *root, const char *list, const char *file, size_t most,
                       const json_t **out, nx_error *err);

/* An item of the list is an object. */
nx_status nx_spec_check_item(const nx_spec_place *at, const json_t *item);

/* The member "name": a text of 1 to NX_ZONES_MAX_NAME_BYTES bytes, copied with its NUL. */
nx_status nx_spec_read_name(const nx_spec_place *at, const json_t *item, char *out);

/* The member "classes": missing (all), or a list of at least one of the model's. Without names any
 * texts will do, and *out lets none of them pass. */
nx_status nx_spec_read_classes(const nx_spec_place *at, const json_t *item, nx_zone_filter *out);

#endif
