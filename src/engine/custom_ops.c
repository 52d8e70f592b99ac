#include "engine/custom_ops.h"

#include "engine/byte_kernels.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that a thread takes at a time when a session has several: some microseconds' work. */
#define PIECE ((size_t)64 * 1024)

#define RANK 4 /* of what is upsampled */

/* An operator as ONNX Runtime knows it, with what its functions need. It is its own kernel: nothing
 * differs from node to node. */
typedef struct custom_op {
    OrtCustomOp ort; /* first, so that ONNX Runtime's pointer is ours */
    const OrtApi *api;
    const nx_byte_kernels *kernels;
} custom_op;

struct nx_custom_ops {
    const OrtApi *api;
    OrtCustomOpDomain *domain;
    custom_op table;
    custom_op upsample;
};

static OrtStatus *misuse(const OrtApi *api, const char *message)
{
    return api->CreateStatus(ORT_INVALID_ARGUMENT, message);
}

/* --- tensors of a Run ---------------------------------------------------------------------------
 */

typedef struct bytes_view {
    const uint8_t *data;
    size_t count;
    size_t rank;
    int64_t dims[8]; /* of rank 8 or less; else they are not read */
} bytes_view;

static OrtStatus *read_view(const OrtApi *api, const OrtTensorTypeAndShapeInfo *info,
                            const char *wrong_type, bytes_view *out)
{
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    OrtStatus *failure = api->GetTensorElementType(info, &type);
    if (failure == NULL && type != ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8) {
        failure = misuse(api, wrong_type);
    }
    if (failure == NULL) {
        failure = api->GetTensorShapeElementCount(info, &out->count);
    }
    if (failure == NULL) {
        failure = api->GetDimensionsCount(info, &out->rank);
    }
    if (failure == NULL && out->rank <= sizeof out->dims / sizeof out->dims[0]) {
        failure = api->GetDimensions(info, out->dims, out->rank);
    }
    return failure;
}

/* The input of that number. Optional inputs that are not given are NULL to ONNX Runtime. */
static OrtStatus *read_input(const OrtApi *api, OrtKernelContext *context, size_t index,
                             const char *wrong_type, const OrtValue **value, bytes_view *out)
{
    OrtTensorTypeAndShapeInfo *info = NULL;
    *value = NULL;
    OrtStatus *failure = api->KernelContext_GetInput(context, index, value);
    if (failure == NULL && *value == NULL) {
        failure = misuse(api, wrong_type);
    }
    if (failure == NULL) {
        failure = api->GetTensorTypeAndShape(*value, &info);
    }
    if (failure == NULL) {
        failure = read_view(api, info, wrong_type, out);
        api->ReleaseTensorTypeAndShapeInfo(info);
    }
    if (failure == NULL) { /* ONNX Runtime has no function for reading alone */
        void *data = NULL;
        failure = api->GetTensorMutableData((OrtValue *)*value, &data);
        out->data = data;
    }
    return failure;
}

static OrtStatus *make_output(const OrtApi *api, OrtKernelContext *context, const int64_t *dims,
                              size_t rank, uint8_t **out)
{
    OrtValue *value = NULL;
    void *data = NULL;
    OrtStatus *failure = api->KernelContext_GetOutput(context, 0, dims, rank, &value);
    if (failure == NULL) {
        failure = api->GetTensorMutableData(value, &data);
    }
    *out = data;
    return failure;
}

/* Calls work(user, piece) for each piece, on the session's threads if it has several. */
static OrtStatus *for_each_piece(const OrtApi *api, const OrtKernelContext *context, size_t pieces,
                                 void (*work)(void *user, size_t piece), void *user)
{
    if (pieces > 1) {
        return api->KernelContext_ParallelFor(context, work, pieces, 0, user);
    }
    if (pieces == 1) {
        work(user, 0);
    }
    return NULL;
}

/* --- TableU8 ------------------------------------------------------------------------------------
 */

typedef struct table_work {
    const nx_byte_kernels *kernels;
    const uint8_t *table;
    const uint8_t *from;
    uint8_t *to;
    size_t count;
} table_work;

static void look_piece_up(void *user, size_t piece)
{
    const table_work *work = user;
    size_t start = piece * PIECE;
    size_t rest = work->count - start;
    work->kernels->look_up(work->from + start, work->table, work->to + start,
                           rest < PIECE ? rest : PIECE);
}

