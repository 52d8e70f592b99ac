/*
 * An inference on a model's own tensors: read, run and written on an engine thread.
 *
 * A request for one picture of a size that pictures have takes a slot of a batch, as a picture
 * does, beside those and other requests. Any other runs by itself.
 */
#include "api/kserve.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64 /* of tensors: what ONNX Runtime's kernels like best */

typedef struct graph_work {
    nx_engine_task task; /* first, so that the engine's pointer is ours */
    nx_kserve_call *call;
    nx_tensor inputs[NX_KSERVE_MAX_TENSORS];    /* data is owned */
    const char *outputs[NX_KSERVE_MAX_TENSORS]; /* that were asked for */
    int64_t input_ns, infer_ns, output_ns;
    int64_t run_started_ns;
    uint32_t batch;
} graph_work;

static void free_inputs(graph_work *work)
{
    for (size_t i = 0; i < work->call->parsed.input_count; i++) {
        free(work->inputs[i].data);
        work->inputs[i].data = NULL;
    }
}

static void free_work(void *context)
{
    graph_work *work = context;
    free_inputs(work);
    free(work);
}

/* --- what the request must have -----------------------------------------------------------------
 */

static nx_status mismatch(const nx_kserve_input *input, const nx_tensor *port, nx_error *err)
{
    nx_buffer wanted = NX_BUFFER_INIT;
    nx_buffer given = NX_BUFFER_INIT;
    nx_tensor tensor = {.type = input->datatype->type, .rank = input->rank};
    memcpy(tensor.dims, input->dims, sizeof tensor.dims);
    nx_tensor_describe(port, &wanted);
    nx_tensor_describe(&tensor, &given);
    nx_status status =
        nx_error_set(err, NX_ERR_INVALID, "the input '%.100s' is %.150s; the model takes %.150s",
                     input->name, nx_buffer_cstr(&given), nx_buffer_cstr(&wanted));
    nx_buffer_free(&wanted);
    nx_buffer_free(&given);
    return status;
}

static nx_status check_input(const graph_work *work, const nx_kserve_input *input, nx_error *err)
{
    const nx_kserve_model *model = &work->call->model;
    const nx_tensor *port = nx_session_find_input(model->session, input->name);
    if (port == NULL) {
        size_t count = 0;
        const nx_tensor *ports = nx_session_inputs(model->session, &count);
        return nx_error_set(err, NX_ERR_INVALID,
                            "the model '%s' has no input '%.100s'; %s '%.100s'", model->name,
                            input->name, count > 1 ? "one of its inputs is" : "its input is",
                            count > 0 ? ports[0].name : "");
    }
    bool fits = input->datatype->type == port->type && port->type != NX_TYPE_OTHER &&
                input->rank == port->rank;
    for (uint32_t i = 0; fits && i < port->rank; i++) {
        fits = port->dims[i] < 0 || port->dims[i] == input->dims[i];
    }
    if (!fits) {
        return mismatch(input, port, err);
    }
    size_t bytes = 0;
    if (__builtin_mul_overflow(input->elements, nx_type_size(port->type), &bytes)) {
        return nx_error_set(err, NX_ERR_INVALID, "the input '%.100s' is too large", input->name);
    }
    if (input->binary && bytes != input->data.size) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the input '%.100s' has %zu bytes of binary data; its shape has %zu",
                            input->name, input->data.size, bytes);
    }
    uint32_t most = nx_kserve_max_batch(model);
    if (most > 0 && (input->dims[0] < 1 || input->dims[0] > most)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the input '%.100s' is a batch of %lld; 1 to %u are taken", input->name,
                            (long long)input->dims[0], most);
    }
    return NX_OK;
}

/*
 * A graph of any height and width takes memory by the pixel, and much more than its input. So all
 * pictures together may have as many pixels as the most pictures of its usual size.
 */
static nx_status check_pixels(const nx_kserve_model *model, const nx_kserve_input *input,
                              nx_error *err)
{
    const nx_model_spec *spec = model->model != NULL ? nx_model_get_spec(model->model) : NULL;
    if (spec == NULL || !spec->dynamic_size) {
        return NX_OK;
    }
    uint64_t side = spec->input_width > spec->input_height ? spec->input_width : spec->input_height;
    uint64_t most = side * side * NX_KSERVE_MAX_BATCH;
    if (input->elements / 3 > most) {
        return nx_error_set(
            err, NX_ERR_TOO_LARGE, "the input '%.100s' has %llu pixels; %llu are taken at most",
            input->name, (unsigned long long)input->elements / 3, (unsigned long long)most);
    }
    return NX_OK;
}

