#include "engine/session.h"

#include "base/file.h"
#include "base/log.h"
#include "engine/session_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPARE_BYTES ((size_t)16 << 20)

struct nx_weights {
    nx_runtime *runtime; /* borrowed */
    OrtPrepackedWeightsContainer *container;
};

/* --- types -------------------------------------------------------------------------------------
 */

static const struct {
    nx_type ours;
    ONNXTensorElementDataType theirs;
} type_pairs[] = {
    {NX_TYPE_FLOAT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
    {NX_TYPE_FLOAT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16},
    {NX_TYPE_FLOAT64, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE},
    {NX_TYPE_UINT8, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8},
    {NX_TYPE_INT8, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},
    {NX_TYPE_UINT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16},
    {NX_TYPE_INT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16},
    {NX_TYPE_INT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32},
    {NX_TYPE_INT64, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
    {NX_TYPE_BOOL, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL},
};

static nx_type type_from_ort(ONNXTensorElementDataType theirs)
{
    for (size_t i = 0; i < sizeof type_pairs / sizeof type_pairs[0]; i++) {
        if (type_pairs[i].theirs == theirs) {
            return type_pairs[i].ours;
        }
    }
    return NX_TYPE_OTHER;
}

ONNXTensorElementDataType nx_type_to_ort(nx_type ours)
{
    for (size_t i = 0; i < sizeof type_pairs / sizeof type_pairs[0]; i++) {
        if (type_pairs[i].ours == ours) {
            return type_pairs[i].theirs;
        }
    }
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

OrtStatus *nx_tensor_read_shape(const OrtApi *api, const OrtTensorTypeAndShapeInfo *info,
                                nx_tensor *out)
{
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    size_t rank = 0;
    OrtStatus *failure = api->GetTensorElementType(info, &type);
    if (failure == NULL) {
        failure = api->GetDimensionsCount(info, &rank);
    }
    if (failure != NULL || rank > NX_TENSOR_MAX_RANK) {
        return failure; /* stays NX_TYPE_OTHER */
    }
    out->type = type_from_ort(type);
    out->rank = (uint32_t)rank;
    return api->GetDimensions(info, out->dims, rank);
}

/* --- what goes in and out ----------------------------------------------------------------------
 */

static OrtStatus *read_port(const OrtApi *api, const OrtSession *session, bool input, size_t index,
                            nx_tensor *out)
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
        out->name = strdup(given);
        failure = api->AllocatorFree(allocator, given);
    }
    if (failure == NULL) {
        failure = input ? api->SessionGetInputTypeInfo(session, index, &type)
                        : api->SessionGetOutputTypeInfo(session, index, &type);
    }
    if (failure == NULL) {
        failure = api->CastTypeInfoToTensorInfo(type, &tensor);
    }
    if (failure == NULL && tensor != NULL) { /* NULL: a sequence or a map */
        failure = nx_tensor_read_shape(api, tensor, out);
    }
    if (type != NULL) {
        api->ReleaseTypeInfo(type);
    }
    return failure;
}

static nx_status read_ports(nx_session *self, bool input, nx_ports *out, nx_error *err)
{
    const OrtApi *api = self->runtime->api;
    size_t count = 0;
    OrtStatus *failure = input ? api->SessionGetInputCount(self->session, &count)
                               : api->SessionGetOutputCount(self->session, &count);
    if (failure == NULL) {
        out->items = calloc(count > 0 ? count : 1, sizeof *out->items);
        if (out->items == NULL) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
        }
        out->count = count;
    }
    for (size_t i = 0; i < out->count && failure == NULL; i++) {
        failure = read_port(api, self->session, input, i, &out->items[i]);
        if (failure == NULL && out->items[i].name == NULL) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
        }
    }
    return nx_runtime_check(self->runtime, failure, NX_ERR_CORRUPT, self->name, err);
}

static void free_ports(nx_ports *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free((char *)list->items[i].name);
    }
    free(list->items);
}

static const nx_tensor *find_port(const nx_ports *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0) {
            return &list->items[i];
        }
    }
    return NULL;
}

/* --- opening -----------------------------------------------------------------------------------
 */

