#include "optimize/calibrate.h"

#include <stdlib.h>
#include <string.h>

struct nx_calibration {
    nx_session *session;
    char *input;
    const char **names; /* of the outputs that are watched; borrowed from the plan */
    size_t *layers;     /* which layer each is of */
    size_t count;
    nx_histogram *histograms;
};

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory to calibrate");
}

/* The values that are watched: what a convolution gives before SiLU, and sums. */
static void choose_values(nx_calibration *self, const nx_quant_plan *plan)
{
    for (size_t i = 0; i < plan->layer_count; i++) {
        const nx_quant_layer *layer = &plan->layers[i];
        if (layer->kind == NX_QUANT_CONV || layer->kind == NX_QUANT_ADD) {
            nx_value value = layer->kind == NX_QUANT_CONV ? layer->before : layer->output;
            self->names[self->count] = plan->index.names[value];
            self->layers[self->count++] = i;
        }
    }
}

static nx_status open_session(nx_calibration *self, nx_runtime *runtime, const nx_quant_plan *plan,
                              uint32_t threads, nx_error *err)
{
    nx_graph *graph = NULL;
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_status status = nx_graph_copy(plan->graph, &graph, err);
    if (status != NX_OK) {
        return status;
    }
    for (size_t i = 0; i < self->count; i++) {
        nx_graph_add_output(graph, self->names[i], ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, NULL, 0);
    }
    status = nx_graph_pack(graph, &bytes, err);
    if (status == NX_OK) {
        const nx_session_options options = {.intra_op_threads = threads};
        status = nx_session_open_bytes(runtime, bytes.data, bytes.size, nx_graph_name(graph),
                                       &options, &self->session, err);
    }
    nx_buffer_free(&bytes);
    nx_graph_free(graph);
    return status;
}

nx_status nx_calibration_new(nx_runtime *runtime, const nx_quant_plan *plan, uint32_t threads,
                             nx_calibration **out, nx_error *err)
{
    *out = NULL;
    nx_calibration *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return no_memory(err);
    }
    self->input = strdup(plan->index.names[plan->input]);
    self->names = calloc(plan->layer_count + 1, sizeof *self->names);
    self->layers = calloc(plan->layer_count + 1, sizeof *self->layers);
    self->histograms = calloc(plan->layer_count + 1, sizeof *self->histograms);
    nx_status status = NX_OK;
    if (self->input == NULL || self->names == NULL || self->layers == NULL ||
        self->histograms == NULL) {
        status = no_memory(err);
    } else {
        choose_values(self, plan);
        status = open_session(self, runtime, plan, threads, err);
    }
    if (status != NX_OK) {
        nx_calibration_free(self);
        return status;
    }
    *out = self;
    return NX_OK;
}

void nx_calibration_free(nx_calibration *calibration)
{
    if (calibration != NULL) {
        nx_session_free(calibration->session);
        free(calibration->input);
        free(calibration->names);
        free(calibration->layers);
        free(calibration->histograms);
        free(calibration);
    }
}

static nx_status count_values(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    nx_calibration *self = user;
    for (size_t i = 0; i < count; i++) {
        if (outputs[i].type != NX_TYPE_FLOAT32) {
            return nx_error_set(err, NX_ERR_INTERNAL, "the layer %.100s gives no float32",
                                outputs[i].name);
        }
        nx_histogram_add(&self->histograms[self->layers[i]], outputs[i].data,
                         outputs[i].bytes / sizeof(float));
    }
    return NX_OK;
}

nx_status nx_calibration_add(nx_calibration *calibration, const float *planes, uint32_t width,
                             uint32_t height, nx_error *err)
{
    nx_tensor input = {
        .name = calibration->input,
        .type = NX_TYPE_FLOAT32,
        .rank = 4,
        .dims = {1, 3, height, width},
        .bytes = (size_t)3 * width * height * sizeof(float),
    };
    memcpy(&input.data, &planes, sizeof planes); /* a Run only reads its inputs */
    return nx_session_run(calibration->session, &input, 1, calibration->names, calibration->count,
                          count_values, calibration, err);
}

const nx_histogram *nx_calibration_histograms(const nx_calibration *calibration)
{
    return calibration->histograms;
}
