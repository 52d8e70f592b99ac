/*
 * Rules as people write them, in JSON:
 *
 *   {"rules": [
 *     {"name": "visitors", "kind": "line_crossed", "line": "gate", "direction": "in",
 *      "classes": ["person"], "cooldown": 5},
 *     {"name": "came",     "kind": "zone_entered", "zone": "door"},
 *     {"name": "went",     "kind": "zone_left", "zone": "door"},
 *     {"name": "waits",    "kind": "loitering", "zone": "door", "seconds": 30},
 *     {"name": "crowd",    "kind": "count_over", "zone": "door", "over": 5, "until": 3, "hold": 2},
 *     {"name": "a dog",    "kind": "object_appeared", "classes": ["dog"], "confidence": 0.6,
 *      "cooldown": 60},
 *     {"name": "camera",   "kind": "camera_lost", "seconds": 10}]}
 *
 * Times are in seconds. "line", of lines, and "zone", of the others, name one of the places;
 * "zone" may be left out of count_over and object_appeared, and then they look at the whole
 * picture. Left out, "direction" is "both", "classes" all, "until" as "over", "hold" 1,
 * "confidence" 0, "cooldown" 0 (10 of object_appeared), "seconds" of a camera 10. Reading is
 * strict, as that of zones is. Thread-safe; no state.
 */
#ifndef NX_ANALYTICS_EVENT_RULES_PARSE_H
#define NX_ANALYTICS_EVENT_RULES_PARSE_H

#include "analytics/event_rules.h"
#include "vision/detection.h"

#define NX_EVENT_RULES_MAX_TEXT_BYTES ((size_t)256 << 10)

/*
 * names: as nx_zones_parse. file: for messages. places: what "zone" and "line" name. An empty list
 * of rules is fine. out is checked as nx_event_rules_spec_check does, and empty after a failure.
 * Errors: NX_ERR_INVALID, NX_ERR_TOO_LARGE, NX_ERR_NO_MEMORY.
 */
nx_status nx_event_rules_parse(const char *text, size_t size, const char *file,
                               nx_class_names names, const nx_zones_spec *places,
                               nx_event_rules_spec *out, nx_error *err);

#endif
