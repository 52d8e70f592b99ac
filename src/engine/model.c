#include "engine/model.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/log.h"
#include "engine/class_names.h"
#include "engine/onnx_file.h"
#include "engine/ort.h"
#include "engine/signature.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SIZE   640
#define DEFAULT_STRIDE 32
#define MAX_SIDE       8192
/* An end-to-end head gives its best boxes, 300 as published; more rows than this are something
 * else. */
#define MAX_END_TO_END_ROWS 10000

#define SUPPORTED                                                                                  \
    "Nexus runs detectors with one input float32[1,3,height,width] and the output of YOLOv8/11 "   \
    "[1,4+C,N], YOLOv10 [1,N,6] or YOLOX [1,N,5+C]"

struct nx_model {
    nx_runtime *runtime; /* borrowed */
    OrtSession *session;
    OrtMemoryInfo *memory;
    char *input_name;
    char *output_name;
    nx_model_spec spec;
    nx_backend backend;
    nx_name_table names;
    /* owned copies behind spec's pointers */
    char *name;
    char *path;
    char *description;
    char *license;
};

/* --- metadata ----------------------------------------------------------------------------------
 */

/* Largest number in a text such as "32", "[384, 640]" or "tensor(32)"; 0 when there is none. */
static uint32_t largest_number(nx_onnx_text text)
{
    uint32_t largest = 0;
    uint32_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        bool digit = isdigit((unsigned char)text.text[i]) != 0;
        if (!digit) {
            number = 0;
        } else if (number <= MAX_SIDE) { /* more digits than that are no size anyway */
            number = number * 10 + (uint32_t)(text.text[i] - '0');
        }
        largest = number > largest ? number : largest;
    }
    return largest;
}

static char *copy_text(nx_onnx_text text)
{
    return strndup(text.text != NULL ? text.text : "", text.size);
}

static nx_status check_task(const nx_onnx_info *info, const char *path, nx_error *err)
{
    nx_onnx_text task = nx_onnx_metadata(info, "task");
    if (task.text != NULL && !(task.size == 6 && memcmp(task.text, "detect", 6) == 0)) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED, "%s is a model for the task '%.*s'; %s", path,
                            (int)(task.size < 40 ? task.size : 40), task.text, SUPPORTED);
    }
    return NX_OK;
}

/* Everything that the file says before it is built into a session. */
static nx_status read_metadata(nx_model *model, const nx_model_options *options, nx_error *err)
{
    nx_file_map map;
    nx_onnx_info info;
    nx_status status = nx_file_map_open(model->path, &map, err);
    if (status != NX_OK) {
        return status;
    }
    status = nx_onnx_inspect(map.data, map.size, model->path, &info, err);
    if (status == NX_OK) {
        status = check_task(&info, model->path, err);
    }
    nx_onnx_text names = nx_onnx_metadata(&info, "names");
    if (status == NX_OK && names.text != NULL) {
        status = nx_class_names_parse(names, &model->names, err);
        if (status != NX_OK) {
            nx_error_prefix(err, "%s", model->path);
        }
    }
    if (status == NX_OK) {
        uint32_t stride = largest_number(nx_onnx_metadata(&info, "stride"));
        uint32_t size = options->input_size;
        if (size == 0) {
            size = largest_number(nx_onnx_metadata(&info, "imgsz"));
        }
        model->spec.file_size = map.size;
        model->spec.names_from_file = names.text != NULL;
        model->spec.stride = stride >= 1 && stride <= 256 ? stride : DEFAULT_STRIDE;
        /* for a dynamic input; a fixed one replaces it */
        model->spec.input_width = size >= 1 && size <= MAX_SIDE ? size : DEFAULT_SIZE;
        model->description = copy_text(nx_onnx_metadata(&info, "description"));
        model->license = copy_text(nx_onnx_metadata(&info, "license"));
        if (model->description == NULL || model->license == NULL) {
            status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
        }
    }
    nx_file_unmap(&map);
    return status;
}

/* --- session -----------------------------------------------------------------------------------
 */

