#include "optimize/head_cut.h"

#include "optimize/graph_index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MIN_LEVELS  2
#define MAX_STRIDE  128
#define MAX_REG_MAX 64
#define MAX_CLASSES 1024

/* The nodes of one stride: two convolutions, what joins them, and the reshape behind it. */
typedef struct branch {
    int32_t distances; /* Conv nodes */
    int32_t scores;
    double stride;
} branch;

typedef struct finder {
    nx_graph *graph;
    Onnx__GraphProto *body;
    nx_graph_index index;
    double *strides; /* by value: input pixels for one step, 0 where it is not known */
    int32_t join;    /* the Concat of all strides */
    branch branches[NX_SPLIT_MAX_LEVELS];
    size_t count;
} finder;

static nx_status refuse(const finder *f, const char *what, nx_error *err)
{
    return nx_error_set(err, NX_ERR_UNSUPPORTED,
                        "%s has not the head of a YOLOv8 or YOLO11 detector: %s",
                        nx_graph_name(f->graph), what);
}

static const Onnx__NodeProto *producer(const finder *f, nx_value value)
{
    int32_t node = value != NX_NO_VALUE ? f->index.producers[value] : NX_NO_NODE;
    return node != NX_NO_NODE ? f->body->node[node] : NULL;
}

static const Onnx__TensorProto *constant(const finder *f, nx_value value)
{
    int32_t at = value != NX_NO_VALUE ? f->index.initializers[value] : -1;
    return at >= 0 ? f->body->initializer[at] : NULL;
}

/* --- strides ------------------------------------------------------------------------------------
 */

/* How much a Resize enlarges; 0 when it is not by the same constant in height and width. */
static double resize_factor(const finder *f, size_t n)
{
    const Onnx__TensorProto *scales = constant(f, nx_graph_index_input(&f->index, n, 2));
    if (scales == NULL || nx_initializer_count(scales) != 4) {
        return 0;
    }
    const float *values = nx_initializer_floats(f->graph, scales);
    return values != NULL && values[2] > 0 && values[2] == values[3] ? (double)values[2] : 0;
}

static double node_stride(const finder *f, size_t n)
{
    const Onnx__NodeProto *node = f->body->node[n];
    double stride = 0;
    for (size_t i = 0; i < node->n_input; i++) {
        nx_value value = nx_graph_index_input(&f->index, n, i);
        if (value != NX_NO_VALUE && f->strides[value] > stride) {
            stride = f->strides[value];
        }
    }
    int64_t steps[2] = {1, 1};
    if (nx_node_is(node, "Conv") || nx_node_is(node, "MaxPool")) {
        (void)nx_node_ints(node, "strides", steps, 2);
        stride = steps[0] > 0 && steps[0] == steps[1] ? stride * (double)steps[0] : 0;
    } else if (nx_node_is(node, "Resize")) {
        double factor = resize_factor(f, n);
        stride = factor > 0 ? stride / factor : 0;
    }
    return stride;
}

static void compute_strides(finder *f)
{
    for (size_t v = 0; v < f->index.value_count; v++) {
        bool input = f->index.producers[v] == NX_NO_NODE && f->index.initializers[v] < 0;
        f->strides[v] = input ? 1 : 0;
    }
    for (size_t n = 0; n < f->index.node_count; n++) {
        double stride = node_stride(f, n);
        for (size_t i = f->index.output_at[n]; i < f->index.output_at[n + 1]; i++) {
            if (f->index.made[i] != NX_NO_VALUE) {
                f->strides[f->index.made[i]] = stride;
            }
        }
    }
}

/* --- the pattern --------------------------------------------------------------------------------
 */

/* The weights of a convolution with a constant 4-dimensional kernel; NULL for anything else. */
static const Onnx__TensorProto *conv_weights(const finder *f, int32_t n)
{
    if (n == NX_NO_NODE || !nx_node_is(f->body->node[n], "Conv")) {
        return NULL;
    }
    const Onnx__TensorProto *weights = constant(f, nx_graph_index_input(&f->index, (size_t)n, 1));
    return weights != NULL && weights->n_dims == 4 ? weights : NULL;
}

