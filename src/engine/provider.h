/*
 * ONNX Runtime's execution providers: which ones a device means, and how each is set up. For
 * session.c.
 *
 * The keys of the providers' options are those of ONNX Runtime's documentation
 * (onnxruntime.ai/docs/execution-providers: CUDA, TensorRT).
 */
#ifndef NX_ENGINE_PROVIDER_H
#define NX_ENGINE_PROVIDER_H

#include "engine/device.h"
#include "engine/ort.h"

typedef enum nx_provider { NX_PROVIDER_CPU, NX_PROVIDER_CUDA, NX_PROVIDER_TENSORRT } nx_provider;

#define NX_MAX_PROVIDERS 3

/* "CPUExecutionProvider" and so on. */
const char *nx_provider_name(nx_provider provider);

/* "cpu", "cuda", "tensorrt". */
const char *nx_provider_label(nx_provider provider);

/*
 * The providers to try for a device, best first; device may be NULL for the CPU. Returns how many;
 * 0 and an error for settings that contradict each other (NX_ERR_INVALID).
 */
size_t nx_provider_candidates(const nx_device *device, nx_provider out[NX_MAX_PROVIDERS],
                              nx_error *err);

/* Whether the device asks for half precision that nothing gives: only TensorRT converts a model,
 * CUDA's own kernels take it as it is. input: the type of the model's input. */
bool nx_provider_leaves_fp16(const nx_device *device, nx_provider provider, nx_type input);

/* What a provider needs to know of the session. */
typedef struct nx_provider_request {
    const nx_device *device;
    const nx_input_range *ranges; /* of a graph with free dimensions */
    size_t range_count;
    const void *bytes; /* of the model: what is cached is of these very bytes */
    size_t size;
} nx_provider_request;

/* Adds a provider to the options. Errors: NX_ERR_UNAVAILABLE with the reason and what to do. */
nx_status nx_provider_append(const nx_runtime *runtime, nx_provider provider,
                             const nx_provider_request *request, OrtSessionOptions *options,
                             nx_error *err);

#endif
