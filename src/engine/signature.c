#include "engine/signature.h"

#include <stdlib.h>
#include <string.h>

#define MAX_RANK  (sizeof((nx_tensor_shape *)0)->dims / sizeof((nx_tensor_shape *)0)->dims[0])
#define MAX_PORTS 8 /* that a message lists */

void nx_tensor_shape_describe(const nx_tensor_shape *shape, nx_buffer *out)
{
    nx_buffer_append_str(out, shape->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT     ? "float32["
                              : shape->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 ? "float16["
                              : shape->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8   ? "uint8["
                              : shape->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64   ? "int64["
                                                                                     : "other[");
    for (size_t i = 0; i < shape->rank; i++) {
        if (shape->dims[i] < 0) {
            nx_buffer_append_str(out, i > 0 ? ",?" : "?");
        } else {
            nx_buffer_printf(out, "%s%lld", i > 0 ? "," : "", (long long)shape->dims[i]);
        }
    }
    nx_buffer_append_char(out, ']');
}

OrtStatus *nx_tensor_shape_read(const OrtApi *api, const OrtTensorTypeAndShapeInfo *info,
                                nx_tensor_shape *out)
{
    *out = (nx_tensor_shape){0};
    OrtStatus *failure = api->GetTensorElementType(info, &out->type);
    if (failure == NULL) {
        failure = api->GetDimensionsCount(info, &out->rank);
    }
    if (failure == NULL) {
        out->rank = out->rank <= MAX_RANK ? out->rank : MAX_RANK;
        failure = api->GetDimensions(info, out->dims, out->rank);
    }
    return failure;
}

static OrtStatus *read_port(const OrtApi *api, const OrtSession *session, bool input, size_t index,
                            char **name, nx_tensor_shape *shape)
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
        *name = strdup(given);
        failure = api->AllocatorFree(allocator, given);
    }
    if (failure == NULL) {
        failure = input ? api->SessionGetInputTypeInfo(session, index, &type)
                        : api->SessionGetOutputTypeInfo(session, index, &type);
    }
    if (failure == NULL) {
        failure = api->CastTypeInfoToTensorInfo(type, &tensor);
    }
    if (failure == NULL && tensor != NULL) { /* NULL: a sequence or map, described as other[] */
        failure = nx_tensor_shape_read(api, tensor, shape);
    }
    if (type != NULL) {
        api->ReleaseTypeInfo(type);
    }
    return failure;
}

nx_status nx_signature_read(const nx_runtime *runtime, const OrtSession *session, bool input,
                            const char *model_path, nx_signature *out, nx_error *err)
{
    const OrtApi *api = runtime->api;
    *out = (nx_signature){0};
    OrtStatus *failure = input ? api->SessionGetInputCount(session, &out->count)
                               : api->SessionGetOutputCount(session, &out->count);
    for (size_t i = 0; i < out->count && i < MAX_PORTS && failure == NULL; i++) {
        char *name = NULL;
        nx_tensor_shape shape = {0};
        failure = read_port(api, session, input, i, &name, &shape);
        if (failure == NULL && name != NULL) {
            nx_buffer_printf(&out->text, "%s%.60s ", i > 0 ? ", " : "", name);
            nx_tensor_shape_describe(&shape, &out->text);
        }
        if (i == 0) {
            out->first_name = name;
            out->first = shape;
        } else {
            free(name);
        }
    }
    return nx_runtime_check(runtime, failure, NX_ERR_CORRUPT, model_path, err);
}

void nx_signature_free(nx_signature *signature)
{
    free(signature->first_name);
    nx_buffer_free(&signature->text);
}
