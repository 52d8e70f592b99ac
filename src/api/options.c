#include "api/options.h"

#include "base/suggest.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_DETECTIONS 1000

typedef enum option_id {
    OPTION_CONFIDENCE,
    OPTION_IOU,
    OPTION_MAX_DETECTIONS,
    OPTION_CLASSES,
    OPTION_MODEL,
    OPTION_FORMAT,
    OPTION_COUNT,
} option_id;

static const char *const option_names[OPTION_COUNT] = {
    "confidence", "iou", "max_detections", "classes", "model", "format",
};

static const char *const format_names[] = {"nexus", "coco", "yolo", "csv"};

nx_api_options nx_api_options_start(const nx_option_rules *rules)
{
    return (nx_api_options){.rules = rules, .postprocess = rules->defaults};
}

void nx_api_options_next_source(nx_api_options *options)
{
    options->seen = 0;
}

/* --- single values ------------------------------------------------------------------------------
 */

static bool set_fraction(const char *name, double number, float *out, nx_problem *problem)
{
    if (!(number >= 0 && number <= 1)) {
        *problem = nx_problem_make(422, "Send a number from 0 to 1, such as 0.25.",
                                   "%s: %g is not from 0 to 1", name, number);
        return false;
    }
    *out = (float)number;
    return true;
}

/* A decimal number and nothing else: no "nan", no "0x1p-2", no spaces. */
static bool parse_number(const char *text, double *out)
{
    if (text[0] == '\0' || text[strspn(text, "0123456789+-.eE")] != '\0') {
        return false;
    }
    char *end = NULL;
    *out = strtod(text, &end);
    return *end == '\0' && isfinite(*out);
}

static bool set_fraction_text(const char *name, const char *text, float *out, nx_problem *problem)
{
    double number = 0;
    if (!parse_number(text, &number)) {
        *problem = nx_problem_make(400, "Send a number from 0 to 1, such as 0.25.",
                                   "%s: '%.60s' is not a number", name, text);
        return false;
    }
    return set_fraction(name, number, out, problem);
}

static bool set_max_detections(nx_api_options *options, long long number, nx_problem *problem)
{
    if (number < 1 || number > MAX_DETECTIONS) {
        *problem =
            nx_problem_make(422, "Send a whole number from 1 to 1000.",
                            "max_detections: %lld is not from 1 to %d", number, MAX_DETECTIONS);
        return false;
    }
    options->postprocess.max_detections = (int32_t)number;
    return true;
}

static bool set_max_detections_text(nx_api_options *options, const char *text, nx_problem *problem)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool is_number = text[0] != '\0' && text[strspn(text, "-0123456789")] == '\0' && *end == '\0';
    if (!is_number) {
        *problem = nx_problem_make(400, "Send a whole number from 1 to 1000.",
                                   "max_detections: '%.60s' is not a whole number", text);
        return false;
    }
    return set_max_detections(options, number, problem); /* out of range stays so: ERANGE clamps */
}

static bool set_model(const nx_api_options *options, const char *text, nx_problem *problem)
{
    if (strcmp(text, options->rules->model) == 0) {
        return true;
    }
    *problem = nx_problem_make(404, "Leave model out, or name one that the server has.",
                               "there is no model '%.60s'; this server has %.100s", text,
                               options->rules->model);
    return false;
}

static bool set_format(nx_api_options *options, const char *text, nx_problem *problem)
{
    size_t count = sizeof format_names / sizeof format_names[0];
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, format_names[i]) == 0) {
            options->format = (nx_answer_format)i;
            return true;
        }
    }
    const char *near = nx_suggest(text, format_names, count);
    *problem = nx_problem_make(
        422, "Use nexus, coco, yolo or csv.", "format: there is no format '%.60s'%s%s%s", text,
        near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
    return false;
}

/* --- classes ------------------------------------------------------------------------------------
 */

static void start_classes(nx_api_options *options)
{
    if ((options->seen & 1U << OPTION_CLASSES) == 0) {
        options->postprocess.filter_classes = false;
        memset(options->postprocess.class_mask, 0, sizeof options->postprocess.class_mask);
    }
}

static void allow_class(nx_api_options *options, size_t id)
{
    options->postprocess.filter_classes = true;
    nx_postprocess_allow_class(&options->postprocess, (int32_t)id);
}

static bool add_class_id(nx_api_options *options, long long id, nx_problem *problem)
{
    size_t count = options->rules->names.count;
    if (id < 0 || (unsigned long long)id >= count) {
        *problem = nx_problem_make(422, "Use a class name, or an id in that range.",
                                   "classes: there is no class %lld; the ids of %.100s go from 0 "
                                   "to %zu",
                                   id, options->rules->model, count - 1);
        return false;
    }
    allow_class(options, (size_t)id);
    return true;
}

static bool add_class_name(nx_api_options *options, const char *name, nx_problem *problem)
{
    nx_class_names names = options->rules->names;
    for (size_t i = 0; i < names.count; i++) {
        if (strcasecmp(name, names.names[i]) == 0) {
            allow_class(options, i);
            return true;
        }
    }
    if (name[0] != '\0' && strlen(name) < 10 && name[strspn(name, "0123456789")] == '\0') {
        return add_class_id(options, strtoll(name, NULL, 10), problem);
    }
    const char *near = nx_suggest(name, names.names, names.count);
    *problem = nx_problem_make(422, "Use names or ids of the model's classes, comma separated.",
                               "classes: there is no class '%.60s'%s%s%s", name,
                               near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                               near != NULL ? "'?" : "");
    return false;
}

