#include "optimize/graph.h"
#include "optimize/half.h"

#include <string.h>

const Onnx__AttributeProto *nx_node_attribute(const Onnx__NodeProto *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (strcmp(node->attribute[i]->name, name) == 0) {
            return node->attribute[i];
        }
    }
    return NULL;
}

int64_t nx_node_int(const Onnx__NodeProto *node, const char *name, int64_t fallback)
{
    const Onnx__AttributeProto *attribute = nx_node_attribute(node, name);
    return attribute != NULL && attribute->has_i ? attribute->i : fallback;
}

bool nx_node_ints(const Onnx__NodeProto *node, const char *name, int64_t *out, size_t count)
{
    const Onnx__AttributeProto *attribute = nx_node_attribute(node, name);
    if (attribute == NULL || attribute->n_ints != count) {
        return false;
    }
    memcpy(out, attribute->ints, count * sizeof *out);
    return true;
}

bool nx_node_text_is(const Onnx__NodeProto *node, const char *name, const char *text, bool fallback)
{
    const Onnx__AttributeProto *attribute = nx_node_attribute(node, name);
    if (attribute == NULL || !attribute->has_s) {
        return fallback;
    }
    return attribute->s.len == strlen(text) &&
           memcmp(attribute->s.data, text, attribute->s.len) == 0;
}

bool nx_node_is(const Onnx__NodeProto *node, const char *op)
{
    bool default_domain = node->domain[0] == '\0' || strcmp(node->domain, "ai.onnx") == 0;
    return default_domain && strcmp(node->op_type, op) == 0;
}

size_t nx_initializer_count(const Onnx__TensorProto *tensor)
{
    size_t count = 1;
    for (size_t i = 0; i < tensor->n_dims; i++) {
        count *= (size_t)tensor->dims[i];
    }
    return count;
}

/* The halves of a FLOAT16 tensor: raw, or each in an int32 of its own. */
static uint16_t half_at(const Onnx__TensorProto *tensor, bool raw, size_t i)
{
    uint16_t half = 0;
    if (raw) {
        memcpy(&half, tensor->raw_data.data + i * sizeof half, sizeof half);
    } else {
        half = (uint16_t)tensor->int32_data[i];
    }
    return half;
}

const float *nx_initializer_floats(nx_graph *graph, const Onnx__TensorProto *tensor)
{
    size_t count = nx_initializer_count(tensor);
    bool raw = tensor->has_raw_data && tensor->raw_data.len > 0;
    float *values = NULL;
    if (tensor->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT &&
        tensor->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16) {
        return NULL;
    }
    values = nx_graph_alloc(graph, count, sizeof *values);
    if (values == NULL || count == 0) {
        return values;
    }
    if (tensor->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16) {
        for (size_t i = 0; i < count; i++) {
            values[i] = nx_half_to_float(half_at(tensor, raw, i));
        }
    } else if (raw) { /* copied, for protobuf aligns nothing */
        memcpy(values, tensor->raw_data.data, count * sizeof *values);
    } else {
        memcpy(values, tensor->float_data, count * sizeof *values);
    }
    return values;
}

size_t nx_initializer_ints(const Onnx__TensorProto *tensor, int64_t *out, size_t max)
{
    size_t count = nx_initializer_count(tensor);
    bool raw = tensor->has_raw_data && tensor->raw_data.len > 0;
    bool wide = tensor->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    if ((!wide && tensor->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__INT32) || count > max) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        int32_t narrow = 0;
        if (raw && wide) {
            memcpy(&out[i], tensor->raw_data.data + i * sizeof *out, sizeof *out);
        } else if (raw) {
            memcpy(&narrow, tensor->raw_data.data + i * sizeof narrow, sizeof narrow);
            out[i] = narrow;
        } else {
            out[i] = wide ? tensor->int64_data[i] : tensor->int32_data[i];
        }
    }
    return count;
}