/* Whether value is Reshape(Concat(Conv, Conv) by channel). */
static bool match_branch(const finder *f, nx_value value, branch *out)
{
    const Onnx__NodeProto *reshape = producer(f, value);
    if (reshape == NULL || !nx_node_is(reshape, "Reshape")) {
        return false;
    }
    nx_value joined = nx_graph_index_input(&f->index, (size_t)f->index.producers[value], 0);
    const Onnx__NodeProto *concat = producer(f, joined);
    if (concat == NULL || !nx_node_is(concat, "Concat") || concat->n_input != 2 ||
        nx_node_int(concat, "axis", 0) != 1) {
        return false;
    }
    size_t n = (size_t)f->index.producers[joined];
    int32_t convs[2];
    for (size_t i = 0; i < 2; i++) {
        nx_value part = nx_graph_index_input(&f->index, n, i);
        convs[i] = part != NX_NO_VALUE ? f->index.producers[part] : NX_NO_NODE;
        if (conv_weights(f, convs[i]) == NULL) {
            return false;
        }
    }
    *out = (branch){.distances = convs[0], .scores = convs[1], .stride = f->strides[joined]};
    return true;
}

static int by_stride(const void *left, const void *right)
{
    double a = ((const branch *)left)->stride;
    double b = ((const branch *)right)->stride;
    return (a > b) - (a < b);
}

static nx_status find_branches(finder *f, nx_error *err)
{
    for (size_t n = 0; n < f->index.node_count; n++) {
        const Onnx__NodeProto *node = f->body->node[n];
        int64_t axis = nx_node_int(node, "axis", 0);
        if (!nx_node_is(node, "Concat") || (axis != 2 && axis != -1) ||
            node->n_input < MIN_LEVELS || node->n_input > NX_SPLIT_MAX_LEVELS) {
            continue;
        }
        size_t matched = 0;
        branch branches[NX_SPLIT_MAX_LEVELS];
        while (matched < node->n_input &&
               match_branch(f, nx_graph_index_input(&f->index, n, matched), &branches[matched])) {
            matched++;
        }
        if (matched == node->n_input) {
            if (f->count > 0) {
                return refuse(f, "there are two of them", err);
            }
            memcpy(f->branches, branches, sizeof branches);
            f->count = matched;
            f->join = (int32_t)n;
        }
    }
    if (f->count == 0) {
        return refuse(f,
                      "no place was found where, for each stride, a convolution of distances and "
                      "one of class scores are joined, reshaped and joined again",
                      err);
    }
    qsort(f->branches, f->count, sizeof f->branches[0], by_stride);
    return NX_OK;
}

static nx_status check_strides(finder *f, nx_split_head *out, nx_error *err)
{
    for (size_t i = 0; i < f->count; i++) {
        double stride = f->branches[i].stride;
        if (!(stride >= 1 && stride <= MAX_STRIDE) || stride != floor(stride) ||
            (i > 0 && stride <= f->branches[i - 1].stride)) {
            return refuse(f, "its strides could not be found out", err);
        }
        out->strides[i] = (uint32_t)stride;
    }
    out->level_count = f->count;
    return NX_OK;
}

