#include "engine/session.h"

#include "engine/ort.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One side of a session. */
typedef struct ports {
    nx_tensor *items; /* names are owned */
    size_t count;
} ports;

struct nx_session {
    nx_runtime *runtime; /* borrowed */
    OrtSession *session;
    char *name; /* the path, for messages */
    ports inputs;
    ports outputs;
    const char **output_names; /* of `outputs`, as Run takes them */
};

struct nx_weights {
    nx_runtime *runtime; /* borrowed */
    OrtPrepackedWeightsContainer *container;
};

/* --- types -------------------------------------------------------------------------------------
 */

static const struct {
    nx_type ours;
    ONNXTensorElementDataType theirs;
} type_pairs[] = {
    {NX_TYPE_FLOAT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
    {NX_TYPE_FLOAT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16},
    {NX_TYPE_FLOAT64, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE},
    {NX_TYPE_UINT8, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8},
    {NX_TYPE_INT8, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},
    {NX_TYPE_UINT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16},
    {NX_TYPE_INT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16},
    {NX_TYPE_INT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32},
    {NX_TYPE_INT64, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
    {NX_TYPE_BOOL, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL},
};

static nx_type type_from(ONNXTensorElementDataType theirs)
{
    for (size_t i = 0; i < sizeof type_pairs / sizeof type_pairs[0]; i++) {
        if (type_pairs[i].theirs == theirs) {
            return type_pairs[i].ours;
        }
    }
    return NX_TYPE_OTHER;
}

static ONNXTensorElementDataType type_to(nx_type ours)
{
    for (size_t i = 0; i < sizeof type_pairs / sizeof type_pairs[0]; i++) {
        if (type_pairs[i].ours == ours) {
            return type_pairs[i].theirs;
        }
    }
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

static OrtStatus *read_shape(const OrtApi *api, const OrtTensorTypeAndShapeInfo *info,
                             nx_tensor *out)
{
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    size_t rank = 0;
    OrtStatus *failure = api->GetTensorElementType(info, &type);
    if (failure == NULL) {
        failure = api->GetDimensionsCount(info, &rank);
    }
    if (failure != NULL || rank > NX_TENSOR_MAX_RANK) {
        return failure; /* stays NX_TYPE_OTHER */
    }
    out->type = type_from(type);
    out->rank = (uint32_t)rank;
    return api->GetDimensions(info, out->dims, rank);
}

/* --- what goes in and out ----------------------------------------------------------------------
 */

static OrtStatus *read_port(const OrtApi *api, const OrtSession *session, bool input, size_t index,
                            nx_tensor *out)
{
    OrtAllocator *allocator = NULL;
    OrtTypeInfo *type = NULL;
    const OrtTensorTypeAndShapeInfo *tensor = NULL;
    char *given = NULL;
    OrtStatus *failure = api->GetAllocatorWithDefaultOptions(&allocator);
    if (failure == NULL) {
        failure = input ? api->SessionGetInputName(session, index, allocator, &given)
                        : api->SessionGetOutputName(session, index, allocator, &given);
    }
    if (failure == NULL) {
        out->name = strdup(given);
        failure = api->AllocatorFree(allocator, given);
    }
    if (failure == NULL) {
        failure = input ? api->SessionGetInputTypeInfo(session, index, &type)
                        : api->SessionGetOutputTypeInfo(session, index, &type);
    }
    if (failure == NULL) {
        failure = api->CastTypeInfoToTensorInfo(type, &tensor);
    }
    if (failure == NULL && tensor != NULL) { /* NULL: a sequence or a map */
        failure = read_shape(api, tensor, out);
    }
    if (type != NULL) {
        api->ReleaseTypeInfo(type);
    }
    return failure;
}

static nx_status read_ports(nx_session *self, bool input, ports *out, nx_error *err)
{
    const OrtApi *api = self->runtime->api;
    size_t count = 0;
    OrtStatus *failure = input ? api->SessionGetInputCount(self->session, &count)
                               : api->SessionGetOutputCount(self->session, &count);
    if (failure == NULL) {
        out->items = calloc(count > 0 ? count : 1, sizeof *out->items);
        if (out->items == NULL) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
        }
        out->count = count;
    }
    for (size_t i = 0; i < out->count && failure == NULL; i++) {
        failure = read_port(api, self->session, input, i, &out->items[i]);
        if (failure == NULL && out->items[i].name == NULL) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
        }
    }
    return nx_runtime_check(self->runtime, failure, NX_ERR_CORRUPT, self->name, err);
}

static void free_ports(ports *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free((char *)list->items[i].name);
    }
    free(list->items);
}

