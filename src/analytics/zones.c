#include "analytics/zones.h"

#include "analytics/zones_internal.h"
#include "base/clock.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FORGET_NS (2 * NX_TRACKER_MAX_LOST_NS)

nx_zones_options nx_zones_defaults(void)
{
    return (nx_zones_options){.hysteresis = 0.01, .forget_ns = 10 * NX_NS_PER_SEC};
}

nx_status nx_zones_check_options(const nx_zones_options *options, nx_error *err)
{
    if (!(options->hysteresis >= 0 && options->hysteresis <= 0.5)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the hysteresis of zones is %g; it must be 0 to 0.5 of the height",
                            options->hysteresis);
    }
    if (options->forget_ns < 0 || options->forget_ns > MAX_FORGET_NS) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "zones forget tracks after %g s; it must be 0 to %g",
                            (double)options->forget_ns / (double)NX_NS_PER_SEC,
                            (double)MAX_FORGET_NS / (double)NX_NS_PER_SEC);
    }
    return NX_OK;
}

/* --- life ---------------------------------------------------------------------------------------
 */

void nx_zones_free(nx_zones *z)
{
    if (z != NULL) {
        for (size_t i = 0; z->ledgers != NULL && i < z->spec.zone_count + z->spec.line_count; i++) {
            free(z->ledgers[i].classes);
        }
        free(z->ledgers);
        free(z->visitors);
        free(z->stays);
        free(z->passages);
        free(z->events);
        nx_zones_spec_free(&z->spec);
        free(z);
    }
}

static bool copy_spec(const nx_zones_spec *from, nx_zones_spec *to)
{
    to->zones = calloc(from->zone_count + 1, sizeof *to->zones);
    to->lines = calloc(from->line_count + 1, sizeof *to->lines);
    if (to->zones == NULL || to->lines == NULL) {
        nx_zones_spec_free(to);
        return false;
    }
    if (from->zone_count > 0) {
        memcpy(to->zones, from->zones, from->zone_count * sizeof *to->zones);
    }
    if (from->line_count > 0) {
        memcpy(to->lines, from->lines, from->line_count * sizeof *to->lines);
    }
    to->zone_count = from->zone_count;
    to->line_count = from->line_count;
    return true;
}

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for zones and lines");
}

nx_status nx_zones_new(const nx_zones_spec *spec, const nx_zones_options *options, nx_zones **out,
                       nx_error *err)
{
    *out = NULL;
    nx_status status = nx_zones_spec_check(spec, err);
    if (status == NX_OK) {
        status = nx_zones_check_options(options, err);
    }
    if (status != NX_OK) {
        return status;
    }
    nx_zones *z = calloc(1, sizeof *z);
    if (z == NULL) {
        return no_memory(err);
    }
    z->options = *options;
    z->ledgers = calloc(spec->zone_count + spec->line_count + 1, sizeof *z->ledgers);
    if (z->ledgers == NULL || !copy_spec(spec, &z->spec)) {
        nx_zones_free(z);
        return no_memory(err);
    }
    *out = z;
    return NX_OK;
}

const nx_zones_spec *nx_zones_get_spec(const nx_zones *zones)
{
    return &zones->spec;
}

/* --- counting -----------------------------------------------------------------------------------
 */

