#include "analytics/spec_json.h"

#include "base/suggest.h"
#include "vision/class_filter.h"

#include <stdio.h>
#include <string.h>

const char *nx_spec_type_name(const json_t *value)
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

nx_status nx_spec_wrong_type(const nx_spec_place *at, const char *member, const json_t *value,
                             const char *wanted)
{
    return nx_error_set(at->err, NX_ERR_INVALID, "%s: %s[%zu].%s is %s; it must be %s", at->file,
                        at->list, at->index, member, nx_spec_type_name(value), wanted);
}

nx_status nx_spec_no_memory(const char *file, nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "%s: not enough memory to read it", file);
}

nx_status nx_spec_check_members(const json_t *object, const char *file, const char *where,
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

nx_status nx_spec_list(const json_t *root, const char *list, const char *file, size_t most,
                       const json_t **out, nx_error *err)
{
    *out = json_object_get(root, list);
    if (*out != NULL && !json_is_array(*out)) {
        return nx_error_set(err, NX_ERR_INVALID, "%s: %s is %s; it must be a list", file, list,
                            nx_spec_type_name(*out));
    }
    if (json_array_size(*out) > most) {
        return nx_error_set(err, NX_ERR_INVALID, "%s: there are %zu %s; the most is %zu", file,
                            json_array_size(*out), list, most);
    }
    return NX_OK;
}

nx_status nx_spec_check_item(const nx_spec_place *at, const json_t *item)
{
    if (!json_is_object(item)) {
        return nx_error_set(at->err, NX_ERR_INVALID, "%s: %s[%zu] is %s; it must be an object",
                            at->file, at->list, at->index, nx_spec_type_name(item));
    }
    return NX_OK;
}

nx_status nx_spec_read_name(const nx_spec_place *at, const json_t *item, char *out)
{
    const json_t *value = json_object_get(item, "name");
    if (!json_is_string(value)) {
        return nx_spec_wrong_type(at, "name", value, "a string");
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

nx_status nx_spec_read_classes(const nx_spec_place *at, const json_t *item, nx_zone_filter *out)
{
    const json_t *value = json_object_get(item, "classes");
    nx_postprocess_options chosen = {0}; /* for its mask alone */
    *out = (nx_zone_filter){0};
    if (value == NULL) {
        return NX_OK;
    }
    if (!json_is_array(value) || json_array_size(value) == 0) {
        return nx_spec_wrong_type(at, "classes", value, "a list of at least one class name");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *word = json_array_get(value, i);
        char member[40];
        snprintf(member, sizeof member, "classes[%zu]", i);
        if (!json_is_string(word)) {
            return nx_spec_wrong_type(at, member, word, "a string");
        }
        nx_status status =
            at->names.names == NULL
                ? NX_OK /* which there are is not known yet */
                : nx_class_filter_add(json_string_value(word), at->names, &chosen, at->err);
        if (status != NX_OK) {
            return nx_error_prefix(at->err, "%.200s: %s[%zu].%s", at->file, at->list, at->index,
                                   member);
        }
    }
    out->only = true;
    memcpy(out->mask, chosen.class_mask, sizeof out->mask);
    return NX_OK;
}

nx_status nx_spec_load(const char *text, size_t size, const char *file, const char *what,
                       size_t most, json_t **out, nx_error *err)
{
    json_error_t problem;
    *out = NULL;
    if (size > most) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "%s has %zu bytes; %s have at most %zu", file,
                            size, what, most);
    }
    *out = json_loadb(size > 0 ? text : "", size, JSON_REJECT_DUPLICATES, &problem);
    if (*out == NULL && json_error_code(&problem) == json_error_out_of_memory) {
        return nx_spec_no_memory(file, err);
    }
    return *out != NULL ? NX_OK
                        : nx_error_set(err, NX_ERR_INVALID, "%s is not valid JSON: line %d: %s",
                                       file, problem.line, problem.text);
}
