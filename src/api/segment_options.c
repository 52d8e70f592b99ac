#include "api/segment_options.h"

#include "base/suggest.h"

#include <stdio.h>
#include <string.h>

typedef enum option_id {
    OPTION_POINTS,
    OPTION_BOXES,
    OPTION_MULTIMASK,
    OPTION_MASK_FORMAT,
    OPTION_IMAGE_ID,
    OPTION_MODEL,
    OPTION_COUNT,
} option_id;

static const char *const text_names[OPTION_COUNT] = {"point",       "box",      "multimask",
                                                     "mask_format", "image_id", "model"};
static const char *const json_names[OPTION_COUNT] = {"points",      "boxes",    "multimask",
                                                     "mask_format", "image_id", "model"};

static const char point_advice[] =
    "Send points inside the picture: {\"x\": 400, \"y\": 300, \"label\": 1} in JSON, "
    "point=400,300,1 elsewhere; label 0 means not this.";
static const char box_advice[] =
    "Send boxes inside the picture: [x1, y1, x2, y2] in JSON, box=30,160,810,900 elsewhere.";

void nx_segment_options_next_source(nx_segment_options *options)
{
    options->seen = 0;
}

static bool find_option(nx_segment_options *options, const char *const *names, const char *name,
                        option_id *out, nx_problem *problem)
{
    size_t id = 0;
    while (id < OPTION_COUNT && strcmp(name, names[id]) != 0) {
        id++;
    }
    if (id == OPTION_COUNT) {
        const char *near = nx_suggest(name, names, OPTION_COUNT);
        *problem = nx_problem_make(
            422,
            names == json_names
                ? "Members are image or image_id, points, boxes, multimask, mask_format and "
                  "model."
                : "Options are point, box, multimask, mask_format, image_id and model.",
            "there is no option '%.60s'%s%s%s", name, near != NULL ? "; did you mean '" : "",
            near != NULL ? near : "", near != NULL ? "'?" : "");
        return false;
    }
    bool adds_up = names == text_names && (id == OPTION_POINTS || id == OPTION_BOXES);
    if ((options->seen & 1U << id) != 0 && !adds_up) {
        *problem = nx_problem_make(400, "Send it once.", "%s is given twice", name);
        return false;
    }
    options->seen |= 1U << id;
    *out = (option_id)id;
    return true;
}

/* What a prompt does not take is 422. */
static bool taken(nx_status status, const nx_error *err, const char *advice, nx_problem *problem)
{
    if (status != NX_OK) {
        *problem = nx_problem_make(422, advice, "%s", err->message);
    }
    return status == NX_OK;
}

static bool set_mask_format(nx_segment_options *options, const char *text, nx_problem *problem)
{
    if (!nx_mask_format_parse(text, &options->mask_format)) {
        *problem = nx_problem_make(422, "Use rle, polygon or png.",
                                   "mask_format: there is no format '%.60s'", text);
        return false;
    }
    return true;
}

static bool set_image_id(nx_segment_options *options, const char *text, nx_problem *problem)
{
    options->has_image_id = nx_content_hash_parse(text, &options->image_id);
    if (!options->has_image_id) {
        *problem =
            nx_problem_make(422, "Send the image_id of an earlier answer.",
                            "image_id: '%.80s' is not one: it has 64 hexadecimal digits", text);
    }
    return options->has_image_id;
}

/* What it names is looked up by whoever needs it. */
static bool set_model(nx_segment_options *options, const char *text)
{
    snprintf(options->model, sizeof options->model, "%s", text);
    return true;
}

static bool set_multimask(nx_segment_options *options, const char *text, nx_problem *problem)
{
    options->prompt.multimask = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!options->prompt.multimask && strcmp(text, "false") != 0 && strcmp(text, "0") != 0) {
        *problem =
            nx_problem_make(400, "Send true or false.", "multimask: '%.60s' is neither", text);
        return false;
    }
    return true;
}

bool nx_segment_options_set(nx_segment_options *options, const char *name, const char *value,
                            nx_problem *problem)
{
    option_id id;
    nx_error err = {0};
    if (!find_option(options, text_names, name, &id, problem)) {
        return false;
    }
    if (value == NULL) {
        *problem = nx_problem_make(400, "Write it as name=value.", "%s has no value", name);
        return false;
    }
    switch (id) {
    case OPTION_POINTS:
        return taken(nx_sam_prompt_parse_point(&options->prompt, value, &err), &err, point_advice,
                     problem);
    case OPTION_BOXES:
        return taken(nx_sam_prompt_parse_box(&options->prompt, value, &err), &err, box_advice,
                     problem);
    case OPTION_MULTIMASK:
        return set_multimask(options, value, problem);
    case OPTION_MASK_FORMAT:
        return set_mask_format(options, value, problem);
    case OPTION_IMAGE_ID:
        return set_image_id(options, value, problem);
    case OPTION_MODEL:
        return set_model(options, value);
    case OPTION_COUNT:
        break;
    }
    return false;
}

