#include "analytics/zones_parse.h"

#include "analytics/spec_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static nx_status read_point(const nx_spec_place *at, const json_t *value, const char *member,
                            nx_zone_point *out)
{
    static const char wanted[] = "a point [x, y] of two numbers";
    const json_t *x = json_array_get(value, 0);
    const json_t *y = json_array_get(value, 1);
    if (!json_is_array(value)) {
        return nx_spec_wrong_type(at, member, value, wanted);
    }
    if (json_array_size(value) != 2 || !json_is_number(x) || !json_is_number(y)) {
        return nx_error_set(at->err, NX_ERR_INVALID, "%s: %s[%zu].%s must be %s", at->file,
                            at->list, at->index, member, wanted);
    }
    *out = (nx_zone_point){json_number_value(x), json_number_value(y)};
    return NX_OK;
}

static nx_status read_polygon(const nx_spec_place *at, const json_t *item, nx_zone *zone)
{
    const json_t *value = json_object_get(item, "polygon");
    if (!json_is_array(value)) {
        return nx_spec_wrong_type(at, "polygon", value, "a list of points [x, y]");
    }
    size_t count = json_array_size(value);
    if (count < 3 || count > NX_ZONES_MAX_POINTS) {
        return nx_error_set(at->err, NX_ERR_INVALID,
                            "%s: %s[%zu].polygon has %zu points; it must have 3 to %d", at->file,
                            at->list, at->index, count, NX_ZONES_MAX_POINTS);
    }
    for (size_t i = 0; i < count; i++) {
        char member[40];
        snprintf(member, sizeof member, "polygon[%zu]", i);
        nx_status status = read_point(at, json_array_get(value, i), member, &zone->points[i]);
        if (status != NX_OK) {
            return status;
        }
    }
    zone->point_count = count;
    return NX_OK;
}

static nx_status read_zone(const nx_spec_place *at, const json_t *item, nx_zones_spec *out)
{
    nx_zone *zone = &out->zones[out->zone_count++];
    nx_status status = nx_spec_read_name(at, item, zone->name);
    if (status == NX_OK) {
        status = read_polygon(at, item, zone);
    }
    return status == NX_OK ? nx_spec_read_classes(at, item, &zone->classes) : status;
}

static nx_status read_line(const nx_spec_place *at, const json_t *item, nx_zones_spec *out)
{
    nx_line *line = &out->lines[out->line_count++];
    nx_status status = nx_spec_read_name(at, item, line->name);
    if (status == NX_OK) {
        status = read_point(at, json_object_get(item, "from"), "from", &line->from);
    }
    if (status == NX_OK) {
        status = read_point(at, json_object_get(item, "to"), "to", &line->to);
    }
    return status == NX_OK ? nx_spec_read_classes(at, item, &line->classes) : status;
}

typedef struct kind {
    const char *list;
    const char *members[4];
    size_t member_count;
    nx_status (*read)(const nx_spec_place *at, const json_t *item, nx_zones_spec *out);
} kind;

static nx_status read_list(const json_t *root, const kind *of, nx_spec_place at, nx_zones_spec *out)
{
    const json_t *list = NULL;
    at.list = of->list;
    nx_status status = nx_spec_list(root, of->list, at.file, NX_ZONES_MAX, &list, at.err);
    for (size_t i = 0; status == NX_OK && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        char where[40];
        at.index = i;
        snprintf(where, sizeof where, "%s[%zu]", of->list, i);
        status = nx_spec_check_item(&at, item);
        if (status != NX_OK) {
            return status;
        }
        status = nx_spec_check_members(item, at.file, where, of->members, of->member_count, at.err);
        if (status == NX_OK) {
            status = of->read(&at, item, out);
        }
    }
    return status;
}

static nx_status read_document(const json_t *root, nx_spec_place at, nx_zones_spec *out)
{
    static const kind kinds[] = {
        {"zones", {"name", "polygon", "classes"}, 3, read_zone},
        {"lines", {"name", "from", "to", "classes"}, 4, read_line},
    };
    static const char *const members[] = {"zones", "lines"};
    if (!json_is_object(root)) {
        return nx_error_set(at.err, NX_ERR_INVALID,
                            "%s holds %s; it must be an object with zones and lines", at.file,
                            nx_spec_type_name(root));
    }
    nx_status status = nx_spec_check_members(root, at.file, "", members, 2, at.err);
    for (size_t i = 0; status == NX_OK && i < sizeof kinds / sizeof kinds[0]; i++) {
        status = read_list(root, &kinds[i], at, out);
    }
    if (status == NX_OK && out->zone_count + out->line_count == 0) {
        return nx_error_set(at.err, NX_ERR_INVALID, "%s has no zone and no line", at.file);
    }
    if (status == NX_OK && nx_zones_spec_check(out, at.err) != NX_OK) {
        return nx_error_prefix(at.err, "%.200s", at.file);
    }
    return status;
}

nx_status nx_zones_parse(const char *text, size_t size, const char *file, nx_class_names names,
                         nx_zones_spec *out, nx_error *err)
{
    json_t *root = NULL;
    *out = (nx_zones_spec){0};
    nx_status status = nx_spec_load(text, size, file, "zones", NX_ZONES_MAX_TEXT_BYTES, &root, err);
    if (status != NX_OK) {
        return status;
    }
    out->zones = calloc(NX_ZONES_MAX, sizeof *out->zones);
    out->lines = calloc(NX_ZONES_MAX, sizeof *out->lines);
    if (out->zones == NULL || out->lines == NULL) {
        status = nx_spec_no_memory(file, err);
    } else {
        status =
            read_document(root, (nx_spec_place){.file = file, .names = names, .err = err}, out);
    }
    json_decref(root);
    if (status != NX_OK) {
        nx_zones_spec_free(out);
    }
    return status;
}