static nx_status check_request(graph_work *work, nx_error *err)
{
    const nx_kserve_request *parsed = &work->call->parsed;
    const nx_kserve_model *model = &work->call->model;
    size_t wanted = 0;
    nx_session_inputs(model->session, &wanted);
    for (size_t i = 0; i < parsed->input_count; i++) {
        nx_status status = check_pixels(model, &parsed->inputs[i], err);
        status = status == NX_OK ? check_input(work, &parsed->inputs[i], err) : status;
        if (status != NX_OK) {
            return status;
        }
    }
    if (parsed->input_count != wanted) { /* all are known and none comes twice */
        return nx_error_set(err, NX_ERR_INVALID, "the model '%s' takes %zu inputs; %zu were given",
                            model->name, wanted, parsed->input_count);
    }
    for (size_t i = 0; i < parsed->output_count; i++) {
        if (nx_session_find_output(model->session, parsed->outputs[i].name) == NULL) {
            return nx_error_set(err, NX_ERR_INVALID, "the model '%s' has no output '%.100s'",
                                model->name, parsed->outputs[i].name);
        }
        work->outputs[i] = parsed->outputs[i].name;
    }
    work->batch = nx_kserve_max_batch(model) > 0 ? (uint32_t)parsed->inputs[0].dims[0] : 1;
    return NX_OK;
}

/* --- on an engine thread ------------------------------------------------------------------------
 */

/* A bool that is neither 0 nor 1 is none to the kernels that get it. */
static nx_status check_bools(const nx_tensor *tensor, nx_error *err)
{
    const uint8_t *bytes = tensor->data;
    for (size_t i = 0; tensor->type == NX_TYPE_BOOL && i < tensor->bytes; i++) {
        if (bytes[i] > 1) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "the input '%.100s' has a BOOL that is neither 0 nor 1",
                                tensor->name);
        }
    }
    return NX_OK;
}

static nx_tensor describe_input(const nx_kserve_input *input)
{
    nx_tensor tensor = {
        .name = input->name,
        .type = input->datatype->type,
        .rank = input->rank,
        .bytes = input->elements * nx_type_size(input->datatype->type), /* checked before */
    };
    memcpy(tensor.dims, input->dims, sizeof tensor.dims);
    return tensor;
}

/* Into out->data, which has room for it. */
static nx_status fill_input(const nx_kserve_input *input, nx_tensor *out, nx_error *err)
{
    if (!input->binary) {
        return nx_kserve_read_json(input->data, out, out->data, err);
    }
    memcpy(out->data, input->data.text, out->bytes);
    return check_bools(out, err);
}

static nx_status read_input(const nx_kserve_input *input, nx_tensor *out, nx_error *err)
{
    *out = describe_input(input);
    size_t room = (out->bytes / ALIGNMENT + 1) * ALIGNMENT;
    out->data = room > out->bytes ? aligned_alloc(ALIGNMENT, room) : NULL;
    if (out->data == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the input '%.100s'", input->name);
    }
    return fill_input(input, out, err);
}

static nx_status write_outputs(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    graph_work *work = user;
    int64_t start = nx_clock_now_ns();
    work->infer_ns = start - work->run_started_ns;
    nx_status status = nx_kserve_write_answer(work->call, outputs, count, err);
    work->output_ns = nx_clock_now_ns() - start;
    return status;
}

static nx_status execute(nx_engine_task *task, nx_error *err)
{
    graph_work *work = (graph_work *)task;
    nx_kserve_call *call = work->call;
    const nx_kserve_request *parsed = &call->parsed;
    int64_t start = nx_clock_now_ns();
    nx_status status = nx_kserve_check_gone(call, err);
    for (size_t i = 0; i < parsed->input_count && status == NX_OK; i++) {
        status = read_input(&parsed->inputs[i], &work->inputs[i], err);
    }
    work->run_started_ns = nx_clock_now_ns();
    work->input_ns = work->run_started_ns - start;
    if (status == NX_OK) {
        status = nx_session_run(call->model.session, work->inputs, parsed->input_count,
                                parsed->output_count > 0 ? work->outputs : NULL,
                                parsed->output_count, write_outputs, work, err);
    }
    free_inputs(work);
    return status;
}

/* --- in a batch ---------------------------------------------------------------------------------
 */

static bool is_usual_side(const nx_model_spec *spec, int64_t side, uint32_t fixed)
{
    uint32_t longest =
        spec->input_width > spec->input_height ? spec->input_width : spec->input_height;
    return spec->dynamic_size ? side > 0 && side % spec->stride == 0 && side <= longest
                              : side == fixed;
}

static bool is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether the request is for one picture of a usual size, and for what a batch gives; fills the
 * task's size. Memory for a whole batch of any size that a client names would be too much. */