/* --- JSON ---------------------------------------------------------------------------------------
 */

/* `count` numbers from an array's items or an object's members of these names; those from `needed`
 * on may be missing. False: it is neither, or has others. */
static bool read_numbers(const json_t *item, const char *const *names, size_t count, size_t needed,
                         double *numbers)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *value =
            json_is_array(item) ? json_array_get(item, i) : json_object_get(item, names[i]);
        if (value == NULL && i >= needed) {
            continue;
        }
        if (!json_is_number(value) && !(i >= needed && json_is_boolean(value))) {
            return false;
        }
        numbers[i] = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
        found++;
    }
    return found == (json_is_array(item) ? json_array_size(item) : json_object_size(item));
}

static bool add_point(nx_segment_options *options, const json_t *item, size_t index,
                      nx_problem *problem)
{
    static const char *const names[] = {"x", "y", "label"};
    double numbers[3] = {0, 0, 1};
    nx_error err = {0};
    if (!read_numbers(item, names, 3, 2, numbers) || (numbers[2] != 0 && numbers[2] != 1)) {
        *problem =
            nx_problem_make(400, point_advice,
                            "points: item %zu is not a point of x, y and a label of 0 or 1", index);
        return false;
    }
    const nx_sam_point point = {.x = numbers[0], .y = numbers[1], .positive = numbers[2] == 1};
    return taken(nx_sam_prompt_add_point(&options->prompt, point, &err), &err, point_advice,
                 problem);
}

static bool add_box(nx_segment_options *options, const json_t *item, size_t index,
                    nx_problem *problem)
{
    static const char *const names[] = {"x1", "y1", "x2", "y2"};
    double n[4];
    nx_error err = {0};
    if (!read_numbers(item, names, 4, 4, n)) {
        *problem =
            nx_problem_make(400, box_advice, "boxes: item %zu is not a box of four numbers", index);
        return false;
    }
    return taken(
        nx_sam_prompt_add_box(&options->prompt, (nx_sam_box){n[0], n[1], n[2], n[3]}, &err), &err,
        box_advice, problem);
}

static bool add_all(nx_segment_options *options, const json_t *array, option_id id,
                    nx_problem *problem)
{
    bool ok = true;
    for (size_t i = 0; i < json_array_size(array) && ok; i++) {
        const json_t *item = json_array_get(array, i);
        ok = id == OPTION_POINTS ? add_point(options, item, i, problem)
                                 : add_box(options, item, i, problem);
    }
    return ok;
}

bool nx_segment_options_set_json(nx_segment_options *options, const char *name, const json_t *value,
                                 nx_problem *problem)
{
    static const char *const wanted[OPTION_COUNT] = {
        "an array of points", "an array of boxes", "true or false",
        "a string",           "a string",          "a string",
    };
    option_id id;
    if (!find_option(options, json_names, name, &id, problem)) {
        return false;
    }
    if (json_is_null(value)) {
        return true;
    }
    if (id <= OPTION_BOXES && json_is_array(value)) {
        return add_all(options, value, id, problem);
    }
    if (id == OPTION_MULTIMASK && json_is_boolean(value)) {
        options->prompt.multimask = json_is_true(value);
        return true;
    }
    if (id == OPTION_MASK_FORMAT && json_is_string(value)) {
        return set_mask_format(options, json_string_value(value), problem);
    }
    if (id == OPTION_IMAGE_ID && json_is_string(value)) {
        return set_image_id(options, json_string_value(value), problem);
    }
    if (id == OPTION_MODEL && json_is_string(value)) {
        return set_model(options, json_string_value(value));
    }
    *problem = nx_problem_make(400, "openapi.json has the types of all options.", "%s must be %s",
                               name, wanted[id]);
    return false;
}

bool nx_segment_options_check(const nx_segment_options *options, nx_problem *problem)
{
    nx_error err = {0};
    return taken(nx_sam_prompt_check(&options->prompt, &err), &err, point_advice, problem);
}
