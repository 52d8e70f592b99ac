/*
 * Real models in the real ONNX Runtime. Both come from the product's data folder (as `make run` and
 * `make test` fill it) or, for the larger set of models, from the shared folder.
 */
#ifndef NX_TESTS_MODELS_H
#define NX_TESTS_MODELS_H

#include "protobuf.h"
#include "scratch.h"

#include "engine/model.h"

#include <limits.h>

/* NEXUS_DATA_DIR, or where the product keeps its data; in a static buffer. */
static inline const char *models_data_dir(void)
{
    static char path[PATH_MAX];
    const char *own = getenv("NEXUS_DATA_DIR");
    const char *xdg = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    if (own != NULL && own[0] != '\0') {
        snprintf(path, sizeof path, "%s", own);
    } else if (xdg != NULL && xdg[0] != '\0') {
        snprintf(path, sizeof path, "%s/nexus", xdg);
    } else {
        snprintf(path, sizeof path, "%s/.local/share/nexus", home != NULL ? home : "");
    }
    return path;
}

/* A file of the data folder, in a static buffer of the calling thread. */
static inline const char *models_data_path(const char *relative)
{
    static _Thread_local char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", models_data_dir(), relative);
    return path;
}

#define NX_NEED_FILE(path)                                                                         \
    do {                                                                                           \
        if (access((path), R_OK) != 0) {                                                           \
            fprintf(stderr, "SKIPPED %s: there is no %s (run scripts/fetch)\n", __func__, (path)); \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

/* Skips the running test, loudly, without ONNX Runtime; with NX_NEED_YOLOV8N also without it. */
#define NX_NEED_RUNTIME() NX_NEED_FILE(models_data_path("lib/libonnxruntime.so.1"))
#define NX_NEED_YOLOV8N()                                                                          \
    do {                                                                                           \
        NX_NEED_RUNTIME();                                                                         \
        NX_NEED_FILE(models_data_path("models/yolov8n.onnx"));                                     \
    } while (0)

static inline nx_runtime *models_runtime(void)
{
    nx_runtime *runtime = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_runtime_open(NULL, models_data_dir(), &runtime, &err), err);
    return runtime;
}

static inline nx_model *models_open(nx_runtime *runtime, const char *path)
{
    nx_model *model = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_model_open(runtime, path, &(nx_model_options){0}, &model, &err), err);
    return model;
}

/* --- models made by hand ------------------------------------------------------------------------
 *
 * Small ones that run in microseconds, and odd ones that no exporter would let out.
 */

enum { TINY_FLOAT = 1, TINY_UINT8 = 2, TINY_INT64 = 7, TINY_FLOAT16 = 10 }; /* onnx.proto3 */

typedef struct tiny_model {
    int64_t input[4];  /* -1: free */
    int input_type;    /* 0: float */
    int64_t output[4]; /* up to the first 0 */
    int output_type;   /* 0: float */
    /* Zeros when this is 0. Otherwise the output [1,a,b] is the top left piece of the input taken
     * as [1,rows,columns], which fails for an input of another size. */
    int64_t rows, columns;
    int outputs; /* 0: one; 2: the same twice */
    const char *names, *stride, *imgsz, *task;
} tiny_model;

static inline void tiny_value_info(nx_buffer *graph, uint32_t field, const char *name, int type,
                                   const int64_t *dims, size_t rank)
{
    nx_buffer shape = NX_BUFFER_INIT;
    for (size_t i = 0; i < rank; i++) {
        nx_buffer dim = NX_BUFFER_INIT;
        if (dims[i] < 0) {
            char symbol[2] = {(char)('a' + (int)i), '\0'};
            pb_text(&dim, 2, symbol);
        } else {
            pb_int(&dim, 1, (uint64_t)dims[i]);
        }
        pb_message(&shape, 1, &dim);
    }
    nx_buffer tensor = NX_BUFFER_INIT;
    pb_int(&tensor, 1, (uint64_t)(type != 0 ? type : TINY_FLOAT));
    if (rank > 0) {
        pb_message(&tensor, 2, &shape);
    }
    nx_buffer whole = NX_BUFFER_INIT;
    nx_buffer info = NX_BUFFER_INIT;
    pb_message(&whole, 1, &tensor);
    pb_text(&info, 1, name);
    pb_message(&info, 2, &whole);
    pb_message(graph, field, &info);
}