static const nx_tensor *find_port(const ports *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0) {
            return &list->items[i];
        }
    }
    return NULL;
}

/* --- opening -----------------------------------------------------------------------------------
 */

static OrtStatus *set_options(const nx_runtime *runtime, const nx_session_options *options,
                              OrtSessionOptions *out)
{
    const OrtApi *api = runtime->api;
    static const GraphOptimizationLevel levels[] = {
        [NX_GRAPH_ALL] = ORT_ENABLE_ALL,
        [NX_GRAPH_EXTENDED] = ORT_ENABLE_EXTENDED,
        [NX_GRAPH_BASIC] = ORT_ENABLE_BASIC,
        [NX_GRAPH_AS_IS] = ORT_DISABLE_ALL,
    };
    uint32_t threads = options->intra_op_threads > 0 ? options->intra_op_threads : 1;
    OrtStatus *failure = api->SetIntraOpNumThreads(out, (int)threads);
    if (failure == NULL) {
        failure = api->SetInterOpNumThreads(out, 1);
    }
    if (failure == NULL) {
        failure = api->SetSessionGraphOptimizationLevel(out, levels[options->optimization]);
    }
    if (failure == NULL) {
        failure = api->AddSessionConfigEntry(out, "session.use_env_allocators", "1");
    }
    if (failure == NULL) { /* spinning threads take the cores from the other Runs */
        failure = api->AddSessionConfigEntry(out, "session.intra_op.allow_spinning", "0");
    }
    if (failure == NULL) {
        failure = api->AddCustomOpDomain(out, nx_custom_ops_domain(runtime->custom_ops));
    }
    /* Without VNNI the fast product of unsigned and signed bytes overflows 16 bits: take the exact
     * one. Not into a file, which may go to another machine. */
    if (failure == NULL && options->optimized_model_path == NULL) {
        failure = api->AddSessionConfigEntry(out, "session.x64quantprecision", "1");
    }
    if (failure == NULL && options->optimized_model_path != NULL) {
        failure = api->SetOptimizedModelFilePath(out, options->optimized_model_path);
    }
    if (failure == NULL && options->profile_prefix != NULL) {
        failure = api->EnableProfiling(out, options->profile_prefix);
    }
    return failure;
}

/* Where a graph comes from: a file, or bytes when there are some. */
typedef struct source {
    const char *path;
    const void *bytes;
    size_t size;
} source;

static OrtStatus *create_session(nx_session *self, const source *from,
                                 const nx_session_options *options)
{
    const OrtApi *api = self->runtime->api;
    const OrtEnv *env = self->runtime->env;
    OrtSessionOptions *settings = NULL;
    OrtStatus *failure = api->CreateSessionOptions(&settings);
    if (failure == NULL) {
        failure = set_options(self->runtime, options, settings);
    }
    OrtPrepackedWeightsContainer *packed =
        options->weights != NULL ? options->weights->container : NULL;
    if (failure != NULL) {
        /* nothing to create */
    } else if (from->bytes != NULL) {
        failure = packed == NULL
                      ? api->CreateSessionFromArray(env, from->bytes, from->size, settings,
                                                    &self->session)
                      : api->CreateSessionFromArrayWithPrepackedWeightsContainer(
                            env, from->bytes, from->size, settings, packed, &self->session);
    } else {
        failure = packed == NULL ? api->CreateSession(env, from->path, settings, &self->session)
                                 : api->CreateSessionWithPrepackedWeightsContainer(
                                       env, from->path, settings, packed, &self->session);
    }
    if (settings != NULL) {
        api->ReleaseSessionOptions(settings);
    }
    return failure;
}

