#include "analytics/zones_parse.h"

#include "base/suggest.h"
#include "vision/class_filter.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Where in the file we are, for messages. */
typedef struct place {
    const char *file;
    const char *list; /* "zones" or "lines" */
    size_t index;
    nx_class_names names;
    nx_error *err;
} place;

static const char *type_name(const json_t *value)
{
    if (value == NULL) {
        return "missing";
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_NULL:
        return "null";
    default:
        return "true or false";
    }
}

static nx_status wrong_type(const place *at, const char *member, const json_t *value,
                            const char *wanted)
{
    return nx_error_set(at->err, NX_ERR_INVALID, "%s: %s[%zu].%s is %s; it must be %s", at->file,
                        at->list, at->index, member, type_name(value), wanted);
}

static nx_status no_memory(const char *file, nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "%s: not enough memory to read it", file);
}

/* where: "zones[2]", or "" for the document. */
static nx_status check_members(const json_t *object, const char *file, const char *where,
                               const char *const *known, size_t count, nx_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < count; i++) {
            found = found || strcmp(key, known[i]) == 0;
        }
        if (!found) {
            const char *near = nx_suggest(key, known, count);
            return nx_error_set(err, NX_ERR_INVALID, "%s: %s%sthere is no member '%.60s'%s%s%s",
                                file, where, where[0] != '\0' ? ": " : "", key,
                                near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                                near != NULL ? "'?" : "");
        }
    }
    return NX_OK;
}

static nx_status read_name(const place *at, const json_t *item, char *out)
{
    const json_t *value = json_object_get(item, "name");
    if (!json_is_string(value)) {
        return wrong_type(at, "name", value, "a string");
    }
    size_t length = json_string_length(value);
    if (length == 0 || length > NX_ZONES_MAX_NAME_BYTES) {
        return nx_error_set(at->err, NX_ERR_INVALID,
                            "%s: %s[%zu].name has %zu bytes; it must have 1 to %d", at->file,
                            at->list, at->index, length, NX_ZONES_MAX_NAME_BYTES);
    }
    if (strlen(json_string_value(value)) != length) {
        return nx_error_set(at->err, NX_ERR_INVALID, "%s: %s[%zu].name holds a zero byte", at->file,
                            at->list, at->index);
    }
    memcpy(out, json_string_value(value), length + 1);
    return NX_OK;
}

static nx_status read_point(const place *at, const json_t *value, const char *member,
                            nx_zone_point *out)
{
    static const char wanted[] = "a point [x, y] of two numbers";
    const json_t *x = json_array_get(value, 0);
    const json_t *y = json_array_get(value, 1);
    if (!json_is_array(value)) {
        return wrong_type(at, member, value, wanted);
    }
    if (json_array_size(value) != 2 || !json_is_number(x) || !json_is_number(y)) {
        return nx_error_set(at->err, NX_ERR_INVALID, "%s: %s[%zu].%s must be %s", at->file,
                            at->list, at->index, member, wanted);
    }
    *out = (nx_zone_point){json_number_value(x), json_number_value(y)};
    return NX_OK;
}

static nx_status read_classes(const place *at, const json_t *item, nx_zone_filter *out)
{
    const json_t *value = json_object_get(item, "classes");
    nx_postprocess_options chosen = {0}; /* for its mask alone */
    *out = (nx_zone_filter){0};
    if (value == NULL) {
        return NX_OK;
    }
    if (!json_is_array(value) || json_array_size(value) == 0) {
        return wrong_type(at, "classes", value, "a list of at least one class name");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *word = json_array_get(value, i);
        char member[40];
        snprintf(member, sizeof member, "classes[%zu]", i);
        if (!json_is_string(word)) {
            return wrong_type(at, member, word, "a string");
        }
        nx_status status =
            nx_class_filter_add(json_string_value(word), at->names, &chosen, at->err);
        if (status != NX_OK) {
            return nx_error_prefix(at->err, "%.200s: %s[%zu].%s", at->file, at->list, at->index,
                                   member);
        }
    }
    out->only = true;
    memcpy(out->mask, chosen.class_mask, sizeof out->mask);
    return NX_OK;
}

