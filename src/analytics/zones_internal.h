/* Between zones.c, zones_spec.c and zones_state.c; nothing for others. */
#ifndef NX_ANALYTICS_ZONES_INTERNAL_H
#define NX_ANALYTICS_ZONES_INTERNAL_H

#include "analytics/zones.h"

/* What is remembered of a track. */
typedef struct visitor {
    uint64_t id;
    int32_t class_id;
    int64_t seen_ns;
} visitor;

/* Of a track and a zone. */
typedef struct stay {
    bool known; /* it was looked at before */
    bool inside;
    bool visited;      /* at any time */
    int64_t dwell_ns;  /* of all stays ... */
    int64_t before_ns; /* ... and of those before this one */
} stay;

/* Of a track and a line. */
typedef struct passage {
    int32_t side; /* -1 left, 1 right; 0 not known yet */
    double x, y;  /* where it last was on that side */
} passage;

/* Of a zone or a line. */
typedef struct ledger {
    nx_zone_class_count *classes;
    size_t class_count;
    size_t class_capacity;
    uint64_t in, out;
    /* of a zone */
    uint64_t ended, inside, visitors;
    int64_t dwell_ns, longest_ns;
} ledger;

struct nx_zones {
    nx_zones_spec spec;
    nx_zones_options options;
    bool started;
    int64_t now_ns;
    ledger *ledgers;   /* of the zones, then of the lines */
    visitor *visitors; /* by rising id */
    stay *stays;       /* visitor by visitor, zone_count of each */
    passage *passages; /* visitor by visitor, line_count of each */
    size_t count;
    size_t capacity;
    nx_zone_event *events;
    size_t event_count;
    size_t event_capacity;
};

/* Room for so many visitors. */
bool nx_zones_reserve(nx_zones *zones, size_t count);

/* The entry of a class, made if it must be. NULL without memory. */
nx_zone_class_count *nx_zones_class(ledger *book, int32_t class_id);

nx_status nx_zones_check_options(const nx_zones_options *options, nx_error *err);

#endif