static nx_status open_session(nx_model *model, const nx_model_options *options, nx_error *err)
{
    const OrtApi *api = model->runtime->api;
    OrtSessionOptions *session_options = NULL;
    uint32_t threads = options->intra_op_threads > 0 ? options->intra_op_threads : 1;
    OrtStatus *failure = api->CreateSessionOptions(&session_options);
    if (failure == NULL) {
        failure = api->SetIntraOpNumThreads(session_options, (int)threads);
    }
    if (failure == NULL) {
        failure = api->SetInterOpNumThreads(session_options, 1);
    }
    if (failure == NULL) {
        failure = api->SetSessionGraphOptimizationLevel(session_options, ORT_ENABLE_ALL);
    }
    if (failure == NULL) {
        failure = api->AddSessionConfigEntry(session_options, "session.use_env_allocators", "1");
    }
    if (failure == NULL) { /* spinning threads take the cores from the other Runs */
        failure =
            api->AddSessionConfigEntry(session_options, "session.intra_op.allow_spinning", "0");
    }
    if (failure == NULL) {
        failure =
            api->CreateSession(model->runtime->env, model->path, session_options, &model->session);
    }
    if (failure == NULL) {
        failure = api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &model->memory);
    }
    if (session_options != NULL) {
        api->ReleaseSessionOptions(session_options);
    }
    char prefix[300];
    snprintf(prefix, sizeof prefix, "ONNX Runtime cannot build %.250s", model->path);
    return nx_runtime_check(model->runtime, failure, NX_ERR_CORRUPT, prefix, err);
}

/* --- the signature ------------------------------------------------------------------------------
 */

/* Takes the input's name and size, or refuses it. */
static nx_status accept_input(nx_model *model, nx_signature *inputs, nx_error *err)
{
    const nx_tensor_shape *shape = &inputs->first;
    nx_model_spec *spec = &model->spec;
    const char *found = nx_buffer_cstr(&inputs->text);
    bool fits = inputs->count == 1 && inputs->first_name != NULL &&
                shape->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT && shape->rank == 4 &&
                (shape->dims[0] == 1 || shape->dims[0] == -1) && shape->dims[1] == 3;
    if (!fits) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "%s is not a detector that Nexus knows: it has %zu input%s: %.150s. %s",
                            model->path, inputs->count, inputs->count == 1 ? "" : "s", found,
                            SUPPORTED);
    }
    spec->dynamic_batch = shape->dims[0] == -1;
    spec->dynamic_size = shape->dims[2] == -1 && shape->dims[3] == -1;
    /* a free side beside a fixed one is run at the usual size: one alone is nothing to choose from
     */
    int64_t stride = spec->stride;
    int64_t usual = (spec->input_width + stride - 1) / stride * stride;
    int64_t height = shape->dims[2] == -1 ? usual : shape->dims[2];
    int64_t width = shape->dims[3] == -1 ? usual : shape->dims[3];
    if (height < 1 || height > MAX_SIDE || width < 1 || width > MAX_SIDE) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED, "%s has an input of unusable size: %.200s",
                            model->path, found);
    }
    spec->input_height = (uint32_t)height;
    spec->input_width = (uint32_t)width;
    model->input_name = inputs->first_name;
    inputs->first_name = NULL;
    return NX_OK;
}

static nx_status refuse_output(const nx_model *model, const char *found, const char *hint,
                               nx_error *err)
{
    return nx_error_set(err, NX_ERR_UNSUPPORTED,
                        "%s is not a detector that Nexus knows: it puts out %.120s%s. %s",
                        model->path, found, hint, SUPPORTED);
}

static nx_status accept_output(nx_model *model, nx_signature *outputs, nx_error *err)
{
    const char *found = nx_buffer_cstr(&outputs->text);
    if (outputs->count != 1 || outputs->first_name == NULL) {
        return refuse_output(model, found,
                             outputs->count == 2 ? " (a segmentation model has two outputs)" : "",
                             err);
    }
    /* what is no detector by its declaration need not be run to find out; 0 is not declared */
    bool other_rank = outputs->first.rank != 0 && outputs->first.rank != 3;
    if (outputs->first.type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || other_rank) {
        return refuse_output(model, found, "", err);
    }
    model->output_name = outputs->first_name;
    outputs->first_name = NULL;
    return NX_OK;
}

static nx_status read_signatures(nx_model *model, nx_error *err)
{
    nx_signature inputs = {0};
    nx_signature outputs = {0};
    nx_status status =
        nx_signature_read(model->runtime, model->session, true, model->path, &inputs, err);
    if (status == NX_OK) {
        status = accept_input(model, &inputs, err);
    }
    if (status == NX_OK) {
        status =
            nx_signature_read(model->runtime, model->session, false, model->path, &outputs, err);
    }
    if (status == NX_OK) {
        status = accept_output(model, &outputs, err);
    }
    nx_signature_free(&inputs);
    nx_signature_free(&outputs);
    return status;
}

