/*
 * From tracks to events that somebody wants to be told of: a line was crossed, a zone entered or
 * left, somebody loiters, there are too many, an object appeared, the camera is lost. Rules say
 * which; a rule looks at the zones and lines of zones.h, at confirmed tracks and, of these, at the
 * classes that it names.
 *
 * Nothing chatters: places have the hysteresis of zones.h, a count has one of its own and must hold
 * for a time, a track is told once for each stay or appearance, and a rule may rest after an event
 * (its cooldown). What happened meanwhile is counted in the next event.
 *
 * Deterministic. Memory is bounded by the limits here and in zones.h. One thread at a time; no
 * globals, no clock.
 */
#ifndef NX_ANALYTICS_EVENT_RULES_H
#define NX_ANALYTICS_EVENT_RULES_H

#include "analytics/tracker.h"
#include "analytics/zones.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_EVENT_RULES_MAX 64
#define NX_EVENTS_MAX      256 /* of one call; more are counted as missed */

/* A track that was seen not longer ago counts as there. */
#define NX_EVENT_GRACE_NS INT64_C(1000000000)

/* Longest time in a rule. */
#define NX_EVENT_MAX_NS (INT64_C(86400) * 1000000000)

typedef enum nx_event_kind {
    NX_EVENT_LINE_CROSSED,
    NX_EVENT_ZONE_ENTERED, /* who is first seen inside has entered */
    NX_EVENT_ZONE_LEFT,    /* seen outside again; a track that ends inside has not left */
    NX_EVENT_LOITERING,
    NX_EVENT_COUNT_OVER,
    NX_EVENT_COUNT_BACK, /* the end of the one before; of the same rule */
    NX_EVENT_OBJECT_APPEARED,
    NX_EVENT_CAMERA_LOST,
    NX_EVENT_CAMERA_BACK, /* as above */
    NX_EVENT_KINDS,
} nx_event_kind;

const char *nx_event_kind_name(nx_event_kind kind); /* "line_crossed" */
/* False: there is no such kind. */
bool nx_event_kind_find(const char *name, nx_event_kind *out);

/* --- rules --------------------------------------------------------------------------------------
 */

typedef enum nx_event_direction {
    NX_EVENT_BOTH,
    NX_EVENT_IN, /* as NX_LINE_IN */
    NX_EVENT_OUT,
} nx_event_direction;

/* The kind of a rule is never one of the two that end another. */
typedef struct nx_event_rule {
    char name[NX_ZONES_MAX_NAME_BYTES + 1];
    nx_event_kind kind;
    int32_t place; /* index of the line or zone; -1: the whole picture (counts, appearances) or none
                      (the camera) */
    nx_event_direction direction; /* of a line */
    nx_zone_filter classes;
    double confidence;   /* 0..1; of an appearance: at least */
    uint32_t over;       /* of a count: more than this many ... */
    uint32_t until;      /* ... until there are not more than this many; at most `over` */
    int64_t time_ns;     /* loitering: so long a stay; a count: so long either must hold; a camera:
                            so long it must be lost */
    int64_t cooldown_ns; /* after an event; not of counts and cameras */
} nx_event_rule;

/* Owns its array; release with nx_event_rules_spec_free. */
typedef struct nx_event_rules_spec {
    nx_event_rule *rules;
    size_t count;
} nx_event_rules_spec;

void nx_event_rules_spec_free(nx_event_rules_spec *spec);

/* Errors: NX_ERR_INVALID with the place ("rules[2] (door): ..."): too many, a name that is missing
 * or used twice, a place that places does not have, a number out of range. */
nx_status nx_event_rules_spec_check(const nx_event_rules_spec *spec, const nx_zones_spec *places,
                                    nx_error *err);

/* --- events -------------------------------------------------------------------------------------
 */

typedef struct nx_event {
    nx_event_kind kind;
    uint32_t rule;     /* index */
    int32_t place;     /* of the rule */
    bool in;           /* of a line: in the direction NX_LINE_IN */
    uint64_t track_id; /* 0: of no track */
    int32_t class_id;  /* -1: of none */
    float confidence;
    double x1, y1, x2, y2; /* of the track */
    int64_t time_ns;
    int64_t duration_ns; /* zone left, loitering: of the stay; count back, camera lost and back: how
                            long it was so */
    uint32_t count;      /* of a count: how many there are */
    uint64_t silent;     /* that the rule's cooldown kept back since its event before */
} nx_event;

typedef struct nx_event_rules nx_event_rules;

/* Copies spec. Errors: those of nx_event_rules_spec_check, NX_ERR_NO_MEMORY. */
nx_status nx_event_rules_new(const nx_event_rules_spec *spec, const nx_zones_spec *places,
                             nx_event_rules **out, nx_error *err);
void nx_event_rules_free(nx_event_rules *rules);

const nx_event_rules_spec *nx_event_rules_get_spec(const nx_event_rules *rules);

/*
 * The next frame: its time, which rises as zones' does; all the tracks of the tracker, and zones
 * after nx_zones_update with the same (NULL where the places are none). Errors: NX_ERR_INVALID (the
 * time, too many tracks, other zones), and nothing has changed; NX_ERR_NO_MEMORY, after which rules
 * is of no use.
 */
nx_status nx_event_rules_update(nx_event_rules *rules, int64_t time_ns, const nx_zones *zones,
                                const nx_track *tracks, size_t count, nx_error *err);

/* Whether the camera gives pictures: at each change and, while it does not, every second or so.
 * time_ns is of any clock, not that of the frames, which may stand still meanwhile; it does not
 * fall. Errors: NX_ERR_INVALID (the time). */
nx_status nx_event_rules_camera(nx_event_rules *rules, int64_t time_ns, bool live, nx_error *err);
/* Nobody expects pictures until the next call of that one. What is lost stays lost. */
void nx_event_rules_camera_pause(nx_event_rules *rules);
/* A rule (its index) for cameras has told before that this one is lost, which it has been since
 * then. Before the first call of nx_event_rules_camera, on the same clock. */
void nx_event_rules_camera_recall(nx_event_rules *rules, size_t rule, int64_t since_ns);

/* What the last call of the two above gave, by rule; valid until the next. */
const nx_event *nx_event_rules_events(const nx_event_rules *rules, size_t *count);

/* Events that had no room, since the start. */
uint64_t nx_event_rules_missed(const nx_event_rules *rules);

#endif