static nx_status check_channels(finder *f, nx_split_head *out, nx_error *err)
{
    int64_t distances = conv_weights(f, f->branches[0].distances)->dims[0];
    int64_t scores = conv_weights(f, f->branches[0].scores)->dims[0];
    for (size_t i = 1; i < f->count; i++) {
        if (conv_weights(f, f->branches[i].distances)->dims[0] != distances ||
            conv_weights(f, f->branches[i].scores)->dims[0] != scores) {
            return refuse(f, "its strides have different numbers of channels", err);
        }
    }
    if (distances % 4 != 0 || distances < 8 || distances > (int64_t)4 * MAX_REG_MAX || scores < 1 ||
        scores > MAX_CLASSES) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "%s has %lld channels of distances and %lld of classes; 4 times 2 to "
                            "%d, and 1 to %d, are supported",
                            nx_graph_name(f->graph), (long long)distances, (long long)scores,
                            MAX_REG_MAX, MAX_CLASSES);
    }
    out->reg_max = (uint32_t)(distances / 4);
    out->classes = (uint32_t)scores;
    return NX_OK;
}

/* Behind the join the mean of each distribution is taken by a convolution with 0, 1, 2, ... */
static bool is_mean(const finder *f, int32_t n, uint32_t reg_max)
{
    const Onnx__TensorProto *weights = conv_weights(f, n);
    if (weights == NULL || nx_initializer_count(weights) != reg_max) {
        return false;
    }
    const float *values = nx_initializer_floats(f->graph, weights);
    for (uint32_t i = 0; values != NULL && i < reg_max; i++) {
        if (values[i] != (float)i) {
            return false;
        }
    }
    return values != NULL;
}

static nx_status check_decoder(const finder *f, uint32_t reg_max, nx_error *err)
{
    for (size_t n = (size_t)f->join + 1; n < f->index.node_count; n++) {
        if (is_mean(f, (int32_t)n, reg_max)) {
            return NX_OK;
        }
    }
    return refuse(f, "its distances are not decoded as the means of distributions", err);
}

static bool is_cut_point(const finder *f, int32_t n)
{
    for (size_t i = 0; i < f->count; i++) {
        if (n == f->branches[i].distances || n == f->branches[i].scores) {
            return true;
        }
    }
    return false;
}

/* The output must depend on nothing but the convolutions that we cut behind: a model with masks or
 * keypoints has more branches, which would be lost. */
static nx_status check_nothing_lost(const finder *f, nx_error *err)
{
    const nx_graph_index *index = &f->index;
    if (f->body->n_output != 1) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "%s has %zu outputs; only detectors with one can be optimised",
                            nx_graph_name(f->graph), f->body->n_output);
    }
    bool *needed = calloc(index->value_count + 1, sizeof *needed);
    bool lost = false;
    if (needed == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for the graph");
    }
    needed[nx_graph_index_find(index, f->body->output[0]->name)] = true;
    for (size_t n = index->node_count; n-- > 0;) {
        bool wanted = false;
        for (size_t i = index->output_at[n]; i < index->output_at[n + 1]; i++) {
            wanted = wanted || (index->made[i] != NX_NO_VALUE && needed[index->made[i]]);
        }
        /* a Shape reads no pixels */
        if (!wanted || is_cut_point(f, (int32_t)n) || nx_node_is(f->body->node[n], "Shape")) {
            continue;
        }
        for (size_t i = index->input_at[n]; i < index->input_at[n + 1]; i++) {
            if (index->inputs[i] != NX_NO_VALUE) {
                needed[index->inputs[i]] = true;
            }
        }
    }
    for (size_t v = 0; v < index->value_count; v++) {
        bool input = index->producers[v] == NX_NO_NODE && index->initializers[v] < 0;
        lost = lost || (needed[v] && input);
    }
    free(needed);
    return lost ? refuse(f, "its output has more parts than boxes and class scores", err) : NX_OK;
}

/* --- the cut ------------------------------------------------------------------------------------
 */

static const char *divided(nx_graph *graph, const char *size, uint32_t stride)
{
    char *end = NULL;
    long long pixels = strtoll(size, &end, 10);
    if (end != size && *end == '\0') {
        return nx_graph_text(graph, "%lld", pixels / stride);
    }
    return nx_graph_text(graph, "%s_%u", size, stride);
}