static inline void tiny_initializer(nx_buffer *graph, const char *name, const int64_t *values,
                                    size_t count)
{
    nx_buffer tensor = NX_BUFFER_INIT;
    pb_int(&tensor, 1, count);
    pb_int(&tensor, 2, TINY_INT64);
    pb_text(&tensor, 8, name);
    pb_bytes(&tensor, 9, values, count * sizeof *values);
    pb_message(graph, 5, &tensor);
}

/* inputs: names with a space between. */
static inline void tiny_node(nx_buffer *graph, const char *type, const char *inputs,
                             const char *output, nx_buffer *attribute)
{
    nx_buffer node = NX_BUFFER_INIT;
    for (const char *at = inputs; *at != '\0';) {
        size_t length = strcspn(at, " ");
        pb_bytes(&node, 1, at, length);
        at += length + (at[length] == ' ');
    }
    pb_text(&node, 2, output);
    pb_text(&node, 4, type);
    if (attribute != NULL) {
        pb_message(&node, 5, attribute);
    }
    pb_message(graph, 1, &node);
}

static inline void tiny_body(nx_buffer *graph, const tiny_model *m, size_t rank)
{
    tiny_initializer(graph, "shape", m->output, rank);
    if (m->rows > 0) {
        tiny_initializer(graph, "matrix", (const int64_t[]){1, m->rows, m->columns}, 3);
        tiny_initializer(graph, "zero", (const int64_t[]){0, 0, 0}, 3);
        tiny_node(graph, "Reshape", "images matrix", "reshaped", NULL);
        tiny_node(graph, "Slice", "reshaped zero shape", "output", NULL);
    } else if (m->output_type == 0) {
        tiny_node(graph, "ConstantOfShape", "shape", "output", NULL);
    } else {
        nx_buffer to = NX_BUFFER_INIT; /* the attribute of Cast */
        pb_text(&to, 1, "to");
        pb_int(&to, 3, (uint64_t)m->output_type);
        pb_int(&to, 20, 2);
        tiny_node(graph, "ConstantOfShape", "shape", "zeros", NULL);
        tiny_node(graph, "Cast", "zeros", "output", &to);
    }
    if (m->outputs == 2) {
        tiny_node(graph, "Identity", "output", "again", NULL);
    }
}

/* Writes the model into the scratch folder and returns its path, as scratch_path does. */
static inline const char *tiny_model_write(void **state, const char *name, const tiny_model *m)
{
    nx_buffer graph = NX_BUFFER_INIT;
    nx_buffer file = NX_BUFFER_INIT;
    size_t rank = 0;
    while (rank < 4 && m->output[rank] != 0) {
        rank++;
    }
    tiny_body(&graph, m, rank);
    pb_text(&graph, 2, "tiny");
    tiny_value_info(&graph, 11, "images", m->input_type, m->input, 4);
    tiny_value_info(&graph, 12, "output", m->output_type, NULL, 0);
    if (m->outputs == 2) {
        tiny_value_info(&graph, 12, "again", m->output_type, NULL, 0);
    }
    pb_int(&file, 1, 8);
    pb_message(&file, 7, &graph);
    pb_opset(&file, NULL, 17);
    const char *const metadata[][2] = {
        {"names", m->names}, {"stride", m->stride}, {"imgsz", m->imgsz}, {"task", m->task}};
    for (size_t i = 0; i < NX_COUNT(metadata); i++) {
        if (metadata[i][1] != NULL) {
            pb_metadata(&file, metadata[i][0], metadata[i][1]);
        }
    }
    const char *path = scratch_write(state, name, file.data, file.size);
    nx_buffer_free(&file);
    return path;
}

/* A YOLOv8 detector of three classes on 64x64 pixels: the first 7x84 floats of its input. */
#define TINY_YOLOV8                                                                                \
    {                                                                                              \
        .input = {1, 3, 64, 64}, .output = {1, 7, 84}, .rows = 12, .columns = 1024,                \
        .names = "{0: 'a', 1: 'b', 2: 'c'}"                                                        \
    }

#endif