nx_zone_class_count *nx_zones_class(ledger *book, int32_t class_id)
{
    size_t at = 0;
    while (at < book->class_count && book->classes[at].class_id < class_id) {
        at++;
    }
    if (at < book->class_count && book->classes[at].class_id == class_id) {
        return &book->classes[at];
    }
    if (book->class_count == book->class_capacity) {
        size_t capacity = book->class_capacity > 0 ? book->class_capacity * 2 : 4;
        nx_zone_class_count *grown = reallocarray(book->classes, capacity, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        book->classes = grown;
        book->class_capacity = capacity;
    }
    memmove(&book->classes[at + 1], &book->classes[at],
            (book->class_count - at) * sizeof *book->classes);
    book->class_count++;
    book->classes[at] = (nx_zone_class_count){.class_id = class_id};
    return &book->classes[at];
}

/* False without memory. */
static bool add_event(nx_zones *z, nx_zone_event event)
{
    if (z->event_count == z->event_capacity) {
        size_t capacity = z->event_capacity > 0 ? z->event_capacity * 2 : 16;
        nx_zone_event *grown = reallocarray(z->events, capacity, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        z->events = grown;
        z->event_capacity = capacity;
    }
    z->events[z->event_count++] = event;
    return true;
}

static bool count_event(nx_zones *z, ledger *book, nx_zone_event event)
{
    nx_zone_class_count *of_class = nx_zones_class(book, event.class_id);
    if (of_class == NULL || !add_event(z, event)) {
        return false;
    }
    bool in = event.kind == NX_ZONE_ENTER || event.kind == NX_LINE_IN;
    book->in += in;
    book->out += !in;
    of_class->in += in;
    of_class->out += !in;
    return true;
}

bool nx_zone_filter_passes(const nx_zone_filter *filter, int32_t class_id)
{
    return !filter->only || (class_id >= 0 && class_id < NX_MAX_CLASSES &&
                             (filter->mask[class_id / 64] >> (class_id % 64) & 1) != 0);
}

/* --- visitors -----------------------------------------------------------------------------------
 */

bool nx_zones_reserve(nx_zones *z, size_t count)
{
    if (count <= z->capacity) {
        return true;
    }
    size_t capacity = z->capacity * 2 > count ? z->capacity * 2 : count;
    visitor *visitors = reallocarray(z->visitors, capacity, sizeof *visitors);
    z->visitors = visitors != NULL ? visitors : z->visitors;
    stay *stays = reallocarray(z->stays, capacity * z->spec.zone_count + 1, sizeof *stays);
    z->stays = stays != NULL ? stays : z->stays;
    passage *passages =
        reallocarray(z->passages, capacity * z->spec.line_count + 1, sizeof *passages);
    z->passages = passages != NULL ? passages : z->passages;
    if (visitors == NULL || stays == NULL || passages == NULL) {
        return false;
    }
    z->capacity = capacity;
    return true;
}

/* Moves the visitors from index `from` on, with all that is theirs, to index `to`. */
static void shift(nx_zones *z, size_t from, size_t to)
{
    size_t zones = z->spec.zone_count;
    size_t lines = z->spec.line_count;
    size_t count = z->count - from;
    memmove(&z->visitors[to], &z->visitors[from], count * sizeof *z->visitors);
    memmove(&z->stays[to * zones], &z->stays[from * zones], count * zones * sizeof *z->stays);
    memmove(&z->passages[to * lines], &z->passages[from * lines],
            count * lines * sizeof *z->passages);
    z->count = to + count;
}

/* False without memory. */
static bool forget(nx_zones *z, size_t index)
{
    const visitor who = z->visitors[index];
    bool enough = true;
    for (uint32_t i = 0; i < z->spec.zone_count; i++) {
        const stay *s = &z->stays[index * z->spec.zone_count + i];
        if (s->inside) {
            z->ledgers[i].ended++;
            enough = enough && add_event(z, (nx_zone_event){NX_ZONE_END, i, who.id, who.class_id,
                                                            s->dwell_ns - s->before_ns});
        }
    }
    shift(z, index + 1, index);
    return enough;
}

/* False without memory. */
static bool forget_unseen(nx_zones *z)
{
    bool enough = true;
    for (size_t i = z->count; i-- > 0;) {
        if (z->now_ns - z->visitors[i].seen_ns > z->options.forget_ns) {
            enough = forget(z, i) && enough;
        }
    }
    return enough;
}

/* Room for one more among as many as may be. */
static bool make_room(nx_zones *z)
{
    size_t oldest = 0;
    if (z->count < NX_ZONES_MAX_TRACKS) {
        return nx_zones_reserve(z, z->count + 1);
    }
    for (size_t i = 1; i < z->count; i++) {
        oldest = z->visitors[i].seen_ns < z->visitors[oldest].seen_ns ? i : oldest;
    }
    return forget(z, oldest);
}

/* Where its visitor is or belongs. */
static size_t place_of(const nx_zones *z, uint64_t id)
{
    size_t low = 0;
    size_t high = z->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (z->visitors[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* False without memory. */
static bool find(nx_zones *z, const nx_track *track, size_t *out)
{
    size_t zones = z->spec.zone_count;
    size_t lines = z->spec.line_count;
    *out = place_of(z, track->id);
    if (*out < z->count && z->visitors[*out].id == track->id) {
        return true;
    }
    if (!make_room(z)) {
        return false;
    }
    *out = place_of(z, track->id);
    shift(z, *out, *out + 1);
    z->visitors[*out] =
        (visitor){.id = track->id, .class_id = track->class_id, .seen_ns = z->now_ns};
    memset(&z->stays[*out * zones], 0, zones * sizeof *z->stays);
    memset(&z->passages[*out * lines], 0, lines * sizeof *z->passages);
    return true;
}

/* --- geometry: x in heights of the picture, so that distances are the same in both directions ---
 */

typedef struct spot {
    double x, y;
    double aspect; /* the picture's width over its height */
    double margin; /* the hysteresis */
} spot;

static nx_zone_point scaled(nx_zone_point p, const spot *at)
{
    return (nx_zone_point){p.x * at->aspect, p.y};
}

static double distance_to_segment(const spot *at, nx_zone_point a, nx_zone_point b)
{
    double dx = b.x - a.x;
    double dy = b.y - a.y;
    double square = dx * dx + dy * dy;
    double along = square > 0 ? ((at->x - a.x) * dx + (at->y - a.y) * dy) / square : 0;
    along = along < 0 ? 0 : along > 1 ? 1 : along;
    return hypot(at->x - (a.x + along * dx), at->y - (a.y + along * dy));
}

/* *near: it is within the margin of an edge. */
static bool is_inside(const nx_zone *zone, const spot *at, bool *near)
{
    bool inside = false;
    *near = false;
    for (size_t i = 0; i < zone->point_count; i++) {
        nx_zone_point a = scaled(zone->points[i], at);
        nx_zone_point b = scaled(zone->points[(i + 1) % zone->point_count], at);
        *near = *near || distance_to_segment(at, a, b) <= at->margin;
        if ((a.y > at->y) != (b.y > at->y) &&
            at->x < a.x + (at->y - a.y) / (b.y - a.y) * (b.x - a.x)) {
            inside = !inside;
        }
    }
    return inside;
}

/* How far to the right of the line it is. */
static double right_of(const nx_line *line, const spot *at, double x, double y)
{
    nx_zone_point a = scaled(line->from, at);
    nx_zone_point b = scaled(line->to, at);
    double dx = b.x - a.x;
    double dy = b.y - a.y;
    return (dx * (y - a.y) - dy * (x - a.x)) / hypot(dx, dy);
}

/* Does the way from p, `before` to the right, to here, `now` to the right, go between the ends? */
static bool goes_through(const nx_line *line, const spot *at, nx_zone_point p, double before,
                         double now)
{
    nx_zone_point a = scaled(line->from, at);
    nx_zone_point b = scaled(line->to, at);
    double part = before / (before - now);
    double x = p.x + part * (at->x - p.x);
    double y = p.y + part * (at->y - p.y);
    double dx = b.x - a.x;
    double dy = b.y - a.y;
    double along = ((x - a.x) * dx + (y - a.y) * dy) / (dx * dx + dy * dy);
    return along >= 0 && along <= 1;
}

/* --- a frame ------------------------------------------------------------------------------------
 */

static bool look_at_zone(nx_zones *z, uint32_t index, const visitor *who, stay *s, const spot *at)
{
    const nx_zone *zone = &z->spec.zones[index];
    ledger *book = &z->ledgers[index];
    if (!nx_zone_filter_passes(&zone->classes, who->class_id)) {
        return true;
    }
    if (s->inside) {
        int64_t time = z->now_ns - who->seen_ns;
        s->dwell_ns += time;
        book->dwell_ns += time;
        book->longest_ns = s->dwell_ns > book->longest_ns ? s->dwell_ns : book->longest_ns;
    }
    bool near = false;
    bool inside = is_inside(zone, at, &near);
    bool changed = inside != s->inside && (!near || !s->known);
    s->known = true;
    if (changed) {
        nx_zone_event event = {
            .kind = inside ? NX_ZONE_ENTER : NX_ZONE_EXIT,
            .place = index,
            .track_id = who->id,
            .class_id = who->class_id,
            .dwell_ns = inside ? 0 : s->dwell_ns - s->before_ns,
        };
        s->inside = inside;
        s->before_ns = s->dwell_ns;
        book->visitors += !s->visited;
        s->visited = true;
        if (!count_event(z, book, event)) {
            return false;
        }
    }
    book->inside += s->inside;
    return true;
}

static bool look_at_line(nx_zones *z, uint32_t index, const visitor *who, passage *p,
                         const spot *at)
{
    const nx_line *line = &z->spec.lines[index];
    if (!nx_zone_filter_passes(&line->classes, who->class_id)) {
        return true;
    }
    double now = right_of(line, at, at->x, at->y);
    if (!(fabs(now) > at->margin)) {
        return true;
    }
    int32_t side = now > 0 ? 1 : -1;
    nx_zone_point before = scaled((nx_zone_point){p->x, p->y}, at);
    double was = right_of(line, at, before.x, before.y);
    bool crossed =
        p->side == -side && (was > 0) != (now > 0) && goes_through(line, at, before, was, now);
    *p = (passage){side, at->x / at->aspect, at->y};
    return !crossed || count_event(z, &z->ledgers[z->spec.zone_count + index],
                                   (nx_zone_event){.kind = side > 0 ? NX_LINE_IN : NX_LINE_OUT,
                                                   .place = index,
                                                   .track_id = who->id,
                                                   .class_id = who->class_id});
}

static bool look_at_track(nx_zones *z, const nx_track *track, uint32_t width, uint32_t height)
{
    size_t index = 0;
    if (!find(z, track, &index)) {
        return false;
    }
    visitor *who = &z->visitors[index];
    const spot at = {
        .x = (track->x1 + track->x2) / 2 / (double)height,
        .y = track->y2 / (double)height,
        .aspect = (double)width / (double)height,
        .margin = z->options.hysteresis,
    };
    bool enough = true;
    for (uint32_t i = 0; enough && i < z->spec.zone_count; i++) {
        enough = look_at_zone(z, i, who, &z->stays[index * z->spec.zone_count + i], &at);
    }
    for (uint32_t i = 0; enough && i < z->spec.line_count; i++) {
        enough = look_at_line(z, i, who, &z->passages[index * z->spec.line_count + i], &at);
    }
    who->seen_ns = z->now_ns;
    return enough;
}

static nx_status check_frame(const nx_zones *z, int64_t time_ns, uint32_t width, uint32_t height,
                             const nx_track *tracks, size_t count, nx_error *err)
{
    if (time_ns < -NX_TRACKER_MAX_TIME_NS || time_ns > NX_TRACKER_MAX_TIME_NS ||
        (z->started && time_ns <= z->now_ns)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "a frame at %" PRId64 " ns follows one at %" PRId64
                            " ns; frames must come in the order of their times",
                            time_ns, z->now_ns);
    }
    if (width == 0 || height == 0) {
        return nx_error_set(err, NX_ERR_INVALID, "a frame of %ux%u pixels", width, height);
    }
    for (size_t i = 0; i < count; i++) {
        const nx_track *t = &tracks[i];
        double span = fabs(t->x1) + fabs(t->x2) + fabs(t->y2);
        if (t->state == NX_TRACK_CONFIRMED && (t->id == 0 || !isfinite(span))) {
            return nx_error_set(err, NX_ERR_INVALID, "track %zu has no id or no place", i);
        }
    }
    return NX_OK;
}

nx_status nx_zones_update(nx_zones *z, int64_t time_ns, uint32_t width, uint32_t height,
                          const nx_track *tracks, size_t count, nx_error *err)
{
    nx_status status = check_frame(z, time_ns, width, height, tracks, count, err);
    if (status != NX_OK) {
        return status;
    }
    z->started = true;
    z->now_ns = time_ns;
    z->event_count = 0;
    for (size_t i = 0; i < z->spec.zone_count; i++) {
        z->ledgers[i].inside = 0;
    }
    if (!forget_unseen(z)) {
        return no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        if (tracks[i].state == NX_TRACK_CONFIRMED && !look_at_track(z, &tracks[i], width, height)) {
            return no_memory(err);
        }
    }
    return NX_OK;
}

/* --- what came of it ----------------------------------------------------------------------------
 */

const nx_zone_event *nx_zones_events(const nx_zones *zones, size_t *count)
{
    *count = zones->event_count;
    return zones->events;
}

nx_zone_totals nx_zones_zone(const nx_zones *zones, size_t index)
{
    const ledger *book = &zones->ledgers[index];
    return (nx_zone_totals){
        .entries = book->in,
        .exits = book->out,
        .ended = book->ended,
        .inside = book->inside,
        .visitors = book->visitors,
        .dwell_ns = book->dwell_ns,
        .longest_ns = book->longest_ns,
        .classes = book->classes,
        .class_count = book->class_count,
    };
}

nx_line_totals nx_zones_line(const nx_zones *zones, size_t index)
{
    const ledger *book = &zones->ledgers[zones->spec.zone_count + index];
    return (nx_line_totals){
        .in = book->in,
        .out = book->out,
        .classes = book->classes,
        .class_count = book->class_count,
    };
}

size_t nx_zones_inside(const nx_zones *zones, size_t index, nx_zone_stay *out, size_t room)
{
    size_t count = 0;
    for (size_t i = 0; i < zones->count && count < room; i++) {
        const visitor *who = &zones->visitors[i];
        const stay *s = &zones->stays[i * zones->spec.zone_count + index];
        if (s->inside) {
            out[count++] = (nx_zone_stay){.track_id = who->id,
                                          .class_id = who->class_id,
                                          .dwell_ns = s->dwell_ns - s->before_ns,
                                          .seen_ns = who->seen_ns};
        }
    }
    return count;
}
