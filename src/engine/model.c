#include "engine/model.h"

#include "base/buffer.h"
#include "base/log.h"
#include "engine/model_internal.h"
#include "engine/supported.h"

#include <endian.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- the input ----------------------------------------------------------------------------------
 */

static nx_status refuse_input(const nx_model *model, const nx_tensor *inputs, size_t count,
                              nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    for (size_t i = 0; i < count && i < 8; i++) {
        nx_buffer_printf(&text, "%s%.60s ", i > 0 ? ", " : "", inputs[i].name);
        nx_tensor_describe(&inputs[i], &text);
    }
    nx_error_set(err, NX_ERR_UNSUPPORTED,
                 "%.180s is not a detector that Nexus knows: it has %zu input%s: %.150s. %s",
                 model->path, count, count == 1 ? "" : "s", nx_buffer_cstr(&text),
                 NX_SUPPORTED_MODELS);
    nx_buffer_free(&text);
    return NX_ERR_UNSUPPORTED;
}

/* Where height stands among the dimensions, behind which width does; 0 for an input of no picture.
 */
static size_t height_dimension(const nx_tensor *input)
{
    bool one = input->rank == 4 && (input->dims[0] == 1 || input->dims[0] == -1);
    if (one && input->dims[1] == 3 &&
        (input->type == NX_TYPE_FLOAT32 || input->type == NX_TYPE_FLOAT16)) {
        return 2;
    }
    return one && input->dims[3] == 3 && input->type == NX_TYPE_UINT8 ? 1 : 0;
}

/* Takes the input's name, type and size, or refuses it. */
static nx_status accept_input(nx_model *model, const nx_model_options *options, nx_error *err)
{
    nx_model_spec *spec = &model->spec;
    size_t count = 0;
    const nx_tensor *inputs = nx_session_inputs(model->session, &count);
    size_t at = count == 1 ? height_dimension(&inputs[0]) : 0;
    if (at == 0) {
        return refuse_input(model, inputs, count, err);
    }
    const int64_t *dims = inputs[0].dims;
    spec->dynamic_batch = dims[0] == -1;
    spec->dynamic_size = dims[at] == -1 && dims[at + 1] == -1;
    /* a free side beside a fixed one is run at the usual size: one alone is nothing to choose from
     */
    int64_t stride = model->metadata.stride;
    int64_t usual = options->input_size > 0 ? options->input_size : model->metadata.size;
    usual = (usual + stride - 1) / stride * stride;
    int64_t height = dims[at] == -1 ? usual : dims[at];
    int64_t width = dims[at + 1] == -1 ? usual : dims[at + 1];
    if (height < 1 || height > NX_MODEL_MAX_SIDE || width < 1 || width > NX_MODEL_MAX_SIDE) {
        nx_buffer text = NX_BUFFER_INIT;
        nx_tensor_describe(&inputs[0], &text);
        nx_error_set(err, NX_ERR_UNSUPPORTED, "%s has an input of unusable size: %.60s %.140s",
                     model->path, inputs[0].name, nx_buffer_cstr(&text));
        nx_buffer_free(&text);
        return NX_ERR_UNSUPPORTED;
    }
    spec->input_height = (uint32_t)height;
    spec->input_width = (uint32_t)width;
    spec->pixels = inputs[0].type == NX_TYPE_UINT8     ? NX_PIXELS_RGB_BYTE_NHWC
                   : inputs[0].type == NX_TYPE_FLOAT16 ? NX_PIXELS_RGB_UNIT_F16
                                                       : NX_PIXELS_RGB_UNIT;
    model->input_name = inputs[0].name;
    model->input_type = inputs[0].type;
    return NX_OK;
}

/* --- running ------------------------------------------------------------------------------------
 */

size_t nx_model_slot_bytes(const nx_model *model, uint32_t width, uint32_t height)
{
    return (size_t)3 * width * height * nx_type_size(model->input_type);
}

/* Tells what `read` says from what the session says. */
typedef struct reader {
    nx_session_read read;
    void *user;
    bool called;
} reader;

static nx_status pass_on(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    reader *self = user;
    self->called = true;
    return self->read(outputs, count, self->user, err);
}