static nx_status name_outputs(nx_session *self, nx_error *err)
{
    size_t count = self->outputs.count;
    self->output_names = calloc(count > 0 ? count : 1, sizeof *self->output_names);
    if (self->output_names == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
    }
    for (size_t i = 0; i < count; i++) {
        self->output_names[i] = self->outputs.items[i].name;
    }
    return NX_OK;
}

static nx_status open_source(nx_runtime *runtime, const source *from, const char *name,
                             const nx_session_options *options, nx_session **out, nx_error *err)
{
    *out = NULL;
    nx_session *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
    }
    self->runtime = runtime;
    self->name = strdup(name);
    nx_status status = NX_OK;
    if (self->name == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
        goto fail;
    }
    char prefix[300];
    snprintf(prefix, sizeof prefix, "ONNX Runtime cannot build %.250s", name);
    status =
        nx_runtime_check(runtime, create_session(self, from, options), NX_ERR_CORRUPT, prefix, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = read_ports(self, true, &self->inputs, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = read_ports(self, false, &self->outputs, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = name_outputs(self, err);
    if (status != NX_OK) {
        goto fail;
    }
    *out = self;
    return NX_OK;

fail:
    nx_session_free(self);
    return status;
}

nx_status nx_session_open(nx_runtime *runtime, const char *path, const nx_session_options *options,
                          nx_session **out, nx_error *err)
{
    *out = NULL;
    if (access(path, R_OK) != 0) {
        return nx_error_set_errno(err, NX_ERR_NOT_FOUND, errno, "cannot read %s", path);
    }
    return open_source(runtime, &(source){.path = path}, path, options, out, err);
}

nx_status nx_session_open_bytes(nx_runtime *runtime, const void *bytes, size_t size,
                                const char *name, const nx_session_options *options,
                                nx_session **out, nx_error *err)
{
    return open_source(runtime, &(source){.bytes = bytes, .size = size}, name, options, out, err);
}

void nx_session_free(nx_session *session)
{
    if (session == NULL) {
        return;
    }
    if (session->session != NULL) {
        session->runtime->api->ReleaseSession(session->session);
    }
    free_ports(&session->inputs);
    free_ports(&session->outputs);
    free(session->output_names);
    free(session->name);
    free(session);
}

const nx_tensor *nx_session_inputs(const nx_session *session, size_t *count)
{
    *count = session->inputs.count;
    return session->inputs.items;
}

const nx_tensor *nx_session_outputs(const nx_session *session, size_t *count)
{
    *count = session->outputs.count;
    return session->outputs.items;
}

const nx_tensor *nx_session_find_input(const nx_session *session, const char *name)
{
    return find_port(&session->inputs, name);
}

const nx_tensor *nx_session_find_output(const nx_session *session, const char *name)
{
    return find_port(&session->outputs, name);
}

const char *nx_session_provider(const nx_session *session)
{
    (void)session;
    return "CPUExecutionProvider";
}

/* --- running -----------------------------------------------------------------------------------
 */

/* What one Run needs beside the session, in one allocation. */
typedef struct run {
    const char **input_names;
    OrtValue **inputs;
    size_t input_count;
    const char *const *output_names;
    OrtValue **outputs;
    nx_tensor *views;
    size_t output_count;
} run;

static nx_status run_new(const nx_session *session, size_t inputs, const char *const *outputs,
                         size_t output_count, run **out, nx_error *err)
{
    if (outputs == NULL) {
        outputs = session->output_names;
        output_count = session->outputs.count;
    }
    run *self = NULL;
    char *memory = calloc(1, sizeof *self + output_count * sizeof *self->views +
                                 inputs * (sizeof *self->inputs + sizeof *self->input_names) +
                                 output_count * sizeof *self->outputs);
    if (memory == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to run %s", session->name);
    }
    self = (run *)(void *)memory;
    self->views = (nx_tensor *)(void *)(self + 1);
    self->inputs = (OrtValue **)(void *)(self->views + output_count);
    self->input_names = (const char **)(self->inputs + inputs);
    self->outputs = (OrtValue **)(void *)(self->input_names + inputs);
    self->input_count = inputs;
    self->output_names = outputs;
    self->output_count = output_count;
    *out = self;
    return NX_OK;
}

static void run_free(const OrtApi *api, run *self)
{
    for (size_t i = 0; i < self->input_count; i++) {
        if (self->inputs[i] != NULL) {
            api->ReleaseValue(self->inputs[i]);
        }
    }
    for (size_t i = 0; i < self->output_count; i++) {
        if (self->outputs[i] != NULL) {
            api->ReleaseValue(self->outputs[i]);
        }
    }
    free(self);
}

/* Whether the memory is as large as type and shape say, which ONNX Runtime never learns. */
static nx_status check_bytes(const nx_tensor *input, nx_error *err)
{
    size_t bytes = nx_type_size(input->type);
    bool fits = bytes > 0 && input->rank <= NX_TENSOR_MAX_RANK;
    for (uint32_t i = 0; fits && i < input->rank; i++) {
        fits =
            input->dims[i] >= 0 && !__builtin_mul_overflow(bytes, (size_t)input->dims[i], &bytes);
    }
    if (!fits) {
        return nx_error_set(err, NX_ERR_INVALID, "the input '%.60s' has no usable type and shape",
                            input->name);
    }
    if (bytes != input->bytes) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the input '%.60s' has %zu bytes; its shape has %zu", input->name,
                            input->bytes, bytes);
    }
    return NX_OK;
}

