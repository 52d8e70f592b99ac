/*
 * A detector: an ONNX file, its session, and what its metadata and shapes say about it. Nothing
 * about a model is typed by hand: names, stride, task and sizes come from the file.
 */
#ifndef NX_ENGINE_MODEL_H
#define NX_ENGINE_MODEL_H

#include "base/error.h"
#include "engine/backend.h"
#include "engine/device.h"
#include "engine/runtime.h"
#include "vision/detection.h"
#include "vision/letterbox.h"
#include "vision/postprocess.h"

#include <stdbool.h>
#include <stdint.h>

#define NX_MODEL_IDENTITY 32 /* bytes */

typedef struct nx_model nx_model;
typedef struct nx_session nx_session;

typedef enum nx_model_task {
    NX_TASK_DETECT,
    NX_TASK_SEGMENT, /* boxes with masks */
    NX_TASK_POSE,    /* boxes with keypoints */
} nx_model_task;

/* Immutable after opening; every pointer lives as long as the model. */
typedef struct nx_model_spec {
    const char *name; /* nx_model_options.name, or the file's without folder and ".onnx" */
    const char *path;
    nx_model_task task;
    nx_head_kind head;
    nx_pixel_layout pixels;
    bool centered;        /* letterbox placement */
    bool dynamic_size;    /* height and width are free, and the graph bears it */
    bool dynamic_batch;   /* the number of pictures is free, and the graph bears it */
    bool quantized;       /* has integer kernels: fast where the CPU has VNNI */
    uint32_t input_width; /* fixed size, or the longer side of a dynamic one */
    uint32_t input_height;
    uint32_t stride;
    uint32_t best_batch;      /* pictures in one Run that give the most pictures a second */
    uint32_t alone_threads;   /* of a Run that is alone; 1: no more than any other */
    uint32_t mask_channels;   /* of NX_TASK_SEGMENT, else 0 */
    uint32_t keypoints;       /* of NX_TASK_POSE, else 0 */
    uint32_t keypoint_values; /* 2: x and y; 3: and a confidence */
    nx_class_names names;
    bool names_from_file; /* false: the file has no names, "class_0" and so on stand in */
    uint64_t file_size;
    const char *description; /* metadata "description", or "" */
    const char *license;     /* metadata "license", or "" */
    const char *optimized;   /* what `nexus models optimize` did, or "" */
    const char *provider;    /* what runs it, in ONNX Runtime's words: "CPUExecutionProvider" */
    const char *device;      /* the same for people: "cpu", "cuda" or "tensorrt" */
    /* Of the file's bytes and of what else the detections depend on (input size, device,
     * precision): models with the same one find the same, in any process. A file whose bytes don't
     * tell all (weights in other files, changed while it was opened) gets one by chance. */
    uint8_t identity[NX_MODEL_IDENTITY];
} nx_model_spec;

typedef struct nx_model_options {
    uint32_t intra_op_threads; /* of any Run; 0 and 1: it stays on its caller's thread */
    /* Of a Run that is alone (nx_batch): more than 1 keeps a second session, unless measuring shows
     * that it is no faster. */
    uint32_t alone_threads;
    uint32_t input_size; /* longer side for a dynamic model; 0: its imgsz, or 640 */
    uint32_t max_batch;  /* most pictures in one Run; 0: as many as measuring shows to pay */
    nx_device device;    /* zeros: the CPU */
    const char *name;    /* copied; NULL: the file's name without folder and ".onnx" */
} nx_model_options;

/*
 * Opens, checks and warms a model; runtime is borrowed and must outlive it. The model is
 * thread-safe: any number of nx_model_run calls at once.
 * Errors: NX_ERR_NOT_FOUND, NX_ERR_CORRUPT (empty, not ONNX, cut short), NX_ERR_UNSUPPORTED (not a
 * detector that Nexus knows: what was found and what is supported), NX_ERR_INVALID (declared shape
 * contradicts the graph), NX_ERR_UNAVAILABLE (the device is not there).
 */
nx_status nx_model_open(nx_runtime *runtime, const char *path, const nx_model_options *options,
                        nx_model **out, nx_error *err);
void nx_model_free(nx_model *model);

/* Its file lies elsewhere now. Before others use the model. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_model_moved(nx_model *model, const char *path, nx_error *err);

const nx_model_spec *nx_model_get_spec(const nx_model *model);

/* The model's graph, for whoever has tensors of his own to run. Lives as long as the model. */
nx_session *nx_model_session(const nx_model *model);

/* The outputs that the model's head reads, which nx_model_backend gives. */
const char *const *nx_model_outputs(const nx_model *model, size_t *count);

/* Input size for a source picture: the fixed one, or the stride-rounded one of a dynamic model. */
void nx_model_input_size(const nx_model *model, uint32_t source_width, uint32_t source_height,
                         uint32_t *out_width, uint32_t *out_height);

/* Reads the output in place; the view ends when this returns. */
typedef nx_status (*nx_model_read)(const nx_head_output *output, void *user, nx_error *err);

/*
 * Runs one picture, as any other Run of a batch of one: slot is what nx_backend.slot_bytes says,
 * borrowed for the call. Errors: NX_ERR_INTERNAL with ONNX Runtime's words; what `read` returns.
 */
nx_status nx_model_run(nx_model *model, void *slot, uint32_t width, uint32_t height,
                       nx_model_read read, void *user, nx_error *err);

/* The model as the engine runs it: pictures in the layout spec->pixels. Lives as long as the model.
 */
const nx_backend *nx_model_backend(const nx_model *model);

/* Bytes of one picture's input. */
size_t nx_model_slot_bytes(const nx_model *model, uint32_t width, uint32_t height);

/* Writes an empty picture, the gray around letterboxed ones, into each of `count` slots. */
void nx_model_fill_gray(const nx_model *model, void *slots, uint32_t count, uint32_t width,
                        uint32_t height);

/*
 * One picture's output among those that the backend gave for an input of this size; borrows their
 * memory. Errors: NX_ERR_INTERNAL (outputs of another kind than the model's).
 */
nx_status nx_model_head(const nx_model *model, const nx_tensor *outputs, size_t count,
                        uint32_t slot, uint32_t width, uint32_t height, nx_head_output *out,
                        nx_error *err);

#endif