void nx_head_declare_outputs(nx_graph *graph, const nx_split_head *head, int32_t type,
                             bool channels_last, const char *batch, const char *height,
                             const char *width)
{
    nx_graph_clear_outputs(graph);
    for (size_t i = 0; i < head->level_count; i++) {
        uint32_t stride = head->strides[i];
        for (int scores = 0; scores < 2; scores++) {
            const char *channels =
                nx_graph_text(graph, "%u", scores != 0 ? head->classes : 4 * head->reg_max);
            const char *rows = divided(graph, height, stride);
            const char *columns = divided(graph, width, stride);
            const char *first[] = {batch, channels, rows, columns};
            const char *last[] = {batch, rows, columns, channels};
            nx_graph_add_output(
                graph, nx_graph_text(graph, "%s_%u", scores != 0 ? "scores" : "distances", stride),
                type, channels_last ? last : first, 4);
        }
    }
}

static const char *dim_text(nx_graph *graph, const Onnx__TensorShapeProto__Dimension *dim,
                            const char *symbol)
{
    if (dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) {
        return nx_graph_text(graph, "%lld", (long long)dim->dim_value);
    }
    return symbol;
}

/* [batch, 3, height, width] of floats, and nothing else. */
static nx_status check_input(nx_graph *graph, const Onnx__TensorShapeProto **shape, nx_error *err)
{
    const Onnx__GraphProto *body = nx_graph_model(graph)->graph;
    const Onnx__TypeProto *type = body->n_input == 1 ? body->input[0]->type : NULL;
    const Onnx__TypeProto__Tensor *tensor =
        type != NULL && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ? type->tensor_type
                                                                                : NULL;
    *shape = tensor != NULL ? tensor->shape : NULL;
    bool fits =
        *shape != NULL && (*shape)->n_dim == 4 &&
        tensor->elem_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT &&
        (*shape)->dim[1]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
        (*shape)->dim[1]->dim_value == 3;
    return fits ? NX_OK
                : nx_error_set(err, NX_ERR_UNSUPPORTED,
                               "%s does not take one picture as float32[batch,3,height,width]",
                               nx_graph_name(graph));
}

static nx_status cut(finder *f, const nx_split_head *head, nx_error *err)
{
    nx_graph *graph = f->graph;
    const Onnx__TensorShapeProto *shape = NULL;
    nx_status status = check_input(graph, &shape, err);
    for (size_t i = 0; i < f->count && status == NX_OK; i++) {
        const char *names[] = {nx_graph_text(graph, "distances_%u", head->strides[i]),
                               nx_graph_text(graph, "scores_%u", head->strides[i])};
        const int32_t nodes[] = {f->branches[i].distances, f->branches[i].scores};
        for (size_t k = 0; k < 2; k++) {
            if (nx_graph_index_find(&f->index, names[k]) != NX_NO_VALUE) {
                return nx_error_set(err, NX_ERR_UNSUPPORTED, "%s already has a value named %s",
                                    nx_graph_name(graph), names[k]);
            }
            nx_graph_rename(graph, f->body->node[nodes[k]]->output[0], names[k]);
        }
    }
    if (status == NX_OK) {
        nx_head_declare_outputs(graph, head, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, false,
                                dim_text(graph, shape->dim[0], "batch"),
                                dim_text(graph, shape->dim[2], "height"),
                                dim_text(graph, shape->dim[3], "width"));
        nx_graph_set_metadata(graph, "nexus_head", "split");
        nx_graph_set_metadata(graph, "nexus_layout", "nchw");
        nx_graph_set_metadata(graph, "nexus_reg_max", nx_graph_text(graph, "%u", head->reg_max));
        status = nx_graph_sweep(graph, err);
    }
    return status;
}