static bool fits_batch(graph_work *work)
{
    const nx_kserve_call *call = work->call;
    const nx_kserve_request *parsed = &call->parsed;
    const nx_kserve_input *input = parsed->inputs;
    const nx_model_spec *spec = nx_model_get_spec(call->model.model);
    size_t given = 0;
    const char *const *names = nx_model_outputs(call->model.model, &given);
    size_t ports = 0;
    const nx_tensor *all = nx_session_outputs(call->model.session, &ports);
    size_t wanted = parsed->output_count > 0 ? parsed->output_count : ports;
    size_t height = spec->pixels == NX_PIXELS_RGB_BYTE_NHWC ? 1 : 2;
    bool fits = parsed->input_count == 1 && input->rank == 4 && input->dims[0] == 1 &&
                is_usual_side(spec, input->dims[height], spec->input_height) &&
                is_usual_side(spec, input->dims[height + 1], spec->input_width);
    for (size_t i = 0; i < wanted && fits; i++) {
        fits = is_among(parsed->output_count > 0 ? work->outputs[i] : all[i].name, names, given);
    }
    if (fits) {
        work->task.input_height = (uint32_t)input->dims[height];
        work->task.input_width = (uint32_t)input->dims[height + 1];
    }
    return fits;
}

static nx_status prepare(nx_engine_task *task, void *slot, nx_error *err)
{
    graph_work *work = (graph_work *)task;
    int64_t start = nx_clock_now_ns();
    nx_tensor tensor = describe_input(work->call->parsed.inputs);
    tensor.data = slot;
    nx_status status = nx_kserve_check_gone(work->call, err);
    if (status == NX_OK) {
        status = fill_input(work->call->parsed.inputs, &tensor, err);
    }
    work->input_ns = nx_clock_now_ns() - start;
    return status;
}

/* The slot's part of the output of that name. */
static nx_status find_part(const nx_tensor *outputs, size_t count, const char *name, uint32_t slot,
                           nx_tensor *out, nx_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const nx_tensor *whole = &outputs[i];
        if (strcmp(whole->name, name) == 0 && whole->rank > 0 && slot < whole->dims[0]) {
            *out = *whole;
            out->dims[0] = 1;
            out->bytes = whole->bytes / (size_t)whole->dims[0];
            out->data = (char *)whole->data + slot * out->bytes;
            return NX_OK;
        }
    }
    return nx_error_set(err, NX_ERR_INTERNAL, "the model gave no output '%.100s'", name);
}

static nx_status consume(nx_engine_task *task, const nx_tensor *outputs, size_t count,
                         uint32_t slot, nx_error *err)
{
    graph_work *work = (graph_work *)task;
    const nx_kserve_request *parsed = &work->call->parsed;
    nx_tensor parts[NX_KSERVE_MAX_TENSORS];
    size_t ports = 0;
    const nx_tensor *all = nx_session_outputs(work->call->model.session, &ports);
    size_t wanted = parsed->output_count > 0 ? parsed->output_count : ports;
    nx_status status = NX_OK;
    int64_t start = nx_clock_now_ns();
    work->infer_ns = task->timings.run;
    for (size_t i = 0; i < wanted && status == NX_OK; i++) {
        const char *name = parsed->output_count > 0 ? work->outputs[i] : all[i].name;
        status = find_part(outputs, count, name, slot, &parts[i], err);
    }
    if (status == NX_OK) {
        status = nx_kserve_write_answer(work->call, parts, wanted, err);
    }
    work->output_ns = nx_clock_now_ns() - start;
    return status;
}

/* --- the end ------------------------------------------------------------------------------------
 */

static void done(nx_engine_task *task, nx_status status, const nx_error *err)
{
    graph_work *work = (graph_work *)task;
    const nx_kserve_sample sample = {
        .batch = work->batch,
        .executions = 1,
        .queue_ns = task->timings.queue,
        .input_ns = work->input_ns,
        .infer_ns = work->infer_ns,
        .output_ns = work->output_ns,
    };
    nx_kserve_finish(work->call, status, err, &sample);
}

/* --- starting -----------------------------------------------------------------------------------
 */

static void cancel(void *user)
{
    graph_work *work = user;
    nx_engine_cancel(work->call->api->deps.engine, &work->task);
}

void nx_kserve_start_graph(nx_kserve_call *call)
{
    nx_error err = {0};
    nx_status status = NX_OK;
    graph_work *work = calloc(1, sizeof *work);
    if (work == NULL) {
        status = nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory for the request");
    } else {
        work->call = call;
        call->work = work;
        call->free_work = free_work;
        status = check_request(work, &err);
    }
    if (status == NX_OK) {
        work->task.priority = NX_PRIORITY_INTERACTIVE;
        work->task.deadline_ns = call->deadline_ns;
        if (fits_batch(work)) {
            work->task.backend = nx_model_backend(call->model.model);
            work->task.prepare = prepare;
            work->task.consume = consume;
        } else {
            work->task.execute = execute;
        }
        work->task.done = done;
        atomic_store(&call->cancel_work, cancel);
        status = nx_engine_submit(call->api->deps.engine, &work->task, &err);
    }
    if (status != NX_OK) {
        nx_kserve_finish(call, status, &err, &(nx_kserve_sample){0});
    }
}