static nx_status read_polygon(const place *at, const json_t *item, nx_zone *zone)
{
    const json_t *value = json_object_get(item, "polygon");
    if (!json_is_array(value)) {
        return wrong_type(at, "polygon", value, "a list of points [x, y]");
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

static nx_status read_zone(const place *at, const json_t *item, nx_zones_spec *out)
{
    nx_zone *zone = &out->zones[out->zone_count++];
    nx_status status = read_name(at, item, zone->name);
    if (status == NX_OK) {
        status = read_polygon(at, item, zone);
    }
    return status == NX_OK ? read_classes(at, item, &zone->classes) : status;
}

static nx_status read_line(const place *at, const json_t *item, nx_zones_spec *out)
{
    nx_line *line = &out->lines[out->line_count++];
    nx_status status = read_name(at, item, line->name);
    if (status == NX_OK) {
        status = read_point(at, json_object_get(item, "from"), "from", &line->from);
    }
    if (status == NX_OK) {
        status = read_point(at, json_object_get(item, "to"), "to", &line->to);
    }
    return status == NX_OK ? read_classes(at, item, &line->classes) : status;
}

typedef struct kind {
    const char *list;
    const char *members[4];
    size_t member_count;
    nx_status (*read)(const place *at, const json_t *item, nx_zones_spec *out);
} kind;

static nx_status read_list(const json_t *root, const kind *of, place at, nx_zones_spec *out)
{
    const json_t *list = json_object_get(root, of->list);
    at.list = of->list;
    if (list != NULL && !json_is_array(list)) {
        return nx_error_set(at.err, NX_ERR_INVALID, "%s: %s is %s; it must be a list", at.file,
                            of->list, type_name(list));
    }
    if (json_array_size(list) > NX_ZONES_MAX) {
        return nx_error_set(at.err, NX_ERR_INVALID, "%s: there are %zu %s; the most is %d", at.file,
                            json_array_size(list), of->list, NX_ZONES_MAX);
    }
    nx_status status = NX_OK;
    for (size_t i = 0; status == NX_OK && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        char where[40];
        at.index = i;
        snprintf(where, sizeof where, "%s[%zu]", of->list, i);
        if (!json_is_object(item)) {
            return nx_error_set(at.err, NX_ERR_INVALID, "%s: %s is %s; it must be an object",
                                at.file, where, type_name(item));
        }
        status = check_members(item, at.file, where, of->members, of->member_count, at.err);
        if (status == NX_OK) {
            status = of->read(&at, item, out);
        }
    }
    return status;
}

static nx_status load(const char *text, size_t size, const char *file, json_t **out, nx_error *err)
{
    json_error_t problem;
    if (size > NX_ZONES_MAX_TEXT_BYTES) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "%s has %zu bytes; zones have at most %zu", file,
                            size, NX_ZONES_MAX_TEXT_BYTES);
    }
    *out = json_loadb(size > 0 ? text : "", size, JSON_REJECT_DUPLICATES, &problem);
    if (*out == NULL && json_error_code(&problem) == json_error_out_of_memory) {
        return no_memory(file, err);
    }
    return *out != NULL ? NX_OK
                        : nx_error_set(err, NX_ERR_INVALID, "%s is not valid JSON: line %d: %s",
                                       file, problem.line, problem.text);
}

static nx_status read_document(const json_t *root, place at, nx_zones_spec *out)
{
    static const kind kinds[] = {
        {"zones", {"name", "polygon", "classes"}, 3, read_zone},
        {"lines", {"name", "from", "to", "classes"}, 4, read_line},
    };
    static const char *const members[] = {"zones", "lines"};
    if (!json_is_object(root)) {
        return nx_error_set(at.err, NX_ERR_INVALID,
                            "%s holds %s; it must be an object with zones and lines", at.file,
                            type_name(root));
    }
    nx_status status = check_members(root, at.file, "", members, 2, at.err);
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
    nx_status status = load(text, size, file, &root, err);
    if (status != NX_OK) {
        return status;
    }
    out->zones = calloc(NX_ZONES_MAX, sizeof *out->zones);
    out->lines = calloc(NX_ZONES_MAX, sizeof *out->lines);
    if (out->zones == NULL || out->lines == NULL) {
        status = no_memory(file, err);
    } else {
        status = read_document(root, (place){.file = file, .names = names, .err = err}, out);
    }
    json_decref(root);
    if (status != NX_OK) {
        nx_zones_spec_free(out);
    }
    return status;
}