static OrtStatus *set_options(const nx_runtime *runtime, const nx_session_options *options,
                              OrtSessionOptions *out)
{
    const OrtApi *api = runtime->api;
    static const GraphOptimizationLevel levels[] = {
        [NX_GRAPH_ALL] = ORT_ENABLE_ALL,
        [NX_GRAPH_EXTENDED] = ORT_ENABLE_EXTENDED,
        [NX_GRAPH_BASIC] = ORT_ENABLE_BASIC,
        [NX_GRAPH_AS_IS] = ORT_DISABLE_ALL,
    };
    uint32_t threads = options->intra_op_threads > 0 ? options->intra_op_threads : 1;
    OrtStatus *failure = api->SetIntraOpNumThreads(out, (int)threads);
    if (failure == NULL) {
        failure = api->SetInterOpNumThreads(out, 1);
    }
    if (failure == NULL) {
        failure = api->SetSessionGraphOptimizationLevel(out, levels[options->optimization]);
    }
    if (failure == NULL) {
        failure = api->AddSessionConfigEntry(out, "session.use_env_allocators", "1");
    }
    if (failure == NULL) { /* spinning threads take the cores from the other Runs */
        failure = api->AddSessionConfigEntry(out, "session.intra_op.allow_spinning", "0");
    }
    if (failure == NULL) {
        failure = api->AddCustomOpDomain(out, nx_custom_ops_domain(runtime->custom_ops));
    }
    /* Without VNNI the fast product of unsigned and signed bytes overflows 16 bits: take the exact
     * one. Not into a file, which may go to another machine. */
    if (failure == NULL && options->optimized_model_path == NULL) {
        failure = api->AddSessionConfigEntry(out, "session.x64quantprecision", "1");
    }
    if (failure == NULL && options->optimized_model_path != NULL) {
        failure = api->SetOptimizedModelFilePath(out, options->optimized_model_path);
    }
    if (failure == NULL && options->profile_prefix != NULL) {
        failure = api->EnableProfiling(out, options->profile_prefix);
    }
    return failure;
}

/* Where a graph comes from: a file, or bytes when there are some. */
typedef struct source {
    const char *path;
    const void *bytes;
    size_t size;
} source;

static OrtStatus *create_session(nx_session *self, const source *from,
                                 const nx_session_options *options, OrtSessionOptions *settings)
{
    const OrtApi *api = self->runtime->api;
    const OrtEnv *env = self->runtime->env;
    OrtPrepackedWeightsContainer *packed =
        options->weights != NULL ? options->weights->container : NULL;
    if (from->bytes != NULL) {
        return packed == NULL ? api->CreateSessionFromArray(env, from->bytes, from->size, settings,
                                                            &self->session)
                              : api->CreateSessionFromArrayWithPrepackedWeightsContainer(
                                    env, from->bytes, from->size, settings, packed, &self->session);
    }
    return packed == NULL ? api->CreateSession(env, from->path, settings, &self->session)
                          : api->CreateSessionWithPrepackedWeightsContainer(
                                env, from->path, settings, packed, &self->session);
}

/* TensorRT's cache is of the file's bytes. */
static nx_status append_provider(const nx_session *self, const source *from,
                                 const nx_session_options *options, OrtSessionOptions *settings,
                                 nx_error *err)
{
    nx_provider_request request = {
        .device = options->device,
        .ranges = options->ranges,
        .range_count = options->range_count,
        .bytes = from->bytes,
        .size = from->size,
    };
    nx_file_map map = {0};
    nx_status status = NX_OK;
    if (self->provider == NX_PROVIDER_TENSORRT && from->bytes == NULL) {
        status = nx_file_map_open(from->path, &map, err);
        request.bytes = map.data;
        request.size = map.size;
    }
    if (status == NX_OK) {
        status = nx_provider_append(self->runtime, self->provider, &request, settings, err);
    }
    nx_file_unmap(&map);
    return status;
}

/* The errno in ONNX Runtime's words when it had no more open files or memory; else 0. */
static int lacking_in(const char *words)
{
    static const int lacking[] = {EMFILE, ENFILE, ENOMEM};
    const char *number = strstr(words, "system error number ");
    long told = number != NULL ? strtol(number + strlen("system error number "), NULL, 10) : 0;
    for (size_t i = 0; i < sizeof lacking / sizeof lacking[0]; i++) {
        char text[128];
        if (told == lacking[i] ||
            strstr(words, strerror_r(lacking[i], text, sizeof text)) != NULL) {
            return lacking[i];
        }
    }
    return 0;
}

