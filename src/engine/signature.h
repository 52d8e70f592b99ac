/*
 * What goes into a session and what comes out: names, types and shapes, to decide on and to show to
 * a person. For model.c; not for other modules.
 */
#ifndef NX_ENGINE_SIGNATURE_H
#define NX_ENGINE_SIGNATURE_H

#include "base/buffer.h"
#include "engine/ort.h"

#include <stdbool.h>

typedef struct nx_tensor_shape {
    ONNXTensorElementDataType type;
    size_t rank;     /* at most 8; dimensions beyond are cut off */
    int64_t dims[8]; /* -1: free */
} nx_tensor_shape;

/* The caller releases the OrtStatus; NULL is success. */
OrtStatus *nx_tensor_shape_read(const OrtApi *api, const OrtTensorTypeAndShapeInfo *info,
                                nx_tensor_shape *out);

/* Appends "float32[1,3,?,?]". */
void nx_tensor_shape_describe(const nx_tensor_shape *shape, nx_buffer *out);

/* One side of a session: its inputs or its outputs. */
typedef struct nx_signature {
    size_t count;
    char *first_name; /* owned; NULL when there is none */
    nx_tensor_shape first;
    nx_buffer text; /* "name type[shape], ..." of the first eight */
} nx_signature;

/* out is to be freed whatever is returned. model_path is for messages.
 * Errors: NX_ERR_CORRUPT with ONNX Runtime's words. */
nx_status nx_signature_read(const nx_runtime *runtime, const OrtSession *session, bool input,
                            const char *model_path, nx_signature *out, nx_error *err);
void nx_signature_free(nx_signature *signature);

#endif
