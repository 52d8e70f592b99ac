#include "engine/session_internal.h"

#include <stdlib.h>
#include <string.h>

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
    /* behind the struct: views, then pointers, two for each input and one for each output */
    char *memory = calloc(1, sizeof *self + output_count * sizeof *self->views +
                                 (2 * inputs + output_count) * sizeof(void *));
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
                                                nx_type_to_ort(inputs[i].type), &self->inputs[i]),
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
        failure = nx_tensor_read_shape(api, info, out);
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

/* --- on a GPU -----------------------------------------------------------------------------------
 */

static OrtStatus *bind(const nx_session *session, const run *self, OrtIoBinding *binding)
{
    const OrtApi *api = session->runtime->api;
    OrtStatus *failure = NULL;
    for (size_t i = 0; i < self->input_count && failure == NULL; i++) {
        failure = api->BindInput(binding, self->input_names[i], self->inputs[i]);
    }
    for (size_t i = 0; i < self->output_count && failure == NULL; i++) {
        failure = api->BindOutputToDevice(binding, self->output_names[i],
                                          nx_pinned_info(session->pinned));
    }
    if (failure == NULL) {
        failure = api->SynchronizeBoundInputs(binding);
    }
    return failure;
}

static OrtStatus *take_outputs(const OrtApi *api, OrtIoBinding *binding, run *self)
{
    OrtAllocator *allocator = NULL;
    OrtValue **values = NULL;
    size_t count = 0;
    OrtStatus *failure = api->SynchronizeBoundOutputs(binding);
    if (failure == NULL) {
        failure = api->GetAllocatorWithDefaultOptions(&allocator);
    }
    if (failure == NULL) {
        failure = api->GetBoundOutputValues(binding, allocator, &values, &count);
    }
    for (size_t i = 0; failure == NULL && i < count; i++) {
        if (i < self->output_count) {
            self->outputs[i] = values[i];
        } else {
            api->ReleaseValue(values[i]);
        }
    }
    if (failure == NULL && values != NULL) {
        failure = api->AllocatorFree(allocator, (void *)values);
    }
    return failure;
}

/* Outputs come into pinned memory, straight from the GPU. */
static OrtStatus *run_bound(nx_session *session, run *self)
{
    const OrtApi *api = session->runtime->api;
    OrtIoBinding *binding = NULL;
    OrtStatus *failure = api->CreateIoBinding(session->session, &binding);
    if (failure == NULL) {
        failure = bind(session, self, binding);
    }
    if (failure == NULL) {
        failure = api->RunWithBinding(session->session, NULL, binding);
    }
    if (failure == NULL) {
        failure = take_outputs(api, binding, self);
    }
    if (binding != NULL) {
        api->ReleaseIoBinding(binding);
    }
    return failure;
}

static OrtStatus *run_plain(nx_session *session, run *self)
{
    return session->runtime->api->Run(session->session, NULL, self->input_names,
                                      (const OrtValue *const *)self->inputs, self->input_count,
                                      self->output_names, self->output_count, self->outputs);
}

/* --- the whole ----------------------------------------------------------------------------------
 */

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
        OrtStatus *failure =
            session->pinned != NULL ? run_bound(session, self) : run_plain(session, self);
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
