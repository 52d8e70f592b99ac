#include "engine/provider.h"

#include "base/buffer.h"
#include "base/file.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPTIONS 16

const char *nx_provider_name(nx_provider provider)
{
    static const char *const names[] = {
        [NX_PROVIDER_CPU] = "CPUExecutionProvider",
        [NX_PROVIDER_CUDA] = "CUDAExecutionProvider",
        [NX_PROVIDER_TENSORRT] = "TensorrtExecutionProvider",
    };
    return names[provider];
}

const char *nx_provider_label(nx_provider provider)
{
    static const char *const labels[] = {
        [NX_PROVIDER_CPU] = "cpu",
        [NX_PROVIDER_CUDA] = "cuda",
        [NX_PROVIDER_TENSORRT] = "tensorrt",
    };
    return labels[provider];
}

size_t nx_provider_candidates(const nx_device *device, nx_provider out[NX_MAX_PROVIDERS],
                              nx_error *err)
{
    static const nx_device cpu = {0};
    size_t count = 0;
    device = device != NULL ? device : &cpu;
    bool wants_tensorrt = device->tensorrt || device->tensorrt_only || device->fp16;
    if (wants_tensorrt && device->kind == NX_DEVICE_CPU) {
        nx_error_set(err, NX_ERR_INVALID,
                     "USE_TENSORRT and USE_FP16 are for a GPU, and INFERENCE_DEVICE is cpu; set it "
                     "to cuda or auto");
        return 0;
    }
    if (device->tensorrt_only && !device->tensorrt) {
        nx_error_set(err, NX_ERR_INVALID,
                     "USE_ONNX=false leaves nothing that runs a model but TensorRT; set "
                     "USE_TENSORRT=true with it");
        return 0;
    }
    if (device->tensorrt) {
        out[count++] = NX_PROVIDER_TENSORRT;
    }
    if (device->kind != NX_DEVICE_CPU && (!device->tensorrt || device->kind == NX_DEVICE_AUTO) &&
        !device->tensorrt_only) {
        out[count++] = NX_PROVIDER_CUDA;
    }
    if (device->kind != NX_DEVICE_CUDA && !device->tensorrt_only) {
        out[count++] = NX_PROVIDER_CPU;
    }
    return count;
}

bool nx_provider_leaves_fp16(const nx_device *device, nx_provider provider, nx_type input)
{
    return device->fp16 && provider == NX_PROVIDER_CUDA && input != NX_TYPE_FLOAT16;
}

/* --- what is there ------------------------------------------------------------------------------
 */

static void append_available(const nx_runtime *runtime, nx_buffer *out)
{
    char **names = NULL;
    int count = 0;
    OrtStatus *failure = runtime->api->GetAvailableProviders(&names, &count);
    for (int i = 0; failure == NULL && i < count; i++) {
        nx_buffer_printf(out, "%s%.40s", i > 0 ? ", " : "", names[i]);
    }
    if (failure == NULL) {
        failure = runtime->api->ReleaseAvailableProviders(names, count);
    }
    if (failure != NULL) {
        runtime->api->ReleaseStatus(failure);
    }
}

/* What ONNX Runtime says, without the place in its own source and without saying it twice. */
static const char *reason_of(const char *message)
{
    static const char *const starts[] = {"with error: ", "Failed to load", "CUDA failure"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        const char *found = strstr(message, starts[i]);
        if (found != NULL) {
            return i == 0 ? found + strlen(starts[0]) : found;
        }
    }
    return message;
}

static nx_status explain(const nx_runtime *runtime, nx_provider provider, OrtStatus *failure,
                         nx_error *err)
{
    if (failure == NULL) {
        return NX_OK;
    }
    nx_buffer there = NX_BUFFER_INIT;
    append_available(runtime, &there);
    const char *reason = reason_of(runtime->api->GetErrorMessage(failure));
    size_t length = strcspn(reason, "\n");
    nx_error_set(
        err, NX_ERR_UNAVAILABLE,
        "%s cannot be used: %.*s. ONNX Runtime %s was built with %.110s; beside it must lie "
        "its GPU libraries (NEXUS_ORT_LIBRARY names it), and CUDA, cuDNN%s be installed; or "
        "set INFERENCE_DEVICE=auto or cpu",
        nx_provider_name(provider), (int)(length < 150 ? length : 150), reason, runtime->version,
        nx_buffer_cstr(&there), provider == NX_PROVIDER_TENSORRT ? ", TensorRT" : "");
    nx_buffer_free(&there);
    runtime->api->ReleaseStatus(failure);
    return NX_ERR_UNAVAILABLE;
}

/* --- options ------------------------------------------------------------------------------------
 */

/* Keys are constants, values are owned. */
typedef struct option_list {
    const char *keys[MAX_OPTIONS];
    char *values[MAX_OPTIONS];
    size_t count;
    bool no_memory;
} option_list;

static void add_option(option_list *list, const char *key, const char *value)
{
    char *copy = strdup(value);
    if (copy == NULL || list->count == MAX_OPTIONS) {
        free(copy);
        list->no_memory = true;
        return;
    }
    list->keys[list->count] = key;
    list->values[list->count++] = copy;
}

static void free_options(option_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->values[i]);
    }
}