/* Is there as much memory as a graph of this size may take while it is built? */
static bool has_memory(size_t file_size)
{
    size_t size = 4 * file_size + SPARE_BYTES;
    void *probe = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return probe != MAP_FAILED && munmap(probe, size) == 0;
}

/*
 * ONNX Runtime has one failure for a file that is broken and for a machine that lacks something.
 * The file is to blame when it could be read and memory was to be had.
 */
static nx_status blame(const source *from, const nx_error *words, nx_error *err)
{
    struct stat info = {.st_size = (off_t)from->size};
    int lacking = lacking_in(words->message);
    if (lacking == 0 && from->path != NULL && stat(from->path, &info) != 0) {
        lacking = errno;
    }
    if (lacking == ENOMEM || (lacking == 0 && !has_memory((size_t)info.st_size))) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "%s", words->message);
    }
    if (lacking != 0) {
        return nx_error_set_errno(err, NX_ERR_IO, lacking, "%.400s", words->message);
    }
    return nx_error_set(err, NX_ERR_CORRUPT, "%s", words->message);
}

static nx_status build_on(nx_session *self, nx_provider provider, const source *from,
                          const nx_session_options *options, nx_error *err)
{
    const OrtApi *api = self->runtime->api;
    OrtSessionOptions *settings = NULL;
    char prefix[300];
    snprintf(prefix, sizeof prefix, "ONNX Runtime cannot build %.250s", self->name);
    self->provider = provider;
    OrtStatus *failure = api->CreateSessionOptions(&settings);
    if (failure == NULL) {
        failure = set_options(self->runtime, options, settings);
    }
    nx_status status = nx_runtime_check(self->runtime, failure, NX_ERR_INTERNAL, prefix, err);
    if (status == NX_OK) {
        status = append_provider(self, from, options, settings, err);
    }
    if (status == NX_OK) {
        nx_error words = {0};
        status = nx_runtime_check(self->runtime, create_session(self, from, options, settings),
                                  NX_ERR_CORRUPT, prefix, &words);
        status = status != NX_OK ? blame(from, &words, err) : NX_OK;
    }
    if (status == NX_OK && provider != NX_PROVIDER_CPU) {
        status = nx_pinned_new(self->runtime, self->session, &self->pinned, err);
    }
    if (settings != NULL) {
        api->ReleaseSessionOptions(settings);
    }
    return status;
}

static void drop_session(nx_session *self)
{
    nx_pinned_release(self->pinned);
    self->pinned = NULL;
    if (self->session != NULL) {
        self->runtime->api->ReleaseSession(self->session);
        self->session = NULL;
    }
}

/* The driver's devices: of a PC, of WSL 2, of a Jetson. Without one there is nothing to try. */
static bool has_gpu(void)
{
    return access("/dev/nvidiactl", F_OK) == 0 || access("/dev/dxg", F_OK) == 0 ||
           access("/dev/nvhost-gpu", F_OK) == 0;
}

/* The first provider to try: with a choice and no GPU, the last resort. */
static size_t first_candidate(size_t count)
{
    return count > 1 && !has_gpu() ? count - 1 : 0;
}

const char *nx_session_likely_device(const nx_device *device)
{
    nx_provider candidates[NX_MAX_PROVIDERS];
    size_t count = nx_provider_candidates(device, candidates, NULL);
    return nx_provider_label(count > 0 ? candidates[first_candidate(count)] : NX_PROVIDER_CPU);
}

/* On the best provider that works, when the device leaves a choice. */
static nx_status build(nx_session *self, const source *from, const nx_session_options *options,
                       nx_error *err)
{
    nx_provider candidates[NX_MAX_PROVIDERS];
    size_t count = nx_provider_candidates(options->device, candidates, err);
    nx_status status = count > 0 ? NX_OK : NX_ERR_INVALID;
    size_t first = first_candidate(count);
    if (first > 0) {
        nx_log_debug("engine", "%s runs on %s: there is no NVIDIA GPU here", self->name,
                     nx_provider_name(candidates[first]));
    }
    for (size_t i = first; i < count; i++) {
        status = build_on(self, candidates[i], from, options, err);
        if (status == NX_OK || i + 1 == count) {
            break;
        }
        drop_session(self);
        /* once is enough: it is the same for every model */
        bool told = atomic_exchange(&self->runtime->told_fallback, true);
        nx_log(told ? NX_LOG_DEBUG : NX_LOG_INFO, "engine", "%s runs on %s: %s", self->name,
               nx_provider_name(candidates[i + 1]), err != NULL ? err->message : "");
    }
    return status;
}