/* "person, bus,5"; empty for every class. */
static bool set_classes_text(nx_api_options *options, const char *text, nx_problem *problem)
{
    start_classes(options);
    if (text[strspn(text, " ")] == '\0') {
        return true;
    }
    for (const char *at = text;; at++) {
        at += strspn(at, " ");
        size_t size = strcspn(at, ",");
        const char *next = at + size;
        while (size > 0 && at[size - 1] == ' ') {
            size--;
        }
        char name[128];
        if (size == 0 || size >= sizeof name) {
            *problem = nx_problem_make(400, "Use names or ids, comma separated: person,bus,5.",
                                       size == 0 ? "classes: a name between the commas is missing"
                                                 : "classes: a name is far too long");
            return false;
        }
        memcpy(name, at, size);
        name[size] = '\0';
        if (!add_class_name(options, name, problem)) {
            return false;
        }
        at = next;
        if (*at == '\0') {
            return true;
        }
    }
}

static bool set_classes_array(nx_api_options *options, const json_t *array, nx_problem *problem)
{
    start_classes(options);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        bool taken = false;
        if (json_is_integer(item)) {
            taken = add_class_id(options, json_integer_value(item), problem);
        } else if (json_is_string(item)) {
            taken = add_class_name(options, json_string_value(item), problem);
        } else {
            *problem = nx_problem_make(400, "Send [\"person\", \"bus\"] or [0, 5].",
                                       "classes: item %zu is neither a name nor an id", i);
        }
        if (!taken) {
            return false;
        }
    }
    return true;
}

/* --- by name ------------------------------------------------------------------------------------
 */

static bool find_option(nx_api_options *options, const char *name, option_id *out,
                        nx_problem *problem)
{
    size_t count = options->rules->has_format ? OPTION_COUNT : OPTION_FORMAT;
    size_t id = 0;
    while (id < count && strcmp(name, option_names[id]) != 0) {
        id++;
    }
    if (id == count) {
        const char *near = nx_suggest(name, option_names, count);
        *problem = nx_problem_make(
            422,
            count == OPTION_COUNT
                ? "Options are confidence, iou, max_detections, classes, model and format."
                : "Options are confidence, iou, max_detections, classes and model.",
            "there is no option '%.60s'%s%s%s", name, near != NULL ? "; did you mean '" : "",
            near != NULL ? near : "", near != NULL ? "'?" : "");
        return false;
    }
    if ((options->seen & 1U << id) != 0 && id != OPTION_CLASSES) {
        *problem = nx_problem_make(400, "Send it once.", "%s is given twice", name);
        return false;
    }
    *out = (option_id)id;
    return true;
}

bool nx_api_options_set(nx_api_options *options, const char *name, const char *value,
                        nx_problem *problem)
{
    option_id id;
    if (!find_option(options, name, &id, problem)) {
        return false;
    }
    if (value == NULL) {
        *problem = nx_problem_make(400, "Write it as name=value.", "%s has no value", name);
        return false;
    }
    bool taken = false;
    switch (id) {
    case OPTION_CONFIDENCE:
        taken = set_fraction_text(name, value, &options->postprocess.confidence, problem);
        break;
    case OPTION_IOU:
        taken = set_fraction_text(name, value, &options->postprocess.iou, problem);
        break;
    case OPTION_MAX_DETECTIONS:
        taken = set_max_detections_text(options, value, problem);
        break;
    case OPTION_CLASSES:
        taken = set_classes_text(options, value, problem);
        break;
    case OPTION_MODEL:
        taken = options->rules->model_chosen || set_model(options, value, problem);
        break;
    case OPTION_FORMAT:
        taken = set_format(options, value, problem);
        break;
    case OPTION_COUNT:
        break;
    }
    options->seen |= 1U << id;
    return taken;
}

bool nx_api_options_set_json(nx_api_options *options, const char *name, const json_t *value,
                             nx_problem *problem)
{
    option_id id;
    if (!find_option(options, name, &id, problem)) {
        return false;
    }
    if (json_is_null(value)) {
        return true;
    }
    bool taken = false;
    if (id <= OPTION_IOU && json_is_number(value)) {
        taken = set_fraction(name, json_number_value(value),
                             id == OPTION_IOU ? &options->postprocess.iou
                                              : &options->postprocess.confidence,
                             problem);
    } else if (id == OPTION_MAX_DETECTIONS && json_is_integer(value)) {
        taken = set_max_detections(options, json_integer_value(value), problem);
    } else if (id == OPTION_CLASSES && json_is_array(value)) {
        taken = set_classes_array(options, value, problem);
    } else if (id >= OPTION_CLASSES && json_is_string(value)) {
        return nx_api_options_set(options, name, json_string_value(value), problem);
    } else {
        static const char *const wanted[OPTION_COUNT] = {
            "a number", "a number", "a whole number", "an array of names or ids",
            "a string", "a string",
        };
        *problem = nx_problem_make(400, "openapi.json has the types of all options.",
                                   "%s must be %s", name, wanted[id]);
    }
    options->seen |= 1U << id;
    return taken;
}
