#include "jobs/video_spec.h"

#include "base/suggest.h"
#include "vision/postprocess.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_CLASSES_TEXT ((size_t)16 << 10)
#define MOST_PLACES_TEXT  ((size_t)1 << 20)
#define MOST_SECONDS      86400.0

static const struct {
    const char *name, *file;
} outputs[NX_VIDEO_OUTPUTS] = {
    [NX_VIDEO_FRAMES] = {"frames", "frames.ndjson.zst"},
    [NX_VIDEO_SUMMARY] = {"summary", "summary.json"},
    [NX_VIDEO_CSV] = {"csv", "objects.csv"},
    [NX_VIDEO_COCO] = {"coco", "coco.json"},
    [NX_VIDEO_MOT] = {"mot", "mot.txt"},
    [NX_VIDEO_COUNTS] = {"counts", "counts.csv"},
    [NX_VIDEO_HEATMAP] = {"heatmap", "heatmap.png"},
    [NX_VIDEO_VIDEO] = {"video", "annotated.mp4"},
};

#define ALWAYS (1U << NX_VIDEO_FRAMES | 1U << NX_VIDEO_SUMMARY)

const char *nx_video_output_file(nx_video_output output)
{
    return outputs[output].file;
}

void nx_video_spec_init(nx_video_spec *spec)
{
    *spec = (nx_video_spec){
        .confidence = -1,
        .iou = -1,
        .stride = 1,
        .track = true,
        .outputs = ((1U << NX_VIDEO_OUTPUTS) - 1) & ~(1U << NX_VIDEO_VIDEO),
        .counts_every_s = 60,
    };
}

void nx_video_spec_free(nx_video_spec *spec)
{
    free(spec->classes);
    free(spec->places);
    *spec = (nx_video_spec){0};
}

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the options of a video");
}

/* --- outputs ------------------------------------------------------------------------------------
 */

static nx_status add_output(uint32_t *set, const char *word, nx_error *err)
{
    const char *names[NX_VIDEO_OUTPUTS];
    for (int i = 0; i < NX_VIDEO_OUTPUTS; i++) {
        names[i] = outputs[i].name;
        if (strcmp(word, names[i]) == 0) {
            *set |= 1U << i;
            return NX_OK;
        }
    }
    const char *near = nx_suggest(word, names, NX_VIDEO_OUTPUTS);
    return nx_error_set(err, NX_ERR_INVALID,
                        "outputs: there is none of the name '%.40s'%s%s%s; there are frames, "
                        "summary, csv, coco, mot, counts, heatmap and video",
                        word, near != NULL ? ", did you mean '" : "", near != NULL ? near : "",
                        near != NULL ? "'?" : "");
}

nx_status nx_video_spec_set_outputs(nx_video_spec *spec, const char *list, nx_error *err)
{
    uint32_t set = ALWAYS;
    char *copy = strdup(list);
    char *rest = NULL;
    nx_status status = copy == NULL ? no_memory(err) : NX_OK;
    char *word = copy != NULL ? strtok_r(copy, ", ", &rest) : NULL;
    if (copy != NULL && word == NULL) {
        status = nx_error_set(err, NX_ERR_INVALID, "outputs: the list is empty");
    }
    for (; word != NULL && status == NX_OK; word = strtok_r(NULL, ", ", &rest)) {
        status = add_output(&set, word, err);
    }
    free(copy);
    spec->outputs = status == NX_OK ? set : spec->outputs;
    return status;
}

static nx_status take_outputs(nx_video_spec *spec, const json_t *value, nx_error *err)
{
    uint32_t set = ALWAYS;
    if (json_is_string(value)) {
        return nx_video_spec_set_outputs(spec, json_string_value(value), err);
    }
    if (!json_is_array(value)) {
        return nx_error_set(err, NX_ERR_INVALID, "outputs: send a list such as [\"csv\", \"mot\"]");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *word = json_string_value(json_array_get(value, i));
        nx_status status =
            word != NULL ? add_output(&set, word, err)
                         : nx_error_set(err, NX_ERR_INVALID, "outputs[%zu]: this is no name", i);
        if (status != NX_OK) {
            return status;
        }
    }
    spec->outputs = set;
    return NX_OK;
}

/* --- single values ------------------------------------------------------------------------------
 */

static nx_status take_number(const char *name, const json_t *value, double low, double high,
                             double *out, nx_error *err)
{
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= low && number <= high)) {
        return nx_error_set(err, NX_ERR_INVALID, "%s: send a number from %g to %g", name, low,
                            high);
    }
    *out = number;
    return NX_OK;
}

static nx_status take_whole(const char *name, const json_t *value, json_int_t low, json_int_t high,
                            uint32_t *out, nx_error *err)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < low || number > high) {
        return nx_error_set(err, NX_ERR_INVALID, "%s: send a whole number from %lld to %lld", name,
                            (long long)low, (long long)high);
    }
    *out = (uint32_t)number;
    return NX_OK;
}