/* --- running -----------------------------------------------------------------------------------
 */

/* Runs the session; *out is the output tensor, to be released by the caller. */
static OrtStatus *run_session(nx_model *model, float *tensor, uint32_t width, uint32_t height,
                              OrtValue **out)
{
    const OrtApi *api = model->runtime->api;
    const int64_t dims[4] = {1, 3, height, width};
    size_t bytes = (size_t)3 * width * height * sizeof *tensor;
    OrtValue *input = NULL;
    *out = NULL;
    OrtStatus *failure = api->CreateTensorWithDataAsOrtValue(
        model->memory, tensor, bytes, dims, 4, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &input);
    if (failure == NULL) {
        const char *input_name = model->input_name;
        const char *output_name = model->output_name;
        const OrtValue *given = input;
        failure = api->Run(model->session, NULL, &input_name, &given, 1, &output_name, 1, out);
    }
    if (input != NULL) {
        api->ReleaseValue(input);
    }
    return failure;
}

static OrtStatus *view_output(const OrtApi *api, OrtValue *value, nx_tensor_shape *shape,
                              float **data)
{
    OrtTensorTypeAndShapeInfo *info = NULL;
    OrtStatus *failure = api->GetTensorTypeAndShape(value, &info);
    if (failure == NULL) {
        failure = nx_tensor_shape_read(api, info, shape);
        api->ReleaseTensorTypeAndShapeInfo(info);
    }
    if (failure == NULL) {
        failure = api->GetTensorMutableData(value, (void **)data);
    }
    return failure;
}

nx_status nx_model_run(nx_model *model, float *tensor, uint32_t width, uint32_t height,
                       nx_model_read read, void *user, nx_error *err)
{
    const OrtApi *api = model->runtime->api;
    OrtValue *output = NULL;
    nx_tensor_shape shape = {0};
    float *data = NULL;
    OrtStatus *failure = run_session(model, tensor, width, height, &output);
    if (failure == NULL) {
        failure = view_output(api, output, &shape, &data);
    }
    nx_status status =
        nx_runtime_check(model->runtime, failure, NX_ERR_INTERNAL, model->spec.name, err);
    /* dims[0] was 1 when the model was opened, but another size may take another way through it */
    if (status == NX_OK && (shape.rank != 3 || shape.dims[0] != 1 || shape.dims[1] > INT32_MAX ||
                            shape.dims[2] > INT32_MAX)) {
        status = nx_error_set(err, NX_ERR_INTERNAL, "%s gave another kind of output at %ux%u",
                              model->spec.name, width, height);
    }
    if (status == NX_OK) {
        nx_head_output view = {
            .kind = model->spec.head,
            .data = data,
            .rows = (int32_t)shape.dims[1],
            .columns = (int32_t)shape.dims[2],
            .input_width = (int32_t)width,
            .input_height = (int32_t)height,
            .classes = (int32_t)model->spec.names.count,
        };
        status = read(&view, user, err);
    }
    if (output != NULL) {
        api->ReleaseValue(output);
    }
    return status;
}

/* --- the engine's view -------------------------------------------------------------------------
 */

static size_t slot_bytes(void *self, uint32_t width, uint32_t height)
{
    (void)self;
    return (size_t)3 * width * height * sizeof(float);
}

typedef struct head_reader {
    const nx_model *model;
    nx_batch_read read;
    void *user;
} head_reader;

static nx_status read_head(const nx_head_output *output, void *user, nx_error *err)
{
    const head_reader *reader = user;
    const nx_tensor tensor = {
        .name = reader->model->output_name,
        .type = NX_TYPE_FLOAT32,
        .rank = 3,
        .dims = {1, output->rows, output->columns},
        .data = (void *)output->data,
        .bytes = (size_t)output->rows * (size_t)output->columns * sizeof(float),
    };
    return reader->read(&tensor, 1, reader->user, err);
}

static nx_status run_batch(void *self, const nx_batch *batch, nx_batch_read read, void *user,
                           nx_error *err)
{
    head_reader reader = {.model = self, .read = read, .user = user};
    return nx_model_run(self, batch->data, batch->width, batch->height, read_head, &reader, err);
}

const nx_backend *nx_model_backend(const nx_model *model)
{
    return &model->backend;
}