static OrtStatus *ORT_API_CALL run_table(void *kernel, OrtKernelContext *context)
{
    const custom_op *op = kernel;
    const OrtValue *value = NULL;
    const OrtValue *table_value = NULL;
    bytes_view input = {0};
    bytes_view table = {0};
    uint8_t *output = NULL;
    OrtStatus *failure = read_input(op->api, context, 0, "TableU8: X is not uint8", &value, &input);
    if (failure == NULL) {
        failure = read_input(op->api, context, 1, "TableU8: T is not uint8", &table_value, &table);
    }
    if (failure == NULL && (table.rank != 1 || table.count != NX_TABLE_SIZE)) {
        failure = misuse(op->api, "TableU8: T has not the shape [256]");
    }
    if (failure == NULL && input.rank > sizeof input.dims / sizeof input.dims[0]) {
        failure = misuse(op->api, "TableU8: X has over 8 dimensions");
    }
    if (failure == NULL) {
        failure = make_output(op->api, context, input.dims, input.rank, &output);
    }
    if (failure != NULL) {
        return failure;
    }
    table_work work = {
        .kernels = op->kernels,
        .table = table.data,
        .from = input.data,
        .to = output,
        .count = input.count,
    };
    size_t pieces = input.count / PIECE + (input.count % PIECE != 0);
    return for_each_piece(op->api, context, pieces, look_piece_up, &work);
}

/* --- UpsampleNearest2xU8 ------------------------------------------------------------------------
 */

typedef struct upsample_work {
    const uint8_t *from;
    uint8_t *to;
    size_t rows;     /* of all pictures */
    size_t width;    /* pixels in one */
    size_t channels; /* bytes in a pixel */
    size_t rows_per_piece;
} upsample_work;

/* A row of the input becomes two of the output. */
static void upsample_row(const upsample_work *work, size_t row)
{
    size_t channels = work->channels;
    size_t bytes = work->width * channels;
    const uint8_t *from = work->from + row * bytes;
    uint8_t *to = work->to + row * bytes * 4;
    for (size_t x = 0; x < work->width; x++) {
        memcpy(to + 2 * x * channels, from + x * channels, channels);
        memcpy(to + (2 * x + 1) * channels, from + x * channels, channels);
    }
    memcpy(to + 2 * bytes, to, 2 * bytes);
}

static void upsample_piece(void *user, size_t piece)
{
    const upsample_work *work = user;
    size_t first = piece * work->rows_per_piece;
    size_t end = first + work->rows_per_piece;
    for (size_t row = first; row < end && row < work->rows; row++) {
        upsample_row(work, row);
    }
}

static OrtStatus *ORT_API_CALL run_upsample(void *kernel, OrtKernelContext *context)
{
    const custom_op *op = kernel;
    const OrtValue *value = NULL;
    bytes_view input = {0};
    uint8_t *output = NULL;
    OrtStatus *failure =
        read_input(op->api, context, 0, "UpsampleNearest2xU8: X is not uint8", &value, &input);
    if (failure == NULL && input.rank != RANK) {
        failure = misuse(op->api, "UpsampleNearest2xU8: X has not the shape [N,H,W,C]");
    }
    int64_t dims[RANK] = {input.dims[0], 0, 0, input.dims[3]};
    size_t out_count = 0;
    if (failure == NULL && (__builtin_mul_overflow(input.dims[1], 2, &dims[1]) ||
                            __builtin_mul_overflow(input.dims[2], 2, &dims[2]) ||
                            __builtin_mul_overflow(input.count, 4, &out_count))) {
        failure = misuse(op->api, "UpsampleNearest2xU8: X is too large");
    }
    if (failure == NULL) {
        failure = make_output(op->api, context, dims, RANK, &output);
    }
    if (failure != NULL || out_count == 0) {
        return failure;
    }
    upsample_work work = {
        .from = input.data,
        .to = output,
        .rows = (size_t)(input.dims[0] * input.dims[1]),
        .width = (size_t)input.dims[2],
        .channels = (size_t)input.dims[3],
    };
    size_t row_bytes = work.width * work.channels * 4;
    work.rows_per_piece = row_bytes < PIECE ? PIECE / row_bytes : 1;
    size_t pieces = (work.rows + work.rows_per_piece - 1) / work.rows_per_piece;
    return for_each_piece(op->api, context, pieces, upsample_piece, &work);
}

/* --- shapes before a Run ------------------------------------------------------------------------
 *
 * ONNX Runtime plans memory by these. A dimension without a size has a name, and dimensions of the
 * same name are taken for equal; where there is neither, nothing is said about the shape.
 */

