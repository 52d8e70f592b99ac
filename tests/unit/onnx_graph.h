/* Small graphs for the tests of src/optimize, written as protobuf by hand. */
#ifndef NX_TESTS_ONNX_GRAPH_H
#define NX_TESTS_ONNX_GRAPH_H

#include "models.h"

#include "optimize/graph.h"

static inline void og_floats(nx_buffer *graph, const char *name, const int64_t *dims, size_t rank,
                             const float *values, size_t count)
{
    nx_buffer tensor = NX_BUFFER_INIT;
    for (size_t i = 0; i < rank; i++) {
        pb_int(&tensor, 1, (uint64_t)dims[i]);
    }
    pb_int(&tensor, 2, TINY_FLOAT);
    pb_text(&tensor, 8, name);
    pb_bytes(&tensor, 9, values, count * sizeof *values);
    pb_message(graph, 5, &tensor);
}

/* A node's attribute of one integer; an AttributeProto to be given to tiny_node. */
static inline nx_buffer og_int(const char *name, int64_t value)
{
    nx_buffer attribute = NX_BUFFER_INIT;
    pb_text(&attribute, 1, name);
    pb_int(&attribute, 3, (uint64_t)value);
    pb_int(&attribute, 20, 2);
    return attribute;
}

static inline void og_node_int(nx_buffer *graph, const char *type, const char *inputs,
                               const char *output, const char *name, int64_t value)
{
    nx_buffer attribute = og_int(name, value);
    tiny_node(graph, type, inputs, output, &attribute);
}

/* A convolution with `out` kernels of [in,size,size] numbers that are all `weight`, and bias 0. */
static inline void og_conv(nx_buffer *graph, const char *input, const char *output, int64_t in,
                           int64_t out, int64_t size, int64_t stride, float weight)
{
    char names[2][64];
    size_t count = (size_t)(in * out * size * size);
    float *weights = calloc(count, sizeof *weights);
    float *bias = calloc((size_t)out, sizeof *bias);
    for (size_t i = 0; i < count; i++) {
        weights[i] = weight * (float)(1 + i % 3);
    }
    snprintf(names[0], sizeof names[0], "%s.weight", output);
    snprintf(names[1], sizeof names[1], "%s.bias", output);
    og_floats(graph, names[0], (const int64_t[]){out, in, size, size}, 4, weights, count);
    og_floats(graph, names[1], &out, 1, bias, (size_t)out);
    nx_buffer node = NX_BUFFER_INIT;
    nx_buffer strides = NX_BUFFER_INIT;
    nx_buffer pads = NX_BUFFER_INIT;
    pb_text(&strides, 1, "strides");
    pb_text(&pads, 1, "pads");
    for (int i = 0; i < 2; i++) {
        pb_int(&strides, 8, (uint64_t)stride);
    }
    for (int i = 0; i < 4; i++) {
        pb_int(&pads, 8, (uint64_t)(size / 2));
    }
    free(weights);
    free(bias);
    pb_int(&strides, 20, 7);
    pb_int(&pads, 20, 7);
    pb_text(&node, 1, input);
    pb_text(&node, 1, names[0]);
    pb_text(&node, 1, names[1]);
    pb_text(&node, 2, output);
    pb_text(&node, 3, output);
    pb_text(&node, 4, "Conv");
    pb_message(&node, 5, &strides);
    pb_message(&node, 5, &pads);
    pb_message(graph, 1, &node);
}

/* The file around a graph, which is freed. */
static inline nx_buffer og_file(nx_buffer *graph)
{
    nx_buffer file = NX_BUFFER_INIT;
    pb_text(graph, 2, "test");
    pb_int(&file, 1, 8);
    pb_message(&file, 7, graph);
    pb_opset(&file, NULL, 17);
    assert_false(file.failed);
    return file;
}

static inline nx_graph *og_parse(nx_buffer *file)
{
    nx_graph *graph = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_graph_parse(file->data, file->size, "test.onnx", &graph, &err), err);
    nx_buffer_free(file);
    return graph;
}

static inline void og_refuses(nx_buffer *file, nx_status status, const char *part)
{
    nx_graph *graph = NULL;
    nx_error err = {0};
    assert_int_equal(nx_graph_parse(file->data, file->size, "test.onnx", &graph, &err), status);
    assert_null(graph);
    nx_assert_contains(err.message, part);
    nx_buffer_free(file);
}

#endif