nx_status nx_model_run_on(nx_model *model, nx_session *session, void *pictures, uint32_t count,
                          uint32_t width, uint32_t height, nx_session_read read, void *user,
                          nx_error *err)
{
    bool bytes = model->input_type == NX_TYPE_UINT8;
    const nx_tensor input = {
        .name = model->input_name,
        .type = model->input_type,
        .rank = 4,
        .dims = {count, bytes ? height : 3, bytes ? width : height, bytes ? 3 : width},
        .data = pictures,
        .bytes = count * nx_model_slot_bytes(model, width, height),
    };
    reader reading = {.read = read, .user = user};
    nx_status status = nx_session_run(session, &input, 1, model->head.outputs,
                                      model->head.output_count, pass_on, &reading, err);
    if (status != NX_OK && !reading.called) {
        nx_error_prefix(err, "%s", model->name);
        if (status == NX_ERR_INVALID) { /* the size is our choice, not the caller's */
            status = NX_ERR_INTERNAL;
            if (err != NULL) {
                err->status = status;
            }
        }
    }
    return status;
}

typedef struct head_reader {
    const nx_model *model;
    uint32_t width, height;
    nx_model_read read;
    void *user;
} head_reader;

static nx_status read_head(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    const head_reader *self = user;
    nx_head_output head;
    nx_status status =
        nx_model_head(self->model, outputs, count, 0, self->width, self->height, &head, err);
    return status == NX_OK ? self->read(&head, self->user, err) : status;
}

nx_status nx_model_run(nx_model *model, void *slot, uint32_t width, uint32_t height,
                       nx_model_read read, void *user, nx_error *err)
{
    head_reader reading = {
        .model = model, .width = width, .height = height, .read = read, .user = user};
    return nx_model_run_on(model, model->session, slot, 1, width, height, read_head, &reading, err);
}

static bool on_cpu(const nx_model *model)
{
    return strcmp(nx_session_device(model->session), "cpu") == 0;
}

/* --- the engine's view --------------------------------------------------------------------------
 */

static size_t slot_bytes(void *self, uint32_t width, uint32_t height)
{
    return nx_model_slot_bytes(self, width, height);
}

static nx_status run_batch(void *self, const nx_batch *batch, nx_batch_read read, void *user,
                           nx_error *err)
{
    nx_model *model = self;
    nx_session *session = batch->alone && model->alone != NULL ? model->alone : model->session;
    return nx_model_run_on(model, session, batch->data, batch->count, batch->width, batch->height,
                           read, user, err);
}

static void *allocate(void *self, size_t bytes)
{
    nx_model *model = self;
    return nx_session_allocate(model->session, bytes);
}

const nx_backend *nx_model_backend(const nx_model *model)
{
    return &model->backend;
}

nx_status nx_model_head(const nx_model *model, const nx_tensor *outputs, size_t count,
                        uint32_t slot, uint32_t width, uint32_t height, nx_head_output *out,
                        nx_error *err)
{
    /* as when the model was opened, but another size may take another way through it */
    if (!nx_head_view(&model->head, outputs, count, slot, width, height, out)) {
        return nx_error_set(err, NX_ERR_INTERNAL, "%s gave another kind of output at %ux%u",
                            model->spec.name, width, height);
    }
    return NX_OK;
}

/* --- life ---------------------------------------------------------------------------------------
 */

/* In NAME/VERSION/model.onnx, as models are installed, the folder has the name. */
static char *installed_name(const char *path)
{
    const char *file = strrchr(path, '/');
    const char *version = file != NULL ? memrchr(path, '/', (size_t)(file - path)) : NULL;
    if (version == NULL || strcmp(file, "/model.onnx") != 0 ||
        strspn(version + 1, "0123456789") != (size_t)(file - version - 1) || version + 1 == file) {
        return NULL;
    }
    const char *before = memrchr(path, '/', (size_t)(version - path));
    const char *name = before != NULL ? before + 1 : path;
    return strndup(name, (size_t)(version - name));
}

static char *name_of(const char *path)
{
    char *installed = installed_name(path);
    if (installed != NULL) {
        return installed;
    }
    const char *slash = strrchr(path, '/');
    const char *file = slash != NULL ? slash + 1 : path;
    size_t length = strlen(file);
    if (length > 5 && strcmp(file + length - 5, ".onnx") == 0) {
        length -= 5;
    }
    return strndup(file, length);
}