typedef struct known_shape {
    size_t rank;
    int64_t dims[8];
    const char *names[8]; /* of the dimensions that have no size; "" for the others */
} known_shape;

/* *complete: every dimension has a size or a name. A shape that is not known at all looks like a
 * scalar's here, so nothing is said of that either. */
static OrtStatus *read_known(const OrtApi *api, const OrtTensorTypeAndShapeInfo *info,
                             known_shape *out, bool *complete)
{
    OrtStatus *failure = api->GetDimensionsCount(info, &out->rank);
    *complete =
        failure == NULL && out->rank > 0 && out->rank <= sizeof out->dims / sizeof out->dims[0];
    if (*complete) {
        failure = api->GetDimensions(info, out->dims, out->rank);
    }
    if (*complete && failure == NULL) {
        failure = api->GetSymbolicDimensions(info, out->names, out->rank);
    }
    for (size_t i = 0; i < out->rank && *complete && failure == NULL; i++) {
        *complete = out->dims[i] >= 0 || (out->names[i] != NULL && out->names[i][0] != '\0');
    }
    return failure;
}

static OrtStatus *say_shape(const OrtApi *api, OrtShapeInferContext *context, known_shape *shape)
{
    OrtTensorTypeAndShapeInfo *info = NULL;
    OrtStatus *failure = api->CreateTensorTypeAndShapeInfo(&info);
    if (failure == NULL) {
        failure = api->SetTensorElementType(info, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8);
    }
    if (failure == NULL) {
        failure = api->SetDimensions(info, shape->dims, shape->rank);
    }
    if (failure == NULL) {
        failure = api->SetSymbolicDimensions(info, shape->names, shape->rank);
    }
    if (failure == NULL) {
        failure = api->ShapeInferContext_SetOutputTypeShape(context, 0, info);
    }
    if (info != NULL) {
        api->ReleaseTensorTypeAndShapeInfo(info);
    }
    return failure;
}

/* The info belongs to the context. */
static OrtStatus *read_input_shape(const OrtApi *api, const OrtShapeInferContext *context,
                                   known_shape *out, bool *complete)
{
    OrtTensorTypeAndShapeInfo *info = NULL;
    *complete = false;
    OrtStatus *failure = api->ShapeInferContext_GetInputTypeShape(context, 0, &info);
    return failure == NULL && info != NULL ? read_known(api, info, out, complete) : failure;
}

static OrtStatus *ORT_API_CALL shape_of_table(const OrtCustomOp *ort, OrtShapeInferContext *context)
{
    const OrtApi *api = ((const custom_op *)ort)->api;
    known_shape shape = {0};
    bool complete = false;
    OrtStatus *failure = read_input_shape(api, context, &shape, &complete);
    return failure == NULL && complete ? say_shape(api, context, &shape) : failure;
}

static OrtStatus *ORT_API_CALL shape_of_upsample(const OrtCustomOp *ort,
                                                 OrtShapeInferContext *context)
{
    const OrtApi *api = ((const custom_op *)ort)->api;
    known_shape shape = {0};
    bool complete = false;
    char names[2][128];
    OrtStatus *failure = read_input_shape(api, context, &shape, &complete);
    if (failure != NULL || !complete) {
        return failure;
    }
    if (shape.rank != RANK) {
        return NULL; /* the Run refuses it: ONNX Runtime leaks a refusal from here */
    }
    for (size_t i = 0; i < 2; i++) {
        int64_t *dim = &shape.dims[1 + i];
        if (*dim < 0) { /* twice a size of that name, wherever it comes from */
            int length = snprintf(names[i], sizeof names[i], "2*(%s)", shape.names[1 + i]);
            if (length < 0 || (size_t)length >= sizeof names[i]) {
                return NULL;
            }
            shape.names[1 + i] = names[i];
        } else if (__builtin_mul_overflow(*dim, 2, dim)) {
            return NULL;
        }
    }
    return say_shape(api, context, &shape);
}

/* --- what ONNX Runtime asks ---------------------------------------------------------------------
 */

static const char *ORT_API_CALL table_name(const OrtCustomOp *op)
{
    (void)op;
    return "TableU8";
}

static const char *ORT_API_CALL upsample_name(const OrtCustomOp *op)
{
    (void)op;
    return "UpsampleNearest2xU8";
}

static const char *ORT_API_CALL provider(const OrtCustomOp *op)
{
    (void)op;
    return "CPUExecutionProvider";
}