nx_status nx_model_head(const nx_model *model, const nx_tensor *outputs, size_t count,
                        uint32_t slot, uint32_t width, uint32_t height, nx_head_output *out,
                        nx_error *err)
{
    const nx_tensor *output = &outputs[0];
    if (count != 1 || output->rank != 3 || output->type != NX_TYPE_FLOAT32 ||
        slot >= output->dims[0] || output->dims[1] > INT32_MAX || output->dims[2] > INT32_MAX) {
        return nx_error_set(err, NX_ERR_INTERNAL, "%s gave another kind of output at %ux%u",
                            model->spec.name, width, height);
    }
    size_t picture = (size_t)output->dims[1] * (size_t)output->dims[2];
    *out = (nx_head_output){
        .kind = model->spec.head,
        .data = (const float *)output->data + slot * picture,
        .rows = (int32_t)output->dims[1],
        .columns = (int32_t)output->dims[2],
        .input_width = (int32_t)width,
        .input_height = (int32_t)height,
        .classes = (int32_t)model->spec.names.count,
    };
    return NX_OK;
}

/* --- the trial run -----------------------------------------------------------------------------
 */

static const char *head_hint(const nx_tensor_shape *shape, int64_t cells, size_t names)
{
    if (shape->rank == 3 && shape->dims[1] == 3 * cells) {
        return " (three anchors for each cell: YOLOv5 or YOLOv7)";
    }
    if (shape->rank == 3 && names > 0 && shape->dims[2] == cells &&
        shape->dims[1] > 4 + (int64_t)names) {
        return " (more rows than 4 + its classes: a segmentation or pose model)";
    }
    return "";
}

/* Tells the head from the shape that the model really gives, and from its number of names. */
static nx_status recognise_head(nx_model *model, const nx_tensor_shape *shape, nx_error *err)
{
    nx_model_spec *spec = &model->spec;
    int64_t cells = nx_head_grid_cells(spec->input_width, spec->input_height);
    int64_t rows = shape->dims[1];
    int64_t columns = shape->dims[2];
    int64_t named = (int64_t)model->names.count;
    bool plausible = shape->rank == 3 && shape->dims[0] == 1 && rows > 0 && columns > 0;
    int64_t classes = 0;
    if (plausible && columns == cells && rows > 4 && (named == 0 || rows == 4 + named)) {
        spec->head = NX_HEAD_YOLOV8;
        classes = rows - 4;
    } else if (plausible && rows == cells && columns > 5 && (named == 0 || columns == 5 + named)) {
        spec->head = NX_HEAD_YOLOX;
        spec->pixels = NX_PIXELS_BGR_BYTE;
        classes = columns - 5;
    } else if (plausible && columns == 6 && rows != cells && rows <= MAX_END_TO_END_ROWS) {
        spec->head = NX_HEAD_END_TO_END;
        classes = named;
    }
    if (classes < 1 || classes > NX_MAX_CLASSES) {
        nx_buffer text = NX_BUFFER_INIT;
        nx_buffer_printf(&text, "%.60s ", model->output_name);
        nx_tensor_shape_describe(shape, &text);
        if (named > 0) {
            nx_buffer_printf(&text, " for %lld class names", (long long)named);
        }
        nx_status status =
            refuse_output(model, nx_buffer_cstr(&text),
                          classes > NX_MAX_CLASSES ? " (over 1024 classes)"
                          : plausible && columns == 6 && rows <= MAX_END_TO_END_ROWS
                              ? " (an end-to-end head without class names in the file)"
                              : head_hint(shape, cells, model->names.count),
                          err);
        nx_buffer_free(&text);
        return status;
    }
    spec->centered = spec->head != NX_HEAD_YOLOX;
    return named > 0 ? NX_OK : nx_class_names_number((size_t)classes, &model->names, err);
}

/* Runs the model once on gray and tells the shape of what it puts out. */
static nx_status run_gray(nx_model *model, uint32_t width, uint32_t height, nx_tensor_shape *shape,
                          nx_error *err)
{
    size_t count = (size_t)3 * width * height;
    float *tensor = malloc(count * sizeof *tensor);
    if (tensor == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for an input of %ux%u", width,
                            height);
    }
    for (size_t i = 0; i < count; i++) {
        tensor[i] = NX_LETTERBOX_FILL / 255.0F;
    }
    OrtValue *output = NULL;
    float *data = NULL;
    OrtStatus *failure = run_session(model, tensor, width, height, &output);
    if (failure == NULL) {
        failure = view_output(model->runtime->api, output, shape, &data);
    }
    if (output != NULL) {
        model->runtime->api->ReleaseValue(output);
    }
    free(tensor);
    char prefix[400];
    snprintf(prefix, sizeof prefix,
             "%.200s declares an input of %ux%u pixels (width x height), but its graph fails on it",
             model->path, width, height);
    return nx_runtime_check(model->runtime, failure, NX_ERR_INVALID, prefix, err);
}