/* "images:1x3x384x640", and so on for further inputs. */
static void add_shapes(option_list *list, const char *key, const nx_provider_request *request,
                       size_t dims_offset)
{
    nx_buffer text = NX_BUFFER_INIT;
    for (size_t i = 0; i < request->range_count; i++) {
        const nx_input_range *range = &request->ranges[i];
        const int64_t *dims = (const int64_t *)(const void *)((const char *)range + dims_offset);
        nx_buffer_printf(&text, "%s%s:", i > 0 ? "," : "", range->name);
        for (uint32_t d = 0; d < range->rank; d++) {
            nx_buffer_printf(&text, "%s%lld", d > 0 ? "x" : "", (long long)dims[d]);
        }
    }
    add_option(list, key, nx_buffer_cstr(&text));
    nx_buffer_free(&text);
}

/* A folder of this model's own, for an engine fits the bytes that it was built from. */
static nx_status cache_folder(const nx_provider_request *request, char **out, nx_error *err)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char text[sizeof hash * 2 + 1];
    crypto_hash_sha256(hash, request->bytes, request->size);
    sodium_bin2hex(text, sizeof text, hash, sizeof hash);
    if (asprintf(out, "%s/tensorrt/%.32s", request->device->cache_dir, text) < 0) {
        *out = NULL;
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
    }
    return nx_file_make_dirs(*out, err);
}

static nx_status tensorrt_options(const nx_provider_request *request, option_list *list,
                                  nx_error *err)
{
    const nx_device *device = request->device;
    add_option(list, "device_id", "0");
    add_option(list, "trt_fp16_enable", device->fp16 ? "1" : "0");
    if (request->range_count > 0) {
        add_shapes(list, "trt_profile_min_shapes", request, offsetof(nx_input_range, min));
        add_shapes(list, "trt_profile_opt_shapes", request, offsetof(nx_input_range, usual));
        add_shapes(list, "trt_profile_max_shapes", request, offsetof(nx_input_range, max));
    }
    if (device->cache_dir != NULL && request->bytes != NULL) {
        char *folder = NULL;
        nx_status status = cache_folder(request, &folder, err);
        if (status == NX_OK) {
            add_option(list, "trt_engine_cache_enable", "1");
            add_option(list, "trt_engine_cache_path", folder);
            add_option(list, "trt_timing_cache_enable", "1");
            add_option(list, "trt_timing_cache_path", folder);
        }
        free(folder);
        if (status != NX_OK) {
            return status;
        }
    }
    return list->no_memory ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model") : NX_OK;
}

static nx_status append_tensorrt(const nx_runtime *runtime, const nx_provider_request *request,
                                 OrtSessionOptions *options, nx_error *err)
{
    const OrtApi *api = runtime->api;
    OrtTensorRTProviderOptionsV2 *settings = NULL;
    option_list list = {0};
    nx_status status = tensorrt_options(request, &list, err);
    if (status == NX_OK) {
        OrtStatus *failure = api->CreateTensorRTProviderOptions(&settings);
        if (failure == NULL) {
            failure = api->UpdateTensorRTProviderOptions(
                settings, list.keys, (const char *const *)list.values, list.count);
        }
        if (failure == NULL) {
            failure = api->SessionOptionsAppendExecutionProvider_TensorRT_V2(options, settings);
        }
        status = explain(runtime, NX_PROVIDER_TENSORRT, failure, err);
    }
    if (settings != NULL) {
        api->ReleaseTensorRTProviderOptions(settings);
    }
    free_options(&list);
    return status;
}

static nx_status append_cuda(const nx_runtime *runtime, OrtSessionOptions *options, nx_error *err)
{
    /* Memory as it is asked for, not doubled; convolutions as fast as cuDNN's heuristics find
     * without trying all of them for each new shape. */
    static const char *const keys[] = {"device_id", "arena_extend_strategy",
                                       "cudnn_conv_algo_search", "cudnn_conv_use_max_workspace"};
    static const char *const values[] = {"0", "kSameAsRequested", "HEURISTIC", "1"};
    const OrtApi *api = runtime->api;
    OrtCUDAProviderOptionsV2 *settings = NULL;
    OrtStatus *failure = api->CreateCUDAProviderOptions(&settings);
    if (failure == NULL) {
        failure =
            api->UpdateCUDAProviderOptions(settings, keys, values, sizeof keys / sizeof keys[0]);
    }
    if (failure == NULL) {
        failure = api->SessionOptionsAppendExecutionProvider_CUDA_V2(options, settings);
    }
    if (settings != NULL) {
        api->ReleaseCUDAProviderOptions(settings);
    }
    return explain(runtime, NX_PROVIDER_CUDA, failure, err);
}

nx_status nx_provider_append(const nx_runtime *runtime, nx_provider provider,
                             const nx_provider_request *request, OrtSessionOptions *options,
                             nx_error *err)
{
    if (provider == NX_PROVIDER_CPU) {
        return NX_OK; /* always there */
    }
    if (provider == NX_PROVIDER_CUDA) {
        return append_cuda(runtime, options, err);
    }
    nx_status status = append_tensorrt(runtime, request, options, err);
    if (status != NX_OK) {
        return status;
    }
    if (request->device->tensorrt_only) {
        return nx_runtime_check(
            runtime,
            runtime->api->AddSessionConfigEntry(options, "session.disable_cpu_ep_fallback", "1"),
            NX_ERR_INTERNAL, "cannot keep the model on TensorRT", err);
    }
    /* what TensorRT does not take stays on the GPU where CUDA takes it; the CPU has the rest */
    return append_cuda(runtime, options, err);
}