static nx_status name_outputs(nx_session *self, nx_error *err)
{
    size_t count = self->outputs.count;
    self->output_names = calloc(count > 0 ? count : 1, sizeof *self->output_names);
    if (self->output_names == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
    }
    for (size_t i = 0; i < count; i++) {
        self->output_names[i] = self->outputs.items[i].name;
    }
    return NX_OK;
}

static nx_status open_source(nx_runtime *runtime, const source *from, const char *name,
                             const nx_session_options *options, nx_session **out, nx_error *err)
{
    *out = NULL;
    nx_session *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
    }
    self->runtime = runtime;
    self->name = strdup(name);
    nx_status status = NX_OK;
    if (self->name == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
        goto fail;
    }
    status = build(self, from, options, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = read_ports(self, true, &self->inputs, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = read_ports(self, false, &self->outputs, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = name_outputs(self, err);
    if (status != NX_OK) {
        goto fail;
    }
    *out = self;
    return NX_OK;

fail:
    nx_session_free(self);
    return status;
}

nx_status nx_session_open(nx_runtime *runtime, const char *path, const nx_session_options *options,
                          nx_session **out, nx_error *err)
{
    *out = NULL;
    if (access(path, R_OK) != 0) {
        return nx_error_set_errno(err, NX_ERR_NOT_FOUND, errno, "cannot read %s", path);
    }
    return open_source(runtime, &(source){.path = path}, path, options, out, err);
}

nx_status nx_session_open_bytes(nx_runtime *runtime, const void *bytes, size_t size,
                                const char *name, const nx_session_options *options,
                                nx_session **out, nx_error *err)
{
    return open_source(runtime, &(source){.bytes = bytes, .size = size}, name, options, out, err);
}

void nx_session_free(nx_session *session)
{
    if (session == NULL) {
        return;
    }
    drop_session(session);
    free_ports(&session->inputs);
    free_ports(&session->outputs);
    free(session->output_names);
    free(session->name);
    free(session);
}

const nx_tensor *nx_session_inputs(const nx_session *session, size_t *count)
{
    *count = session->inputs.count;
    return session->inputs.items;
}

const nx_tensor *nx_session_outputs(const nx_session *session, size_t *count)
{
    *count = session->outputs.count;
    return session->outputs.items;
}

const nx_tensor *nx_session_find_input(const nx_session *session, const char *name)
{
    return find_port(&session->inputs, name);
}

const nx_tensor *nx_session_find_output(const nx_session *session, const char *name)
{
    return find_port(&session->outputs, name);
}

const char *nx_session_provider(const nx_session *session)
{
    return nx_provider_name(session->provider);
}

bool nx_session_leaves_fp16(const nx_session *session, const nx_device *device)
{
    nx_type input = session->inputs.count > 0 ? session->inputs.items[0].type : NX_TYPE_OTHER;
    return nx_provider_leaves_fp16(device, session->provider, input);
}

const char *nx_session_device(const nx_session *session)
{
    return nx_provider_label(session->provider);
}

/* --- shared weights ----------------------------------------------------------------------------
 */

nx_status nx_weights_new(nx_runtime *runtime, nx_weights **out, nx_error *err)
{
    *out = NULL;
    nx_weights *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
    }
    self->runtime = runtime;
    nx_status status =
        nx_runtime_check(runtime, runtime->api->CreatePrepackedWeightsContainer(&self->container),
                         NX_ERR_NO_MEMORY, "no memory for a model", err);
    if (status != NX_OK) {
        free(self);
        return status;
    }
    *out = self;
    return NX_OK;
}

void nx_weights_free(nx_weights *weights)
{
    if (weights == NULL) {
        return;
    }
    weights->runtime->api->ReleasePrepackedWeightsContainer(weights->container);
    free(weights);
}