static bool fits_port(const nx_tensor *input, const nx_tensor *port)
{
    bool fits = port->type == input->type && port->rank == input->rank;
    for (uint32_t i = 0; fits && i < port->rank; i++) {
        fits = port->dims[i] < 0 || port->dims[i] == input->dims[i];
    }
    return fits;
}

static nx_status check_input(const nx_session *session, const nx_tensor *input, nx_error *err)
{
    const nx_tensor *port = nx_session_find_input(session, input->name);
    if (port == NULL) {
        return nx_error_set(err, NX_ERR_INVALID, "%s has no input '%.60s'", session->name,
                            input->name);
    }
    nx_status status = check_bytes(input, err);
    if (status == NX_OK && port->type != NX_TYPE_OTHER && !fits_port(input, port)) {
        nx_buffer text = NX_BUFFER_INIT;
        nx_tensor_describe(input, &text);
        nx_buffer_append_str(&text, "; it takes ");
        nx_tensor_describe(port, &text);
        status = nx_error_set(err, NX_ERR_INVALID, "the input '%.60s' of %.200s is given as %.200s",
                              input->name, session->name, nx_buffer_cstr(&text));
        nx_buffer_free(&text);
    }
    return status;
}

/* Each input of the graph is there, once, and fits: better words than ONNX Runtime's, and told
 * apart from what goes wrong inside. */
static nx_status check_inputs(const nx_session *session, const nx_tensor *inputs, size_t count,
                              nx_error *err)
{
    for (size_t i = 0; i < session->inputs.count; i++) {
        size_t given = 0;
        for (size_t j = 0; j < count; j++) {
            given += strcmp(inputs[j].name, session->inputs.items[i].name) == 0;
        }
        if (given != 1) {
            return nx_error_set(err, NX_ERR_INVALID, "the input '%.60s' of %s is %s",
                                session->inputs.items[i].name, session->name,
                                given == 0 ? "missing" : "given twice");
        }
    }
    nx_status status = NX_OK;
    for (size_t i = 0; i < count && status == NX_OK; i++) {
        status = check_input(session, &inputs[i], err);
    }
    return status;
}