/* The sizes and batches that may come, for the one input's free dimensions. */
static nx_input_range range_of(const nx_model *model, const nx_tensor *input, uint32_t max_batch)
{
    nx_input_range range = {.name = input->name, .rank = input->rank};
    int64_t stride = model->metadata.stride;
    size_t height = height_dimension(input);
    for (size_t i = 0; i < input->rank; i++) {
        bool batch = i == 0;
        bool side = height > 0 && (i == height || i == height + 1);
        bool open = input->dims[i] < 0;
        int64_t fixed = open ? 1 : input->dims[i];
        int64_t size = i == height ? model->spec.input_height : model->spec.input_width;
        range.min[i] = open && side ? stride : fixed;
        range.usual[i] = open && side ? size : open && batch ? max_batch : fixed;
        range.max[i] = range.usual[i];
    }
    if (height > 0 && input->dims[height] < 0 && input->dims[height + 1] < 0) {
        uint32_t wide = 0;
        uint32_t high = 0; /* most pictures are wide */
        nx_letterbox_dynamic_size(16, 9, model->spec.input_width, model->metadata.stride, &wide,
                                  &high);
        range.usual[height] = high;
    }
    return range;
}

/*
 * TensorRT must hear of the shapes to come before it builds, so the graph is read once without
 * being rewritten.
 */
static nx_status plan_ranges(nx_model *model, const nx_model_options *options,
                             nx_input_range *range, size_t *count, nx_error *err)
{
    nx_session *plain = NULL;
    const nx_session_options as_is = {.optimization = NX_GRAPH_AS_IS};
    nx_status status = nx_session_open(model->runtime, model->path, &as_is, &plain, err);
    if (status != NX_OK) {
        return status;
    }
    model->session = plain;
    status = accept_input(model, options, err);
    if (status == NX_OK) {
        size_t inputs = 0;
        *range = range_of(model, nx_session_inputs(plain, &inputs),
                          options->max_batch > 0 ? options->max_batch : NX_MODEL_MAX_BATCH);
        bool open = model->spec.dynamic_batch || model->spec.dynamic_size;
        range->name = open ? strdup(range->name) : NULL; /* the session's goes with it */
        *count = range->name != NULL ? 1 : 0;
    }
    model->session = NULL;
    nx_session_free(plain);
    return status;
}

static nx_status open_session(nx_model *model, const nx_model_options *options, nx_error *err)
{
    nx_input_range range = {0};
    nx_session_options session = {
        .intra_op_threads = options->intra_op_threads,
        .device = &options->device,
        .ranges = &range,
    };
    nx_status status = NX_OK;
    if (options->alone_threads > 1) {
        status = nx_weights_new(model->runtime, &model->weights, err);
        session.weights = model->weights;
    }
    if (status == NX_OK && options->device.tensorrt) {
        status = plan_ranges(model, options, &range, &session.range_count, err);
    }
    if (status == NX_OK) {
        status = nx_session_open(model->runtime, model->path, &session, &model->session, err);
    }
    free((char *)range.name);
    return status;
}

static void warn_of_fp16(const nx_model *model, const nx_model_options *options)
{
    if (nx_session_leaves_fp16(model->session, &options->device)) {
        nx_log_warn("engine",
                    "USE_FP16 changes nothing for %s, whose input is not float16, on plain CUDA: "
                    "make a float16 model with 'nexus models optimize %s --fp16', or set "
                    "USE_TENSORRT=true",
                    model->name, model->name);
    }
}

/* A second session for Runs that are alone. Without it everything works, so it is no reason to
 * fail. */
static void open_alone(nx_model *model, const nx_model_options *options)
{
    nx_error err = {0};
    const nx_session_options session = {
        .intra_op_threads = options->alone_threads,
        .weights = model->weights,
    };
    if (on_cpu(model) && options->alone_threads > 1 &&
        nx_session_open(model->runtime, model->path, &session, &model->alone, &err) != NX_OK) {
        nx_log_warn("engine", "%s: no second session for requests that are alone: %s", model->name,
                    err.message);
    }
}

/* The path's owned copies, and everything that the file says before it is built. */
static nx_status begin(nx_model *model, const char *path, const nx_model_options *options,
                       nx_error *err)
{
    model->path = strdup(path);
    model->name = options->name != NULL ? strdup(options->name) : name_of(path);
    if (model->path == NULL || model->name == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
    }
    return nx_metadata_read(path, &model->metadata, err);
}

static nx_status name_classes(nx_model *model, nx_error *err)
{
    if (model->metadata.names.count > 0) {
        return NX_OK;
    }
    return nx_class_names_number(model->head.classes, &model->metadata.names, err);
}

