#include "analytics/event_rules.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Tracks that a rule has told of, by rising id. */
typedef struct id_set {
    uint64_t *ids;
    size_t count;
    size_t capacity;
} id_set;

/* What a rule remembers. */
typedef struct memory {
    id_set told;
    bool rests; /* it has told of something: until_ns counts */
    int64_t until_ns;
    uint64_t silent;
    bool on;          /* of a count or camera: told that it is over, or lost */
    bool turning;     /* the count is on the other side ... */
    int64_t since_ns; /* ... since then */
    int64_t on_ns;    /* since when it has been on */
} memory;

struct nx_event_rules {
    nx_event_rules_spec spec;
    memory *memories; /* one for each rule */
    nx_event *events; /* NX_EVENTS_MAX */
    size_t event_count;
    uint64_t missed;
    size_t zone_count; /* of the places */
    size_t line_count;
    bool started;
    int64_t now_ns;
    bool camera_known;
    int64_t camera_ns; /* the last time that was told */
    bool live;
    int64_t lost_ns; /* since when it has not been live */
    /* of the frame that is looked at: */
    const nx_track *tracks;
    size_t track_count;
    uint64_t ids[NX_TRACKER_MAX_TRACKS]; /* of the tracks that count, rising */
    size_t id_count;
    nx_zone_stay *stays; /* of the zone that is looked at: NX_ZONES_MAX_TRACKS */
    size_t stay_count;
};

/* --- life ---------------------------------------------------------------------------------------
 */

void nx_event_rules_free(nx_event_rules *r)
{
    if (r != NULL) {
        for (size_t i = 0; r->memories != NULL && i < r->spec.count; i++) {
            free(r->memories[i].told.ids);
        }
        free(r->memories);
        free(r->events);
        free(r->stays);
        nx_event_rules_spec_free(&r->spec);
        free(r);
    }
}

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the rules of events");
}

nx_status nx_event_rules_new(const nx_event_rules_spec *spec, const nx_zones_spec *places,
                             nx_event_rules **out, nx_error *err)
{
    *out = NULL;
    nx_status status = nx_event_rules_spec_check(spec, places, err);
    if (status != NX_OK) {
        return status;
    }
    nx_event_rules *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return no_memory(err);
    }
    r->spec.rules = calloc(spec->count + 1, sizeof *r->spec.rules);
    r->memories = calloc(spec->count + 1, sizeof *r->memories);
    r->events = calloc(NX_EVENTS_MAX, sizeof *r->events);
    r->stays = calloc(NX_ZONES_MAX_TRACKS, sizeof *r->stays);
    if (r->spec.rules == NULL || r->memories == NULL || r->events == NULL || r->stays == NULL) {
        nx_event_rules_free(r);
        return no_memory(err);
    }
    if (spec->count > 0) {
        memcpy(r->spec.rules, spec->rules, spec->count * sizeof *spec->rules);
    }
    r->spec.count = spec->count;
    r->zone_count = places->zone_count;
    r->line_count = places->line_count;
    *out = r;
    return NX_OK;
}

const nx_event_rules_spec *nx_event_rules_get_spec(const nx_event_rules *rules)
{
    return &rules->spec;
}

/* --- tracks that were told of -------------------------------------------------------------------
 */

