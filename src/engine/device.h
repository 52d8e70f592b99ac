/* What runs a graph: the CPU, or a GPU through CUDA or TensorRT. */
#ifndef NX_ENGINE_DEVICE_H
#define NX_ENGINE_DEVICE_H

#include "engine/tensor.h"

#include <stdbool.h>

typedef enum nx_device_kind {
    NX_DEVICE_CPU,
    NX_DEVICE_CUDA, /* or an error that says what is missing */
    NX_DEVICE_AUTO, /* a GPU where one works, the CPU where none does */
} nx_device_kind;

/* Zeros are the CPU. */
typedef struct nx_device {
    nx_device_kind kind;
    bool tensorrt;      /* build the graph with TensorRT; minutes the first time, cached then */
    bool tensorrt_only; /* all of it, or it is an error: no kernels of ONNX Runtime's own */
    bool fp16;          /* let TensorRT compute in half precision */
    /* Folder for TensorRT's engines and timings, made when it is needed; borrowed while sessions
     * are opened. NULL: they are built anew each time. */
    const char *cache_dir;
} nx_device;

/* Shapes that an input will have, for which TensorRT builds its one engine. Borrowed while the
 * session is opened. */
typedef struct nx_input_range {
    const char *name;
    uint32_t rank;
    int64_t min[NX_TENSOR_MAX_RANK];
    int64_t usual[NX_TENSOR_MAX_RANK];
    int64_t max[NX_TENSOR_MAX_RANK];
} nx_input_range;

#endif