static ONNXTensorElementDataType ORT_API_CALL bytes_type(const OrtCustomOp *op, size_t index)
{
    (void)op;
    (void)index;
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
}

static size_t ORT_API_CALL one(const OrtCustomOp *op)
{
    (void)op;
    return 1;
}

static size_t ORT_API_CALL two(const OrtCustomOp *op)
{
    (void)op;
    return 2;
}

static OrtCustomOpInputOutputCharacteristic ORT_API_CALL needed(const OrtCustomOp *op, size_t index)
{
    (void)op;
    (void)index;
    return INPUT_OUTPUT_REQUIRED;
}

static OrtMemType ORT_API_CALL memory_type(const OrtCustomOp *op, size_t index)
{
    (void)op;
    (void)index;
    return OrtMemTypeDefault;
}

static int ORT_API_CALL version(const OrtCustomOp *op)
{
    (void)op;
    return 1;
}

static OrtStatus *ORT_API_CALL create_kernel(const OrtCustomOp *op, const OrtApi *api,
                                             const OrtKernelInfo *info, void **kernel)
{
    (void)api;
    (void)info;
    *kernel = (void *)op;
    return NULL;
}

static void ORT_API_CALL destroy_kernel(void *kernel)
{
    (void)kernel; /* the operator itself */
}

/* Y may take X's memory: the look-up works in place. */
static size_t ORT_API_CALL table_in_place(int **input, int **output)
{
    *input = calloc(1, sizeof **input);
    *output = calloc(1, sizeof **output);
    if (*input == NULL || *output == NULL) {
        free(*input);
        free(*output);
        *input = NULL;
        *output = NULL;
        return 0;
    }
    return 1;
}

static void ORT_API_CALL release_in_place(int *input, int *output)
{
    free(input);
    free(output);
}

static custom_op make_op(const OrtApi *api)
{
    return (custom_op){
        .ort =
            {
                .version = ORT_API_VERSION,
                .GetExecutionProviderType = provider,
                .GetInputType = bytes_type,
                .GetInputTypeCount = one,
                .GetOutputType = bytes_type,
                .GetOutputTypeCount = one,
                .GetInputCharacteristic = needed,
                .GetOutputCharacteristic = needed,
                .GetInputMemoryType = memory_type,
                .CreateKernelV2 = create_kernel,
                .KernelDestroy = destroy_kernel,
                .GetStartVersion = version,
                .GetEndVersion = version,
            },
        .api = api,
        .kernels = nx_byte_kernels_best(),
    };
}

nx_status nx_custom_ops_new(const OrtApi *api, nx_custom_ops **out, nx_error *err)
{
    *out = NULL;
    nx_custom_ops *ops = calloc(1, sizeof *ops);
    if (ops == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the inference engine");
    }
    ops->api = api;
    ops->table = make_op(api);
    ops->table.ort.GetName = table_name;
    ops->table.ort.GetInputTypeCount = two;
    ops->table.ort.KernelComputeV2 = run_table;
    ops->table.ort.InferOutputShapeFn = shape_of_table;
    ops->table.ort.GetMayInplace = table_in_place;
    ops->table.ort.ReleaseMayInplace = release_in_place;
    ops->upsample = make_op(api);
    ops->upsample.ort.GetName = upsample_name;
    ops->upsample.ort.KernelComputeV2 = run_upsample;
    ops->upsample.ort.InferOutputShapeFn = shape_of_upsample;
    OrtStatus *failure = api->CreateCustomOpDomain(NX_CUSTOM_OPS_DOMAIN, &ops->domain);
    if (failure == NULL) {
        failure = api->CustomOpDomain_Add(ops->domain, &ops->table.ort);
    }
    if (failure == NULL) {
        failure = api->CustomOpDomain_Add(ops->domain, &ops->upsample.ort);
    }
    if (failure != NULL) {
        nx_error_set(err, NX_ERR_UNAVAILABLE, "cannot give ONNX Runtime its operators: %.300s",
                     api->GetErrorMessage(failure));
        api->ReleaseStatus(failure);
        nx_custom_ops_free(ops);
        return NX_ERR_UNAVAILABLE;
    }
    *out = ops;
    return NX_OK;
}

void nx_custom_ops_free(nx_custom_ops *ops)
{
    if (ops != NULL) {
        if (ops->domain != NULL) {
            ops->api->ReleaseCustomOpDomain(ops->domain);
        }
        free(ops);
    }
}

OrtCustomOpDomain *nx_custom_ops_domain(nx_custom_ops *ops)
{
    return ops->domain;
}