static nx_status find_and_cut(finder *f, nx_split_head *out, nx_error *err)
{
    nx_status status = find_branches(f, err);
    if (status == NX_OK) {
        status = check_strides(f, out, err);
    }
    if (status == NX_OK) {
        status = check_channels(f, out, err);
    }
    if (status == NX_OK) {
        status = check_decoder(f, out->reg_max, err);
    }
    if (status == NX_OK) {
        status = check_nothing_lost(f, err);
    }
    return status == NX_OK ? cut(f, out, err) : status;
}

/* --- a model that is cut already ----------------------------------------------------------------
 */

/* Channels (dimension 1) of an output. */
static int64_t output_channels(const Onnx__ValueInfoProto *output)
{
    const Onnx__TypeProto *type = output->type;
    const Onnx__TypeProto__Tensor *tensor =
        type != NULL && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ? type->tensor_type
                                                                                : NULL;
    if (tensor == NULL || tensor->shape == NULL || tensor->shape->n_dim != 4 ||
        tensor->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ||
        tensor->shape->dim[1]->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) {
        return -1;
    }
    return tensor->shape->dim[1]->dim_value;
}

static nx_status read_cut(nx_graph *graph, nx_split_head *out, nx_error *err)
{
    const Onnx__GraphProto *body = nx_graph_model(graph)->graph;
    const Onnx__TensorShapeProto *shape = NULL;
    const char *layout = nx_graph_metadata(graph, "nexus_layout");
    nx_status status = check_input(graph, &shape, err);
    if (status != NX_OK || layout == NULL || strcmp(layout, "nchw") != 0) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "%s is optimised already (%.100s); start from the original",
                            nx_graph_name(graph),
                            nx_graph_metadata(graph, "nexus_optimized") != NULL
                                ? nx_graph_metadata(graph, "nexus_optimized")
                                : "its metadata say so");
    }
    bool fits = body->n_output % 2 == 0 && body->n_output / 2 >= MIN_LEVELS &&
                body->n_output / 2 <= NX_SPLIT_MAX_LEVELS;
    for (size_t i = 0; fits && i < body->n_output; i++) {
        const char *prefix = i % 2 == 0 ? "distances_" : "scores_";
        int64_t channels = output_channels(body->output[i]);
        const char *name = body->output[i]->name;
        fits =
            strncmp(name, prefix, strlen(prefix)) == 0 && channels > 0 && channels <= MAX_CLASSES;
        long stride = fits ? strtol(name + strlen(prefix), NULL, 10) : 0;
        fits = fits && stride > 0 && stride <= MAX_STRIDE &&
               (i % 2 == 0 ? channels % 4 == 0 : stride == (long)out->strides[i / 2]);
        out->strides[i / 2] = (uint32_t)stride;
        *(i % 2 == 0 ? &out->reg_max : &out->classes) =
            (uint32_t)(i % 2 == 0 ? channels / 4 : channels);
    }
    out->level_count = body->n_output / 2;
    return fits ? NX_OK
                : nx_error_set(err, NX_ERR_CORRUPT,
                               "%s says that its head is split, but its outputs are not",
                               nx_graph_name(graph));
}

nx_status nx_head_cut(nx_graph *graph, nx_split_head *out, nx_error *err)
{
    *out = (nx_split_head){0};
    const char *task = nx_graph_metadata(graph, "task");
    if (task != NULL && strcmp(task, "detect") != 0) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "%s is a model for the task '%.40s'; only detectors can be optimised",
                            nx_graph_name(graph), task);
    }
    if (nx_graph_metadata(graph, "nexus_head") != NULL) {
        return read_cut(graph, out, err);
    }
    finder f = {.graph = graph, .body = nx_graph_model(graph)->graph};
    nx_status status = nx_graph_index_build(graph, &f.index, err);
    if (status != NX_OK) {
        return status;
    }
    f.strides = calloc(f.index.value_count + 1, sizeof *f.strides);
    if (f.strides == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for the graph");
    } else {
        compute_strides(&f);
        status = find_and_cut(&f, out, err);
    }
    free(f.strides);
    nx_graph_index_free(&f.index);
    return status;
}
