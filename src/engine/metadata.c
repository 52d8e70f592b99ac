#include "engine/metadata.h"

#include "base/file.h"
#include "engine/onnx_file.h"
#include "engine/supported.h"

#include <ctype.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SIZE    640
#define DEFAULT_STRIDE  32
#define DEFAULT_REG_MAX 16

/* Numbers in a text such as "32", "[384, 640]", "(17, 3)" or "tensor(32)"; returns how many of them
 * there are, of which the first `capacity` are stored. */
static size_t read_numbers(nx_onnx_text text, uint32_t *out, size_t capacity)
{
    size_t count = 0;
    bool inside = false;
    for (size_t i = 0; i < text.size; i++) {
        bool digit = isdigit((unsigned char)text.text[i]) != 0;
        if (digit && !inside) {
            count++;
            if (count <= capacity) {
                out[count - 1] = 0;
            }
        }
        if (digit && count <= capacity && out[count - 1] <= NX_MODEL_MAX_SIDE) {
            /* more digits than that are no size anyway */
            out[count - 1] = out[count - 1] * 10 + (uint32_t)(text.text[i] - '0');
        }
        inside = digit;
    }
    return count;
}

static uint32_t largest_number(nx_onnx_text text)
{
    uint32_t numbers[4];
    size_t count = read_numbers(text, numbers, 4);
    uint32_t largest = 0;
    for (size_t i = 0; i < count && i < 4; i++) {
        largest = numbers[i] > largest ? numbers[i] : largest;
    }
    return largest;
}

static bool text_is(nx_onnx_text text, const char *expected)
{
    return text.text != NULL && text.size == strlen(expected) &&
           memcmp(text.text, expected, text.size) == 0;
}

static char *copy_text(nx_onnx_text text)
{
    return strndup(text.text != NULL ? text.text : "", text.size);
}

static nx_status read_task(const nx_onnx_info *info, const char *path, nx_metadata *out,
                           nx_error *err)
{
    static const char *const tasks[] = {
        [NX_TASK_DETECT] = "detect", [NX_TASK_SEGMENT] = "segment", [NX_TASK_POSE] = "pose"};
    nx_onnx_text task = nx_onnx_metadata(info, "task");
    if (task.text == NULL) {
        return NX_OK;
    }
    for (size_t i = 0; i < sizeof tasks / sizeof tasks[0]; i++) {
        if (text_is(task, tasks[i])) {
            out->has_task = true;
            out->task = (nx_model_task)i;
            return NX_OK;
        }
    }
    return nx_error_set(err, NX_ERR_UNSUPPORTED, "%.180s is a model for the task '%.*s'; %s", path,
                        (int)(task.size < 40 ? task.size : 40), task.text, NX_SUPPORTED_MODELS);
}

static nx_status read_keypoints(const nx_onnx_info *info, const char *path, nx_metadata *out,
                                nx_error *err)
{
    if (out->task != NX_TASK_POSE) {
        return NX_OK;
    }
    uint32_t numbers[2] = {0};
    nx_onnx_text text = nx_onnx_metadata(info, "kpt_shape");
    size_t count = read_numbers(text, numbers, 2);
    if (count != 2 || numbers[0] < 1 || numbers[0] > NX_MODEL_MAX_KEYPOINTS || numbers[1] < 2 ||
        numbers[1] > 3) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "%.180s is a pose model whose metadata has %s 'kpt_shape'%s%.*s: "
                            "'[keypoints, 2 or 3]' is needed, with at most %d keypoints",
                            path, text.text == NULL ? "no" : "an unusable",
                            text.text == NULL ? "" : " ", (int)(text.size < 40 ? text.size : 40),
                            text.text == NULL ? "" : text.text, NX_MODEL_MAX_KEYPOINTS);
    }
    out->keypoints = numbers[0];
    out->keypoint_values = numbers[1];
    return NX_OK;
}

static nx_status read_names(const nx_onnx_info *info, const char *path, nx_metadata *out,
                            nx_error *err)
{
    nx_onnx_text names = nx_onnx_metadata(info, "names");
    if (names.text == NULL) {
        return NX_OK;
    }
    out->has_names = true;
    nx_status status = nx_class_names_parse(names, &out->names, err);
    if (status != NX_OK) {
        nx_error_prefix(err, "%s", path);
    }
    return status;
}

