#include "engine/tensor.h"

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [NX_TYPE_OTHER] = {"other", 0},     [NX_TYPE_FLOAT32] = {"float32", 4},
    [NX_TYPE_FLOAT16] = {"float16", 2}, [NX_TYPE_FLOAT64] = {"float64", 8},
    [NX_TYPE_UINT8] = {"uint8", 1},     [NX_TYPE_INT8] = {"int8", 1},
    [NX_TYPE_UINT16] = {"uint16", 2},   [NX_TYPE_INT16] = {"int16", 2},
    [NX_TYPE_INT32] = {"int32", 4},     [NX_TYPE_INT64] = {"int64", 8},
    [NX_TYPE_BOOL] = {"bool", 1},
};

size_t nx_type_size(nx_type type)
{
    return (size_t)type < sizeof types / sizeof types[0] ? types[type].size : 0;
}

static const char *type_name(nx_type type)
{
    return (size_t)type < sizeof types / sizeof types[0] ? types[type].name : "other";
}

void nx_tensor_describe(const nx_tensor *tensor, nx_buffer *out)
{
    nx_buffer_printf(out, "%s[", type_name(tensor->type));
    for (uint32_t i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i] < 0) {
            nx_buffer_append_str(out, i > 0 ? ",?" : "?");
        } else {
            nx_buffer_printf(out, "%s%lld", i > 0 ? "," : "", (long long)tensor->dims[i]);
        }
    }
    nx_buffer_append_char(out, ']');
}
