/*
 * Zones and lines as people write them, in JSON:
 *
 *   {"zones": [{"name": "door", "polygon": [[0.1, 0.2], [0.4, 0.2], [0.4, 0.9]],
 *               "classes": ["person"]}],
 *    "lines": [{"name": "gate", "from": [0.5, 0], "to": [0.5, 1]}]}
 *
 * Coordinates are those of zones.h. "classes" limits what counts, by the model's names or numbers;
 * without it everything does. Either list may be left out. Reading is strict: a member that is not
 * known is an error, for a slip in "classes" would count everything. Thread-safe; no state.
 */
#ifndef NX_ANALYTICS_ZONES_PARSE_H
#define NX_ANALYTICS_ZONES_PARSE_H

#include "analytics/zones.h"
#include "vision/detection.h"

#define NX_ZONES_MAX_TEXT_BYTES ((size_t)1 << 20)

/*
 * names without a list (NULL): classes are not looked up, and what is read is good for a check
 * alone.
 *
 * file: for messages, which name the place ("door.json: zones[0].polygon[2] ..."). out is checked
 * as nx_zones_spec_check does, and empty after a failure.
 * Errors: NX_ERR_INVALID, NX_ERR_TOO_LARGE, NX_ERR_NO_MEMORY.
 */
nx_status nx_zones_parse(const char *text, size_t size, const char *file, nx_class_names names,
                         nx_zones_spec *out, nx_error *err);

#endif