/* The keys of a file that Nexus has optimised. */
static nx_status read_head(const nx_onnx_info *info, const char *path, nx_metadata *out,
                           nx_error *err)
{
    nx_onnx_text head = nx_onnx_metadata(info, "nexus_head");
    nx_onnx_text layout = nx_onnx_metadata(info, "nexus_layout");
    uint32_t reg_max = largest_number(nx_onnx_metadata(info, "nexus_reg_max"));
    out->split = text_is(head, "split");
    out->channels_last = text_is(layout, "nhwc");
    out->reg_max = reg_max > 0 ? reg_max : DEFAULT_REG_MAX;
    if ((head.text != NULL && !out->split) ||
        (layout.text != NULL && !out->channels_last && !text_is(layout, "nchw")) ||
        out->reg_max > 64) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "%.200s was optimised by a version of Nexus that writes other heads "
                            "than this one reads; optimise the original again",
                            path);
    }
    return NX_OK;
}

/* An operator's name as it stands in NodeProto.op_type: field 4, its length, its bytes. Weights may
 * hold the same bytes in theory, and nothing but a line in `nexus check` would be wrong. */
static bool has_operator(const nx_file_map *map, const char *name)
{
    char pattern[64];
    size_t length = strlen(name);
    pattern[0] = 4 << 3 | 2;
    pattern[1] = (char)length;
    memcpy(pattern + 2, name, length);
    return memmem(map->data, map->size, pattern, length + 2) != NULL;
}

static bool is_quantized(const nx_file_map *map)
{
    static const char *const operators[] = {"QuantizeLinear", "QLinearConv", "ConvInteger",
                                            "DynamicQuantizeLinear", "TableU8"};
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (has_operator(map, operators[i])) {
            return true;
        }
    }
    return false;
}

/* TensorProto.external_data is a list of pairs, of which one has the key "location". */
static bool has_external_data(const nx_file_map *map)
{
    static const char entry[] = "\x0a\x08location\x12";
    return memmem(map->data, map->size, entry, sizeof entry - 1) != NULL;
}

static nx_status read_rest(const nx_onnx_info *info, nx_metadata *out, nx_error *err)
{
    uint32_t stride = largest_number(nx_onnx_metadata(info, "stride"));
    uint32_t size = largest_number(nx_onnx_metadata(info, "imgsz"));
    out->stride = stride >= 1 && stride <= 256 ? stride : DEFAULT_STRIDE;
    out->size = size >= 1 && size <= NX_MODEL_MAX_SIDE ? size : DEFAULT_SIZE;
    out->description = copy_text(nx_onnx_metadata(info, "description"));
    out->license = copy_text(nx_onnx_metadata(info, "license"));
    out->optimized = copy_text(nx_onnx_metadata(info, "nexus_optimized"));
    if (out->description == NULL || out->license == NULL || out->optimized == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
    }
    return NX_OK;
}

nx_status nx_metadata_read(const char *path, nx_metadata *out, nx_error *err)
{
    nx_file_map map;
    nx_onnx_info info;
    *out = (nx_metadata){0};
    nx_status status = nx_file_map_open(path, &map, err);
    if (status != NX_OK) {
        return status;
    }
    status = nx_onnx_inspect(map.data, map.size, path, &info, err);
    if (status == NX_OK) {
        status = read_task(&info, path, out, err);
    }
    if (status == NX_OK) {
        status = read_keypoints(&info, path, out, err);
    }
    if (status == NX_OK) {
        status = read_names(&info, path, out, err);
    }
    if (status == NX_OK) {
        status = read_head(&info, path, out, err);
    }
    if (status == NX_OK) {
        status = read_rest(&info, out, err);
        out->file_size = map.size;
        out->quantized = is_quantized(&map);
        out->has_external_data = has_external_data(&map);
        crypto_generichash(out->content, sizeof out->content, map.data, map.size, NULL, 0);
    }
    nx_file_unmap(&map);
    return status;
}

void nx_metadata_free(nx_metadata *metadata)
{
    nx_name_table_free(&metadata->names);
    free(metadata->description);
    free(metadata->license);
    free(metadata->optimized);
    *metadata = (nx_metadata){0};
}