static nx_status take_bool(const char *name, const json_t *value, bool *out, nx_error *err)
{
    if (!json_is_boolean(value)) {
        return nx_error_set(err, NX_ERR_INVALID, "%s: send true or false", name);
    }
    *out = json_is_true(value);
    return NX_OK;
}

static nx_status take_model(nx_video_spec *spec, const json_t *value, nx_error *err)
{
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t version = 0;
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) >= sizeof spec->model) {
        return nx_error_set(err, NX_ERR_INVALID, "model: send a name such as \"yolov8n\"");
    }
    nx_status status =
        text[0] != '\0' ? nx_model_reference_parse(text, name, &version, err) : NX_OK;
    if (status != NX_OK) {
        return err != NULL ? nx_error_prefix(err, "model") : status;
    }
    memcpy(spec->model, text, strlen(text) + 1);
    return NX_OK;
}

/* --- classes ------------------------------------------------------------------------------------
 */

/* Classes stand in a list with commas, so a name that has one can only be given by number. */
static nx_status append_class(nx_buffer *list, const json_t *value, size_t i, nx_error *err)
{
    const char *name = json_string_value(value);
    if (list->size > 0) {
        nx_buffer_append_char(list, ',');
    }
    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        json_integer_value(value) < NX_MAX_CLASSES) {
        nx_buffer_printf(list, "%d", (int)json_integer_value(value));
        return NX_OK;
    }
    if (name == NULL || name[0] == '\0' || strchr(name, ',') != NULL) {
        return nx_error_set(err, NX_ERR_INVALID, "classes[%zu]: send the name or number of a class",
                            i);
    }
    nx_buffer_append_str(list, name);
    return NX_OK;
}

static nx_status take_classes(nx_video_spec *spec, const json_t *value, nx_error *err)
{
    nx_buffer list = NX_BUFFER_INIT;
    nx_status status = NX_OK;
    if (json_is_string(value) && json_string_length(value) > 0) {
        nx_buffer_append_str(&list, json_string_value(value));
    } else if (!json_is_array(value) || json_array_size(value) == 0) {
        status =
            nx_error_set(err, NX_ERR_INVALID, "classes: send a list such as [\"person\", \"bus\"]");
    }
    for (size_t i = 0; status == NX_OK && i < json_array_size(value); i++) {
        status = append_class(&list, json_array_get(value, i), i, err);
    }
    if (status == NX_OK && list.size > MOST_CLASSES_TEXT) {
        status = nx_error_set(err, NX_ERR_INVALID, "classes: the list is too long");
    }
    if (status == NX_OK && nx_buffer_cstr(&list) != list.data) {
        status = no_memory(err);
    }
    if (status == NX_OK) {
        free(spec->classes);
        spec->classes = list.data;
        return NX_OK;
    }
    nx_buffer_free(&list);
    return status;
}

/* --- zones and lines ----------------------------------------------------------------------------
 */

/* Puts a list into the places' object; they are read as a whole by whoever runs the job. */
static nx_status take_places(nx_video_spec *spec, const char *name, const json_t *value,
                             nx_error *err)
{
    if (!json_is_array(value)) {
        return nx_error_set(err, NX_ERR_INVALID, "%s: send a list", name);
    }
    json_t *places = spec->places != NULL ? json_loads(spec->places, 0, NULL) : json_object();
    json_t *copy = json_deep_copy(value);
    char *text = NULL;
    if (places != NULL && copy != NULL && json_object_set(places, name, copy) == 0) {
        text = json_dumps(places, JSON_COMPACT | JSON_SORT_KEYS);
    }
    json_decref(places);
    json_decref(copy);
    if (text == NULL) {
        return no_memory(err);
    }
    if (strlen(text) > MOST_PLACES_TEXT) {
        free(text);
        return nx_error_set(err, NX_ERR_INVALID, "%s: the list is too long", name);
    }
    free(spec->places);
    spec->places = text;
    return NX_OK;
}

/* --- members ------------------------------------------------------------------------------------
 */

typedef enum member {
    MEMBER_MODEL,
    MEMBER_CONFIDENCE,
    MEMBER_IOU,
    MEMBER_CLASSES,
    MEMBER_STRIDE,
    MEMBER_FPS,
    MEMBER_TRACK,
    MEMBER_MOTION_GATE,
    MEMBER_ADAPTIVE_STRIDE,
    MEMBER_ZONES,
    MEMBER_LINES,
    MEMBER_OUTPUTS,
    MEMBER_COUNTS_EVERY,
    MEMBER_COUNT,
} member;

static const char *const member_names[MEMBER_COUNT] = {
    "model",       "confidence",      "iou",   "classes", "stride",  "fps",          "track",
    "motion_gate", "adaptive_stride", "zones", "lines",   "outputs", "counts_every",
};

const char *const *nx_video_spec_names(size_t *count)
{
    *count = MEMBER_COUNT;
    return member_names;
}