static void describe(nx_model *model)
{
    static const nx_model_task tasks[] = {
        [NX_HEAD_SEGMENT] = NX_TASK_SEGMENT,
        [NX_HEAD_POSE] = NX_TASK_POSE,
    };
    nx_model_spec *spec = &model->spec;
    const nx_metadata *metadata = &model->metadata;
    const nx_head *head = &model->head;
    spec->name = model->name;
    spec->path = model->path;
    spec->head = head->kind;
    spec->task = head->kind < sizeof tasks / sizeof tasks[0] ? tasks[head->kind] : NX_TASK_DETECT;
    spec->centered = head->kind != NX_HEAD_YOLOX;
    if (head->kind == NX_HEAD_YOLOX) {
        spec->pixels = NX_PIXELS_BGR_BYTE;
    }
    spec->quantized = metadata->quantized;
    spec->stride = metadata->stride;
    spec->mask_channels = head->mask_channels;
    spec->keypoints = head->keypoints;
    spec->keypoint_values = head->keypoint_values;
    spec->names = (nx_class_names){
        .names = (const char *const *)metadata->names.names,
        .count = metadata->names.count,
    };
    spec->names_from_file = metadata->has_names;
    spec->file_size = metadata->file_size;
    spec->description = metadata->description;
    spec->license = metadata->license;
    spec->optimized = metadata->optimized;
    spec->provider = nx_session_provider(model->session);
    spec->device = nx_session_device(model->session);
    model->backend = (nx_backend){
        .self = model,
        .name = spec->name,
        .max_batch = model->max_batch,
        .best_batch = spec->best_batch,
        .slot_bytes = slot_bytes,
        .run = run_batch,
        .allocate = on_cpu(model) ? NULL : allocate,
        .release = on_cpu(model) ? NULL : nx_session_release,
    };
}

/* What tells whether a path still leads to the file that was read. */
static struct stat look_at(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? info : (struct stat){0};
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* before: the file when its bytes were read, while ONNX Runtime read them by itself later. */
static void identify(nx_model *model, const nx_model_options *options, const struct stat *before)
{
    nx_model_spec *spec = &model->spec;
    const struct stat now = look_at(model->path);
    const uint32_t numbers[] = {
        htole32(spec->input_width),
        htole32(spec->input_height),
        htole32(options->device.fp16),
    };
    crypto_generichash_state state;
    if (model->metadata.has_external_data || !same_file(before, &now)) {
        randombytes_buf(spec->identity, sizeof spec->identity);
        return;
    }
    crypto_generichash_init(&state, NULL, 0, sizeof spec->identity);
    crypto_generichash_update(&state, model->metadata.content, sizeof model->metadata.content);
    crypto_generichash_update(&state, (const uint8_t *)numbers, sizeof numbers);
    crypto_generichash_update(&state, (const uint8_t *)spec->device, strlen(spec->device));
    crypto_generichash_final(&state, spec->identity, sizeof spec->identity);
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
    const struct stat before = look_at(path);
    nx_status status = begin(model, path, options, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = open_session(model, options, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = accept_input(model, options, err);
    if (status != NX_OK) {
        goto fail;
    }
    size_t count = 0;
    const nx_tensor *outputs = nx_session_outputs(model->session, &count);
    status = nx_head_choose(&model->metadata, outputs, count, model->path, &model->head, err);
    if (status != NX_OK) {
        goto fail;
    }
    describe(model); /* what the trial needs of it; what it finds out comes below */
    open_alone(model, options);
    status = nx_model_try(model, options, err);
    if (status != NX_OK) {
        goto fail;
    }
    if (model->head.kind == NX_HEAD_YOLOX && model->input_type != NX_TYPE_FLOAT32) {
        const nx_tensor *inputs = nx_session_inputs(model->session, &count);
        status = refuse_input(model, inputs, count, err);
        goto fail;
    }
    status = name_classes(model, err);
    if (status != NX_OK) {
        goto fail;
    }
    describe(model);
    identify(model, options, &before);
    warn_of_fp16(model, options);
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
    nx_session_free(model->alone);
    nx_session_free(model->session);
    nx_weights_free(model->weights);
    nx_metadata_free(&model->metadata);
    free(model->name);
    free(model->path);
    free(model);
}

nx_status nx_model_moved(nx_model *model, const char *path, nx_error *err)
{
    char *copy = strdup(path);
    if (copy == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
    }
    free(model->path);
    model->path = copy;
    model->spec.path = copy;
    return NX_OK;
}

const nx_model_spec *nx_model_get_spec(const nx_model *model)
{
    return &model->spec;
}

nx_session *nx_model_session(const nx_model *model)
{
    return model->session;
}

const char *const *nx_model_outputs(const nx_model *model, size_t *count)
{
    *count = model->head.output_count;
    return model->head.outputs;
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