/* Where it is or belongs. */
static size_t place_of(const uint64_t *ids, size_t count, uint64_t id)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ids[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool holds(const uint64_t *ids, size_t count, uint64_t id)
{
    size_t at = place_of(ids, count, id);
    return at < count && ids[at] == id;
}

/* False without memory. */
static bool add_id(id_set *set, uint64_t id)
{
    if (set->count == set->capacity) {
        size_t capacity = set->capacity > 0 ? set->capacity * 2 : 16;
        uint64_t *grown = reallocarray(set->ids, capacity, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        set->ids = grown;
        set->capacity = capacity;
    }
    size_t at = place_of(set->ids, set->count, id);
    memmove(&set->ids[at + 1], &set->ids[at], (set->count - at) * sizeof *set->ids);
    set->ids[at] = id;
    set->count++;
    return true;
}

static bool stays_in(const nx_event_rules *r, uint64_t id)
{
    size_t low = 0;
    size_t high = r->stay_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (r->stays[middle].track_id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < r->stay_count && r->stays[low].track_id == id;
}

/* Forgets those that are gone: out of the zone, or of the tracker. */
static void forget_gone(const nx_event_rules *r, id_set *set, bool of_zone)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++) {
        uint64_t id = set->ids[i];
        if (of_zone ? stays_in(r, id) : holds(r->ids, r->id_count, id)) {
            set->ids[kept++] = id;
        }
    }
    set->count = kept;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static const nx_track *track_of(const nx_event_rules *r, uint64_t id)
{
    for (size_t i = 0; i < r->track_count; i++) {
        if (r->tracks[i].id == id) {
            return &r->tracks[i];
        }
    }
    return NULL;
}

/* --- telling ------------------------------------------------------------------------------------
 */

static void tell(nx_event_rules *r, size_t index, int64_t now_ns, nx_event event)
{
    const nx_event_rule *rule = &r->spec.rules[index];
    memory *m = &r->memories[index];
    if (m->rests && now_ns < m->until_ns) {
        m->silent++;
        return;
    }
    if (r->event_count == NX_EVENTS_MAX) {
        r->missed++;
        return;
    }
    event.rule = (uint32_t)index;
    event.place = rule->place;
    event.time_ns = now_ns;
    event.silent = m->silent;
    m->silent = 0;
    m->rests = rule->cooldown_ns > 0;
    m->until_ns = now_ns + rule->cooldown_ns;
    r->events[r->event_count++] = event;
}

/* Of a track that may not be among those of this frame. */
static void tell_of(nx_event_rules *r, size_t index, nx_event event)
{
    const nx_track *track = track_of(r, event.track_id);
    if (track != NULL) {
        event.confidence = track->confidence;
        event.x1 = track->x1;
        event.y1 = track->y1;
        event.x2 = track->x2;
        event.y2 = track->y2;
    }
    tell(r, index, r->now_ns, event);
}

/* --- kinds of rules: a frame --------------------------------------------------------------------
 */

/* Is this what a rule for lines, or for coming and going, waits for? */
static bool wanted(const nx_event_rule *rule, const nx_zone_event *happened)
{
    bool line = happened->kind == NX_LINE_IN || happened->kind == NX_LINE_OUT;
    if (line != (rule->kind == NX_EVENT_LINE_CROSSED) || (int32_t)happened->place != rule->place ||
        !nx_zone_filter_passes(&rule->classes, happened->class_id)) {
        return false;
    }
    if (line) {
        return rule->direction == NX_EVENT_BOTH ||
               (rule->direction == NX_EVENT_IN) == (happened->kind == NX_LINE_IN);
    }
    return happened->kind == (rule->kind == NX_EVENT_ZONE_ENTERED ? NX_ZONE_ENTER : NX_ZONE_EXIT);
}

static bool look_at_passing(nx_event_rules *r, size_t index, const nx_zones *zones)
{
    size_t count = 0;
    const nx_zone_event *happened = nx_zones_events(zones, &count);
    for (size_t i = 0; i < count; i++) {
        if (wanted(&r->spec.rules[index], &happened[i])) {
            tell_of(r, index,
                    (nx_event){.kind = r->spec.rules[index].kind,
                               .in = happened[i].kind == NX_LINE_IN,
                               .track_id = happened[i].track_id,
                               .class_id = happened[i].class_id,
                               .duration_ns = happened[i].dwell_ns});
        }
    }
    return true;
}

static bool look_at_loitering(nx_event_rules *r, size_t index, const nx_zones *zones)
{
    const nx_event_rule *rule = &r->spec.rules[index];
    id_set *told = &r->memories[index].told;
    (void)zones;
    forget_gone(r, told, true);
    for (size_t i = 0; i < r->stay_count; i++) {
        const nx_zone_stay *stay = &r->stays[i];
        if (stay->seen_ns != r->now_ns || stay->dwell_ns < rule->time_ns ||
            !nx_zone_filter_passes(&rule->classes, stay->class_id) ||
            holds(told->ids, told->count, stay->track_id)) {
            continue;
        }
        if (!add_id(told, stay->track_id)) {
            return false;
        }
        tell_of(r, index,
                (nx_event){.kind = NX_EVENT_LOITERING,
                           .track_id = stay->track_id,
                           .class_id = stay->class_id,
                           .duration_ns = stay->dwell_ns});
    }
    return true;
}

static uint32_t count_those_there(const nx_event_rules *r, const nx_event_rule *rule)
{
    uint32_t sum = 0;
    int64_t since = r->now_ns - NX_EVENT_GRACE_NS;
    for (size_t i = 0; rule->place >= 0 && i < r->stay_count; i++) {
        const nx_zone_stay *stay = &r->stays[i];
        sum += stay->seen_ns >= since && nx_zone_filter_passes(&rule->classes, stay->class_id);
    }
    for (size_t i = 0; rule->place < 0 && i < r->track_count; i++) {
        const nx_track *track = &r->tracks[i];
        sum += track->state != NX_TRACK_TENTATIVE && track->seen_ns >= since &&
               nx_zone_filter_passes(&rule->classes, track->class_id);
    }
    return sum;
}

static bool look_at_count(nx_event_rules *r, size_t index, const nx_zones *zones)
{
    const nx_event_rule *rule = &r->spec.rules[index];
    memory *m = &r->memories[index];
    (void)zones;
    uint32_t count = count_those_there(r, rule);
    bool turned = m->on ? count <= rule->until : count > rule->over;
    if (turned && !m->turning) {
        m->since_ns = r->now_ns;
    }
    m->turning = turned;
    if (!turned || r->now_ns - m->since_ns < rule->time_ns) {
        return true;
    }
    m->on = !m->on;
    m->turning = false;
    tell(r, index, r->now_ns,
         (nx_event){.kind = m->on ? NX_EVENT_COUNT_OVER : NX_EVENT_COUNT_BACK,
                    .class_id = -1,
                    .count = count,
                    .duration_ns = m->on ? 0 : r->now_ns - m->on_ns});
    m->on_ns = m->on ? r->now_ns : m->on_ns;
    return true;
}

static bool look_at_appearing(nx_event_rules *r, size_t index, const nx_zones *zones)
{
    const nx_event_rule *rule = &r->spec.rules[index];
    id_set *told = &r->memories[index].told;
    (void)zones;
    forget_gone(r, told, false);
    for (size_t i = 0; i < r->track_count; i++) {
        const nx_track *track = &r->tracks[i];
        if (track->state != NX_TRACK_CONFIRMED || (double)track->confidence < rule->confidence ||
            !nx_zone_filter_passes(&rule->classes, track->class_id) ||
            (rule->place >= 0 && !stays_in(r, track->id)) ||
            holds(told->ids, told->count, track->id)) {
            continue;
        }
        if (!add_id(told, track->id)) {
            return false;
        }
        tell_of(r, index,
                (nx_event){.kind = NX_EVENT_OBJECT_APPEARED,
                           .track_id = track->id,
                           .class_id = track->class_id});
    }
    return true;
}

/* False without memory. */
static bool look(nx_event_rules *r, size_t index, const nx_zones *zones)
{
    static bool (*const looks[NX_EVENT_KINDS])(nx_event_rules *, size_t, const nx_zones *) = {
        [NX_EVENT_LINE_CROSSED] = look_at_passing, [NX_EVENT_ZONE_ENTERED] = look_at_passing,
        [NX_EVENT_ZONE_LEFT] = look_at_passing,    [NX_EVENT_LOITERING] = look_at_loitering,
        [NX_EVENT_COUNT_OVER] = look_at_count,     [NX_EVENT_OBJECT_APPEARED] = look_at_appearing,
    };
    const nx_event_rule *rule = &r->spec.rules[index];
    if (looks[rule->kind] == NULL) {
        return true;
    }
    r->stay_count = 0;
    if (rule->place >= 0 && rule->kind != NX_EVENT_LINE_CROSSED) {
        r->stay_count = nx_zones_inside(zones, (size_t)rule->place, r->stays, NX_ZONES_MAX_TRACKS);
    }
    return looks[rule->kind](r, index, zones);
}

static nx_status check_time(const nx_event_rules *r, int64_t time_ns, nx_error *err)
{
    if (time_ns < -NX_TRACKER_MAX_TIME_NS || time_ns > NX_TRACKER_MAX_TIME_NS ||
        (r->started && time_ns <= r->now_ns)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "events at %" PRId64 " ns follow those at %" PRId64
                            " ns; they must come in the order of their times",
                            time_ns, r->now_ns);
    }
    return NX_OK;
}

nx_status nx_event_rules_update(nx_event_rules *r, int64_t time_ns, const nx_zones *zones,
                                const nx_track *tracks, size_t count, nx_error *err)
{
    nx_status status = check_time(r, time_ns, err);
    if (status != NX_OK) {
        return status;
    }
    static const nx_zones_spec none = {0};
    const nx_zones_spec *places = zones != NULL ? nx_zones_get_spec(zones) : &none;
    if (count > NX_TRACKER_MAX_TRACKS || places->zone_count != r->zone_count ||
        places->line_count != r->line_count) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "%zu tracks in %zu zones and %zu lines; rules for %zu and %zu, and at "
                            "most %d tracks, were expected",
                            count, places->zone_count, places->line_count, r->zone_count,
                            r->line_count, NX_TRACKER_MAX_TRACKS);
    }
    r->started = true;
    r->now_ns = time_ns;
    r->event_count = 0;
    r->tracks = tracks;
    r->track_count = count;
    r->id_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (tracks[i].state != NX_TRACK_TENTATIVE) {
            r->ids[r->id_count++] = tracks[i].id;
        }
    }
    qsort(r->ids, r->id_count, sizeof r->ids[0], compare_ids);
    for (size_t i = 0; i < r->spec.count; i++) {
        if (!look(r, i, zones)) {
            return no_memory(err);
        }
    }
    return NX_OK;
}