nx_status nx_video_spec_take(nx_video_spec *spec, const char *name, const json_t *value,
                             bool *known, nx_error *err)
{
    int which = 0;
    while (which < MEMBER_COUNT && strcmp(name, member_names[which]) != 0) {
        which++;
    }
    *known = which < MEMBER_COUNT;
    switch ((member)which) {
    case MEMBER_MODEL:
        return take_model(spec, value, err);
    case MEMBER_CONFIDENCE:
        return take_number(name, value, 0, 1, &spec->confidence, err);
    case MEMBER_IOU:
        return take_number(name, value, 0, 1, &spec->iou, err);
    case MEMBER_CLASSES:
        return take_classes(spec, value, err);
    case MEMBER_STRIDE:
        return take_whole(name, value, 1, NX_VIDEO_MAX_STRIDE, &spec->stride, err);
    case MEMBER_FPS:
        return take_number(name, value, 0.001, NX_VIDEO_MAX_FPS, &spec->fps, err);
    case MEMBER_TRACK:
        return take_bool(name, value, &spec->track, err);
    case MEMBER_MOTION_GATE:
        return take_bool(name, value, &spec->motion_gate, err);
    case MEMBER_ADAPTIVE_STRIDE:
        return take_bool(name, value, &spec->adaptive_stride, err);
    case MEMBER_ZONES:
    case MEMBER_LINES:
        return take_places(spec, name, value, err);
    case MEMBER_OUTPUTS:
        return take_outputs(spec, value, err);
    case MEMBER_COUNTS_EVERY:
        return take_number(name, value, 0.1, MOST_SECONDS, &spec->counts_every_s, err);
    case MEMBER_COUNT:
        break;
    }
    return NX_OK;
}

nx_status nx_video_spec_check(const nx_video_spec *spec, nx_error *err)
{
    if (spec->stride > 1 && spec->fps > 0) {
        return nx_error_set(err, NX_ERR_INVALID, "give stride or fps, not both");
    }
    if (!spec->track && spec->places != NULL) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "zones and lines count tracked objects: leave track on");
    }
    if (!spec->track && (spec->adaptive_stride || spec->motion_gate)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "adaptive_stride and motion_gate carry tracked objects on: leave track "
                            "on");
    }
    return NX_OK;
}

/* --- as text ------------------------------------------------------------------------------------
 */

/* The members of the places' object: it is compact and not empty. */
static void write_places(const nx_video_spec *spec, nx_json *json)
{
    if (spec->places != NULL) {
        size_t size = strlen(spec->places);
        nx_json_raw(json, spec->places + 1, size - 2); /* without the brackets */
    }
}

void nx_video_spec_json_members(const nx_video_spec *spec, nx_json *json)
{
    if (spec->model[0] != '\0') {
        nx_json_key_string(json, "model", spec->model);
    }
    if (spec->confidence >= 0) {
        nx_json_key_number(json, "confidence", spec->confidence, 6);
    }
    if (spec->iou >= 0) {
        nx_json_key_number(json, "iou", spec->iou, 6);
    }
    if (spec->classes != NULL) {
        nx_json_key_string(json, "classes", spec->classes);
    }
    nx_json_key_int(json, "stride", spec->stride);
    if (spec->fps > 0) {
        nx_json_key_number(json, "fps", spec->fps, 6);
    }
    nx_json_key_bool(json, "track", spec->track);
    nx_json_key_bool(json, "motion_gate", spec->motion_gate);
    nx_json_key_bool(json, "adaptive_stride", spec->adaptive_stride);
    write_places(spec, json);
    nx_json_key(json, "outputs");
    nx_json_array_begin(json);
    for (int i = 0; i < NX_VIDEO_OUTPUTS; i++) {
        if ((spec->outputs & 1U << i) != 0) {
            nx_json_string(json, outputs[i].name);
        }
    }
    nx_json_array_end(json);
    nx_json_key_number(json, "counts_every", spec->counts_every_s, 6);
}

static nx_status take_all(nx_video_spec *spec, json_t *object, nx_error *err)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(object, name, value)
    {
        bool known = false;
        nx_status status = nx_video_spec_take(spec, name, value, &known, err);
        if (status == NX_OK && !known) {
            const char *near = nx_suggest(name, member_names, MEMBER_COUNT);
            status = nx_error_set(err, NX_ERR_INVALID, "there is no option '%.60s'%s%s%s", name,
                                  near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                                  near != NULL ? "'?" : "");
        }
        if (status != NX_OK) {
            return status;
        }
    }
    return nx_video_spec_check(spec, err);
}

nx_status nx_video_spec_parse(const char *text, size_t size, nx_video_spec *spec, nx_error *err)
{
    json_error_t problem;
    nx_video_spec_init(spec);
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    if (object == NULL) {
        nx_video_spec_free(spec);
        return nx_error_set(err, NX_ERR_INVALID, "the JSON cannot be read: %s, line %d, column %d",
                            problem.text, problem.line, problem.column);
    }
    nx_status status = json_is_object(object)
                           ? take_all(spec, object, err)
                           : nx_error_set(err, NX_ERR_INVALID, "send the options as a JSON object");
    json_decref(object);
    if (status != NX_OK) {
        nx_video_spec_free(spec);
    }
    return status;
}
