/* Zones and lines as they are given: copies and checks. */
#include "analytics/zones.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Less than a pixel of a large picture. */
#define LEAST_AREA   1e-7
#define LEAST_LENGTH 1e-4

void nx_zones_spec_free(nx_zones_spec *spec)
{
    if (spec != NULL) {
        free(spec->zones);
        free(spec->lines);
        *spec = (nx_zones_spec){0};
    }
}

static bool in_picture(nx_zone_point p)
{
    return p.x >= 0 && p.x <= 1 && p.y >= 0 && p.y <= 1; /* false for NAN */
}

static double area(const nx_zone *zone)
{
    double sum = 0;
    for (size_t i = 0; i < zone->point_count; i++) {
        nx_zone_point a = zone->points[i];
        nx_zone_point b = zone->points[(i + 1) % zone->point_count];
        sum += a.x * b.y - b.x * a.y;
    }
    return fabs(sum) / 2;
}

static nx_status check_zone(const nx_zone *zone, size_t index, nx_error *err)
{
    if (zone->point_count < 3 || zone->point_count > NX_ZONES_MAX_POINTS) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "zones[%zu] (%s): a polygon has 3 to %d points, not %zu", index,
                            zone->name, NX_ZONES_MAX_POINTS, zone->point_count);
    }
    for (size_t i = 0; i < zone->point_count; i++) {
        if (!in_picture(zone->points[i])) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "zones[%zu] (%s): polygon[%zu] is [%g, %g]; coordinates go from 0 "
                                "to 1, from the picture's left top corner to its right bottom one",
                                index, zone->name, i, zone->points[i].x, zone->points[i].y);
        }
    }
    if (area(zone) < LEAST_AREA) {
        return nx_error_set(err, NX_ERR_INVALID, "zones[%zu] (%s): the polygon has no area", index,
                            zone->name);
    }
    return NX_OK;
}

static nx_status check_line(const nx_line *line, size_t index, nx_error *err)
{
    const nx_zone_point ends[] = {line->from, line->to};
    static const char *const names[] = {"from", "to"};
    for (size_t i = 0; i < 2; i++) {
        if (!in_picture(ends[i])) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "lines[%zu] (%s): %s is [%g, %g]; coordinates go from 0 to 1, from "
                                "the picture's left top corner to its right bottom one",
                                index, line->name, names[i], ends[i].x, ends[i].y);
        }
    }
    if (hypot(line->to.x - line->from.x, line->to.y - line->from.y) < LEAST_LENGTH) {
        return nx_error_set(err, NX_ERR_INVALID, "lines[%zu] (%s): from and to are the same point",
                            index, line->name);
    }
    return NX_OK;
}

/* The name of the index-th; lines come behind zones. */
static const char *name_at(const nx_zones_spec *spec, size_t index)
{
    return index < spec->zone_count ? spec->zones[index].name
                                    : spec->lines[index - spec->zone_count].name;
}

/* Results are told apart by names, so zones and lines share them. */
static nx_status check_names(const nx_zones_spec *spec, nx_error *err)
{
    for (size_t i = 0; i < spec->zone_count + spec->line_count; i++) {
        bool zone = i < spec->zone_count;
        const char *list = zone ? "zones" : "lines";
        size_t place = zone ? i : i - spec->zone_count;
        const char *name = name_at(spec, i);
        if (name[0] == '\0') {
            return nx_error_set(err, NX_ERR_INVALID, "%s[%zu].name is empty", list, place);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(name, name_at(spec, j)) == 0) {
                return nx_error_set(err, NX_ERR_INVALID,
                                    "%s[%zu].name is '%s', which another has already", list, place,
                                    name);
            }
        }
    }
    return NX_OK;
}

nx_status nx_zones_spec_check(const nx_zones_spec *spec, nx_error *err)
{
    if (spec->zone_count > NX_ZONES_MAX || spec->line_count > NX_ZONES_MAX) {
        return nx_error_set(err, NX_ERR_INVALID, "%zu zones and %zu lines; the most is %d of each",
                            spec->zone_count, spec->line_count, NX_ZONES_MAX);
    }
    nx_status status = check_names(spec, err);
    for (size_t i = 0; status == NX_OK && i < spec->zone_count; i++) {
        status = check_zone(&spec->zones[i], i, err);
    }
    for (size_t i = 0; status == NX_OK && i < spec->line_count; i++) {
        status = check_line(&spec->lines[i], i, err);
    }
    return status;
}