/*
 * Many exporters declare height and width free and leave constants in the graph that fit one size.
 * Such a model is as good as any other of a fixed size.
 */
static void check_free_size(nx_model *model)
{
    nx_model_spec *spec = &model->spec;
    nx_tensor_shape shape = {0};
    nx_error err = {0};
    uint32_t width = 0;
    uint32_t height = 0;
    nx_letterbox_dynamic_size(16, 9, spec->input_width, spec->stride, &width, &height);
    if (run_gray(model, width, height, &shape, &err) != NX_OK) {
        spec->dynamic_size = false;
        nx_log_info("engine", "%s: its size is declared free but it works at %ux%u alone",
                    model->name, spec->input_width, spec->input_height);
    }
}

/* Proves that the graph works at the size it declares, shows the real output shape, and makes ONNX
 * Runtime plan its memory. */
static nx_status trial_run(nx_model *model, nx_error *err)
{
    nx_model_spec *spec = &model->spec;
    nx_tensor_shape shape = {0};
    nx_status status = run_gray(model, spec->input_width, spec->input_height, &shape, err);
    if (status == NX_OK) {
        status = recognise_head(model, &shape, err);
    }
    if (status == NX_OK && spec->dynamic_size) {
        check_free_size(model);
    }
    return status;
}

/* --- life --------------------------------------------------------------------------------------
 */

static char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *file = slash != NULL ? slash + 1 : path;
    size_t length = strlen(file);
    if (length > 5 && strcmp(file + length - 5, ".onnx") == 0) {
        length -= 5;
    }
    return strndup(file, length);
}

nx_status nx_model_open(nx_runtime *runtime, const char *path, const nx_model_options *options,
                        nx_model **out, nx_error *err)
{
    *out = NULL;
    nx_model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
    }
    model->runtime = runtime;
    model->path = strdup(path);
    model->name = options->name != NULL ? strdup(options->name) : name_of(path);
    nx_status status = NX_OK;
    if (model->path == NULL || model->name == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
        goto fail;
    }
    status = read_metadata(model, options, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = open_session(model, options, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = read_signatures(model, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = trial_run(model, err);
    if (status != NX_OK) {
        goto fail;
    }
    model->spec.name = model->name;
    model->spec.path = model->path;
    model->spec.description = model->description;
    model->spec.license = model->license;
    model->spec.names = (nx_class_names){
        .names = (const char *const *)model->names.names,
        .count = model->names.count,
    };
    model->backend =
        (nx_backend){.self = model, .max_batch = 1, .slot_bytes = slot_bytes, .run = run_batch};
    nx_runtime_trim(runtime); /* building a session leaves more behind than running it needs */
    *out = model;
    return NX_OK;

fail:
    nx_model_free(model);
    nx_runtime_trim(runtime);
    return status;
}

void nx_model_free(nx_model *model)
{
    if (model == NULL) {
        return;
    }
    if (model->session != NULL) {
        model->runtime->api->ReleaseSession(model->session);
    }
    if (model->memory != NULL) {
        model->runtime->api->ReleaseMemoryInfo(model->memory);
    }
    nx_name_table_free(&model->names);
    free(model->input_name);
    free(model->output_name);
    free(model->name);
    free(model->path);
    free(model->description);
    free(model->license);
    free(model);
}

const nx_model_spec *nx_model_get_spec(const nx_model *model)
{
    return &model->spec;
}

void nx_model_input_size(const nx_model *model, uint32_t source_width, uint32_t source_height,
                         uint32_t *out_width, uint32_t *out_height)
{
    const nx_model_spec *spec = &model->spec;
    if (spec->dynamic_size) {
        nx_letterbox_dynamic_size(source_width, source_height, spec->input_width, spec->stride,
                                  out_width, out_height);
    } else {
        *out_width = spec->input_width;
        *out_height = spec->input_height;
    }
}