static nx_status wrap_inputs(const nx_session *session, const nx_tensor *inputs, run *self,
                             nx_error *err)
{
    const OrtApi *api = session->runtime->api;
    for (size_t i = 0; i < self->input_count; i++) {
        self->input_names[i] = inputs[i].name;
        nx_status status = nx_runtime_check(
            session->runtime,
            api->CreateTensorWithDataAsOrtValue(session->runtime->memory, inputs[i].data,
                                                inputs[i].bytes, inputs[i].dims, inputs[i].rank,
                                                type_to(inputs[i].type), &self->inputs[i]),
            NX_ERR_INVALID, inputs[i].name, err);
        if (status != NX_OK) {
            return status;
        }
    }
    return NX_OK;
}

static OrtStatus *view_output(const OrtApi *api, OrtValue *value, nx_tensor *out)
{
    OrtTensorTypeAndShapeInfo *info = NULL;
    int is_tensor = 0;
    OrtStatus *failure = api->IsTensor(value, &is_tensor);
    if (failure != NULL || !is_tensor) {
        return failure;
    }
    failure = api->GetTensorTypeAndShape(value, &info);
    if (failure == NULL) {
        failure = read_shape(api, info, out);
        api->ReleaseTensorTypeAndShapeInfo(info);
    }
    if (failure == NULL && out->type != NX_TYPE_OTHER) {
        failure = api->GetTensorMutableData(value, &out->data);
        out->bytes = nx_type_size(out->type);
        for (uint32_t i = 0; i < out->rank; i++) {
            out->bytes *= (size_t)out->dims[i]; /* it is in memory, so it fits */
        }
    }
    return failure;
}

/* What the caller gave wrongly, and what went wrong inside. */
static nx_status check_run(const nx_session *session, OrtStatus *failure, nx_error *err)
{
    nx_status code =
        failure != NULL && session->runtime->api->GetErrorCode(failure) == ORT_INVALID_ARGUMENT
            ? NX_ERR_INVALID
            : NX_ERR_INTERNAL;
    return nx_runtime_check(session->runtime, failure, code, session->name, err);
}

nx_status nx_session_run(nx_session *session, const nx_tensor *inputs, size_t count,
                         const char *const *outputs, size_t output_count, nx_session_read read,
                         void *user, nx_error *err)
{
    const OrtApi *api = session->runtime->api;
    run *self = NULL;
    nx_status status = check_inputs(session, inputs, count, err);
    if (status == NX_OK) {
        status = run_new(session, count, outputs, output_count, &self, err);
    }
    if (status != NX_OK) {
        return status;
    }
    status = wrap_inputs(session, inputs, self, err);
    if (status == NX_OK) {
        OrtStatus *failure = api->Run(session->session, NULL, self->input_names,
                                      (const OrtValue *const *)self->inputs, self->input_count,
                                      self->output_names, self->output_count, self->outputs);
        for (size_t i = 0; i < self->output_count && failure == NULL; i++) {
            self->views[i].name = self->output_names[i];
            failure = view_output(api, self->outputs[i], &self->views[i]);
        }
        status = check_run(session, failure, err);
    }
    if (status == NX_OK) {
        status = read(self->views, self->output_count, user, err);
    }
    run_free(api, self);
    return status;
}

/* --- shared weights ----------------------------------------------------------------------------
 */

nx_status nx_weights_new(nx_runtime *runtime, nx_weights **out, nx_error *err)
{
    *out = NULL;
    nx_weights *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
    }
    self->runtime = runtime;
    nx_status status =
        nx_runtime_check(runtime, runtime->api->CreatePrepackedWeightsContainer(&self->container),
                         NX_ERR_NO_MEMORY, "no memory for a model", err);
    if (status != NX_OK) {
        free(self);
        return status;
    }
    *out = self;
    return NX_OK;
}

void nx_weights_free(nx_weights *weights)
{
    if (weights == NULL) {
        return;
    }
    weights->runtime->api->ReleasePrepackedWeightsContainer(weights->container);
    free(weights);
}