/* --- the camera ---------------------------------------------------------------------------------
 */

nx_status nx_event_rules_camera(nx_event_rules *r, int64_t time_ns, bool live, nx_error *err)
{
    if (r->camera_known && time_ns < r->camera_ns) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "a camera at %" PRId64 " ns follows it at %" PRId64
                            " ns; its time must not fall",
                            time_ns, r->camera_ns);
    }
    if (!live && (r->live || !r->camera_known)) {
        r->lost_ns = time_ns;
    }
    r->camera_ns = time_ns;
    r->event_count = 0;
    r->camera_known = true;
    r->live = live;
    for (size_t i = 0; i < r->spec.count; i++) {
        memory *m = &r->memories[i];
        bool lost = !live && (m->on || time_ns - r->lost_ns >= r->spec.rules[i].time_ns);
        if (r->spec.rules[i].kind == NX_EVENT_CAMERA_LOST && lost != m->on) {
            m->on = lost;
            tell(r, i, time_ns,
                 (nx_event){.kind = lost ? NX_EVENT_CAMERA_LOST : NX_EVENT_CAMERA_BACK,
                            .class_id = -1,
                            .duration_ns = time_ns - r->lost_ns});
        }
    }
    return NX_OK;
}

void nx_event_rules_camera_pause(nx_event_rules *r)
{
    r->camera_known = false;
    r->live = false;
}

void nx_event_rules_camera_recall(nx_event_rules *r, size_t rule, int64_t since_ns)
{
    r->lost_ns = r->camera_known && r->lost_ns < since_ns ? r->lost_ns : since_ns;
    r->camera_ns = r->lost_ns;
    r->camera_known = true;
    r->memories[rule].on = true;
}

/* --- what came of it ----------------------------------------------------------------------------
 */

const nx_event *nx_event_rules_events(const nx_event_rules *rules, size_t *count)
{
    *count = rules->event_count;
    return rules->events;
}

uint64_t nx_event_rules_missed(const nx_event_rules *rules)
{
    return rules->missed;
}
